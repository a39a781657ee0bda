"""Targets: what a deposit is made of, and the link that opens it."""

from collections import deque
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import pairwise
from posixpath import normpath
from typing import Any

import msgpack

from protocol import codec, manifest
from protocol.base32 import to_word
from protocol.errors import (
    IntegrityError,
    LinkError,
    LocalProtocolError,
    NotEnoughChunksError,
    ProtocolError,
    RemoteProtocolError,
)
from protocol.ids import SegmentId
from protocol.links import SCHEME, Link, LinkKind, _checksum, parse_link
from protocol.manifest import (
    Entry,
    Kind,
    Manifest,
    SegmentRef,
    extents,
    index_of,
    inline_content,
    make_root,
    open_index,
    open_root,
    read_manifest,
)
from protocol.seal import (
    SealedSegment,
    commitment,
    manifest_key,
    open_parts,
    open_segment,
    plaintext_key,
    seal_parts,
    seal_segment,
)
from protocol.segment import BLOCK_BYTES, MAX_BLOCKS, SEALED_BLOCK_BYTES, Descriptor, Shares, check_hashes, chunk_id
from tests.fuzz.corpus import hex_values, vectors
from tests.fuzz.target import Target
from tests.vectors.make_storage import SECRET, pattern

_READ_KEY = bytes(range(32))


# --- descriptors ---


def _run_descriptor(data: bytes) -> None:
    with suppress(IntegrityError, RemoteProtocolError):
        Descriptor.decode(data, Descriptor.decode(_A_DESCRIPTOR).id)
        assert data == _A_DESCRIPTOR
    try:
        descriptor = Descriptor.decode(data)
    except RemoteProtocolError:
        return
    assert descriptor.encode() == data  # one segment, one encoding, one id
    again = Descriptor.decode(memoryview(data), descriptor.id)
    assert again == descriptor
    layout = descriptor.layout
    assert 1 <= layout.blocks <= MAX_BLOCKS
    data_columns = range(layout.k)
    assert sum(layout.column_blocks(index) for index in data_columns) == layout.blocks
    assert sum(layout.column_bytes(index) for index in data_columns) == layout.sealed_bytes
    for index in range(layout.n):
        assert 1 <= layout.column_blocks(index) <= layout.rows
        assert layout.column_bytes(index) <= layout.rows * SEALED_BLOCK_BYTES
        with suppress(IntegrityError):
            hashes = bytes(32 * layout.column_blocks(index))
            check_hashes(descriptor, index, hashes)
            assert descriptor.chunk_ids[index] == chunk_id(index, hashes)


# --- manifests ---


def _run_manifest(data: bytes) -> None:
    """``data`` as a manifest; and as a list of paths, and of links with a ``>`` before the target, to make one of."""
    with suppress(RemoteProtocolError):
        made = Manifest.decode(data)
        assert _decoded(made.encode()) == made
        _check_manifest(made)
    made = _tree(data)
    try:
        encoded = made.encode()
    except LocalProtocolError:
        return
    assert _decoded(encoded) == made
    _check_manifest(made)


def _decoded(data: bytes) -> Manifest:
    """What must decode: we encoded it."""
    try:
        return Manifest.decode(data)
    except RemoteProtocolError as exc:
        raise AssertionError("what is written cannot be read") from exc


def _tree(data: bytes) -> Manifest:
    entries: dict[bytes, Entry] = {}
    for line in data.split(b"\n")[:50]:
        path, arrow, target = line.partition(b">")
        kind = Kind.SYMLINK if arrow else Kind.FOLDER
        entries[path] = Entry(path=path, kind=kind, target=target)
        while path := path.rpartition(b"/")[0]:
            entries.setdefault(path, Entry(path=path, kind=Kind.FOLDER))
    return Manifest(entries=tuple(entries[path] for path in sorted(entries)))


def _manifest_seeds() -> list[bytes]:
    """The vectors, and a tree whose every entry may stand in any folder, with content in several segments."""
    root = Entry(path=b"a", kind=Kind.FOLDER)
    entries = [root, *(replace(root, path=b"a" + b"/a" * depth) for depth in range(1, 5))]
    links = ((b"a/a/y", b".."), (b"a/a/z", b"y/a/x"), (b"a/b", b"./a/x"), (b"a/c", b"a/z/y"))
    entries += [replace(root, path=path, kind=Kind.SYMLINK, target=target) for path, target in links]
    files = [replace(root, path=b"a/d%d" % number, kind=Kind.FILE, size=600) for number in range(4)]
    entries += [replace(file, segment=number, offset=number * 50) for number, file in enumerate(files)]
    refs = [SegmentRef(id=SegmentId(bytes([number]) * 32), length=400, key=bytes(32)) for number in (1, 2, 1, 3, 4)]
    whole = Manifest(entries=tuple(entries), segments=tuple(refs)).encode()
    return [
        *hex_values("storage_manifest*"),
        whole,
        b"a/b/c\na/b/l>../b/./c\na/m>b/l",
        b"a/b/c>d/b/x\na/b/d>..",
    ]


