"""What is signed about chunks: the bytes behind a signature that travels alone (docs/spec/wire.md section 5).

Goals: one function for each label, so that whoever signs and whoever checks join the same bytes. Non-goals: records
that are read again, which carry their body with them (protocol/records.py).
"""

from collections.abc import Sequence

from protocol.hashing import digest
from protocol.ids import NetworkId, PublicKey, SegmentId
from protocol.messages import Holds


def audit_statement(
    *, network: NetworkId, nonce: bytes, segment: SegmentId, index: int, block: int, block_hash: bytes
) -> bytes:
    """What a holder signs, label `audit`, to answer an audit."""
    return b"".join((network, nonce, segment, bytes([index, block]), block_hash))


def permit_statement(*, network: NetworkId, segment: SegmentId, index: int, holder: PublicKey) -> bytes:
    """What a depositor signs, label `permit`, to let one node take one chunk."""
    return b"".join((network, segment, bytes([index]), holder))


def survey_statement(
    *, network: NetworkId, nonce: bytes, time: int, segments: Sequence[SegmentId], answers: Sequence[Holds]
) -> bytes:
    """What a holder signs, label `survey`: what it answered about which segments, and when."""
    told = (
        b"".join((segment, bytes([len(holds.indices)]), holds.indices, holds.leases, bytes([holds.missing])))
        for segment, holds in zip(segments, answers, strict=True)
    )
    return b"".join((network, nonce, time.to_bytes(8, "big"), digest("survey", b"".join(told))))
