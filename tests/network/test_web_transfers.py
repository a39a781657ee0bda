"""Uploads and downloads of a node's page: what goes in comes out, what is told is true, what is stopped goes on."""

import os
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from node.drive.service import open_drive
from node.web.transfers.places import stage
from protocol.drive import listed
from tests.network.archipelago import archipelago, uneven
from tests.network.tending import MIB
from tests.network.webtransfers import ACCOUNT, Lock, Page, Transfer, downloads, lock, page
from tests.trees import tree

__all__ = ["lock"]


def files(size: int = 3 * MIB) -> dict[str, bytes]:
    random = Random(size)
    return {
        "films/one": random.randbytes(size),
        "films/more/two": random.randbytes(70_000),
        "films/empty": b"",
    }


async def shown(page: Page) -> dict[bytes, object]:
    """What the drive on the network has."""
    drive = open_drive(page.user.client, page.home, ACCOUNT, page.user.journal)
    return dict(listed((await drive.read()).drive))


async def test_what_is_uploaded_is_in_the_drive_and_comes_back(
    autojump_clock: MockClock, base: Path, lock: Lock
) -> None:
    async with archipelago(base, 12, delay=uneven) as islands, islands.user() as user, page(islands, user) as alice:
        wanted = files()
        upload = await alice.upload(wanted, folder="holiday")
        told = await alice.until(upload, "done")
        last, total = told[-1], sum(map(len, wanted.values()))
        assert (last["link_path"], last["error"], last["notes"]) == ("holiday/films", None, [])
        assert list(await shown(alice)) == [b"holiday/films"]
        for name in ("received_bytes", "sealed_bytes", "confirmed_bytes"):
            assert last[name] == last["total_bytes"] == total
            assert [item[name] for item in told] == sorted(item[name] for item in told)
        on_disk = {chunk: node for node in islands.nodes for chunk in node.chunks()}
        assert last["placed_chunks"] == last["chunks"] > 12
        assert sum(last["countries"].values()) == last["placed_chunks"]
        assert set(last["countries"]) == {"DE", "FR", "IS", "NZ"}
        assert last["nodes"] == len(islands.nodes)
        assert last["sent_bytes"] <= islands.chunk_bytes({segment for segment, _ in on_disk})
        assert last["finished"] >= last["created"]
        assert not list((alice.home.path / "uploads").glob("*/*")), "nothing is left of it on this machine"

        for place in ("films", "films (2)"):
            download = await alice.download(path="holiday/films")
            found = await alice.done(download)
            assert (found["name"], found["total_bytes"]) == (place, total)
            assert found["confirmed_bytes"] == total
            assert found["nodes"] > 0
            copied = tree(downloads(islands) / place)
            assert {p.replace(place, "films", 1) for p in copied} == {"films", "films/more", *wanted}
            for path, data in wanted.items():
                at = downloads(islands) / path.replace("films", place, 1)
                assert at.read_bytes() == data
                assert os.stat(at).st_mtime_ns == 1_700_000_000_500_000_000
        part = await alice.done(await alice.download(path="holiday/films/more/two"))
        assert part["name"] == "two"
        assert (downloads(islands) / "two").read_bytes() == wanted["films/more/two"]


def confirmed(found: Transfer) -> bool:
    return bool(0 < found["confirmed_bytes"] < found["total_bytes"])


async def test_a_node_killed_in_mid_publish_goes_on(autojump_clock: MockClock, base: Path, lock: Lock) -> None:
    async with archipelago(base, 12, delay=uneven) as islands:
        wanted = files(20 * MIB)
        async with islands.user() as user, page(islands, user) as alice:
            upload = await alice.upload(wanted)
            before = (await alice.until(upload, "running", when=confirmed))[-1]
            await alice.kill()
        chunks = {chunk for node in islands.nodes for chunk in node.chunks()}
        async with islands.user() as user, page(islands, user) as alice:
            found = await alice.done(upload)
            assert found["confirmed_bytes"] == found["total_bytes"]
            assert found["placed_chunks"] == found["chunks"]
            assert before["sent_bytes"] > 0
            assert found["sent_bytes"] < sum(map(len, wanted.values())) * 2
            held = islands.holders()
            assert chunks <= {(segment, index) for segment, indices in held.items() for index in indices}
            deposits = {
                node.lease((s, i)).deposit for s, held in held.items() for i, nodes in held.items() for node in nodes
            }
            assert len(deposits) == 2, "of the upload, and of the drive"
            await alice.done(await alice.download(path="films"))
        assert (downloads(islands) / "films/one").read_bytes() == wanted["films/one"]


