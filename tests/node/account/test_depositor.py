"""Who signs (node/account/depositor.py)."""

from pathlib import Path

import pytest

from node.account import agent
from node.account.agent import end_agent, start_agent
from node.account.depositor import open_account, open_depositor, open_signer
from node.account.vault import Vault
from node.errors import MachineError, NotFoundError, RefusedError
from node.home import Home
from node.unixsockets import listening_socket
from protocol.account import AccountKeys
from protocol.ids import PublicKey
from tests.vectors.make_account import CHEAP, KEYS, PASSPHRASE


def never() -> str:
    raise RefusedError("the account is locked")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """With an account."""
    found = Home(tmp_path)
    Vault.of(found).create(KEYS, PASSPHRASE, CHEAP)
    return found


def test_without_an_account_the_unnamed_identity(tmp_path: Path) -> None:
    home = Home(tmp_path)
    depositor = open_depositor(home, never)
    assert not depositor.account
    assert depositor.identity.key == home.depositor().identity.key
    with pytest.raises(NotFoundError):
        open_account(home, never)


def test_the_account_if_there_is_one(home: Home) -> None:
    depositor = open_depositor(home, lambda: PASSPHRASE)
    assert depositor.account
    assert depositor.identity.key == KEYS.identity.key
    assert depositor.convergence_secret == KEYS.convergence_secret
    assert not home.has_depositor, "no unnamed identity is made"
    with pytest.raises(RefusedError, match="wrong passphrase"):
        open_depositor(home, lambda: "wrong")
    with pytest.raises(RefusedError, match="the account is locked"):
        open_depositor(home, never)
    assert not home.has_depositor, "a locked account is no reason to sign with something else"


def test_a_damaged_account_is_no_reason_to_sign_with_something_else(home: Home) -> None:
    home.account.write_bytes(b"damaged")
    with pytest.raises(MachineError, match="is damaged"):
        open_depositor(home, lambda: PASSPHRASE)
    assert not home.has_depositor


def test_unlocked_it_is_not_asked_for(home: Home) -> None:
    start_agent(home, KEYS, 60)
    try:
        assert open_depositor(home, never).identity.key == KEYS.identity.key
        assert open_account(home, never).secret == KEYS.secret
        home.account.unlink()
        Vault.of(home).create(AccountKeys(bytes(32)), PASSPHRASE, CHEAP)
        with pytest.raises(RefusedError, match="the account is locked"):
            open_depositor(home, never)  # what the agent holds is another account
    finally:
        end_agent(home)


def test_who_has_the_passphrase_needs_no_agent(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Be whatever it may at its socket."""
    monkeypatch.setattr(agent, "ASK_SECONDS", 0.05)
    with listening_socket(home.path / agent.SOCKET_FILE, 8):
        assert open_account(home, lambda: PASSPHRASE).secret == KEYS.secret
    assert "does not answer as an agent does: the passphrase opens the account all the same" in caplog.text


def test_each_deposit_is_changed_by_who_published_it(home: Home) -> None:
    unnamed = home.depositor().identity
    account = KEYS.identity
    assert open_signer(home, [None], never).identity_of(None).key == unnamed.key
    assert open_signer(home, [unnamed.key], never).identity_of(unnamed.key).key == unnamed.key
    both = open_signer(home, [None, account.key], lambda: PASSPHRASE)
    assert both.identity_of(account.key).key == account.key
    assert both.identity_of(None).key == unnamed.key
    with pytest.raises(RefusedError, match="the account is locked"):
        open_signer(home, [account.key], never)
    stranger = PublicKey(b"s" * 32)
    with pytest.raises(RefusedError, match="another account has published it: archipel-key:"):
        open_signer(home, [stranger], never).identity_of(stranger)


def test_nobody_is_asked_or_made_for_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    signer = open_signer(home, [KEYS.identity.key], never)
    assert not home.has_depositor
    with pytest.raises(RefusedError, match="another account"):
        signer.identity_of(KEYS.identity.key)
