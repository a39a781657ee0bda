"""The calls of the account: made, restored, unlocked, locked, and guessed at."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.account.held import Held
from node.account.phrase import phrase_of
from node.account.vault import Vault
from node.errors import MachineError
from node.home import Home
from node.web.desks import account as accountdesk
from node.web.desks.account import FIRST_SECONDS, AccountDesk
from node.web.site import own_site
from protocol.account import AccountKeys
from protocol.accountkey import format_account_key
from tests.node.web.asking import ADDRESS, Browser, parts_of
from tests.vectors.make_account import CHEAP

KEYS = AccountKeys(b"a" * 32)
WORDS = " ".join(phrase_of(KEYS.secret))
PASSPHRASE = "correct horse battery"
NOW = 1_800_000_000


class Agent:
    """Keeps accounts unlocked, as the agent does, in this process."""

    def __init__(self) -> None:
        self.kept: Held | None = None
        self.seconds = 0
        self.broken = False

    def hold(self, home: Home, keys: AccountKeys, seconds: int) -> Held:
        if self.broken:
            raise MachineError("cannot start the agent: it said nothing", hint="try again")
        self.kept, self.seconds = Held(keys, NOW + seconds, "agent"), seconds
        return self.kept

    def let_go(self, home: Home) -> bool:
        was, self.kept = self.kept is not None, None
        return was


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    agent = Agent()
    monkeypatch.setattr(accountdesk, "hold", agent.hold)
    monkeypatch.setattr(accountdesk, "let_go", agent.let_go)
    monkeypatch.setattr("node.account.unlocked.ask_agent", lambda home: agent.kept)
    monkeypatch.setattr("node.account.unlocked.find_backend", lambda: None)
    return agent


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged, in which no passphrase and no words may be."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    assert PASSPHRASE not in caplog.text
    assert WORDS not in caplog.text


async def page(home: Home | None) -> Browser:
    return await Browser(own_site(parts_of(home=home), {}, ADDRESS)).begin()


async def drafted(browser: Browser) -> dict[str, Any]:
    """What makes an account of new words."""
    found = (await browser.ask("POST", "/v1/account/words", json={})).json()
    answers = {str(place): found["words"][place - 1] for place in found["ask"]}
    return {"draft": found["draft"], "answers": answers, "passphrase": PASSPHRASE, "device": "laptop"}


async def test_made(agent: Agent, home: Home, told: pytest.LogCaptureFixture) -> None:
    browser = await page(home)
    nothing = {"exists": False, "key": None, "unlocked": False, "until": None, "keeper": None, "device": None}
    assert (await browser.ask("GET", "/v1/account")).json() == nothing
    words = (await browser.ask("POST", "/v1/account/words")).json()
    assert not home.account.exists(), "words alone are no account"
    order = await drafted(browser)
    wrong = dict.fromkeys(order["answers"], "zoo")
    changes: list[tuple[dict[str, Any], int]] = [
        ({"answers": wrong}, 403),
        ({"answers": {}}, 403),
        ({"answers": {**order["answers"], "x": "y"}}, 400),
        ({"draft": "other"}, 404),
        ({"draft": words["draft"]}, 403),
        ({"passphrase": "short"}, 400),
        ({"passphrase": "\ud800" * 9}, 400),
        ({"device": "two\nlines"}, 400),
        ({"device": ""}, 400),
    ]
    for change, status in changes:
        answer = await browser.ask("POST", "/v1/account", json=order | change)
        assert (answer.status, home.account.exists(), home.device.exists()) == (status, False, False), change
        assert "\ud800" not in answer.error["text"]
    answer = await browser.ask("POST", "/v1/account", json=order)
    assert answer.status == 201
    until = NOW + FIRST_SECONDS
    key = format_account_key(Vault.of(home).key)
    state = {"exists": True, "key": key, "unlocked": True, "until": until, "keeper": "agent", "device": "laptop"}
    assert answer.json() == state == (await browser.ask("GET", "/v1/account")).json()
    assert Vault.of(home).open(PASSPHRASE).identity.key == Vault.of(home).key
    again = await browser.ask("POST", "/v1/account", json=order)
    assert (again.status, again.error["text"]) == (409, "this home has an account, which is never replaced")
    assert (await browser.ask("POST", "/v1/account/words", json={})).status == 409


async def test_restored_in_another_home(agent: Agent, home: Home, told: pytest.LogCaptureFixture) -> None:
    browser = await page(home)
    for words, text in [
        ("zoo " * 24, "the checksum does not match"),
        (WORDS.replace(WORDS.split()[4], "archipelago"), "not of the word list"),
        ("", "has 24 words, got 0"),
    ]:
        body: dict[str, Any] = {"words": words, "passphrase": PASSPHRASE}
        answer = await browser.ask("POST", "/v1/account/restore", json=body)
        assert answer.status == 400
        assert text in answer.error["text"]
    body = {"words": f"  {WORDS.upper()}\n", "passphrase": PASSPHRASE, "device": None}
    answer = await browser.ask("POST", "/v1/account/restore", json=body)
    assert (answer.status, answer.json()["key"]) == (201, format_account_key(KEYS.identity.key))
    assert (await browser.ask("POST", "/v1/account/restore", json=body)).status == 409


async def test_unlocked_and_locked(agent: Agent, home: Home, told: pytest.LogCaptureFixture) -> None:
    home.create()
    Vault.of(home).create(KEYS, PASSPHRASE, CHEAP)
    browser = await page(home)
    locked = (await browser.ask("GET", "/v1/account")).json()
    assert (locked["exists"], locked["unlocked"]) == (True, False)
    answer = await browser.ask("GET", "/v1/drive")
    assert (answer.status, answer.error) == (
        403,
        {"exit": 4, "text": "the account is locked", "hint": "archipel account unlock"},
    )
    answer = await browser.ask("POST", "/v1/account/unlock", json={"passphrase": PASSPHRASE, "seconds": 3600})
    assert (answer.status, answer.json()["until"], agent.seconds) == (200, NOW + 3600, 3600)
    answer = await browser.ask("POST", "/v1/account/lock", json={})
    assert (answer.status, answer.json()["unlocked"], agent.kept) == (200, False, None)
    for seconds in (0, -1, 30 * 86_400 + 1, 1.5, "1", None, True):
        body = {"passphrase": PASSPHRASE, "seconds": seconds}
        assert (await browser.ask("POST", "/v1/account/unlock", json=body)).status == 400
    assert agent.kept is None


async def test_guesses(agent: Agent, home: Home, autojump_clock: MockClock, told: pytest.LogCaptureFixture) -> None:
    home.create()
    Vault.of(home).create(KEYS, PASSPHRASE, CHEAP)
    browser = await page(home)

    async def unlock(passphrase: str) -> int:
        answer = await browser.ask("POST", "/v1/account/unlock", json={"passphrase": passphrase, "seconds": 60})
        if answer.status == 403:
            assert answer.error["text"] == "wrong passphrase"
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) == 60 - int(trio.current_time() - began)
        return answer.status

    began = trio.current_time()
    assert [await unlock(f"a guess {number}") for number in range(6)] == [403] * 5 + [429]
    await trio.sleep(20)
    assert await unlock(PASSPHRASE) == 429, "not even the right one"
    await trio.sleep(40)
    assert await unlock(PASSPHRASE) == 200


async def test_all_at_once(agent: Agent, home: Home) -> None:
    """Tabs that guess side by side have five guesses between them; of two that make an account one does."""
    browser = await page(home)
    statuses: list[int] = []

    async def ask(path: str, body: dict[str, object]) -> None:
        statuses.append((await browser.ask("POST", path, json=body)).status)

    orders = [await drafted(browser) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for order in orders:
            nursery.start_soon(ask, "/v1/account", order)
    assert sorted(statuses) == [201, 409, 409]
    statuses.clear()
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(ask, "/v1/account/unlock", {"passphrase": f"guess {number}", "seconds": 60})
    assert sorted(statuses) == [403] * 5 + [429] * 3


async def test_nobody_can_keep_it(agent: Agent, home: Home) -> None:
    agent.broken = True
    browser = await page(home)
    answer = await browser.ask("POST", "/v1/account", json=await drafted(browser))
    assert answer.status == 500
    assert answer.error["text"].startswith("the account is made, but is locked: cannot start the agent")
    assert (await browser.ask("GET", "/v1/account")).json()["exists"]


async def test_a_node_that_looks_after_nobody(agent: Agent) -> None:
    browser = await page(None)
    assert not (await browser.ask("GET", "/v1/account")).json()["exists"]
    for path, body in [
        ("/v1/account/words", {}),
        ("/v1/account/unlock", {"passphrase": PASSPHRASE, "seconds": 60}),
        ("/v1/account/lock", {}),
    ]:
        answer = await browser.ask("POST", path, json=body)
        assert (answer.status, answer.error["exit"]) == (404, 3)
    assert (await browser.ask("GET", "/v1/drive")).status == 404


async def test_a_damaged_account_file(agent: Agent, home: Home) -> None:
    home.create()
    home.account.write_bytes(b"archipel account 1\nnonsense")
    browser = await page(home)
    for method, path in [("GET", "/v1/account"), ("GET", "/v1/drive")]:
        answer = await browser.ask(method, path)
        assert (answer.status, answer.error["exit"]) == (500, 7)
        assert "is damaged" in answer.error["text"]
    body = {"words": WORDS, "passphrase": PASSPHRASE}
    assert (await browser.ask("POST", "/v1/account/restore", json=body)).status == 409, "it is never replaced"


async def test_words_are_forgotten_unasked(home: Home, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = AccountDesk(home, parts_of().client.world.blocking, CHEAP)
    nursery.start_soon(desk.run)
    await desk.draft()
    await trio.sleep(29 * 60)
    assert desk._drafts._drafts
    await trio.sleep(3 * 60)
    assert not desk._drafts._drafts
