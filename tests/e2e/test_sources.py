"""Whatever can be published comes back as it was."""

import os
import socket
from pathlib import Path

from tests.e2e.trees import LONG_AGO, make_island, random_bytes, snapshot, write
from tests.e2e.world import Person


def test_a_folder_of_everything(alice: Person, bob: Person, tmp_path: Path) -> None:
    island = tmp_path / "island"
    make_island(island)
    link = alice.publish(island)["link"]
    bob.run("fetch", link, "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == snapshot(island)
    assert not (tmp_path / "copy.part").exists()

    listed = {os.fsencode(entry["path"]): entry for entry in bob.json("ls", link)["entries"]}
    assert set(listed) == {b"island/" + path if path else b"island" for path in snapshot(island)}
    assert listed[b"island/run me.sh"] == {
        "path": "island/run me.sh",
        "kind": "file",
        "size": 10,
        "mtime": listed[b"island/run me.sh"]["mtime"],
        "executable": True,
    }
    assert listed["island/Übersee/link up".encode()]["target"] == "../many/0/file-000"
    shown = bob.run("ls", link).text
    assert len(shown.splitlines()) == len(listed), "a newline in a name does not break the line"
    assert "line one\\nline two" in shown
    assert "island/link to a folder -> many" in shown


def test_a_single_file_under_its_own_name(alice: Person, bob: Person, tmp_path: Path) -> None:
    source = tmp_path / "thesis.pdf"
    write(source, random_bytes(3, 200_000), mode=0o755)
    published = alice.publish(source)
    assert published["bytes"] == 200_000
    here = tmp_path / "elsewhere"
    here.mkdir()
    fetched = bob.json("fetch", published["link"], cwd=here)
    assert fetched["paths"] == ["thesis.pdf"]
    assert snapshot(here / "thesis.pdf") == snapshot(source)


def test_several_paths_at_once(alice: Person, bob: Person, tmp_path: Path) -> None:
    write(tmp_path / "a" / "deep" / "one", b"1")
    write(tmp_path / "b.txt", b"2")
    (tmp_path / "alias").symlink_to("b.txt")
    link = alice.publish(tmp_path / "a" / "deep", tmp_path / "b.txt", tmp_path / "alias")["link"]
    bob.run("fetch", link, "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy" / "deep") == snapshot(tmp_path / "a" / "deep")
    assert snapshot(tmp_path / "copy" / "b.txt") == snapshot(tmp_path / "b.txt")
    assert snapshot(tmp_path / "copy" / "alias") == snapshot(tmp_path / "b.txt"), "a link named by hand is followed"


def test_standard_input(alice: Person, bob: Person, tmp_path: Path) -> None:
    content = random_bytes(4, 17_000_000)
    published = alice.publish("-", "--name", "project.tar", stdin=content)
    assert published["bytes"] == len(content)
    assert bob.run("fetch", published["link"], "-o", "-").out == content


def test_nothing_at_all_on_standard_input(alice: Person, bob: Person, tmp_path: Path) -> None:
    link = alice.publish("-", "--name", "nothing")["link"]
    assert bob.run("fetch", link, "-o", "-").out == b""
    bob.run("fetch", link, "-o", tmp_path / "nothing")
    assert (tmp_path / "nothing").read_bytes() == b""


def test_an_empty_file_and_an_empty_folder(alice: Person, bob: Person, tmp_path: Path) -> None:
    write(tmp_path / "void", b"", mode=0o755)
    (tmp_path / "hollow").mkdir()
    os.utime(tmp_path / "hollow", ns=(LONG_AGO, LONG_AGO))
    link = alice.publish(tmp_path / "void", tmp_path / "hollow")["link"]
    bob.run("fetch", link, "-o", tmp_path / "copy")
    for name in ("void", "hollow"):
        assert snapshot(tmp_path / "copy" / name) == snapshot(tmp_path / name)


def test_what_cannot_be_published_is_left_out_and_told(alice: Person, bob: Person, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    write(secret, b"not of this folder")
    island = tmp_path / "island"
    write(island / "kept", b"kept")
    (island / "out").symlink_to("../secret")
    (island / "absolute").symlink_to(secret)
    (island / "round about").symlink_to("kept/../../secret")
    os.mkfifo(island / "pipe")
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(str(island / "socket"))
        result = alice.run("publish", island)
        published = alice.publish(island)
    named = {"out", "absolute", "round about", "pipe", "socket"}
    assert {text.removeprefix("island/").partition(":")[0] for text in published["skipped"]} == named
    assert all(f"note: island/{name}: " in result.err for name in named)
    bob.run("fetch", published["link"], "-o", tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["kept"]


def test_nothing_but_what_cannot_be_published(alice: Person, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "nothing to publish: pipe: neither" in alice.run("publish", tmp_path / "pipe", code=7).err


def test_three_thousand_small_files(alice: Person, bob: Person, tmp_path: Path) -> None:
    crowd = tmp_path / "crowd"
    for number in range(3_000):
        write(crowd / f"{number % 50:02}" / f"{number:04}.txt", random_bytes(number, number % 900))
    published = alice.publish(crowd)
    assert published["segments"] <= 6, "small files are packed together"
    bob.run("fetch", published["link"], "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == snapshot(crowd)


def test_a_file_of_seventy_mebibytes(alice: Person, bob: Person, tmp_path: Path) -> None:
    source = tmp_path / "film"
    write(source, random_bytes(5, 70 << 20))
    published = alice.publish(source)
    assert published["segments"] == 6, "five of the file, and the root"
    assert published["placed"] == published["chunks"] == 4 * 12 + 12 + 5
    assert published["sent_bytes"] == published["stored_bytes"]
    bob.run("fetch", published["link"], "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == snapshot(source)