def _check_manifest(made: Manifest) -> None:
    """What an unpacker relies on, said in other words than protocol/manifest.py and protocol/paths.py do."""
    paths = [entry.path for entry in made.entries]
    assert all(one < other for one, other in pairwise(paths))
    kinds = {entry.path: entry.kind for entry in made.entries}
    links = {entry.path: entry.target for entry in made.entries if entry.kind is Kind.SYMLINK}
    for entry in made.entries:
        assert normpath(entry.path) == entry.path
        assert not entry.path.startswith((b"/", b"../"))
        assert entry.path not in (b".", b"..")
        assert b"\0" not in entry.path
        parent, slash, _ = entry.path.rpartition(b"/")
        assert not slash or kinds[parent] is Kind.FOLDER
        if entry.kind is Kind.SYMLINK:
            _follow(links, entry.path)
    files = [entry for entry in made.entries if entry.kind is Kind.FILE]
    pieces = sum(_check_content(made, entry) for entry in files)
    assert pieces <= len(made.entries) + len(made.segments)  # else a small manifest keeps a reader busy for ever


def _follow(links: dict[bytes, bytes], path: bytes) -> None:
    """Follow a link as a system does, through the other links on the way: it never leaves the published folder."""
    left = deque(path.split(b"/"))
    reached: list[bytes] = []
    for _ in range(1000):  # links may go round in circles
        if not left:
            break
        component = left.popleft()
        if component == b"..":
            reached.pop()
            assert reached
        elif component not in (b"", b"."):
            reached.append(component)
            target = links.get(b"/".join(reached))
            if target is not None:
                assert not target.startswith(b"/")
                reached.pop()
                left.extendleft(reversed(target.split(b"/")))


def _check_content(made: Manifest, entry: Entry) -> int:
    """Returns in how many pieces it lies."""
    if not made.segments:
        assert len(inline_content(made, entry)) == entry.size
        return 0
    found = extents(entry, made.segments)
    assert sum(extent.length for extent in found) == entry.size
    for extent in found:
        assert 0 <= extent.offset < extent.offset + extent.length <= made.segments[extent.segment].length
    assert [extent.segment for extent in found] == list(range(entry.segment, entry.segment + len(found)))
    return len(found)


# --- roots ---


def _run_root(data: bytes) -> None:
    """``data`` as a root; as the sealed part of one; and, of the form of ``_parts``, as what is sealed into one."""
    _open_root(data)
    key = manifest_key(_READ_KEY)
    with suppress(IntegrityError):
        open_parts(key, data)
    parts = _parts(data)
    if parts is not None:
        index, index_hash, where, payload = parts
        with suppress(ProtocolError):
            index_hash = index_hash or manifest.index_hash(codec.decode(manifest._Index, index).segments)
        part: bytes = msgpack.packb([index_hash, where, payload])
        _open_root(msgpack.packb([1, index, commitment(key), seal_parts(key, part)]))


def _parts(data: bytes) -> tuple[bytes, bytes, Any, bytes] | None:
    """The index, its hash (empty: the right one), where the manifest is, and the payload."""
    try:
        match msgpack.unpackb(data, max_map_len=0):
            case [bytes() as index, bytes() as index_hash, where, bytes() as payload]:
                return index, index_hash, where, payload
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        pass
    return None


def _open_root(data: bytes) -> None:
    try:
        index = open_index(data)
        root = open_root(data, _READ_KEY)
    except (RemoteProtocolError, IntegrityError):
        return
    assert root.index == index
    assert bool(root.spill) != bool(root.encoded)
    try:
        made = read_manifest(root, root.encoded or _A_MANIFEST)
    except RemoteProtocolError:
        return
    _check_manifest(made)
    assert index_of(root.spill, made.segments) == index
    new = make_root(SECRET, made, root.spill)
    again = open_root(new.plaintext, new.read_key)
    assert (again.index, again.spill) == (root.index, root.spill)
    if not root.spill:
        assert read_manifest(again, again.encoded) == made


