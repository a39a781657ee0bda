"""Links: one word that opens a deposit (docs/spec/storage.md section 8)."""

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Self

from protocol.base32 import from_word, to_word
from protocol.errors import LinkError, LocalProtocolError, RemoteProtocolError
from protocol.hashing import digest
from protocol.ids import ID_BYTES, Address, SegmentId, short
from protocol.seal import KEY_BYTES, verify_key

SCHEME = "archipel:"
VERSION = 1
MAX_HINTS = 8
MAX_TEXT = 4096  # the longest link has 360 characters; the rest is for a gateway's address before it

_CHECKSUM_BYTES = 4
_HEAD_BYTES = 2 + ID_BYTES + KEY_BYTES
_WEB_PREFIX = re.compile(r"https?://[^#]*#", re.IGNORECASE)


class LinkKind(IntEnum):
    """What a link lets its holder do."""

    READ = 1
    """Read the deposit, and everything below."""
    VERIFY = 2
    """Check that the deposit is whole; read nothing of it."""


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """A capability. ``str(link)`` is the secret word itself; ``repr(link)`` is safe to log."""

    kind: LinkKind
    root: SegmentId
    """The root segment."""
    key: bytes
    """The read key or the verify key, 32 bytes."""
    hints: tuple[Address, ...] = ()
    """Up to 8 nodes to join by, for a machine that does not know the network."""

    def __post_init__(self) -> None:
        if len(self.root) != ID_BYTES or len(self.key) != KEY_BYTES or len(self.hints) > MAX_HINTS:
            raise LocalProtocolError("a link has a root of 32 bytes, a key of 32 and at most 8 hints")

    def verify_link(self) -> Self:
        """The link that checks the same deposit and reads nothing of it; itself if it is one."""
        if self.kind is LinkKind.VERIFY:
            return self
        return replace(self, kind=LinkKind.VERIFY, key=verify_key(self.key))

    @property
    def verify_key(self) -> bytes:
        """The key that the root key is derived from."""
        return self.verify_link().key

    def __str__(self) -> str:
        payload = bytes([VERSION, self.kind]) + self.root + self.key
        if self.hints:
            packed = [hint.pack() for hint in self.hints]
            payload += bytes([len(packed)]) + b"".join(bytes([len(hint)]) + hint for hint in packed)
        return SCHEME + to_word(payload + _checksum(payload))

    def __repr__(self) -> str:
        return f"Link({self.kind.name}, {short(self.root)})"


def _checksum(payload: bytes) -> bytes:
    return digest("link", payload)[:_CHECKSUM_BYTES]


def parse_link(text: str) -> Link:
    """Read a link as a person typed or pasted it: alone, after ``archipel:`` or after a gateway's ``#``.

    Raises:
        LinkError: Mistyped, cut short, or of a version or kind not known here. The message never repeats it.
    """
    if len(text) > MAX_TEXT:
        raise LinkError(f"a link has at most {MAX_TEXT} characters, got {len(text)}")
    word = text.strip()
    web = _WEB_PREFIX.match(word)
    if web is not None:
        word = word[web.end() :]
    if word[: len(SCHEME)].lower() == SCHEME:
        word = word[len(SCHEME) :]
    data = from_word(word, "link")
    payload, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if len(payload) < _HEAD_BYTES:
        raise LinkError("the link is cut short, or is not an archipel link")
    if _checksum(payload) != checksum:
        raise LinkError("the link is mistyped or cut short: its checksum does not match")
    if payload[0] != VERSION:
        raise LinkError(f"the link is of version {payload[0]}: a newer archipel may open it")
    try:
        kind = LinkKind(payload[1])
    except ValueError as exc:
        raise LinkError(f"the link is of kind {payload[1]}: a newer archipel may open it") from exc
    root, key = payload[2 : 2 + ID_BYTES], payload[2 + ID_BYTES : _HEAD_BYTES]
    return Link(kind, SegmentId(root), key, _hints(payload[_HEAD_BYTES:]))


def _hints(data: bytes) -> tuple[Address, ...]:
    if not data:
        return ()
    count, rest = data[0], data[1:]
    hints: list[Address] = []
    while rest and len(hints) < MAX_HINTS:
        size, rest = rest[0], rest[1:]
        if size > len(rest):
            raise LinkError(f"the link holds an address of {len(rest)} bytes that should have {size}")
        try:
            hints.append(Address.unpack(rest[:size]))
        except RemoteProtocolError as exc:
            raise LinkError(f"the link holds a malformed address to join by: {exc}") from exc
        rest = rest[size:]
    if rest or not hints or len(hints) != count:
        raise LinkError(f"the addresses to join by are cut short, or not 1 to {MAX_HINTS}")
    return tuple(hints)
