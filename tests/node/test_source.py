"""Listing and reading what is to be published (node/publishing/source.py)."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.errors import ConfigError, MachineError
from node.publishing.source import Source, scan, scan_folder
from protocol.manifest import Kind

NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody whom permissions bind: root reads everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def read(source: Source, number: int = 0, offset: int = 0, size: int | None = None) -> bytes:
    target = bytearray(source.entries[number].size - offset if size is None else size)
    source.read_into(number, offset, memoryview(target))
    return bytes(target)


def test_a_tree_is_listed_in_order_of_path(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("b/x", "b.txt", "a", "b-c"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    (root / "empty").mkdir()
    (root / "a").chmod(0o744)
    os.utime(root / "a", ns=(0, 12_345_678_901))
    source = scan([root])
    assert [entry.path for entry in source.entries] == [
        b"root",
        b"root/a",
        b"root/b",
        b"root/b-c",
        b"root/b.txt",
        b"root/b/x",
        b"root/empty",
    ]
    assert not source.skipped
    assert source.total_bytes == 1 + 3 + 5 + 3
    a, x = source.entries[1], source.entries[5]
    assert (a.kind, a.executable, a.mtime_ns, a.size) == (Kind.FILE, True, 12_345_678_901, 1)
    assert not x.executable
    assert read(source, 5) == b"b/x"


def test_odd_names_are_kept_byte_for_byte(tmp_path: Path) -> None:
    names = [b"\xff\xfe not utf-8", b"new\nline", b" ", b"-rf", b"\x1b[31mred", "nai\u0308ve".encode(), b"x" * 255]
    (tmp_path / "root").mkdir()
    for name in names:
        with open(os.fsencode(tmp_path / "root") + b"/" + name, "wb") as handle:
            handle.write(name)
    source = scan([tmp_path / "root"])
    found = {entry.path: read(source, number) for number, entry in enumerate(source.entries) if number}
    assert found == {b"root/" + name: name for name in names}


def test_what_cannot_be_published_is_skipped_with_a_reason(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    os.mkfifo(root / "pipe")
    (root / "out").symlink_to("../secret")
    (root / "abs").symlink_to("/etc/passwd")
    (root / "zigzag").symlink_to("in/../../secret")
    (root / "in").symlink_to("file")
    (root / "dangling").symlink_to("nowhere")
    (root / "file").write_bytes(b"content")
    source = scan([root])
    assert {entry.path: entry.target for entry in source.entries if entry.kind is Kind.SYMLINK} == {
        b"root/in": b"file",
        b"root/dangling": b"nowhere",
    }
    assert sorted(source.skipped) == [
        "root/abs: a symbolic link that leads out of the folder",
        "root/out: a symbolic link that leads out of the folder",
        "root/pipe: neither a file, a folder nor a symbolic link",
        "root/zigzag: a symbolic link that leads out of the folder",
    ]


def test_a_folder_too_deep_is_skipped_with_all_in_it(tmp_path: Path) -> None:
    (tmp_path / "d" / "/".join("d" * 256)).mkdir(parents=True)
    source = scan([tmp_path / "d"])
    assert len(source.entries) == 256
    assert [text.rpartition(": ")[2] for text in source.skipped] == ["a path has at most 256 components, got 257"]


def test_links_are_followed_only_when_they_are_named(tmp_path: Path) -> None:
    """A named link is published as what it leads to, under its own name."""
    (tmp_path / "target").mkdir()
    (tmp_path / "target/file").write_bytes(b"1")
    (tmp_path / "alias").symlink_to("target")
    source = scan([tmp_path / "alias"])
    assert [(entry.path, entry.kind) for entry in source.entries] == [
        (b"alias", Kind.FOLDER),
        (b"alias/file", Kind.FILE),
    ]
    assert read(source, 1) == b"1"
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer/inner").symlink_to("loop")
    (tmp_path / "outer/loop").symlink_to("inner")
    assert len(scan([tmp_path / "outer"]).entries) == 3


def test_several_paths(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"b")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").write_bytes(b"x")
    (tmp_path / "a.txt").write_bytes(b"a.txt")
    source = scan([tmp_path / "b", tmp_path / "a", tmp_path / "a.txt"])
    assert [entry.path for entry in source.entries] == [b"a", b"a.txt", b"a/x", b"b"]
    assert [read(source, number) for number in (1, 2, 3)] == [b"a.txt", b"x", b"b"]
    (tmp_path / "a/b").write_bytes(b"other")
    with pytest.raises(ConfigError, match="two of the paths are called 'b'"):
        scan([tmp_path / "b", tmp_path / "a/b"])


def test_names_come_from_where_a_path_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert scan([Path()]).entries[0].path == b"here"
    assert scan([Path("../here/.")]).entries[0].path == b"here"
    with pytest.raises(ConfigError, match="no name"):
        scan([Path("/")])


def test_what_is_not_there_or_not_readable(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="No such file"):
        scan([tmp_path / "nothing"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MachineError, match="nothing to publish: pipe"):
        scan([tmp_path / "pipe"])
    (tmp_path / "closed").mkdir(mode=0o000)
    file = tmp_path / "file"
    file.write_bytes(b"secret")
    file.chmod(0o000)
    source = scan([file])
    with unprivileged():
        with pytest.raises(MachineError, match="Permission denied"):
            scan([tmp_path / "closed"])
        with pytest.raises(MachineError, match="Permission denied"):
            read(source)


def test_a_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 100)
    source = scan([path])
    assert read(source, 0, 1000, 500) == path.read_bytes()[1000:1500]
    assert read(source, 0, 25_600, 0) == b""


def _truncate(path: Path) -> None:
    os.truncate(path, 10)


def _grow(path: Path) -> None:
    with path.open("ab") as handle:
        handle.write(b"x")


def _rewrite(path: Path) -> None:
    """Same size, same time of change as a program may set it: the inode's own time tells."""
    found = path.stat()
    path.write_bytes(b"y" * found.st_size)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _replace(path: Path) -> None:
    found = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"z" * found.st_size)
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.rename(path)


