"""What an operator sees and changes by the page's API, on whole nodes."""

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.publishing.publish import Options
from node.serving.limits import LIMITS_FILE
from protocol.segment import Shares
from tests.network.archipelago import archipelago
from tests.network.healing import KIB, MIB, QUICK, remove, until
from tests.network.pages import Pages
from tests.network.test_healing_handover import publish
from tests.network.test_healing_leaving import has_stopped
from tests.network.webtransfers import events
from tests.node.web.asking import Browser


async def get(browser: Browser, path: str) -> Any:
    answer = await browser.ask("GET", path)
    assert answer.status == 200, answer.body
    return answer.json()


async def once(browser: Browser, state: str) -> Any:
    """What is said of leaving once it is at ``state``."""
    for _ in range(600):
        found = await get(browser, "/v1/operator/leave")
        if found["state"] == state:
            return found
        await trio.sleep(1)
    raise AssertionError(f"not within ten minutes: {found}")


async def test_depositors_are_refused_and_admitted(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny = base / "denied"
    deny.write_text("# nobody yet\n")
    pages = Pages(monkeypatch)
    async with archipelago(base, 0, intervals=QUICK) as islands:
        node, browser = await pages.start(islands, deny=deny)
        await islands.grow(1)
        await publish(islands, 10 * KIB, Options(shares=Shares(1, 2)))
        assert node.chunks()
        found = await get(browser, "/v1/operator/depositors")
        (whom,) = found["depositors"]
        assert (found["total"], found["more"], whom["refused"], whom["allowed"]) == (1, 0, False, None)
        lists = {"allow": None, "deny": {"file": str(deny), "segments": 0, "depositors": 0, "shares": 0}}
        assert await get(browser, "/v1/operator/lists") == lists
        said = await browser.ask("POST", "/v1/operator/refuse", json={"depositor": whom["key"]})
        assert (said.json()["refused"], said.json()["removed_chunks"]) == (True, whom["chunks"])
        assert not node.chunks()
        assert (await get(browser, "/v1/operator/lists"))["deny"]["depositors"] == 1
        said = await browser.ask("POST", "/v1/operator/admit", json={"depositor": whom["key"].upper()})
        assert (said.json()["refused"], said.json()["changed"]) == (False, True)
        assert deny.read_text() == "# nobody yet\n"


@pytest.mark.parametrize(
    "body", [{}, {"depositor": "x"}, {"depositor": None}, {"depositor": "0" * 64, "x": 1}, {"key": "0" * 64}]
)
async def test_what_is_no_depositor(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, body: dict[str, object]
) -> None:
    async with archipelago(base, 0) as islands:
        _, browser = await Pages(monkeypatch).start(islands)
        for what in ("refuse", "admit"):
            answer = await browser.ask("POST", f"/v1/operator/{what}", json=body)
            assert (answer.status, answer.error["exit"]) == (400, 2), answer.body


async def test_a_node_without_a_denylist_says_what_to_do(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 0) as islands:
        _, browser = await Pages(monkeypatch).start(islands)
        answer = await browser.ask("POST", "/v1/operator/refuse", json={"depositor": "ab" * 32})
        assert (answer.status, answer.error["exit"]) == (403, 4)
        assert "--deny FILE" in answer.error["hint"]


async def test_limits_are_seen_and_changed(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 0) as islands:
        node, browser = await Pages(monkeypatch).start(islands)
        before = await get(browser, "/v1/operator/limits")
        assert before == {
            "quota_bytes": node.quota,
            "up_bytes_per_second": None,
            "down_bytes_per_second": None,
            "used_bytes": 0,
            "given": [],
        }
        answer = await browser.ask("PATCH", "/v1/operator/limits", json={"quota_bytes": 7 * MIB})
        assert answer.status == 200
        same = await browser.ask("PATCH", "/v1/operator/limits", body=b'{"quota_bytes": %d.0}' % (7 * MIB))
        assert same.json() == answer.json(), "to JSON that is the same number"
        assert answer.json() == {**before, "quota_bytes": 7 * MIB} == await get(browser, "/v1/operator/limits")
        status = await get(browser, "/v1/status")
        assert status["quota"]["limit_bytes"] == 7 * MIB
        for wrong in ({"quota_bytes": -1}, {"up_bytes_per_second": 1}, {"rate": 5}, {}):
            refused = await browser.ask("PATCH", "/v1/operator/limits", json=wrong)
            assert (refused.status, refused.error["exit"]) == (400, 2)
        assert (node.data / LIMITS_FILE).read_text() == f'{{"version": 1, "quota_bytes": {7 * MIB}}}\n'


async def test_a_node_leaves_and_the_page_hears_of_it(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 4, intervals=QUICK) as islands:
        node, browser = await Pages(monkeypatch).start(islands)
        assert (await get(browser, "/v1/operator/leave")) == {"state": "not leaving", "progress": None, "trouble": None}
        await publish(islands, MIB, Options(shares=Shares(2, 5)))
        mine = node.chunks()
        for wrong, status in (({}, 400), ({"node_id": "00" * 32}, 403)):
            assert (await browser.ask("POST", "/v1/operator/leave", json=wrong)).status == status
        assert mine
        heard: list[str] = []

        async def hear() -> None:
            async with browser.open("GET", "/v1/events") as opened, aclosing(events(opened)) as found:
                async for kind, fields in found:
                    if kind == "leaving":
                        heard.append(fields["state"])

        islands.nursery.start_soon(hear)
        begun = await browser.ask("POST", "/v1/operator/leave", json={"node_id": node.node_id.hex()})
        assert (begun.status, begun.json()["state"]) == (202, "leaving")
        left = await once(browser, "left")
        assert left["progress"]["moved"] == len(mine)
        assert heard[-1] == "left"
        await until(lambda: has_stopped(node), 10)
        assert not node.chunks()


async def test_a_node_that_nobody_takes_chunks_from_stays(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archipelago(base, 0, intervals=QUICK) as islands:
        node, browser = await Pages(monkeypatch).start(islands)
        await islands.grow(1)
        await publish(islands, 10 * KIB, Options(shares=Shares(1, 2)))
        mine = node.chunks()
        remove(islands, islands.nodes[-1])
        await browser.ask("POST", "/v1/operator/leave", json={"node_id": node.node_id.hex()})
        found = await once(browser, "stayed")
        assert found["progress"]["left"] == len(mine) == sum(found["progress"]["why"].values())
        assert node.chunks() == mine
        assert (await get(browser, "/v1/status"))["storing"]
