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


def held_fields(found: Held | None) -> dict[str, object]:
    """For programs: whether it is unlocked, until when, and who keeps it so."""
    return {
        "unlocked": found is not None,
        "until": None if found is None else found.until,
        "keeper": None if found is None else found.keeper,
    }
