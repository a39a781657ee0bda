"""Uploads and downloads of a node's page: what goes in comes out, what is told is true, what is stopped goes on."""

import os
from random import Random

from trio.testing import MockClock

from node.drive.service import open_drive
from protocol.drive import listed
from tests.network.archipelago import archipelago, uneven
from tests.network.tending import MIB
from tests.network.webtransfers import ACCOUNT, Lock, Page, downloads, lock, page
from tests.trees import tree

__all__ = ["lock"]
from pathlib import Path


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
