"""A sync's working folder (node/syncing/workfolder.py): nobody else's, and what it held is not lost."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.errors import RefusedError
from node.publishing.source import stamp
from node.syncing import folder as folder_module
from node.syncing.folder import SyncedFolder
from node.syncing.plan import Item
from node.syncing.swap import Place, exchange, move
from protocol.manifest import Kind

FILE = Item(Kind.FILE, size=3, mtime_ns=5_000_000_000)


class Killed(BaseException):
    """What nothing catches."""


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "folder"
    path.mkdir()
    yield path


def scanned(path: Path) -> int:
    return stamp(path.lstat())


def test_a_folder_that_others_can_write_to_is_refused(path: Path) -> None:
    work = path / ".archipel-sync"
    for mode in (0o777, 0o770, 0o702):
        work.mkdir()
        work.chmod(mode)
        (work / "fetch.part").symlink_to("elsewhere")
        with pytest.raises(RefusedError, match="in the way") as error:
            SyncedFolder(path)
        assert "can write to it" in str(error.value.hint)
        assert work.stat().st_mode & 0o777 == mode
        (work / "fetch.part").unlink()
        (work / "follows").symlink_to("ab")  # as it is fetched
        SyncedFolder(path).close()
        assert work.stat().st_mode & 0o777 == 0o700
        (work / "follows").unlink()
        work.rmdir()


def test_a_folder_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / ".archipel-sync").mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(RefusedError, match="in the way") as error:
        SyncedFolder(path)
    assert "another user's" in str(error.value.hint)


def test_what_comes_down_follows_no_link_in_its_place(path: Path, tmp_path: Path) -> None:
    """Who can write to the synced folder can rename what is in it."""
    outside = tmp_path / "outside"
    (outside / "fetch.part").mkdir(parents=True)
    with SyncedFolder(path) as folder:
        (path / ".archipel-sync").rename(path / "aside")
        (path / ".archipel-sync").symlink_to(outside)
        folder.staging.mkdir()
        (folder.staging / "state").write_text("x")
        assert os.listdir(path / "aside") == ["fetch.part"]
    assert not os.listdir(outside / "fetch.part")


def put_and_die(path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[], object]) -> None:
    """A put that is killed right after what it replaces was taken out; ``edit`` comes right before that."""

    def exchange_and_die(one: Place, other: Place) -> None:
        edit()
        exchange(one, other)
        raise Killed

    with SyncedFolder(path) as folder:
        folder.tree.mkdir()
        (folder.tree / "new").write_text("new")
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(folder_module, "exchange", exchange_and_die)
            folder.put(b"new", FILE, b"d/a", scanned(path / "d/a"))


def test_a_fresh_save_outlives_a_sync_that_is_killed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / "d").mkdir()
    (path / "d/a").write_text("old")
    put_and_die(path, monkeypatch, lambda: (path / "d/a").write_text("saved"))
    assert (path / "d/a").read_text() == "new"
    SyncedFolder(path).close()
    assert (path / "d/a").read_text() == "saved"
    assert os.listdir(path) == ["d"]
    put_and_die(path, monkeypatch, lambda: None)
    SyncedFolder(path).close()
    assert (path / "d/a").read_text() == "new"
    assert os.listdir(path) == ["d"]


def test_a_fresh_save_is_put_beside_a_fresher_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / "d").mkdir()
    (path / "d/a").write_text("old")
    put_and_die(path, monkeypatch, lambda: os.utime((path / "d/a"), (0, 86_400)))
    (path / "d/a").write_text("fresher")
    SyncedFolder(path).close()
    assert (path / "d/a").read_text() == "fresher"
    assert (path / "d/a (found by the sync, 1970-01-02)").read_text() == "old"


def test_a_fresh_save_comes_back_where_its_folder_is_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / "d").mkdir()
    (path / "d/a").write_text("old")
    put_and_die(path, monkeypatch, lambda: (path / "d/a").write_text("saved"))
    (path / "d").rename(path.with_name("elsewhere"))
    SyncedFolder(path).close()
    assert (path / "a").read_text() == "saved"


def test_a_removal_that_is_killed_loses_no_fresh_save(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / "a").write_text("old")

    def move_and_die(one: Place, other: Place) -> None:
        (path / "b").write_text("saved")
        (path / "b").rename(path / "a")
        move(one, other)
        raise Killed

    with SyncedFolder(path) as folder, monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(folder_module, "move", move_and_die)
        folder.remove(b"a", Kind.FILE, scanned(path / "a"))
    assert not (path / "a").exists()
    SyncedFolder(path).close()
    assert (path / "a").read_text() == "saved"


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40])
def test_a_note_that_makes_no_sense_counts_for_nothing(path: Path, content: bytes) -> None:
    with SyncedFolder(path) as folder:
        (folder.tree.parent / "note").write_bytes(content)
    SyncedFolder(path).close()
    assert not os.listdir(path)


def test_names_of_one_file_are_removed_and_replaced_each(path: Path) -> None:
    """Removing one name changes the system's time of the file, under its other names too."""
    (path / "a").write_text("old")
    for name in ("b", "c"):
        (path / name).hardlink_to(path / "a")
    before = scanned(path / "a")
    with SyncedFolder(path) as folder:
        folder.tree.mkdir()
        (folder.tree / "new").write_text("new")
        assert folder.remove(b"a", Kind.FILE, before)
        assert folder.put(b"new", FILE, b"b", before)
        (path / "c").write_text("edited")
        assert not folder.remove(b"c", Kind.FILE, before)
    assert {name: (path / name).read_text() for name in ("b", "c")} == {"b": "new", "c": "edited"}
