"""Where transfers are kept, and where downloads go: nobody else's, never over anything, whole or not at all."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from node.errors import ConfigError, MachineError, RefusedError
from node.progress import Progress
from node.web.http.answers import HttpError
from node.web.transfers.places import check_folder, free_place, numbered, stage, staging_of
from node.web.transfers.row import Counts, Kind, Row, State
from node.web.transfers.spool import Spool
from node.web.transfers.table import Table
from node.web.transfers.wanted import Upload
from protocol.ids import NetworkId
from protocol.manifest import Kind as EntryKind

NETWORK = NetworkId(b"n" * 32)


def row(number: int, state: State = State.WAITING) -> Row:
    return Row(
        id=f"{number:032x}",
        kind=Kind.UPLOAD,
        name="films",
        place="",
        state=state,
        files=1,
        total_bytes=5,
        created=1_700_000_000 - number,
        counts=Counts(countries={"FR": 3}),
        notes=("a", "b"),
    )


def test_the_table_gives_back_what_it_was_told(tmp_path: Path) -> None:
    place = tmp_path / "transfers.sqlite"
    with closing(Table(place, NETWORK)) as table:
        for number in (1, 2):
            table.add(row(number, State.RUNNING), {"secret": "s" * 100})
        table.save(row(2, State.PAUSED))
        with pytest.raises(RefusedError, match="another node"):
            Table(place, NETWORK)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    with closing(Table(place, NetworkId(b"m" * 32))) as table:
        assert table.rows() == [], "another network's"
    with closing(Table(place, NETWORK)) as table:
        assert table.rows() == [row(2, State.PAUSED), row(1, State.WAITING)], "the oldest first; what ran goes on"
        assert table.wanted(row(1).id) == {"secret": "s" * 100}
        for number in (1, 2):
            table.want(row(number).id, None)
        assert table.wanted(row(1).id) is None
        table.remove(row(1).id)
        assert table.rows() == [row(2, State.PAUSED)]
    journal = place.with_name(place.name + "-journal")
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    for left in (place.read_bytes(), journal.read_bytes()):
        assert b"ssss" not in left, "nothing is left of a link"


def test_what_a_killed_node_left_in_the_journal_is_overwritten(tmp_path: Path) -> None:
    place = tmp_path / "transfers.sqlite"
    with closing(Table(place, NETWORK)) as table:
        table.add(row(1), {"secret": "s" * 100})
        table._db.execute("UPDATE transfer SET wanted = 'null'")  # and not one step further
    journal = place.with_name(place.name + "-journal")
    assert b"ssss" in journal.read_bytes()
    Table(place, NETWORK).close()
    assert b"ssss" not in journal.read_bytes()


def test_a_full_disk_is_no_damage(tmp_path: Path) -> None:
    with closing(Table(tmp_path / "transfers.sqlite", NETWORK)) as table:
        ((pages,),) = table._db.execute("PRAGMA page_count")
        table._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(HttpError, match="the disk is full") as caught:
            table.add(row(1), ["x" * 100_000])
        assert caught.value.status == 507
        assert "make room" in (caught.value.hint or "")
        assert table.rows() == []
        table.add(row(1), None)
        table._db.execute("PRAGMA query_only = ON")  # as where nothing can be written
        with pytest.raises(MachineError) as other:
            table.remove(row(1).id)
        assert "move it away" not in (other.value.hint or ""), "that loses transfers"


def test_a_damaged_table_is_an_error_with_a_hint(tmp_path: Path) -> None:
    place = tmp_path / "transfers.sqlite"
    place.write_bytes(b"rubbish" * 1000)
    with pytest.raises(MachineError) as caught:
        Table(place, NETWORK)
    assert "move it away" in (caught.value.hint or "")
    place.unlink()
    with closing(Table(place, NETWORK)) as table:
        table.add(row(1), None)
    with closing(sqlite3.connect(place)) as db, db:
        db.execute("UPDATE transfer SET told = '{}'")
    with closing(Table(place, NETWORK)) as table, pytest.raises(MachineError):
        table.rows()
    with closing(sqlite3.connect(place)) as db, db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(MachineError, match="format 9"):
        Table(place, NETWORK)


def claim_place(folder: Path, name: str, before: Path | None) -> Path:
    place = free_place(folder, name, before)
    assert stage(place, before)
    return place


def test_nothing_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "Downloads"
    first = claim_place(folder, "film.mp4", None)
    assert first == folder / "film.mp4"
    assert staging_of(first).is_dir()
    second = claim_place(folder, "film.mp4", None)
    assert second == folder / "film (2).mp4", "the first is on its way"
    assert claim_place(folder, "film.mp4", first) == first, "it goes on"
    (staging_of(first) / "state").write_bytes(b"archipel fetch 1\n")
    first.write_text("somebody else's")
    third = claim_place(folder, "film.mp4", first)
    assert third == folder / "film (3).mp4"
    assert (staging_of(third) / "state").exists(), "what has come moves along"
    assert not staging_of(first).exists()
    assert first.read_text() == "somebody else's"
    (folder / "notes").write_text("somebody else's")
    assert claim_place(folder, "notes", None) == folder / "notes (2)"
    fourth = free_place(folder, "notes", None)
    assert free_place(folder, "notes", None, {fourth}) == folder / "notes (4)", "another download has noted it"
    staging_of(fourth).mkdir()
    assert not stage(fourth, None), "somebody was quicker"


@pytest.mark.parametrize(
    ("name", "number", "wanted"),
    [
        ("film", 1, "film"),
        ("film", 2, "film (2)"),
        ("film.tar.gz", 3, "film.tar (3).gz"),
        (".profile", 2, ".profile (2)"),
        ("What? No. Never again", 2, "What? No. Never again (2)"),
        ("é" * 127 + "x", 10, "é" * 125 + " (10)"),
        ("a" * 255, 2, "a" * 251 + " (2)"),
    ],
)
def test_numbered(name: str, number: int, wanted: str) -> None:
    assert numbered(name, number) == wanted
    assert len(os.fsencode(wanted)) <= 255


@pytest.mark.parametrize("to", ["", "relative", "/no/such/folder", "/etc/passwd", "/a\0b", "/\udcff\ud800"])
def test_a_folder_has_to_be_one(to: str) -> None:
    with pytest.raises(ConfigError):
        check_folder(to)


def test_a_folder_has_to_take_something(tmp_path: Path) -> None:
    assert check_folder(str(tmp_path)) == tmp_path
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="nothing can be written to '/proc'"):
        check_folder("/proc")


def test_what_is_published_has_the_names_times_and_folders_of_the_upload(tmp_path: Path) -> None:
    listed = [
        {"path": "b/deep/2", "size": 3, "mtime": 1_700_000_000.123},
        {"path": "b-side", "size": 2},
        {"path": "b/1", "size": 4, "mtime": 5},
        {"path": "b/empty", "size": 0},
    ]
    upload = Upload.of(Upload.asked({"name": "x", "folder": "/films/", "files": listed}).kept())
    assert upload.drive_path == b"films/x"
    spool = Spool(tmp_path / "uploads/net/id", upload.sizes)
    (tmp_path / "uploads").mkdir()
    spool.make()
    pack = spool.open(spool.pack)
    spool.write(pack, b"222" + b"ss" + b"1")
    spool.close(pack, spool.pack)
    alone = spool.open(2)
    spool.write(alone, b"1111")
    spool.close(alone, 2)
    assert spool.missing == 0
    content = upload.content("0" * 32, spool)
    assert b"".join(bytes(part) for part in content.segments(lambda size: memoryview(bytearray(size)))) == b"ss1111222"
    entries = [(entry.path, entry.kind, entry.size, entry.mtime_ns) for entry in content.entries()]
    assert entries == [
        (b"b", EntryKind.FOLDER, 0, 0),
        (b"b-side", EntryKind.FILE, 2, 0),
        (b"b/1", EntryKind.FILE, 4, 5 * 10**9),
        (b"b/deep", EntryKind.FOLDER, 0, 0),
        (b"b/deep/2", EntryKind.FILE, 3, 1_700_000_000_123_000_000),
        (b"b/empty", EntryKind.FILE, 0, 0),
    ]
    assert [entry[0] for entry in entries] == sorted(entry[0] for entry in entries)
    (tmp_path / "uploads/net/id/2").write_bytes(b"2222")
    with pytest.raises(MachineError, match="changed while it was being published"):
        list(content.segments(lambda size: memoryview(bytearray(size))))


def test_an_upload_without_files_is_a_folder(tmp_path: Path) -> None:
    content = Upload.asked({"name": "new", "files": []}).content("0" * 32, Spool(tmp_path, ()))
    assert [(entry.path, entry.kind) for entry in content.entries()] == [(b"new", EntryKind.FOLDER)]


def test_counts_are_what_progress_tells() -> None:
    progress = Progress()
    part = progress.part(100, 4)
    part.sealed()
    part.held([(b"one", "FR"), (b"two", "")])
    part.confirmed(2, moved=60)
    counts = Counts.of(progress, 1000)
    assert counts == Counts(
        sealed_bytes=100,
        placed_chunks=2,
        chunks=4,
        confirmed_bytes=50,
        sent_bytes=1060,
        nodes=2,
        countries={"FR": 1, "": 1},
    )
