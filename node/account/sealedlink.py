"""Links that were sealed for an account, opened with its keys."""

from node.errors import ConfigError, RefusedError
from protocol.account import AccountKeys
from protocol.errors import LinkError, SealedLinkError
from protocol.links import Link, NameLink, SealedLink, open_link


def no_account() -> RefusedError:
    """What is said where there is no account that could open it."""
    return RefusedError(
        "this link is sealed: only the account that it was made for opens it, and this home has none",
        hint="use the --home with that account",
    )


def unseal(sealed: SealedLink, account: AccountKeys) -> Link | NameLink:
    """The link that was sealed for this account.

    Raises:
        RefusedError: It was sealed for another one.
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
