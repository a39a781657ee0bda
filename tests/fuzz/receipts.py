"""Targets: receipt files and evidence, which anybody may have written."""

from collections.abc import Callable
from contextlib import suppress

from protocol.errors import ProtocolError
from protocol.hashing import DIGEST_BYTES
from protocol.receipts import (
    EVIDENCE,
    RECEIPTS,
    Promises,
    check_proof,
    end_file,
    promises_frame,
    proof_frame,
    read_evidence,
    read_receipts,
)
from tests.fuzz.corpus import hex_values
from tests.fuzz.target import Target
from tests.vectors.make_receipts import FRAMES, GOOD, NETWORK, PROOF, denial, proof


def _mended(first_line: bytes, data: bytes) -> list[bytes]:
    """As it is; with the last hash put right; and as the frames of a file whose beginning is right, too."""
    content, frames = data[:-DIGEST_BYTES], first_line + NETWORK.id + data
    return [data, content + end_file(content), frames + end_file(frames)]


def _run_receipts(data: bytes) -> None:
    for file in _mended(RECEIPTS, data):
        with suppress(ProtocolError):
            for promises in read_receipts(memoryview(file), NETWORK.id):
                descriptor, signed = promises.descriptor, tuple(data for _, data in promises.receipts)
                assert [receipt.segment for receipt, _ in promises.receipts] == [descriptor.id] * len(signed)
                assert all(r.chunk_id == descriptor.chunk_ids[r.index] for r, _ in promises.receipts)
                made = Promises(descriptor=descriptor.encode(), expiry=promises.expiry, receipts=signed)
                assert promises_frame(made)


def _run_evidence(data: bytes) -> None:
    for file in _mended(EVIDENCE, data):
        with suppress(ProtocolError):
            for receipt, found in read_evidence(memoryview(file), NETWORK.id):
                assert check_proof(found, NETWORK.id) == receipt
                assert found.receipt == proof().receipt  # there is but one that signed anything wrong


def _seeds(name: str, good: bytes, *frames: bytes) -> Callable[[], list[bytes]]:
    return lambda: [good, *frames, b"".join(frames), *hex_values(f"receipts_{name}*")]


TARGETS = (
    Target("receipts", _run_receipts, _seeds("file", GOOD, *FRAMES), 30_000),
    Target("evidence", _run_evidence, _seeds("evidence", PROOF, proof_frame(proof()), proof_frame(denial())), 30_000),
)
