"""The code agrees with the reference coder byte for byte, and gives back what was lost."""

import runpy
import sys
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import erasure
from protocol.erasure import STRIP_BYTES, Coder, PyECLibRows, coder
from protocol.erasure_reference import ReferenceRows, generator, inverse, invert, multiply
from protocol.errors import LocalProtocolError, NotEnoughChunksError
from protocol.segment import SEALED_BLOCK_BYTES

CODES = [(k, n) for k in range(2, 17) for n in range(k + 1, 33)]


def make_row(code: Coder, length: int, seed: int = 0) -> dict[int, bytes]:
    """A whole row, parity included."""
    random = Random(seed)
    cells = [random.randbytes(length) for _ in range(code.k)]
    return dict(enumerate([*cells, *map(bytes, code.encode_row(cells))]))


def test_the_field_is_a_field() -> None:
    assert multiply(0x80, 2) == 0x1D
    assert all(multiply(a, inverse(a)) == 1 for a in range(1, 256))
    assert all(multiply(a, 1) == a == multiply(1, a) for a in range(256))


def test_the_matrix_is_the_identity_over_a_cauchy_matrix() -> None:
    matrix = generator(3, 5)
    assert matrix[:3] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert matrix[3:] == [[inverse(i ^ j) for j in range(3)] for i in (3, 4)]


def test_a_matrix_is_inverted_where_the_diagonal_is_zero() -> None:
    swap = [[0, 1], [1, 0]]
    assert invert(swap) == swap


def test_isa_l_and_the_reference_agree_for_every_code() -> None:
    assert isinstance(erasure.best_rows(8, 12), PyECLibRows)
    for k, n in CODES:
        random = Random(k * 100 + n)
        cells = [random.randbytes(random.choice((1, 15, 16, 17, 64))) for _ in range(k)]
        cells = [cell.ljust(64, b"\1") for cell in cells]
        parity = PyECLibRows(k, n).encode(cells)
        assert [bytes(cell) for cell in parity] == ReferenceRows(k, n).encode(cells), (k, n)


def test_isa_l_and_the_reference_rebuild_alike_for_every_code() -> None:
    for k, n in CODES:
        random = Random(k * 100 + n)
        row = make_row(coder(k, n), 17, seed=n)
        kept = sorted(random.sample(range(n), k))
        lost = [index for index in range(n) if index not in kept]
        cells = {index: row[index] for index in kept}
        expected = [row[index] for index in lost]
        assert [bytes(cell) for cell in PyECLibRows(k, n).rebuild(cells, lost)] == expected, (k, n, kept)
        assert ReferenceRows(k, n).rebuild(cells, lost) == expected, (k, n, kept)


@given(st.data())
def test_any_k_cells_give_the_rest(data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 16))
    n = data.draw(st.integers(k, 32))
    row = make_row(coder(k, n), data.draw(st.integers(1, 100)), seed=k)
    kept = data.draw(st.sets(st.integers(0, n - 1), min_size=k))
    want = data.draw(st.lists(st.integers(0, n - 1), unique=True))
    rebuilt = coder(k, n).decode_row({index: row[index] for index in kept}, want)
    assert {index: bytes(cell) for index, cell in rebuilt.items()} == {index: row[index] for index in want}


@pytest.mark.parametrize(
    "length", [1, STRIP_BYTES - 1, STRIP_BYTES, STRIP_BYTES + 1, 2 * STRIP_BYTES + 7, SEALED_BLOCK_BYTES]
)
def test_a_row_is_coded_in_strips(length: int) -> None:
    code = coder(3, 5)
    row = make_row(code, length)
    cells = [row[index] for index in range(3)]
    assert [row[3], row[4]] == ReferenceRows(3, 5).encode(cells)
    assert bytes(code.decode_row({0: row[0], 3: row[3], 4: row[4]}, [2])[2]) == row[2]


def test_any_range_of_a_row_is_rebuilt_from_the_same_range() -> None:
    row = make_row(coder(8, 12), 1000)
    cut = {index: memoryview(cell)[300:411] for index, cell in row.items() if index >= 4}
    assert bytes(coder(8, 12).decode_row(cut, [0])[0]) == row[0][300:411]


def test_one_data_column_is_copied() -> None:
    code = coder(1, 3)
    assert code.encode_row([b"cell"]) == [b"cell", b"cell"]
    assert code.decode_row({2: b"cell"}, [0, 1, 2]) == dict.fromkeys(range(3), b"cell")


def test_without_parity_nothing_is_coded() -> None:
    code = coder(2, 2)
    assert code.encode_row([b"ab", b"cd"]) == []
    assert code.decode_row({0: b"ab", 1: b"cd"}, [1]) == {1: b"cd"}
    with pytest.raises(NotEnoughChunksError, match="have 1 of 2 chunks"):
        code.decode_row({0: b"ab"}, [1])


def test_fewer_than_k_cells_are_not_enough() -> None:
    row = make_row(coder(3, 5), 10)
    with pytest.raises(NotEnoughChunksError) as caught:
        coder(3, 5).decode_row({4: row[4], 0: row[0]}, [0, 1])
    assert (caught.value.have, caught.value.need) == (2, 3)
    assert coder(3, 5).decode_row({4: row[4]}, [4]) == {4: row[4]}


@pytest.mark.parametrize("cells", [[b"a"], [b"a", b"b", b"c"], [b"a", b"bc"], [b"", b""]])
def test_cells_that_are_no_row_are_not_coded(cells: list[bytes]) -> None:
    with pytest.raises(LocalProtocolError, match="a row has 2 cells of one length"):
        coder(2, 3).encode_row(cells)


def test_cells_that_are_no_row_are_not_decoded() -> None:
    with pytest.raises(LocalProtocolError, match="a row has 2 cells of one length"):
        coder(2, 3).decode_row({0: b"a", 2: b"bc"}, [1])
    for cells, want in (({0: b"a", 3: b"b"}, [1]), ({0: b"a", 1: b"b"}, [3]), ({-1: b"a", 1: b"b"}, [0])):
        with pytest.raises(LocalProtocolError, match="a row has columns 0 to 2"):
            coder(2, 3).decode_row(cells, want)


@pytest.mark.parametrize("library", [None, SimpleNamespace(VALID_EC_TYPES=["liberasurecode_rs_vand"])])
def test_the_reference_coder_serves_where_isa_l_is_missing(library: object, monkeypatch: pytest.MonkeyPatch) -> None:
    row = make_row(coder(3, 5), 33)
    monkeypatch.setattr(erasure, "pyeclib", library)
    slow = Coder(3, 5)
    assert make_row(slow, 33) == row
    assert slow.decode_row({index: row[index] for index in (1, 3, 4)}, [0, 2]) == {0: row[0], 2: row[2]}


def test_the_library_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyeclib", None)
    assert runpy.run_path(str(erasure.__file__))["pyeclib"] is None
