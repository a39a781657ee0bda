"""The drive of an account in a file manager: WebDAV with a password, from a real node; rclone where it is installed."""

import base64
import http.client
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from node.account.agent import end_agent, start_agent
from node.account.vault import Vault
from node.home import Home
from protocol.account import AccountKeys
from tests.e2e.test_accounts import CHEAP, PASSPHRASE
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import Nodes, Person, learn_secret

KEYS = AccountKeys(bytes(range(70, 102)))


@dataclass
class Drive:
    """A node, and the account of its home with things in its drive."""

    owner: Person
    photos: Path
    word: str
    host: str
    password: str
    data: Path
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shown = base64.b64encode(f"archipel:{self.password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {shown}", "Depth": "1"}

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=20)
        connection.request(method, path, headers=self.headers if headers is None else headers)
        answered = connection.getresponse()
        found = answered.status, answered.read()
        connection.close()
        return found

    def names(self, path: str) -> list[str]:
        status, body = self.ask("PROPFIND", path)
        assert status == 207, body
        return [str(element.text) for element in ElementTree.fromstring(body).iter("{DAV:}href")][1:]


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    folder = tmp_path_factory.mktemp("webdav")
    nodes, home = Nodes(folder), Home(folder / "home")
    home.create()
    Vault.of(home).create(KEYS, PASSPHRASE, CHEAP)
    start_agent(home, KEYS, 600)
    try:
        node = nodes.start("one", "--http", "127.0.0.1:0")
        owner = nodes.person("home", node)
        photos = folder / "Photos"
        write(photos / "2028" / "a b.jpg", random_bytes(1, 2_000_000))
        write(photos / "été.txt", b"warm")
        write(folder / "letter.txt", b"dear reader")
        link = owner.publish(photos, "--shares", "2/3")["link"]
        learn_secret(link)
        owner.publish(folder / "letter.txt", "--shares", "2/3")
        owner.run("drive", "mv", "letter.txt", "kept/letter.txt")
        told = owner.json("open", "--webdav", "--data", folder / "one")
        assert told["url"] == f"http://{node.said['http']}/dav/drive/"
        assert told["user"] == "archipel"
        yield Drive(owner, photos, link.removeprefix("archipel:"), node.said["http"], told["password"], folder / "one")
        assert told["password"] not in node.log.read_text()
    finally:
        nodes.end()
        end_agent(home)


def test_the_drive_is_walked_and_read(drive: Drive) -> None:
    assert drive.names("/dav/drive/") == ["/dav/drive/Photos/", "/dav/drive/kept/"]
    assert drive.names("/dav/drive/kept/") == ["/dav/drive/kept/letter.txt/"]
    assert drive.names("/dav/drive/kept/letter.txt") == ["/dav/drive/kept/letter.txt/letter.txt"]
    assert drive.names("/dav/drive/Photos/") == ["/dav/drive/Photos/2028/", "/dav/drive/Photos/%C3%A9t%C3%A9.txt"]
    photo = (drive.photos / "2028" / "a b.jpg").read_bytes()
    assert drive.ask("GET", "/dav/drive/Photos/2028/a%20b.jpg") == (200, photo)
    assert drive.ask("GET", "/dav/drive/Photos/2028/a%20b.jpg", drive.headers | {"Range": "bytes=-9"}) == (
        206,
        photo[-9:],
    )
    assert drive.ask("PROPFIND", "/dav/drive/nothing")[0] == 404
    assert drive.ask("PROPFIND", "/dav/drive/Photos/nothing")[0] == 404
    assert drive.ask("DELETE", "/dav/drive/Photos/2028/a%20b.jpg")[0] == 405
    assert drive.owner.run("open", "--webdav", "--data", drive.data).text.startswith("url:      http://127.0.0.1:")


def test_without_the_password_there_is_nothing_to_see(drive: Drive) -> None:
    for shown in ({}, {"Authorization": "Basic " + base64.b64encode(b"archipel:wrong").decode()}):
        status, body = drive.ask("PROPFIND", "/dav/drive/", {"Depth": "1"} | shown)
        assert (status, b"open --webdav" in body) == (401, True)
    assert drive.ask("PROPFIND", f"/dav/link/{drive.word}/", {"Depth": "1"})[0] == 207, "a link is all it takes"


def copy_by_hand(drive: Drive, path: str, target: Path) -> None:
    """As a small client would do it."""
    target.mkdir()
    for name in drive.names(path):
        place = target / unquote(name.rstrip("/").rpartition("/")[2])
        if name.endswith("/"):
            copy_by_hand(drive, name, place)
        else:
            status, content = drive.ask("GET", name)
            assert status == 200
            place.write_bytes(content)


def copy_by_rclone(drive: Drive, path: str, target: Path) -> None:
    """As docs/operations.md says."""
    obscure = ["rclone", "obscure", drive.password]
    secret = subprocess.run(obscure, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    config = target.with_suffix(".conf")
    config.write_text(
        f"[it]\ntype = webdav\nvendor = other\nurl = http://{drive.host}{path}\nuser = archipel\npass = {secret}\n"
    )
    command = ["rclone", "--config", str(config), "copy", "it:", str(target)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


def test_all_of_it_is_copied(drive: Drive, tmp_path: Path) -> None:
    copies = {"by hand": copy_by_hand}
    if shutil.which("rclone"):
        copies["by rclone"] = copy_by_rclone
    contents = {path: told[3] for path, told in snapshot(drive.photos).items()}
    for name, copy in copies.items():
        for path in ("/dav/drive/Photos/", f"/dav/link/{drive.word}/Photos/"):
            target = tmp_path / f"{name} {path[5:9]}"
            copy(drive, path, target)
            assert {path: told[3] for path, told in snapshot(target).items()} == contents


def test_a_locked_account_shows_nothing(drive: Drive) -> None:
    """The last of these: it stays locked."""
    end_agent(Home(drive.owner.home))
    status, body = drive.ask("PROPFIND", "/dav/drive/")
    assert (status, b"locked" in body) == (403, True)
