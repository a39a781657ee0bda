"""Sharing a part of a deposit: what is the part's own stays where it is, and the link opens nothing else."""

from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from node.errors import ConfigError, IntegrityFailure, NotFoundError, RefusedError
from node.fetching.download import Downloader
from node.fetching.reader import read_contents, read_segments
from node.progress import Progress
from node.publishing import publish as publishing
from node.publishing.publish import Options
from node.sharing import share as sharing
from node.sharing.share import inherited_policy
from protocol.leases import Policy
from protocol.links import Link
from protocol.manifest import Manifest, SegmentRef
from protocol.segment import SEALED_BLOCK_BYTES, Shares
from tests.network.archipelago import Archipelago, User, archipelago, failure
from tests.network.test_lifetime import expiries, take_no_lease
from tests.trees import tree

MIB = 1 << 20
DAY = 86_400


def album(islands: Archipelago, film: int = MIB) -> Path:
    """A folder with a film, in its own segment, and songs, which lie in one with each other's neighbours."""
    islands.file("album/cover", 90_000)
    islands.file("album/live/film", film)
    islands.file("album/live/song", 80_000)
    islands.file("album/notes", 70_000)
    return islands.base / "source" / "album"


async def contents(user: User, link: Link) -> Manifest:
    return await read_contents(Downloader(user.client, Progress()), link)


