"""Ids (32 bytes, one type for each meaning) and addresses (docs/spec/wire.md section 2)."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType, Self

from protocol.errors import RemoteProtocolError
from protocol.hashing import plain_digest

ID_BYTES = 32
_CACHE = 4096
"""Hosts whose other form is remembered: the same ones come in datagram after datagram."""

NodeId = NewType("NodeId", bytes)
SegmentId = NewType("SegmentId", bytes)
ChunkId = NewType("ChunkId", bytes)
NameId = NewType("NameId", bytes)
"""The place in the DHT where the records of a name under one salt are kept (docs/spec/names.md)."""
PublicKey = NewType("PublicKey", bytes)
"""An Ed25519 public key, 32 bytes."""
NetworkId = NewType("NetworkId", bytes)


def node_id(key: PublicKey) -> NodeId:
    """The place of a node in the DHT: BLAKE3-256 of its public key."""
    return NodeId(plain_digest(key))


def short(identifier: bytes) -> str:
    """The first eight hex digits: enough to tell ids apart in a log, too little to look one up."""
    return identifier[:4].hex()


@lru_cache(_CACHE)
def packed_host(host: str) -> bytes:
    """The 4 or 16 bytes of an IP address in its text form."""
    return ipaddress.ip_address(host).packed


@lru_cache(_CACHE)
def _host(packed: bytes) -> str:
    host = ipaddress.ip_address(packed)
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        raise RemoteProtocolError("an IPv4 address is written as IPv6")
    return str(host)


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a node listens, on UDP and TCP alike."""

    host: str
    """An IPv4 or IPv6 address in its canonical text form, never a name."""
    port: int
    """1 to 65535."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def pack(self) -> bytes:
        """6 bytes for IPv4, 18 for IPv6: the address, then the port, big-endian."""
        return packed_host(self.host) + self.port.to_bytes(2, "big")

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Inverse of :meth:`pack`.

        Raises:
            RemoteProtocolError: Not 6 or 18 bytes, port 0, or an IPv4 address written as IPv6 (one address would
                have two encodings).
        """
        if len(data) not in (6, 18):
            raise RemoteProtocolError(f"an address is 6 or 18 bytes, got {len(data)}")
        port = int.from_bytes(data[-2:], "big")
        if port == 0:
            raise RemoteProtocolError("an address has port 0")
        return cls(_host(bytes(data[:-2])), port)
