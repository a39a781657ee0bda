"""Vectors of docs/spec/drive.md: drives, merged ones, caches. Run by scripts/make_vectors."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from protocol import codec, drive, drivecache
from protocol.drive import Content, Drive, DriveEntry, EntryKind, Place
from protocol.drivecache import CachedDrive, seal_cache
from protocol.identity import Identity, Network
from protocol.ids import Address, SegmentId
from protocol.links import Link, LinkKind, NameLink, link_payload, seal_link

Vector = dict[str, Any]
Named = Iterator[tuple[str, Vector]]

NETWORK = Network("drive")
CACHE_KEY, NONCE = bytes(range(32)), bytes(range(24))
NOW = 1_900_000_000_000
READ = Link(LinkKind.READ, SegmentId(bytes(range(32))), bytes(range(32, 64)))
OTHER = Link(LinkKind.VERIFY, SegmentId(b"\x07" * 32), b"\x08" * 32, (Address("192.0.2.1", 4110),))
NAME = NameLink(Identity(b"\x03" * 32).key, bytes(range(64, 96)))

CONTENT = Content(
    link=link_payload(READ), size=1000, time=NOW // 1000, expiry=NOW // 1000 + 86_400, spread=False, avoid=("DE", "FR")
)
DEPOSIT = drive.deposit_entry(EntryKind.DEPOSIT, b"\x10" * 16, b"photos/2029", CONTENT, NOW)
SAME_PATH = replace(DEPOSIT, id=b"\x11" * 16, content=replace(CONTENT, label="blog"))
NAMED_ALIKE = replace(DEPOSIT, id=b"\x12" * 16, place=Place(NOW, True, b"photos/2029 (2)"))
LIKE_A_FOLDER = replace(DEPOSIT, id=b"\x13" * 16, place=Place(NOW, True, b"photos"))
SHARE = replace(DEPOSIT, id=b"\x14" * 16, kind=EntryKind.SHARE)
VERSION = DriveEntry(
    id=b"\x15" * 16, kind=EntryKind.DRIVE, place=Place(NOW, True, b"drive"), content=Content(stamp=NOW)
)
REMOVED = replace(DEPOSIT, id=b"\x16" * 16, place=Place(NOW, False, b"gone"))
LINKED = drive.link_entry(OTHER, b"from a friend", Content(), NOW)
NAMED = drive.name_entry(NAME, "blog", b"blog", Content(), NOW)
FOLDER = drive.folder_entry(b"empty", NOW)
ALL = Drive.of((DEPOSIT, SAME_PATH, NAMED_ALIKE, LIKE_A_FOLDER, SHARE, VERSION, REMOVED, LINKED, NAMED, FOLDER))


def _vector(operation: str, text: str, inputs: Vector, expect: str, output: Vector | None = None) -> Vector:
    vector = {"spec": "docs/spec/drive.md", "operation": operation, "description": text, "input": inputs}
    return {**vector, "expect": expect, **({"output": output} if output is not None else {})}


def raw_drive(*entries: DriveEntry, version: int = 1) -> bytes:
    """A drive as it is encoded, whatever its entries are."""
    return codec.encode(drive._Drive(version=version, entries=entries))


def shown(known: Drive) -> Vector:
    """What people see of a drive."""
    entries = {path.hex(): entry.id.hex() for path, entry in drive.listed(known).items()}
    return {"folders": sorted(path.hex() for path in drive.folders(known)), "shown": entries}


def _drives() -> Named:
    def read(text: str, data: bytes, expect: str = "RemoteProtocolError", output: Vector | None = None) -> Vector:
        return _vector("read drive", text, {"drive": data.hex()}, expect, output)

    def bad(text: str, entry: DriveEntry, **content: Any) -> Vector:
        return read(text, raw_drive(replace(entry, content=replace(entry.content, **content))))

    yield "drive_empty", read("no entries", raw_drive(), "success", shown(Drive()))
    text = "an entry of each kind, one removed, three with the path of something else"
    yield "drive_all", read(text, ALL.encode(), "success", shown(ALL))
    yield "drive_version", read("version 2", raw_drive(version=2))
    yield "drive_trailing", read("a byte after the drive", ALL.encode() + b"\0")
    yield "drive_cut", read("cut short", ALL.encode()[:-1])
    yield "drive_order", read("ids out of order", raw_drive(SAME_PATH, DEPOSIT))
    yield "drive_twice", read("an id twice", raw_drive(DEPOSIT, DEPOSIT))
    marked = replace(DEPOSIT, id=b"\x77" * 16)
    packed = bytearray(raw_drive(marked))
    at = packed.index(marked.id) + 16
    for kind in (0, 7):
        packed[at] = kind
        yield f"drive_kind_{kind}", read(f"kind {kind}", bytes(packed))
    yield "drive_path", read("a path with ..", raw_drive(replace(DEPOSIT, place=Place(NOW, True, b"a/../b"))))
    yield "drive_no_link", bad("a deposit without a link", DEPOSIT, link=b"")
    yield "drive_verify_link", bad("a deposit with a verify link", DEPOSIT, link=link_payload(READ.verify_link()))
    yield "drive_malformed_link", bad("a link of kind 9", DEPOSIT, link=b"\x01\x09" + bytes(64))
    yield "drive_label", bad("a label of a share", SHARE, label="blog")
    yield "drive_long_label", bad("a name with another label", NAMED, label="bloh")
    yield "drive_no_label", bad("a name without a label", NAMED, label="")
    yield "drive_name_link", bad("a name with a read link", NAMED, link=link_payload(READ))
    yield "drive_link_id", bad("another link than that of the id", LINKED, link=link_payload(READ))
    sealed = seal_link(READ, Identity(b"\x04" * 32).key, bytes(32))
    yield "drive_sealed_link", bad("a sealed link", LINKED, link=link_payload(sealed))
    yield "drive_folder_content", bad("a folder with a size", FOLDER, size=1)
    yield "drive_folder_id", read("a folder of another path", raw_drive(replace(FOLDER, place=Place(1, True, b"a"))))


def _merges() -> Named:
    def merge(text: str, ours: Drive, theirs: Drive) -> Vector:
        inputs = {"ours": ours.encode().hex(), "theirs": theirs.encode().hex()}
        return _vector("merge drives", text, inputs, "success", {"drive": ours.merge(theirs).encode().hex()})

    moved = DEPOSIT.moved(b"pictures", NOW + 1)
    renewed = DEPOSIT.updated(replace(CONTENT, expiry=CONTENT.expiry + 1), NOW + 2)
    yield "drive_merge_both", merge("moved here, renewed there", Drive((moved,)), Drive((renewed,)))
    yield "drive_merge_union", merge("one entry here, another there", Drive((DEPOSIT,)), Drive((REMOVED,)))
    removed = DEPOSIT.removed(NOW)
    yield "drive_merge_removed", merge("removed after it was moved", Drive((moved,)), Drive((moved.removed(NOW),)))
    tied = replace(removed, place=Place(NOW, False, DEPOSIT.path))
    yield "drive_merge_tie", merge("at one time here and removed: it stays", Drive((DEPOSIT,)), Drive((tied,)))
    shared = replace(SHARE, id=DEPOSIT.id, place=Place(1, False, b"a"))
    yield "drive_merge_kinds", merge("two kinds of one id: the higher, whole", Drive((moved,)), Drive((shared,)))


def _caches() -> Named:
    def cache(text: str, data: bytes, expect: str, output: Vector | None = None) -> Vector:
        inputs = {"network": NETWORK.name, "key": CACHE_KEY.hex(), "file": data.hex()}
        return _vector("open cache", text, inputs, expect, output)

    cached = CachedDrive(drive=Drive((DEPOSIT,)), sequence=5, seen=NOW // 1000, unsent=True)
    good = seal_cache(CACHE_KEY, NETWORK.id, cached, NONCE)
    output = {"drive": cached.drive.encode().hex(), "sequence": 5, "seen": NOW // 1000, "unsent": True}
    yield "drive_cache", cache("a drive with unsent changes", good, "success", output)
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    yield "drive_cache_flipped", cache("one bit is another", flipped, "IntegrityError")
    other_key = seal_cache(bytes(32), NETWORK.id, cached, NONCE)
    yield "drive_cache_key", cache("another account's", other_key, "IntegrityError")
    yield (
        "drive_cache_cut",
        cache("cut in the tag", good[: len(drivecache.FIRST_LINE) + 32 + 24 + 15], "IntegrityError"),
    )
    network = seal_cache(CACHE_KEY, Network("other").id, cached, NONCE)
    yield "drive_cache_network", cache("the drive on another network", network, "WrongNetworkError")
    yield "drive_cache_line", cache("another first line", b"archipel drive 2" + good[16:], "RemoteProtocolError")


def vectors() -> Named:
    """(file stem, content) of every vector."""
    yield from _drives()
    yield from _merges()
    yield from _caches()
