"""The last copy of a drive as a home keeps it, sealed under the account's cache key (docs/spec/drive.md section 5)."""

from dataclasses import dataclass
from typing import Annotated

from nacl import bindings
from nacl.exceptions import CryptoError

from protocol import codec
from protocol.codec import Flag, Raw, Uint
from protocol.drive import MAX_DRIVE_BYTES, VERSION, Drive
from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError, WrongNetworkError
from protocol.ids import ID_BYTES, NetworkId
from protocol.records import MAX_SECONDS

FIRST_LINE = b"archipel drive 1\n"
NONCE_BYTES = 24
KEY_BYTES = 32
MAX_CACHE_BYTES = MAX_DRIVE_BYTES + 256

_TAG_BYTES = 16
_HEAD_BYTES = len(FIRST_LINE) + ID_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedDrive:
    """A drive, and how it relates to what the network has."""

    drive: Drive
    sequence: int = 0
    """Of the record of the drive's name that it was read from, or published with; 0: of none."""
    seen: int = 0
    """When that was, seconds since 1970-01-01 UTC."""
    unsent: bool = False
    """Whether it holds changes that the network has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    version: Annotated[int, Uint(255)]
    sequence: Annotated[int, Uint(2**63 - 1)]
    seen: Annotated[int, Uint(MAX_SECONDS)]
    unsent: Annotated[bool, Flag()]
    drive: Annotated[bytes, Raw(1, MAX_DRIVE_BYTES)]


def seal_cache(key: bytes, network: NetworkId, cached: CachedDrive, nonce: bytes) -> bytes:
    """The file of a drive on one network.

    Args:
        key: The account's cache key, 32 bytes.
        network: The network that the drive is on: an account has one drive on each.
        cached: What to keep.
        nonce: 24 random bytes.

    Raises:
        DriveFullError: The drive is too large.
        LocalProtocolError: An entry breaks the rules, or key or nonce have another length.
    """
    if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise LocalProtocolError(f"a cache key has {KEY_BYTES} bytes, a nonce {NONCE_BYTES}")
    fields = _Content(
        version=VERSION,
        sequence=cached.sequence,
        seen=cached.seen,
        unsent=cached.unsent,
        drive=cached.drive.encode(),
    )
    head = FIRST_LINE + network
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(codec.encode(fields), head, nonce, key)
    return head + nonce + sealed


def open_cache(key: bytes, network: NetworkId, data: bytes) -> CachedDrive:
    """Inverse of ``seal_cache``.

    Raises:
        RemoteProtocolError: It is no such file, or larger than any, or what was sealed is malformed.
        WrongNetworkError: It is the drive on another network.
        IntegrityError: It is damaged, or another account's.
    """
    if len(data) > MAX_CACHE_BYTES or not data.startswith(FIRST_LINE):
        raise RemoteProtocolError(f"not a drive of version {VERSION} of at most {MAX_CACHE_BYTES} bytes")
    head, nonce = data[:_HEAD_BYTES], data[_HEAD_BYTES : _HEAD_BYTES + NONCE_BYTES]
    sealed = data[_HEAD_BYTES + NONCE_BYTES :]
    if len(sealed) < _TAG_BYTES:
        raise IntegrityError("the drive is cut short")
    if head[len(FIRST_LINE) :] != network:
        raise WrongNetworkError("the drive is on another network")
    try:
        content = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, head, nonce, key)
    except CryptoError as exc:
        raise IntegrityError("the drive is damaged, or another account's") from exc
    fields = codec.decode(_Content, content)
    if fields.version != VERSION:
        raise RemoteProtocolError(f"a drive of version {fields.version} is not known here")
    drive = Drive.decode(fields.drive)
    return CachedDrive(drive=drive, sequence=fields.sequence, seen=fields.seen, unsent=fields.unsent)