async def test_a_node_killed_in_mid_receipt_knows_what_came(autojump_clock: MockClock, base: Path, lock: Lock) -> None:
    async with archipelago(base, 12) as islands:
        data = files(3 * MIB)["films/one"]
        async with islands.user() as user, page(islands, user) as alice:
            upload = await alice.begin({"film": data})
            assert await alice.send(upload, 0, data[: MIB + 17]) == MIB + 17
            await alice.kill()
        async with islands.user() as user, page(islands, user) as alice:
            answer = await alice.browser.ask("GET", f"/v1/uploads/{upload['id']}")
            assert [file["received"] for file in answer.json()["files"]] == [MIB + 17]
            assert answer.json()["transfer"]["state"] == "receiving"
            assert await alice.send(upload, 0, data[MIB + 17 :], MIB + 17) == len(data)
            await alice.done(upload)
            await alice.done(await alice.download(path="films"))
        assert (downloads(islands) / "films").read_bytes() == data


async def test_a_node_killed_in_mid_fetch_goes_on(autojump_clock: MockClock, base: Path, lock: Lock) -> None:
    async with archipelago(base, 12, delay=uneven) as islands:
        wanted = files(20 * MIB)
        async with islands.user() as user, page(islands, user) as alice:
            await alice.done(await alice.upload(wanted))
            download = await alice.download(path="films")
            before = (await alice.until(download, "running", when=lambda found: found["confirmed_bytes"] > 0))[-1]
            assert before["name"] == "films"
            await alice.kill()
            assert sorted(os.listdir(downloads(islands))) == ["films.part"]
        async with islands.user() as user, page(islands, user) as alice:
            found = await alice.done(download)
            assert found["confirmed_bytes"] == found["total_bytes"] == before["total_bytes"]
            assert found["sent_bytes"] < found["total_bytes"], "what had come was not fetched again"
        assert sorted(os.listdir(downloads(islands))) == ["films"]
        assert (downloads(islands) / "films/one").read_bytes() == wanted["films/one"]


