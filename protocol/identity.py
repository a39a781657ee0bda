"""Ed25519 identities: what signs, how a signature is checked, and boxes that one of them opens.

docs/spec/crypto.md sections 3 and 7.
"""

from hashlib import blake2b

from nacl import bindings
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.exceptions import RuntimeError as LibraryError

from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError, SignatureError
from protocol.hashing import digest, plain_digest
from protocol.ids import NetworkId, NodeId, PublicKey, node_id

SEED_BYTES = 32
KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_NAME_BYTES = 64
MAX_DIFFICULTY = 32
BOX_BYTES = 48
"""How much longer a sealed box is than what is in it: an ephemeral public key (32) and a tag (16)."""

_PREFIX = b"archipel 1 "


def _message(label: str, message: bytes) -> bytes:
    return _PREFIX + label.encode("ascii") + b"\0" + message


class Identity:
    """An Ed25519 key pair. Its text form shows the public half only."""

    __slots__ = ("_secret", "key", "node_id")

    def __init__(self, seed: bytes) -> None:
        """Derive the pair from a seed of 32 secret bytes. Raises LocalProtocolError for another length."""
        if len(seed) != SEED_BYTES:
            raise LocalProtocolError(f"a seed is {SEED_BYTES} bytes, got {len(seed)}")
        public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.key = PublicKey(public)
        self.node_id: NodeId = node_id(self.key)

    def sign(self, label: str, message: bytes) -> bytes:
        """Sign ``message`` for the purpose ``label``; returns 64 bytes."""
        return bindings.crypto_sign(_message(label, message), self._secret)[:SIGNATURE_BYTES]

    def sign_body(self, label: str, body: bytes) -> bytes:
        """A signed body: the signature, then the body."""
        return self.sign(label, body) + body

    def open_box(self, box: bytes) -> bytes:
        """What ``seal_box`` sealed to this identity's key. Nothing tells who sealed it.

        Raises:
            IntegrityError: It was sealed to another key, or changed since.
        """
        if len(box) < BOX_BYTES:
            raise IntegrityError(f"a sealed box has at least {BOX_BYTES} bytes, got {len(box)}")
        secret = bindings.crypto_sign_ed25519_sk_to_curve25519(self._secret)
        try:
            return bindings.crypto_box_seal_open(bytes(box), _box_key(self.key), secret)
        except CryptoError as exc:
            raise IntegrityError("a sealed box does not open with this key") from exc

    def __repr__(self) -> str:
        return f"Identity({self.key.hex()[:8]})"


def _box_key(key: PublicKey) -> bytes:
    """The X25519 form of a public key. Raises RemoteProtocolError as ``check_key`` does."""
    if len(key) != KEY_BYTES:
        raise RemoteProtocolError(f"a public key is {KEY_BYTES} bytes, got {len(key)}")
    try:
        return bindings.crypto_sign_ed25519_pk_to_curve25519(bytes(key))
    except LibraryError as exc:
        raise RemoteProtocolError(
            "no identity has this public key: it is no point of the curve's main subgroup"
        ) from exc


def check_key(key: PublicKey) -> None:
    """Check that some identity may have this public key; 0.1 ms.

    Raises:
        RemoteProtocolError: Not 32 bytes, or no point of the prime-order subgroup (docs/spec/crypto.md section 3).
    """
    _box_key(key)


def seal_box(key: PublicKey, message: bytes, seed: bytes) -> bytes:
    """Seal ``message`` so that only the identity with this public key opens it; 48 bytes longer.

    Args:
        key: Of the identity that is to open it.
        message: Any bytes.
        seed: 32 random bytes, never used for anything else: the box's own key pair is made of them.

    Raises:
        LocalProtocolError: A seed of another length.
        RemoteProtocolError: As ``check_key``.
    """
    if len(seed) != SEED_BYTES:
        raise LocalProtocolError(f"a seed is {SEED_BYTES} bytes, got {len(seed)}")
    recipient = _box_key(key)
    public, secret = bindings.crypto_box_seed_keypair(seed)
    nonce = blake2b(public + recipient, digest_size=bindings.crypto_box_NONCEBYTES).digest()
    return public + bindings.crypto_box(message, nonce, recipient, secret)


def verify(key: PublicKey, label: str, message: bytes, signature: bytes) -> None:
    """Check a signature.

    Raises:
        SignatureError: It was not made by ``key`` over this label and message.
    """
    if len(key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:  # the binding reads past a short key
        raise SignatureError(f"bad {label} signature: key or signature of a wrong length")
    try:
        bindings.crypto_sign_open(signature + _message(label, message), key)
    except BadSignatureError as exc:
        raise SignatureError(f"bad {label} signature") from exc


def split_body(data: bytes) -> tuple[bytes, bytes]:
    """Split a signed body into (signature, body) without checking it.

    Raises:
        RemoteProtocolError: Too short to hold a signature.
    """
    if len(data) <= SIGNATURE_BYTES:
        raise RemoteProtocolError(f"a signed body is longer than {SIGNATURE_BYTES} bytes, got {len(data)}")
    return bytes(data[:SIGNATURE_BYTES]), bytes(data[SIGNATURE_BYTES:])


class Network:
    """The parameters every node of one network shares."""

    __slots__ = ("difficulty", "id", "name")

    def __init__(self, name: str, difficulty: int = 0) -> None:
        """Args:
            name: The network's name, 1 to 64 UTF-8 bytes.
            difficulty: Zero bits that BLAKE3(node id) must start with, 0 to 32.

        Raises:
            LocalProtocolError: One of them is out of its range.
        """
        if not 1 <= len(name.encode()) <= MAX_NAME_BYTES or not 0 <= difficulty <= MAX_DIFFICULTY:
            raise LocalProtocolError(f"no network can have the name {name!r} and difficulty {difficulty}")
        self.name = name
        self.difficulty = difficulty
        self.id = NetworkId(digest("network", bytes([difficulty]), name.encode()))

    def admits(self, identifier: NodeId) -> bool:
        """Whether a node id meets the difficulty. Its hash is tested: else ids would cluster."""
        if not self.difficulty:  # nothing to hash for; a lookup asks about every contact it is told of
            return True
        return int.from_bytes(plain_digest(identifier)[:4], "big") >> (32 - self.difficulty) == 0

    def __repr__(self) -> str:
        return f"Network({self.name!r}, difficulty={self.difficulty})"


__all__ = [
    "BOX_BYTES",
    "KEY_BYTES",
    "SEED_BYTES",
    "SIGNATURE_BYTES",
    "Identity",
    "Network",
    "check_key",
    "seal_box",
    "split_body",
    "verify",
]
