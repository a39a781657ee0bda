"""Reading and writing names on real nodes (docs/spec/names.md sections 4 to 6)."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.errors import ConfigError, IntegrityFailure, NetworkError, NodeError, NotFoundError, RefusedError
from node.names.reading import resolve
from node.names.writing import Written, renew_archived
from protocol.datagrams import ANY_SEQUENCE, PutCode
from protocol.names import NameKeys, NameReader, NameValue, archive_salt, name_id
from tests.network.archipelago import NETWORK, Archipelago, archipelago, failure
from tests.network.naming import KEYS, Machine, bendable, in_days, link

MINUTES = 0.02
"""Days: time flies on a mock clock, but not for nothing."""


async def machines(islands: Archipelago, stack: AsyncExitStack, *homes: str) -> list[Machine]:
    """Machines that run until the end of the test."""
    return [Machine.of(islands, await stack.enter_async_context(islands.user(home)), home) for home in homes]


async def put_by_hand(machine: Machine, value: NameValue, sequence: int, salt: bytes = b"") -> int:
    """A record that the owner's key signed, whatever it says."""
    data = KEYS.sign(
        NETWORK.id, value, sequence=sequence, expiry=in_days(9), nonce=machine.client.world.random_bytes(16), salt=salt
    )
    found = await machine.client.dht.get_records(name_id(KEYS.identity.key, salt))
    return (await machine.client.dht.put_record(data, ANY_SEQUENCE, found)).count(PutCode.KEPT, PutCode.FORKED)


async def test_versions_are_published_found_and_listed(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 12) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        for number in (1, 2, 3):
            written = await owner.publish(number)
            assert (written.value.number, written.sequence) == (number, number)
            assert (written.kept, written.asked, written.forks) == (12, 12, ())
            shown = await reader.resolve()
            assert (shown.number, shown.link, shown.sequence, shown.expiry) == (
                number,
                link(number),
                number,
                written.expiry,
            )
            assert (shown.forks, shown.verified, shown.replaced) == ((), True, False)
        log = await reader.log()
        assert [(entry.number, entry.link, entry.verified, entry.forks) for entry in log] == [
            (number, link(number), True, ()) for number in (3, 2, 1)
        ]
        assert [(await reader.version(number)).link for number in (1, 2, 3)] == [link(1), link(2), link(3)]
        for number in (0, 4):
            assert f"no version {number}" in str(await failure(reader.version(number)))


async def test_a_name_resolves_when_a_third_of_the_network_is_dead(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 30) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        await owner.publish(1)
        await owner.publish(2)
        for node in islands.nodes[3:12]:
            node.kill()
        began = trio.current_time()
        assert (await reader.resolve()).link == link(2)
        assert trio.current_time() - began < 1.0
        assert (await reader.version(1)).link == link(1)
        assert (await owner.publish(3)).kept >= 3


