"""Vectors of docs/spec/storage.md section 10: receipt files and evidence. Run by scripts/make_vectors."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from protocol import codec, receipts, seal
from protocol.identity import Identity, Network
from protocol.ids import ChunkId, NetworkId, SegmentId
from protocol.messages import Holds
from protocol.receipts import AuditProof, DenialProof, Promises
from protocol.records import Receipt, sign_receipt
from protocol.segment import Descriptor, Shares
from protocol.statements import audit_statement, survey_statement
from tests.vectors.make_storage import SECRET, pattern

Vector = dict[str, Any]
Named = Iterator[tuple[str, Vector]]

NETWORK = Network("receipts")
HOLDERS = tuple(Identity(bytes([seed]) * 32) for seed in (1, 2, 3))
COUNTRIES = ("DE", "FR", "")
EXPIRY = 1_900_000_000
SEGMENTS = tuple(seal.seal_segment(pattern(length), SECRET, Shares(2, 3)) for length in (300_000, 1000))


def _vector(operation: str, text: str, data: bytes, expect: str, output: Vector | None = None) -> Vector:
    inputs = {"network": NETWORK.name, "file": data.hex()}
    vector = {"spec": "docs/spec/storage.md", "operation": operation, "description": text, "input": inputs}
    return {**vector, "expect": expect, **({"output": output} if output is not None else {})}


def promise(descriptor: Descriptor, chunk: int, **changed: Any) -> bytes:
    """The receipt of the holder of chunk ``chunk``: each holder has one chunk of a segment."""
    receipt = Receipt(
        network=NETWORK.id,
        key=HOLDERS[chunk].key,
        segment=descriptor.id,
        index=chunk,
        chunk_id=descriptor.chunk_ids[chunk],
        expiry=EXPIRY - chunk,
        country=COUNTRIES[chunk],
        time=EXPIRY - 86_400,
    )
    return sign_receipt(HOLDERS[chunk], replace(receipt, **changed))


def promises(descriptor: Descriptor) -> Promises:
    """All receipts of one segment."""
    signed = tuple(promise(descriptor, index) for index in range(descriptor.layout.n))
    return Promises(descriptor=descriptor.encode(), expiry=EXPIRY, receipts=signed)


def file_of(first_line: bytes, *frames: bytes, network: NetworkId = NETWORK.id) -> bytes:
    """A file whose last bytes are right, whatever the frames are."""
    content = b"".join((receipts.begin_file(first_line, network), *frames))
    return content + receipts.end_file(content)


FRAMES = tuple(receipts.promises_frame(promises(sealed.descriptor)) for sealed in SEGMENTS)
GOOD = file_of(receipts.RECEIPTS, *FRAMES)


def proof(**changed: Any) -> AuditProof:
    """Holder 0 was asked for block 1 of its chunk of the first segment, and signed the hash of block 0."""
    sealed = SEGMENTS[0]
    fields = {"nonce": bytes(range(16)), "block": 1, "signed": sealed.hashes[0][:32], **changed}
    statement = audit_statement(
        network=NETWORK.id,
        nonce=fields["nonce"],
        segment=sealed.id,
        index=0,
        block=fields["block"],
        block_hash=fields["signed"],
    )
    fields = {"receipt": promise(sealed.descriptor, 0), "hashes": sealed.hashes[0], **fields}
    return AuditProof(**{"signature": HOLDERS[0].sign("audit", statement), **fields})


def denial(**changed: Any) -> DenialProof:
    """Holder 0 was asked what it has of the first segment, and signed that it has chunk 1 alone."""
    sealed = SEGMENTS[0]
    fields = {"time": EXPIRY - 3600, "answer": Holds(indices=b"\x01", leases=bytes(32), missing=0), **changed}
    statement = survey_statement(
        network=NETWORK.id,
        nonce=bytes(range(16)),
        time=fields["time"],
        segments=[sealed.id],
        answers=[fields["answer"]],
    )
    fields = {"receipt": promise(sealed.descriptor, 0), "nonce": bytes(range(16)), **fields}
    return DenialProof(**{"signature": HOLDERS[0].sign("survey", statement), **fields})


PROOF = file_of(receipts.EVIDENCE, receipts.proof_frame(proof()))


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


def _framed(packed: bytes) -> bytes:
    return len(packed).to_bytes(4, "big") + packed


def _named(index: int, chunk: ChunkId) -> Vector:
    country = COUNTRIES[index]
    return {"key": HOLDERS[index].key.hex(), "country": country, "index": index, "chunk_id": chunk.hex()}


def _receipt_files() -> Named:
    remote, integrity = "RemoteProtocolError", "IntegrityError"
    output = {
        "segments": [
            {
                "id": sealed.id.hex(),
                "expiry": EXPIRY,
                "receipts": [_named(index, chunk) for index, chunk in enumerate(sealed.descriptor.chunk_ids)],
            }
            for sealed in SEGMENTS
        ]
    }
    text = "two segments, each chunk with its own holder"
    yield "receipts_file", _vector("read receipts", text, GOOD, "success", output)
    bad = _bad_files(receipts.RECEIPTS, FRAMES)
    for name, text, expect, data in (*bad, *_bad_frames()):
        yield f"receipts_file_{name}", _vector("read receipts", text, data, expect)
    text = "an evidence file instead"
    yield "receipts_file_other_kind", _vector("read receipts", text, PROOF, remote)
    text = "the same segment twice"
    yield "receipts_file_twice", _vector("read receipts", text, file_of(receipts.RECEIPTS, FRAMES[0], *FRAMES), remote)
    text = "the first line alone"
    yield "receipts_file_first_line", _vector("read receipts", text, receipts.RECEIPTS, integrity)


def _bad_files(first_line: bytes, frames: tuple[bytes, ...]) -> Iterator[tuple[str, str, str, bytes]]:
    """What is wrong with a file as a whole: name, text, error, bytes."""
    remote, integrity = "RemoteProtocolError", "IntegrityError"
    good = file_of(first_line, *frames)
    yield "empty", "no byte", remote, b""
    yield "stranger", "another first line", remote, b"Dear Sir or Madam,\n" + good
    later = first_line.replace(b" 1\n", b" 2\n")
    yield "version", "version 2", remote, file_of(later, *frames)
    other = Network("elsewhere").id
    yield "network", "a file of another network", "WrongNetworkError", file_of(first_line, *frames, network=other)
    yield "nothing", "no frame", remote, file_of(first_line)
    yield "cut", "the last byte is missing", integrity, good[:-1]
    yield "trailing", "a byte too many", integrity, good + b"\0"
    yield "flipped", "a bit is flipped", integrity, _flipped(good, len(good) // 2)
    yield "end", "the last hash is wrong", integrity, _flipped(good, -1 + len(good))
    yield "zero", "a frame of no bytes", remote, file_of(first_line, *frames, bytes(4))
    yield "long", "a frame longer than the rest of the file", remote, file_of(first_line, (200).to_bytes(4, "big"))
    yield "huge", "a frame of 24,577 bytes", remote, file_of(first_line, _framed(bytes(24_577)))
    yield "length", "a length cut short", remote, file_of(first_line, *frames, b"\0\0")
    yield "garbage", "a frame that is not msgpack", remote, file_of(first_line, _framed(b"\xc1"))


def _bad_frames() -> Iterator[tuple[str, str, str, bytes]]:
    remote, integrity = "RemoteProtocolError", "IntegrityError"
    descriptor, other = SEGMENTS[0].descriptor, SEGMENTS[1].descriptor
    good = promises(descriptor)
    first, second, _ = good.receipts

    def changed(*receipts_of: bytes) -> bytes:
        return file_of(receipts.RECEIPTS, receipts.promises_frame(replace(good, receipts=receipts_of)))

    yield "no_receipt", "a segment without receipts", remote, changed()
    yield "order", "receipts in another order", remote, changed(second, first)
    yield "double", "two receipts for one chunk", remote, changed(first, first)
    yield "signature", "a receipt whose signature is wrong", "SignatureError", changed(_flipped(first, 0), second)
    yield (
        "changed",
        "a receipt that was changed after it was signed",
        "SignatureError",
        changed(first[:-1] + bytes([first[-1] ^ 1])),
    )
    segment_of = promise(descriptor, 0, segment=SegmentId(other.id), chunk_id=other.chunk_ids[0])
    yield "segment", "a receipt for another segment", integrity, changed(segment_of)
    chunk = promise(descriptor, 0, chunk_id=ChunkId(descriptor.chunk_ids[1]))
    yield "chunk", "a receipt for another chunk id", integrity, changed(chunk)
    yield (
        "index",
        "a receipt for a chunk the segment does not have",
        integrity,
        changed(promise(descriptor, 0, index=3)),
    )
    elsewhere = promise(descriptor, 0, network=Network("elsewhere").id)
    yield "receipt_network", "a receipt for another network than the file", integrity, changed(elsewhere)
    text = "a descriptor that is not canonical"
    crooked = replace(good, descriptor=good.descriptor[:2] + b"\xcc\x02" + good.descriptor[3:])
    yield "descriptor", text, remote, file_of(receipts.RECEIPTS, receipts.promises_frame(crooked))


def _evidence() -> Named:
    output = {"proofs": [{"key": HOLDERS[0].key.hex(), "segment": SEGMENTS[0].id.hex(), "index": 0, "block": 1}]}
    text = "asked for block 1, the holder signed the hash of block 0"
    yield "receipts_evidence", _vector("read evidence", text, PROOF, "success", output)
    frame = receipts.proof_frame(proof())
    for name, text, expect, data in _bad_files(receipts.EVIDENCE, (frame,)):
        yield f"receipts_evidence_{name}", _vector("read evidence", text, data, expect)
    integrity, signature = "IntegrityError", "SignatureError"
    sealed = SEGMENTS[0]
    elsewhere = promise(sealed.descriptor, 0, network=Network("elsewhere").id)
    statement = audit_statement(
        network=NETWORK.id,
        nonce=bytes(range(16)),
        segment=sealed.id,
        index=0,
        block=1,
        block_hash=sealed.hashes[0][:32],
    )
    stranger = HOLDERS[1].sign("audit", statement)
    text = "the holder signed that it does not have the chunk"
    denied = file_of(receipts.EVIDENCE, receipts.proof_frame(denial()))
    output = {"proofs": [{"key": HOLDERS[0].key.hex(), "segment": sealed.id.hex(), "index": 0}]}
    yield "receipts_evidence_denial", _vector("read evidence", text, denied, "success", output)
    held = Holds(indices=b"\x00\x01", leases=bytes(32), missing=0)
    wrong = (
        ("denial_held", "the chunk is not denied", integrity, denial(answer=held)),
        ("denial_early", "denied before the receipt", integrity, denial(time=EXPIRY - 86_401)),
        ("denial_late", "denied when the receipt had expired", integrity, denial(time=EXPIRY)),
        ("denial_signature", "the survey's signature is wrong", signature, denial(signature=bytes(64))),
        ("denial_nonce", "the answer to another survey", signature, denial(nonce=bytes(16))),
        ("right", "the answer is right", integrity, proof(signed=sealed.hashes[0][32:])),
        ("hashes", "block hashes of another chunk", integrity, proof(hashes=sealed.hashes[2])),
        ("few_hashes", "a byte of the block hashes is missing", integrity, proof(hashes=sealed.hashes[0][:-1])),
        ("block", "a block that the chunk does not have", integrity, proof(block=2)),
        ("signature", "the answer's signature is wrong", signature, proof(signature=bytes(64))),
        ("other_signer", "somebody else signed the answer", signature, proof(signature=stranger)),
        ("receipt", "the receipt's signature is wrong", signature, proof(receipt=_flipped(proof().receipt, 0))),
        ("receipt_network", "the receipt is for another network", integrity, proof(receipt=elsewhere)),
    )
    for name, text, expect, made in wrong:
        data = file_of(receipts.EVIDENCE, receipts.proof_frame(made))
        yield f"receipts_evidence_{name}", _vector("read evidence", text, data, expect)
    kind = file_of(receipts.EVIDENCE, _framed(codec.encode_tagged(9, proof())))
    yield "receipts_evidence_kind", _vector("read evidence", "kind 9", kind, "RemoteProtocolError")


def vectors() -> Named:
    """(file stem, content) of every vector."""
    yield from _receipt_files()
    yield from _evidence()
