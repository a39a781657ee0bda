"""Receipts: who signed for what, whether they keep their word, and what proves that they do not."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.errors import IntegrityFailure, NodeError
from node.keeping.challenge import Answer, Challenged, challenge
from node.keeping.receiptfile import ReceiptBook, convicted, new_file, promises_in, sum_up
from node.net.wire import Wire
from node.progress import Progress
from node.publishing.content import FileContent
from node.publishing.publish import Options, Published, publish
from node.publishing.source import scan
from node.serving.statements import Statements
from node.store.chunkindex import HeldChunk
from protocol.hashing import plain_digest
from protocol.ids import ChunkId
from protocol.messages import Audit, AuditReply
from protocol.receipts import EVIDENCE, RECEIPTS
from protocol.records import Receipt, open_receipt, sign_receipt
from protocol.segment import SEALED_BLOCK_BYTES
from protocol.statements import audit_statement
from tests.network.archipelago import NETWORK, User, archipelago
from tests.network.frauds import Fraud
from tests.network.holder import Holder, holder
from tests.network.swarm import wall_clock
from tests.network.test_publish_again import folder
from tests.strategies import STRANGER

MIB = 1 << 20
DAY = 86_400


async def publish_signed(user: User, source: Path, file: Path, options: Options | None = None) -> Published:
    """As the command does it."""
    content = FileContent(scan([source]), plain_digest(bytes(source)))
    with new_file(file, RECEIPTS, NETWORK.id) as new:
        book = ReceiptBook(new)
        published = await publish(
            user.client, user.depositor, user.journal, content, options or Options(), Progress(), book
        )
        new.finish()
    assert (book.receipts, len(book.holders)) == (published.placed, len({r.key for r in receipts_in(file)}))
    return published


def receipts_in(file: Path) -> Iterator[Receipt]:
    """Every one of them, checked."""
    for promises in promises_in(file, NETWORK.id):
        for receipt, _ in promises.receipts:
            yield receipt


async def ask(user: User, file: Path, evidence: Path | None = None) -> Challenged:
    """As the command does it."""
    promises = promises_in(file, NETWORK.id)
    if evidence is None:
        return await challenge(user.client, promises, None, Progress())
    with new_file(evidence, EVIDENCE, NETWORK.id) as new:
        result = await challenge(user.client, promises, new, Progress())
        new.finish()
    return result


async def nobody(*_: object) -> list[object]:
    return []


async def test_every_holder_of_every_chunk_has_signed(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 8) as islands, islands.user() as alice:
        published = await publish_signed(alice, folder(islands), base / "receipts", Options(lease_seconds=600))
        held = islands.holders()
        keys = {node.identity.key: node for node in islands.nodes}
        found = list(receipts_in(base / "receipts"))
        assert {(r.segment.hex(), r.index) for r in found} == {(s, i) for s, indices in held.items() for i in indices}
        for receipt in found:
            node = keys[receipt.key]
            assert held[receipt.segment.hex()][receipt.index] == [node]
            assert receipt.country == node.country
            assert abs(receipt.expiry - wall_clock() - 600) < 60
        summary = sum_up(base / "receipts", NETWORK.id, wall_clock())
        assert (summary.segments, summary.receipts) == (published.segments, published.chunks)
        assert (summary.expired, summary.shortened) == (0, 0)
        assert sum(summary.countries.values()) == len(found)
        asked = await ask(alice, base / "receipts")
        assert asked.answers == {Answer.RIGHT: len(found)}
        with monkeypatch.context() as patched:  # who announces nothing is found by its key
            patched.setattr("node.keeping.challenge.find_holders", nobody)
            assert (await ask(alice, base / "receipts")).answers == asked.answers
        await trio.sleep(700)
        asked = await ask(alice, base / "receipts")
        assert (asked.answers, asked.expired) == ({}, len(found))


async def test_what_is_there_already_is_signed_for_again(autojump_clock: MockClock, base: Path) -> None:
    """Nothing is sent for it, and no lease becomes shorter; a chunk that went missing is signed for as well."""
    async with archipelago(base, 8) as islands:
        source = folder(islands)
        async with islands.user() as alice:
            first = await alice.publish(source, options=Options(lease_seconds=30 * DAY))
            (row,) = alice.journal.deposits(first.link.root)
        async with islands.user() as alice:
            again = await publish_signed(alice, source, base / "receipts", Options(lease_seconds=DAY))
            assert [found.expiry for found in alice.journal.deposits(first.link.root)] == [row.expiry]
        assert (again.link, again.sent_bytes) == (first.link, 0)
        assert again.placed == first.chunks
        assert {receipt.expiry for receipt in receipts_in(base / "receipts")} == {row.expiry}
        (node, *_) = (node for node in islands.nodes if node.chunks())
        lost = node.chunks()
        lost_bytes = sum(node.chunk_bytes(chunk) for chunk in lost)
        for chunk in lost:
            node.chunk_file(chunk).unlink()
        async with islands.user() as alice:
            mended = await publish_signed(alice, source, base / "more", Options(lease_seconds=90 * DAY))
            assert mended.placed == first.chunks
            assert mended.sent_bytes == lost_bytes
            assert (await ask(alice, base / "more")).answers == {Answer.RIGHT: first.chunks}


async def test_who_signs_something_else_holds_nothing(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of what it has nor at a put: the chunk goes to somebody who signs for it."""
    async with archipelago(base, 6) as islands, islands.user() as alice:
        there, too, new = (islands.file(name, MIB) for name in ("there", "too", "new"))
        await alice.publish(there)
        await alice.publish(too)
        liar = next(node for node in islands.nodes if node.chunks())
        receipt = Statements.receipt

        def other_chunk(self: Statements, chunk: HeldChunk, expiry: int) -> bytes:
            lies = self.identity.key == liar.identity.key
            return receipt(self, replace(chunk, chunk_id=ChunkId(bytes(32))) if lies else chunk, expiry)

        def other_signer(self: Statements, chunk: HeldChunk, expiry: int) -> bytes:
            signed = receipt(self, chunk, expiry)
            if self.identity.key != liar.identity.key:
                return signed
            return sign_receipt(STRANGER, replace(open_receipt(signed, NETWORK.id), key=STRANGER.key))

        for source, lie in ((there, other_signer), (too, other_chunk), (new, other_chunk)):
            monkeypatch.setattr(Statements, "receipt", lie)
            await trio.sleep(60)  # nobody is suspect any more
            published = await publish_signed(alice, source, base / f"{source.name}.receipts")
            assert published.placed == published.chunks
            assert liar.identity.key not in {found.key for found in receipts_in(base / f"{source.name}.receipts")}


