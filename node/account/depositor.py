"""Who signs: the home's account if it has one, else its unnamed identity."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from node.account.unlocked import held
from node.account.vault import Vault
from node.errors import MachineError, RefusedError
from node.home import Depositor, Home
from protocol.account import AccountKeys
from protocol.accountkey import format_account_key
from protocol.identity import Identity
from protocol.ids import PublicKey

log = logging.getLogger(__name__)

Ask = Callable[[], str]
"""Gets the account's passphrase from a person. Raises RefusedError where nobody can be asked."""


def locked() -> RefusedError:
    """That nobody can be asked for the passphrase."""
    return RefusedError("the account is locked", hint="archipel account unlock")


def open_account(home: Home, ask: Ask) -> AccountKeys:
    """The account's keys: of who keeps it unlocked, else with the passphrase, which is asked for. Blocks.

    Raises:
        NotFoundError: This home has no account.
        RefusedError: The passphrase is wrong, or nobody can be asked for it.
        MachineError: The account file is damaged or cannot be read.
    """
    vault = Vault.of(home)
    key = vault.key
    try:
        found = held(home, key)
    except MachineError as exc:
        log.warning("%s: the passphrase opens the account all the same", exc)
        found = None
    return found.keys if found is not None else vault.open(ask())


def open_depositor(home: Home, ask: Ask) -> Depositor:
    """Who publishes from this home: its account, or its unnamed identity, made on first use. Blocks.

    Raises:
        RefusedError: The account is locked: the passphrase is wrong, or nobody can be asked for it.
        MachineError: A file cannot be read or written, or is damaged.
    """
    keys = open_account_if_any(home, ask)
    return home.depositor() if keys is None else depositor_of(keys)


def open_account_if_any(home: Home, ask: Ask) -> AccountKeys | None:
    """As :func:`open_account`; None: this home has no account."""
    return open_account(home, ask) if Vault.of(home).exists else None


def depositor_of(account: AccountKeys) -> Depositor:
    """An account as the one who publishes."""
    return Depositor(account.identity, account.convergence_secret, account=True)


def open_signer(home: Home, depositors: Iterable[PublicKey | None], ask: Ask) -> "Known":
    """Who signs for what this home published under these keys; the account is opened only if it is one of them. Blocks.

    Raises:
        RefusedError: The account is locked: the passphrase is wrong, or nobody can be asked for it.
        MachineError: A file cannot be read, or is damaged.
    """
    wanted = set(depositors)
    identities: dict[PublicKey | None, Identity] = {}
    named = {key for key in wanted if key is not None}
    if home.has_depositor or None in wanted:
        unnamed = home.depositor().identity
        identities |= {None: unnamed, unnamed.key: unnamed}
        named.discard(unnamed.key)
    account = None
    vault = Vault.of(home)
    if named and vault.exists and vault.key in named:
        account = open_account(home, ask)
        identities[account.identity.key] = account.identity
    return Known(identities, account)


@dataclass(frozen=True, slots=True)
class Known:
    """The identities at hand: a :class:`Signer`."""

    identities: dict[PublicKey | None, Identity]
    account: AccountKeys | None
    """The home's account, if it was opened for one of them."""

    def identity_of(self, depositor: PublicKey | None) -> Identity:
        found = self.identities.get(depositor)
        if found is None:
            assert depositor is not None, "the unnamed identity is opened whenever it is asked for"
            raise RefusedError(
                f"another account has published it: {format_account_key(depositor)}",
                hint="only the depositor can change its leases: use the --home with that account",
            )
        return found
