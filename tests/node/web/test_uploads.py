"""Uploads on their way to the disk: what is acknowledged is there, what is hostile is refused, nothing is lost."""

import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.account.vault import Vault
from node.home import Home
from node.web.site import own_site
from node.web.transfers import spool
from node.web.transfers.receiving import STALL_SECONDS
from node.web.transfers.table import Table
from protocol.account import AccountKeys
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from tests.node.web.asking import ADDRESS, Answer, Browser, Cut, parts_of
from tests.vectors.make_account import CHEAP

MIB = 1 << 20
Transfer = dict[str, Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """With an account, which is locked: nothing is published."""
    monkeypatch.setattr("node.account.unlocked.find_backend", lambda: None)
    home = Home(tmp_path / "home")
    home.create()
    Vault.of(home).create(AccountKeys(b"a" * 32), "correct horse battery", CHEAP)
    return home


class Node:
    """Its page, and the same page after the node was started again."""

    def __init__(self, home: Home | None) -> None:
        self.home = home

    async def start(self) -> Browser:
        self.parts = parts_of(home=self.home)
        return await Browser(own_site(self.parts, {}, ADDRESS)).begin()

    async def restart(self) -> Browser:
        self.stop()
        return await self.start()

    def stop(self) -> None:
        self.parts.transfers._book.close()


@pytest.fixture
def node(home: Home) -> Iterator[Node]:
    node = Node(home)
    yield node
    node.stop()


@pytest.fixture
async def browser(node: Node) -> Browser:
    return await node.start()


async def begin(browser: Browser, *files: tuple[str, int], name: str = "films", folder: str = "") -> Transfer:
    listed = [{"path": path, "size": size} for path, size in files]
    answer = await browser.ask("POST", "/v1/uploads", json={"name": name, "folder": folder, "files": listed})
    assert answer.status == 201, answer.body
    found: Transfer = answer.json()
    return found


async def put(browser: Browser, transfer: Transfer, what: str, body: Any, offset: int | str = 0) -> Answer:
    place = f"/v1/uploads/{transfer['id']}/{what}"
    return await browser.ask("PUT", place, body=body, headers={"Upload-Offset": str(offset)})


async def look(browser: Browser, transfer: Transfer) -> Transfer:
    found: Transfer = (await browser.ask("GET", f"/v1/uploads/{transfer['id']}")).json()
    return found


def lying(home: Home) -> dict[str, bytes]:
    """The files of the one upload that there is."""
    return {path.name: path.read_bytes() for path in (home.path / "uploads").glob("*/*/*")}


async def test_what_is_received_is_on_the_disk_and_nobody_elses(home: Home, browser: Browser) -> None:
    data = Random(1).randbytes(2 * MIB + 5)
    transfer = await begin(browser, ("a", len(data)), ("b", 3), ("empty", 0))
    answer = await put(browser, transfer, "files/0", data[:MIB])
    assert (answer.status, answer.json()) == (200, {"received": MIB})
    assert lying(home) == {"0": data[:MIB]}
    assert (await put(browser, transfer, "files/0", data[MIB:], MIB)).json() == {"received": len(data)}
    found = await look(browser, transfer)
    assert [item["received"] for item in found["files"]] == [len(data), 0, 0]
    assert [(item["path"], item["size"], item["mtime_ms"]) for item in found["files"]] == [
        ("a", len(data), 0),
        ("b", 3, 0),
        ("empty", 0, 0),
    ]
    assert (found["transfer"]["state"], found["transfer"]["received_bytes"]) == ("receiving", len(data))
    assert (await put(browser, transfer, "files/1", b"xyz")).status == 200
    found = await look(browser, transfer)
    assert (found["transfer"]["state"], found["transfer"]["received_bytes"]) == ("waiting", len(data) + 3)
    assert lying(home) == {"0": data, "1": b"xyz"}
    for path in (home.path / "uploads").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE(home.transfers.stat().st_mode) == 0o600


async def test_only_what_follows_is_taken(home: Home, browser: Browser) -> None:
    transfer = await begin(browser, ("a", 10))
    assert (await put(browser, transfer, "files/0", b"0123")).status == 200
    for offset in (0, 3, 5, 10):
        answer = await put(browser, transfer, "files/0", b"abc", offset)
        assert (answer.status, answer.json()["received"]) == (409, 4)
        assert "4 bytes of this file are here" in answer.json()["error"]["text"]
    for text in ("", "-1", "x", "1.5", "9" * 30, "٣"):
        headers = {"Upload-Offset": text.encode().decode("latin-1")}
        answer = await browser.ask("PUT", f"/v1/uploads/{transfer['id']}/files/0", body=b"abc", headers=headers)
        assert answer.status == 400, text
    answer = await browser.ask("PUT", f"/v1/uploads/{transfer['id']}/files/0", body=b"abc")
    assert answer.error["text"] == "the header Upload-Offset is missing"
    assert (await put(browser, transfer, "files/0", b"4567890", 4)).status == 413
    assert (await put(browser, transfer, "files/1", b"1")).status == 404
    assert (await put(browser, transfer, "files/-1", b"1")).status in (404, 405)
    assert lying(home) == {"0": b"0123"}


async def test_who_still_sends_sees_why_it_is_refused(home: Home, browser: Browser) -> None:
    taken: list[int] = []

    async def long() -> AsyncIterator[bytes]:
        for number in range(50):
            taken.append(number)
            yield b"x" * 1000

    transfer = await begin(browser, ("a", 50_000))
    assert (await put(browser, transfer, "files/0", long(), 7)).status == 409
    assert len(taken) == 50, "all of it was read, and none of it kept"
    assert lying(home) == {}


async def test_a_body_without_length_ends_where_the_file_does(home: Home, browser: Browser) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1000

    transfer = await begin(browser, ("a", 2500))
    assert (await put(browser, transfer, "files/0", endless())).status == 413
    assert lying(home) == {"0": b"x" * 2000}
    assert (await put(browser, transfer, "files/0", b"x" * 500, 2000)).status == 200


async def test_what_came_of_a_body_that_broke_off_is_kept(home: Home, browser: Browser) -> None:
    transfer = await begin(browser, ("a", 5000))
    assert (await put(browser, transfer, "files/0", Cut(b"x" * 3000))).status == 400
    assert lying(home) == {"0": b"x" * 3000}
    assert (await look(browser, transfer))["files"][0]["received"] == 3000
    assert (await put(browser, transfer, "files/0", b"y" * 2000, 3000)).status == 200


async def test_who_sends_nothing_is_hung_up_on(home: Home, browser: Browser, autojump_clock: MockClock) -> None:
    async def silent() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x"
            await trio.sleep(STALL_SECONDS - 1)
        await trio.sleep(2)
        yield b"never"

    transfer = await begin(browser, ("a", 5000))
    began = trio.current_time()
    answer = await put(browser, transfer, "files/0", silent())
    assert (answer.status, trio.current_time() - began) == (408, 3 * STALL_SECONDS - 2)
    assert lying(home) == {"0": b"xxx"}


async def test_a_page_that_is_loaded_again_takes_over(
    home: Home, browser: Browser, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 100
        await trio.sleep(20)
        yield b"never"

    answers: list[Answer] = []

    async def first() -> None:
        answers.append(await put(browser, transfer, "files/0", slow()))

    transfer = await begin(browser, ("a", 5000))
    nursery.start_soon(first)
    await trio.sleep(1)
    answer = await put(browser, transfer, "files/0", b"y" * 10, 0)
    assert (answer.status, answer.json()["received"]) == (409, 100)
    assert answers[0].status == 409
    assert (await put(browser, transfer, "files/0", b"y" * 10, 100)).json() == {"received": 110}
    assert lying(home) == {"0": b"x" * 100 + b"y" * 10}


async def test_small_files_come_as_one(node: Node, browser: Browser) -> None:
    sizes = [5, 0, MIB, 7, 300, MIB - 1]
    contents = [Random(size).randbytes(size) for size in sizes]
    transfer = await begin(browser, *((str(number), size) for number, size in enumerate(sizes)))
    pack = b"".join(data for data in contents if len(data) < MIB)
    assert (await look(browser, transfer))["pack"] == {"below": MIB, "bytes": len(pack), "received": 0}
    assert (await put(browser, transfer, "files/3", contents[3])).status == 200, "one of them alone"
    assert (await put(browser, transfer, "pack", pack[:100])).json() == {"received": 100}
    found = await look(browser, transfer)
    assert [item["received"] for item in found["files"]] == [5, 0, 0, 7, 0, 0]
    assert found["transfer"]["received_bytes"] == 12
    assert (await put(browser, transfer, "pack", pack, 0)).status == 409
    browser = await node.restart()
    assert await look(browser, transfer) == found
    assert (await put(browser, transfer, "pack", pack[100:], 100)).json() == {"received": len(pack)}
    assert (await look(browser, transfer))["transfer"]["state"] == "receiving"
    assert (await put(browser, transfer, "files/2", contents[2])).status == 200
    found = await look(browser, transfer)
    assert (found["transfer"]["state"], found["transfer"]["received_bytes"]) == ("waiting", sum(sizes))
    assert [item["received"] for item in found["files"]] == sizes


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "a"},
        {"name": "a", "files": {}},
        {"name": "", "files": []},
        {"name": "a/b", "files": []},
        {"name": "..", "files": []},
        {"name": "a\0", "files": []},
        {"name": "a" * 256, "files": []},
        {"name": "a\n", "files": []},
        {"name": "a\x7f", "files": []},
        {"name": "\udc80", "files": []},
        {"name": "\ud800", "files": []},
        {"name": "a", "folder": "../b", "files": []},
        {"name": "a", "folder": "b//c", "files": []},
        {"name": "a", "folder": "b/" * 300 + "c", "files": []},
        {"name": "a", "folder": 1, "files": []},
        {"name": "a", "files": [{"path": "b"}]},
        {"name": "a", "files": ["b"]},
        {"name": "a", "files": [{"path": "", "size": 1}]},
        {"name": "a", "files": [{"path": "/etc/passwd", "size": 1}]},
        {"name": "a", "files": [{"path": "b/../../c", "size": 1}]},
        {"name": "a", "files": [{"path": "b\0c", "size": 1}]},
        {"name": "a", "files": [{"path": "\ud800", "size": 1}]},
        {"name": "a", "files": [{"path": "b/\x1b[2Jc", "size": 1}]},
        {"name": "a", "files": [{"path": "b", "size": -1}]},
        {"name": "a", "files": [{"path": "b", "size": 1.5}]},
        {"name": "a", "files": [{"path": "b", "size": True}]},
        {"name": "a", "files": [{"path": "b", "size": 10**30}]},
        {"name": "a", "files": [{"path": "b", "size": 1, "mtime": "now"}]},
        {"name": "a", "files": [{"path": "b", "size": 1, "mtime": -1}]},
        {"name": "a", "files": [{"path": "b", "size": 1, "mtime": float("nan")}]},
        {"name": "a", "files": [{"path": "b", "size": 1}, {"path": "b", "size": 2}]},
        {"name": "a", "files": [{"path": "b", "size": 1}, {"path": "b/c", "size": 2}]},
        {"name": "a", "files": [{"path": "b/c/d", "size": 1}, {"path": "b", "size": 2}]},
        {"name": "a", "files": [{"path": "b", "size": 0}] * 100_001},
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_kept(
    home: Home, browser: Browser, body: dict[str, object]
) -> None:
    answer = await browser.ask("POST", "/v1/uploads", json=body)
    assert (answer.status, answer.error["exit"]) == (400, 2), answer.body
    assert not (home.path / "uploads").exists()
    assert (await browser.ask("GET", "/v1/transfers")).json() == {"transfers": []}


async def test_too_long_a_list_is_not_read(browser: Browser) -> None:
    answer = await browser.ask("POST", "/v1/uploads", body=b" " * (8 * MIB + 1))
    assert answer.status == 413


async def test_a_long_list_comes_back_whole(browser: Browser) -> None:
    transfer = await begin(browser, *((f"é{number}", number) for number in range(1201)))
    found = await look(browser, transfer)
    assert [(file["path"], file["size"]) for file in found["files"]] == [(f"é{n}", n) for n in range(1201)]


async def test_there_are_only_so_many_files(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.web.transfers.book.MAX_OPEN_FILES", 3)
    transfer = await begin(browser, ("a", 1), ("b", 1))
    body = {"name": "more", "files": [{"path": "c", "size": 1}, {"path": "d", "size": 1}]}
    answer = await browser.ask("POST", "/v1/uploads", json=body)
    assert (answer.status, answer.error["exit"]) == (403, 4)
    assert "have 2 files, 3 at most with the 2 of this one" in answer.error["text"]
    assert (await browser.ask("POST", f"/v1/transfers/{transfer['id']}/cancel")).status == 200
    assert (await browser.ask("POST", "/v1/uploads", json=body)).status == 201


LINK = Link(LinkKind.READ, SegmentId(b"r" * 32), b"k" * 32)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"link": str(LINK.verify_link())}, "this is a verify link"),
        ({"link": str(LINK), "to": "/nowhere"}, "there is no folder"),
    ],
)
async def test_what_can_only_fail_is_not_begun(browser: Browser, wanted: dict[str, str], told: str) -> None:
    answer = await browser.ask("POST", "/v1/downloads", json=wanted)
    assert (answer.status, answer.error["exit"]) == (400, 2)
    assert told in answer.error["text"]
    assert (await browser.ask("GET", "/v1/transfers")).json() == {"transfers": []}


