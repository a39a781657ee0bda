"""The vectors of docs/spec/crypto.md and docs/spec/storage.md, one operation each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol import errors, manifest, seal, segment
from protocol.erasure import coder
from protocol.erasure_reference import ReferenceRows
from protocol.hashing import digest, plain_digest
from protocol.identity import Identity, Network, verify
from protocol.ids import PublicKey, SegmentId
from protocol.links import Link, parse_link
from protocol.segment import Descriptor, Shares
from tests.vectors import make_crypto, make_storage

FOLDER = Path(__file__).parent.parent / "vectors"
PATHS = sorted([*FOLDER.glob("crypto_*.json"), *FOLDER.glob("storage_*.json")])

Json = dict[str, Any]


def _hash(inputs: Json) -> None:
    for label, case in inputs["labels"].items():
        parts = [bytes.fromhex(part) for part in case["parts"]]
        assert digest(label, *parts).hex() == case["digest"]


def _segment_key(inputs: Json) -> Json:
    secret, plaintext = bytes.fromhex(inputs["secret"]), bytes.fromhex(inputs["plaintext"])
    fresh = seal.fresh_secret(secret, bytes.fromhex(inputs["salt"]))
    key = seal.plaintext_key(secret, plaintext)
    return {
        "key": key.hex(),
        "fresh_key": seal.plaintext_key(fresh, plaintext).hex(),
        "commitment": seal.commitment(key).hex(),
    }


def _root_keys(inputs: Json) -> Json:
    read = seal.read_key(*(bytes.fromhex(inputs[name]) for name in ("secret", "index", "part")))
    check = seal.verify_key(read)
    return {
        "read_key": read.hex(),
        "verify_key": check.hex(),
        "root_key": seal.root_key(check).hex(),
        "manifest_key": seal.manifest_key(read).hex(),
    }


def _open_block(inputs: Json) -> Json:
    cipher = seal.BlockCipher(bytes.fromhex(inputs["key"]))
    sealed = bytes.fromhex(inputs["sealed"])
    out = bytearray(max(0, len(sealed) - segment.TAG_BYTES))
    cipher.open_into(inputs["block"], inputs["last"], sealed, out)
    assert cipher.open(inputs["block"], inputs["last"], sealed) == out
    assert cipher.seal(inputs["block"], inputs["last"], out) == sealed
    return {"plaintext": out.hex()}


def _verify(inputs: Json) -> None:
    key = PublicKey(bytes.fromhex(inputs["key"]))
    verify(key, inputs["label"], bytes.fromhex(inputs["message"]), bytes.fromhex(inputs["signature"]))


def _ids(inputs: Json) -> Json:
    for network in inputs["networks"]:
        assert Network(network["name"], network["difficulty"]).id.hex() == network["id"]
    identity = Identity(bytes.fromhex(inputs["seed"]))
    assert plain_digest(identity.key) == identity.node_id
    return {"key": identity.key.hex(), "node_id": identity.node_id.hex()}


def _layout(inputs: Json) -> None:
    for case in inputs["layouts"]:
        layout = segment.plan(case["length"], Shares.parse(case["shares"]))
        assert [layout.blocks, layout.rows, layout.k, layout.n] == [case[name] for name in ("blocks", "rows", "k", "n")]
        columns = [[layout.column_blocks(i), layout.column_bytes(i)] for i in range(layout.n)]
        assert columns == case["columns"]


def _code_row(inputs: Json) -> None:
    for case in inputs["rows"]:
        cells = [bytes.fromhex(cell) for cell in case["data"]]
        for parity in (
            coder(case["k"], case["n"]).encode_row(cells),
            ReferenceRows(case["k"], case["n"]).encode(cells),
        ):
            assert [cell.hex() for cell in parity] == case["parity"]


def _seal_segment(inputs: Json) -> Json:
    pattern = bytes.fromhex(inputs["pattern"])
    plaintext = (pattern * (inputs["length"] // len(pattern) + 1))[: inputs["length"]]
    key = seal.plaintext_key(bytes.fromhex(inputs["secret"]), plaintext)
    sealed = seal.seal_segment(plaintext, key, Shares.parse(inputs["shares"]))
    return {
        "key": key.hex(),
        "descriptor": sealed.descriptor.encode().hex(),
        "segment_id": sealed.id.hex(),
        "block_hashes": [hashes.hex() for hashes in sealed.hashes],
    }


def _read_descriptor(inputs: Json) -> None:
    expect = inputs.get("segment_id")
    data = bytes.fromhex(inputs["descriptor"])
    Descriptor.decode(data, None if expect is None else SegmentId(bytes.fromhex(expect)))


def _check_hashes(inputs: Json) -> None:
    descriptor = Descriptor.decode(bytes.fromhex(inputs["descriptor"]))
    segment.check_hashes(descriptor, inputs["index"], bytes.fromhex(inputs["hashes"]))


def _read_manifest(inputs: Json) -> Json:
    data = bytes.fromhex(inputs["manifest"])
    assert manifest.Manifest.decode(data).encode() == data
    return {"entries": make_storage._listing(data)}


def _open_root(inputs: Json) -> Json:
    plaintext = bytes.fromhex(inputs["root"])
    root = manifest.open_root(plaintext, bytes.fromhex(inputs["read_key"]))
    assert manifest.open_index(plaintext) == root.index
    encoded = bytes.fromhex(inputs["spilled"]) if root.spill else root.encoded
    index = [[entry.id.hex(), entry.length] for entry in root.index]
    return {"index": index, "manifest": manifest.read_manifest(root, encoded).encode().hex()}


def _parse_link(inputs: Json) -> Json:
    link = parse_link(inputs["link"])
    assert isinstance(link, Link)
    assert parse_link(str(link)) == link
    return {
        "kind": link.kind.name.lower(),
        "root": link.root.hex(),
        "key": link.key.hex(),
        "hints": [str(hint) for hint in link.hints],
        "verify_link": str(link.verify_link()),
    }


OPERATIONS: dict[str, Callable[[Json], Json | None]] = {
    "hash": _hash,
    "segment key": _segment_key,
    "root keys": _root_keys,
    "open block": _open_block,
    "verify": _verify,
    "ids": _ids,
    "layout": _layout,
    "code row": _code_row,
    "seal segment": _seal_segment,
    "read descriptor": _read_descriptor,
    "check hashes": _check_hashes,
    "read manifest": _read_manifest,
    "open root": _open_root,
    "parse link": _parse_link,
}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    operation = OPERATIONS[vector["operation"]]
    if vector["expect"] == "success":
        assert operation(vector["input"]) == vector.get("output")
        return
    with pytest.raises(errors.ProtocolError) as caught:
        operation(vector["input"])
    assert type(caught.value).__name__ == vector["expect"]


@pytest.mark.parametrize("module", [make_crypto, make_storage], ids=lambda module: module.__name__)
def test_vectors_on_disk_are_those_that_are_made(module: Any) -> None:
    made = {stem: json.loads(json.dumps(content)) for stem, content in module.vectors()}
    prefix = module.__name__.rpartition("make_")[2]
    on_disk = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob(f"{prefix}_*.json")}
    assert made == on_disk
