"""The account, the home and the journal that commands on a drive begin with."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from node.cli.options import settings
from node.cli.own import own_account, own_home
from node.drive.known import Owner
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
    config, home, account = settings().config(), own_home(), own_account()
    with closing(Journal(home.journal, Network(config.network).id)) as journal:
        yield Owner.of_command(config, home, account, journal)
