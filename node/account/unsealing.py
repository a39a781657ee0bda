"""Links that were sealed for one account, opened with it."""

from node.errors import ConfigError, RefusedError
from protocol.account import AccountKeys
from protocol.errors import LinkError, SealedLinkError
from protocol.links import Link, NameLink, SealedLink, open_link


def unsealed(sealed: SealedLink, account: AccountKeys) -> Link | NameLink:
    """The link in a sealed one.

    Raises:
        RefusedError: It was sealed for another account.
        ConfigError: What is in it is no link.
    """
    try:
        return open_link(sealed, account.identity)
    except SealedLinkError as exc:
        raise RefusedError(
            "this link is sealed for another account, or was changed on its way",
            hint="whoever sends you one needs the key that `archipel account show` prints",
        ) from exc
    except LinkError as exc:
        raise ConfigError(f"what is sealed in this link is none: {exc}", hint="ask whoever sent it") from exc
