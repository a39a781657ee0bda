"""Links as people hand them over: read from what was typed or pasted, and opened if they are sealed."""

from node.errors import ConfigError, RefusedError
from protocol.account import AccountKeys
from protocol.errors import LinkError, SealedLinkError
from protocol.links import AnyLink, Link, NameLink, SealedLink, open_link, parse_link


def read_link_text(text: str) -> AnyLink:
    """A link of any kind, as itself or behind a gateway's address. Raises ConfigError, which does not repeat it."""
    try:
        return parse_link(text)
    except LinkError as exc:
        raise ConfigError(str(exc), hint="copy the whole link, from archipel: to its last character") from exc


def unseal(sealed: SealedLink, account: AccountKeys) -> Link | NameLink:
    """What is sealed for an account.

    Raises:
        RefusedError: It was sealed for another one.
        ConfigError: What is sealed is no link.
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


def nobody_to_unseal() -> RefusedError:
    """That a home without an account was given a sealed link."""
    return RefusedError(
        "this link is sealed: only the account that it was made for opens it, and this home has none",
        hint="use the --home with that account",
    )
