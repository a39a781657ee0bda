"""Bytes as a word one can double-click, and back: base32 (RFC 4648) in lower case, without padding."""

import base64
import binascii

from protocol.errors import LinkError


def to_word(data: bytes) -> str:
    """``data`` as a to z and 2 to 7."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def from_word(word: str, what: str) -> bytes:
    """The bytes of a word, in whichever case it was typed. The caller has bounded its length.

    Args:
        word: What :func:`to_word` made.
        what: How an error calls it, such as ``link``.

    Raises:
        LinkError: It is no such word, or not the one its bytes have. The message never repeats it.
    """
    try:
        data = base64.b32decode(word.upper() + "=" * (-len(word) % 8))
    except (binascii.Error, ValueError) as exc:  # ValueError: not ASCII
        raise LinkError(f"the {what} is mistyped or cut short: it holds other than a to z and 2 to 7") from exc
    if to_word(data) != word.lower():
        raise LinkError(f"a character at the end of the {what} is mistyped")
    return data