async def test_there_has_to_be_room(home: Home, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [10_000]
    monkeypatch.setattr(spool, "room", lambda _: free[0])
    body = {"name": "a", "files": [{"path": "b", "size": 10_001}]}
    answer = await browser.ask("POST", "/v1/uploads", json=body)
    assert (answer.status, answer.error["exit"]) == (507, 7)
    assert "has room for 10000" in answer.error["text"]
    transfer = await begin(browser, ("b", 6000))
    answer = await browser.ask("POST", "/v1/uploads", json={"name": "a", "files": [{"path": "b", "size": 4001}]})
    assert answer.status == 507, "what others are still to bring counts"
    free[0] = 5000
    assert (await put(browser, transfer, "files/0", b"x" * 4000)).json() == {"received": 4000}
    free[0] = 1000
    assert (await put(browser, transfer, "files/0", b"x" * 2000, 4000)).status == 507
    assert (await look(browser, transfer))["files"][0]["received"] == 4000
    free[0] = 5000
    assert (await put(browser, transfer, "files/0", b"x" * 2000, 4000)).status == 200


async def test_on_a_full_disk_an_upload_is_cancelled_by_the_room_it_gives_back(
    home: Home, node: Node, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = Table._execute

    def where_there_is_room(table: Table, sql: str, values: tuple[object, ...]) -> None:
        if lying(home) or others:
            raise spool.full("the disk is full")
        execute(table, sql, values)

    others = False
    for taken in (False, True):
        monkeypatch.setattr(Table, "_execute", execute)
        transfer = await begin(browser, ("a", 10))
        place = f"/v1/transfers/{transfer['id']}"
        assert (await put(browser, transfer, "files/0", b"01234")).status == 200
        monkeypatch.setattr(Table, "_execute", where_there_is_room)
        answer = await browser.ask("POST", f"{place}/pause")
        assert (answer.status, answer.error["exit"]) == (507, 7)
        assert "make room" in answer.error["hint"]
        assert (await look(browser, transfer))["transfer"]["state"] == "receiving"
        if others := taken:  # what is given back is not free for long
            assert (await browser.ask("POST", f"{place}/cancel")).status == 507
            assert lying(home) == {}, "the room is given back all the same"
            answer = await browser.ask("POST", f"{place}/resume")
            assert (answer.status, answer.error["text"]) == (409, "what was uploaded is gone")
        others = False
        assert (await browser.ask("POST", f"{place}/cancel")).json()["state"] == "cancelled"
        assert lying(home) == {}
        browser = await node.restart()
        assert (await look(browser, transfer))["transfer"]["state"] == "cancelled"


def test_some_of_the_disk_is_left(tmp_path: Path) -> None:
    found = spool.room(tmp_path)
    assert found is not None
    assert found >= 0


async def test_nobody_publishes_without_an_account(tmp_path: Path) -> None:
    body = {"name": "a", "files": []}
    for home in (None, Home(tmp_path / "other")):
        node = Node(home)
        answer = await (await node.start()).ask("POST", "/v1/uploads", json=body)
        node.stop()
        assert (answer.status, answer.error["text"]) == (404, "this node has no account")
        assert answer.error["hint"]


async def test_paused_nothing_is_taken(home: Home, node: Node, browser: Browser) -> None:
    transfer = await begin(browser, ("a", 10))
    assert (await put(browser, transfer, "files/0", b"01234")).status == 200
    answer = await browser.ask("POST", f"/v1/transfers/{transfer['id']}/pause")
    assert (answer.json()["state"], answer.json()["received_bytes"]) == ("paused", 5)
    assert (await put(browser, transfer, "files/0", b"56789", 5)).status == 409
    browser = await node.restart()
    assert (await look(browser, transfer))["transfer"]["state"] == "paused"
    assert (await browser.ask("POST", f"/v1/transfers/{transfer['id']}/resume")).json()["state"] == "receiving"
    assert (await put(browser, transfer, "files/0", b"56789", 5)).status == 200
    assert (await browser.ask("POST", f"/v1/transfers/{transfer['id']}/cancel")).json()["state"] == "cancelled"
    assert lying(home) == {}
    assert not list((home.path / "uploads").glob("*/*"))
    assert (await put(browser, transfer, "files/0", b"", 10)).status == 409
    assert (await browser.ask("POST", f"/v1/transfers/{'0' * 32}/pause")).status == 404
