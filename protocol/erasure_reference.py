"""The erasure code in plain Python (docs/spec/storage.md section 3).

It says what the code is, byte for byte, and serves platforms without the PyECLib wheel, much more slowly.
Multiplying by a constant is one ``bytes.translate``; adding is exclusive or.
"""

from collections.abc import Mapping, Sequence
from functools import cache

from protocol.hashing import Bytes

POLYNOMIAL = 0x11D  # x^8 + x^4 + x^3 + x^2 + 1, ISA-L's

Matrix = list[list[int]]


def multiply(a: int, b: int) -> int:
    """The product of two elements of GF(2^8)."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= POLYNOMIAL
        b >>= 1
    return product


@cache
def _table(factor: int) -> bytes:
    return bytes(multiply(factor, value) for value in range(256))


@cache
def inverse(a: int) -> int:
    """The element that gives 1 when multiplied by ``a`` (1 to 255)."""
    return _table(a).index(1)


def generator(k: int, n: int) -> Matrix:
    """The n x k matrix of the code: the identity over a Cauchy matrix."""
    identity = [[int(i == j) for j in range(k)] for i in range(k)]
    return identity + [[inverse(i ^ j) for j in range(k)] for i in range(k, n)]


def invert(matrix: Matrix) -> Matrix:
    """The inverse of a square matrix that has one, by Gauss-Jordan elimination."""
    size = len(matrix)
    rows = [row + [int(i == j) for j in range(size)] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = _table(inverse(rows[column][column]))
        rows[column] = [scale[value] for value in rows[column]]
        for i in range(size):
            if i != column and rows[i][column]:
                table = _table(rows[i][column])
                rows[i] = [value ^ table[unit] for value, unit in zip(rows[i], rows[column], strict=True)]
    return [row[size:] for row in rows]


def combine(factors: Sequence[int], cells: Sequence[Bytes]) -> bytes:
    """The sum of ``cells``, each multiplied by its factor."""
    total = 0
    for factor, cell in zip(factors, cells, strict=True):
        total ^= int.from_bytes(bytes(cell).translate(_table(factor)), "big")
    return total.to_bytes(len(cells[0]), "big")


class ReferenceRows:
    """Codes rows of ``k`` data cells with ``n - k`` parity cells."""

    def __init__(self, k: int, n: int) -> None:
        self._k = k
        self._generator = generator(k, n)

    def encode(self, cells: Sequence[Bytes]) -> list[bytes]:
        """The parity cells of ``k`` data cells of one length."""
        return [combine(row, cells) for row in self._generator[self._k :]]

    def rebuild(self, cells: Mapping[int, Bytes], want: Sequence[int]) -> list[bytes]:
        """The cells ``want`` of a row, out of exactly ``k`` cells of one length."""
        decoder = invert([self._generator[index] for index in cells])
        sources = list(cells.values())
        rebuilt = []
        for index in want:
            factors = [0] * self._k
            for unit, row in zip(self._generator[index], decoder, strict=True):
                factors = [sum_ ^ multiply(unit, value) for sum_, value in zip(factors, row, strict=True)]
            rebuilt.append(combine(factors, sources))
        return rebuilt
