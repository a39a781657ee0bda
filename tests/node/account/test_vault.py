"""The account file of a home (node/account/vault.py)."""

import json
import os
import resource
from pathlib import Path

import pytest

from node.account.vault import Vault
from node.errors import ConfigError, MachineError, NotFoundError, RefusedError
from node.home import Home
from protocol.account import AccountKeys
from protocol.accountfile import AccountFile, Cost
from tests.vectors.make_account import CHEAP, FILE, KEYS, PASSPHRASE

FOLDER = Path(__file__).parents[2] / "vectors"
DAMAGED = [
    path
    for path in sorted(FOLDER.glob("account_file*.json"))
    if json.loads(path.read_text("utf-8"))["expect"] in ("RemoteProtocolError", "IntegrityError")
]
NEW = "a new passphrase"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    found = Vault.of(Home(tmp_path))
    found.create(KEYS, PASSPHRASE, CHEAP)
    return found


def test_it_opens_with_its_passphrase(vault: Vault) -> None:
    assert vault.exists
    assert vault.key == KEYS.identity.key
    assert vault.open(PASSPHRASE).secret == KEYS.secret
    assert vault.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in vault.path.parent.iterdir()] == ["account"]


@pytest.mark.parametrize("passphrase", ["", "wrong", PASSPHRASE + " ", "x" * 5000, "\udc80"])
def test_a_wrong_passphrase(vault: Vault, passphrase: str) -> None:
    before = vault.path.read_bytes()
    with pytest.raises(RefusedError, match=r"^wrong passphrase$") as caught:
        vault.open(passphrase)
    assert caught.value.exit_code == 4
    assert caught.value.__context__ is None, "nothing leads to where the passphrase is"
    assert vault.path.read_bytes() == before


@pytest.mark.parametrize("path", DAMAGED, ids=lambda path: path.stem)
def test_a_damaged_file_is_told_from_that(vault: Vault, path: Path) -> None:
    vector = json.loads(path.read_text("utf-8"))["input"]
    vault.path.write_bytes(bytes.fromhex(vector["file"]))
    with pytest.raises(MachineError, match="is damaged") as caught:
        vault.open(vector["passphrase"])
    assert caught.value.exit_code == 7
    assert vector["passphrase"] not in str(caught.value)


def test_every_flipped_bit_is_damage(vault: Vault) -> None:
    good = vault.path.read_bytes()
    for place in range(len(good)):
        vault.path.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        with pytest.raises(MachineError, match="is damaged"):
            vault.open(PASSPHRASE)


def test_an_account_is_never_replaced(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    before = vault.path.read_bytes()
    other = AccountKeys(bytes(32))
    with pytest.raises(RefusedError, match="this home has an account"):
        vault.create(other, PASSPHRASE, CHEAP)
    monkeypatch.setattr(Vault, "refuse_another", lambda _: None)  # another process was quicker
    with pytest.raises(RefusedError, match="this home has an account"):
        vault.create(other, PASSPHRASE, CHEAP)
    assert vault.path.read_bytes() == before
    assert len(list(vault.path.parent.iterdir())) == 1


@pytest.mark.parametrize("what", ["damaged", "folder", "link"])
def test_nor_is_what_cannot_be_read(tmp_path: Path, what: str) -> None:
    path = tmp_path / "account"
    if what == "folder":
        path.mkdir()
    elif what == "link":
        path.symlink_to("nowhere")
    else:
        path.write_bytes(b"damaged")
    vault = Vault.of(Home(tmp_path))
    assert vault.exists
    with pytest.raises(RefusedError):
        vault.create(KEYS, PASSPHRASE, CHEAP)


def test_the_passphrase_changes(vault: Vault) -> None:
    before = vault.read()
    vault.change(vault.open(PASSPHRASE), NEW, CHEAP)
    after = vault.read()
    assert vault.open(NEW).secret == KEYS.secret
    with pytest.raises(RefusedError, match="wrong passphrase"):
        vault.open(PASSPHRASE)
    assert (after.key, vault.path.stat().st_mode & 0o777) == (before.key, 0o600)
    assert after.salt != before.salt
    assert after.nonce != before.nonce
    assert len(list(vault.path.parent.iterdir())) == 1


def test_a_change_that_cannot_be_written_changes_nothing(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    before = vault.path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="No space left"):
        vault.change(KEYS, NEW, CHEAP)
    assert vault.path.read_bytes() == before
    assert len(list(vault.path.parent.iterdir())) == 1


@pytest.mark.parametrize("passphrase", ["", "1234567", "x" * 1025, "\udc80" * 8])
def test_what_cannot_be_set(tmp_path: Path, vault: Vault, passphrase: str) -> None:
    with pytest.raises(ConfigError, match="a passphrase"):
        vault.change(KEYS, passphrase, CHEAP)
    other = Vault(tmp_path / "other")
    with pytest.raises(ConfigError, match="a passphrase"):
        other.create(KEYS, passphrase, CHEAP)
    assert not other.exists
    assert vault.open(PASSPHRASE)


def test_a_home_without_an_account(tmp_path: Path) -> None:
    for home in (tmp_path, tmp_path / "missing"):
        vault = Vault.of(Home(home))
        assert not vault.exists
        with pytest.raises(NotFoundError, match="has no account"):
            vault.open(PASSPHRASE)


def test_a_file_cannot_eat_the_machine(vault: Vault) -> None:
    """It is turned away before anything is computed; what is allowed and too much for this machine is told."""
    for passes, memory_bytes in ((8, 1 << 30), (1, 1 << 30)):
        hungry = AccountFile(
            key=FILE.key, salt=FILE.salt, passes=passes, memory_bytes=memory_bytes, nonce=FILE.nonce, sealed=FILE.sealed
        )
        vault.path.write_bytes(hungry.encode())
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), hard))
        try:
            with pytest.raises(MachineError, match="too little memory"):
                vault.open(PASSPHRASE)
            with pytest.raises(MachineError, match="too little memory"):
                vault.change(KEYS, PASSPHRASE, Cost(1, 1 << 30))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