@pytest.mark.parametrize("made", [False, True])
async def test_a_node_killed_as_it_makes_a_folder_goes_on_there(
    autojump_clock: MockClock, base: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    async with archipelago(base, 12) as islands:
        async with islands.user() as user, page(islands, user) as alice:

            def killed(place: Path, before: Path | None) -> bool:
                alice.scope.cancel()
                return made and stage(place, before)

            await alice.done(await alice.upload({"film": b"x" * 100_000}))
            with monkeypatch.context() as patched:
                patched.setattr("node.web.transfers.runner.stage", killed)
                both = [await alice.download(path="films") for _ in range(2)]
                await alice.stopped.wait()
            assert os.listdir(downloads(islands)) == ["films.part"] * made
        async with islands.user() as user, page(islands, user) as alice:
            assert [(await alice.done(download))["name"] for download in both] == ["films", "films (2)"]
            assert sorted(os.listdir(downloads(islands))) == ["films", "films (2)"]


async def test_paused_and_resumed_and_cancelled(autojump_clock: MockClock, base: Path, lock: Lock) -> None:
    async with archipelago(base, 12, delay=uneven) as islands:
        wanted = files(20 * MIB)
        async with islands.user() as user, page(islands, user) as alice:
            upload = await alice.upload(wanted)
            await alice.until(upload, "running", when=confirmed)
            paused = await alice.act(upload, "pause")
            assert (paused["state"], confirmed(paused)) == ("paused", True)
            await trio.sleep(1)  # what was on the wire comes all the same
            chunks = sum(len(node.chunks()) for node in islands.nodes)
            await trio.sleep(60)
            assert sum(len(node.chunks()) for node in islands.nodes) == chunks, "nothing is sent meanwhile"
            await alice.kill()
        async with islands.user() as user, page(islands, user) as alice:
            await trio.sleep(60)
            assert await alice.look(upload) == paused, "a restart is no reason to go on"
            assert (await alice.act(upload, "resume"))["state"] == "waiting"
            found = await alice.done(upload)
            assert found["sent_bytes"] >= paused["sent_bytes"]
            for act, status in (("pause", 409), ("resume", 409), ("cancel", 409)):
                answer = await alice.browser.ask("POST", f"/v1/transfers/{upload['id']}/{act}")
                assert (answer.status, answer.error["exit"]) == (status, 4)
            download = await alice.download(path="films")
            await alice.until(download, "running", when=lambda found: found["confirmed_bytes"] > 0)
            assert (downloads(islands) / "films.part").is_dir()
            assert (await alice.act(download, "pause"))["state"] == "paused"
            assert (downloads(islands) / "films.part").is_dir()
            (downloads(islands) / "films").write_text("somebody else's")
            await alice.act(download, "resume")
            again = await alice.done(download)
            assert again["name"] == "films (2)"
            assert (downloads(islands) / "films").read_text() == "somebody else's"
            assert (downloads(islands) / "films (2)/one").read_bytes() == wanted["films/one"]
            third = await alice.download(path="films")
            await alice.until(third, "running", when=lambda found: found["confirmed_bytes"] > 0)
            assert (await alice.act(third, "cancel"))["state"] == "cancelled"
            assert sorted(os.listdir(downloads(islands))) == ["films", "films (2)"]
            for transfer in (upload, download, third):
                await alice.act(transfer, "forget")
            assert (await alice.browser.ask("GET", "/v1/transfers")).json() == {"transfers": []}


async def test_a_locked_account_is_waited_for(autojump_clock: MockClock, base: Path, lock: Lock) -> None:
    lock.locked = True
    async with archipelago(base, 12) as islands, islands.user() as user, page(islands, user) as alice:
        upload = await alice.upload({"film": b"x" * 100_000})
        told = (await alice.until(upload, "waiting", when=lambda found: found["waits_for"] is not None))[-1]
        assert told["waits_for"] == "account"
        answer = await alice.browser.ask("POST", "/v1/downloads", json={"path": "films"})
        assert (answer.status, answer.error["text"]) == (403, "the account is locked")
        lock.locked = False
        assert (await alice.done(upload))["waits_for"] is None
        link = next(iter((await shown(alice)).values())).link  # type: ignore[attr-defined]  # a deposit's
        lock.locked = True
        found = await alice.done(await alice.download(link=str(link)))
        assert (found["name"], found["to"]) == ("film", str(downloads(islands)))
        wanted = alice.home.transfers.read_bytes()
        assert str(link).encode() not in wanted, "what is done needs no link any more"


async def test_two_run_at_a_time(autojump_clock: MockClock, base: Path, lock: Lock) -> None:
    async with archipelago(base, 12, delay=uneven) as islands, islands.user() as user, page(islands, user) as alice:
        lock.locked = True
        uploads = [await alice.upload({f"film-{n}": os.urandom(2 * MIB)}, name=f"film-{n}") for n in range(4)]
        lock.locked = False
        most = 0
        while True:
            found = (await alice.browser.ask("GET", "/v1/transfers")).json()["transfers"]
            running = [item["id"] for item in found if item["state"] == "running"]
            most = max(most, len(running))
            assert all(item["waits_for"] == "turn" for item in found if item["state"] == "waiting" and running[1:])
            if all(item["state"] == "done" for item in found):
                break
            await trio.sleep(0.01)
        assert most == 2
        assert [item["id"] for item in found] == [upload["id"] for upload in uploads]
        assert len(await shown(alice)) == 4


async def test_what_failed_says_why_and_can_be_resumed(autojump_clock: MockClock, base: Path, lock: Lock) -> None:
    async with archipelago(base, 12) as islands, islands.user() as user, page(islands, user) as alice:
        lock.locked = True
        upload = await alice.upload({"film": os.urandom(MIB)})
        for node in islands.nodes:
            node.kill()
        lock.locked = False
        failed = (await alice.until(upload, "failed", "done"))[-1]
        assert failed["state"] == "failed"
        assert failed["error"]["exit"] == 5
        assert "chunks of a segment" in failed["error"]["text"]
        assert failed["error"]["hint"]
        assert (alice.home.path / "uploads").is_dir()
        for node in list(islands.nodes):
            await islands.restart(node)
        await trio.sleep(60)
        assert (await alice.look(upload))["state"] == "failed"
        await alice.act(upload, "resume")
        assert (await alice.done(upload))["error"] is None
