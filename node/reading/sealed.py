"""Links as a program has them: a sealed one is opened by the account of the home, if that is unlocked."""

from node.account.unlocked import held
from node.account.vault import Vault
from node.errors import RefusedError
from node.home import Home
from node.linktext import nobody_to_unseal, unseal
from protocol.links import AnyLink, Link, NameLink, SealedLink


def unsealed(home: Home, link: AnyLink) -> Link | NameLink:
    """The link itself, or what is sealed in it. Nobody is asked for a passphrase. Blocks.

    Raises:
        RefusedError: It is sealed for another account; there is none here, or it is locked.
        ConfigError: What is sealed in it is no link.
        MachineError: The account file cannot be read.
    """
    if not isinstance(link, SealedLink):
        return link
    vault = Vault.of(home)
    if not vault.exists:
        raise nobody_to_unseal()
    found = held(home, vault.key)
    if found is None:
        raise RefusedError(
            "this link is sealed for an account, and the account of this home is locked", hint="archipel account unlock"
        )
    return unseal(link, found.keys)
