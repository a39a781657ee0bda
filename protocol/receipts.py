"""Receipt files, and evidence against those who signed the receipts (docs/spec/storage.md section 10).

Goals: both files as bytes, every signature, hash and chunk id in them checked, and the verdict on one answer to
an audit. Frames are read one by one, so that a file of any size costs the memory of one segment.

Non-goals: whether a receipt has expired (the caller has the clock), and whether a claimed country is true.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final

from protocol.codec import Raw, Seq, Struct, Uint, decode, decode_tagged, encode, encode_tagged
from protocol.errors import IntegrityError, ProtocolError, RemoteProtocolError, WrongNetworkError
from protocol.hashing import DIGEST_BYTES, Bytes, digest
from protocol.identity import SIGNATURE_BYTES, verify
from protocol.ids import ID_BYTES, NetworkId, SegmentId
from protocol.messages import (
    MAX_BLOCK,
    MAX_DESCRIPTOR_BYTES,
    MAX_HASHES_BYTES,
    NONCE_BYTES,
    Audit,
    AuditReply,
    Holds,
    Survey,
    SurveyReply,
)
from protocol.records import MAX_INDEX, MAX_RECEIPT_BYTES, MAX_SECONDS, Receipt, open_receipt
from protocol.segment import Descriptor, block_hash, chunk_id
from protocol.statements import audit_statement, survey_statement

RECEIPTS: Final = b"archipel receipts 1\n"
EVIDENCE: Final = b"archipel evidence 1\n"
MAX_SEGMENTS: Final = 262_145
"""Those an index names, and the root."""
MAX_PROOFS: Final = 65_536
MAX_FRAME_BYTES: Final = 24_576
LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """What the holders of one segment signed: a frame of a receipt file."""

    descriptor: Annotated[bytes, Raw(1, MAX_DESCRIPTOR_BYTES)]
    expiry: Annotated[int, Uint(MAX_SECONDS)]
    """Of the lease that was asked for, seconds since 1970-01-01 UTC."""
    receipts: Annotated[tuple[bytes, ...], Seq(Raw(1, MAX_RECEIPT_BYTES), MAX_INDEX + 1)]
    """Signed, one for each chunk that has a holder, in ascending order of index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditProof:
    """A wrong answer to an audit, signed by who signed the receipt: a frame of an evidence file."""

    receipt: Annotated[bytes, Raw(1, MAX_RECEIPT_BYTES)]
    hashes: Annotated[bytes, Raw(DIGEST_BYTES, MAX_HASHES_BYTES)]
    """The block hashes of the chunk, joined."""
    nonce: Annotated[bytes, Raw(NONCE_BYTES)]
    block: Annotated[int, Uint(MAX_BLOCK)]
    signed: Annotated[bytes, Raw(DIGEST_BYTES)]
    """The block hash that the holder signed."""
    signature: Annotated[bytes, Raw(SIGNATURE_BYTES)]


@dataclass(frozen=True, slots=True)
class CheckedPromises:
    """The same as :class:`Promises`, read and found to be right."""

    descriptor: Descriptor
    expiry: int
    receipts: tuple[tuple[Receipt, bytes], ...]
    """Each with its signed bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenialProof:
    """A survey of one segment in which who signed the receipt denied the chunk in the receipt's time."""

    receipt: Annotated[bytes, Raw(1, MAX_RECEIPT_BYTES)]
    nonce: Annotated[bytes, Raw(NONCE_BYTES)]
    time: Annotated[int, Uint(MAX_SECONDS)]
    """When it was signed, by the holder's clock, seconds since 1970-01-01 UTC."""
    answer: Annotated[Holds, Struct(Holds)]
    signature: Annotated[bytes, Raw(SIGNATURE_BYTES)]


Proof = AuditProof | DenialProof

_KINDS: Final[dict[int, type[Proof]]] = {1: AuditProof, 2: DenialProof}
_NUMBERS: Final[dict[type, int]] = {cls: number for number, cls in _KINDS.items()}


def begin_file(first_line: bytes, network: NetworkId) -> bytes:
    """What a file of either kind begins with."""
    return first_line + network


def promises_frame(promises: Promises) -> bytes:
    """A frame of a receipt file. Raises LocalProtocolError: a field is out of its range."""
    return _frame(encode(promises))


