"""What the page tells of the network: nodes by the countries they claim, and my chunks among them."""

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.account.vault import Vault
from node.home import Home
from node.web.census import deposits as deposits_module
from tests.network.archipelago import COUNTRIES, archipelago
from tests.network.healing import raid, remove
from tests.network.pages import Pages
from tests.network.test_caretaker import ACCOUNT, owner
from tests.network.webtransfers import PASSPHRASE, Lock, lock
from tests.node.web.asking import Browser
from tests.vectors.make_account import CHEAP

__all__ = ["lock"]  # a fixture


async def get(browser: Browser, path: str) -> Any:
    answer = await browser.ask("GET", path)
    assert answer.status == 200, answer.body
    return answer.json()


async def counted(browser: Browser) -> Any:
    """How the deposits stand once all are counted."""
    for _ in range(300):
        found = await get(browser, "/v1/network/deposits")
        if not found["counting"]:
            return found
        await trio.sleep(1)
    raise AssertionError(f"not within five minutes: {found}")


async def test_the_network_by_claimed_country(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 7) as islands:
        node, browser = await Pages(monkeypatch).start(islands, country="NZ")
        first = await get(browser, "/v1/network")
        assert (first["nodes"], first["counting"], first["counted"], first["contacts"]) == (1, True, None, 7)
        await trio.sleep(5)
        found = await get(browser, "/v1/network")
        assert (found["nodes"], found["counting"], found["asked"], found["silent"]) == (8, False, 7, 0)
        assert {code: claims["nodes"] for code, claims in found["countries"].items()} == dict.fromkeys(COUNTRIES, 2)
        assert found["countries"]["NZ"]["free_bytes"] > node.quota
        assert found["unknown"] == {"nodes": 0, "storing": 0, "free_bytes": 0}
        assert found["own"]["country"] == "NZ"
        remove(islands, *[other for other in islands.nodes if other.country == "FR"])
        assert (await get(browser, "/v1/network"))["countries"]["FR"]["nodes"] == 2, "it is kept for five minutes"
        await trio.sleep(301)
        assert (await get(browser, "/v1/network"))["counting"]
        await trio.sleep(20)
        found = await get(browser, "/v1/network")
        assert "FR" not in found["countries"]
        assert found["nodes"] + found["silent"] == found["contacts"] + 1


async def test_my_chunks_by_claimed_country(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, lock: Lock
) -> None:
    monkeypatch.setattr(deposits_module, "BATCH", 2)
    home = Home(base / "home-node")
    async with archipelago(base, 8) as islands, owner(islands, "laptop") as laptop:
        for number in range(3):
            await laptop.publish(f"film-{number}", days=30)
        _, browser = await Pages(monkeypatch).start(islands, home=home)
        assert (await browser.ask("GET", "/v1/network/deposits")).error["exit"] == 3, "there is no account"
        home.create()
        Vault.of(home).create(ACCOUNT, PASSPHRASE, CHEAP)
        first = await get(browser, "/v1/network/deposits")
        assert (first["deposits"], first["counting"], first["counted"]) == ([], True, None)
        found = await counted(browser)
        assert [one["path"] for one in found["deposits"]] == ["film-0", "film-1", "film-2"]
        assert (found["done"], found["total"], found["left_out"], found["trouble"]) == (3, 3, 0, None)
        for one in found["deposits"]:
            assert (one["state"], one["unclaimed"]) == ("whole", 0)
            assert sum(one["countries"].values()) == one["live"] == one["chunks"]
            assert sorted(one["survives"]["country"]) == sorted(COUNTRIES)
        raid(islands, "FR")
        await trio.sleep(61)
        await get(browser, "/v1/network/deposits")
        found = await counted(browser)
        assert {one["state"] for one in found["deposits"]} == {"weak"}
        assert all("FR" not in one["countries"] for one in found["deposits"])
        lock.locked = True
        refused = await browser.ask("GET", "/v1/network/deposits")
        assert (refused.status, refused.error["exit"]) == (403, 4)
        lock.locked = False
        assert (await get(browser, "/v1/network/deposits"))["deposits"] == [], "what was known has been forgotten"


async def test_no_more_than_some_are_counted(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, lock: Lock
) -> None:
    monkeypatch.setattr(deposits_module, "MOST", 1)
    home = Home(base / "home-laptop")
    async with archipelago(base, 5) as islands, owner(islands, "laptop") as laptop:
        Vault.of(home).create(ACCOUNT, PASSPHRASE, CHEAP)
        for number in range(2):
            await laptop.publish(f"note-{number}", days=30, size=1000)
        _, browser = await Pages(monkeypatch).start(islands, home=home)
        await get(browser, "/v1/network/deposits")
        found = await counted(browser)
        assert [one["path"] for one in found["deposits"]] == ["note-0"]
        assert (found["done"], found["total"], found["left_out"]) == (1, 1, 1)
