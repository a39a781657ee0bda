"""Which versions a version of a synced folder follows (node/syncing/ancestry.py)."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from node.publishing.source import Source
from node.syncing.ancestry import MAX_FOLLOWED, followed, note_followed, version_of
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from protocol.manifest import Entry, Kind

VECTORS = Path(__file__).parents[2] / "vectors"
LINK = Link(LinkKind.READ, SegmentId(b"r" * 32), b"k" * 32)


def published(versions: int) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(versions):
        source = Source({}, entries=[Entry(path=b"T", kind=Kind.FOLDER), Entry(path=b"T/a", kind=Kind.FILE)])
        source.stamps.extend((1, 2))
        link = replace(LINK, root=SegmentId(number.to_bytes(32, "big")))
        note_followed(source, b"T", link if number else None, entries)
        entries = source.entries
        assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
        assert len(source.stamps) == len(entries)
    return entries


def test_a_version_names_all_before_it_up_to_a_limit() -> None:
    assert followed(published(1), b"T") == ()
    for versions in (3, MAX_FOLLOWED + 5):
        found = followed(published(versions), b"T")
        wanted = [replace(LINK, root=SegmentId(number.to_bytes(32, "big"))) for number in range(1, versions)]
        assert list(found) == [version_of(link) for link in reversed(wanted)][:MAX_FOLLOWED]


@pytest.mark.parametrize(
    "target", [b"elsewhere", b"../a", b"\xff", b"00", b"/".join([b"00" * 16] * 65), b"00" * 16 + b"/"]
)
def test_what_makes_no_sense_names_none(target: bytes) -> None:
    assert followed([Entry(path=b"T/.archipel-sync/follows", kind=Kind.SYMLINK, target=target)], b"T") == ()
    assert followed([Entry(path=b"T/.archipel-sync/follows", kind=Kind.FILE)], b"T") == ()


def test_it_is_as_the_vector_says() -> None:
    vector = json.loads((VECTORS / "syncing_follows.json").read_text())
    newest, oldest = (replace(LINK, root=SegmentId(bytes.fromhex(root))) for root in vector["roots"])
    entries: list[Entry] = []
    for there in (oldest, newest):
        source = Source({}, entries=[Entry(path=b"photos", kind=Kind.FOLDER)])
        source.stamps.append(1)
        note_followed(source, b"photos", there, entries)
        entries = source.entries
    assert (entries[-1].path.decode(), entries[-1].target.decode()) == (vector["path"], vector["target"])
    assert [version.hex() for version in followed(entries, b"photos")] == vector["versions"]
