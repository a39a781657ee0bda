"""Labelled hashes against the BLAKE3 reference vectors and against each other."""

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from protocol.hashing import digest, plain_digest


def test_plain_digest_is_blake3() -> None:
    # BLAKE3's test_vectors.json, input_len 0 and 1 (the byte 00), "hash"
    assert plain_digest(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert plain_digest(b"\0").hex() == "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"


def test_digest_is_blake3_derive_key_with_the_label_in_its_context() -> None:
    expected = blake3(b"abc", derive_key_context="archipel 1 block").digest()
    assert digest("block", b"abc") == expected
    assert digest("block", b"a", bytearray(b"b"), memoryview(b"c")) == expected


@given(st.binary(max_size=100))
def test_labels_keep_hashes_apart(data: bytes) -> None:
    hashes = {digest("block", data), digest("chunk", data), digest("", data), plain_digest(data)}
    assert len(hashes) == 4
    assert all(len(value) == 32 for value in hashes)
