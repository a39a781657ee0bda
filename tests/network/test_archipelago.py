"""The harness itself: whatever goes wrong in it can be seen again."""

from pathlib import Path

import trio
from trio.testing import MockClock

from protocol.hashing import plain_digest
from protocol.ids import Address
from tests.network.archipelago import archipelago


def test_a_run_repeats_exactly(base: Path) -> None:
    """Every datagram, at its moment, from the first node to the end of a fetch."""

    async def main(folder: Path, trace: list[tuple[float, str, str, bytes]]) -> None:
        def note(data: bytes, source: Address, to: Address) -> None:
            trace.append((trio.current_time(), str(source), str(to), plain_digest(data)))

        async with archipelago(folder, 0) as islands:
            islands.net.on_datagram = note
            islands.net.loss = 0.02
            await islands.grow(8)
            async with islands.user() as alice:
                published = await alice.publish(islands.file("film", 1 << 20))
                await alice.fetch(published.link, folder / "copy")

    traces: list[list[tuple[float, str, str, bytes]]] = [[], []]
    for number, trace in enumerate(traces):
        trio.run(main, base / str(number), trace, clock=MockClock(autojump_threshold=0))
    assert len(traces[0]) > 300
    assert traces[0] == traces[1]
