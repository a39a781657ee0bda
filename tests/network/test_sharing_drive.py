"""Parts that were shared stand in the drive, so that any machine of the account can keep them alive."""

from dataclasses import replace
from pathlib import Path

from trio.testing import MockClock

from node.drive.sharing import record_share
from node.drive.tree import Tree
from node.errors import NetworkError, NotFoundError
from node.keeping.kept import Kept, renew_kept
from node.progress import Progress
from node.publishing.publish import Options, Published
from node.sharing.share import share_part
from protocol.drive import EntryKind
from protocol.leases import Policy
from protocol.links import Link
from tests.network.archipelago import archipelago
from tests.network.test_drive import Machine, machine
from tests.network.test_lifetime import expiries

DAY = 86_400


async def shared(who: Machine, whole: Link, days: int) -> Published:
    """The songs, shared and put into the drive."""
    service = who.service
    options = Options(lease_seconds=days * DAY, policy=Policy(avoid=("NZ",)))
    part = await share_part(
        who.user.client, service.depositor, who.user.journal, whole, b"album/songs", options, Progress()
    )
    recorded = await record_share(service, part, b"music/songs")
    assert (recorded.path, recorded.why) == (b"music/songs", None)
    return part


async def test_another_machine_renews_what_was_shared(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        islands.file("album/songs/one", 90_000)
        islands.file("album/cover", 90_000)
        async with islands.user("somebody") as somebody:
            whole = (await somebody.publish(islands.base / "source" / "album")).link
        async with machine(islands, "one") as one, machine(islands, "two") as two:
            part = await shared(one, whole, 30)
            again = await shared(one, whole, 40)
            assert again.link == part.link
            drive = (await two.service.read()).drive
            (entry,) = (entry for entry in drive.entries if entry.kind is EntryKind.SHARE)
            assert (entry.link, entry.path, entry.content.size) == (part.link, b"music/songs", 90_000)
            assert entry.content.policy == Policy(avoid=("NZ",))
            assert not Tree(drive).items(), "it is not listed"
            assert entry.deposit is not None
            account = replace(two.user, depositor=two.service.depositor)
            assert await expiries(account, islands.nodes, entry.deposit) == {0, entry.content.expiry}
            kept = Kept(link=part.link, deposit=entry.deposit, policy=entry.content.policy, expiry=entry.content.expiry)
            changed = await renew_kept(two.user.client, two.service.depositor, kept, 90 * DAY, Progress())
            assert changed.expiry > entry.content.expiry + 49 * DAY
            assert await expiries(account, islands.nodes, entry.deposit) == {0, changed.expiry}


async def test_a_share_that_the_drive_cannot_say_yet_is_remembered(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands:
        islands.file("album/songs/one", 90_000)
        islands.file("album/cover", 90_000)
        async with machine(islands, "one") as one:
            whole = (await one.user.publish(islands.base / "source" / "album")).link
            part = await shared(one, whole, 30)
            apart = one.user.host.ip
            islands.net.partition = lambda source, other: apart in (source, other)
            islands.net.changed()
            recorded = await record_share(one.service, part, b"elsewhere")
            assert recorded.path == b"elsewhere"
            assert isinstance(recorded.why, NetworkError | NotFoundError)
            assert one.cached().unsent
