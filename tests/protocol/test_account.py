"""Accounts: derivations, the account file (protocol/account.py, protocol/accountfile.py)."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl import bindings, exceptions

from protocol import accountfile, errors
from protocol.account import AccountKeys
from protocol.accountfile import AccountFile, Cost, passphrase_problem, read_account_file
from protocol.codec import Raw
from protocol.errors import LocalProtocolError
from protocol.hashing import digest
from protocol.identity import Identity
from tests.vectors import make_account
from tests.vectors.make_account import CHEAP, FILE, KEYS, NONCE, PASSPHRASE, SALT, SECRET

FOLDER = Path(__file__).parent.parent / "vectors"
PATHS = [path for path in sorted(FOLDER.glob("account_*.json")) if not path.stem.startswith("account_phrase")]

Json = dict[str, Any]


def _keys(inputs: Json) -> Json:
    keys = AccountKeys(bytes.fromhex(inputs["secret"]))
    seed = digest("account identity", keys.secret)
    assert Identity(seed).key == keys.identity.key
    return {
        "identity_seed": seed.hex(),
        "key": keys.identity.key.hex(),
        "convergence_secret": keys.convergence_secret.hex(),
        "drive_secret": keys.drive_secret.hex(),
        "cache_key": keys.cache_key.hex(),
        "names": {label: keys.name_secret(label).hex() for label in inputs["labels"]},
    }


def _file(inputs: Json) -> Json:
    data = bytes.fromhex(inputs["file"])
    found = read_account_file(data)
    keys = found.open(inputs["passphrase"])
    assert found.encode() == data
    return {"secret": keys.secret.hex(), "key": found.public_key.hex()}


OPERATIONS: dict[str, Callable[[Json], Json]] = {"account keys": _keys, "account file": _file}
ERRORS = {
    "WrongPassphraseError": accountfile.WrongPassphraseError,
    "IntegrityError": errors.IntegrityError,
    "RemoteProtocolError": errors.RemoteProtocolError,
}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_vector(path: Path) -> None:
    vector = json.loads(path.read_text("utf-8"))
    run = OPERATIONS[vector["operation"]]
    if vector["expect"] == "success":
        assert run(vector["input"]) == vector["output"]
        return
    with pytest.raises(errors.ProtocolError) as caught:
        run(vector["input"])
    assert type(caught.value) is ERRORS[vector["expect"]]


def test_the_vectors_are_those_the_code_makes() -> None:
    made = {stem for stem, _ in make_account.vectors()}
    assert made == {path.stem for path in FOLDER.glob("account_*.json")}


def test_no_two_derived_secrets_are_equal() -> None:
    derived = [KEYS.secret, KEYS.convergence_secret, KEYS.cache_key, KEYS.drive_secret]
    derived += [KEYS.name_secret(label) for label in ("blog", "Blog", "blog ")]
    assert len({bytes(secret) for secret in derived}) == 7


def test_secrets_are_not_shown() -> None:
    secrets = [KEYS.secret, KEYS.convergence_secret, KEYS.cache_key, KEYS.drive_secret, KEYS.name_secret("blog")]
    assert {f"{secret!r} {secret} {secret!s}" for secret in secrets} == {" ".join(["Secret(32 bytes)"] * 3)}
    assert repr(KEYS) == f"AccountKeys({KEYS.identity.key.hex()[:8]})"
    with pytest.raises(ValueError, match="want 32 to 32 bytes"):
        Raw(32).dump(KEYS.secret)  # no message carries one by mistake


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_an_account_secret_has_one_length(size: int) -> None:
    with pytest.raises(LocalProtocolError, match=f"got {size}"):
        AccountKeys(bytes(size))


@pytest.mark.parametrize("label", ["", "x" * 65, "\N{SNOWMAN}" * 22, "\udc80"])
def test_labels_have_bounds(label: str) -> None:
    with pytest.raises(LocalProtocolError, match="a label is"):
        KEYS.name_secret(label)


# --- the account file ---


def test_a_file_is_as_long_as_the_specification_says() -> None:
    moderate = replace(FILE, passes=3, memory_bytes=256 << 20)
    assert len(moderate.encode()) == 186
    assert read_account_file(moderate.encode()) == moderate
    assert Cost(3, 256 << 20) == accountfile.MODERATE


def test_salt_nonce_and_passphrase_all_count() -> None:
    others = [
        AccountFile.seal(KEYS, PASSPHRASE, salt=SALT[::-1], nonce=NONCE, cost=CHEAP),
        AccountFile.seal(KEYS, PASSPHRASE, salt=SALT, nonce=NONCE[::-1], cost=CHEAP),
        AccountFile.seal(KEYS, "another", salt=SALT, nonce=NONCE, cost=CHEAP),
        AccountFile.seal(KEYS, PASSPHRASE, salt=SALT, nonce=NONCE, cost=Cost(2, 8192)),
        AccountFile.seal(KEYS, PASSPHRASE, salt=SALT, nonce=NONCE, cost=Cost(1, 9216)),
    ]
    assert len({found.sealed for found in (FILE, *others)}) == 6
    assert SECRET not in FILE.encode()


@pytest.mark.parametrize("passphrase", ["", "x" * 1025, "\N{SNOWMAN}" * 342, "\udc80"])
def test_passphrases_have_bounds(passphrase: str) -> None:
    assert passphrase_problem(passphrase) is not None
    with pytest.raises(LocalProtocolError, match="a passphrase is"):
        AccountFile.seal(KEYS, passphrase, salt=SALT, nonce=NONCE, cost=CHEAP)
    with pytest.raises(LocalProtocolError, match="a passphrase is"):
        FILE.open(passphrase)
    assert passphrase_problem("x" * 1024) is None


@pytest.mark.parametrize("cost", [Cost(0, 8192), Cost(9, 8192), Cost(1, 8191), Cost(1, (1 << 30) + 1)])
def test_costs_have_bounds(cost: Cost) -> None:
    with pytest.raises(LocalProtocolError, match="no passphrase may cost"):
        AccountFile.seal(KEYS, PASSPHRASE, salt=SALT, nonce=NONCE, cost=cost)
    with pytest.raises(LocalProtocolError):
        replace(FILE, passes=cost.passes, memory_bytes=cost.memory_bytes).encode()


def test_too_little_memory_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> bytes:
        raise exceptions.RuntimeError("Unexpected failure in key derivation")

    monkeypatch.setattr(bindings, "crypto_pwhash_alg", full)
    with pytest.raises(MemoryError, match="8192 bytes"):
        FILE.open(PASSPHRASE)
