"""What tending costs where all is well, where holders are away for a while, and where one drops what it takes."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.keeping.kept import Kept
from node.keeping.patience import Patience
from node.keeping.tend import Tended, tend
from node.keeping.tender import GRACE_SHARE
from node.progress import Progress
from protocol.messages import Audit, Put
from tests.network.archipelago import User, archipelago
from tests.network.tending import HALF_A_YEAR, MIB, kept_by, kinds_asked

DAY = 900.0


async def day(user: User, kept: Kept, patience: Patience, *, audited: bool = False) -> Tended:
    """A day, and a round at its end."""
    await trio.sleep(DAY)
    return await tend(user.client, user.depositor, kept, HALF_A_YEAR, Progress(), audited=audited, patience=patience)


async def test_what_a_day_costs(autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine percent of a deposit when holders have to prove what they hold, and next to nothing when they are asked."""
    async with archipelago(base, 14) as islands, islands.user("alice") as alice:
        kept = kept_by(alice, (await alice.publish(islands.file("film", 16 * MIB))).link)
        patience = Patience(DAY * GRACE_SHARE)
        received = []
        for audited in (True, False):
            asked = kinds_asked(alice, monkeypatch)
            before = sum(alice.meter.received.values())
            assert (await day(alice, kept, patience, audited=audited)).whole
            received.append(sum(alice.meter.received.values()) - before)
            assert (Audit in asked) == audited
        assert received[1] < received[0] / 20
        assert received[1] < 20_000


async def test_a_holder_that_is_away_for_a_round(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 14) as islands, islands.user("alice") as alice:
        kept = kept_by(alice, (await alice.publish(islands.file("film", MIB))).link)
        patience = Patience(DAY * GRACE_SHARE)
        asked = kinds_asked(alice, monkeypatch)
        away = next(node for node in islands.nodes if node.chunks())
        for _ in range(3):
            away.host.mute()
            done = await day(alice, kept, patience)
            assert done.well
            assert not done.whole
            assert done.spared > 0
            away.host.mute(False)
            assert (await day(alice, kept, patience)).whole
        assert Put not in asked
        away.host.mute()
        await day(alice, kept, patience)
        done = await day(alice, kept, patience)
        assert done.whole
        assert done.restored > 0


async def test_a_holder_that_drops_what_it_takes(autojump_clock: MockClock, base: Path) -> None:
    """Somebody always takes the chunk, and never has it in the next round."""
    async with archipelago(base, 16) as islands, islands.user("alice") as alice:
        kept = kept_by(alice, (await alice.publish(islands.file("note", 10_000))).link)
        patience = Patience(DAY * GRACE_SHARE)
        restored = 0
        for _ in range(16):
            for segment, indices in islands.holders().items():
                for node in indices.get(0, []):
                    node.chunk_file((segment, 0)).unlink()
            done = await day(alice, kept, patience)
            assert done.well
            restored += done.restored
        assert 0 < restored < 6
