"""Copies of earlier versions that several machines keep at once (docs/spec/names.md section 4)."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.errors import NetworkError, RefusedError
from node.names.writing import NameConflictError, renew_archived
from protocol.datagrams import ANY_SEQUENCE, PutCode
from protocol.ids import NameId
from protocol.names import NameValue, archive_salt, name_id, open_record
from tests.network.archipelago import NETWORK, archipelago, failure
from tests.network.naming import KEYS, Machine, Stores, bendable, in_days, link


def after(value: NameValue, mark: int) -> NameValue:
    return NameValue(number=value.number + 1, kind=1, root=link(mark).root, key=bytes(32), time=0, previous=value.hash)


async def put(machine: Machine, value: NameValue, sequence: int, salt: bytes = b"", days: float = 30) -> None:
    """A record that the owner's key signed, with a nonce of its own."""
    data = KEYS.sign(
        NETWORK.id,
        value,
        sequence=sequence,
        expiry=in_days(days),
        nonce=machine.client.world.random_bytes(16),
        salt=salt,
    )
    found = await machine.client.dht.get_records(name_id(KEYS.identity.key, salt))
    await machine.client.dht.put_record(data, ANY_SEQUENCE, found)


def archived(stores: Stores, number: int) -> list[list[bytes]]:
    """The roots of the copies that each node has of a version."""
    name = name_id(KEYS.identity.key, archive_salt(number))
    return [
        sorted(KEYS.reader.open(open_record(data, NETWORK.id)).root for data in store.get(name, 0))
        for store in stores.all
    ]


async def test_two_machines_archive_a_version_once_and_leave_room_for_its_fork(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 6) as islands, islands.user("one") as first, islands.user("other") as second:
        one, other = Machine.of(islands, first, "one"), Machine.of(islands, second, "other")
        begun = (await one.publish(1)).value
        await put(one, after(begun, 2), 2)
        both = stores.all[0].get(name_id(KEYS.identity.key), 0)

        async def publish(machine: Machine, number: int) -> None:
            try:
                await machine.publish(number)
            except RefusedError:
                met.append(machine)

        met: list[Machine] = []
        async with trio.open_nursery() as writers:
            writers.start_soon(publish, one, 4)
            writers.start_soon(publish, other, 5)
        assert met, "they wrote at once"
        assert archived(stores, 2) == [[link(2).root]] * 6
        late = after(begun, 3)  # a node brings the other side's fork
        stores.bend(shows=lambda name, truth: both if name == name_id(KEYS.identity.key) else truth)
        await put(other, late, 1, archive_salt(2))
        assert archived(stores, 2) == [sorted([link(2).root, late.root])] * 6


async def test_where_others_took_both_places_the_next_sequence_has_room(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two copies of one side of a fork are there: the other side used to be counted as kept, and was not."""
    stores = bendable(monkeypatch)
    async with archipelago(base, 6) as islands, islands.user("owner") as one, islands.user("reader") as two:
        owner, reader = Machine.of(islands, one, "owner"), Machine.of(islands, two, "reader")
        begun = (await owner.publish(1)).value
        sides = after(begun, 2), after(begun, 3)
        for side in sides:
            await put(owner, side, 2)
        for days in (31, 32):
            await put(owner, sides[0], 1, archive_salt(2), days)
        assert archived(stores, 2) == [[link(2).root] * 2] * 6
        await owner.publish(4)
        assert archived(stores, 2) == [[link(2).root, link(3).root]] * 6
        _, second, _ = await reader.log()
        assert second.verified
        assert {second.link.root, *(fork.root for fork in second.forks)} == {side.root for side in sides}


async def test_a_fork_of_copies_outlives_two_renewals_at_once(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 6) as islands, islands.user("one") as first, islands.user("other") as second:
        one, other = Machine.of(islands, first, "one"), Machine.of(islands, second, "other")
        begun = (await one.publish(1)).value
        for mark in (2, 3):
            await put(one, after(begun, mark), 2)
        await one.publish(4)

        async def renew(machine: Machine, days: float) -> None:
            assert await renew_archived(machine.client, KEYS, 2, in_days(days)) >= 3

        async with trio.open_nursery() as writers:
            writers.start_soon(renew, one, 50)
            writers.start_soon(renew, other, 60)
        assert archived(stores, 2) == [[link(2).root, link(3).root]] * 6


async def test_a_record_that_nodes_had_no_place_for_is_not_kept(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 5) as islands, islands.user("owner") as user:
        stores.bend(3, says=PutCode.FORKED)
        owner = Machine.of(islands, user, "owner")
        error = await failure(owner.publish(1))
        assert isinstance(error, NetworkError)
        assert "only 2 of 5 nodes keep" in str(error)


async def test_a_third_writer_is_told_that_its_version_is_not_there(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 5) as islands, islands.user("owner") as user:
        owner = Machine.of(islands, user, "owner")
        begun = (await owner.publish(1)).value
        before = stores.all[0].get(name_id(KEYS.identity.key), 0)
        for mark in (2, 3):
            await put(owner, after(begun, mark), 2)

        def show(name: NameId, truth: tuple[bytes, ...]) -> tuple[bytes, ...]:
            """What was there before, to whoever reads before it writes."""
            if len(truth) == 2:
                asked.append(name)
            return before if truth and len(asked) <= len(islands.nodes) else truth

        asked: list[NameId] = []
        stores.bend(shows=show)
        error = await failure(owner.publish(4))
        assert isinstance(error, NameConflictError)
        assert "this version is not kept yet" in str(error.hint)
