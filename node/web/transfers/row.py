"""What is known of one transfer."""

from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Self

from node.errors import NodeError
from node.progress import Progress
from node.web.http.answers import error_fields


class Kind(StrEnum):
    """Which way it goes."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


class State(StrEnum):
    """How far it is."""

    RECEIVING = "receiving"
    """An upload of which the browser has not sent everything yet."""
    WAITING = "waiting"
    """It goes on by itself as soon as it can."""
    RUNNING = "running"
    """In this process. On the disk it is waiting: it goes on when the node starts again."""
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset((State.DONE, State.FAILED, State.CANCELLED))
OVER = frozenset((State.DONE, State.CANCELLED))
"""It cannot go on: nothing is kept for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What is confirmed of it."""

    sealed_bytes: int = 0
    placed_chunks: int = 0
    chunks: int = 0
    confirmed_bytes: int = 0
    sent_bytes: int = 0
    nodes: int = 0
    countries: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, progress: Progress, sent_before: int) -> Self:
        """What a run tells, of which ``sent_before`` bytes were sent by earlier ones."""
        return cls(
            sealed_bytes=progress.sealed,
            placed_chunks=progress.countries.total(),
            chunks=progress.chunks,
            confirmed_bytes=progress.done,
            sent_bytes=sent_before + progress.moved,
            nodes=len(progress.holders),
            countries=dict(progress.countries),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A transfer, as it stands on the disk but for what this process is doing."""

    id: str
    """32 hex digits."""
    kind: Kind
    name: str
    """What people call it."""
    place: str
    """Of an upload the folder of the drive it goes to, of a download the folder of this machine."""
    state: State
    files: int
    total_bytes: int | None
    """Of files; None: a download that has not read its table of contents yet."""
    created: int
    """Seconds since 1970-01-01 UTC, as all times here."""
    finished: int | None = None
    received_bytes: int = 0
    """Of an upload: what the browser has sent and is on this machine's disk."""
    counts: Counts = Counts()
    error: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    """What a person should know."""
    link_path: str | None = None
    """Where it stands in the drive, or came from."""

    def at(self, state: State) -> "Row":
        """It, in another state, without error and end."""
        return replace(self, state=state, error=None, finished=None)

    def failed(self, exc: NodeError, now: int) -> "Row":
        """It, after it has failed."""
        return replace(self, state=State.FAILED, error=error_fields(exc), finished=now)

    def fields(self) -> dict[str, Any]:
        """What the API tells of it."""
        told = asdict(self)
        counts, place = told.pop("counts"), told.pop("place")
        folder, to = (place, None) if self.kind is Kind.UPLOAD else (None, place)
        return {**told, **counts, "folder": folder, "to": to, "notes": list(self.notes)}

    def stored(self) -> dict[str, Any]:
        """What the disk is told of it."""
        return asdict(replace(self, state=State.WAITING if self.state is State.RUNNING else self.state))

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> Self:
        """What :meth:`stored` told. Raises TypeError, ValueError, KeyError: it is something else."""
        known = {item.name for item in fields(cls)}
        if set(stored) != known:
            raise ValueError("fields of another version")
        counts = Counts(**stored["counts"])
        kind, state, notes = Kind(stored["kind"]), State(stored["state"]), tuple(stored["notes"])
        return cls(**{**stored, "kind": kind, "state": state, "counts": counts, "notes": notes})
