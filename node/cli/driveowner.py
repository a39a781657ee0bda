"""The account, the home and the journal that commands on a drive begin with."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from node.account.depositor import open_account
from node.cli.options import settings
from node.cli.passphrase import ask_passphrase
from node.drive.known import Owner
from node.home import Home
from node.journal import Journal
from protocol.identity import Network


@contextmanager
def open_owner() -> Iterator[Owner]:
    """The owner of the drive that the command is about.

    Raises:
        NotFoundError: This home has no account.
        RefusedError: It is locked, and nobody can be asked for the passphrase, or it is wrong.
        MachineError: A file cannot be used.
    """
    config = settings().config()
    home = Home(config.home)
    account = open_account(home, ask_passphrase)
    with closing(Journal(home.journal, Network(config.network).id)) as journal:
        yield Owner(config, home, account, journal)
