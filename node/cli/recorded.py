"""What a person and a program are told of what a command did to the drive by the way."""

import os

from node.cli.output import note
from node.cli.text import clock_text, date_text
from node.drive.stored import Recorded, Stored
from node.errors import NodeError, RefusedError

BEGUN = (
    "note: no drive of this account was found on the network, and a new one is begun; should there be one whose "
    "keepers are away, both are joined when they are back"
)


def tell_recorded(recorded: Recorded | None) -> None:
    """That the drive does not say it yet, and why; or that there was none."""
    if recorded is not None and recorded.begun:
        note(BEGUN)
    if recorded is None or recorded.why is None:
        return
    kept = "" if recorded.path is None else "; this machine remembers it, and sends it with the next change"
    note(f"note: the drive could not be updated: {recorded.why}{kept}")


def tell_stored(stored: Stored) -> None:
    """Where a deposit is in the drive, and which version of a name it is."""
    tell_recorded(stored.recorded)
    if stored.written is not None:
        value = stored.written.value
        note(f"it is version {value.number} of the name, which is kept until {date_text(stored.written.expiry)}")
        for fork in stored.written.forks:
            note(
                f"note: the name had forked: another machine published version {fork.number} at the same time, on "
                f"{clock_text(fork.time)}; it is kept among the earlier versions"
            )


def unnamed(stored: Stored) -> NodeError:
    """The error of a publish whose name could not be published: of the same kind, and saying what there is."""
    why = stored.failure or RefusedError("the name was not published")
    path = stored.recorded and stored.recorded.path
    where = f"; what was published is in the drive, at {os.fsdecode(path)!r}" if path else ""
    return type(why)(f"{why}{where}", hint=why.hint)


def recorded_fields(recorded: Recorded | None) -> dict[str, object] | None:
    """The same for programs; None: there is no account."""
    if recorded is None:
        return None
    return {
        "path": None if recorded.path is None else os.fsdecode(recorded.path),
        "sent": recorded.why is None,
        "why": None if recorded.why is None else str(recorded.why),
    }


def stored_fields(stored: Stored) -> dict[str, object]:
    """Fields of `publish` about drive and name."""
    fields: dict[str, object] = {"drive": recorded_fields(stored.recorded)}
    if stored.name is not None and stored.written is not None:
        fields["name_link"] = str(stored.name)
        fields["version"] = stored.written.value.number
    return fields
