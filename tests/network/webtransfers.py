"""Transfers of a node's page on a network in memory: a browser, an account, and what it is told."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from node.account.held import Held
from node.account.vault import Vault
from node.home import Home
from node.web.parts import Parts
from node.web.site import own_site
from protocol.account import AccountKeys
from tests.network.archipelago import Archipelago, User
from tests.node.web.asking import ADDRESS, Browser, Opened, parts_of
from tests.vectors.make_account import CHEAP

ACCOUNT = AccountKeys(b"a" * 32)
PASSPHRASE = "correct horse battery"
Transfer = dict[str, Any]


@dataclass
class Lock:
    """Whether the account is unlocked."""

    locked: bool = False

    def ask(self, _: Home) -> Held | None:
        return None if self.locked else Held(ACCOUNT, 2**40, "agent")


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Lock:
    lock = Lock()
    monkeypatch.setattr("node.account.unlocked.ask_agent", lock.ask)
    monkeypatch.setattr("node.account.unlocked.find_backend", lambda: None)
    return lock


@dataclass
class Page:
    """What the user of a node sees."""

    browser: Browser
    parts: Parts
    user: User
    home: Home
    scope: trio.CancelScope
    """Of the node: cancelled, it is killed."""
    stopped: trio.Event = field(default_factory=trio.Event)

    async def begin(self, files: dict[str, bytes], *, name: str = "films", folder: str = "") -> Transfer:
        """Begin an upload."""
        listed = [{"path": path, "size": len(data), "mtime": 1_700_000_000.5} for path, data in files.items()]
        answer = await self.browser.ask("POST", "/v1/uploads", json={"name": name, "folder": folder, "files": listed})
        assert answer.status == 201, answer.body
        found: Transfer = answer.json()
        return found

    async def send(self, transfer: Transfer, number: int, data: bytes, offset: int = 0) -> int:
        """Send bytes of a file; how much of it is there then."""
        answer = await self.browser.ask(
            "PUT",
            f"/v1/uploads/{transfer['id']}/files/{number}",
            body=data,
            headers={"Upload-Offset": str(offset)},
        )
        assert answer.status == 200, answer.body
        received: int = answer.json()["received"]
        return received

    async def upload(self, files: dict[str, bytes], *, name: str = "films", folder: str = "") -> Transfer:
        """Begin an upload, and send all of it."""
        transfer = await self.begin(files, name=name, folder=folder)
        for number, data in enumerate(files.values()):
            if data:
                assert await self.send(transfer, number, data) == len(data)
        return transfer

    async def download(self, **wanted: str) -> Transfer:
        answer = await self.browser.ask("POST", "/v1/downloads", json=wanted)
        assert answer.status == 201, answer.body
        found: Transfer = answer.json()
        return found

    async def act(self, transfer: Transfer, act: str) -> Transfer:
        answer = await self.browser.ask("POST", f"/v1/transfers/{transfer['id']}/{act}")
        assert answer.status == 200, answer.body
        found: Transfer = answer.json()
        return found

    async def look(self, transfer: Transfer) -> Transfer:
        """How a transfer is now."""
        answer = await self.browser.ask("GET", "/v1/transfers")
        assert answer.status == 200, answer.body
        found: Transfer = next(item for item in answer.json()["transfers"] if item["id"] == transfer["id"])
        return found

    async def until(
        self, transfer: Transfer, *states: str, when: Callable[[Transfer], bool] = lambda _: True
    ) -> list[Transfer]:
        """All that the page is told of a transfer, until it is in one of these states."""
        told: list[Transfer] = []
        with trio.fail_after(600):
            async with self.browser.open("GET", "/v1/events") as opened, aclosing(events(opened)) as found:
                async for kind, fields in found:
                    if kind != "transfer" or fields["id"] != transfer["id"]:
                        continue
                    told.append(fields)
                    if fields["state"] in states and when(fields):
                        return told
        raise AssertionError(f"the events ended: {told[-1:]}")

    async def done(self, transfer: Transfer) -> Transfer:
        """How a transfer is once it has come to its end."""
        found = (await self.until(transfer, "done", "failed", "cancelled"))[-1]
        assert found["state"] == "done", found
        return found

    async def kill(self) -> None:
        self.scope.cancel()
        await self.stopped.wait()


async def events(opened: Opened) -> AsyncGenerator[tuple[str, Transfer], None]:
    """The events of a stream; comments as events without a name."""
    buffer = b""
    async for part in opened.parts:
        buffer += part
        while b"\n\n" in buffer:
            block, _, buffer = buffer.partition(b"\n\n")
            if block.startswith(b":"):
                yield "", {}
                continue
            kind, data = block.decode().split("\n")
            yield kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@asynccontextmanager
async def page(islands: Archipelago, user: User, name: str = "alice") -> AsyncIterator[Page]:
    """A node's page for a while, with the account; what the user's client does is what the node does."""
    home = Home(islands.base / f"home-{name}")
    if not Vault.of(home).exists:
        Vault.of(home).create(ACCOUNT, PASSPHRASE, CHEAP)
    parts = parts_of(user.client, home=home)
    parts.transfers.downloads = lambda: downloads(islands)
    async with trio.open_nursery() as nursery:
        found = Page(Browser(own_site(parts, {}, ADDRESS)), parts, user, home, trio.CancelScope())

        async def run() -> None:
            with found.scope:
                await parts.transfers.run()
            found.stopped.set()

        nursery.start_soon(run)
        await found.browser.begin()
        yield found
        found.scope.cancel()


def downloads(islands: Archipelago) -> Path:
    return islands.base / "Downloads"
