"""Noise_XX_25519_AESGCM_BLAKE2b as a state machine (Noise Protocol Framework, revision 34).

Goals: this one pattern with these three primitives, three handshake messages and two cipher states; transport
messages encrypted and decrypted in place. Names are those of the framework's section 5.

Non-goals: other patterns, pre-shared keys, rekeying, framing (protocol/channel.py), and who the peer is: the
payloads say that (docs/spec/crypto.md section 6). Keys are arguments; they are never made here.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings
from nacl.exceptions import CryptoError

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.hashing import Bytes

DH_BYTES: Final = 32
HASH_BYTES: Final = 64
TAG_BYTES: Final = 16
MAX_NONCE: Final = 2**64 - 1
"""Reserved by the framework: a cipher state ends before it (section 5.1)."""

_PROTOCOL_NAME = b"Noise_XX_25519_AESGCM_BLAKE2b"
_PATTERN: Final = (("e",), ("e", "ee", "s", "es"), ("s", "se"))


class CipherState:
    """One direction of a channel: a key and the nonce that counts its messages."""

    __slots__ = ("_aead", "_nonce")

    def __init__(self, key: bytes, nonce: int = 0) -> None:
        self._aead = AESGCM(key)
        self._nonce = nonce

    def _nonce_bytes(self) -> bytes:
        return self._nonce.to_bytes(12, "big")  # 32 zero bits, then 64 bits big-endian (section 12.3)

    def encrypt_into(self, plaintext: Bytes, out: memoryview) -> None:
        """Encrypt into ``out``, which is 16 bytes longer than ``plaintext``.

        Raises:
            LocalProtocolError: The nonces are used up.
        """
        if self._nonce >= MAX_NONCE:
            raise LocalProtocolError("a channel has sent all the messages it may")
        self._aead.encrypt_into(self._nonce_bytes(), plaintext, None, out)
        self._nonce += 1

    def decrypt_into(self, ciphertext: Bytes, out: memoryview) -> None:
        """Decrypt into ``out``, 16 bytes shorter than ``ciphertext``. On failure ``out`` holds rubbish.

        Raises:
            RemoteProtocolError: The tag does not fit, or the nonces are used up.
        """
        if self._nonce >= MAX_NONCE:
            raise RemoteProtocolError("a channel has received all the messages it may")
        try:
            self._aead.decrypt_into(self._nonce_bytes(), ciphertext, None, out)
        except InvalidTag as exc:
            raise RemoteProtocolError("a record does not decrypt") from exc
        self._nonce += 1

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes) -> bytes:
        """Handshake use: the nonces of three messages are never used up."""
        sealed = self._aead.encrypt(self._nonce_bytes(), plaintext, ad)
        self._nonce += 1
        return sealed

    def decrypt_with_ad(self, ad: bytes, ciphertext: bytes) -> bytes:
        """Handshake use. Raises RemoteProtocolError if the tag does not fit."""
        try:
            plaintext = self._aead.decrypt(self._nonce_bytes(), ciphertext, ad)
        except InvalidTag as exc:
            raise RemoteProtocolError("a handshake message does not decrypt") from exc
        self._nonce += 1
        return plaintext


class _SymmetricState:
    """Chaining key, handshake hash and, once there is a key, the cipher of the handshake (section 5.2)."""

    __slots__ = ("_chaining_key", "_cipher", "hash")

    def __init__(self, prologue: bytes) -> None:
        self.hash = _PROTOCOL_NAME.ljust(HASH_BYTES, b"\0")
        self._chaining_key = self.hash
        self._cipher: CipherState | None = None
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.blake2b(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining_key, key = _hkdf(self._chaining_key, material)
        self._cipher = CipherState(key[:32])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        sealed = plaintext if self._cipher is None else self._cipher.encrypt_with_ad(self.hash, plaintext)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        plaintext = sealed if self._cipher is None else self._cipher.decrypt_with_ad(self.hash, sealed)
        self.mix_hash(sealed)
        return plaintext

    def sealed_bytes(self, count: int) -> int:
        """How long ``count`` bytes are once encrypted."""
        return count if self._cipher is None else count + TAG_BYTES

    def split(self) -> tuple[CipherState, CipherState]:
        first, second = _hkdf(self._chaining_key, b"")
        return CipherState(first[:32]), CipherState(second[:32])


class Handshake:
    """The three messages of XX. Write and read them in turn, the initiator first; then :meth:`split`."""

    __slots__ = (
        "_ephemeral",
        "_initiator",
        "_remote_ephemeral",
        "_state",
        "_static",
        "_step",
        "remote_static",
    )

    def __init__(self, *, initiator: bool, prologue: bytes, static: bytes, ephemeral: bytes) -> None:
        """Args:
        initiator: Whether this side writes the first message.
        prologue: What both sides must agree on; it is not sent.
        static: Secret X25519 key, 32 bytes.
        ephemeral: Secret X25519 key, 32 bytes, for this handshake alone.
        """
        if len(static) != DH_BYTES or len(ephemeral) != DH_BYTES:  # the binding reads past a short key
            raise LocalProtocolError(f"an X25519 key is {DH_BYTES} bytes")
        self._state = _SymmetricState(prologue)
        self._initiator = initiator
        self._static = static
        self._ephemeral = ephemeral
        self._remote_ephemeral = b""
        self._step = 0
        self.remote_static = b""
        """The peer's static public key, once its message has been read."""

    @property
    def static_key(self) -> bytes:
        """Our static public key."""
        return bindings.crypto_scalarmult_base(self._static)

    @property
    def my_turn(self) -> bool:
        """Whether the next message is ours to write."""
        return not self.done and (self._step % 2 == 0) == self._initiator

    @property
    def done(self) -> bool:
        """Whether all three messages have been written or read."""
        return self._step == len(_PATTERN)

    @property
    def hash(self) -> bytes:
        """The handshake hash so far: at the end it names the session."""
        return self._state.hash

    def write(self, payload_for: Callable[[bytes], bytes]) -> bytes:
        """The next message. ``payload_for`` gets the handshake hash just before the payload is encrypted."""
        if not self.my_turn:
            raise LocalProtocolError("it is the peer's turn in the handshake")
        message = b"".join([self._write_token(token) for token in _PATTERN[self._step]])
        self._step += 1
        return message + self._state.encrypt_and_hash(payload_for(self._state.hash))

    def read(self, message: bytes) -> tuple[bytes, bytes]:
        """Read the peer's next message.

        Returns:
            Its payload, and the handshake hash just before that payload was encrypted.

        Raises:
            RemoteProtocolError: Too short, not decryptable, or with a worthless key. The handshake is over.
        """
        if self.my_turn or self.done:
            raise LocalProtocolError("it is our turn in the handshake")
        for token in _PATTERN[self._step]:
            message = self._read_token(token, message)
        self._step += 1
        before = self._state.hash
        return self._state.decrypt_and_hash(message), before

    def split(self) -> tuple[CipherState, CipherState]:
        """The cipher states for sending and for receiving."""
        if not self.done:
            raise LocalProtocolError("the handshake is not complete")
        first, second = self._state.split()
        return (first, second) if self._initiator else (second, first)

    def _write_token(self, name: str) -> bytes:
        if name == "e":
            public = bindings.crypto_scalarmult_base(self._ephemeral)
            self._state.mix_hash(public)
            return public
        if name == "s":
            return self._state.encrypt_and_hash(self.static_key)
        self._mix_dh(name)
        return b""

    def _read_token(self, name: str, message: bytes) -> bytes:
        """Take what the token stands for from the start of ``message``; returns the rest."""
        if name not in ("e", "s"):
            self._mix_dh(name)
            return message
        size = DH_BYTES if name == "e" else self._state.sealed_bytes(DH_BYTES)
        if len(message) < size:
            raise RemoteProtocolError(f"a handshake message of {len(message)} bytes lacks a key")
        if name == "e":
            self._remote_ephemeral = message[:size]
            self._state.mix_hash(self._remote_ephemeral)
        else:
            self.remote_static = self._state.decrypt_and_hash(message[:size])
        return message[size:]

    def _mix_dh(self, name: str) -> None:
        """Of a token such as `es` the first letter is the initiator's key, the second the responder's."""
        mine, theirs = (name[0], name[1]) if self._initiator else (name[1], name[0])
        secret = self._ephemeral if mine == "e" else self._static
        public = self._remote_ephemeral if theirs == "e" else self.remote_static
        try:
            self._state.mix_key(bindings.crypto_scalarmult(secret, public))
        except CryptoError as exc:  # libsodium refuses points of small order
            raise RemoteProtocolError("a worthless key in the handshake") from exc


def _hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Two outputs (section 4.3)."""
    secret = _hmac(chaining_key, material)
    first = _hmac(secret, b"\x01")
    return first, _hmac(secret, first + b"\x02")


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "blake2b")
