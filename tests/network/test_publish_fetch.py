"""Publish and fetch through whole nodes: what comes out is what went in, and nothing is sent twice."""

import os
from pathlib import Path

import trio
from trio.testing import MockClock

from node.progress import Progress
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES, SEGMENT_BYTES
from tests.network.archipelago import Archipelago, archipelago, uneven
from tests.trees import tree

MIB = 1 << 20


def mixed_tree(islands: Archipelago) -> Path:
    """A folder with everything a folder may hold."""
    root = islands.base / "source" / "Ünïcode  tree"
    for name, size in {
        "small/a": 1,
        "small/b.txt": 70_000,
        "small/deep/er/c": BLOCK_BYTES,
        "large.bin": SEGMENT_BYTES + 3 * BLOCK_BYTES + 17,
        "medium.bin": MIB + 5,
        "empty": 0,
        " -rf *": 10,
        "new\nline": 11,
        "run.sh": 100,
    }.items():
        islands.file(f"{root.name}/{name}", size)
    (root / "run.sh").chmod(0o755)
    (root / "empty folder").mkdir()
    (root / "small/up").symlink_to("../large.bin")
    (root / "nowhere").symlink_to("small/not there")
    odd = os.fsencode(root) + b"/not utf-8 \xff\xfe"
    with open(odd, "wb") as handle:
        handle.write(b"odd")
    for number, place in enumerate([*sorted(root.rglob("*")), root]):
        os.utime(place, ns=(0, 1_234_567_890_000_000_000 + number * 1_000_000_007), follow_symlinks=False)
    return root


async def test_a_tree_comes_back_the_same(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 32) as islands:
        source = mixed_tree(islands)
        async with islands.user("alice") as alice:
            progress = Progress()
            published = await alice.publish(source, progress=progress)
            assert not published.skipped
            assert not published.notes
            assert published.placed == published.chunks
            assert published.survives.nodes == 4
            assert published.sent_bytes == published.stored_bytes == progress.moved
        began = trio.current_time()
        async with islands.user("bob") as bob:
            progress = Progress()
            await bob.fetch(published.link, base / "copy", progress=progress)
            assert progress.done == progress.total == published.bytes
            assert trio.current_time() - began < 2
        copied = tree(base / "copy")
        assert {name.replace("copy", source.name, 1): found for name, found in copied.items()} == tree(source)
        assert not list(base.glob("*.part"))


