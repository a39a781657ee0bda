"""What happens is told to every page, the newest of each thing: nobody who is slow makes anything grow."""

import json
from contextlib import AsyncExitStack, aclosing

import pytest
import trio
from starlette.types import Message
from trio.testing import MockClock

from node.web.api.events import PAUSE_SECONDS, QUIET_SECONDS, WRITE_SECONDS
from node.web.parts import Parts
from node.web.site import own_site
from node.web.told import MAX_LISTENERS, MAX_NEWS, LaggingError, Told
from tests.network.webtransfers import events
from tests.node.web.asking import ADDRESS, Browser, parts_of


@pytest.fixture
async def parts() -> Parts:
    return parts_of()


@pytest.fixture
async def browser(parts: Parts) -> Browser:
    return await Browser(own_site(parts, {}, ADDRESS)).begin()


async def test_of_each_thing_the_newest_is_told() -> None:
    told = Told()
    told.say("status", {"n": 0})
    looks: list[int] = []

    def look() -> dict[str, int]:
        looks.append(1)
        return {"n": len(looks)}

    with told.listen() as one, told.listen() as other:
        for number in range(5):
            told.say("transfer", look, "a")
            told.say("transfer", {"n": number}, "b")
            told.say("status", {"n": number})
        told.say("gone", {"id": "b"}, "b")
        assert await one.take() == [("transfer", {"n": 1}), ("status", {"n": 4}), ("gone", {"id": "b"})]
        assert len(looks) == 1, "what nobody takes in is not put together"
        assert len(await other.take()) == 3
        with trio.move_on_after(0.01) as scope:
            await one.take()
        assert scope.cancelled_caught


async def test_who_lags_too_far_behind_begins_anew() -> None:
    told = Told()
    with told.listen() as listener:
        for number in range(MAX_NEWS + 1):
            told.say("gone", {"id": str(number)}, str(number))
        with pytest.raises(LaggingError):
            await listener.take()


async def test_a_page_is_told_five_times_a_second_at_most(
    parts: Parts, browser: Browser, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def busy() -> None:
        for number in range(1000):
            parts.told.say("transfer", {"id": "a", "n": number}, "a")
            await trio.sleep(0.01)

    async with browser.open("GET", "/v1/events") as opened, aclosing(events(opened)) as found:
        assert opened.status == 200
        assert opened.headers["content-type"].startswith("text/event-stream")
        assert opened.headers["cache-control"] == "no-store"
        assert await anext(found) == ("", {}), "there are no transfers"
        began = trio.current_time()
        nursery.start_soon(busy)
        numbers = []
        async for kind, fields in found:
            assert kind == "transfer"
            numbers.append(fields["n"])
            if fields["n"] == 999:
                break
        assert numbers == sorted(numbers)
        assert len(numbers) <= round((trio.current_time() - began) / PAUSE_SECONDS) + 1
        silent = trio.current_time()
        assert await anext(found) == ("", {})
        assert trio.current_time() - silent == pytest.approx(QUIET_SECONDS, abs=PAUSE_SECONDS)
        parts.told.say("status", {"storing": True})
        assert await anext(found) == ("status", {"storing": True})
    assert not parts.told._listeners


async def test_so_many_may_listen(parts: Parts, browser: Browser) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(MAX_LISTENERS):
            opened = await stack.enter_async_context(browser.open("GET", "/v1/events"))
            await anext(opened.parts)
        answer = await browser.ask("GET", "/v1/events")
        assert (answer.status, answer.error["exit"]) == (429, 4)
        assert answer.headers["retry-after"] == "10"
    assert not parts.told._listeners
    head = await browser.ask("HEAD", "/v1/events")
    assert (head.status, head.body) == (200, b"")


async def test_who_takes_nothing_in_is_hung_up_on(parts: Parts, browser: Browser, autojump_clock: MockClock) -> None:
    taken: list[Message] = []

    async def send(message: Message) -> None:
        if message.get("more_body") and taken[1:]:
            await trio.sleep_forever()
        taken.append(message)

    async def receive() -> Message:
        await trio.sleep_forever()
        raise AssertionError

    scope, _ = browser._scope("GET", "/v1/events", None, None, None)
    began = trio.current_time()
    await browser.app(scope, receive, send)
    assert trio.current_time() - began == pytest.approx(QUIET_SECONDS + WRITE_SECONDS)
    assert not parts.told._listeners


async def test_it_needs_the_session(browser: Browser) -> None:
    answer = await browser.ask("GET", "/v1/events", headers={"Authorization": None})
    assert answer.status == 401
    assert json.loads(answer.body)["error"]
