"""What an unlocked account is."""

from dataclasses import dataclass

from protocol.account import AccountKeys


@dataclass(frozen=True, slots=True)
class Held:
    """An account that somebody keeps unlocked."""

    keys: AccountKeys
    until: int
    """Seconds since 1970-01-01 UTC."""
    keeper: str
    """``agent`` or ``keyring``."""
