"""A home line, shared by all of a user's connections: everything takes its time, and nothing else goes wrong."""

from pathlib import Path

from trio.testing import MockClock

from node.progress import Progress
from node.publishing.content import StreamContent
from node.publishing.publish import Options, publish
from tests.network.archipelago import User, archipelago

MIB = 1 << 20
LINE = 625_000
"""Bytes per second each way: 5 Mbit/s."""


def connect(user: User, bytes_per_second: float) -> None:
    """Let the user's host hang on such a line."""
    user.host.uplink.bytes_per_second = bytes_per_second
    user.host.downlink.bytes_per_second = bytes_per_second


async def test_publishing_over_a_slow_line(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 13) as islands:
        source = islands.file("film", 17 * MIB)
        async with islands.user("alice") as alice:
            connect(alice, LINE)
            published = await alice.publish(source)
            assert published.placed == published.chunks
            assert published.seconds < 1.3 * published.sent_bytes / LINE
        assert published.sent_bytes < 1.05 * published.stored_bytes, "no put was doubled for being slow"


async def test_fetching_over_a_slow_line(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 13) as islands:
        source = islands.file("film", 17 * MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(source)
        async with islands.user("bob") as bob:
            connect(bob, LINE)
            await bob.fetch(published.link, base / "copy")
            assert bob.meter.received.total() < 1.15 * 17 * MIB, "no parity was fetched for impatience"
        assert (base / "copy").read_bytes() == source.read_bytes()


async def test_far_nodes_are_candidates(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 13, delay=0.3) as islands, islands.user("alice") as alice:
        published = await alice.publish(islands.file("film", MIB))
        assert published.placed == published.chunks


class Pausing:
    """A stream that takes a minute over its second half."""

    def __init__(self, clock: MockClock, parts: list[bytes]) -> None:
        self._clock = clock
        self._parts = parts

    def read(self, size: int) -> bytes:
        if len(self._parts) == 1:
            self._clock.jump(60)
        return self._parts.pop(0) if self._parts else b""


async def test_a_stream_may_pause_for_long(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 13) as islands, islands.user("alice") as alice:
        stream = Pausing(autojump_clock, [b"x" * MIB, b"y" * MIB])
        content = StreamContent(stream, b"slow", b"slow")
        published = await publish(alice.client, alice.depositor, alice.journal, content, Options(), Progress())
        assert published.bytes == 2 * MIB
