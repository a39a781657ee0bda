"""Vectors of docs/spec/storage.md: segments, roots, manifests, links. Run by scripts/make_vectors."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from protocol import codec, links, manifest, seal, segment
from protocol.base32 import to_word
from protocol.erasure_reference import ReferenceRows
from protocol.ids import Address, SegmentId
from protocol.links import Link, LinkKind
from protocol.manifest import Entry, Kind, Manifest, SegmentRef
from protocol.segment import Shares

Vector = dict[str, Any]
Named = Iterator[tuple[str, Vector]]

SECRET = bytes(range(32))
ID_1, ID_2 = SegmentId(b"\x01" * 32), SegmentId(b"\x02" * 32)
PATTERN = bytes(range(251))  # a prime: no two blocks begin alike


def _vector(operation: str, text: str, inputs: Vector, expect: str, output: Vector | None = None) -> Vector:
    vector = {"spec": "docs/spec/storage.md", "operation": operation, "description": text, "input": inputs}
    return {**vector, "expect": expect, **({"output": output} if output is not None else {})}


def pattern(length: int) -> bytes:
    """``length`` bytes: 00 01 .. fa, again and again."""
    return (PATTERN * (length // len(PATTERN) + 1))[:length]


def _layouts() -> Named:
    full, block = segment.SEGMENT_BYTES, segment.BLOCK_BYTES
    cases = [
        (1, 8, 12),
        (block, 8, 12),
        (block + 1, 8, 12),
        (9 * block, 8, 12),
        (full, 8, 12),
        (full - 1, 8, 12),
    ]
    cases += [(full, 1, 1), (full, 16, 32), (100 * block, 7, 7), (17 * block + 5, 16, 20), (full, 1, 3)]
    layouts = []
    for length, k, n in cases:
        plan = segment.plan(length, Shares(k, n))
        columns = [[plan.column_blocks(index), plan.column_bytes(index)] for index in range(plan.n)]
        shape = {"blocks": plan.blocks, "rows": plan.rows, "k": plan.k, "n": plan.n}
        layouts.append({"length": length, "shares": f"{k}/{n}", **shape, "columns": columns})
    text = "lengths and shares, and what follows; columns are [blocks, bytes]"
    yield "storage_layout", _vector("layout", text, {"layouts": layouts}, "success")


def _rows() -> Named:
    rows = []
    for k, n in ((2, 3), (3, 5), (8, 12), (16, 32)):
        cells = [bytes((7 * index + 13 * place + 1) % 256 for place in range(8)) for index in range(k)]
        parity = ReferenceRows(k, n).encode(cells)
        rows.append(
            {
                "k": k,
                "n": n,
                "data": [cell.hex() for cell in cells],
                "parity": [cell.hex() for cell in parity],
            }
        )
    yield "storage_erasure", _vector("code row", "rows of 8-byte cells", {"rows": rows}, "success")


def _segments() -> Named:
    cases = (
        ("small", 100, "8/12"),
        ("tail", 2 * segment.BLOCK_BYTES + 1, "8/12"),
        ("rows", 5 * 131_072, "3/5"),
    )
    for name, length, shares in cases:
        plaintext = pattern(length)
        key = seal.plaintext_key(SECRET, plaintext)
        sealed = seal.seal_segment(plaintext, key, Shares.parse(shares))
        inputs = {"secret": SECRET.hex(), "pattern": PATTERN.hex(), "length": length, "shares": shares}
        output = {
            "key": key.hex(),
            "descriptor": sealed.descriptor.encode().hex(),
            "segment_id": sealed.id.hex(),
            "block_hashes": [hashes.hex() for hashes in sealed.hashes],
        }
        text = "a segment whose plaintext is the pattern, repeated and cut to the length"
        yield f"storage_segment_{name}", _vector("seal segment", text, inputs, "success", output)


def _descriptors() -> Named:
    sealed = seal.seal_segment(pattern(300_000), SECRET, Shares(2, 3))
    descriptor = sealed.descriptor
    good = descriptor.encode()
    fields = segment._DescriptorFields(
        version=1, k=2, n=3, length=300_000, commitment=descriptor.commitment,
        chunk_ids=b"".join(descriptor.chunk_ids),
    )  # fmt: skip

    def read(text: str, expect: str, data: bytes, **more: str) -> Vector:
        return _vector("read descriptor", text, {"descriptor": data.hex(), **more}, expect)

    def changed(text: str, **fields_changed: Any) -> Vector:
        return read(text, "RemoteProtocolError", codec.encode(replace(fields, **fields_changed)))

    yield "storage_descriptor", read("3 blocks, 2 of 3", "success", good, segment_id=sealed.id.hex())
    text = "not the descriptor that was asked for"
    yield "storage_descriptor_other", read(text, "IntegrityError", good, segment_id=ID_1.hex())
    remote = "RemoteProtocolError"
    yield "storage_descriptor_cut", read("the last byte is missing", remote, good[:-1])
    yield "storage_descriptor_trailing", read("a byte too many", remote, good + b"\0")
    text = "k takes two bytes where one is enough: two ids for one segment"
    yield "storage_descriptor_long_form", read(text, remote, good[:2] + b"\xcc\x02" + good[3:])
    yield "storage_descriptor_version", changed("version 2", version=2)
    yield "storage_descriptor_empty", changed("length 0", length=0)
    yield "storage_descriptor_no_k", changed("k is 0", k=0)
    yield "storage_descriptor_n_below_k", changed("n is less than k", n=1)
    text = "3 blocks in 4 columns of one row leave one empty"
    ids = bytes(32 * 5)
    yield "storage_descriptor_empty_column", changed(text, k=4, n=5, chunk_ids=ids)
    yield "storage_descriptor_few_ids", changed("2 chunk ids for n = 3", chunk_ids=ids[:64])
    yield "storage_descriptor_cut_id", changed("chunk ids of 95 bytes", chunk_ids=ids[:95])


def _hashes() -> Named:
    sealed = seal.seal_segment(pattern(300_000), SECRET, Shares(2, 3))
    good = sealed.hashes[0]

    def check(text: str, expect: str, index: int, hashes: bytes) -> Vector:
        inputs = {"descriptor": sealed.descriptor.encode().hex(), "index": index, "hashes": hashes.hex()}
        return _vector("check hashes", text, inputs, expect)

    yield "storage_hashes", check("the two block hashes of chunk 0", "success", 0, good)
    yield (
        "storage_hashes_wrong",
        check("a bit is flipped", "IntegrityError", 0, bytes([good[0] ^ 1]) + good[1:]),
    )
    yield "storage_hashes_few", check("one hash is missing", "IntegrityError", 0, good[:32])
    yield "storage_hashes_swapped", check("in another order", "IntegrityError", 0, good[32:] + good[:32])
    yield "storage_hashes_index", check("of another chunk", "IntegrityError", 2, good)
    yield "storage_hashes_no_chunk", check("there is no chunk 3", "IntegrityError", 3, good)


FOLDER = Entry(path=b"top", kind=Kind.FOLDER, mtime_ns=1_700_000_000_123_456_789)
FILE = Entry(path=b"top/a.txt", kind=Kind.FILE, size=5)
LINK = Entry(path=b"top/b/link", kind=Kind.SYMLINK, target=b"../a.txt")
TREE = (FOLDER, FILE, Entry(path=b"top/b", kind=Kind.FOLDER), LINK)
REFS = (
    SegmentRef(id=ID_1, length=segment.SEGMENT_BYTES, key=b"\x11" * 32),
    SegmentRef(id=ID_2, length=1000, key=b"\x12" * 32),
)


def _encode(entries: tuple[Entry, ...], version: int = 1, **fields: Any) -> bytes:
    """A manifest as bytes, with none of the rules checked."""
    filled = {"segments": (), "inline": b"hello", **fields}
    return codec.encode(manifest._Manifest(version=version, entries=entries, **filled))


def _listing(data: bytes) -> list[Vector]:
    return [
        {
            "path": entry.path.hex(),
            "kind": entry.kind.name.lower(),
            "size": entry.size,
            "target": entry.target.hex(),
        }
        for entry in Manifest.decode(data).entries
    ]


def _manifests() -> Named:
    inline = _encode(TREE)
    large = Entry(path=b"big", kind=Kind.FILE, size=segment.SEGMENT_BYTES + 900, offset=100, executable=True)
    stream = _encode((large,), segments=REFS, inline=b"")
    for name, data in (("", inline), ("_segments", stream)):
        output = {"entries": _listing(data)}
        text = "a deposit in segments" if name else "a folder with a file, a folder and a link, inline"
        yield (
            f"storage_manifest{name}",
            _vector("read manifest", text, {"manifest": data.hex()}, "success", output),
        )
    for name, text, data in (*_bad_paths(), *_bad_targets(), *_bad_entries(), *_bad_bytes(inline)):
        inputs = {"manifest": data.hex()}
        yield f"storage_manifest_{name}", _vector("read manifest", text, inputs, "RemoteProtocolError")


def _bad_paths() -> Iterator[tuple[str, str, bytes]]:
    def below(path: bytes) -> bytes:
        return _encode((FOLDER, replace(FILE, path=path)))

    yield "absolute", "an absolute path", _encode((replace(FILE, path=b"/etc"),))
    yield "parent", "a '..' component", below(b"top/../x")
    yield "dot", "a '.' component", below(b"top/./x")
    yield "empty_component", "an empty component", below(b"top//x")
    yield "slash", "a path that ends in '/'", below(b"top/")
    yield "nul", "NUL in a path", below(b"top/a\0b")
    yield "component", "a component of 256 bytes", below(b"top/" + b"x" * 256)
    yield "duplicate", "a path twice", _encode((FOLDER, FILE, FILE))
    yield "order", "not in order of path", _encode((FOLDER, FILE, replace(FILE, path=b"top/a")))
    yield (
        "beneath_file",
        "an entry beneath a file",
        _encode((FOLDER, FILE, replace(FILE, path=b"top/a.txt/x"))),
    )
    entries = (FOLDER, replace(LINK, path=b"top/b", target=b"."), replace(FILE, path=b"top/b/x"))
    yield "beneath_link", "an entry beneath a link", _encode(entries)
    yield "no_folder", "a folder on a path is no entry", below(b"top/c/x")


def _bad_targets() -> Iterator[tuple[str, str, bytes]]:
    def link(target: bytes) -> bytes:
        return _encode((*TREE[:3], replace(LINK, target=target)))

    yield "target_empty", "a link without target", link(b"")
    yield "target_absolute", "an absolute target", link(b"/etc/passwd")
    yield "target_nul", "NUL in a target", link(b"a\0b")
    yield "target_outside", "a target that leaves the published folder", link(b"../../other")
    yield "target_up_again", "'..' after a name, which may be a link itself", link(b"x/../../a.txt")
    yield "target_alone", "a link published by itself", _encode((replace(LINK, path=b"link", target=b"x"),))
    yield "target_of_file", "a file with a target", _encode((FOLDER, replace(FILE, target=b"x")))


def _bad_entries() -> Iterator[tuple[str, str, bytes]]:
    def file(**fields: Any) -> bytes:
        return _encode((FOLDER, replace(FILE, **fields)))

    def streamed(**fields: Any) -> bytes:
        return _encode((replace(FILE, path=b"f", **fields),), segments=REFS, inline=b"")

    yield "none", "no entry", _encode(())
    yield "folder_size", "a folder with a size", _encode((replace(FOLDER, size=1),))
    yield "link_executable", "an executable link", _encode((*TREE[:3], replace(LINK, executable=True)))
    yield "empty_offset", "an empty file with an offset", file(size=0, offset=1)
    yield "inline_beyond", "a file beyond the inline content", file(size=4, offset=2)
    yield "inline_segment", "an inline file in segment 1", file(segment=1)
    yield "both", "inline content and segments", _encode((FOLDER,), segments=REFS)
    yield (
        "empty_segment",
        "a segment of 0 bytes",
        _encode((FOLDER,), segments=(replace(REFS[0], length=0),), inline=b""),
    )
    yield "segment_beyond", "a file in a segment that is not listed", streamed(segment=2)
    yield "offset_beyond", "a file beyond the end of its first segment", streamed(segment=1, offset=1000)
    yield "size_beyond", "a file beyond the end of the stream", streamed(segment=1, offset=998)


def _bad_bytes(good: bytes) -> Iterator[tuple[str, str, bytes]]:
    yield "version", "version 2", _encode(TREE, version=2)
    yield "cut", "the last byte is missing", good[:-1]
    yield "trailing", "a byte too many", good + b"\0"
    kind = good.index(b"top") + 3
    yield "kind", "kind 3", good[:kind] + b"\x03" + good[kind + 1 :]
    yield "bomb", "announces 2^20 entries and holds none", b"\x94\x01\xdd\x00\x10\x00\x00"
    yield (
        "nested",
        "arrays of 2^32 - 1, 1,000 deep",
        b"\x94\x01\xdc\x00\x01\x98" + b"\xdd\xff\xff\xff\xff" * 1000,
    )


def _roots() -> Named:
    tree = Manifest(entries=TREE, inline=b"hello")
    stream = Manifest(entries=(replace(FILE, path=b"f", segment=1),), segments=REFS)
    spill = SegmentRef(id=SegmentId(b"\x03" * 32), length=len(stream.encode()), key=b"\x13" * 32)

    def read(text: str, expect: str, root: tuple[bytes, bytes], encoded: bytes, output: Vector | None = None) -> Vector:
        inputs = {"root": root[0].hex(), "read_key": root[1].hex(), "spilled": encoded.hex()}
        return _vector("open root", text, inputs, expect, output)

    inline = manifest.make_root(SECRET, tree)
    output: Vector = {"index": [], "manifest": tree.encode().hex()}
    yield "storage_root", read("the manifest is inside", "success", inline, b"", output)
    spilled = manifest.make_root(SECRET, stream, [spill])
    index = [[entry.id.hex(), entry.length] for entry in manifest.open_index(spilled.plaintext)]
    output = {"index": index, "manifest": stream.encode().hex()}
    text = "the manifest is in a segment of its own, whose plaintext is 'spilled'"
    yield "storage_root_spilled", read(text, "success", spilled, stream.encode(), output)

    plaintext, key = inline
    text = "another read key"
    yield "storage_root_key", read(text, "IntegrityError", (plaintext, SECRET), b"")
    text = "the manifest part is damaged"
    flipped = plaintext[:-1] + bytes([plaintext[-1] ^ 1])
    yield "storage_root_flipped", read(text, "IntegrityError", (flipped, key), b"")
    remote = "RemoteProtocolError"
    yield "storage_root_cut", read("the last byte is missing", remote, (plaintext[:-1], key), b"")
    yield "storage_root_version", read("version 2", remote, (b"\x94\x02" + plaintext[2:], key), b"")
    text = "another manifest in the segments: it names segments that the index does not"
    other = replace(stream, segments=(*REFS, spill, replace(spill, id=SegmentId(b"\x04" * 32)))).encode()
    yield "storage_root_manifest", read(text, remote, spilled, other)
    yield from _bad_indexes(spill, spilled, lambda text, root: read(text, remote, root, stream.encode()))


def _bad_indexes(
    spill: SegmentRef, spilled: manifest.NewRoot, read: Callable[[str, tuple[bytes, bytes]], Vector]
) -> Named:
    fields = codec.decode(manifest._Root, spilled.plaintext)
    cases = {
        "index": ("the index lacks a segment", [spill, REFS[0]]),
        "index_twice": ("the index names a segment twice", [spill, *REFS, spill]),
        "index_length": (
            "the index gives a segment another length",
            [spill, replace(REFS[0], length=5), REFS[1]],
        ),
        "index_empty": ("the index names an empty segment", [spill, REFS[0], replace(REFS[1], length=0)]),
    }
    for name, (text, refs) in cases.items():
        entries = tuple(manifest.IndexEntry(id=ref.id, length=ref.length) for ref in refs)
        changed = replace(fields, index=codec.encode(manifest._Index(segments=entries)))
        yield f"storage_root_{name}", read(text, (codec.encode(changed), spilled.read_key))


def _links() -> Named:
    root, key = SegmentId(bytes(range(32))), bytes(range(32, 64))
    read = Link(LinkKind.READ, root, key)
    hinted = replace(read, hints=(Address("192.0.2.1", 4110), Address("2001:db8::1", 65535)))
    payload = bytes([1, 1]) + root + key

    def parse(text: str, expect: str, link: str, of: Link | None = None) -> Vector:
        output = None
        if of is not None:
            secrets = {"root": of.root.hex(), "key": of.key.hex(), "hints": [str(hint) for hint in of.hints]}
            output = {"kind": of.kind.name.lower(), **secrets, "verify_link": str(of.verify_link())}
        return _vector("parse link", text, {"link": link}, expect, output)

    def bad(text: str, data: bytes) -> Vector:
        return parse(text, "LinkError", links.SCHEME + to_word(data + links._checksum(data)))

    yield "storage_link", parse("a read link", "success", str(read), read)
    verify = read.verify_link()
    yield "storage_link_verify", parse("its verify link", "success", str(verify), verify)
    yield "storage_link_hints", parse("a read link with two hints", "success", str(hinted), hinted)
    text = "upper case, behind a gateway, with white space around"
    web = f" https://gateway.example/path#{read} \n".upper()
    yield "storage_link_web", parse(text, "success", web, read)
    yield "storage_link_bare", parse("the word alone", "success", str(read).removeprefix(links.SCHEME), read)
    word = str(read)
    typo = word[:20] + ("a" if word[20] != "a" else "b") + word[21:]
    yield "storage_link_typo", parse("one character is another", "LinkError", typo)
    yield "storage_link_cut", parse("eight characters are missing", "LinkError", word[:-8])
    yield "storage_link_alphabet", parse("a character outside of the alphabet", "LinkError", word[:-1] + "1")
    yield "storage_link_bits", parse("bits left over at the end", "LinkError", _next_letter(str(hinted)))
    yield "storage_link_empty", parse("nothing after the scheme", "LinkError", links.SCHEME)
    yield "storage_link_version", bad("version 2", b"\x02" + payload[1:])
    yield "storage_link_kind", bad("kind 3", b"\x01\x03" + payload[2:])
    yield "storage_link_short", bad("the key has 31 bytes", payload[:-1])
    yield "storage_link_no_hint", bad("a list of no hints", payload + b"\0")
    address = Address("192.0.2.1", 4110).pack()
    yield "storage_link_hint_count", bad("2 hints announced, 1 there", payload + b"\x02\x06" + address)
    yield "storage_link_hint_size", bad("a hint of 5 bytes", payload + b"\x01\x05" + address[:5])
    yield "storage_link_hint_cut", bad("a hint cut short", payload + b"\x01\x06" + address[:5])
    yield "storage_link_hint_long", bad("a hint of 6 bytes that says 46", payload + b"\x01\x2e" + address)
    yield "storage_link_hint_trailing", bad("a byte after the hints", payload + b"\x01\x06" + address + b"\0")
    yield "storage_link_hint_many", bad("9 hints", payload + b"\x09" + (b"\x06" + address) * 9)


def _next_letter(word: str) -> str:
    """The same bytes in base32 that a careless decoder accepts: one of the bits left over is set."""
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return word[:-1] + letters[letters.index(word[-1]) + 1]


def vectors() -> Named:
    """(file stem, content) of every vector."""
    yield from _layouts()
    yield from _rows()
    yield from _segments()
    yield from _descriptors()
    yield from _hashes()
    yield from _manifests()
    yield from _roots()
    yield from _links()