def _remove(path: Path) -> None:
    path.unlink()


def _link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def _pipe(path: Path) -> None:
    """Opening it must not wait for a writer."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [_truncate, _grow, _rewrite, _replace, _remove, _link, _pipe])
def test_a_file_that_changed_is_not_read(tmp_path: Path, change: object) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    source = scan([path])
    assert read(source) == b"x" * 1000
    assert callable(change)
    change(path)
    with pytest.raises(MachineError, match=r"changed while it was being published|cannot read"):
        read(source)


def test_a_change_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is as it was when it is opened, and another when it is read to its end."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    source = scan([path])
    preadv = os.preadv

    def meanwhile(handle: int, buffers: list[memoryview], offset: int) -> int:
        _grow(path)
        return preadv(handle, buffers, offset)

    monkeypatch.setattr(os, "preadv", meanwhile)
    with pytest.raises(MachineError, match="it was written to"):
        read(source)


def test_a_folder_is_listed_under_another_name_and_without_one_thing(tmp_path: Path) -> None:
    for name in ("a", "left/inner", "sub/left/deep", "sub/left_too"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(name.encode())
    os.mkfifo(tmp_path / "pipe")
    source = scan_folder(tmp_path, b"other", b"left")
    assert [entry.path for entry in source.entries] == [b"other", b"other/a", b"other/sub", b"other/sub/left_too"]
    assert read(source, 3) == b"sub/left_too"
    assert source.skipped == ["other/pipe: neither a file, a folder nor a symbolic link"]
    assert source.skipped_paths == [b"other/pipe"]
    with pytest.raises(MachineError, match="cannot read"):
        scan_folder(tmp_path / "none", b"other", b"left")


def test_a_folder_is_listed_without_what_is_mounted_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/b").write_bytes(b"b")
    look = os.lstat

    def mounted(path: bytes) -> os.stat_result:
        found = look(path)
        return found if not path.endswith(b"/disk") else os.stat_result([*found[:2], found.st_dev + 1, *found[3:10]])

    monkeypatch.setattr(os, "lstat", mounted)
    source = scan_folder(tmp_path, b"x", b"left")
    monkeypatch.undo()
    assert [entry.path for entry in source.entries] == [b"x", b"x/a"]
    assert source.skipped == ["x/disk: it is of another file system"]


def test_of_a_folder_what_vanishes_is_not_there_and_what_cannot_be_read_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "gone", "private", "sub/b", "lost+found/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    look, names, access = os.lstat, os.listdir, os.access

    def vanishing(path: bytes) -> os.stat_result:
        if path.endswith(b"/gone"):
            (tmp_path / "gone").unlink(missing_ok=True)
        return look(path)

    def listing(path: bytes) -> list[bytes]:
        if path.endswith(b"/lost+found"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return names(path)

    monkeypatch.setattr(os, "lstat", vanishing)
    monkeypatch.setattr(os, "listdir", listing)
    refuse = lambda path, mode, **how: not path.endswith(b"/private") and access(path, mode, **how)  # noqa: E731
    monkeypatch.setattr(os, "access", refuse)
    source = scan_folder(tmp_path, b"x", b"left")
    monkeypatch.undo()
    assert [entry.path for entry in source.entries] == [b"x", b"x/a", b"x/sub", b"x/sub/b"]
    assert source.skipped == [f"x/{name}: it cannot be read: Permission denied" for name in ("lost+found", "private")]