class Sly(Fraud):
    """Keeps the block hashes, and signs the right one beside a block of junk."""

    async def _audit(self, liar: Holder, wire: Wire, message: Audit) -> None:
        put = self.taken[message.segment, message.index]
        right = put.hashes[message.block * 32 : (message.block + 1) * 32]
        statement = audit_statement(
            network=NETWORK.id,
            nonce=message.nonce,
            segment=message.segment,
            index=message.index,
            block=message.block,
            block_hash=right,
        )
        signature = liar.identity.sign("audit", statement)
        junk = memoryview(liar.random.randbytes(SEALED_BLOCK_BYTES))
        await wire.send(AuditReply(descriptor=put.descriptor, hashes=put.hashes, signature=signature), [junk])


async def test_holders_that_betray(autojump_clock: MockClock, base: Path) -> None:
    """Who signs what is wrong, or that it has nothing, is convicted by the two files alone. Of the others there is
    only what was seen."""
    receipts, others, evidence = base / "receipts", base / "others", base / "lies"
    async with archipelago(base, 6) as islands, AsyncExitStack() as stack:
        liar, sly = [
            await stack.enter_async_context(holder(islands, fraud, read_only=False)) for fraud in (Fraud(), Sly())
        ]
        await trio.sleep(1)
        alice = await stack.enter_async_context(islands.user())
        published = await publish_signed(alice, islands.file("film", MIB), receipts)
        await publish_signed(alice, islands.file("other", MIB), others)
        signed = Counter(receipt.key for receipt in receipts_in(receipts))
        lies, slyly = signed[liar.identity.key], signed[sly.identity.key]
        assert lies
        assert slyly
        assert sum_up(receipts, NETWORK.id, wall_clock()).shortened == lies + slyly
        broken, silent = [node for node in islands.nodes if node.identity.key in signed][:2]
        for chunk in broken.chunks():
            broken.chunk_file(chunk).unlink()
        silent.host.freeze()
        asked = await ask(alice, receipts, evidence)
        denied, quiet = signed[broken.identity.key], signed[silent.identity.key]
        assert asked.answers == {
            Answer.PROVED: lies,
            Answer.WRONG: slyly,
            Answer.DENIED: denied,
            Answer.SILENT: quiet,
            Answer.RIGHT: published.placed - lies - slyly - denied - quiet,
        }
        guilty = Counter({liar.identity.key: lies, broken.identity.key: denied})
        assert (asked.liars, asked.proofs) == ({liar.identity.key}, guilty.total())
    convicts = convicted(receipts, evidence, NETWORK.id)
    assert Counter(receipt.key for receipt, _ in convicts) == guilty
    with pytest.raises(IntegrityFailure, match="receipts are not in"):
        convicted(others, evidence, NETWORK.id)
    for file in (receipts, evidence):
        check_no_byte_can_be_changed(file, lambda: convicted(receipts, evidence, NETWORK.id))


def check_no_byte_can_be_changed(file: Path, read: Callable[[], object]) -> None:
    good = file.read_bytes()
    for at in range(0, len(good), 97):
        file.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(NodeError):
            read()
    file.write_bytes(good)
    read()


async def test_a_publish_that_fails_leaves_no_receipts(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands, islands.user() as alice:
        for node in islands.nodes:
            node.host.freeze()
        with pytest.raises((NodeError, ExceptionGroup)):
            await publish_signed(alice, islands.file("film", MIB), base / "receipts")
    assert not list(base.glob("receipts*"))
