"""For whom a node keeps how much, and how its operator refuses and admits depositors while it runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from node.blocking import InlineBlocking
from node.cli.depositors import depositors_text
from node.control import MAX_LINE_BYTES
from node.errors import ConfigError, MachineError, RefusedError
from node.serving import depositors
from node.serving.depositors import DepositorDesk
from node.serving.policy import AccessLists
from node.store.chunkstore import ChunkStore
from node.store.refusal import Refusal
from node.store.shares import account_charge
from protocol.identity import Identity
from protocol.messages import ErrorCode, PutReply
from tests.node.builders import ALICE, BOB, DAY, NOW, lease_for, open_store, put, sample
from tests.node.serving import bench, put_message
from tests.node.test_policy import ALICES, BOBS, lists

ONE, TWO, THREE = sample(1, 1000), sample(2, 1000), sample(3, 300_000)


@pytest.fixture
def store(tmp_path: Path) -> ChunkStore:
    return open_store(tmp_path / "store")


def desk(store: ChunkStore, access: AccessLists | None = None) -> DepositorDesk:
    access = access or AccessLists()
    access.govern(store)
    return DepositorDesk(store, access, InlineBlocking())


async def said(desk: DepositorDesk, what: str, **request: str) -> list[Any]:
    """What comes over the socket, every reply in a line that fits."""
    lines = [json.dumps({"reply": reply}) async for reply in desk.handlers[what](request)]
    assert all(len(line) < MAX_LINE_BYTES for line in lines)
    return [json.loads(line)["reply"] for line in lines]


# Totals


def test_who_has_how_much(store: ChunkStore) -> None:
    put(store, ONE, 0)
    put(store, THREE, 0, lease_for(THREE, BOB))
    put(store, THREE, 1, lease_for(THREE, BOB))
    store.apply_lease(*lease_for(ONE, BOB, expiry=NOW + DAY))
    store.apply_lease(*lease_for(ONE, deposit=bytes([1] * 16), expiry=NOW + 90 * DAY))
    found, count = store.depositors.largest(10)
    assert count == 2
    bob, alice = found
    assert (bob.key, alice.key) == (BOB.key, ALICE.key), "the largest first"
    assert (bob.segments, bob.chunks, bob.leases) == (1, 2, 2), "a lease on another's chunk is on the other's account"
    assert (bob.first, bob.last) == (int(NOW + DAY), int(NOW + 30 * DAY))
    assert (alice.segments, alice.chunks, alice.leases) == (1, 1, 2)
    assert (alice.first, alice.last) == (int(NOW + 30 * DAY), int(NOW + 90 * DAY))
    counted = store.depositors._shares._depositors
    assert {one.key: one.bytes for one in found} == counted, "by which its share is counted"
    assert store.depositors.largest(1) == ([bob], 2)


def test_who_has_a_lease_and_no_chunk_or_a_chunk_and_no_lease(store: ChunkStore) -> None:
    put(store, ONE, 0)
    store.apply_lease(*lease_for(ONE, BOB))
    store.apply_lease(*lease_for(ONE, sequence=2, deleted=True))
    (alice, bob), _ = store.depositors.largest(10)
    assert (alice.chunks, alice.leases, alice.first) == (1, 0, None)
    assert (bob.chunks, bob.bytes, bob.leases) == (0, 0, 1)


async def test_no_more_than_some_are_told_of(store: ChunkStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        segment, identity = sample(number, 1000), Identity(bytes([number]) * 32)
        put(store, segment, 0, lease_for(segment, identity))
    monkeypatch.setattr(depositors, "MOST", 7)
    monkeypatch.setattr(depositors, "_PAGE", 3)
    first, *pages = await said(desk(store), "depositors")
    assert first == {"total": 12, "more": 5, "quota_bytes": store.depositors.quota_bytes}
    assert [len(page["depositors"]) for page in pages] == [3, 3, 1]
    found = {**first, "depositors": [one for page in pages for one in page["depositors"]]}
    assert depositors_text(found).endswith("\nand 5 more, with less than these")
    one = found["depositors"][0]
    assert {one["bytes"] for one in found["depositors"]} == {account_charge(1)}
    assert (one["refused"], one["allowed"], one["share"]) == (False, None, 1.0)


def test_a_thousand_fit_into_lines() -> None:
    """The longest there can be of what is said of one depositor, as often as it stands in a line."""
    longest = {"key": "f" * 64, "part": 0.000001, "share": 0.333333333333333, "refused": False, "allowed": False}
    numbers = dict.fromkeys(("segments", "chunks", "bytes", "leases", "first_expires", "last_expires"), 2**64)
    assert len(json.dumps({"reply": {"depositors": depositors._PAGE * [{**longest, **numbers}]}})) < MAX_LINE_BYTES


async def test_an_index_that_fails(store: ChunkStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(prefix: int) -> None:
        raise Refusal(ErrorCode.DISK, "the index failed: disk I/O error")

    monkeypatch.setattr(store.depositors._index, "depositors", fail)
    with pytest.raises(MachineError, match=r"cannot count what is held: .*disk I/O error"):
        await said(desk(store), "depositors")


# Refusing and admitting


async def test_to_refuse_takes_effect_at_once_and_to_admit_ends_it(autojump_clock: MockClock, tmp_path: Path) -> None:
    text = f"# whom we had trouble with\n\nsegment {TWO.id.hex()}  # a letter came\n{BOBS.strip()} # spam"
    access = lists(tmp_path, deny=text)
    async with bench(tmp_path / "store", lists=access) as it:
        asked = desk(it.store, access)
        assert isinstance(await it.ask(put_message(ONE, 0), ONE.columns[0]), PutReply)
        (refused,) = await said(asked, "refuse", key=ALICE.key.hex())
        assert refused == {
            "key": ALICE.key.hex(), "changed": True, "removed_chunks": 1,
            "refused": True, "allowed": None, "share": None,
        }  # fmt: skip
        assert (tmp_path / "deny").read_text() == f"{text}\n{ALICES}", "what else stands there stays"
        assert it.store.chunk_count() == 0
        assert await it.code(put_message(ONE, 0), ONE.columns[0]) is ErrorCode.REFUSED
        assert not (await said(asked, "refuse", key=ALICE.key.hex()))[0]["changed"]
        assert (await said(asked, "admit", key=ALICE.key.hex()))[0]["changed"]
        assert (tmp_path / "deny").read_text() == f"{text}\n"
        assert isinstance(await it.ask(put_message(ONE, 0), ONE.columns[0]), PutReply)
        assert not (await said(asked, "admit", key=ALICE.key.hex()))[0]["changed"]


async def test_to_admit_puts_on_the_allow_list_too(store: ChunkStore, tmp_path: Path) -> None:
    access = lists(tmp_path, allow=f"{BOB.key.hex()} # Bob\n", deny=ALICES)
    asked = desk(store, access)
    (admitted,) = await said(asked, "admit", key=ALICE.key.hex())
    assert (admitted["changed"], admitted["allowed"], admitted["refused"]) == (True, True, False)
    assert (tmp_path / "allow").read_text() == f"{BOB.key.hex()} # Bob\n{ALICE.key.hex()}\n"
    assert (tmp_path / "deny").read_text() == ""
    access.check(lease_for(ONE)[0])


async def test_a_node_without_lists_says_what_to_do(store: ChunkStore, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no denylist") as caught:
        await said(desk(store), "refuse", key=ALICE.key.hex())
    assert caught.value.hint == "make an empty file, and start the node with --deny FILE"
    with pytest.raises(RefusedError) as caught:
        await said(desk(store, lists(tmp_path, allow="")), "refuse", key=ALICE.key.hex())
    assert f"take the key out of {tmp_path / 'allow'}" in str(caught.value.hint)
    assert not (await said(desk(store), "admit", key=ALICE.key.hex()))[0]["changed"], "everybody is admitted"


@pytest.mark.parametrize("key", ["", "None", "00" * 31, "xx" * 32])
async def test_what_is_no_key(store: ChunkStore, tmp_path: Path, key: str) -> None:
    asked = desk(store, lists(tmp_path, deny="# empty\n"))
    for what in ("refuse", "admit"):
        with pytest.raises(ConfigError, match="64 hexadecimal digits"):
            await said(asked, what, key=key)
    assert (tmp_path / "deny").read_text() == "# empty\n"


async def test_a_list_that_is_malformed_or_cannot_be_written_stays(store: ChunkStore, tmp_path: Path) -> None:
    access = lists(tmp_path, deny=BOBS)
    asked = desk(store, access)
    (tmp_path / "deny").write_text(f"{BOBS}nonsense\n")
    with pytest.raises(ConfigError, match="line 2"):
        await said(asked, "refuse", key=ALICE.key.hex())
    assert (tmp_path / "deny").read_text() == f"{BOBS}nonsense\n"
    (tmp_path / "deny").write_text(BOBS)
    (tmp_path / ".deny.0123456789abcdef.part").mkdir()
    with pytest.raises(MachineError, match="cannot write the list"):
        await said(asked, "refuse", key=ALICE.key.hex())
    assert (tmp_path / "deny").read_text() == BOBS
    assert not access.standing(ALICE.key).refused
    assert access.standing(BOB.key).refused


async def test_a_link_to_a_list_stays_one_and_its_mode_too(store: ChunkStore, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "denied").write_text("")
    (tmp_path / "etc" / "denied").chmod(0o640)
    (tmp_path / "deny").symlink_to("etc/denied")
    asked = desk(store, AccessLists(deny=tmp_path / "deny"))
    await said(asked, "refuse", key=ALICE.key.hex())
    assert (tmp_path / "deny").is_symlink()
    assert (tmp_path / "etc" / "denied").read_text() == ALICES
    assert (tmp_path / "etc" / "denied").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["denied"]


# Shares of their own


def test_a_share_of_ones_own(tmp_path: Path) -> None:
    access = lists(tmp_path, allow=f"{ALICE.key.hex()} 0.05%\n{BOB.key.hex()}\n")
    store = open_store(tmp_path / "store", quota=10_000_000)
    access.govern(store)
    put(store, ONE, 0, lease_for(ONE, BOB))
    access.check(lease_for(ONE)[0])
    with pytest.raises(Refusal, match=r"one depositor may take 0.05% of this node's quota, and has it"):
        put(store, TWO, 0)
    assert (access.share(ALICE.key), access.share(BOB.key)) == (0.0005, None)


async def test_a_share_on_the_denylist_lets_in_up_to_it(tmp_path: Path) -> None:
    access = lists(tmp_path, deny=f"depositor {ALICE.key.hex()} 10% # enough\n")
    store = open_store(tmp_path / "store", quota=1_000_000)
    asked = desk(store, access)
    access.check(lease_for(ONE)[0])
    put(store, ONE, 0)
    assert access.share(ALICE.key) == 0.1
    assert not (await said(asked, "admit", key=ALICE.key.hex()))[0]["changed"], "its share stays"
    assert (await said(asked, "refuse", key=ALICE.key.hex()))[0]["removed_chunks"] == 1
    assert (tmp_path / "deny").read_text() == ALICES, "one line for one depositor"


@pytest.mark.parametrize("line", [f"segment {'00' * 32} 10%", f"depositor {'00' * 32} 0%", f"depositor {'00' * 32} 1"])
def test_a_share_that_is_none(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="line 1: want") as caught:
        lists(tmp_path, deny=line)
    assert caught.value.hint == "a share may stand behind depositor HEX, such as 10%"
