"""Sealing and opening (docs/spec/crypto.md sections 4 and 5)."""

from random import Random

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import seal
from protocol.errors import IntegrityError, LocalProtocolError, NotEnoughChunksError
from protocol.hashing import plain_digest
from protocol.seal import BlockCipher, SealedSegment, open_parts, open_segment, seal_parts, seal_segment
from protocol.segment import (
    BLOCK_BYTES,
    SEALED_BLOCK_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    Shares,
    check_block,
    check_hashes,
)

SECRET = bytes(range(32))
KEY = bytes(range(1, 33))

SMALL = [1, 100, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES, 5 * BLOCK_BYTES - 7]


def content(length: int) -> bytes:
    return Random(length).randbytes(length)


def labelled(label: str, *parts: bytes) -> bytes:
    """The labelled hash, as the specification writes it."""
    return blake3(b"".join(parts), derive_key_context=f"archipel 1 {label}").digest()


def chunks(sealed: SealedSegment) -> dict[int, memoryview]:
    return dict(enumerate(sealed.columns))


def test_keys_are_derived_as_specified() -> None:
    digest = plain_digest(b"hello")
    key = seal.segment_key(SECRET, digest, 5)
    assert key == labelled("segment key", SECRET, b"\1", bytes(7), b"\5", blake3(b"hello").digest())
    assert seal.plaintext_key(SECRET, b"hello") == key
    assert seal.commitment(key) == labelled("commit", key)
    fresh = seal.fresh_secret(SECRET, bytes(16))
    assert fresh == labelled("fresh", SECRET, bytes(16))
    assert seal.segment_key(fresh, digest, 5) != key
    root = labelled("root plaintext", bytes(7), b"\1", b"i", b"part")
    read = seal.read_key(SECRET, b"i", b"part")
    assert read == labelled("read", SECRET, root) != seal.read_key(SECRET, b"ip", b"art")
    verify = seal.verify_key(read)
    assert verify == labelled("verify", read)
    assert seal.root_key(verify) == labelled("root key", verify)
    assert seal.manifest_key(read) == labelled("manifest key", read)


@pytest.mark.parametrize("length", SMALL)
def test_a_segment_is_sealed_as_specified(length: int) -> None:
    plaintext = content(length)
    sealed = seal_segment(plaintext, KEY, Shares(3, 5))
    layout = sealed.descriptor.layout
    blocks = [plaintext[start : start + BLOCK_BYTES] for start in range(0, length, BLOCK_BYTES)]
    expected = b"".join(
        AESGCM(KEY).encrypt(number.to_bytes(12, "big"), block, bytes([1, number == len(blocks) - 1]))
        for number, block in enumerate(blocks)
    )
    assert b"".join(sealed.columns[: layout.k]) == expected
    assert [len(column) for column in sealed.columns] == list(map(layout.column_bytes, range(layout.n)))
    assert sealed.descriptor.commitment == labelled("commit", KEY)
    assert sealed.id == labelled("segment", sealed.descriptor.encode())


@pytest.mark.parametrize("shares", ["8/12", "3/5", "1/3", "1/1", "2/2", "16/32"])
@pytest.mark.parametrize("length", SMALL)
def test_every_block_of_every_chunk_matches_its_hash(length: int, shares: str) -> None:
    sealed = seal_segment(content(length), KEY, Shares.parse(shares))
    layout = sealed.descriptor.layout
    for index, column in enumerate(sealed.columns):
        hashes = check_hashes(sealed.descriptor, index, sealed.hashes[index])
        for row, expected in enumerate(hashes):
            start = row * SEALED_BLOCK_BYTES
            check_block(expected, column[start : start + layout.block_bytes(index, row)])


def test_sealing_again_gives_the_same_segment() -> None:
    plaintext = content(400_000)
    once, twice = (seal_segment(buffer, KEY, Shares()) for buffer in (plaintext, memoryview(plaintext)))
    assert once.descriptor == twice.descriptor
    assert once.columns == twice.columns


def test_columns_are_read_only_views_of_one_buffer() -> None:
    sealed = seal_segment(content(5 * BLOCK_BYTES), KEY, Shares(3, 5))
    assert all(column.readonly for column in sealed.columns)
    assert sealed.columns[0].obj is sealed.columns[1].obj is sealed.columns[2].obj
    copies = seal_segment(content(100), KEY, Shares(1, 3))
    assert len({id(column.obj) for column in copies.columns}) == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_k_chunks_open_a_segment(data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 5))
    shares = Shares(k, data.draw(st.integers(k, 8)))
    plaintext = content(data.draw(st.sampled_from(SMALL)))
    sealed = seal_segment(plaintext, KEY, shares)
    layout = sealed.descriptor.layout
    kept = data.draw(st.sets(st.integers(0, layout.n - 1), min_size=layout.k))
    columns = {index: bytes(sealed.columns[index]) for index in kept}
    assert open_segment(sealed.descriptor, KEY, columns) == plaintext


def test_a_full_segment_opens_without_any_data_column_it_can_spare() -> None:
    plaintext = content(SEGMENT_BYTES)
    sealed = seal_segment(plaintext, KEY, Shares())
    assert open_segment(sealed.descriptor, KEY, chunks(sealed)) == plaintext
    late = {index: column for index, column in chunks(sealed).items() if index >= 4}
    assert open_segment(sealed.descriptor, KEY, late) == plaintext


def test_too_few_chunks_open_nothing() -> None:
    sealed = seal_segment(content(5 * BLOCK_BYTES), KEY, Shares(3, 5))
    with pytest.raises(NotEnoughChunksError, match="have 2 of 3 chunks"):
        open_segment(sealed.descriptor, KEY, {index: sealed.columns[index] for index in (0, 4)})


