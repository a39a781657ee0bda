"""A chunk of which its depositor does not know, because the acknowledgement was lost, is announced all the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from dht.service import Dht
from node.keeping.holders import find_holders
from protocol.ids import SegmentId
from tests.network.archipelago import archipelago
from tests.network.healing import NOTE, QUICK, only_segment

UNKNOWN = 3
"""Index of the chunk whose record never reaches the depositor."""


async def test_its_holder_does_so(autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    announce = Dht.announce

    async def but_one(dht: Dht, segment: SegmentId, records: Sequence[bytes], *rest: Any) -> int:
        told = [data for data in records if data[0] != UNKNOWN] if dht is depositor else records
        return await announce(dht, segment, told, *rest)

    monkeypatch.setattr(Dht, "announce", but_one)
    async with archipelago(base, 6, intervals=QUICK) as islands:
        async with islands.user("alice") as alice:
            depositor = alice.client.dht
            await alice.publish(islands.file("note", NOTE))
            segment = SegmentId(bytes.fromhex(only_segment(islands)))
            assert UNKNOWN not in {record.index for record in await find_holders(alice.client, segment)}
        await trio.sleep(4 * QUICK.tick)
        async with islands.user("bob") as bob:
            (record,) = [r for r in await find_holders(bob.client, segment) if r.index == UNKNOWN]
        (holder,) = islands.holders()[segment.hex()][UNKNOWN]
        assert record.key == holder.contact.key
