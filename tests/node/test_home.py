"""The home folder and its secrets (node/home.py)."""

from pathlib import Path

import pytest

from node.errors import MachineError
from node.home import Home, secret_file


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
