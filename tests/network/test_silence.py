"""Who says nothing is named when that is why something failed: silence is neither a refusal nor an absence."""

from contextlib import AsyncExitStack
from pathlib import Path

from trio.testing import MockClock

from node.errors import NetworkError, NotFoundError
from node.publishing.publish import Options
from protocol.segment import Shares
from tests.network.archipelago import archipelago, failure
from tests.network.test_liars import drips, liar_instead

ONE_COPY = Options(shares=Shares(1, 1))


async def test_a_fetch_whose_only_holder_says_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 1) as islands:
        async with islands.user("alice") as alice:
            link = (await alice.publish(islands.file("film", 1_500_000), options=ONE_COPY)).link
        islands.nodes[0].host.mute()
        async with islands.user("bob") as bob:
            lost = await failure(bob.fetch(link, base / "copy"))
    assert isinstance(lost, NotFoundError)
    assert "DE: 1 stopped answering" in str(lost)


async def test_a_publish_to_nodes_that_fall_silent(autojump_clock: MockClock, base: Path) -> None:
    """It ends as what it is, a matter of the network: whoever is refused looks for space, not for a cable."""
    async with archipelago(base, 3) as islands, islands.user("alice") as alice:
        await alice.publish(islands.file("song", 100_000))
        for node in islands.nodes:
            node.host.mute()
        lost = await failure(alice.publish(islands.file("film", 1_500_000)))
    assert isinstance(lost, NetworkError)
    assert "stopped answering" in str(lost)


async def test_two_that_drip_do_not_take_all_the_time(autojump_clock: MockClock, base: Path) -> None:
    """Of the five copies of a small deposit the two asked first send byte after byte: the others are asked in time."""
    async with archipelago(base, 12) as islands, AsyncExitStack() as liars:
        source = islands.file("note", 1000)
        async with islands.user("alice") as alice:
            link = (await alice.publish(source)).link
        for index in (0, 1):
            await liars.enter_async_context(liar_instead(islands, drips, link.root, index))
        async with islands.user("bob") as bob:
            await bob.fetch(link, base / "copy")
    assert (base / "copy").read_bytes() == source.read_bytes()
