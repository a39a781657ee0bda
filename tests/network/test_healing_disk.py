"""A node whose own disk or index fails for a while goes on, and heals when that is over."""

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.messages import ErrorCode
from tests.network.archipelago import archipelago
from tests.network.healing import DONE, NOTE, NOTICED, TIDY, healed, holders_of, only_segment, remove

CALLS = ("digests", "holdings", "leases", "live_leases", "merge_leases", "proof", "scrub", "drop", "open_chunk")


@pytest.mark.parametrize("call", CALLS)
async def test_one_call_fails(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise Refusal(ErrorCode.DISK, "the index failed")

    async with archipelago(base, 7, intervals=TIDY) as islands:
        async with islands.user("alice") as alice:
            await alice.publish(islands.file("note", NOTE))
        await trio.sleep(3 * TIDY.tick)
        segment = only_segment(islands)
        with monkeypatch.context() as patch:
            patch.setattr(ChunkStore, call, fails)
            remove(islands, *holders_of(islands, segment)[:1])
            await trio.sleep(3 * TIDY.survey)
        await healed(islands, TIDY.grace + NOTICED + 40 * TIDY.rank + DONE)
