"""A node's page on the network, for tests of its API: who keeps the account unlocked, and a machine beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import trio

from node.account.held import Held
from node.account.vault import Vault
from node.web.desks.drive import FRESH_SECONDS, DriveDesk
from node.web.site import own_site
from tests.network.archipelago import Archipelago
from tests.network.test_drive import ACCOUNT, Machine, machine
from tests.network.test_drive_deposits import home_of
from tests.node.web.asking import ADDRESS, Answer, Browser, parts_of
from tests.vectors.make_account import CHEAP


class Agent:
    """Keeps the account unlocked while it has a key."""

    held: Held | None = Held(ACCOUNT, 2**40, "agent")


@dataclass
class Page:
    """A node's page, and a machine beside it in the same home, as its caretaker and its commands are."""

    browser: Browser
    machine: Machine
    desk: DriveDesk
    agent: Agent

    def opened(self) -> bool:
        """Whether anything is held open that only the account's keys open."""
        return self.desk._open is not None or self.desk._tree is not None

    async def get(self, path: str) -> Any:
        answer = await self.browser.ask("GET", path)
        assert answer.status == 200, answer.body
        return answer.json()

    async def post(self, call: str, **body: object) -> Answer:
        return await self.browser.ask("POST", f"/v1/drive/{call}", json=body)

    async def paths(self, path: str = "") -> list[str]:
        """What lies in a folder, by the newest drive."""
        await trio.sleep(FRESH_SECONDS)
        await self.get("/v1/drive")
        await trio.sleep(10)
        return [item["path"] for item in (await self.get(f"/v1/drive?path={path}"))["items"]]


@asynccontextmanager
async def page(islands: Archipelago, name: str = "one") -> AsyncIterator[Page]:
    """A page of the account's node in one of its homes."""
    agent = Agent()
    with (
        patch("node.account.unlocked.ask_agent", lambda _: agent.held),
        patch("node.account.unlocked.find_backend", lambda: None),
    ):
        async with machine(islands, name) as beside, trio.open_nursery() as nursery:
            home = home_of(islands, name)
            if not home.account.exists():
                Vault.of(home).create(ACCOUNT, "correct horse battery", CHEAP)
            parts = parts_of(beside.user.client, home=home)
            nursery.start_soon(parts.drive.run)
            browser = await Browser(own_site(parts, {}, ADDRESS)).begin()
            yield Page(browser, beside, parts.drive, agent)
            nursery.cancel_scope.cancel()
