"""What Hypothesis draws from: values of the protocol, their boundaries included, and ways to damage bytes."""

import ipaddress

from hypothesis import strategies as st

from protocol.identity import Identity, Network
from protocol.ids import Address, ChunkId, PublicKey, SegmentId
from protocol.leases import MAX_AVOIDED, MAX_SIZE, Lease, Policy
from protocol.messages import (
    Audit,
    AuditReply,
    DialBack,
    DialBackReply,
    ErrorCode,
    ErrorReply,
    Get,
    GetReply,
    Have,
    HaveReply,
    Held,
    Hello,
    HelloReply,
    Holds,
    LeaseReply,
    Leases,
    LeasesReply,
    Put,
    PutLease,
    PutReply,
    Shared,
    Survey,
    SurveyReply,
)
from protocol.records import MAX_FREE_BYTES, NodeRecord, Receipt

NETWORK = Network("tests")
IDENTITY = Identity(b"\x01" * 32)
STRANGER = Identity(b"\x02" * 32)


def raw(minimum: int, maximum: int | None = None) -> st.SearchStrategy[bytes]:
    """Bytes of exactly ``minimum``, or of a length between the two."""
    return st.binary(min_size=minimum, max_size=minimum if maximum is None else maximum)


def uint(maximum: int) -> st.SearchStrategy[int]:
    """0 to ``maximum``, with a liking for both ends."""
    return st.one_of(st.sampled_from((0, maximum)), st.integers(0, maximum))


def texts(maximum: int) -> st.SearchStrategy[str]:
    """Text of at most ``maximum`` UTF-8 bytes."""
    return st.text(max_size=maximum).filter(lambda text: len(text.encode()) <= maximum)


segment_ids = raw(32).map(SegmentId)
keys = raw(32).map(PublicKey)
countries = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2)
claimed_countries = st.one_of(st.just(""), countries)
seconds = uint(2**64 - 1)
addresses = st.builds(
    lambda host, port: Address(str(host), port),
    st.one_of(
        st.ip_addresses(v=4),
        st.ip_addresses(v=6).filter(lambda host: isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is None),
    ),
    st.integers(1, 65_535),
)
leases = st.builds(
    Lease,
    network=st.just(NETWORK.id),
    depositor=st.just(IDENTITY.key),
    deposit=raw(16),
    segment=segment_ids,
    size=st.integers(1, MAX_SIZE),
    sequence=seconds,
    expiry=seconds,
    deleted=st.booleans(),
    policy=st.builds(
        Policy,
        spread_countries=st.booleans(),
        avoid=st.lists(countries, max_size=MAX_AVOIDED).map(tuple),
    ),
)
node_records = st.builds(
    NodeRecord,
    network=st.just(NETWORK.id),
    key=st.just(IDENTITY.key),
    address=addresses,
    country=claimed_countries,
    free_bytes=uint(MAX_FREE_BYTES),
    storing=st.booleans(),
    time=seconds,
    software=texts(32),
)
receipts = st.builds(
    Receipt,
    network=st.just(NETWORK.id),
    key=st.just(IDENTITY.key),
    segment=segment_ids,
    index=uint(31),
    chunk_id=raw(32).map(ChunkId),
    expiry=seconds,
    country=claimed_countries,
    time=seconds,
)
chunk_indices = st.sets(uint(31)).map(lambda indices: bytes(sorted(indices)))
held = st.builds(Held, indices=chunk_indices, expiry=seconds)
shared = st.builds(Shared, segment=segment_ids, indices=chunk_indices)
holds = st.builds(Holds, indices=chunk_indices, leases=raw(32), missing=uint(32))
hellos = st.builds(Hello, record=raw(0, 512))
gets = st.builds(Get, segment=segment_ids, index=uint(31), first=uint(127), count=uint(128), proof=st.booleans())
requests = st.one_of(
    hellos,
    st.builds(Have, depositor=keys, deposit=raw(16), segments=st.lists(segment_ids, max_size=256).map(tuple)),
    gets,
    st.builds(
        Put,
        descriptor=raw(1, 2048),
        index=uint(31),
        hashes=raw(32, 4096),
        lease=raw(1, 1024),
        permit=raw(0, 64),
    ),
    st.builds(PutLease, lease=raw(1, 1024)),
    st.builds(Audit, segment=segment_ids, index=uint(31), block=uint(127), nonce=raw(16)),
    st.builds(DialBack, address=addresses),
    st.builds(Survey, nonce=raw(16), record=raw(0, 512), segments=st.lists(shared, max_size=128).map(tuple)),
    st.builds(Leases, segment=segment_ids, skip=uint(64)),
)
replies = st.one_of(
    st.builds(HelloReply, record=raw(1, 512), observed=addresses),
    st.builds(HaveReply, held=st.lists(held, max_size=256).map(tuple)),
    st.builds(GetReply, descriptor=raw(0, 2048), hashes=raw(0, 4096)),
    st.builds(PutReply, receipt=raw(1, 512), provider=raw(1, 256)),
    st.builds(
        LeaseReply,
        receipts=st.lists(raw(1, 512), max_size=32).map(tuple),
        providers=st.lists(raw(1, 256), max_size=32).map(tuple),
    ),
    st.builds(AuditReply, descriptor=raw(1, 2048), hashes=raw(32, 4096), signature=raw(64)),
    st.builds(DialBackReply, udp=st.booleans(), tcp=st.booleans()),
    st.builds(SurveyReply, segments=st.lists(holds, max_size=128).map(tuple), time=seconds, signature=raw(64)),
    st.builds(LeasesReply, leases=st.lists(raw(1, 1024), max_size=24).map(tuple), more=st.booleans()),
    st.builds(ErrorReply, code=st.sampled_from(ErrorCode), text=texts(256)),
)
messages = st.one_of(requests, replies)


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """``data`` cut somehow; joined again the pieces are ``data``."""
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=20).map(sorted))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with one bit flipped, a piece cut off, or bytes put into it."""
    at = draw(st.integers(0, len(data) - 1))
    kind = draw(st.sampled_from(("flip", "cut", "insert")))
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    return data[:at] + draw(st.binary(min_size=1, max_size=40)) + data[at:]


def nested(packed: bytes, depth: int) -> bytes:
    """msgpack arrays, each the only item of the one around it, about ``packed``."""
    return b"\x91" * depth + packed
