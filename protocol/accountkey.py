"""The public key of an account as a person gives it away, so that links can be sealed to it.

docs/spec/storage.md section 8.
"""

from protocol.errors import AccountKeyError, RemoteProtocolError
from protocol.identity import check_key
from protocol.ids import PublicKey
from protocol.words import payload_of, word_of

SCHEME = "archipel-key:"
VERSION = 1
MAX_TEXT = 256  # 73 characters, and white space

_LABEL = "account key"


def format_account_key(key: PublicKey) -> str:
    """The word for an account's public key, 32 bytes. It is no secret."""
    return SCHEME + word_of(_LABEL, bytes([VERSION]) + key)


def parse_account_key(text: str) -> PublicKey:
    """Read an account key as a person typed or pasted it: alone, or after ``archipel-key:``.

    Raises:
        AccountKeyError: Mistyped, cut short, of a version not known here, or of no account there can be.
    """
    if len(text) > MAX_TEXT:
        raise AccountKeyError(f"an account key has at most {MAX_TEXT} characters, got {len(text)}")
    try:
        payload = payload_of(_LABEL, SCHEME, text.strip())
    except ValueError as exc:
        raise AccountKeyError(f"the account key {exc}") from exc
    if not payload:
        raise AccountKeyError("the account key is empty")
    if payload[0] != VERSION:
        raise AccountKeyError(f"the account key is of version {payload[0]}: a newer archipel may know it")
    key = PublicKey(payload[1:])
    try:
        check_key(key)
    except RemoteProtocolError as exc:
        raise AccountKeyError(f"the account key is none: {exc}") from exc
    return key
