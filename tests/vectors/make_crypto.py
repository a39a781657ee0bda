"""Vectors of docs/spec/crypto.md: hashes, keys, signatures, sealed blocks. Run by scripts/make_vectors."""

from collections.abc import Iterator
from typing import Any

from protocol import seal
from protocol.hashing import digest, plain_digest
from protocol.identity import Identity, Network

Vector = dict[str, Any]

SECRET = bytes(range(32))
KEY = bytes(range(100, 132))
BLOCK = b"an island is a block of land in the sea"


def _vector(operation: str, text: str, inputs: Vector, expect: str, output: Vector | None = None) -> Vector:
    vector = {"spec": "docs/spec/crypto.md", "operation": operation, "description": text, "input": inputs}
    return {**vector, "expect": expect, **({"output": output} if output is not None else {})}


def _hashes() -> Vector:
    lists = {
        "network": [b"\x00", b"archipel"],
        "block": [bytes(48)],
        "chunk": [b"\x07", bytes(range(64))],
        "segment": [bytes(range(200))],
        "segment key": [SECRET, b"\x01", (5).to_bytes(8, "big"), plain_digest(b"hello")],
        "fresh": [SECRET, bytes(16)],
        "commit": [KEY],
        "read": [SECRET, digest("root plaintext", bytes(8), b"", b"part")],
        "root plaintext": [(1).to_bytes(8, "big"), b"i", b"part"],
        "verify": [KEY],
        "root key": [KEY],
        "manifest key": [KEY],
        "index": [bytes(32), (5).to_bytes(4, "big")],
        "link": [b"\x01\x01" + bytes(64)],
    }
    return {
        label: {"parts": [part.hex() for part in parts], "digest": digest(label, *parts).hex()}
        for label, parts in lists.items()
    }


def _keys() -> Iterator[tuple[str, Vector]]:
    yield (
        "crypto_hashes",
        _vector("hash", "one labelled hash for each label", {"labels": _hashes()}, "success"),
    )
    content = plain_digest(b"hello")
    yield (
        "crypto_segment_key",
        _vector(
            "segment key",
            "the key of a segment that holds 'hello', as usual and with --fresh",
            {"secret": SECRET.hex(), "plaintext": b"hello".hex(), "salt": bytes(16).hex()},
            "success",
            {
                "key": seal.segment_key(SECRET, content, 5).hex(),
                "fresh_key": seal.segment_key(seal.fresh_secret(SECRET, bytes(16)), content, 5).hex(),
                "commitment": seal.commitment(seal.segment_key(SECRET, content, 5)).hex(),
            },
        ),
    )
    read = seal.read_key(SECRET, b"index", b"part")
    verify = seal.verify_key(read)
    yield (
        "crypto_root_keys",
        _vector(
            "root keys",
            "the keys of a root whose index and manifest part are these bytes",
            {"secret": SECRET.hex(), "index": b"index".hex(), "part": b"part".hex()},
            "success",
            {
                "read_key": read.hex(),
                "verify_key": verify.hex(),
                "root_key": seal.root_key(verify).hex(),
                "manifest_key": seal.manifest_key(read).hex(),
            },
        ),
    )


def _blocks() -> Iterator[tuple[str, Vector]]:
    cipher = seal.BlockCipher(KEY)
    sealed = cipher.seal(3, False, BLOCK)
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]

    def block(text: str, expect: str, data: bytes = sealed, **changed: Any) -> Vector:
        inputs = {"key": KEY.hex(), "block": 3, "last": False, "sealed": data.hex(), **changed}
        output = {"plaintext": BLOCK.hex()} if expect == "success" else None
        return _vector("open block", text, inputs, expect, output)

    yield "crypto_block", block("a block that is not the last of its segment", "success")
    last = cipher.seal(3, True, BLOCK)
    yield "crypto_block_last", block("the last block of its segment", "success", last, last=True)
    yield "crypto_block_flipped", block("a bit of the ciphertext is flipped", "IntegrityError", flipped)
    yield "crypto_block_cut", block("the last byte is missing", "IntegrityError", sealed[:-1])
    yield "crypto_block_no_tag", block("shorter than a tag", "IntegrityError", sealed[:15])
    yield "crypto_block_moved", block("opened as another block", "IntegrityError", block=4)
    yield "crypto_block_not_last", block("opened as the last block", "IntegrityError", last=True)
    yield "crypto_block_key", block("another key", "IntegrityError", key=SECRET.hex())


def _signatures() -> Iterator[tuple[str, Vector]]:
    identity = Identity(SECRET)
    signature = identity.sign("lease", b"message")

    def signed(text: str, expect: str, **changed: Any) -> Vector:
        inputs = {"key": identity.key.hex(), "label": "lease", "message": b"message".hex()}
        return _vector("verify", text, {**inputs, "signature": signature.hex(), **changed}, expect)

    yield "crypto_signature", signed("made with the seed 00 01 .. 1f", "success")
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    yield (
        "crypto_signature_flipped",
        signed("a bit is flipped", "SignatureError", signature=flipped.hex()),
    )
    yield "crypto_signature_label", signed("for another purpose", "SignatureError", label="receipt")
    yield (
        "crypto_signature_message",
        signed("of another message", "SignatureError", message=b"massage".hex()),
    )
    yield (
        "crypto_signature_cut",
        signed("the last byte is missing", "SignatureError", signature=signature[:-1].hex()),
    )


def _networks() -> Iterator[tuple[str, Vector]]:
    networks = [
        {"name": name, "difficulty": difficulty, "id": Network(name, difficulty).id.hex()}
        for name, difficulty in (("archipel", 0), ("archipel", 8), ("île", 0))
    ]
    identity = Identity(SECRET)
    output = {"key": identity.key.hex(), "node_id": identity.node_id.hex()}
    yield (
        "crypto_ids",
        _vector("ids", "network ids, a node id", {"networks": networks, "seed": SECRET.hex()}, "success", output),
    )


def vectors() -> Iterator[tuple[str, Vector]]:
    """(file stem, content) of every vector."""
    yield from _keys()
    yield from _blocks()
    yield from _signatures()
    yield from _networks()
