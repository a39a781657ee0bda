"""Allow-list and denylist: what they let in, what they hide, and how a change of them takes effect."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.blocking import InlineBlocking
from node.errors import ConfigError
from node.net.peers import PeerRefused
from node.serving.policy import LOOK_SECONDS, SWEEP_SECONDS, AccessLists
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from protocol.messages import Audit, AuditReply, ErrorCode, Get, GetReply, Have, HaveReply, Held, PutLease, PutReply
from tests.node.builders import ALICE, BOB, DAY, NOW, Sample, lease_for, open_store, put, sample
from tests.node.serving import Bench, bench, put_message

ONE, TWO = sample(1, 1000), sample(2, 1000)
ALICES, BOBS = f"depositor {ALICE.key.hex()}\n", f"depositor {BOB.key.hex()}\n"


def lists(path: Path, *, allow: str | None = None, deny: str | None = None) -> AccessLists:
    files = {}
    for name, text in (("allow", allow), ("deny", deny)):
        if text is not None:
            files[name] = path / name
            files[name].write_text(text)
    return AccessLists(**files)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.code is ErrorCode.REFUSED
    return caught.value.text


def rewrite(path: Path, text: str) -> None:
    """As an editor does: another file under the same name, so that a change within a tick of the disk's clock shows."""
    draft = path.with_suffix(".new")
    draft.write_text(text)
    os.replace(draft, path)


# What the files say


def test_without_lists_everybody_is_let_in() -> None:
    AccessLists().check(lease_for(ONE)[0])


def test_an_allow_list_lets_in_whom_it_names(tmp_path: Path) -> None:
    access = lists(tmp_path, allow=f"# friends\n\n  {ALICE.key.hex().upper()}  # Alice\n")
    access.check(lease_for(ONE)[0])
    assert BOB.key.hex() in refused(lambda: access.check(lease_for(ONE, BOB)[0])), "what to put on the list"
    access.check(lease_for(ONE, BOB, deleted=True)[0])


def test_a_denylist_keeps_out_what_it_names(tmp_path: Path) -> None:
    access = lists(tmp_path, deny=f"segment {ONE.id.hex()}\n{BOBS}")
    assert "segment" in refused(lambda: access.check(lease_for(ONE)[0]))
    assert "depositor" in refused(lambda: access.check(lease_for(TWO, BOB)[0]))
    access.check(lease_for(TWO)[0])
    access.check(lease_for(ONE, deleted=True)[0])


def test_the_denylist_counts_for_those_allowed_too(tmp_path: Path) -> None:
    access = lists(tmp_path, allow=ALICE.key.hex(), deny=ALICES)
    assert "depositor" in refused(lambda: access.check(lease_for(ONE)[0]))


@pytest.mark.parametrize(
    ("which", "line"),
    [
        ("allow", "abc"),
        ("allow", "00" * 31),
        ("allow", "00" * 33),
        ("allow", "xx" * 32),
        ("allow", ALICES),
        ("allow", f"{'00' * 32} Alice"),
        ("deny", "00" * 32),
        ("deny", f"Segment {'00' * 32}"),
        ("deny", "segment"),
        ("deny", f"segment {'00' * 32} depositor {'00' * 32}"),
    ],
)
def test_a_malformed_line_is_named_and_the_node_does_not_start(tmp_path: Path, which: str, line: str) -> None:
    with pytest.raises(ConfigError, match=f"{which}, line 2: want .*64 digits"):
        lists(tmp_path, **{which: f"# first\n{line}\n"})


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff")])
def test_a_list_that_cannot_be_read(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "deny")
    with pytest.raises(ConfigError, match=r"^--deny: cannot read '.*/deny': (No such file|Is a directory|not UTF-8)"):
        AccessLists(deny=tmp_path / "deny")
    with pytest.raises(ConfigError, match=r"^--allow: cannot read '"):
        AccessLists(allow=tmp_path / "deny")


# What a peer sees


async def answers(it: Bench, segment: Sample) -> set[str]:
    """What a node does with a segment it holds chunk 0 of."""
    done = set()
    (held,) = (await it_ask(it, Have(depositor=ALICE.key, deposit=bytes(16), segments=(segment.id,)))).held
    if held != Held():
        done.add("have")
    for name, message in (
        ("get", Get(segment=segment.id, index=0, count=1)),
        ("audit", Audit(segment=segment.id, index=0, block=0, nonce=bytes(16))),
    ):
        try:
            assert isinstance(await it.ask(message), GetReply | AuditReply)
            done.add(name)
        except PeerRefused as exc:
            assert exc.code is ErrorCode.NOT_FOUND
    return done


async def it_ask(it: Bench, message: Have) -> HaveReply:
    reply = await it.ask(message)
    assert isinstance(reply, HaveReply)
    return reply


async def test_a_full_node_names_the_list_before_the_quota(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path / "store", quota=0, lists=lists(tmp_path, deny=ALICES)) as it:
        assert await it.code(put_message(ONE, 0), ONE.columns[0]) is ErrorCode.REFUSED
        assert it.offered == []