async def opened(user: User, refs: tuple[SegmentRef, ...]) -> list[bytes]:
    """All that the keys in a manifest open."""
    found = []
    for ref in refs:
        blocks = -(-ref.length // (1 << 17))
        found.append(bytes(await Downloader(user.client, Progress()).blocks(ref, 0, blocks)))
    return found


async def test_nothing_of_a_large_file_is_moved(autojump_clock: MockClock, base: Path) -> None:
    """It is somebody else's, even. Each chunk is audited, by one block; and has a lease of the new deposit."""
    async with archipelago(base, 16) as islands:
        folder = album(islands, 20 * MIB)
        async with islands.user("alice") as alice:
            whole = (await alice.publish(folder)).link
        held = islands.holders()
        async with islands.user("bob") as bob:
            progress = Progress()
            shared = await bob.share(whole, b"album/live/film", progress=progress)
            film = 24 * SEALED_BLOCK_BYTES
            assert bob.meter.received.total() < film + 0.2 * MIB
            assert bob.meter.sent.total() < 0.2 * MIB
            assert (shared.bytes, shared.segments, shared.skipped, shared.notes) == (20 * MIB, 3, (), ())
            assert shared.placed == shared.chunks == 24 + 5
            assert shared.survives.nodes == 4
            assert progress.total == progress.done == 20 * MIB
            assert set(islands.holders()) - set(held) == {shared.link.root.hex()}
            assert shared.sent_bytes == islands.chunk_bytes([shared.link.root.hex()])
            (row,) = bob.journal.deposits(shared.link.root)
            assert row.name == "film"
            assert await expiries(bob, islands.nodes, row.deposit) == {0, row.expiry}  # 0: of what is not shared
            before = bob.meter.sent.total()
            again = await bob.share(whole, b"/album/live/film/")
            assert (again.link, again.sent_bytes) == (shared.link, 0)
            assert bob.meter.sent.total() - before < 0.1 * MIB
            assert bob.journal.deposits(again.link.root)[0].deposit == row.deposit
        async with islands.user("carol") as carol:
            assert (await contents(carol, shared.link)).segments == (await contents(carol, whole)).segments[1:3]
            await carol.fetch(shared.link, base / "copy")
            verify = shared.link.verify_link()
            assert (await carol.check(verify)).healthy
            assert len((await carol.check(verify)).segments) == 3
            assert isinstance(await failure(contents(carol, verify)), ConfigError)
        assert (base / "copy").read_bytes() == (folder / "live/film").read_bytes()


async def test_packed_files_are_sealed_anew(autojump_clock: MockClock, base: Path) -> None:
    """The song lies in one segment with its neighbours: that segment's key is not in the new link's manifest."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        folder = album(islands)
        whole = (await alice.publish(folder)).link
        old = (await contents(alice, whole)).segments
        shared = await bob.share(whole, b"album/live")
        new = (await contents(bob, shared.link)).segments
        (film,) = set(old) & set(new)
        (song,) = set(new) - set(old)
        assert (film.length, song.length) == (MIB, 80_000)
        assert await opened(bob, (song,)) == [(folder / "live/song").read_bytes()]
        segments = await read_segments(Downloader(bob.client, Progress()), shared.link)
        assert segments.keys() == {shared.link.root, film.id, song.id}
        assert shared.sent_bytes == islands.chunk_bytes([song.id.hex(), shared.link.root.hex()])
        await alice.fetch(shared.link, base / "live")
        assert tree(base / "live") == tree(folder / "live")
        assert (await bob.share(whole, b"album/live")).sent_bytes == 0


async def test_sharing_of_ones_own_is_publishing(autojump_clock: MockClock, base: Path) -> None:
    """The same bytes under the same secret: the same link, whichever was first, and nothing is sent twice."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        folder = album(islands)
        whole = (await alice.publish(folder)).link
        shared = await alice.share(whole, b"album/live")
        published = await alice.publish(folder / "live")
        assert (published.link, published.sent_bytes) == (shared.link, 0)
        alone = await alice.publish(folder / "cover")
        again = await alice.share(whole, b"album/cover")
        assert (again.link, again.sent_bytes) == (alone.link, 0)


async def test_small_parts_live_in_the_manifest(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        islands.file("album/one", 50_000)
        folder = islands.file("album/two", 40_000).parent
        (folder / "empty").mkdir()
        (folder / "link").symlink_to("one")
        for size, deposit in ((40_000, "segments"), (10_000, "inline")):
            islands.file("album/two", size)
            (base / deposit).mkdir()
            whole = (await alice.publish(folder)).link
            assert bool((await contents(alice, whole)).segments) == (deposit == "segments")
            for name in ("two", "empty"):
                shared = await bob.share(whole, b"album/" + name.encode())
                assert shared.segments == 1
                await alice.fetch(shared.link, base / deposit / name)
                assert tree(base / deposit / name) == tree(folder / name)
            assert (await contents(bob, (await bob.share(whole, b"album/two")).link)).inline == (
                folder / "two"
            ).read_bytes()


@pytest.mark.parametrize("seed", range(3))
async def test_random_trees(autojump_clock: MockClock, base: Path, seed: int) -> None:
    """Whatever is shared comes out as it was, and no key in its manifest opens a byte of anything else."""
    random = Random(seed)
    async with archipelago(base, 12, seed=seed) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        for number in range(12):
            size = random.choice((0, 300, 30_000, 200_000, MIB, MIB + 70_000))
            folders = "/".join(random.choice("xyz") for _ in range(random.randrange(3)))
            islands.file(f"tree/{folders}/{number}", size)
        root = base / "source/tree"
        whole = (await alice.publish(root)).link
        for number, place in enumerate(random.sample(sorted(root.rglob("*")), 5)):
            shared = await bob.share(whole, b"tree/" + bytes(place.relative_to(root)))
            copy = base / str(number) / place.name
            copy.parent.mkdir()
            await alice.fetch(shared.link, copy)
            assert tree(copy) == tree(place)
            manifest = await contents(alice, shared.link)
            files = [path.read_bytes() for path in sorted([place, *place.rglob("*")], key=bytes) if path.is_file()]
            sizes = sorted(len(content) for content in files if content)
            everything = manifest.inline + b"".join(await opened(alice, manifest.segments))
            assert len(everything) == sum(sizes)
            assert all(content in everything for content in files)


async def test_dead_holders_are_replaced(autojump_clock: MockClock, base: Path) -> None:
    """What the dead held of a large file is fetched, and placed again: it is told, and counted truly."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        folder = album(islands)
        whole = (await alice.publish(folder)).link
        film = next(ref.id.hex() for ref in (await contents(alice, whole)).segments if ref.length == MIB)
        for index in (1, 5, 7):
            islands.holders()[film][index][0].kill()
        shared = await bob.share(whole, b"album/live/film")
        assert shared.notes == ("chunks of 1 segment were missing: those that found a holder were placed again",)
        assert shared.placed == shared.chunks
        assert shared.survives.nodes == 4
        root = islands.chunk_bytes([shared.link.root.hex()])
        assert shared.sent_bytes == 3 * SEALED_BLOCK_BYTES + root
        health = await bob.check(shared.link)
        assert {(segment.live, segment.n) for segment in health.segments} == {(12, 12), (5, 5)}
        await alice.fetch(shared.link, base / "copy")
        assert (base / "copy").read_bytes() == (folder / "live/film").read_bytes()


async def test_too_few_chunks(autojump_clock: MockClock, base: Path) -> None:
    """It is said in the end, and in time; when the holders are back it goes on."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        whole = (await alice.publish(album(islands))).link
        film = next(ref.id.hex() for ref in (await contents(alice, whole)).segments if ref.length == MIB)
        gone = [nodes[0] for index, nodes in islands.holders()[film].items() if index < 5]
        for node in gone:
            node.host.freeze()
        began = trio.current_time()
        missing = await failure(bob.share(whole, b"album/live/film"))
        assert isinstance(missing, NotFoundError)
        assert "have 7 of 8 chunks" in str(missing)
        assert trio.current_time() - began < 60
        for node in gone:
            node.host.freeze(False)
        await trio.sleep(60)
        shared = await bob.share(whole, b"album/live/film")
        assert shared.placed == shared.chunks


async def test_nobody_has_it_any_more(autojump_clock: MockClock, base: Path) -> None:
    """Of a segment whose descriptor nobody can tell, it is told who was asked."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        whole = (await alice.publish(album(islands))).link
        film = next(ref.id.hex() for ref in (await contents(alice, whole)).segments if ref.length == MIB)
        for node in islands.nodes:
            for chunk in node.chunks():
                if chunk[0] == film:
                    node.chunk_file(chunk).unlink()
        missing = await failure(bob.share(whole, b"album/live/film"))
        assert isinstance(missing, NotFoundError)
        assert "none of its holders has it any more" in str(missing)


@pytest.mark.parametrize("first", ["whole", "part"])
async def test_each_outlives_the_other(autojump_clock: MockClock, base: Path, first: str) -> None:
    """Deleted by its depositor, or not renewed: the other has leases of its own on what both need."""
    async with archipelago(base, 8) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        folder = album(islands)
        whole = (await alice.publish(folder)).link
        held = set(islands.holders())
        part = (await bob.share(whole, b"album/live")).link
        both = set(islands.holders())
        if first == "whole":
            await alice.delete(whole)
            assert len(islands.holders()) == 3  # the film, the song, their root
            await bob.fetch(part, base / "live")
            assert tree(base / "live") == tree(folder / "live")
            assert (await bob.renew(part, 400 * DAY)).silent == 0
            await bob.delete(part)
        else:
            assert isinstance(await failure(alice.delete(part)), RefusedError)
            await bob.delete(part)
            assert set(islands.holders()) == held
            assert set(islands.holders()) < both
            await alice.fetch(whole, base / "album")
            assert tree(base / "album") == tree(folder)
            await alice.delete(whole)
        assert not islands.holders()


async def test_one_home_has_both(autojump_clock: MockClock, base: Path) -> None:
    """The journal tells the whole and the part apart: renewing or deleting one leaves the other alone."""
    async with archipelago(base, 8) as islands, islands.user("alice") as alice:
        folder = album(islands)
        whole = (await alice.publish(folder, options=Options(lease_seconds=1800))).link
        part = (await alice.share(whole, b"album/live", options=Options(lease_seconds=900))).link
        assert (await alice.renew(part, DAY)).segments == 3
        await trio.sleep(3000)
        assert len(islands.holders()) == 3
        await alice.fetch(part, base / "live")
        assert tree(base / "live") == tree(folder / "live")


async def test_who_refuses_the_lease_does_not_count(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that keeps its chunk for the whole alone: the part gets one elsewhere."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        whole = (await alice.publish(album(islands))).link
        film = next(ref.id.hex() for ref in (await contents(alice, whole)).segments if ref.length == MIB)
        (refusing,) = islands.holders()[film][3]
        take_no_lease(monkeypatch, refusing)
        shared = await bob.share(whole, b"album/live/film")
        assert shared.placed == shared.chunks
        assert len(islands.holders()[film][3]) == 2


async def test_ended_and_run_again(autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if killed before the root: the same deposit id, and what has been placed is not sent again."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        whole = (await alice.publish(album(islands))).link
        async with islands.user("bob") as bob:
            with monkeypatch.context() as patch:

                async def ended(*_: object) -> Link:
                    raise RefusedError("ended here")

                patch.setattr(publishing.Run, "_send_root", ended)
                assert "ended here" in str(await failure(bob.share(whole, b"album/live")))
        held = set(islands.holders())
        async with islands.user("bob") as bob:
            shared = await bob.share(whole, b"album/live")
            assert set(islands.holders()) - held == {shared.link.root.hex()}
            assert shared.sent_bytes == islands.chunk_bytes([shared.link.root.hex()])
            (row,) = bob.journal.deposits(shared.link.root)
            assert await expiries(bob, islands.nodes, row.deposit) == {0, row.expiry}


async def test_other_shares(autojump_clock: MockClock, base: Path) -> None:
    """A kept segment stays coded as it is, and is restored so; what is sealed anew is coded as the sharer likes."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        folder = album(islands)
        whole = (await alice.publish(folder, options=Options(shares=Shares(3, 7)))).link
        film = next(ref.id.hex() for ref in (await contents(alice, whole)).segments if ref.length == MIB)
        islands.holders()[film][6][0].kill()
        shared = await bob.share(whole, b"album/live", options=Options(shares=Shares(2, 4)))
        assert shared.placed == shared.chunks
        health = await bob.check(shared.link)
        assert sorted((segment.k, segment.n, segment.live) for segment in health.segments) == [
            (1, 3, 3),
            (1, 3, 3),
            (3, 7, 7),
        ]
        await alice.fetch(shared.link, base / "live")
        assert tree(base / "live") == tree(folder / "live")


async def test_one_key_and_several_shares(autojump_clock: MockClock, base: Path) -> None:
    """One's own bytes are sealed alike however they are coded. The part refers to just those segments that its link
    names, and the journal knows all of them: also where what would be sealed anew is one of them."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        film = islands.file("r/s/a", MIB).read_bytes()
        for name, content in (("s/b", film[:700_000]), ("s/c", film[700_000:])):
            islands.file(f"r/{name}", 1).write_bytes(content)
        folder = islands.file("r/z", 1000).parent
        await alice.publish(folder)
        whole = (await alice.publish(folder, options=Options(shares=Shares(3, 7)))).link
        first, _ = (await contents(alice, whole)).segments
        shared = await alice.share(whole, b"r/s")
        assert (await contents(alice, shared.link)).segments == (first, first)
        assert {segment for segment, _ in alice.journal.segments(shared.link.root)} == {first.id, shared.link.root}
        await alice.fetch(shared.link, base / "s")
        assert tree(base / "s") == tree(folder / "s")


async def test_what_is_refused(autojump_clock: MockClock, base: Path) -> None:
    """And nothing is stored, nor noted."""
    async with archipelago(base, 6) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        folder = album(islands)
        whole = (await alice.publish(folder)).link
        held = islands.holders()
        for link, path, kind in (
            (whole, None, ConfigError),
            (whole, b"album", ConfigError),
            (whole.verify_link(), b"album/live", ConfigError),
            (whole, b"album/liv", NotFoundError),
        ):
            assert isinstance(await failure(bob.share(link, path)), kind)
        assert islands.holders() == held
        assert bob.journal.deposits(whole.root) == []


@pytest.mark.parametrize(("path", "problem"), [(b"album/live", "have one key"), (b"album/live/gig", "size or key")])
async def test_a_manifest_with_a_wrong_key(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, path: bytes, problem: str
) -> None:
    """Whoever was sent such a thing is told, and does not pass on something else than it shows."""
    async with archipelago(base, 6) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        folder = album(islands)
        islands.file("album/live/gig", MIB)
        whole = (await alice.publish(folder)).link
        manifest = await contents(alice, whole)
        key = next(ref.key for ref in manifest.segments if ref.length == MIB)
        refs = tuple(SegmentRef(id=ref.id, length=ref.length, key=key) for ref in manifest.segments)

        async def forged(*_: object) -> Manifest:
            return Manifest(entries=manifest.entries, segments=refs)

        monkeypatch.setattr(sharing, "read_contents", forged)
        refused = await failure(bob.share(whole, path))
        assert isinstance(refused, IntegrityFailure)
        assert problem in str(refused)


async def test_nobody_describes_a_segment(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its blocks can be had."""

    async def nobody(*_: object) -> None:
        return None

    async with archipelago(base, 6) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        whole = (await alice.publish(album(islands))).link
        monkeypatch.setattr(sharing, "read_descriptor", nobody)
        missing = await failure(bob.share(whole, b"album/live"))
        assert isinstance(missing, NotFoundError)
        assert "describes it" in str(missing)


async def test_a_part_is_kept_where_the_whole_is(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 16) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        policy = Policy(avoid=("FR",))
        whole = (await alice.publish(album(islands), options=Options(policy=policy))).link
        for user, found in (alice, policy), (bob, Policy()):  # no journal of theirs knows: holders show her lease
            assert await inherited_policy(user.client, user.depositor, bob.journal, whole) == found
        shared = await alice.share(whole, b"album/live", options=Options(policy=policy))
        countries = {node.country for found in islands.holders().values() for nodes in found.values() for node in nodes}
        assert countries == {"DE", "IS", "NZ"}
        assert alice.journal.deposits(shared.link.root)[0].policy == policy
