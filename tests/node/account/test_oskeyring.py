"""The operating system's keyring, where there is one (node/account/oskeyring.py)."""

import importlib.util
import json
import sys
import threading
import types
from pathlib import Path

import pytest

from node.account import agent, oskeyring, unlocked
from node.account.oskeyring import SERVICE, KeyringFailedError, OsKeyring, find_backend
from node.account.vault import Vault
from node.errors import ConfigError, MachineError
from node.home import Home
from node.unixsockets import listening_socket
from protocol.account import AccountKeys
from tests.vectors.make_account import CHEAP, KEYS, PASSPHRASE

NOW = 1_800_000_000


class Memory:
    """A keyring in memory, as a backend of keyring is."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], str] = {}
        self.fails = False

    def _look(self) -> None:
        if self.fails:
            raise RuntimeError("locked")

    def get_password(self, service: str, username: str) -> str | None:
        self._look()
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._look()
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._look()
        del self.entries[service, username]


@pytest.fixture
def backend() -> Memory:
    return Memory()


def test_an_entry_carries_its_deadline(tmp_path: Path, backend: Memory) -> None:
    home, now = Home(tmp_path), [float(NOW)]
    keyring = OsKeyring(backend, home, lambda: now[0])
    assert keyring.held(KEYS.identity.key) is None
    kept = keyring.keep(KEYS, 3600)
    assert (kept.until, kept.keeper) == (NOW + 3600, "keyring")
    assert list(backend.entries) == [(SERVICE, str(tmp_path))]
    now[0] += 3599
    found = keyring.held(KEYS.identity.key)
    assert found is not None
    assert (found.keys.secret, found.until) == (KEYS.secret, NOW + 3600)
    now[0] += 1
    assert keyring.held(KEYS.identity.key) is None
    assert not backend.entries, "what is over is deleted"


def test_a_clock_that_was_set_back_does_not_make_it_last(tmp_path: Path, backend: Memory) -> None:
    OsKeyring(backend, Home(tmp_path), lambda: NOW).keep(KEYS, 3600)
    assert OsKeyring(backend, Home(tmp_path), lambda: NOW - 30 * 86400).held(KEYS.identity.key) is None
    assert not backend.entries


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "{}",
        "[" * 100_000,
        json.dumps({"key": KEYS.identity.key.hex(), "secret": "zz", "until": NOW + 9}),
        json.dumps({"key": KEYS.identity.key.hex(), "secret": "00" * 32, "until": NOW + 9}),
        json.dumps({"key": KEYS.identity.key.hex(), "secret": "00", "until": NOW + 9}),
        json.dumps({"key": KEYS.identity.key.hex(), "secret": KEYS.secret.hex(), "until": str(NOW)}),
    ],
)
def test_what_is_not_ours_is_deleted(tmp_path: Path, backend: Memory, entry: str) -> None:
    keyring = OsKeyring(backend, Home(tmp_path), lambda: NOW)
    backend.entries[SERVICE, str(tmp_path)] = entry
    assert keyring.held(KEYS.identity.key) is None
    assert not backend.entries


def test_of_another_account(tmp_path: Path, backend: Memory) -> None:
    keyring = OsKeyring(backend, Home(tmp_path), lambda: NOW)
    keyring.keep(AccountKeys(bytes(32)), 60)
    assert keyring.held(KEYS.identity.key) is None


def test_one_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, backend: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oskeyring, "ANSWER_SECONDS", 0.05)
    asked = threading.Event()
    monkeypatch.setattr(backend, "get_password", lambda *_: asked.wait(20))
    with pytest.raises(KeyringFailedError, match="no answer"):
        OsKeyring(backend, Home(tmp_path)).held(KEYS.identity.key)
    asked.set()


# --- which keyring is used, and what when it fails ---


def test_who_watches_does_not_ask_a_keyring_twice_that_waits_for_a_person(
    tmp_path: Path, backend: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    watch = unlocked.Watch(home)
    monkeypatch.setattr(unlocked, "find_backend", lambda: backend)
    OsKeyring(backend, home).keep(KEYS, 3600)
    assert watch.keys() is None, "the home has no account"
    Vault.of(home).create(KEYS, PASSPHRASE, CHEAP)
    found = watch.keys()
    assert found is not None
    assert found.secret == KEYS.secret
    backend.fails = True
    assert watch.keys() is None
    backend.fails = False
    assert watch.keys() is None, "it is not asked again"
    assert unlocked.Watch(home).keys() is not None


def _install(monkeypatch: pytest.MonkeyPatch, chosen: object) -> None:
    """As if the library were installed and had chosen this backend."""
    library = types.ModuleType("keyring")
    library.get_keyring = lambda: chosen  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", library)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def _backend(module: str) -> Memory:
    kind = type("Keyring", (Memory,), {"__module__": module})
    made: Memory = kind()
    return made


def test_only_the_operating_systems_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("keyring.backends.SecretService", "keyring.backends.macOS", "keyring.backends.kwallet"):
        chosen = _backend(module)
        _install(monkeypatch, chosen)
        assert find_backend() is chosen
    for module in ("keyring.backends.null", "keyring.backends.fail", "keyrings.alt.file", "somebody.elses"):
        _install(monkeypatch, _backend(module))
        assert find_backend() is None
    chain = _backend("keyring.backends.chainer")
    good = _backend("keyring.backends.libsecret")
    chain.backends = [_backend("keyrings.alt.file"), good]  # type: ignore[attr-defined]
    _install(monkeypatch, chain)
    assert find_backend() is good


def test_none_where_the_library_is_missing_or_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert find_backend() is None
    _install(monkeypatch, None)

    def broken() -> None:
        raise RuntimeError("no D-Bus")

    monkeypatch.setattr(sys.modules["keyring"], "get_keyring", broken)
    assert find_backend() is None


def test_the_keyring_keeps_it_instead_of_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, chosen = Home(tmp_path), _backend("keyring.backends.SecretService")
    _install(monkeypatch, chosen)
    assert unlocked.hold(home, KEYS, 60).keeper == "keyring"
    found = unlocked.held(home, KEYS.identity.key)
    assert found is not None
    assert found.keys.secret == KEYS.secret
    assert not list(tmp_path.iterdir()), "no agent, no file"
    assert unlocked.let_go(home)
    assert not unlocked.let_go(home)
    assert unlocked.held(home, KEYS.identity.key) is None


def test_when_the_keyring_fails_the_agent_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, chosen = Home(tmp_path), _backend("keyring.backends.SecretService")
    chosen.fails = True
    _install(monkeypatch, chosen)
    assert unlocked.hold(home, KEYS, 60).keeper == "agent"
    assert unlocked.held(home, AccountKeys(bytes(32)).identity.key) is None, "it holds another account"
    found = unlocked.held(home, KEYS.identity.key)
    assert found is not None
    assert found.keeper == "agent"
    with pytest.raises(MachineError, match="the keyring does not say"):
        unlocked.let_go(home)  # the agent is gone all the same
    assert unlocked.held(home, KEYS.identity.key) is None


def test_the_keyring_forgets_it_also_when_the_agent_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, chosen = Home(tmp_path), _backend("keyring.backends.SecretService")
    _install(monkeypatch, chosen)
    unlocked.hold(home, KEYS, 60)
    monkeypatch.setattr(agent, "ASK_SECONDS", 0.05)
    with listening_socket(tmp_path / agent.SOCKET_FILE, 8):
        with pytest.raises(MachineError, match=r"does not answer as an agent does$"):
            unlocked.let_go(home)
        assert not chosen.entries
        with pytest.raises(MachineError, match=r"does not answer as an agent does$"):
            unlocked.hold(home, KEYS, 60)
        assert not chosen.entries, "what is told to have failed has kept nothing"
        chosen.fails = True
        with pytest.raises(MachineError, match="as an agent does; the keyring does not say"):
            unlocked.let_go(home)


@pytest.mark.parametrize("seconds", [0, 30 * 86400 + 1])
def test_not_for_longer_than_a_month(tmp_path: Path, seconds: int) -> None:
    with pytest.raises(ConfigError, match="30 days at most"):
        unlocked.hold(Home(tmp_path), KEYS, seconds)
