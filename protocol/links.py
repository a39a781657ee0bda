"""Links: one word that opens a deposit, or the newest deposit of a name (docs/spec/storage.md section 8)."""

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Self

from protocol.errors import IntegrityError, LinkError, LocalProtocolError, RemoteProtocolError, SealedLinkError
from protocol.identity import BOX_BYTES, Identity, check_key, seal_box
from protocol.ids import ID_BYTES, Address, PublicKey, SegmentId, short
from protocol.seal import KEY_BYTES, verify_key
from protocol.words import payload_of, word_of

SCHEME = "archipel:"
VERSION = 1
MAX_HINTS = 8
MAX_TEXT = 4096  # the longest link has 446 characters; the rest is for a gateway's address before it

_LABEL = "link"
_NAME, _SEALED = 3, 4  # kinds; the others are those of LinkKind
_HEAD_BYTES = 2 + ID_BYTES + KEY_BYTES
MAX_PAYLOAD_BYTES = _HEAD_BYTES + 1 + MAX_HINTS * 19
"""Of a link of kind 1 to 3, its hints IPv6 addresses."""
MIN_BOX_BYTES, MAX_BOX_BYTES = BOX_BYTES + _HEAD_BYTES, BOX_BYTES + MAX_PAYLOAD_BYTES
_WEB_PREFIX = re.compile(r"https?://[^#]*#", re.IGNORECASE)


class LinkKind(IntEnum):
    """What the link of a deposit lets its holder do."""

    READ = 1
    """Read the deposit, and everything below."""
    VERIFY = 2
    """Check that the deposit is whole; read nothing of it."""


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """A capability for one deposit. ``str(link)`` is the secret word itself; ``repr(link)`` is safe to log."""

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
        return SCHEME + word_of(_LABEL, link_payload(self))

    def __repr__(self) -> str:
        return f"Link({self.kind.name}, {short(self.root)})"


@dataclass(frozen=True, slots=True, repr=False)
class NameLink:
    """A capability for every version published under a name, the later ones too. ``repr`` is safe to log."""

    name: PublicKey
    """The public key that signs the name's records."""
    read_key: bytes
    """The key that their values are sealed under, 32 bytes."""
    hints: tuple[Address, ...] = ()
    """As a Link's."""

    def __post_init__(self) -> None:
        if len(self.name) != KEY_BYTES or len(self.read_key) != KEY_BYTES or len(self.hints) > MAX_HINTS:
            raise LocalProtocolError("a name link has a public key of 32 bytes, a key of 32 and at most 8 hints")

    def __str__(self) -> str:
        return SCHEME + word_of(_LABEL, link_payload(self))

    def __repr__(self) -> str:
        return f"NameLink({short(self.name)})"


@dataclass(frozen=True, slots=True, repr=False)
class SealedLink:
    """A Link or NameLink that one account's key opens, and nothing else."""

    box: bytes
    """The sealed box, 114 to 267 bytes. No secret, but nobody's business either: ``repr`` does not show it."""

    def __post_init__(self) -> None:
        if not MIN_BOX_BYTES <= len(self.box) <= MAX_BOX_BYTES:
            raise LocalProtocolError(f"a sealed link holds {MIN_BOX_BYTES} to {MAX_BOX_BYTES} bytes")

    def __str__(self) -> str:
        return SCHEME + word_of(_LABEL, link_payload(self))

    def __repr__(self) -> str:
        return f"SealedLink({len(self.box)} bytes)"


AnyLink = Link | NameLink | SealedLink


def link_payload(link: AnyLink) -> bytes:
    """A link without checksum: what goes into sealed boxes and the drive. It is as secret as the link."""
    if isinstance(link, SealedLink):
        return bytes([VERSION, _SEALED]) + link.box
    if isinstance(link, NameLink):
        head = bytes([VERSION, _NAME]) + link.name + link.read_key
    else:
        head = bytes([VERSION, link.kind]) + link.root + link.key
    if not link.hints:
        return head
    packed = [hint.pack() for hint in link.hints]
    return head + bytes([len(packed)]) + b"".join(bytes([len(hint)]) + hint for hint in packed)


def parse_payload(payload: bytes) -> AnyLink:
    """Inverse of ``link_payload``.

    Raises:
        LinkError: Malformed, or of a version or kind not known here.
    """
    if len(payload) < _HEAD_BYTES:
        raise LinkError("the link is cut short, or is not an archipel link")
    version, kind = payload[:2]
    if version != VERSION:
        raise LinkError(f"the link is of version {version}: a newer archipel may open it")
    if kind == _SEALED:
        return _sealed(payload[2:])
    first, second = payload[2 : 2 + ID_BYTES], payload[2 + ID_BYTES : _HEAD_BYTES]
    if kind == _NAME:
        return _named(PublicKey(first), second, _hints(payload[_HEAD_BYTES:]))
    if kind not in (LinkKind.READ, LinkKind.VERIFY):
        raise LinkError(f"the link is of kind {kind}: a newer archipel may open it")
    return Link(LinkKind(kind), SegmentId(first), second, _hints(payload[_HEAD_BYTES:]))


def _sealed(box: bytes) -> SealedLink:
    if not MIN_BOX_BYTES <= len(box) <= MAX_BOX_BYTES:
        raise LinkError(f"a sealed link holds {MIN_BOX_BYTES} to {MAX_BOX_BYTES} bytes, got {len(box)}")
    return SealedLink(box)


def _named(name: PublicKey, read_key: bytes, hints: tuple[Address, ...]) -> NameLink:
    try:
        check_key(name)
    except RemoteProtocolError as exc:
        raise LinkError(f"the link leads to no name there can be: {exc}") from exc
    return NameLink(name, read_key, hints)


def parse_link(text: str) -> AnyLink:
    """Read a link as a person typed or pasted it: alone, after ``archipel:`` or after a gateway's ``#``.

    Raises:
        LinkError: Mistyped, cut short, or of a version or kind not known here. The message never repeats it.
    """
    if len(text) > MAX_TEXT:
        raise LinkError(f"a link has at most {MAX_TEXT} characters, got {len(text)}")
    stripped = text.strip()
    web = _WEB_PREFIX.match(stripped)
    if web is not None:
        stripped = stripped[web.end() :]
    try:
        payload = payload_of(_LABEL, SCHEME, stripped)
    except ValueError as exc:
        raise LinkError(f"the link {exc}") from exc
    return parse_payload(payload)


def seal_link(link: Link | NameLink, recipient: PublicKey, seed: bytes) -> SealedLink:
    """``link`` for one account alone: useless to anybody else. Nothing in it tells who sealed it.

    Args:
        link: What the account is to have.
        recipient: The account's public key.
        seed: 32 random bytes, never used for anything else.

    Raises:
        LocalProtocolError: A seed of another length.
        RemoteProtocolError: No account can have this key.
    """
    return SealedLink(seal_box(recipient, link_payload(link), seed))


def open_link(sealed: SealedLink, identity: Identity) -> Link | NameLink:
    """The link that was sealed to this identity.

    Raises:
        SealedLinkError: It was sealed to another key, or changed since.
        LinkError: What is in it is no link of kind 1 to 3.
    """
    try:
        payload = identity.open_box(sealed.box)
    except IntegrityError as exc:
        raise SealedLinkError("the link is sealed to another account's key") from exc
    link = parse_payload(payload)
    if isinstance(link, SealedLink):
        raise LinkError("the link holds another sealed link")
    return link


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
