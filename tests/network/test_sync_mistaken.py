"""What a sync could take for a deletion, or for unchanged, and must not."""

import shutil
from pathlib import Path

import pytest
from trio.testing import MockClock

from node.errors import RefusedError
from node.syncing.folder import MARK_BYTES
from node.syncing.plan import Item
from node.syncing.state import SyncState
from tests.network.archipelago import failure
from tests.network.machines import two_machines


async def test_a_folder_made_anew_empties_no_drive(autojump_clock: MockClock, base: Path) -> None:
    """A file system gives the number of what was removed to what is made next."""
    async with two_machines(base) as (alice, bob):
        inode = bob.folder.stat().st_ino
        shutil.rmtree(bob.folder)
        bob.folder.mkdir()
        agreed = SyncState.read

        def same_inode(state: SyncState, mark: bytes | None) -> dict[bytes, Item] | None:
            return agreed(state, None if mark is None else mark[:MARK_BYTES] + inode.to_bytes(8, "big"))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SyncState, "read", same_inode)
            done = await bob.sync()
        assert not done.removed_there
        assert bob.tree == alice.tree
        assert not (await alice.sync()).removed_here


async def test_a_folder_that_lost_everything_empties_no_drive(autojump_clock: MockClock, base: Path) -> None:
    async with two_machines(base) as (_, bob):
        for path in bob.folder.iterdir():
            if path.name == "sub":
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()
        link = bob.drive.link
        error = await failure(bob.sync())
        assert isinstance(error, RefusedError)
        assert "is empty, and was not" in str(error)
        assert bob.drive.link == link
