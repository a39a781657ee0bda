"""Bounds on what a server takes on, as far as they need many peers at once."""

import resource
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.net.descriptors import room_for
from node.net.wire import HungUpError
from node.serving.admission import Connections
from node.serving.serve import HANDSHAKE_SECONDS
from tests.node.serving import ADDRESS, bench


async def test_whoever_says_nothing_makes_room(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The oldest of those that are at their handshake goes for each that comes; who is through it stays."""
    async with bench(tmp_path, connections=Connections(total=4)) as it:
        began = trio.current_time()
        through = await it.wire()
        silent = []
        for _ in range(6):
            silent.append(await it.host("10.0.0.5").dial(ADDRESS))
            await trio.sleep(0.1)
        for stream in silent[:3]:
            assert await stream.receive_some(1) == b""
        assert trio.current_time() < began + 1, "they were not waited for"
        wires = [through, *[await it.wire() for _ in range(3)]]
        assert trio.current_time() < began + 2
        with pytest.raises(HungUpError):
            await it.wire()
        for wire in wires:
            await wire.close()
        for stream in silent:
            await stream.aclose()
        await trio.sleep(HANDSHAKE_SECONDS)


@pytest.mark.parametrize(
    ("limit", "share", "room"), [(20_000, 1.0, 300), (124, 1.0, 100), (124, 0.4, 40), (20, 1.0, 4), (-1, 0.2, 300)]
)
def test_connections_follow_the_descriptors(
    monkeypatch: pytest.MonkeyPatch, limit: int, share: float, room: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert room_for(300, share) == room