def _root_seeds() -> list[bytes]:
    seeds = hex_values("storage_root*")
    for encoded in _valid_manifests():
        made = Manifest.decode(encoded)
        index = codec.encode(manifest._Index(segments=index_of(made.segments)))
        spilled = codec.encode(manifest._Spill(segments=made.segments))
        seeds.append(msgpack.packb([index, b"", 0, encoded]))
        seeds.append(msgpack.packb([index, b"", 1, spilled]))
    return seeds


def _valid_manifests() -> list[bytes]:
    good = [one for one in vectors("storage_manifest*") if one["expect"] == "success"]
    return [bytes.fromhex(one["input"]["manifest"]) for one in good]


# --- segments ---


@cache
def _sealed(number: int) -> tuple[bytes, bytes, SealedSegment]:
    """Plaintext, key and segment: copies, two columns and parity of two blocks, and of three."""
    length, shares = ((300, Shares(1, 2)), (BLOCK_BYTES + 1, Shares(2, 3)), (2 * BLOCK_BYTES + 7, Shares(2, 4)))[number]
    plaintext = pattern(length)
    key = plaintext_key(SECRET, plaintext)
    return plaintext, key, seal_segment(plaintext, key, shares)


def _run_segment(data: bytes) -> None:
    """Which segment, which of its columns are there, and then 5 bytes for each damage: column, where, and how."""
    plaintext, key, sealed = _sealed(data[0] % 3 if data else 0)
    given = data[1] if len(data) > 1 else 0xFF
    layout = sealed.descriptor.layout
    columns = {index: bytearray(column) for index, column in enumerate(sealed.columns) if given >> index & 1}
    damaged = set()
    for at in range(2, len(data) - 4, 5):
        index = data[at] % layout.n
        column = columns.get(index)
        if column and data[at + 4]:
            where = int.from_bytes(data[at + 1 : at + 4], "big") % len(column)
            column[where] ^= data[at + 4]
            damaged.add(index)
    try:
        opened = open_segment(sealed.descriptor, key, columns)
    except NotEnoughChunksError:
        assert len(columns) < layout.k
    except IntegrityError:
        assert damaged
    else:
        assert opened == plaintext  # whatever was damaged: it is this or nothing


# --- links ---


def _run_link(data: bytes) -> None:
    """``data`` as a text; and as the payload of a link whose checksum is right."""
    _read_link(data.decode("utf-8", "surrogateescape"))
    if len(data) <= 400:
        _read_link(SCHEME + to_word(data + _checksum(data)))


def _read_link(text: str) -> None:
    try:
        link = parse_link(text)
    except LinkError as exc:
        assert len(text) < 16 or text not in str(exc)  # it may have been a good one, but for a letter
        return
    written = str(link)
    assert text.strip().lower().endswith(written.removeprefix(SCHEME))  # one link, one word
    assert parse_link(written) == link
    check = link.verify_link()
    assert check.kind is LinkKind.VERIFY
    assert parse_link(str(check)) == check == check.verify_link()
    assert isinstance(link, Link)
    assert link.key.hex() not in repr(link)


def _link_seeds() -> list[bytes]:
    texts = [vector["input"]["link"] for vector in vectors("storage_link*")]
    links = [parse_link(one["input"]["link"]) for one in vectors("storage_link*") if one["expect"] == "success"]
    heads = [bytes([1, link.kind]) + link.root + link.key for link in links]
    hints = [bytes([len(link.hints)]) for link in links]
    packed = [b"".join(bytes([len(hint.pack())]) + hint.pack() for hint in link.hints) for link in links]
    payloads = [head + count + rest if rest else head for head, count, rest in zip(heads, hints, packed, strict=True)]
    return [text.encode() for text in texts] + payloads


_A_DESCRIPTOR = hex_values("storage_descriptor")[0]
_A_MANIFEST = _valid_manifests()[0]

TARGETS = (
    Target("descriptor", _run_descriptor, lambda: hex_values("storage_descriptor*"), 2200),
    Target("manifest", _run_manifest, _manifest_seeds, 20_000),
    Target("root", _run_root, _root_seeds, 20_000),
    Target("segment", _run_segment, lambda: [bytes([number, 0xFF]) for number in range(3)] + [b"\1\3\0\0\0\0\1"], 200),
    Target("link", _run_link, _link_seeds, 5000),
)
