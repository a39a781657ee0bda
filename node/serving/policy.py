"""Whose chunks a node keeps, as its operator says: an allow-list, a denylist (docs/operations.md section 4).

The lists are files. They are looked at once a second: a changed one is in force at once, and what it forbids is removed
in the same step. One that cannot be read leaves the old one in force, and says so in the log.
"""

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from node.blocking import Blocking
from node.errors import ConfigError, RefusedError
from node.serving.listfile import ListFile
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.ids import SegmentId
from protocol.leases import Lease
from protocol.messages import ErrorCode

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
SWEEP_SECONDS = 60.0
"""What was on its way while a list changed is removed after this at the latest."""

_ALLOWED = ("",)
_DENIED = ("segment", "depositor")
_DENIED_TOLD = {"segment": "segments", "depositor": "depositors"}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the lists say of one depositor."""

    allowed: bool | None
    """Whether the allow-list names it; None: there is no such list."""
    refused: bool
    """Whether the denylist names it."""
    share: float | None
    """Of the quota, above 0, at most 1; None: they do not say."""


class AccessLists:
    """What the lists say now. Questions may come from any thread."""

    def __init__(self, allow: Path | None = None, deny: Path | None = None) -> None:
        """Read the lists. Blocks.

        Args:
            allow: Names the depositors whose leases are taken, a key on each line; None: everybody's.
            deny: Names segments and depositors, ``segment HEX`` or ``depositor HEX`` on each line; None: nobody.
                In both a depositor's line may end with the share of the quota that is theirs, such as ``10%``.

        Raises:
            ConfigError: A list cannot be read, or a line of it is malformed.
        """
        self._allow = None if allow is None else ListFile(allow, _ALLOWED, shared="", whole=True)
        self._deny = None if deny is None else ListFile(deny, _DENIED, shared="depositor", whole=False)
        self._lock = threading.Lock()
        """While the files are read or written."""
        for option, file in (("--allow", self._allow), ("--deny", self._deny)):
            try:
                if file is not None:
                    file.refresh()
            except ConfigError as exc:
                raise ConfigError(f"{option}: {exc}", hint=exc.hint) from exc

    def govern(self, store: ChunkStore) -> None:
        """Have a store ask the lists: which leases it may take over, and what share a depositor has."""
        store.admits = self.admits
        store.depositors.set_shares(self.share)

    def told(self) -> dict[str, dict[str, object] | None]:
        """Which lists there are, and how many entries they have, ready for JSON."""
        return {"allow": _told(self._allow, {"": "depositors"}), "deny": _told(self._deny, _DENIED_TOLD)}

    @property
    def _files(self) -> list[ListFile]:
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

    def standing(self, depositor: bytes) -> Standing:
        """What the lists say of a depositor."""
        allowed = None if self._allow is None else depositor in self._allow.entries[""]
        return Standing(allowed=allowed, refused=depositor in self._denied("depositor"), share=self.share(depositor))

    def share(self, depositor: bytes) -> float | None:
        """What of the quota a depositor may take, above 0, at most 1; None: the lists do not say. Never waits."""
        shares = [file.shares[depositor] for file in self._files if depositor in file.shares]
        return min(shares, default=None)

    def refuse(self, depositor: bytes) -> bool:
        """Put a depositor on the denylist, in its file as well; False if it was there. Blocks.

        Raises:
            RefusedError: The node has no denylist.
            ConfigError, MachineError: The file cannot be read, or written: nothing changes.
        """
        if self._deny is None:
            raise RefusedError("this node has no denylist to put it on", hint=_no_denylist(self._allow))
        with self._lock:
            return self._deny.add("depositor", depositor)

    def admit(self, depositor: bytes) -> bool:
        """Take a depositor off the denylist, and put it on the allow-list if there is one; False if nothing changes.

        Blocks. Raises as :meth:`refuse`, but for RefusedError: who has no lists admits everybody.
        """
        with self._lock:
            added = self._allow is not None and self._allow.add("", depositor)
            removed = self._deny is not None and self._deny.remove("depositor", depositor)
        return added or removed

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
        with self._lock:
            for file in self._files:
                try:
                    changed |= file.refresh()
                except ConfigError as exc:
                    log.error("%s; the list stays as it was", exc)
        return changed

    def _sweep(self, store: ChunkStore) -> None:
        try:
            self.sweep(store)
        except Refusal as exc:
            log.error("could not remove what the denylist forbids: %s", exc)

    def sweep(self, store: ChunkStore) -> int:
        """Remove what the denylist forbids; returns the chunks removed. Blocks.

        Raises:
            Refusal: disk.
        """
        removed = store.expel(self._denied("segment"), self._denied("depositor"))
        if removed:
            log.warning("removed %d chunks that the denylist forbids", removed)
        return removed


def _told(file: ListFile | None, words: Mapping[str, str]) -> dict[str, object] | None:
    if file is None:
        return None
    counts = {told: len(file.entries[word]) for word, told in words.items()}
    return {"file": str(file.path), **counts, "shares": len(file.shares)}


def _all_in(depositors: Collection[bytes], denied: Collection[bytes]) -> bool:
    return bool(depositors) and all(depositor in denied for depositor in depositors)


def _no_denylist(allow: ListFile | None) -> str:
    hint = "make an empty file, and start the node with --deny FILE"
    return hint if allow is None else f"{hint}; or take the key out of {allow.path}, and what is here stays"
