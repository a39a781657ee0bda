"""A synced folder (node/syncing/folder.py): nothing outside is touched, nothing that changed is replaced."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.errors import MachineError, RefusedError
from node.publishing.source import stamp
from node.syncing import folder as folder_module
from node.syncing.folder import SyncedFolder
from node.syncing.plan import Item
from node.syncing.swap import Place
from node.syncing.workfolder import WORK_NAME
from protocol.manifest import Kind

FILE = Item(Kind.FILE, size=3, mtime_ns=5_000_000_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.fixture
def folder(path: Path) -> Iterator[SyncedFolder]:
    with SyncedFolder(path) as folder:
        yield folder


def staged(folder: SyncedFolder, name: str = "new", content: str = "new") -> bytes:
    """Something that came down."""
    place = folder.tree / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    return os.fsencode(name)


def scanned(path: Path) -> int:
    return stamp(path.lstat())


def after_the_look(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """Have ``act`` done by somebody else right before the rename ``name``, once."""
    call = getattr(folder_module, name)

    def wrapper(*args: Place) -> None:
        monkeypatch.setattr(folder_module, name, call)
        act()
        call(*args)

    monkeypatch.setattr(folder_module, name, wrapper)


def test_what_came_down_is_put_where_nothing_is(folder: SyncedFolder, path: Path) -> None:
    assert folder.put(staged(folder), FILE, b"a", None)
    assert (path / "a").read_text() == "new"
    assert (path / "a").stat().st_mtime_ns == FILE.mtime_ns
    assert not folder.put(staged(folder), FILE, b"a", None)
    assert (folder.tree / "new").exists()


def test_it_replaces_what_was_scanned(folder: SyncedFolder, path: Path) -> None:
    (path / "a").write_text("old")
    assert folder.put(staged(folder), FILE, b"a", scanned(path / "a"))
    assert (path / "a").read_text() == "new"
    assert not list(folder.tree.iterdir())


def test_it_replaces_no_file_that_changed_nor_a_folder(folder: SyncedFolder, path: Path) -> None:
    (path / "a").write_text("old")
    before = scanned(path / "a")
    (path / "a").write_text("edited")
    assert not folder.put(staged(folder), FILE, b"a", before)
    assert (path / "a").read_text() == "edited"
    (path / "d").mkdir()
    assert not folder.put(staged(folder), FILE, b"d", scanned(path / "d"))


@pytest.mark.parametrize("how", ["written to", "replaced"])
def test_a_change_between_look_and_exchange_is_undone(
    folder: SyncedFolder, path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (path / "a").write_text("old")

    def edit() -> None:
        if how == "replaced":
            (path / "b").write_text("edited")
            (path / "b").rename(path / "a")
        else:
            (path / "a").write_text("edited")

    after_the_look(monkeypatch, "exchange", edit)
    assert not folder.put(staged(folder), FILE, b"a", scanned(path / "a"))
    assert (path / "a").read_text() == "edited"
    assert (folder.tree / "new").read_text() == "new"


def test_what_appears_between_look_and_move_stays(
    folder: SyncedFolder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_the_look(monkeypatch, "move", lambda: (path / "a").write_text("mine"))
    assert not folder.put(staged(folder), FILE, b"a", None)
    assert (path / "a").read_text() == "mine"


def test_only_what_was_scanned_is_removed(folder: SyncedFolder, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (path / name).write_text("old")
    before = {name: scanned(path / name) for name in ("a", "b", "c")}
    (path / "b").write_text("edited")
    assert folder.remove(b"a", Kind.FILE, before["a"])
    assert not (path / "a").exists()
    assert not folder.remove(b"b", Kind.FILE, before["b"])
    after_the_look(monkeypatch, "move", lambda: (path / "c").write_text("edited"))
    assert not folder.remove(b"c", Kind.FILE, before["c"])
    assert (path / "b").read_text() == (path / "c").read_text() == "edited"
    assert folder.remove(b"nothing", Kind.FILE, 0)


def test_what_is_replaced_twice_while_it_is_removed_stays(
    folder: SyncedFolder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path / "a").write_text("old")
    before = scanned(path / "a")

    def edit() -> None:
        (path / "a").write_text("edited")
        after_the_look(monkeypatch, "move", lambda: (path / "a").write_text("again"))

    after_the_look(monkeypatch, "move", edit)
    assert not folder.remove(b"a", Kind.FILE, before)
    assert (path / "a").read_text() == "again"


def test_it_knows_what_is_here_already(folder: SyncedFolder, path: Path, tmp_path: Path) -> None:
    content = "x" * (3 << 19)
    (path / "a").write_text(content)
    (path / "b").write_text(content[:-1] + "y")
    (path / "l").symlink_to("a")
    origin = staged(folder, content=content)
    assert folder.holds(origin, b"a")
    assert not folder.holds(origin, b"b")
    for gone in (b"none", b"l"):
        with pytest.raises(MachineError, match="changed while it was being synced"):
            folder.holds(origin, gone)


def test_a_folder_goes_only_when_it_is_empty(folder: SyncedFolder, path: Path) -> None:
    (path / "d").mkdir()
    (path / "d/in").write_text("x")
    (path / "e").mkdir()
    assert not folder.remove(b"d", Kind.FOLDER, 0)
    assert folder.remove(b"e", Kind.FOLDER, 0)
    (path / "e").mkdir()  # in the place of a file
    assert not folder.remove(b"e", Kind.FILE, 0)
    assert sorted(os.listdir(path / "d")) == ["in"]
    assert (path / "e").exists()


def test_no_link_is_followed(folder: SyncedFolder, path: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_text("not yours")
    (path / "d").symlink_to(outside)
    assert folder.remove(b"d/a", Kind.FILE, scanned(outside / "a"))  # it is not there any more
    for call in (
        lambda: folder.put(staged(folder), FILE, b"d/new", None),
        lambda: folder.put(staged(folder), FILE, b"d/a", scanned(outside / "a")),
        lambda: folder.make(b"d/inner"),
        lambda: folder.make(b"d"),
    ):
        with pytest.raises(MachineError, match="changed while it was being synced"):
            call()
    assert os.listdir(outside) == ["a"]
    assert (outside / "a").read_text() == "not yours"
    (path / "l").symlink_to(outside / "a")
    assert folder.put(staged(folder), FILE, b"l", scanned(path / "l"))
    assert (outside / "a").read_text() == "not yours"
    assert not (path / "l").is_symlink()


def test_a_file_stays_as_private_as_it_was(folder: SyncedFolder, path: Path) -> None:
    for mode, executable, wanted in ((0o600, False, 0o600), (0o640, True, 0o750), (0o755, False, 0o644)):
        (path / "a").write_text("old")
        (path / "a").chmod(mode)
        item = FILE._replace(executable=executable)
        assert folder.put(staged(folder), item, b"a", scanned(path / "a"))
        assert (path / "a").stat().st_mode & 0o777 == wanted


def test_folders_are_made_once(folder: SyncedFolder, path: Path) -> None:
    folder.make(b"d")
    folder.make(b"d/e")
    folder.make(b"d")
    (path / "f").write_text("x")
    with pytest.raises(MachineError, match="changed while it was being synced"):
        folder.make(b"f")


def test_it_leaves_nothing_behind(path: Path) -> None:
    with SyncedFolder(path) as folder:
        folder.put(staged(folder, "d/new"), FILE, b"a", None)
        folder.staging.mkdir()
        (folder.staging / "state").write_text("of a fetch that is not wanted any more")
        folder.finish()
    assert os.listdir(path) == ["a"]


def test_what_a_killed_sync_left_goes_but_not_what_it_was_fetching(path: Path) -> None:
    with SyncedFolder(path) as folder:
        staged(folder)
        (folder.tree.parent / "out").write_text("taken out")
        folder.staging.mkdir()
    with SyncedFolder(path) as folder:
        assert os.listdir(folder.tree.parent) == ["fetch.part"]


def test_one_at_a_time(folder: SyncedFolder, path: Path) -> None:
    with pytest.raises(RefusedError, match="another sync of"):
        SyncedFolder(path)
    assert os.listdir(path) == [os.fsdecode(WORK_NAME)]  # it is the other's, empty as it is
    folder.close()
    SyncedFolder(path).close()
    assert not os.listdir(path)


def test_what_is_not_ours_is_in_the_way(path: Path, tmp_path: Path) -> None:
    work = path / os.fsdecode(WORK_NAME)
    work.write_text("mine")
    with pytest.raises(RefusedError, match="in the way"):
        SyncedFolder(path)
    assert work.read_text() == "mine"
    work.unlink()
    work.symlink_to(tmp_path)
    with pytest.raises(RefusedError, match="in the way"):
        SyncedFolder(path)


def test_it_knows_that_another_folder_took_its_place(folder: SyncedFolder, path: Path) -> None:
    folder.check_place()
    path.rename(path.with_name("moved"))
    with pytest.raises(MachineError, match="No such file"):
        folder.check_place()
    path.mkdir()
    with pytest.raises(MachineError, match="another folder"):
        folder.check_place()


def test_a_file_or_nothing_cannot_be_synced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("file", "none"):
        with pytest.raises(MachineError, match="cannot sync"):
            SyncedFolder(tmp_path / name)


def test_its_mark_stays_with_it(path: Path) -> None:
    with SyncedFolder(path) as folder:
        assert folder.work.mark() is None
    assert not os.listdir(path)
    with SyncedFolder(path) as folder:
        mark = folder.work.make_mark(b"m" * 16)
        assert folder.work.make_mark(b"n" * 16) == folder.work.mark() == mark
    shutil.copytree(path, path.with_name("copy"))
    with SyncedFolder(path) as folder, SyncedFolder(path.with_name("copy")) as copy:
        assert folder.work.mark() == mark
        assert copy.work.mark() != mark
    shutil.rmtree(path)
    path.mkdir()
    with SyncedFolder(path) as folder:
        assert folder.work.mark() is None


def test_a_mark_that_was_cut_short_is_none(folder: SyncedFolder) -> None:
    (folder.tree.parent / "id").write_bytes(b"m" * 15)
    assert folder.work.mark() is None
    mark = folder.work.make_mark(b"n" * 16)
    assert mark.startswith(b"n" * 16)
    assert folder.work.mark() == mark
    (folder.tree.parent / "id").unlink()
    (folder.tree.parent / "id").symlink_to("elsewhere")
    with pytest.raises(MachineError, match="cannot read"):
        folder.work.mark()
