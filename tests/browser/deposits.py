"""Deposits made in memory, as a node hands them out sealed (docs/spec/web.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.publishing.stream import cut, lay_out
from protocol.hashing import DIGEST_BYTES
from protocol.links import Link, LinkKind
from protocol.manifest import MAX_INLINE_BYTES, Entry, Kind, Manifest, SegmentRef, make_root, spill_parts
from protocol.seal import SealedSegment, plaintext_key, root_key, seal_segment, verify_key
from protocol.segment import Shares

SECRET = bytes(range(32))


def represented(sealed: SealedSegment) -> bytes:
    """A segment as `GET /v1/segments/{id}` gives it."""
    layout, descriptor = sealed.descriptor.layout, sealed.descriptor.encode()
    hashes = b"".join(sealed.hashes[: layout.k])
    assert len(hashes) == layout.blocks * DIGEST_BYTES
    return b"".join((len(descriptor).to_bytes(2, "big"), descriptor, hashes, *sealed.columns[: layout.k]))


@dataclass
class Publisher:
    """Seals what is published with one secret."""

    secret: bytes = SECRET
    shares: Shares = Shares()
    segments: dict[str, bytes] = field(default_factory=dict)
    """By id, as a node hands them out."""

    def store(self, plaintext: bytes, key: bytes | None = None) -> SegmentRef:
        """Seal a segment."""
        key = plaintext_key(self.secret, plaintext) if key is None else key
        sealed = seal_segment(plaintext, key, self.shares)
        self.segments[sealed.id.hex()] = represented(sealed)
        return SegmentRef(id=sealed.id, length=len(plaintext), key=key)

    def publish(self, files: Mapping[str, bytes], *, mtime_ns: int = 0, spill: bool = False) -> Link:
        """Publish files, by path; folders on their paths have the same time.

        Args:
            files: Contents by path.
            mtime_ns: Of all of them.
            spill: Whether the manifest is put into segments though it would fit into the root.
        """
        entries = entries_of(files, mtime_ns)
        contents = [b"".join(files[entries[p.entry].path.decode()][p.offset :][: p.size] for p in cutting)
                    for cutting in cut(entries)]  # fmt: skip
        lay_out(entries, cut(entries))
        if sum(map(len, files.values())) <= MAX_INLINE_BYTES:
            manifest = Manifest(entries=tuple(entries), inline=b"".join(contents))
        else:
            manifest = Manifest(entries=tuple(entries), segments=tuple(map(self.store, contents)))
        encoded = manifest.encode()
        parts = [bytes(part) for part in spill_parts(encoded)] or ([encoded] if spill else [])
        root = make_root(self.secret, manifest, [self.store(part) for part in parts])
        ref = self.store(root.plaintext, root_key(verify_key(root.read_key)))
        return Link(LinkKind.READ, ref.id, root.read_key)


def entries_of(files: Mapping[str, bytes], mtime_ns: int) -> list[Entry]:
    """The entries of files and of all folders on their paths, in order."""
    found: dict[bytes, Entry] = {}
    for path, content in files.items():
        raw = path.encode()
        found[raw] = Entry(path=raw, kind=Kind.FILE, size=len(content), mtime_ns=mtime_ns)
        while raw := raw.rpartition(b"/")[0]:
            found[raw] = Entry(path=raw, kind=Kind.FOLDER, mtime_ns=mtime_ns)
    return [found[path] for path in sorted(found)]
