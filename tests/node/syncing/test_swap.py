"""Renames that destroy nothing (node/syncing/swap.py), with the system's help and without."""

import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.syncing import swap
from node.syncing.swap import Place, bring_to_disk, exchange, move


def _unknown(*_: object) -> int:
    ctypes.set_errno(errno.EINVAL)  # as a file system says that cannot do it
    return -1


@pytest.fixture(params=["renameat2", "a system without", "a file system without"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    if request.param != "renameat2":
        monkeypatch.setattr(swap, "_rename2", None if request.param == "a system without" else _unknown)
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield handle
    os.close(handle)


def contents(tmp_path: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in tmp_path.iterdir()}


def test_a_move_never_replaces(folder: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    move(Place(folder, b"a"), Place(folder, b"b"))
    assert contents(tmp_path) == {"b": "a"}
    (tmp_path / "a").write_text("new")
    with pytest.raises(FileExistsError):
        move(Place(folder, b"a"), Place(folder, b"b"))
    (tmp_path / "c").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        move(Place(folder, b"a"), Place(folder, b"c"))
    (tmp_path / "c").unlink()
    assert contents(tmp_path) == {"a": "new", "b": "a"}


def test_an_exchange_loses_neither(folder: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    exchange(Place(folder, b"a"), Place(folder, b"b"))
    assert contents(tmp_path) == {"a": "b", "b": "a"}
    with pytest.raises(FileNotFoundError):
        exchange(Place(folder, b"a"), Place(folder, b"none"))
    assert contents(tmp_path) == {"a": "b", "b": "a"}


def test_looking_follows_no_link(folder: int, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert Place(folder, b"link").look() is not None
    assert Place(folder, b"nowhere").look() is None


def test_all_is_brought_to_the_disk(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_to_disk(folder)
    with pytest.raises(OSError, match="Bad file descriptor"):
        bring_to_disk(-1)
    monkeypatch.setattr(swap, "_syncfs", None)
    calls: list[None] = []
    monkeypatch.setattr(os, "sync", lambda: calls.append(None))
    bring_to_disk(folder)
    assert len(calls) == 1


def test_what_appears_during_an_exchange_stays(folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the system's help the place is empty for a moment."""
    monkeypatch.setattr(swap, "_rename2", None)
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    rename = os.rename

    def slowly(source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if source == b"b":
            (tmp_path / "b").write_text("saved")

    monkeypatch.setattr(os, "rename", slowly)
    with pytest.raises(FileExistsError):
        exchange(Place(folder, b"a"), Place(folder, b"b"))
    assert contents(tmp_path) == {"a": "a", "b": "saved", "a.aside": "b"}


def test_where_there_are_no_second_names_it_is_looked(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        move(Place(folder, b"a"), Place(folder, b"b"))
    move(Place(folder, b"a"), Place(folder, b"c"))
    assert contents(tmp_path) == {"b": "b", "c": "a"}
