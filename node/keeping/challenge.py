"""Asking everybody who signed a receipt to prove that they hold the chunk, and keeping what convicts those who lie."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import islice

import trio

from dht.contact import Contact
from node.client import Client
from node.keeping.audit import is_right
from node.keeping.holders import ANSWER_SECONDS, Questions, find_holders, in_parallel
from node.keeping.receiptfile import NewFile
from node.net.peers import PeerBroke, PeerRefused, PeerUnreachable
from node.progress import Progress
from protocol.ids import Address, NodeId, PublicKey, SegmentId, node_id
from protocol.messages import NONCE_BYTES, Audit, AuditReply, ErrorCode, Shared, Survey, SurveyReply
from protocol.receipts import MAX_PROOFS, AuditProof, CheckedPromises, Proof, proof_frame, prove_denial, prove_wrong
from protocol.records import Receipt
from protocol.segment import Descriptor

LOOKUPS_AT_ONCE = 4
SEGMENTS_AT_ONCE = 64
"""Looked up, then audited: what is remembered of them meanwhile is bounded."""
AGAIN_SECONDS = 15.0
"""How long a holder that was silent may be silent once more, alone, before it is asked nothing further."""


class Answer(Enum):
    """What came of asking for one chunk."""

    RIGHT = "right"
    PROVED = "proved"
    """A wrong answer, signed: what shows it is evidence."""
    WRONG = "wrong"
    """A wrong answer, of which nothing that was signed shows that it is wrong."""
    DENIED = "denied"
    """It says that it does not hold it, and signs that: evidence as well."""
    REFUSED = "refused"
    """It says that it will not, or does not hold it: unsigned."""
    SILENT = "silent"


@dataclass(slots=True)
class Challenged:
    """What all were asked, and answered."""

    answers: Counter[Answer] = field(default_factory=Counter)
    """Chunks by answer."""
    liars: set[PublicKey] = field(default_factory=set)
    """Whose lie can be proved."""
    expired: int = 0
    """Receipts that nobody was asked about: they promise nothing any more."""
    proofs: int = 0
    """Written as evidence; bounded."""


@dataclass(frozen=True, slots=True)
class _Promise:
    """One chunk that somebody signed for."""

    descriptor: Descriptor
    receipt: Receipt
    signed: bytes


async def challenge(
    client: Client, file: Iterator[CheckedPromises], evidence: NewFile | None, progress: Progress
) -> Challenged:
    """Audit one random block of every chunk that a receipt promises now, at its signer and nobody else.

    Args:
        client: Who asks.
        file: The segments of a receipt file.
        evidence: Where proofs go, if they are wanted; to be finished by the caller.
        progress: Told of the bytes of the segments that are done.

    Raises:
        MachineError: The evidence cannot be written.
    """
    work = _Challenge(client, evidence)
    take = partial(_take, file)
    while some := await client.world.blocking(take):
        await work.run(some)
        progress.step(done=sum(promises.descriptor.layout.length for promises in some))
    return work.result


def _take(file: Iterator[CheckedPromises]) -> list[CheckedPromises]:
    return list(islice(file, SEGMENTS_AT_ONCE))


class _Challenge:
    """The questions of one file, some segments at a time."""

    def __init__(self, client: Client, evidence: NewFile | None) -> None:
        self._client = client
        self._evidence = evidence
        self._questions = Questions()
        self._gone: set[PublicKey] = set()
        """Who was silent twice, or was not to be found: not asked again."""
        self._addresses: dict[PublicKey, Address] = {}
        self.result = Challenged()

    async def run(self, some: list[CheckedPromises]) -> None:
        """Find the signers, then ask all of them at once, each for one chunk after another."""
        now = self._client.world.clock.wall()
        asked: dict[PublicKey, list[_Promise]] = defaultdict(list)
        segments: dict[SegmentId, set[PublicKey]] = {}
        for promises in some:
            live = [(receipt, signed) for receipt, signed in promises.receipts if receipt.expiry > now]
            self.result.expired += len(promises.receipts) - len(live)
            segments[promises.descriptor.id] = {receipt.key for receipt, _ in live}
            for receipt, signed in live:
                asked[receipt.key].append(_Promise(promises.descriptor, receipt, signed))
        await in_parallel(list(segments), LOOKUPS_AT_ONCE, lambda segment: self._locate(segment, segments[segment]))
        unanswered: dict[PublicKey, list[_Promise]] = {}
        async with trio.open_nursery() as nursery:
            for key, promises_of in asked.items():
                nursery.start_soon(self._ask_first, key, promises_of, unanswered)
        for key, rest in unanswered.items():  # one by one, on a quiet line
            await self._ask_again(key, rest)

    async def _locate(self, segment: SegmentId, keys: set[PublicKey]) -> None:
        """Where the signers are: as they announce it or, if they do not announce the segment, as the DHT knows them."""
        keys = keys - self._addresses.keys() - self._gone
        if not keys:
            return
        for record in await find_holders(self._client, segment):
            if record.key in keys:
                self._addresses[record.key] = record.address
        for key in keys - self._addresses.keys():
            address = await self._look_up(node_id(key))
            if address is None:
                self._gone.add(key)
            else:
                self._addresses[key] = address

    async def _look_up(self, node: NodeId) -> Address | None:
        found = await self._client.dht.lookup(SegmentId(node))
        return next((item.contact.address for item in found if item.contact.node_id == node), None)

    async def _ask_first(
        self, key: PublicKey, promises: list[_Promise], unanswered: dict[PublicKey, list[_Promise]]
    ) -> None:
        answered = 0 if key in self._gone else await self._ask(key, promises, ANSWER_SECONDS)
        if answered < len(promises):
            unanswered[key] = promises[answered:]

    async def _ask_again(self, key: PublicKey, promises: list[_Promise]) -> None:
        answered = 0 if key in self._gone else await self._ask(key, promises, AGAIN_SECONDS)
        if answered < len(promises):
            self._gone.add(key)
            self.result.answers[Answer.SILENT] += len(promises) - answered

    async def _ask(self, key: PublicKey, promises: list[_Promise], seconds: float) -> int:
        """Ask for chunk after chunk until the signer is silent; returns for how many it was not."""
        contact = Contact(key, self._addresses[key])
        for count, promise in enumerate(promises):
            question = _Question(self._client, contact, promise)
            try:
                await self._questions.ask(seconds, question.ask)
            except PeerUnreachable:
                return count
            self.result.answers[question.answer] += 1
            if question.proof is not None:
                await self._keep(key, question.proof)
        return len(promises)

    async def _keep(self, signer: PublicKey, proof: Proof) -> None:
        if isinstance(proof, AuditProof):
            self.result.liars.add(signer)
        if self._evidence is not None and self.result.proofs < MAX_PROOFS:
            self.result.proofs += 1
            await self._client.world.blocking(self._evidence.add, proof_frame(proof))


@dataclass(slots=True)
class _Question:
    """One chunk asked for, and what came of it."""

    client: Client
    contact: Contact
    promise: _Promise
    answer: Answer = Answer.WRONG
    proof: Proof | None = None

    async def ask(self, on_body: Callable[[int], None]) -> bool:
        """Whether the answer is right. Raises PeerUnreachable: there was none."""
        client, receipt, descriptor = self.client, self.promise.receipt, self.promise.descriptor
        request = Audit(
            segment=descriptor.id,
            index=receipt.index,
            block=client.random_below(descriptor.layout.column_blocks(receipt.index)),
            nonce=client.world.random_bytes(NONCE_BYTES),
        )
        try:
            reply, body = await client.peers.request(self.contact, request, on_body=on_body)
        except PeerRefused as exc:
            self.answer = Answer.REFUSED
            if exc.code in (ErrorCode.NOT_FOUND, ErrorCode.CORRUPT):
                await self._ask_to_sign()
            if self.answer is Answer.REFUSED:
                client.refusals.note(self.contact, receipt.country, exc)
            return False
        except PeerBroke:
            return False
        assert isinstance(reply, AuditReply)
        if is_right(client.network.id, receipt.key, descriptor, request, reply, body):
            self.answer = Answer.RIGHT
            return True
        self.proof = prove_wrong(self.promise.signed, client.network.id, request, reply, body)
        self.answer = Answer.WRONG if self.proof is None else Answer.PROVED
        return False

    async def _ask_to_sign(self) -> None:
        """Have it sign that it does not hold the chunk: an error reply proves nothing."""
        client, segment = self.client, self.promise.descriptor.id
        request = Survey(nonce=client.world.random_bytes(NONCE_BYTES), segments=(Shared(segment=segment),))
        with suppress(PeerRefused, PeerBroke):
            reply, _ = await client.peers.request(self.contact, request)
            assert isinstance(reply, SurveyReply)
            self.proof = prove_denial(self.promise.signed, client.network.id, request, reply)
            if self.proof is not None:
                self.answer = Answer.DENIED