async def test_renewing_makes_a_version_live_longer_and_never_shorter(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        assert isinstance(await failure(owner.renew(9)), NotFoundError)
        first = await owner.publish(1, days=MINUTES)
        renewed = await owner.renew(300)
        assert (renewed.value, renewed.sequence) == (first.value, 2)
        assert (await owner.renew(MINUTES)).expiry == renewed.expiry
        await trio.sleep(3600)
        shown = await reader.resolve()
        assert (shown.number, shown.sequence, shown.expiry) == (1, 3, renewed.expiry)
        await owner.publish(2)
        assert (await reader.version(1)).expiry == renewed.expiry, "the copy lives as long as it would have"
        assert await renew_archived(owner.client, KEYS, 1, in_days(390)) == 6
        assert (await reader.version(1)).expiry == in_days(390)
        assert [entry.verified for entry in await reader.log()] == [True, True]
        assert isinstance(await failure(renew_archived(owner.client, KEYS, 7, in_days(9))), NotFoundError)
        for days in (-1, 401):
            assert isinstance(await failure(owner.renew(days)), ConfigError)
            assert isinstance(await failure(owner.publish(3, days=days)), ConfigError)


async def test_what_was_seen_is_never_gone_below(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 8) as islands, AsyncExitStack() as stack:
        owner, reader, newcomer = await machines(islands, stack, "owner", "reader", "newcomer")
        await owner.publish(1)
        head = name_id(KEYS.identity.key)
        old = stores.all[0].get(head, 0)
        await owner.publish(2)
        assert (await reader.resolve()).number == 2
        stores.bend(7, shows=lambda name, truth: old)
        assert (await newcomer.resolve()).number == 2, "one honest node is enough"
        stores.bend(shows=lambda name, truth: old if name == head else truth)
        error = await failure(reader.resolve())
        assert isinstance(error, NotFoundError)
        assert "older version of this name than this machine has seen" in str(error)
        (stranger,) = await machines(islands, stack, "stranger")
        assert (await stranger.resolve()).number == 1, "who has seen nothing cannot know"
        (again,) = await machines(islands, stack, "reader")
        assert isinstance(await failure(again.resolve()), NotFoundError), "it is on the disk"
        stores.bend(shows=lambda name, truth: ())
        assert "this machine saw version 2" in str(await failure(reader.resolve()))
        stores.bend(shows=None)
        assert (await again.resolve()).number == 2


async def test_an_owner_goes_on_from_what_it_remembers(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network has lost the newest version, or holds it back: the next one comes after it all the same."""
    stores = bendable(monkeypatch)
    async with archipelago(base, 6) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        second = [await owner.publish(number) for number in (1, 2)][-1]
        stores.bend(shows=lambda name, truth: ())
        third = await owner.publish(3)
        assert (third.value.number, third.sequence, third.value.previous) == (3, 3, second.value.hash)
        assert isinstance(await failure(owner.renew(99)), NotFoundError)
        stores.bend(shows=None)
        log = await reader.log()
        assert [(entry.number, entry.value is not None) for entry in log] == [(3, True), (2, False), (1, True)]
        assert [entry.verified for entry in log] == [True, False, False]
        assert "nobody has version 2" in str(await failure(reader.version(2)))


async def test_of_two_writers_at_once_none_loses_in_silence(autojump_clock: MockClock, base: Path) -> None:
    for seed in range(4):
        async with archipelago(base / str(seed), 8, seed=seed) as islands, AsyncExitStack() as stack:
            one, other, reader = await machines(islands, stack, "one", "other", "reader")
            islands.net.jitter = 0.03
            await one.publish(1)
            outcomes: list[Written | NodeError] = []
            async with trio.open_nursery() as writers:
                writers.start_soon(_publish, one, 2, outcomes)
                writers.start_soon(_publish, other, 3, outcomes)
            refused = [exc for exc in outcomes if isinstance(exc, RefusedError)]
            assert refused, "whoever comes later is told"
            assert "another machine published this name at the same time" in str(refused[0])
            shown = await reader.resolve()
            assert {shown.link.root, *(fork.root for fork in shown.forks)} == {link(2).root, link(3).root}
            again = await other.publish(4)
            assert (again.value.number, len(again.forks)) == (3, 1)
            newest, both, first = await reader.log()
            assert (newest.link, newest.forks, first.link, first.verified) == (link(4), (), link(1), True)
            assert both.verified
            assert {both.link.root, *(fork.root for fork in both.forks)} == {link(2).root, link(3).root}


async def _publish(machine: Machine, number: int, outcomes: list[Written | NodeError]) -> None:
    try:
        outcomes.append(await machine.publish(number))
    except RefusedError as exc:
        outcomes.append(exc)


async def test_renewing_at_once_is_no_conflict(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands, AsyncExitStack() as stack:
        one, other, reader = await machines(islands, stack, "one", "other", "reader")
        await one.publish(1)
        async with trio.open_nursery() as writers:
            writers.start_soon(one.renew, 50)
            writers.start_soon(other.renew, 60)
        shown = await reader.resolve()
        assert (shown.sequence, shown.forks, shown.expiry) == (2, (), in_days(60))
        (entry,) = await reader.log()
        assert entry.forks == ()


async def test_a_fork_is_kept_when_it_is_renewed(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        first = (await owner.publish(1)).value
        await put_by_hand(owner, _after(first, 2), 2)
        await put_by_hand(owner, _after(first, 3), 2)
        before = await reader.resolve()
        assert len(before.forks) == 1
        renewed = await owner.renew(50)
        assert (renewed.value, renewed.forks) == (before.value, before.forks)
        assert (await reader.resolve()).forks == ()
        await owner.publish(4)
        _, second, _ = await reader.log()
        assert (second.value, second.forks, second.verified) == (before.value, before.forks, True)


def _after(value: NameValue, mark: int) -> NameValue:
    return NameValue(number=value.number + 1, kind=1, root=link(mark).root, key=bytes(32), time=0, previous=value.hash)


async def test_a_liar_does_not_stop_an_owner(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that there is something newer, or something else, and has nothing to show for it."""
    stores = bendable(monkeypatch)
    async with archipelago(base, 8) as islands, AsyncExitStack() as stack:
        (owner,) = await machines(islands, stack, "owner")
        for number, code in enumerate((PutCode.OLDER, PutCode.CONFLICT, PutCode.FORKED), 1):
            stores.bend(3, says=code)
            assert (await owner.publish(number)).kept >= 5


async def test_too_few_keepers_are_told(autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 5) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        stores.bend(3, says=PutCode.REFUSED)
        error = await failure(owner.publish(1))
        assert isinstance(error, NetworkError)
        assert "only 2 of 5 nodes keep" in str(error)
        stores.bend(2, says=None)
        written = await owner.publish(2)
        assert (written.value.number, written.kept) == (2, 4), "after the one that two nodes have"
        assert [entry.link for entry in await reader.log()] == [link(2), link(1)]


async def test_two_nodes_are_enough_where_there_are_two(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 2) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        assert (await owner.publish(1)).kept == 2
        assert (await reader.resolve()).link == link(1)


async def test_what_is_not_there_is_told_from_what_cannot_be_reached(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 4) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        error = await failure(reader.resolve())
        assert isinstance(error, NotFoundError)
        assert str(error) == "nobody has this name"
        await owner.publish(1, days=MINUTES)
        await trio.sleep(3600)
        assert "saw version 1" in str(await failure(owner.resolve()))
        for node in islands.nodes:
            node.kill()
        for machine in (owner, reader):
            assert isinstance(await failure(machine.resolve()), NetworkError)
            assert isinstance(await failure(machine.publish(2)), NetworkError)


async def test_an_expired_record_is_not_believed(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 4) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        await owner.publish(1, days=MINUTES)
        old = stores.all[0].get(name_id(KEYS.identity.key), 0)
        await trio.sleep(3600)
        stores.bend(shows=lambda name, truth: old)
        error = await failure(reader.resolve())
        assert isinstance(error, NotFoundError)
        assert "the name expired on 2023-11-" in str(error)


async def test_another_read_key_opens_nothing(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 4) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        await owner.publish(1)
        wrong = NameReader(KEYS.identity.key, bytes(32))
        assert isinstance(await failure(resolve(reader.client, wrong, reader.seen)), IntegrityFailure)
        unknown = NameKeys(bytes(32)).reader
        assert isinstance(await failure(resolve(reader.client, unknown, reader.seen)), NotFoundError)


async def test_a_copy_that_does_not_fit_is_no_part_of_the_history(autojump_clock: MockClock, base: Path) -> None:
    """Somebody who has the secret puts another version 2 into the archive, above the right one."""
    async with archipelago(base, 6) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        first = (await owner.publish(1)).value
        for number in (2, 3):
            await owner.publish(number)
        false = _after(first, 99)
        assert await put_by_hand(owner, false, 5, archive_salt(2)) == 6
        _, second, last = await reader.log()
        assert (second.number, second.value, second.forks, second.verified) == (2, None, (false,), False)
        assert (last.value, last.verified) == (first, False)
        error = await failure(reader.version(2))
        assert "nobody has version 2" in str(error)


async def test_a_history_with_holes_ends_and_a_version_beyond_is_found(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 4) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        await owner.publish(1)
        await owner.publish(2)
        far = NameValue(number=40, kind=1, root=link(40).root, key=bytes(32), time=0, previous=bytes(32))
        await put_by_hand(owner, far, 9)
        log = await reader.log()
        assert [entry.number for entry in log] == list(range(40, 31, -1))
        assert all(entry.value is None for entry in log[1:])
        found = await reader.version(1)
        assert (found.link, found.verified) == (link(1), False)


async def test_without_an_archive_only_the_head_is_there(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 4) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        for number in (1, 2):
            await owner.publish(number, archive=False)
        assert [entry.value is None for entry in await reader.log()] == [False, True]


async def test_another_version_under_a_sequence_that_was_seen_is_reported(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bendable(monkeypatch)
    async with archipelago(base, 4) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        first = (await owner.publish(1)).value
        await put_by_hand(owner, _after(first, 2), 2)
        assert (await reader.resolve()).link.root == link(2).root
        await put_by_hand(owner, _after(first, 3), 2)
        stores.bend(shows=lambda name, truth: truth[1:])
        shown = await reader.resolve()
        assert (shown.link.root, shown.forks, shown.replaced) == (link(3).root, (), True)


async def test_nothing_that_was_seen_opens_anything(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 4) as islands, AsyncExitStack() as stack:
        owner, reader = await machines(islands, stack, "owner", "reader")
        await owner.publish(7)
        await reader.resolve()
        for home in ("owner", "reader"):
            _only(b"".join(path.read_bytes() for path in (base / f"home-{home}").glob("names.sqlite*")))
        _only(b"".join((node.data / "records.sqlite-wal").read_bytes() for node in islands.nodes))


def _only(found: bytes) -> None:
    """What is in the file is about the name, and tells nothing of what it leads to."""
    head: bytes = name_id(KEYS.identity.key)
    assert head in found
    assert not any(secret in found for secret in (KEYS.read_key, bytes(link(7).root), link(7).key))
