"""A depositor whom some nodes refuse: told by whom and why, while the deposit finds its place on the others."""

from pathlib import Path

import trio
from trio.testing import MockClock

from node.refusals import by_reason
from node.serving.policy import LOOK_SECONDS
from protocol.messages import ErrorCode
from tests.network.archipelago import archipelago

MIB = 1 << 20
DAY = 86_400


async def test_who_refuses_is_told_also_when_others_take_it(autojump_clock: MockClock, base: Path) -> None:
    deny = base / "deny"
    deny.write_text("")
    async with archipelago(base, 6) as islands:
        hostile = [await islands.start(deny=deny) for _ in range(2)]
        await trio.sleep(2)
        async with islands.user("alice") as alice:
            first = await alice.publish(islands.file("before", MIB))
            assert alice.client.refusals.found == []
            assert all(node.chunks() for node in hostile), "while they do not refuse, they take something"
            deny.write_text(f"depositor {alice.depositor.identity.key.hex()}\n")
            await trio.sleep(2 * LOOK_SECONDS)
            published = await alice.publish(islands.file("film", MIB))
            assert published.placed == published.chunks
            ((reason, refusals),) = by_reason(alice.client.refusals.found).items()
            assert reason == (ErrorCode.REFUSED, "the operator's denylist names that depositor")
            nodes = {(node.node_id, node.country) for node in hostile}
            assert {(item.node, item.country) for item in refusals} == nodes
        async with islands.user("alice") as again:  # what they held is gone, but they are announced as holders
            await again.renew(first.link, 365 * DAY)
            assert {(item.node, item.country) for item in again.client.refusals.found} == nodes
