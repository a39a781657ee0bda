"""Bytes as one word that a double click selects; a checksum catches typos (docs/spec/storage.md section 8)."""

import base64
import binascii

from protocol.hashing import digest

_CHECKSUM_BYTES = 4


def word_of(label: str, payload: bytes) -> str:
    """``payload`` and its checksum in base32, lower case, without padding.

    Args:
        label: What the word is for (docs/spec/crypto.md section 2): a word of one kind is none of another.
        payload: Any bytes.
    """
    return _word(payload + _checksum(label, payload))


def payload_of(label: str, scheme: str, text: str) -> bytes:
    """The payload of a word in either case, alone or after ``scheme``.

    Raises:
        ValueError: It is none. The message says why, and never repeats it.
    """
    word = text[len(scheme) :] if text[: len(scheme)].lower() == scheme else text
    try:
        data = base64.b32decode(word.upper() + "=" * (-len(word) % 8))
    except (binascii.Error, ValueError) as exc:  # ValueError: not ASCII
        raise ValueError("is mistyped or cut short: it holds other than a to z and 2 to 7") from exc
    if _word(data) != word.lower():
        raise ValueError("has a mistyped character at its end")
    payload = data[:-_CHECKSUM_BYTES]
    if _checksum(label, payload) != data[-_CHECKSUM_BYTES:]:
        raise ValueError("is mistyped or cut short: its checksum does not match")
    return payload


def _word(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def _checksum(label: str, payload: bytes) -> bytes:
    return digest(label, payload)[:_CHECKSUM_BYTES]
