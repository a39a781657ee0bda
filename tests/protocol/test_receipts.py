"""Receipt files and evidence: what is written is read, and nothing that was changed is believed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import errors, receipts
from protocol.errors import IntegrityError, ProtocolError, RemoteProtocolError
from protocol.identity import Network
from protocol.ids import SegmentId
from protocol.messages import Audit, AuditReply, Holds, Survey, SurveyReply
from protocol.receipts import (
    AuditProof,
    CheckedPromises,
    check_proof,
    check_receipt,
    prove_denial,
    prove_wrong,
    read_evidence,
    read_receipts,
)
from protocol.segment import block_hash
from protocol.statements import audit_statement
from tests.strategies import damaged
from tests.vectors import make_receipts
from tests.vectors.make_receipts import EXPIRY, FRAMES, GOOD, HOLDERS, NETWORK, PROOF, SEGMENTS, file_of, promise, proof

FOLDER = Path(__file__).parent.parent / "vectors"
PATHS = sorted(FOLDER.glob("receipts_*.json"))

Json = dict[str, Any]


def _receipts(data: bytes, network: Network) -> Json:
    found = list(read_receipts(memoryview(data), network.id))
    return {"segments": [_segment(promises) for promises in found]}


def _segment(promises: CheckedPromises) -> Json:
    names = [
        {"key": r.key.hex(), "country": r.country, "index": r.index, "chunk_id": r.chunk_id.hex()}
        for r, _ in promises.receipts
    ]
    return {"id": promises.descriptor.id.hex(), "expiry": promises.expiry, "receipts": names}


def _evidence(data: bytes, network: Network) -> Json:
    found = list(read_evidence(memoryview(data), network.id))
    return {
        "proofs": [
            {"key": r.key.hex(), "segment": r.segment.hex(), "index": r.index}
            | ({"block": p.block} if isinstance(p, AuditProof) else {})
            for r, p in found
        ]
    }


OPERATIONS: dict[str, Callable[[bytes, Network], Json]] = {"read receipts": _receipts, "read evidence": _evidence}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    operation, network = OPERATIONS[vector["operation"]], Network(vector["input"]["network"])
    data = bytes.fromhex(vector["input"]["file"])
    if vector["expect"] == "success":
        assert operation(data, network) == vector["output"]
        return
    with pytest.raises(errors.ProtocolError) as caught:
        operation(data, network)
    assert type(caught.value).__name__ == vector["expect"]


def test_vectors_on_disk_are_those_that_are_made() -> None:
    made = {stem: json.loads(json.dumps(content)) for stem, content in make_receipts.vectors()}
    assert made == {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in PATHS}


def test_the_signed_receipts_are_handed_out_as_they_stand_in_the_file() -> None:
    first, second = read_receipts(memoryview(GOOD), NETWORK.id)
    for promises, sealed in ((first, SEGMENTS[0]), (second, SEGMENTS[1])):
        assert promises.descriptor == sealed.descriptor
        indices = range(sealed.descriptor.layout.n)
        assert [data for _, data in promises.receipts] == [promise(sealed.descriptor, index) for index in indices]
        assert [receipt.expiry for receipt, _ in promises.receipts] == [EXPIRY - index for index in indices]


def test_segments_are_read_one_by_one() -> None:
    """The first is there before the second is looked at."""
    data = file_of(receipts.RECEIPTS, FRAMES[0], b"\0\0\0\x01\xc1")
    reading: Iterator[CheckedPromises] = read_receipts(memoryview(data), NETWORK.id)
    assert next(reading).descriptor.id == SEGMENTS[0].id
    with pytest.raises(RemoteProtocolError):
        next(reading)


@pytest.mark.parametrize(("data", "read"), [(GOOD, _receipts), (PROOF, _evidence)], ids=["receipts", "evidence"])
def test_no_byte_can_be_changed(data: bytes, read: Callable[[bytes, Network], Json]) -> None:
    assert read(data, NETWORK)
    for at in range(len(data)):
        with pytest.raises(ProtocolError):
            read(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :], NETWORK)


@pytest.mark.parametrize(
    ("first_line", "frames", "read"),
    [(receipts.RECEIPTS, FRAMES, _receipts), (receipts.EVIDENCE, (receipts.proof_frame(proof()),), _evidence)],
    ids=["receipts", "evidence"],
)
@given(draw=st.data())
def test_nothing_is_forged_by_who_computes_the_last_hash_anew(
    first_line: bytes, frames: tuple[bytes, ...], read: Callable[[bytes, Network], Json], draw: st.DataObject
) -> None:
    """What is still read says nothing that the untouched file does not: but for the expiry asked for, which nobody
    signed, and the nonce and the like, which are compared by signature."""
    good = read(file_of(first_line, *frames), NETWORK)
    changed = file_of(first_line, draw.draw(damaged(b"".join(frames))))
    try:
        found = read(changed, NETWORK)
    except ProtocolError:
        return
    for kind, items in found.items():
        for item in items:
            item.pop("expiry", None)
            same = [{**other, "expiry": None} for other in good[kind]]
            assert {**item, "expiry": None} in same


def test_no_more_frames_than_a_deposit_has_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "MAX_SEGMENTS", 2)
    assert len(list(read_receipts(memoryview(GOOD), NETWORK.id))) == 2
    monkeypatch.setattr(receipts, "MAX_SEGMENTS", 1)
    with pytest.raises(RemoteProtocolError, match="more than 1 frames"):
        list(read_receipts(memoryview(GOOD), NETWORK.id))


def test_the_longest_frames_there_can_be_are_short_enough() -> None:
    promises = receipts.Promises(descriptor=bytes(2048), expiry=2**64 - 1, receipts=(bytes(512),) * 32)
    assert len(receipts.promises_frame(promises)) - 4 <= receipts.MAX_FRAME_BYTES
    longest = receipts.AuditProof(
        receipt=bytes(512), hashes=bytes(4096), nonce=bytes(16), block=127, signed=bytes(32), signature=bytes(64)
    )
    assert len(receipts.proof_frame(longest)) - 4 <= receipts.MAX_FRAME_BYTES


def test_check_receipt() -> None:
    descriptor = SEGMENTS[0].descriptor
    assert check_receipt(promise(descriptor, 1), NETWORK.id, descriptor).country == "FR"
    with pytest.raises(IntegrityError, match="another segment"):
        check_receipt(promise(descriptor, 1), NETWORK.id, SEGMENTS[1].descriptor)
    with pytest.raises(IntegrityError, match="another segment"):
        check_receipt(promise(descriptor, 1, segment=SegmentId(bytes(32))), NETWORK.id, descriptor)


# --- the verdict on one answer ---

SEALED = SEGMENTS[0]
REQUEST = Audit(segment=SEALED.id, index=0, block=1, nonce=bytes(16))
RIGHT = bytes(SEALED.columns[0])[131_088:]
RECEIPT = promise(SEALED.descriptor, 0)


def answer(block_hash_signed: bytes, *, hashes: bytes = SEALED.hashes[0], signer: int = 0) -> AuditReply:
    """What a holder says that signs ``block_hash_signed``."""
    statement = audit_statement(
        network=NETWORK.id, nonce=REQUEST.nonce, segment=SEALED.id, index=0, block=1, block_hash=block_hash_signed
    )
    signature = HOLDERS[signer].sign("audit", statement)
    return AuditReply(descriptor=SEALED.descriptor.encode(), hashes=hashes, signature=signature)


def test_who_signs_the_junk_it_sends_is_convicted() -> None:
    junk = bytes(131_088)
    found = prove_wrong(RECEIPT, NETWORK.id, REQUEST, answer(block_hash(junk)), junk)
    assert found is not None
    assert found.signed == block_hash(junk)
    assert check_proof(found, NETWORK.id).key == HOLDERS[0].key


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (answer(block_hash(RIGHT)), RIGHT),
        (answer(block_hash(RIGHT)), b"junk"),
        (answer(block_hash(b"junk"), signer=1), b"junk"),
        (answer(block_hash(b"junk"), hashes=SEALED.hashes[2]), b"junk"),
        (answer(block_hash(b"junk"), hashes=SEALED.hashes[0][:32]), b"junk"),
        (answer(block_hash(b"other")), b"junk"),
    ],
    ids=[
        "right",
        "right hash, wrong block",
        "signed by another",
        "other hashes",
        "few hashes",
        "signed what is unseen",
    ],
)
def test_an_honest_holder_and_one_that_signed_nothing_wrong_are_not(reply: AuditReply, body: bytes) -> None:
    assert prove_wrong(RECEIPT, NETWORK.id, REQUEST, reply, body) is None


def test_a_denial_convicts_only_who_signed_it() -> None:
    made = make_receipts.denial()
    request = Survey(nonce=made.nonce, segments=())
    reply = SurveyReply(segments=(made.answer,), time=made.time, signature=made.signature)
    assert prove_denial(RECEIPT, NETWORK.id, request, reply) == made
    assert prove_denial(promise(SEALED.descriptor, 2), NETWORK.id, request, reply) is None
    held = SurveyReply(segments=(Holds(indices=b"\0"),), time=made.time, signature=made.signature)
    assert prove_denial(RECEIPT, NETWORK.id, request, held) is None
