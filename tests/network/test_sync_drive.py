"""A folder and a path of the drive (node/syncing/drivepath.py): what goes up replaces only what was seen here."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from trio.testing import MockClock

from node.drive.tree import Tree, move
from node.errors import RefusedError
from node.home import Home
from node.progress import Progress
from node.publishing.publish import Published, publish_run
from node.syncing import drivepath
from node.syncing.drivepath import sync_with_drive
from node.syncing.sync import Synced
from protocol.drive import listed
from tests.network.archipelago import archipelago, failure
from tests.network.test_drive import Machine, machine


def folder_of(base: Path, one: str, files: dict[str, str]) -> Path:
    folder = base / one / "docs"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
        os.utime(folder / name, (0, 1_000_000))
    return folder


async def sync(base: Path, one: Machine, folder: Path) -> Synced:
    home = Home(base / f"home-{folder.parent.name}")
    return (await sync_with_drive(one.service, home, folder, b"docs", Progress()))[0]


def right_before_the_drive(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[object]]) -> None:
    """Have another machine act when ours has stored its files, and not yet told the drive."""

    async def wrapper(*args: object) -> Published:
        monkeypatch.undo()
        published = await publish_run(*args)  # type: ignore[arg-type]
        await act()
        return published

    monkeypatch.setattr(drivepath, "publish_run", wrapper)


async def test_what_another_machine_put_there_meanwhile_is_not_replaced(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 8) as islands, machine(islands, "one") as one, machine(islands, "two") as two:
        ours, theirs = folder_of(base, "one", {"a": "a"}), folder_of(base, "two", {"a": "a"})
        for new, error in (("new", "something at"), ("newer", "another machine changed it")):
            (ours / f"ours, {new}").write_text("ours")
            (theirs / f"theirs, {new}").write_text("theirs")
            right_before_the_drive(monkeypatch, lambda: sync(base, two, theirs))
            found = await failure(sync(base, one, ours))
            assert isinstance(found, RefusedError)
            assert error in str(found)
            await sync(base, one, ours)
            await sync(base, two, theirs)
            assert {f"ours, {new}", f"theirs, {new}", "a"} <= set(os.listdir(ours)) == set(os.listdir(theirs))


async def test_what_was_moved_meanwhile_is_not_replaced(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 8) as islands, machine(islands, "one") as one, machine(islands, "two") as two:
        ours = folder_of(base, "one", {"a": "a"})
        link = (await sync(base, one, ours)).link
        (ours / "b").write_text("b")

        async def put_elsewhere() -> None:
            await two.service.read()
            await two.service.change(lambda drive, now_ms: move(drive, b"docs", b"papers", now_ms))

        right_before_the_drive(monkeypatch, put_elsewhere)
        assert "another machine changed it" in str(await failure(sync(base, one, ours)))
        found = listed((await one.service.read()).drive)
        assert {path: entry.link for path, entry in found.items()} == {b"papers": link}
        assert b"papers" in Tree((await two.service.read()).drive).shown
