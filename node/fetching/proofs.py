"""The block hashes of one segment's data columns, without a block: what its holders show as proof."""

from node.buffers import Buffers
from node.fetching.columns import Columns, Part
from protocol.ids import SegmentId


class Proofs(Columns):
    """What is there of a segment's hashes; gathered as columns are, of which no row is asked for."""

    def __init__(self, segment: SegmentId) -> None:
        super().__init__(Part(segment, None), Buffers(0))

    def span(self, index: int) -> tuple[int, int]:
        return 0, 0

    @property
    def _copies(self) -> bool:
        """Whether every chunk is the same: then any will do."""
        return self.descriptor is not None and self.descriptor.layout.k == 1

    def helps(self, index: int) -> bool:
        """Parity has hashes of its own, of which nobody asks."""
        return self.descriptor is None or self._copies or index < self.descriptor.layout.k

    def has(self, index: int) -> bool:
        return index in self.hashes or (self._copies and bool(self.hashes))

    @property
    def complete(self) -> bool:
        return self.descriptor is not None and all(map(self.has, self.wanted(self.descriptor.layout)))

    def joined(self) -> bytes:
        """The hashes of all data blocks in order, once it is complete."""
        assert self.descriptor is not None
        shown = list(self.hashes.values()) if self._copies else self.hashes
        return b"".join(shown[index] for index in range(self.descriptor.layout.k))
