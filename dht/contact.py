"""A contact: a node's key and where it listens. And which addresses may be believed from whom."""

import ipaddress
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from protocol.identity import KEY_BYTES
from protocol.ids import Address, NodeId, PublicKey, node_id

_CACHE = 4096
"""Contacts and hosts whose parsed form is remembered: parsing is pure, and the same ones come again."""

_SHARED = ipaddress.ip_network("100.64.0.0/10")  # carrier-grade NAT (RFC 6598): as little reachable as RFC 1918


@dataclass(frozen=True, slots=True)
class Contact:
    """A node, as a routing table or a lookup knows it."""

    key: PublicKey
    address: Address
    node_id: NodeId = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "node_id", node_id(self.key))

    def pack(self) -> bytes:
        """Key (32) and address (6 or 18)."""
        return self.key + self.address.pack()


@lru_cache(_CACHE)
def unpack_contact(data: bytes) -> Contact:
    """Inverse of :meth:`Contact.pack`.

    Raises:
        RemoteProtocolError: Not 38 or 50 bytes, or no address.
    """
    return Contact(PublicKey(data[:KEY_BYTES]), Address.unpack(data[KEY_BYTES:]))


class Scope(IntEnum):
    """How far an address reaches; each range is trusted by the ones below it."""

    LOOPBACK = 0
    PRIVATE = 1
    PUBLIC = 2
    NOWHERE = 3
    """Unspecified, multicast, broadcast, reserved: nobody can be there."""


@lru_cache(_CACHE)
def scope(host: str) -> Scope:
    """The scope of an IP address in its text form."""
    address = ipaddress.ip_address(host)
    if address.is_loopback:
        return Scope.LOOPBACK
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return Scope.NOWHERE
    if address.is_private or address.is_link_local or address in _SHARED:
        return Scope.PRIVATE
    return Scope.PUBLIC


def believable(named: Address, by: Address) -> bool:
    """Whether ``named`` may be dialled on the word of the peer at ``by`` (docs/spec/dht.md section 4).

    A public peer must not make us dial our own machine or network, nor a private one our own machine.
    """
    where = scope(named.host)
    return where is not Scope.NOWHERE and (where is Scope.PUBLIC or where >= scope(by.host))


@lru_cache(_CACHE)
def subnet(host: str) -> bytes | None:
    """The /24 or /48 of an address, which counts as one neighbour; None where nothing is counted."""
    if scope(host) is not Scope.PUBLIC:
        return None
    packed = ipaddress.ip_address(host).packed
    return packed[:3] if len(packed) == 4 else packed[:6]


__all__ = ["Contact", "Scope", "believable", "scope", "subnet", "unpack_contact"]
