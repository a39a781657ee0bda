"""The home folder and its secrets (node/home.py)."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.errors import MachineError
from node.home import Home, secret_file, write_private


def test_a_depositor_is_made_once_and_kept(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    first = home.depositor()
    again = Home(home.path).depositor()
    assert again.identity.key == first.identity.key
    assert again.convergence_secret == first.convergence_secret
    other = Home(tmp_path / "other").depositor()
    assert other.identity.key != first.identity.key
    assert other.convergence_secret != first.convergence_secret
    assert len(first.convergence_secret) == 32


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    depositor = home.depositor()
    assert home.path.stat().st_mode & 0o777 == 0o700
    files = sorted(home.path.iterdir())
    assert [path.name for path in files] == ["convergence.secret", "identity.key"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert depositor.convergence_secret.hex() not in repr(depositor)
    assert repr(depositor.convergence_secret) not in repr(depositor)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_secret_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    home = Home(tmp_path)
    home.depositor()
    (tmp_path / "convergence.secret").write_bytes(content)
    with pytest.raises(MachineError, match="is damaged"):
        home.depositor()
    assert (tmp_path / "convergence.secret").read_bytes() == content


def test_another_process_that_was_first_wins(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    def make(size: int) -> bytes:
        path.write_bytes(b"theirs" + bytes(size - 6))
        return bytes(size)

    assert secret_file(path, 32, make) == b"theirs" + bytes(26)
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_home_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match="cannot create the home folder"):
        Home(tmp_path / "file" / "home").depositor()
    (tmp_path / "identity.key").mkdir()
    with pytest.raises(MachineError, match="cannot read"):
        Home(tmp_path).depositor()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk that is full in the middle of a write: the system takes a part of it, and nothing more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_does_not_fit_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "drive"
    write_private(path, b"old" * 1000, replace=True)
    with files_of_at_most(4096), pytest.raises(OSError):
        write_private(path, b"new" * 10_000, replace=True)
    with files_of_at_most(4096), pytest.raises(OSError):
        write_private(tmp_path / "other", b"new" * 10_000)
    assert path.read_bytes() == b"old" * 1000
    assert list(tmp_path.iterdir()) == [path]


def test_several_write_at_once(tmp_path: Path) -> None:
    """Each whole, and none clears away what another is about to put in place."""
    path, contents = tmp_path / "drive", (b"A" * 400_000, b"B" * 100)
    write_private(path, contents[1])
    errors: list[OSError] = []

    def write(data: bytes) -> None:
        try:
            for _ in range(40):
                write_private(path, data, replace=True)
        except OSError as exc:
            errors.append(exc)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert path.read_bytes() in contents
    assert not errors
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only that: not what is being written, nor what somebody else keeps there."""
    path, theirs = tmp_path / "account", tmp_path / ".account.backup"
    theirs.write_bytes(b"theirs")
    (tmp_path / ".account.0123456789abcdef.part").write_bytes(b"under the old passphrase")
    real = os.fsync

    def meanwhile(handle: int) -> None:
        monkeypatch.setattr(os, "fsync", real)
        write_private(path, b"one")
        real(handle)

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_private(path, b"two", replace=True)
    assert path.read_bytes() == b"two"
    assert sorted(tmp_path.iterdir()) == [theirs, path]
    (tmp_path / ".account.0123456789abcdef.part").write_bytes(bytes(32))
    path.write_bytes(bytes(32))
    assert secret_file(path, 32) == bytes(32)
    assert sorted(tmp_path.iterdir()) == [theirs, path]
