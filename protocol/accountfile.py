"""The account file: an account's secret sealed under a passphrase (docs/spec/account.md section 5).

A file that rotted is told from a wrong passphrase by its last 32 bytes, which need no passphrase. They protect against
nobody: whoever writes a file writes them as well.
"""

import unicodedata
from dataclasses import dataclass
from typing import Annotated, Self

from nacl import bindings
from nacl.exceptions import CryptoError

from protocol.account import SECRET_BYTES, AccountKeys, Secret
from protocol.codec import Raw, Uint, decode, encode
from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError
from protocol.hashing import DIGEST_BYTES, digest
from protocol.ids import PublicKey

FIRST_LINE = b"archipel account 1\n"
MAX_FILE_BYTES = 512
"""A whole account file has at most 186."""
SALT_BYTES = 16
NONCE_BYTES = 24
MAX_PASSPHRASE_BYTES = 1024
MAX_PASSES = 8
MIN_MEMORY_BYTES = 8 * 1024
MAX_MEMORY_BYTES = 1 << 30

_KEY_BYTES = 32
_TAG_BYTES = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """What turning a passphrase into a key takes: the price of every guess."""

    passes: int
    """Over the memory, 1 to 8: Argon2's t."""
    memory_bytes: int
    """8 KiB to 1 GiB: Argon2's m, there in KiB."""


MODERATE = Cost(3, 256 * 1024 * 1024)
"""Libsodium's: about half a second on one core."""


class WrongPassphraseError(IntegrityError):
    """The account file is whole, and this passphrase does not open it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFile:
    """What an account file holds. Nothing of it is secret while the passphrase is."""

    key: Annotated[bytes, Raw(_KEY_BYTES)]
    """The account key."""
    salt: Annotated[bytes, Raw(SALT_BYTES)]
    passes: Annotated[int, Uint(MAX_PASSES, 1)]
    memory_bytes: Annotated[int, Uint(MAX_MEMORY_BYTES, MIN_MEMORY_BYTES)]
    nonce: Annotated[bytes, Raw(NONCE_BYTES)]
    sealed: Annotated[bytes, Raw(SECRET_BYTES + _TAG_BYTES)]

    @classmethod
    def seal(cls, keys: AccountKeys, passphrase: str, *, salt: bytes, nonce: bytes, cost: Cost = MODERATE) -> Self:
        """Seal an account's secret. Takes the time and memory of ``cost``.

        Args:
            keys: The account's.
            passphrase: 1 to 1024 UTF-8 bytes once normalised (NFC).
            salt: 16 random bytes.
            nonce: 24 random bytes.
            cost: How dear a guess is.

        Raises:
            LocalProtocolError: The passphrase or the cost is out of its range.
            MemoryError: There is not so much memory.
        """
        key = keys.identity.key
        wrapping = _key(passphrase, salt, cost)
        sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(bytes(keys.secret), bytes(key), nonce, wrapping)
        return cls(
            key=bytes(key), salt=salt, passes=cost.passes, memory_bytes=cost.memory_bytes, nonce=nonce, sealed=sealed
        )

    def open(self, passphrase: str) -> AccountKeys:
        """The account's keys. Takes the time and memory that the file says, within the bounds of its fields.

        Raises:
            WrongPassphraseError: It does not open the file.
            IntegrityError: It opens it, but what is inside is not the secret of the key that the file names.
            LocalProtocolError: The passphrase is out of its range.
            MemoryError: There is not so much memory.
        """
        wrapping = _key(passphrase, self.salt, Cost(self.passes, self.memory_bytes))
        try:
            secret = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(self.sealed, self.key, self.nonce, wrapping)
        except CryptoError as exc:
            raise WrongPassphraseError("wrong passphrase") from exc
        keys = AccountKeys(Secret(secret))
        if keys.identity.key != self.key:
            raise IntegrityError("the account file holds the secret of another key than it names")
        return keys

    def encode(self) -> bytes:
        """The whole file. Raises LocalProtocolError if a field is out of its range."""
        content = FIRST_LINE + encode(self)
        return content + digest("file", content)

    @property
    def public_key(self) -> PublicKey:
        return PublicKey(self.key)


def read_account_file(data: bytes) -> AccountFile:
    """Read a whole account file; nothing of it is opened.

    Raises:
        RemoteProtocolError: Damaged, no account file, or of a version not known here.
    """
    if len(data) > MAX_FILE_BYTES:
        raise RemoteProtocolError(f"an account file has at most {MAX_FILE_BYTES} bytes")
    content, end = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if digest("file", content) != end:
        raise RemoteProtocolError("its last 32 bytes are not the hash of the others")
    if not content.startswith(FIRST_LINE):
        raise RemoteProtocolError("it does not begin as an account file of version 1 does")
    return decode(AccountFile, content[len(FIRST_LINE) :])


def passphrase_problem(passphrase: str) -> str | None:
    """Why this can be nobody's passphrase; None if it can."""
    try:
        size = len(_passphrase_bytes(passphrase))
    except UnicodeEncodeError:
        return "a passphrase is UTF-8"
    if not 1 <= size <= MAX_PASSPHRASE_BYTES:
        return f"a passphrase is 1 to {MAX_PASSPHRASE_BYTES} bytes, got {size}"
    return None


def _passphrase_bytes(passphrase: str) -> bytes:
    """One keyboard gives an accented letter as one character, another as two."""
    return unicodedata.normalize("NFC", passphrase).encode()


def _key(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    problem = passphrase_problem(passphrase)
    if problem is not None:
        raise LocalProtocolError(problem)
    if not (1 <= cost.passes <= MAX_PASSES and MIN_MEMORY_BYTES <= cost.memory_bytes <= MAX_MEMORY_BYTES):
        raise LocalProtocolError(f"no passphrase may cost {cost.passes} passes over {cost.memory_bytes} bytes")
    algorithm = bindings.crypto_pwhash_ALG_ARGON2ID13
    try:
        return bindings.crypto_pwhash_alg(
            _KEY_BYTES, _passphrase_bytes(passphrase), salt, cost.passes, cost.memory_bytes, algorithm
        )
    except CryptoError as exc:  # all arguments are in their ranges: what is left is memory
        raise MemoryError(f"{cost.memory_bytes} bytes of memory are needed for a passphrase") from exc
