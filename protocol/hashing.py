"""BLAKE3-256 with domain separation (docs/spec/crypto.md section 2).

Every hash and every derived key names what it is for. BLAKE3's ``derive_key`` mode takes that name as its context,
so that a hash of one kind can never be presented as a hash of another.
"""

from blake3 import blake3

DIGEST_BYTES = 32

_CONTEXT = "archipel 1 "  # format version 1 of everything below

Bytes = bytes | bytearray | memoryview


def digest(label: str, *parts: Bytes) -> bytes:
    """Hash ``parts``, concatenated, for the purpose ``label``.

    Only the last part may vary in length: whoever adds a label keeps every earlier part of fixed size, so that
    two different lists of parts never hash the same bytes.

    Args:
        label: One of the labels of docs/spec/crypto.md section 2.
        parts: Bytes, read without copying.

    Returns:
        32 bytes. With a secret among the parts it is a derived key, else a hash.
    """
    hasher = blake3(derive_key_context=_CONTEXT + label)
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def plain_digest(data: Bytes) -> bytes:
    """BLAKE3-256 of ``data`` without a label: node ids, and the content hash that goes into a segment key."""
    return blake3(data).digest()
