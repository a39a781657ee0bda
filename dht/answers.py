"""What a node answers (docs/spec/dht.md section 2): from a verified request to its reply, without waiting.

Only a put_record has to wait, for the disk: ``keeping`` answers it.
"""

from collections.abc import Callable

import trio

from dht.contact import Contact, believable
from dht.providers import ProviderStore
from dht.records import RecordStore
from dht.routing import Entry, Table
from dht.tokens import Tokens
from protocol.datagrams import (
    CONTACT4_BYTES,
    MAX_CONTACTS,
    Announce,
    Announced,
    FindNode,
    GetProviders,
    GetRecord,
    GotRecord,
    Message,
    Nodes,
    Ping,
    Pong,
    Providers,
    Reply,
)


class Answers:
    """Answers requests out of the routing table, the provider store, and the records of names."""

    def __init__(
        self,
        table: Table,
        store: ProviderStore,
        records: RecordStore,
        tokens: Tokens,
        wall_clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._store = store
        self._records = records
        self._tokens = tokens
        self._wall_clock = wall_clock

    def answer(self, message: Message, asker: Contact, *, storing: bool) -> Reply | None:
        """The reply to a request, or None for silence.

        Args:
            message: A verified request.
            asker: Who signed it, and where it came from.
            storing: Whether this node keeps records; one that is read-only answers pings and names contacts
                only.
        """
        match message:
            case Ping():
                return Pong(observed=asker.address)
            case FindNode(target=target):
                return self._nodes(target, asker)
            case GetProviders(segment=segment, first=first) if storing:
                records, after = self._store.page(segment, first, self._wall_clock())
                return Providers(token=self._token(asker), records=records, next=after)
            case Announce() if storing:
                return self._announced(message, asker)
            case GetRecord() if storing:
                return self._record(message, asker)
        return None

    def may_write(self, token: bytes, asker: Contact) -> bool:
        """Whether a token is good: what the asker sends is wanted, and can be answered."""
        return self._tokens.check(token, asker.address.host, asker.key, trio.current_time())

    def _token(self, asker: Contact) -> bytes:
        return self._tokens.make(asker.address.host, asker.key, trio.current_time())

    def _nodes(self, target: bytes, asker: Contact) -> Nodes:
        packed: list[bytes] = []
        for count in (MAX_CONTACTS + 1, len(self._table)):  # the second time only if some were left out
            near = self._table.nearest(target, count)
            packed = [entry.packed for entry in near if _may_tell(entry, asker)][:MAX_CONTACTS]
            if len(packed) == MAX_CONTACTS or len(near) < count:
                break
        return Nodes(
            token=self._token(asker),
            ipv4=b"".join(data for data in packed if len(data) == CONTACT4_BYTES),
            ipv6=b"".join(data for data in packed if len(data) != CONTACT4_BYTES),
        )

    def _announced(self, message: Announce, asker: Contact) -> Announced | None:
        if not self.may_write(message.token, asker):
            return None
        now = self._wall_clock()
        stored = (self._store.add(item.segment, item.records, asker.address, now) for item in message.items)
        return Announced(stored=sum(stored))

    def _record(self, message: GetRecord, asker: Contact) -> GotRecord:
        kept = self._records.get(message.name, self._wall_clock())
        record = kept[message.place] if message.place < len(kept) else b""
        return GotRecord(token=self._token(asker), count=len(kept), record=record)


def _may_tell(entry: Entry, asker: Contact) -> bool:
    """Whether naming a contact helps.

    The asker itself is no news, one that keeps silent wastes everybody's time, and our private addresses lead
    strangers nowhere.
    """
    useful = entry.id != asker.node_id and entry.strikes < 2
    return useful and believable(entry.contact.address, asker.address)
