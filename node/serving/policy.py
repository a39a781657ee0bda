"""Whose chunks a node keeps, as its operator says: an allow-list, a denylist (docs/operations.md section 4).

The lists are files. They are looked at once a second: a changed one is in force at once, and what it forbids is removed
in the same step. One that cannot be read leaves the old one in force, and says so in the log.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import trio

from node.blocking import Blocking
from node.errors import ConfigError, reason
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.ids import ID_BYTES, SegmentId
from protocol.leases import Lease
from protocol.messages import ErrorCode

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
SWEEP_SECONDS = 60.0
"""What was on its way while a list changed is removed after this at the latest."""

_ALLOWED = ("",)
_DENIED = ("segment", "depositor")


@dataclass(slots=True)
class _ListFile:
    """A list as it was last read: 32 bytes in hex on each line, behind the word that says what they are."""

    path: Path
    words: tuple[str, ...]
    """What a line may begin with; an empty word: nothing but the hex."""
    entries: dict[str, frozenset[bytes]] = field(default_factory=dict)
    """For each word what was listed."""
    _seen: tuple[int, int, int] | str = ""

    def refresh(self) -> bool:
        """Read the file if it has changed since; whether it had.

        Raises:
            ConfigError: It cannot be read, or a line is malformed: the entries stay. Raised once for each change.
        """
        seen: tuple[int, int, int] | str
        try:
            stat = self.path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError as exc:
            seen = str(exc)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            text = self.path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"cannot read {str(self.path)!r}: {reason(exc)}") from exc
        self.entries = self._parse(text)
        return True

    def _parse(self, text: str) -> dict[str, frozenset[bytes]]:
        found: dict[str, set[bytes]] = {word: set() for word in self.words}
        for number, line in enumerate(text.splitlines(), 1):
            match line.partition("#")[0].split():
                case []:
                    continue
                case [digits]:
                    word = ""
                case [word, digits]:
                    pass
                case _:
                    word, digits = "", ""
            entry = _unhex(digits)
            if word not in found or entry is None:
                wanted = " or ".join(f"{word} HEX".strip() for word in self.words)
                raise ConfigError(f"{self.path}, line {number}: want {wanted}, of {2 * ID_BYTES} digits")
            found[word].add(entry)
        return {word: frozenset(entries) for word, entries in found.items()}


def _unhex(digits: str) -> bytes | None:
    try:
        entry = bytes.fromhex(digits)
    except ValueError:
        return None
    return entry if len(entry) == ID_BYTES else None


class AccessLists:
    """What the lists say now. Questions may come from any thread."""

    def __init__(self, allow: Path | None = None, deny: Path | None = None) -> None:
        """Read the lists. Blocks.

        Args:
            allow: Names the depositors whose leases are taken, a key on each line; None: everybody's.
            deny: Names segments and depositors, ``segment HEX`` or ``depositor HEX`` on each line; None: nobody.

        Raises:
            ConfigError: A list cannot be read, or a line of it is malformed.
        """
        self._allow = None if allow is None else _ListFile(allow, _ALLOWED)
        self._deny = None if deny is None else _ListFile(deny, _DENIED)
        for option, file in (("--allow", self._allow), ("--deny", self._deny)):
            try:
                if file is not None:
                    file.refresh()
            except ConfigError as exc:
                raise ConfigError(f"{option}: {exc}", hint=exc.hint) from exc

    @property
    def _files(self) -> list[_ListFile]:
        return [file for file in (self._allow, self._deny) if file is not None]

    def _denied(self, word: str) -> frozenset[bytes]:
        return frozenset() if self._deny is None else self._deny.entries[word]

    def check(self, lease: Lease) -> None:
        """Whether a lease may be taken, and what comes with it. A deletion may: it ends what is here.

        Raises:
            Refusal: refused.
        """
        why = self._why_not(lease)
        if why is not None:
            raise Refusal(ErrorCode.REFUSED, why)

    def admits(self, lease: Lease) -> bool:
        """The same as :meth:`check`, of a lease that another holder has."""
        return self._why_not(lease) is None

    def _why_not(self, lease: Lease) -> str | None:
        if lease.deleted:
            return None
        if lease.segment in self._denied("segment"):
            return "this node does not keep that segment"
        if lease.depositor in self._denied("depositor"):
            return "the operator's denylist names that depositor"
        if self._allow is not None and lease.depositor not in self._allow.entries[""]:
            return f"this node keeps chunks for depositors on its list only, and not for {lease.depositor.hex()}"
        return None

    def hides(self, segment: SegmentId, store: ChunkStore) -> bool:
        """Whether a segment is answered for as if it were not held. Blocks.

        Raises:
            Refusal: disk.
        """
        if segment in self._denied("segment"):
            return True
        denied = self._denied("depositor")
        return bool(denied) and _all_in(store.kept_for(segment), denied)

    async def run(self, store: ChunkStore, blocking: Blocking) -> None:
        """Look at the files again and again, and remove from ``store`` what they forbid."""
        due = trio.current_time()
        while self._files:
            changed = await blocking(self._refresh)
            if changed or trio.current_time() >= due:
                due = trio.current_time() + SWEEP_SECONDS
                await blocking(self._sweep, store)
            await trio.sleep(LOOK_SECONDS)

    def _refresh(self) -> bool:
        changed = False
        for file in self._files:
            try:
                changed |= file.refresh()
            except ConfigError as exc:
                log.error("%s; the list stays as it was", exc)
        return changed

    def _sweep(self, store: ChunkStore) -> None:
        try:
            removed = store.expel(self._denied("segment"), self._denied("depositor"))
        except Refusal as exc:
            log.error("could not remove what the denylist forbids: %s", exc)
            return
        if removed:
            log.warning("removed %d chunks that the denylist forbids", removed)


def _all_in(depositors: Collection[bytes], denied: Collection[bytes]) -> bool:
    return bool(depositors) and all(depositor in denied for depositor in depositors)