def proof_frame(proof: Proof) -> bytes:
    """A frame of an evidence file. Raises LocalProtocolError: a field is out of its range."""
    return _frame(encode_tagged(_NUMBERS[type(proof)], proof))


def _frame(packed: bytes) -> bytes:
    return len(packed).to_bytes(LENGTH_BYTES, "big") + packed


def end_file(content: Bytes) -> bytes:
    """What a file ends with, of which ``content`` is all before."""
    return digest("file", content)


def check_receipt(data: bytes, network: NetworkId, descriptor: Descriptor) -> Receipt:
    """Check and read a receipt of a chunk of the segment that ``descriptor`` describes.

    Raises:
        IntegrityError: It is for another segment, or for a chunk that the segment does not have.
        RemoteProtocolError: As :func:`protocol.records.open_receipt` says.
    """
    receipt = open_receipt(data, network)
    if receipt.segment != descriptor.id:
        raise IntegrityError("a receipt is for another segment")
    if receipt.index >= descriptor.layout.n or receipt.chunk_id != descriptor.chunk_ids[receipt.index]:
        raise IntegrityError(f"a receipt is for another chunk than chunk {receipt.index} of its segment")
    return receipt


def read_receipts(data: memoryview, network: NetworkId) -> Iterator[CheckedPromises]:
    """Read a receipt file, segment by segment, in the file's order. Nothing is read ahead.

    Args:
        data: The whole file; it may be larger than the memory, as a mapped file is.
        network: The network that the receipts must be for.

    Raises:
        WrongNetworkError: The file is one of another network. Raised before anything is yielded.
        IntegrityError: The file is damaged, or a receipt is for something else than its frame says.
        SignatureError: A receipt is not signed by the key it names.
        RemoteProtocolError: It is no receipt file of this version, or not well formed.
    """
    seen: set[SegmentId] = set()
    for packed in _frames(RECEIPTS, data, network, MAX_SEGMENTS):
        promises = decode(Promises, packed)
        checked = _check_promises(promises, network)
        if checked.descriptor.id in seen:
            raise RemoteProtocolError("the file names a segment twice")
        seen.add(checked.descriptor.id)
        yield checked


def _check_promises(promises: Promises, network: NetworkId) -> CheckedPromises:
    descriptor = Descriptor.decode(promises.descriptor)
    found = tuple((_checked(data, network, descriptor), data) for data in promises.receipts)
    indices = [receipt.index for receipt, _ in found]
    if not indices or indices != sorted(set(indices)):
        raise RemoteProtocolError("want at least one receipt for each segment, in ascending order of index")
    return CheckedPromises(descriptor, promises.expiry, found)


def _checked(data: bytes, network: NetworkId, descriptor: Descriptor) -> Receipt:
    try:
        return check_receipt(data, network, descriptor)
    except WrongNetworkError as exc:  # the file says otherwise: not the reader's mistake
        raise IntegrityError("a receipt is for another network than its file") from exc


def read_evidence(data: memoryview, network: NetworkId) -> Iterator[tuple[Receipt, Proof]]:
    """Read an evidence file, proof by proof, each with the receipt of the signer whom it convicts.

    Raises:
        WrongNetworkError: The file is one of another network. Raised before anything is yielded.
        IntegrityError: The file is damaged, or proves nothing.
        SignatureError: The receipt or the answer is not signed by the key that the receipt names.
        RemoteProtocolError: It is no evidence file of this version, or not well formed.
    """
    for packed in _frames(EVIDENCE, data, network, MAX_PROOFS):
        proof = decode_tagged(_KINDS, packed)
        try:
            yield check_proof(proof, network), proof
        except WrongNetworkError as exc:
            raise IntegrityError("a receipt is for another network than its file") from exc


def check_proof(proof: Proof, network: NetworkId) -> Receipt:
    """The receipt whose signer is proved to have answered wrongly, or to have denied the chunk.

    Raises:
        IntegrityError: The hashes are not those of the receipt's chunk, the answer is right, or it was given
            outside of the receipt's time.
        SignatureError: The receipt or the answer is not signed by that key.
        RemoteProtocolError: As :func:`protocol.records.open_receipt` says.
    """
    receipt = open_receipt(proof.receipt, network)
    if isinstance(proof, AuditProof):
        _check_audit(proof, receipt)
    else:
        _check_denial(proof, receipt)
    return receipt


