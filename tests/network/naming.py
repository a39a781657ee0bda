"""Owners and readers of names on real nodes, and nodes whose records a test can bend."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from dht.records import RecordStore, Verdict
from node.client import Client
from node.names.reading import Shown, history, read_version, resolve
from node.names.seen import Seen
from node.names.writing import Written, publish_version, renew_name
from protocol.datagrams import PutCode, RecordPut
from protocol.identity import Network
from protocol.ids import Address, NameId, SegmentId
from protocol.links import Link, LinkKind
from protocol.names import NameKeys
from tests.network.archipelago import NETWORK, Archipelago, User
from tests.network.swarm import wall_clock

DAY = 86_400
KEYS = NameKeys(b"\x07" * 32)


def link(number: int) -> Link:
    """What version ``number`` leads to."""
    return Link(LinkKind.READ, SegmentId(number.to_bytes(32, "big")), bytes([number]) * 32)


def in_days(days: float) -> int:
    return int(wall_clock() + days * DAY)


class BentStore(RecordStore):
    """What one node keeps of names, and what it says it keeps."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.shows: Callable[[NameId, tuple[bytes, ...]], tuple[bytes, ...]] | None = None
        self.says: PutCode | None = None
        """What it answers to every record that is put on it, instead of keeping it."""

    def get(self, name: NameId, now: float) -> tuple[bytes, ...]:
        truth = super().get(name, now)
        return truth if self.shows is None else self.shows(name, truth)

    def add(self, data: bytes, cas: int, by: Address, now: float) -> Verdict:
        if self.says is None:
            return super().add(data, cas, by, now)
        return Verdict(None, RecordPut(code=self.says, sequence=2**62))


@dataclass
class Stores:
    """Those of all nodes, in the order in which they were started."""

    all: list[BentStore] = field(default_factory=list)

    def bend(self, count: int | None = None, **changes: Any) -> None:
        """Change the first ``count``, or all."""
        for store in self.all[:count]:
            for name, value in changes.items():
                setattr(store, name, value)


def bendable(monkeypatch: pytest.MonkeyPatch) -> Stores:
    """Nodes that are started from now on keep what they keep of names here."""
    stores = Stores()

    def make(network: Network) -> BentStore:
        stores.all.append(BentStore(network))
        return stores.all[-1]

    monkeypatch.setattr("node.app.RecordStore", make)
    return stores


@dataclass
class Machine:
    """One machine with a home, that may have the name's secret."""

    client: Client
    seen: Seen

    @classmethod
    def of(cls, islands: Archipelago, user: User, home: str) -> "Machine":
        """Whoever has the same ``home`` has seen the same."""
        return cls(user.client, Seen(islands.base / f"home-{home}" / "names.sqlite", NETWORK.id))

    async def publish(self, number: int, *, days: float = 30, archive: bool = True) -> Written:
        """Publish link(number)."""
        return await publish_version(self.client, KEYS, self.seen, link(number), in_days(days), archive=archive)

    async def renew(self, days: float) -> Written:
        return await renew_name(self.client, KEYS, self.seen, in_days(days))

    async def resolve(self) -> Shown:
        return await resolve(self.client, KEYS.reader, self.seen)

    async def version(self, number: int) -> Shown:
        return await read_version(self.client, KEYS.reader, self.seen, number)

    async def log(self) -> list[Shown]:
        newest = await self.resolve()
        async with aclosing(history(self.client, KEYS.reader, newest)) as versions:
            return [shown async for shown in versions]
