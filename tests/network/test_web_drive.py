"""The drive by the API of a node's page: on a network, without it, and beside other machines of the account."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.account.held import Held
from node.drive.service import DriveService
from node.keeping import check as check_module
from node.web.desks.drive import FRESH_SECONDS, IDLE_SECONDS
from protocol.links import Link
from tests.network.archipelago import Archipelago, archipelago
from tests.network.paging import page
from tests.network.test_drive import ACCOUNT, entry, machine
from tests.network.test_drive_deposits import connect, cut_off, new_name, publish

MINUTE = 60


@pytest.fixture
async def islands(autojump_clock: MockClock, base: Path) -> AsyncIterator[Archipelago]:
    async with archipelago(base, 8) as islands:
        yield islands


async def test_what_lies_in_it(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with page(islands) as one:
        empty = await one.get("/v1/drive")
        assert (empty["items"], empty["offline"], empty["seen"]) == ([], None, None), "no drive yet is no failure"
        await publish(one.machine, islands.file("photo", 50_000))
        await new_name(one.machine)
        answer = await one.post("folders", path="/films/2026/")
        assert (answer.status, answer.json()["path"], answer.json()["unsent"]) == (201, "films/2026", False)
        drive = await one.get("/v1/drive")
        folder, photo, blog = (next(i for i in drive["items"] if i["path"] == p) for p in ("films", "photo", "blog"))
        assert (folder["kind"], folder["size"], folder["mine"]) == ("folder", None, True)
        assert (photo["kind"], photo["size"], photo["mine"]) == ("deposit", 50_000, True)
        assert photo["published"] > 1_700_000_000
        assert photo["expiry"] > photo["published"]
        assert (blog["kind"], blog["label"], blog["expiry"]) == ("name", "blog", None)
        assert len({item["id"] for item in drive["items"]}) == 3
        assert await one.paths("films") == ["films/2026"]
        assert await one.paths("photo") == ["photo"]
        for path, status in [("nothing", 404), ("a%00b", 400), ("a//b", 400), ("..", 400), ("x" * 5000, 400)]:
            assert (await one.browser.ask("GET", f"/v1/drive?path={path}")).status == status, path


async def test_it_is_shown_at_once_and_read_meanwhile(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with page(islands) as one, machine(islands, "two") as two:
        await one.post("folders", path="films")
        await trio.sleep(FRESH_SECONDS)
        await two.add("elsewhere")
        began = trio.current_time()
        drive = await one.get("/v1/drive")
        assert trio.current_time() - began < 0.001, "nobody waited for the network"
        assert ([item["path"] for item in drive["items"]], drive["refreshing"]) == (["films"], True)
        await trio.sleep(2)
        drive = await one.get("/v1/drive")
        assert ([item["path"] for item in drive["items"]], drive["refreshing"]) == (["elsewhere", "films"], False)
        assert drive["seen"] is not None


async def test_another_machine_sees_the_drive_at_its_first_look(
    autojump_clock: MockClock, islands: Archipelago
) -> None:
    async with page(islands) as one, page(islands, "two") as two:
        await one.post("folders", path="films")
        drive = await two.get("/v1/drive")
        assert [item["path"] for item in drive["items"]] == ["films"]


async def test_without_the_network(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with page(islands) as one:
        link = (await publish(one.machine, islands.file("photo", 1000))).published.link
        await one.post("folders", path="films")
        cut_off(islands, one.machine)
        await trio.sleep(MINUTE)
        answer = await one.post("folders", path="songs")
        assert (answer.status, answer.json()["unsent"]) == (201, True)
        assert answer.json()["offline"]
        assert await one.paths() == ["films", "photo", "songs"]
        drive = await one.get("/v1/drive")
        assert drive["unsent"]
        assert "no node near the name answers" in drive["offline"]
        done = (await one.post("remove", path="photo")).json()
        assert (done["removed"], [left["path"] for left in done["left"]]) == ([], ["photo"]), "its leases go on"
        assert (await one.post("link", path="photo")).json()["link"] == str(link)
        assert (await one.post("share", path="photo", verify=True)).json()["link"] == str(link.verify_link())
        health = await one.get("/v1/drive/health")
        assert [item["state"] for item in health["items"].values()] == ["unknown"]
        connect(islands)
        await one.post("folders", path="back")
        assert not (await one.get("/v1/drive"))["unsent"]
    async with page(islands, "two") as two:
        assert await two.paths() == ["back", "films", "photo", "songs"]


async def test_changes(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with page(islands) as one:
        await publish(one.machine, islands.file("photo", 1000))
        assert (await one.post("folders", path="films")).status == 201
        taken = await one.post("folders", path="films")
        assert (taken.status, taken.error["exit"]) == (409, 4)
        assert taken.error["text"] == "there is something at 'films' in the drive already"
        assert (await one.post("move", **{"from": "photo", "to": "films"})).status == 200
        assert await one.paths("films") == ["films/photo"]
        moves: list[tuple[dict[str, object], int]] = [
            ({"from": "photo", "to": "x"}, 404),
            ({"from": "films", "to": "films/x"}, 403),
            ({"from": "films/photo", "to": "a/../b"}, 400),
            ({"from": "films/photo", "to": "\ud800"}, 400),
            ({"from": "films/photo"}, 400),
            ({"from": "films/photo", "to": 7}, 400),
        ]
        for body, status in moves:
            assert (await one.post("move", **body)).status == status, body
        not_empty = await one.post("remove", path="films")
        assert (not_empty.status, not_empty.error["text"]) == (403, "'films' is a folder with 1 things in it")
        done = (await one.post("remove", path="films", recursive=True)).json()
        assert (sorted(done["removed"]), done["left"], done["unsent"]) == (["films", "films/photo"], [], False)
        assert await one.paths() == []
        await trio.sleep(1)
        assert (await one.post("remove", path="")).status == 403


async def test_what_cannot_be_removed_is_said(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with page(islands) as one:
        await publish(one.machine, islands.file("photo", 100_000))
        next(node for node in islands.nodes if node.chunks()).kill()
        done = (await one.post("remove", path="photo")).json()
        assert done["removed"] == []
        assert [left["path"] for left in done["left"]] == ["photo"]
        assert done["left"][0]["why"]
        done = (await one.post("remove", path="photo", forget=True)).json()
        assert done["removed"] == ["photo"]


async def test_renewed(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with page(islands) as one:
        await publish(one.machine, islands.file("photo", 1000))
        await new_name(one.machine)
        before = (await one.get("/v1/drive?path=photo"))["items"][0]["expiry"]
        await trio.sleep(1000)
        done = (await one.post("renew", path=None)).json()
        assert [(item["path"], item["kind"], item["why"]) for item in done["renewed"]] == [("photo", "deposit", None)]
        assert done["failed"] == []
        assert (await one.get("/v1/drive?path=photo"))["items"][0]["expiry"] >= before + 1000
        assert (await one.post("renew", path="nothing")).status == 404
        assert (await one.post("renew")).status == 400, "all of it is renewed when that is said"
        answer = await one.post("renew", path="blog")
        assert "a name that leads nowhere yet" in answer.error["text"]


async def test_how_things_are(autojump_clock: MockClock, islands: Archipelago, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Link] = []

    async def check(client: Any, link: Link, *rest: Any) -> Any:
        counted.append(link)
        return await check_module.check(client, link, *rest)

    monkeypatch.setattr("node.drive.health.check", check)
    async with page(islands) as one:
        link = (await publish(one.machine, islands.file("photo", 100_000))).published.link
        await new_name(one.machine)
        await one.machine.service.change(lambda drive, now_ms: drive.merge(type(drive).of([entry("gone", now_ms)])))
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await one.get("/v1/drive/health"))

        async with trio.open_nursery() as tabs:
            for _ in range(3):
                tabs.start_soon(ask)
        assert len(counted) == 2, "each was counted once, for all tabs"
        assert answers[0] == answers[1] == answers[2]
        items = {item["path"]: item["id"] for item in (await one.get("/v1/drive"))["items"]}
        photo, gone, blog = (answers[0]["items"][items[path]] for path in ("photo", "gone", "blog"))
        assert (photo["state"], photo["healthy"], photo["live"], photo["error"]) == (
            "whole",
            True,
            photo["chunks"],
            None,
        )
        assert sum(photo["countries"].values()) == photo["live"]
        assert photo["survives"]["nodes"] >= 1
        assert set(photo["survives"]["country"]) | set(photo["survives"]["not_country"]) == set(photo["countries"])
        assert (gone["state"], gone["healthy"]) == ("lost", False)
        assert gone["error"]
        assert blog["error"] == "nothing was published under it yet"
        assert answers[0]["waiting"] == []
        await one.get("/v1/drive/health?path=photo")
        assert len(counted) == 2
        await trio.sleep(MINUTE)
        await one.get("/v1/drive/health?path=photo")
        assert counted[2:] == [link]


async def test_what_takes_too_long_is_named(
    autojump_clock: MockClock, islands: Archipelago, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> Any:
        await trio.sleep_forever()

    monkeypatch.setattr("node.web.api.drive.HEALTH_SECONDS", 5.0)
    monkeypatch.setattr("node.drive.health.check", never)
    async with page(islands) as one:
        await publish(one.machine, islands.file("photo", 1000))
        health = await one.get("/v1/drive/health")
        assert (health["items"], len(health["waiting"])) == ({}, 1)


async def test_searched(autojump_clock: MockClock, islands: Archipelago, monkeypatch: pytest.MonkeyPatch) -> None:
    async with page(islands) as one:
        for path in ("Été/à la mer", "Films/ete.txt", "other"):
            await one.post("folders", path=path)
        for text, wanted in [
            ("%C3%89T%C3%89", ["Été", "Été/à la mer"]),
            ("e%CC%81te%CC%81", ["Été", "Été/à la mer"]),
            ("ete", ["Films/ete.txt"]),
            ("nothing", []),
            ("%FF", []),
        ]:
            found = await one.get(f"/v1/drive/search?q={text}")
            assert ([item["path"] for item in found["items"]], found["more"]) == (wanted, False), text
        monkeypatch.setattr("node.web.api.drive.MAX_FOUND", 1)
        found = await one.get("/v1/drive/search?q=s")
        assert (len(found["items"]), found["more"]) == (1, True)
        for path in ("search", "search?q=", f"search?q={'x' * 1025}", f"search?{'a=1&' * 40}q=x"):
            assert (await one.browser.ask("GET", f"/v1/drive/{path}")).status == 400, path


async def test_two_tabs_a_command_and_another_machine_at_once(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with page(islands) as one, machine(islands, "one") as command, machine(islands, "two") as two:
        await one.post("folders", path="first")
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(lambda path: one.post("folders", path=path), f"tab {number}")
            nursery.start_soon(command.add, "command")
            nursery.start_soon(two.add, "elsewhere")
            nursery.start_soon(one.get, "/v1/drive")
        wanted = ["command", "elsewhere", "first", "tab 0", "tab 1", "tab 2"]
        assert await one.paths() == wanted
        assert await two.names() == [*wanted[:2]], "folders are not listed there"


async def test_once_it_is_locked_nothing_is_shown(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with page(islands) as one:
        await one.post("folders", path="films")
        await one.get("/v1/drive")
        assert one.opened()
        one.agent.held = None
        answer = await one.browser.ask("GET", "/v1/drive")
        assert (answer.status, answer.error["text"]) == (403, "the account is locked")
        assert not one.opened()
        assert (await one.post("folders", path="songs")).status == 403
        one.agent.held = Held(ACCOUNT, 2**40, "agent")
        assert await one.paths() == ["films"]
        await trio.sleep(2 * IDLE_SECONDS)
        assert not one.opened(), "nobody has looked for a minute"
        assert await one.paths() == ["films"]


async def test_a_bug_in_a_reading_does_not_end_the_node(
    autojump_clock: MockClock,
    islands: Archipelago,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(self: DriveService) -> Any:
        raise ValueError("a secret")

    async with page(islands) as one:
        await one.post("folders", path="films")
        with monkeypatch.context() as patched:
            patched.setattr(DriveService, "keep", broken)
            assert await one.paths() == ["films"]
        assert "a bug has ended a reading of the drive: ValueError in" in caplog.text
        assert "a secret" not in caplog.text
        assert await one.paths() == ["films"]