def test_another_key_opens_nothing_even_where_its_blocks_would_open() -> None:
    sealed = seal_segment(content(100), KEY, Shares())
    with pytest.raises(IntegrityError, match="the key is not that of the segment"):
        open_segment(sealed.descriptor, SECRET, chunks(sealed))


@pytest.mark.parametrize("index", [0, 4])
def test_a_chunk_that_holds_garbage_does_not_open(index: int) -> None:
    sealed = seal_segment(content(5 * BLOCK_BYTES), KEY, Shares(3, 5))
    kept = {number: sealed.columns[number] for number in ({0, 1, 2} if index == 0 else {1, 2, 4})}
    kept[index] = memoryview(bytes(len(kept[index])))
    with pytest.raises(IntegrityError, match="block 0 does not open"):
        open_segment(sealed.descriptor, KEY, kept)


def test_chunks_of_another_shape_are_our_own_mistake() -> None:
    sealed = seal_segment(content(100), KEY, Shares())
    column = sealed.columns[0]
    for wrong in ({-1: column}, {5: column}, {0: column[:-1]}):
        with pytest.raises(LocalProtocolError):
            open_segment(sealed.descriptor, KEY, wrong)


def test_a_row_is_rebuilt_from_what_it_has() -> None:
    """5 blocks in 3 columns: the last row has blocks in two columns, so any two are enough."""
    plaintext = content(5 * BLOCK_BYTES - 7)
    sealed = seal_segment(plaintext, KEY, Shares(3, 5))
    layout = sealed.descriptor.layout
    cells = {index: column[SEALED_BLOCK_BYTES:] for index, column in chunks(sealed).items()}
    whole = {0: cells[0], 1: cells[1]}
    assert layout.column_blocks(2) == 1
    assert seal.rebuild_row(layout, whole, 1) == whole
    rebuilt = seal.rebuild_row(layout, {3: cells[3], 4: cells[4]}, 1)
    assert {index: bytes(cell) for index, cell in rebuilt.items()} == whole
    with pytest.raises(NotEnoughChunksError):
        seal.rebuild_row(layout, {3: cells[3]}, 1)
    out = bytearray(layout.length)
    seal.open_row_into(layout, BlockCipher(KEY), {1: cells[1], 4: cells[4]}, 1, memoryview(out))
    assert out[BLOCK_BYTES : 2 * BLOCK_BYTES] == plaintext[BLOCK_BYTES : 2 * BLOCK_BYTES]
    assert out[3 * BLOCK_BYTES : 4 * BLOCK_BYTES] == plaintext[3 * BLOCK_BYTES : 4 * BLOCK_BYTES]


def test_the_short_tail_block_is_rebuilt_at_its_true_length() -> None:
    sealed = seal_segment(content(2 * BLOCK_BYTES + 1), KEY, Shares(3, 5))
    cells = chunks(sealed)
    rebuilt = seal.rebuild_row(sealed.descriptor.layout, {0: cells[0], 3: cells[3], 4: cells[4]}, 0)
    assert bytes(rebuilt[2]) == cells[2]
    assert len(rebuilt[2]) == 1 + TAG_BYTES


@given(st.binary(max_size=300), st.integers(0, 127), st.booleans())
def test_a_block_opens_as_what_it_was_sealed_as(plaintext: bytes, block: int, last: bool) -> None:
    cipher = BlockCipher(KEY)
    out = bytearray(len(plaintext) + TAG_BYTES)
    cipher.seal_into(block, last, plaintext, out)
    assert cipher.seal(block, last, plaintext) == out
    assert cipher.open(block, last, out) == plaintext
    for other_block, other_last in ((block + 1, last), (block, not last)):
        with pytest.raises(IntegrityError):
            cipher.open(other_block, other_last, out)
        with pytest.raises(IntegrityError):
            cipher.open_into(other_block, other_last, out, bytearray(len(plaintext)))


def test_less_than_a_tag_does_not_open() -> None:
    for sealed in (b"", bytes(15)):
        with pytest.raises(IntegrityError):
            BlockCipher(KEY).open(0, True, sealed)
        with pytest.raises(IntegrityError):
            BlockCipher(KEY).open_into(0, True, sealed, bytearray())


def test_nothing_secret_has_a_text_form() -> None:
    sealed = seal_segment(b"plaintext", KEY, Shares())
    for shown in (repr(BlockCipher(KEY)), repr(sealed)):
        assert KEY.hex() not in shown
        assert repr(KEY)[2:-1] not in shown


@pytest.mark.parametrize("length", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES + 5])
def test_parts_are_sealed_block_by_block(length: int) -> None:
    plaintext = content(length)
    sealed = seal_parts(KEY, plaintext)
    assert open_parts(KEY, sealed) == plaintext
    assert len(sealed) == length + TAG_BYTES * max(1, -(-length // BLOCK_BYTES))
    with pytest.raises(IntegrityError):
        open_parts(KEY, sealed[:-1])
    with pytest.raises(IntegrityError):
        open_parts(SECRET, sealed)


def test_parts_cannot_be_left_out_or_moved() -> None:
    sealed = seal_parts(KEY, content(3 * BLOCK_BYTES))
    first, second, third = (sealed[start:][:SEALED_BLOCK_BYTES] for start in range(0, len(sealed), SEALED_BLOCK_BYTES))
    for wrong in (b"", first, first + second, second + third, second + first + third, sealed + first):
        with pytest.raises(IntegrityError):
            open_parts(KEY, wrong)
