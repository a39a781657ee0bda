"""Sealed segments over HTTP (docs/spec/web.md): the vectors, one operation each, and any segment both ways."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError
from protocol.hashing import plain_digest
from protocol.identity import Identity, Network
from protocol.ids import SegmentId
from protocol.leases import Lease, sign_lease
from protocol.seal import code_segment, plaintext_key, seal_segment
from protocol.sealedsegment import MAX_HEAD_BYTES, MAX_UPLOAD_BYTES, MAX_UPLOAD_HEAD_BYTES, Head, Upload, encode_upload
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES, SEGMENT_BYTES, Shares, plan
from tests.protocol.vectorfiles import Json, Operations, check_made, check_vector, vector_paths
from tests.vectors import make_web
from tests.vectors.make_web import blocks, head, sealed


def _represent(inputs: Json) -> Json:
    segment = sealed(inputs["length"], inputs["shares"])
    made = head(segment)
    whole = made.encode() + blocks(segment)
    assert Head.decode(whole, segment.id) == made
    assert made.whole_bytes == len(whole)
    digest = plain_digest(whole).hex()
    return {"segment_id": segment.id.hex(), "head": made.encode().hex(), "bytes": len(whole), "digest": digest}


def _read(inputs: Json) -> Json:
    data = memoryview(bytes.fromhex(inputs["representation"]))
    made = Head.decode(data, SegmentId(bytes.fromhex(inputs["segment_id"])))
    rest = data[len(made.encode()) :]
    for block in range(made.descriptor.layout.blocks):
        made.check_block(block, data[made.offset(block) : made.offset(block + 1)])
    return {"blocks": made.descriptor.layout.blocks, "sealed": rest.hex()}


def _make_upload(inputs: Json) -> Json:
    segment = sealed(inputs["length"], inputs["shares"])
    depositor = Identity(bytes.fromhex(inputs["seed"]))
    lease = Lease(
        network=Network(inputs["network"]).id, depositor=depositor.key, deposit=bytes.fromhex(inputs["deposit"]),
        segment=segment.id, size=inputs["length"], sequence=inputs["sequence"], expiry=inputs["expiry"],
    )  # fmt: skip
    body = encode_upload(segment.descriptor, sign_lease(depositor, lease), blocks(segment))
    upload = Upload.decode(body[:MAX_UPLOAD_HEAD_BYTES], lease.network, len(body))
    assert (upload.lease, upload.descriptor) == (lease, segment.descriptor)
    beginning = body[: upload.head_bytes]
    assert body[upload.head_bytes :] == blocks(segment)
    return {"beginning": beginning.hex(), "bytes": len(body), "digest": plain_digest(body).hex()}


def _read_upload(inputs: Json) -> Json:
    body = bytearray.fromhex(inputs["body"])
    upload = Upload.decode(body, Network(inputs["network"]).id, len(body))
    coded = code_segment(upload.descriptor, memoryview(body)[upload.head_bytes :])
    return {"segment_id": coded.id.hex(), "depositor": upload.lease.depositor.hex(), "expiry": upload.lease.expiry}


OPERATIONS: Operations = {
    "represent segment": _represent,
    "read segment": _read,
    "make upload": _make_upload,
    "read upload": _read_upload,
}


@pytest.mark.parametrize("path", vector_paths("web"), ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    check_vector(path, OPERATIONS)


def test_vectors_on_disk_are_those_that_are_made() -> None:
    check_made(make_web, "web")


SHARES = st.sampled_from(["1/1", "1/3", "2/3", "3/5", "4/4", "8/12"])


@given(st.integers(1, 5 * BLOCK_BYTES), SHARES)
def test_any_segment_is_coded_without_its_key_as_with_it(length: int, shares: str) -> None:
    segment = sealed(length, shares)
    coded = code_segment(segment.descriptor, memoryview(bytearray(blocks(segment))))
    assert (coded.descriptor, coded.hashes) == (segment.descriptor, segment.hashes)
    assert [bytes(column) for column in coded.columns] == [bytes(column) for column in segment.columns]


@given(st.integers(1, 5 * BLOCK_BYTES), SHARES, st.data())
def test_ranges_lie_in_blocks(length: int, shares: str, data: st.DataObject) -> None:
    made = head(sealed(length, shares))
    stop = data.draw(st.integers(0, made.whole_bytes))
    start = data.draw(st.integers(0, stop))
    first, end = made.blocks_of(start, stop)
    wanted = [
        block
        for block in range(made.descriptor.layout.blocks)
        if made.offset(block) < stop and start < made.offset(block + 1)
    ]
    if start < stop:
        assert list(range(first, end)) == wanted
    assert first >= 0
    assert end <= made.descriptor.layout.blocks


def test_limits() -> None:
    assert (MAX_HEAD_BYTES, MAX_UPLOAD_HEAD_BYTES, MAX_UPLOAD_BYTES) == (6_146, 3_076, 16_782_340)
    assert plan(SEGMENT_BYTES, Shares()).sealed_bytes == 128 * SEALED_BLOCK_BYTES


def test_other_blocks_than_the_descriptor_names() -> None:
    plaintext = bytes(3 * BLOCK_BYTES)
    segment = seal_segment(plaintext, plaintext_key(bytes(32), plaintext), Shares(2, 4))
    other = bytearray(blocks(segment))
    other[-1] ^= 1
    with pytest.raises(IntegrityError, match="chunk 1 is another"):
        code_segment(segment.descriptor, memoryview(other))
    with pytest.raises(LocalProtocolError):
        code_segment(segment.descriptor, memoryview(other)[:-1])


def test_hashes_of_another_number_of_blocks() -> None:
    made = head(sealed(100, "8/12"))
    with pytest.raises(IntegrityError, match="64 bytes"):
        Head(made.descriptor, made.hashes * 2)
    with pytest.raises(RemoteProtocolError, match="expected behind its length"):
        Head.decode(b"\0", made.descriptor.id)
