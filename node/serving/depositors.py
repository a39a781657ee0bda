"""What an operator asks a running node about depositors: for whom it keeps how much; to refuse one, to admit one."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from node.blocking import Blocking
from node.config import parse_key
from node.control import Handler
from node.errors import MachineError
from node.serving.policy import AccessLists
from node.store.chunkstore import ChunkStore
from node.store.depositors import DepositorTotals
from node.store.refusal import Refusal

MOST = 1000
"""Depositors told of: those with most bytes."""
_PAGE = 100
"""In one reply, whose line has a limit of its own."""

_Replies = AsyncGenerator[Mapping[str, object], None]


@dataclass(frozen=True, slots=True)
class DepositorDesk:
    """Answers by the control socket."""

    store: ChunkStore
    lists: AccessLists
    blocking: Blocking

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"depositors": self.tell, "refuse": self.refuse, "admit": self.admit}

    async def tell(self, _: Mapping[str, object]) -> _Replies:
        """A first reply that sums up, then the depositors, the largest first, some at a time.

        Raises:
            MachineError: The store's index fails.
        """
        try:
            found, count = await self.blocking(self.store.depositors.largest, MOST)
        except Refusal as exc:
            raise MachineError(f"cannot count what is held: {exc}") from exc
        yield {"total": count, "more": count - len(found), "quota_bytes": self.store.depositors.quota_bytes}
        for start in range(0, len(found), _PAGE):
            yield {"depositors": [self._fields(totals) for totals in found[start : start + _PAGE]]}

    def _fields(self, totals: DepositorTotals) -> dict[str, object]:
        standing, quota_bytes = self.lists.standing(totals.key), self.store.depositors.quota_bytes
        return {
            "key": totals.key.hex(),
            "segments": totals.segments,
            "chunks": totals.chunks,
            "bytes": totals.bytes,
            "part": round(totals.bytes / quota_bytes, 6) if quota_bytes else 0.0,
            "share": totals.share,
            "leases": totals.leases,
            "first_expires": totals.first,
            "last_expires": totals.last,
            "refused": standing.refused,
            "allowed": standing.allowed,
        }

    async def refuse(self, request: Mapping[str, object]) -> _Replies:
        """Put a depositor on the denylist, and remove at once what nobody else has a lease on.

        Raises:
            ConfigError: No key, or the list is malformed.
            RefusedError: There is no denylist.
            MachineError: The list cannot be written; or it is, but not all could be removed.
        """
        key = parse_key(str(request.get("key")))
        changed = await self.blocking(self.lists.refuse, key)
        try:
            removed = await self.blocking(self.lists.sweep, self.store)
        except Refusal as exc:
            raise MachineError(f"it is refused, but what is here could not be removed: {exc}") from exc
        yield {**self._said(key, changed), "removed_chunks": removed}

    async def admit(self, request: Mapping[str, object]) -> _Replies:
        """Take a depositor off the denylist, and put it on the allow-list if there is one. Raises as :meth:`refuse`."""
        key = parse_key(str(request.get("key")))
        changed = await self.blocking(self.lists.admit, key)
        yield {**self._said(key, changed), "removed_chunks": 0}

    def _said(self, key: bytes, changed: bool) -> dict[str, object]:
        return {"key": key.hex(), "changed": changed, **asdict(self.lists.standing(key))}


def joined(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first reply of :meth:`DepositorDesk.tell`, with the depositors of all that came behind it."""
    return {**replies[0], "depositors": [one for reply in replies[1:] for one in reply["depositors"]]}