async def test_the_same_again_sends_nothing_and_gives_the_same_link(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        source = islands.file("photos/one", MIB)
        islands.file("photos/two", 3000)
        async with islands.user() as alice:
            first = await alice.publish(source.parent)
        held = islands.holders()
        async with islands.user() as alice:
            again = await alice.publish(source.parent)
        assert again.link == first.link
        assert again.sent_bytes == 0
        assert again.stored_bytes == first.stored_bytes
        assert again.placed == again.chunks == first.chunks
        assert again.survives == first.survives
        assert islands.holders() == held


async def test_a_changed_tree_sends_only_what_changed(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands:
        source = islands.file("work/big-1", MIB).parent
        islands.file("work/big-2", 2 * MIB)
        islands.file("work/notes", 3000)
        async with islands.user() as alice:
            first = await alice.publish(source)
            before = set(islands.holders())
            islands.file("work/big-1", MIB + 1)
            second = await alice.publish(source)
            assert second.link != first.link
            fresh = {s: indices for s, indices in islands.holders().items() if s not in before}
            assert len(fresh) == 2  # big-1 and the root
            assert second.sent_bytes == islands.chunk_bytes(fresh)
            await alice.fetch(first.link, base / "old")
            await alice.fetch(second.link, base / "new")
        assert (base / "old/big-1").stat().st_size == MIB
        assert tree(base / "new")["new/big-1"] == tree(source)["work/big-1"]


async def test_an_interrupted_publish_goes_on_where_it_was(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12, delay=uneven) as islands:
        source = islands.file("film", MIB)
        scope = trio.CancelScope()

        def stop(progress: Progress) -> None:
            if progress.moved > 5 * SEALED_BLOCK_BYTES:
                scope.cancel()

        progress = Progress(changed=stop)
        async with islands.user() as alice:
            with scope:
                await alice.publish(source, progress=progress)
        assert scope.cancelled_caught
        (segment,) = islands.holders()
        acknowledged = progress.moved
        assert 0 < acknowledged < 12 * SEALED_BLOCK_BYTES
        on_disk = islands.chunk_bytes([segment])
        async with islands.user() as alice:
            published = await alice.publish(source)
            assert published.sent_bytes == published.stored_bytes - on_disk <= published.stored_bytes - acknowledged
            await alice.fetch(published.link, base / "copy")
        assert (base / "copy").read_bytes() == source.read_bytes()
        found = islands.holders()
        assert sorted(found[segment]) == list(range(12))
        deposits = {
            node.lease((s, i)).deposit for s, held in found.items() for i, nodes in held.items() for node in nodes
        }
        assert len(deposits) == 1


async def test_progress_is_what_is_confirmed(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12, delay=uneven) as islands:
        source = islands.file("folder/large", 3 * MIB + 11).parent
        islands.file("folder/small", 70_000)
        (source / "twin").write_bytes((source / "large").read_bytes())
        total = 2 * (3 * MIB + 11) + 70_000

        def confirmed(progress: Progress) -> None:
            assert progress.done <= total
            if len(steps) % 8 == 0:
                assert progress.moved <= islands.chunk_bytes(islands.holders())
            steps.append((progress.done, progress.moved))

        steps: list[tuple[int, int]] = []
        async with islands.user() as alice:
            progress = Progress(total=total, changed=confirmed)
            published = await alice.publish(source, progress=progress)
            assert progress.done == total
            assert progress.moved == published.sent_bytes
            assert len(steps) >= published.chunks
            assert steps == sorted(steps)

            def verified(progress: Progress) -> None:
                written = sum(path.stat().st_size for path in base.glob("copy.part/content/**/*") if path.is_file())
                assert progress.done <= min(written, progress.moved)

            progress = Progress(changed=verified)
            await alice.fetch(published.link, base / "copy", progress=progress)
            assert progress.done == progress.total


async def test_an_interrupted_fetch_goes_on_where_it_was(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12, delay=uneven) as islands:
        source = islands.file("films/one", MIB).parent
        for name in ("two", "three", "four", "five"):
            islands.file(f"films/{name}", MIB)
        async with islands.user("alice") as alice:
            link = (await alice.publish(source)).link
        scope = trio.CancelScope()

        def stop(progress: Progress) -> None:
            if progress.done >= 2 * MIB:
                scope.cancel()

        async with islands.user("bob") as bob:
            progress = Progress(changed=stop)
            with scope:
                await bob.fetch(link, base / "copy", progress=progress)
        assert scope.cancelled_caught
        assert not (base / "copy").exists()
        async with islands.user("bob") as bob:
            fetched = await bob.fetch(link, base / "copy")
        assert fetched.kept_bytes == progress.done == 2 * MIB
        assert fetched.content_bytes == 3 * 8 * SEALED_BLOCK_BYTES
        copied = tree(base / "copy")
        assert {name.replace("copy", "films", 1): found for name, found in copied.items()} == tree(source)


async def test_publishing_again_mends_what_was_lost(autojump_clock: MockClock, base: Path) -> None:
    """A chunk counts as present only after an audit: one that rotted, one that is gone and one whose node is gone."""
    async with archipelago(base, 16) as islands:
        source = islands.file("film", MIB)
        async with islands.user("alice") as alice:
            published = await alice.publish(source)
        content = next(segment for segment, held in islands.holders().items() if len(held) == 12)
        held = {index: nodes[0] for index, nodes in islands.holders()[content].items()}
        rotten = held[3].chunk_file((content, 3))
        rotten.write_bytes(bytes(100) + rotten.read_bytes()[100:])
        held[5].chunk_file((content, 5)).unlink()
        dead = held[7]
        dead.kill()
        roots = sum(segment != content for segment, _ in dead.chunks())
        async with islands.user("alice") as alice:
            again = await alice.publish(source)
            assert again.link == published.link
            assert again.placed == again.chunks
            root_bytes = islands.chunk_bytes([published.link.root.hex()]) // 5
            assert again.sent_bytes == 3 * SEALED_BLOCK_BYTES + roots * root_bytes
            assert (await alice.check(again.link)).healthy
