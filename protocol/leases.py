"""Leases: a depositor's signed wish that a segment be kept, or no longer (docs/spec/storage.md section 7).

Non-goals: which of two leases wins, and whether one has expired. A holder decides both; it has the clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from protocol.codec import Flag, Raw, Seq, Uint
from protocol.hashing import DIGEST_BYTES, digest
from protocol.identity import KEY_BYTES, Identity
from protocol.ids import ID_BYTES, NetworkId, PublicKey, SegmentId
from protocol.records import MAX_SECONDS, VERSION, Country, Version, open_body, sign_body

DEPOSIT_ID_BYTES = 16
MAX_LEASE_BYTES = 1024
MAX_AVOIDED = 32
MAX_SEQUENCE = 2**64 - 1
MAX_SIZE = 16_777_216


@dataclass(frozen=True, slots=True)
class Policy:
    """Where chunks may go. It travels in the lease, so that every repair keeps it."""

    spread_countries: bool = True
    """Fill countries evenly."""
    avoid: tuple[str, ...] = ()
    """Claimed countries that get no chunk, at most 32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One depositor's claim on one segment for one deposit."""

    network: NetworkId
    depositor: PublicKey
    """The key that signs."""
    deposit: bytes
    """The deposit id, 16 bytes."""
    segment: SegmentId
    size: int
    """The descriptor's length: bytes of plaintext, 1 to 16,777,216."""
    sequence: int
    """Of two leases of one (depositor, deposit) on a segment the higher sequence wins."""
    expiry: int
    """Seconds since 1970-01-01 UTC. A deletion is remembered until then."""
    deleted: bool = False
    policy: Policy = Policy()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """A lease as it is signed."""

    version: Annotated[int, Version()] = VERSION
    network: Annotated[NetworkId, Raw(ID_BYTES)]
    key: Annotated[PublicKey, Raw(KEY_BYTES)]
    deposit: Annotated[bytes, Raw(DEPOSIT_ID_BYTES)]
    segment: Annotated[SegmentId, Raw(ID_BYTES)]
    size: Annotated[int, Uint(MAX_SIZE, minimum=1)]
    sequence: Annotated[int, Uint(MAX_SEQUENCE)]
    expiry: Annotated[int, Uint(MAX_SECONDS)]
    deleted: Annotated[bool, Flag()]
    spread: Annotated[int, Uint(1)]
    avoid: Annotated[tuple[str, ...], Seq(Country(known=True), MAX_AVOIDED)]


def sign_lease(identity: Identity, lease: Lease) -> bytes:
    """Sign a lease.

    Raises:
        LocalProtocolError: A field is out of its range, or ``identity`` is not the depositor.
    """
    body = _Body(
        network=lease.network,
        key=lease.depositor,
        deposit=lease.deposit,
        segment=lease.segment,
        size=lease.size,
        sequence=lease.sequence,
        expiry=lease.expiry,
        deleted=lease.deleted,
        spread=int(lease.policy.spread_countries),
        avoid=lease.policy.avoid,
    )
    return sign_body(identity, "lease", body)


def open_lease(data: bytes, network: NetworkId) -> Lease:
    """Check and read a lease. Whether it names the right segment, and has not expired, is left to the caller.

    Raises:
        RemoteProtocolError: Longer than 1,024 bytes, or a field is out of its range.
        SignatureError: Not signed by the depositor it names.
        WrongNetworkError: Signed, but for another network.
    """
    body = open_body(_Body, "lease", data, network, MAX_LEASE_BYTES)
    return Lease(
        network=body.network,
        depositor=body.key,
        deposit=body.deposit,
        segment=body.segment,
        size=body.size,
        sequence=body.sequence,
        expiry=body.expiry,
        deleted=body.deleted,
        policy=Policy(spread_countries=bool(body.spread), avoid=body.avoid),
    )


def lease_set_digest(leases: Iterable[bytes]) -> bytes:
    """What two holders compare to see whether they know the same leases (docs/spec/storage.md section 7).

    Args:
        leases: Signed leases, each once, in any order.

    Returns:
        32 bytes; zeros when there are none.
    """
    parts = [len(lease).to_bytes(4, "big") + lease for lease in sorted(leases)]
    return digest("leases", b"".join(parts)) if parts else bytes(DIGEST_BYTES)
