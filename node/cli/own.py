"""The home of a command, and the account in it."""

import click

from node.account.depositor import open_account
from node.account.vault import Vault
from node.cli.options import settings
from node.cli.passphrase import ask_passphrase
from node.home import Home
from protocol.account import AccountKeys

_ACCOUNT = "archipel.account"


def own_home() -> Home:
    """The home of the running command. Raises ConfigError."""
    return Home(settings().config().home)


def own_account() -> AccountKeys:
    """The account of the home. A command asks for its passphrase once at most.

    Raises:
        NotFoundError: This home has none.
        RefusedError: It is locked: the passphrase is wrong, or nobody can be asked for it.
        MachineError: The account file is damaged or cannot be read.
    """
    meta = click.get_current_context().meta
    if _ACCOUNT not in meta:
        meta[_ACCOUNT] = open_account(own_home(), ask_passphrase)
    found: AccountKeys = meta[_ACCOUNT]
    return found


def account_if_any() -> AccountKeys | None:
    """The same; None: this home has none."""
    return own_account() if Vault.of(own_home()).exists else None
