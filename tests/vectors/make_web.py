"""Vectors of docs/spec/web.md: sealed segments over HTTP, both ways. Run by scripts/make_vectors."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from protocol import seal
from protocol.framing import framed
from protocol.hashing import plain_digest
from protocol.identity import Identity, Network
from protocol.ids import SegmentId
from protocol.leases import Lease, sign_lease
from protocol.sealedsegment import Head, encode_upload
from protocol.segment import BLOCK_BYTES, Shares
from tests.vectors.make_storage import PATTERN, SECRET, pattern

Vector = dict[str, Any]
Named = Iterator[tuple[str, Vector]]

NETWORK = Network("archipel vectors")
OTHER = Network("another network")
DEPOSITOR = Identity(bytes(range(32)))
TIME = 1_700_000_000
REMOTE = "RemoteProtocolError"

CASES = (
    # name, bytes of plaintext, shares
    ("small", 100, "8/12"),
    ("tail", 2 * BLOCK_BYTES + 1, "2/3"),
    ("short", 4 * BLOCK_BYTES + 5, "3/5"),  # the last column is shorter by a block
)


def _vector(operation: str, text: str, inputs: Vector, expect: str, output: Vector | None = None) -> Vector:
    vector = {"spec": "docs/spec/web.md", "operation": operation, "description": text, "input": inputs}
    return {**vector, "expect": expect, **({"output": output} if output is not None else {})}


def sealed(length: int, shares: str) -> seal.SealedSegment:
    """The segment whose plaintext is the pattern, repeated and cut to the length."""
    plaintext = pattern(length)
    return seal.seal_segment(plaintext, seal.plaintext_key(SECRET, plaintext), Shares.parse(shares))


def head(segment: seal.SealedSegment) -> Head:
    """What goes before its blocks."""
    return Head(segment.descriptor, b"".join(segment.hashes[: segment.descriptor.layout.k]))


def blocks(segment: seal.SealedSegment) -> bytes:
    """Its sealed blocks, in order."""
    return b"".join(segment.columns[: segment.descriptor.layout.k])


def lease(segment: seal.SealedSegment) -> Lease:
    """One that fits."""
    return Lease(
        network=NETWORK.id, depositor=DEPOSITOR.key, deposit=bytes(range(16)), segment=segment.id,
        size=segment.descriptor.layout.length, sequence=TIME * 1000, expiry=TIME + 86_400,
    )  # fmt: skip


SMALL = sealed(100, "8/12")
LEASE = sign_lease(DEPOSITOR, lease(SMALL))
BODY = encode_upload(SMALL.descriptor, LEASE, blocks(SMALL))
WHOLE = head(SMALL).encode() + blocks(SMALL)


def _representations() -> Named:
    for name, length, shares in CASES:
        segment = sealed(length, shares)
        first = head(segment).encode()
        whole = first + blocks(segment)
        inputs = {"secret": SECRET.hex(), "pattern": PATTERN.hex(), "length": length, "shares": shares}
        output = {"segment_id": segment.id.hex(), "head": first.hex(), "bytes": len(whole)}
        output |= {"digest": plain_digest(whole).hex()}
        text = "the representation of a segment whose plaintext is the pattern; digest: BLAKE3 of all of it, no label"
        yield f"web_segment_{name}", _vector("represent segment", text, inputs, "success", output)
    text = "all bytes of the smallest of them"
    output = {"blocks": 1, "sealed": blocks(SMALL).hex()}
    inputs = {"segment_id": SMALL.id.hex(), "representation": WHOLE.hex()}
    yield "web_segment_whole", _vector("read segment", text, inputs, "success", output)


def _bad_representations() -> Named:
    def read(text: str, expect: str, data: bytes, segment: SegmentId = SMALL.id) -> Vector:
        inputs = {"segment_id": segment.hex(), "representation": data.hex()}
        return _vector("read segment", text, inputs, expect)

    described = SMALL.descriptor.encode()
    before = len(WHOLE) - len(blocks(SMALL))
    yield "web_segment_nothing", read("no byte at all", REMOTE, b"")
    yield "web_segment_no_descriptor", read("a descriptor of no bytes", REMOTE, bytes(2) + WHOLE[2:])
    yield "web_segment_long", read("a descriptor of 2,049 bytes", REMOTE, b"\x08\x01" + bytes(2049))
    yield "web_segment_cut", read("the descriptor is cut short", REMOTE, WHOLE[:40])
    yield "web_segment_cut_hashes", read("the hashes are cut short", REMOTE, WHOLE[: before - 1])
    yield "web_segment_other", read("another segment's", "IntegrityError", WHOLE, SegmentId(b"\x01" * 32))
    flipped = framed(described) + bytes([WHOLE[before - 32] ^ 1]) + WHOLE[before - 31 :]
    yield "web_segment_hash", read("a bit of a hash is flipped", "IntegrityError", flipped)
    text = "a bit of a block is flipped"
    yield "web_segment_block", read(text, "IntegrityError", WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]))
    yield "web_segment_short_block", read("the last byte of the block is missing", "IntegrityError", WHOLE[:-1])


def _uploads() -> Named:
    for name, length, shares in CASES:
        segment = sealed(length, shares)
        body = encode_upload(segment.descriptor, sign_lease(DEPOSITOR, lease(segment)), blocks(segment))
        inputs = {"secret": SECRET.hex(), "pattern": PATTERN.hex(), "length": length, "shares": shares}
        inputs |= {"network": NETWORK.name, "seed": bytes(range(32)).hex(), "deposit": bytes(range(16)).hex()}
        inputs |= {"sequence": TIME * 1000, "expiry": TIME + 86_400}
        output = {"beginning": body[: len(body) - len(blocks(segment))].hex(), "bytes": len(body)}
        output |= {"digest": plain_digest(body).hex()}
        text = "the body that stores a segment whose plaintext is the pattern, under a lease signed by the seed's key"
        yield f"web_upload_{name}", _vector("make upload", text, inputs, "success", output)
    text = "all bytes of the smallest of them"
    output = {"segment_id": SMALL.id.hex(), "depositor": DEPOSITOR.key.hex(), "expiry": TIME + 86_400}
    inputs = {"network": NETWORK.name, "body": BODY.hex()}
    yield "web_upload_whole", _vector("read upload", text, inputs, "success", output)


def _bad_uploads() -> Named:
    def read(text: str, expect: str, body: bytes) -> Vector:
        return _vector("read upload", text, {"network": NETWORK.name, "body": body.hex()}, expect)

    def changed(text: str, expect: str, signed: bytes) -> Vector:
        return read(text, expect, encode_upload(SMALL.descriptor, signed, blocks(SMALL)))

    good = lease(SMALL)
    described, rest = framed(SMALL.descriptor.encode()), framed(LEASE) + blocks(SMALL)
    yield "web_upload_nothing", read("no byte at all", REMOTE, b"")
    yield "web_upload_no_lease", read("nothing behind the descriptor", REMOTE, described)
    yield "web_upload_empty_lease", read("a lease of no bytes", REMOTE, described + bytes(2) + blocks(SMALL))
    yield "web_upload_long_lease", read("a lease of 1,025 bytes", REMOTE, described + b"\x04\x01" + bytes(1200))
    yield "web_upload_cut_lease", read("the lease is cut short", REMOTE, BODY[: len(described) + 50])
    yield "web_upload_cut", read("the last byte is missing", REMOTE, BODY[:-1])
    yield "web_upload_trailing", read("a byte too many", REMOTE, BODY + b"\0")
    text = "the descriptor is not in its canonical encoding: k takes two bytes where one is enough"
    long_form = SMALL.descriptor.encode()[:2] + b"\xcc" + SMALL.descriptor.encode()[2:]
    yield "web_upload_descriptor", read(text, REMOTE, framed(long_form) + rest)
    text = "a lease with a flipped bit in its signature"
    yield "web_upload_signature", changed(text, "SignatureError", bytes([LEASE[0] ^ 1]) + LEASE[1:])
    text = "a lease for another network"
    signed = sign_lease(DEPOSITOR, replace(good, network=OTHER.id))
    yield "web_upload_network", changed(text, "WrongNetworkError", signed)
    signed = sign_lease(DEPOSITOR, replace(good, segment=SegmentId(b"\x01" * 32)))
    yield "web_upload_segment", changed("a lease for another segment", REMOTE, signed)
    signed = sign_lease(DEPOSITOR, replace(good, size=101))
    yield "web_upload_size", changed("a lease for another length", REMOTE, signed)
    yield "web_upload_deleted", changed("a deletion", REMOTE, sign_lease(DEPOSITOR, replace(good, deleted=True)))
    text = "a bit of a block is flipped: the chunks are not those of the descriptor"
    yield "web_upload_block", read(text, "IntegrityError", BODY[:-1] + bytes([BODY[-1] ^ 1]))


def vectors() -> Named:
    """(file stem, content) of every vector here."""
    yield from _representations()
    yield from _bad_representations()
    yield from _uploads()
    yield from _bad_uploads()