def _check_denial(proof: DenialProof, receipt: Receipt) -> None:
    if receipt.index in proof.answer.indices:
        raise IntegrityError("the chunk was not denied: it proves nothing")
    if not receipt.time <= proof.time < receipt.expiry:
        raise IntegrityError("the chunk was denied outside of the receipt's time")
    statement = survey_statement(
        network=receipt.network,
        nonce=proof.nonce,
        time=proof.time,
        segments=[receipt.segment],
        answers=[proof.answer],
    )
    verify(receipt.key, "survey", statement, proof.signature)


def _check_audit(proof: AuditProof, receipt: Receipt) -> None:
    if chunk_id(receipt.index, proof.hashes) != receipt.chunk_id:
        raise IntegrityError("the block hashes are not those of the receipt's chunk")
    right = proof.hashes[proof.block * DIGEST_BYTES : (proof.block + 1) * DIGEST_BYTES]
    if len(right) != DIGEST_BYTES:
        raise IntegrityError(f"the chunk has no block {proof.block}")
    if proof.signed == right:
        raise IntegrityError("the answer is right: it proves nothing")
    statement = audit_statement(
        network=receipt.network,
        nonce=proof.nonce,
        segment=receipt.segment,
        index=receipt.index,
        block=proof.block,
        block_hash=proof.signed,
    )
    verify(receipt.key, "audit", statement, proof.signature)


def prove_wrong(
    signed_receipt: bytes, network: NetworkId, request: Audit, reply: AuditReply, body: Bytes
) -> AuditProof | None:
    """What proves that an answer to an audit is wrong, if anything does.

    Nothing does if the signature is not over what was sent, if the right hash was signed and a wrong block sent, or
    if the answer does not hold the block hashes of the chunk.

    Args:
        signed_receipt: Of who answered, for the chunk that was asked about.
        network: Of both.
        request: What was asked.
        reply: What was answered.
        body: The block that came with it.
    """
    told = reply.hashes[request.block * DIGEST_BYTES : (request.block + 1) * DIGEST_BYTES]
    for signed in (block_hash(body), told):
        proof = AuditProof(
            receipt=signed_receipt,
            hashes=reply.hashes,
            nonce=request.nonce,
            block=request.block,
            signed=signed,
            signature=reply.signature,
        )
        with suppress(ProtocolError):
            check_proof(proof, network)
            return proof
    return None


def prove_denial(signed_receipt: bytes, network: NetworkId, request: Survey, reply: SurveyReply) -> DenialProof | None:
    """What proves that a holder denies the chunk it signed for, given its answer to a survey of that segment alone."""
    (answer,) = reply.segments
    proof = DenialProof(
        receipt=signed_receipt, nonce=request.nonce, time=reply.time, answer=answer, signature=reply.signature
    )
    try:
        check_proof(proof, network)
    except ProtocolError:
        return None
    return proof


def _frames(first_line: bytes, data: memoryview, network: NetworkId, most: int) -> Iterator[memoryview]:
    """The frames of a file whose beginning and end are right."""
    content = _content(first_line, data, network)
    start = count = 0
    while start < len(content):
        length = int.from_bytes(content[start : start + LENGTH_BYTES], "big")
        start += LENGTH_BYTES
        if not 0 < length <= MAX_FRAME_BYTES or length > len(content) - start:
            raise RemoteProtocolError(f"a frame of {length} bytes, expected 1 to {MAX_FRAME_BYTES}, and all of them")
        if count == most:
            raise RemoteProtocolError(f"the file has more than {most} frames")
        yield content[start : start + length]
        start += length
        count += 1
    if not count:
        raise RemoteProtocolError("the file holds nothing")


def _content(first_line: bytes, data: memoryview, network: NetworkId) -> memoryview:
    """All the frames, once the first line, the network and the last hash are seen to be right."""
    name = first_line.rpartition(b" ")[0]
    if data[: len(name) + 1] != name + b" ":
        raise RemoteProtocolError(f"it does not begin with {name.decode()!r}")
    begin, end = len(first_line) + ID_BYTES, len(data) - DIGEST_BYTES
    if data[: len(first_line)] != first_line:
        raise RemoteProtocolError("it is of another version: a newer archipel may read it")
    if end < begin or end_file(data[:end]) != data[end:]:
        raise IntegrityError("the file is damaged or cut short")
    if bytes(data[len(first_line) : begin]) != network:
        raise WrongNetworkError("the file is one of another network")
    return data[begin:end]