async def test_a_denylist_takes_effect_while_the_node_runs(autojump_clock: MockClock, tmp_path: Path) -> None:
    access = lists(tmp_path, deny="")
    async with bench(tmp_path / "store", lists=access) as it:
        for segment in (ONE, TWO):
            assert isinstance(await it.ask(put_message(segment, 0), segment.columns[0]), PutReply)
        it.nursery.start_soon(access.run, it.store, InlineBlocking())
        await trio.testing.wait_all_tasks_blocked()
        rewrite(tmp_path / "deny", f"segment {ONE.id.hex()}")
        await trio.sleep(1.5 * LOOK_SECONDS)
        assert [chunk.segment for chunk in it.store.holdings(trash=True)] == [TWO.id], "it is gone at once"
        assert await it.code(put_message(ONE, 0), ONE.columns[0]) is ErrorCode.REFUSED
        assert await it.code(PutLease(lease=lease_for(ONE, sequence=2)[1])) is ErrorCode.REFUSED
        assert await answers(it, ONE) == set()
        assert await answers(it, TWO) == {"have", "get", "audit"}
        rewrite(tmp_path / "deny", "")
        await trio.sleep(1.5 * LOOK_SECONDS)
        assert isinstance(await it.ask(put_message(ONE, 0), ONE.columns[0]), PutReply)


@pytest.mark.parametrize("deny", [f"segment {ONE.id.hex()}\n", ALICES], ids=["segment", "depositor"])
async def test_what_is_denied_is_answered_as_not_held_even_before_it_is_removed(
    autojump_clock: MockClock, tmp_path: Path, deny: str
) -> None:
    async with bench(tmp_path / "store", lists=lists(tmp_path, deny=deny)) as it:
        put(it.store, ONE, 0)
        put(it.store, TWO, 0, lease_for(TWO, BOB))
        assert await answers(it, ONE) == set()
        assert await answers(it, TWO) == {"have", "get", "audit"}


async def test_what_another_has_a_lease_on_stays_for_him(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(tmp_path / "store", lists=lists(tmp_path, deny=ALICES)) as it:
        put(it.store, ONE, 0)
        it.store.apply_lease(*lease_for(ONE, BOB))
        assert await answers(it, ONE) == {"have", "get", "audit"}


# The sweep


@pytest.fixture
def store(tmp_path: Path) -> ChunkStore:
    return open_store(tmp_path / "store")


def test_what_only_a_denied_depositor_keeps_goes_and_what_another_keeps_stays(store: ChunkStore) -> None:
    put(store, ONE, 0)
    put(store, TWO, 0)
    put(store, TWO, 1, lease_for(TWO, BOB))
    deletion = lease_for(sample(3, 1000), deleted=True, sequence=2)
    put(store, sample(3, 1000), 0)
    store.apply_lease(*deletion)
    assert store.expel((), [ALICE.key]) == 1
    assert [(chunk.segment, chunk.index) for chunk in store.holdings(trash=True)] == [(TWO.id, 0), (TWO.id, 1)]
    assert store.leases(TWO.id) == [lease_for(TWO, BOB)[1]], "the denied one's lease keeps nothing any more"
    assert store.leases(deletion[0].segment) == [deletion[1]], "a deletion is remembered, whosever it is"
    assert store.expel((), [ALICE.key]) == 0
    store.close()


def test_a_denied_segment_goes_whoever_has_leases_on_it(store: ChunkStore) -> None:
    put(store, ONE, 0)
    put(store, ONE, 1, lease_for(ONE, BOB))
    assert store.expel([ONE.id, TWO.id], ()) == 2
    assert store.used_bytes == 0
    store.close()


async def test_what_was_on_its_way_when_the_list_changed_goes_within_a_minute(
    autojump_clock: MockClock, tmp_path: Path, store: ChunkStore
) -> None:
    access = lists(tmp_path, deny=ALICES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(access.run, store, InlineBlocking())
        await trio.sleep(5)
        put(store, ONE, 0)
        await trio.sleep(SWEEP_SECONDS)
        assert store.holdings(trash=True) == []
        nursery.cancel_scope.cancel()
    store.close()


@pytest.mark.parametrize("bad", ["nonsense\n", None])
async def test_a_mistake_in_a_list_leaves_the_old_one_in_force_and_is_told_once(
    autojump_clock: MockClock, tmp_path: Path, store: ChunkStore, caplog: pytest.LogCaptureFixture, bad: str | None
) -> None:
    access = lists(tmp_path, deny=BOBS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(access.run, store, InlineBlocking())
        await trio.sleep(0.5)
        if bad is None:
            (tmp_path / "deny").unlink()
        else:
            rewrite(tmp_path / "deny", ALICES + bad)
        await trio.sleep(5)
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert "stays as it was" in caplog.text
        refused(lambda: access.check(lease_for(ONE, BOB)[0]))
        access.check(lease_for(ONE)[0])
        rewrite(tmp_path / "deny", ALICES)
        await trio.sleep(1.5 * LOOK_SECONDS)
        access.check(lease_for(ONE, BOB)[0])
        refused(lambda: access.check(lease_for(ONE)[0]))
        nursery.cancel_scope.cancel()
    store.close()


def test_leases_of_other_holders_pass_the_lists_too(tmp_path: Path, store: ChunkStore) -> None:
    store.admits = lists(tmp_path, allow=ALICE.key.hex()).admits
    put(store, ONE, 0)
    store.merge_leases(ONE.id, [lease_for(ONE, BOB), lease_for(ONE, sequence=2, expiry=NOW + 9 * DAY)])
    assert store.leases(ONE.id) == [lease_for(ONE, sequence=2, expiry=NOW + 9 * DAY)[1]]
    store.close()
