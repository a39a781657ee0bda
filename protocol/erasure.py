"""Rows of a segment <-> parity (docs/spec/storage.md section 3). The only file that imports PyECLib.

PyECLib does not notice a flipped bit: whoever calls the decoder has checked every block against its hash.

PyECLib puts an 80-byte header before each cell, which names the library's version. It depends on k, n, the
index and the length alone, so it is taken once from a row of zeros, put before the cells to decode, and never
leaves this file.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Protocol

from protocol.erasure_reference import ReferenceRows
from protocol.errors import LocalProtocolError, NotEnoughChunksError
from protocol.hashing import Bytes

pyeclib: Any
try:
    from pyeclib import ec_iface as pyeclib
except ImportError:  # no wheel for this platform: the reference coder does the same work, slowly
    pyeclib = None

_BACKEND = "isa_l_rs_cauchy"
_HEADER_BYTES = 80

STRIP_BYTES = 43_696
"""A third of a sealed block. With whole blocks the C library asks the system for fresh pages on every call
and encodes at 0.5 GB/s, with thirds at 5.7 GB/s (docs/benchmarks.md)."""


class Rows(Protocol):
    """What codes the rows of one (k, n), 2 <= k < n. Cells are of one length; the caller has checked them."""

    def encode(self, cells: Sequence[Bytes]) -> Sequence[Bytes]:
        """The n - k parity cells of k data cells."""

    def rebuild(self, cells: Mapping[int, Bytes], want: Sequence[int]) -> Sequence[Bytes]:
        """The cells ``want``, none of them given, out of exactly k cells."""


class PyECLibRows:
    """ISA-L through PyECLib."""

    def __init__(self, k: int, n: int) -> None:
        self._k = k
        self._driver = pyeclib.ECDriver(k=k, m=n - k, ec_type=_BACKEND)
        self._headers = lru_cache(maxsize=8)(self._make_headers)

    def _make_headers(self, length: int) -> tuple[bytes, ...]:
        return tuple(fragment[:_HEADER_BYTES] for fragment in self._driver.encode(bytes(self._k * length)))

    def encode(self, cells: Sequence[Bytes]) -> Sequence[Bytes]:
        fragments: list[bytes] = self._driver.encode(b"".join(cells))
        return [memoryview(fragment)[_HEADER_BYTES:] for fragment in fragments[self._k :]]

    def rebuild(self, cells: Mapping[int, Bytes], want: Sequence[int]) -> Sequence[Bytes]:
        headers = self._headers(len(next(iter(cells.values()))))
        fragments = [b"".join((headers[index], cell)) for index, cell in cells.items()]
        rebuilt = [self._driver.reconstruct(fragments, [index])[0] for index in want]
        return [memoryview(fragment)[_HEADER_BYTES:] for fragment in rebuilt]


def best_rows(k: int, n: int) -> Rows:
    """ISA-L where it is installed, else the reference coder."""
    installed = pyeclib is not None and _BACKEND in pyeclib.VALID_EC_TYPES
    return PyECLibRows(k, n) if installed else ReferenceRows(k, n)


class Coder:
    """Codes rows: ``k`` data cells and ``n - k`` parity cells, any ``k`` of which give the rest.

    Make it with ``coder``. It keeps no state between calls, so threads may share it.
    """

    def __init__(self, k: int, n: int) -> None:
        self.k = k
        self.n = n
        self._rows = best_rows(k, n) if 1 < k < n else None

    def encode_row_into(self, cells: Sequence[Bytes], parity: Sequence[memoryview]) -> None:
        """Write the parity of a row.

        Args:
            cells: The k data cells, all of one length, short ones filled with zeros.
            parity: n - k writable views of that length.
        """
        length = self._check(cells, self.k)
        if self._rows is None:
            for view in parity:  # k = 1: plain copies. k = n: no parity
                view[:] = cells[0]
            return
        views = [memoryview(cell) for cell in cells]
        for start in range(0, length, STRIP_BYTES):
            stop = min(start + STRIP_BYTES, length)
            coded = self._rows.encode([view[start:stop] for view in views])
            for target, strip in zip(parity, coded, strict=True):
                target[start:stop] = strip

    def encode_row(self, cells: Sequence[Bytes]) -> list[bytearray]:
        """The n - k parity cells of k data cells, all of one length."""
        parity = [bytearray(len(cells[0])) for _ in range(self.n - self.k)]
        self.encode_row_into(cells, [memoryview(cell) for cell in parity])
        return parity

    def decode_row(self, cells: Mapping[int, Bytes], want: Collection[int]) -> dict[int, Bytes]:
        """Rebuild cells of a row.

        Args:
            cells: Column index (0 <= index < n) to cell, all of one length, each checked against its hash by
                the caller and filled with zeros where it is short or absent.
            want: Column indices, of data or parity, to return; those given come back as they are.

        Raises:
            NotEnoughChunksError: Something is missing and fewer than ``k`` cells were given.
        """
        found = {index: cells[index] for index in want if index in cells}
        missing = [index for index in want if index not in cells]
        if not missing:
            return found
        if len(cells) < self.k:
            raise NotEnoughChunksError(len(cells), self.k)
        if not all(0 <= index < self.n for index in (*cells, *missing)):
            raise LocalProtocolError(f"a row has columns 0 to {self.n - 1}")
        chosen = {index: cells[index] for index in sorted(cells)[: self.k]}  # data first: less to multiply
        self._check(list(chosen.values()), self.k)
        if self._rows is None:  # k = 1, for with k = n nothing can be missing here
            return found | dict.fromkeys(missing, *chosen.values())
        return found | dict(zip(missing, self._rows.rebuild(chosen, missing), strict=True))

    @staticmethod
    def _check(cells: Sequence[Bytes], count: int) -> int:
        lengths = {len(cell) for cell in cells}
        if len(cells) != count or len(lengths) != 1 or lengths == {0}:
            raise LocalProtocolError(f"a row has {count} cells of one length, got {len(cells)} of {sorted(lengths)}")
        return lengths.pop()


@cache
def coder(k: int, n: int) -> Coder:
    """The coder of ``k`` of ``n`` (1 <= k <= 16, k <= n <= 32), made once."""
    return Coder(k, n)
