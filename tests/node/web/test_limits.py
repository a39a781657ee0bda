"""What one client of a gateway may ask for, and that it takes nothing from the others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from starlette.types import Message, Receive, Scope, Send
from trio.testing import MockClock

from node.web.http.limits import AT_ONCE, BURST, MAX_CLIENTS, PER_SECOND, Limits


class Site:
    """Answers 200 once it may."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.limits = Limits(self._answer)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.open.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(self, host: str, *forwarded: str) -> Message:
        """The head of what is answered."""
        said: list[Message] = []

        async def send(message: Message) -> None:
            said.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
        await self.limits({"type": "http", "client": (host, 1), "headers": headers}, receive, send)
        return said[0]

    async def ask_often(self, times: int, host: str, *forwarded: str) -> list[int]:
        return [(await self.ask(host, *forwarded))["status"] for _ in range(times)]


@asynccontextmanager
async def busy(site: Site, host: str) -> AsyncIterator[None]:
    """With as many requests under way as one client may have."""
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(site.ask, host)
        await trio.testing.wait_all_tasks_blocked()
        yield
        site.open.set()


async def test_requests_at_once() -> None:
    site = Site()
    async with busy(site, "192.0.2.1"):
        refused = await site.ask("192.0.2.1")
        assert refused["status"] == 429
        assert (b"retry-after", b"1") in refused["headers"]
        site.open.set()
        assert (await site.ask("192.0.2.2"))["status"] == 200
    assert (await site.ask("192.0.2.1"))["status"] == 200


async def test_requests_in_a_while(autojump_clock: MockClock) -> None:
    site = Site()
    site.open.set()
    burst = int(BURST)
    assert await site.ask_often(burst + 2, "192.0.2.1") == [200] * burst + [429] * 2
    assert (await site.ask("192.0.2.2"))["status"] == 200
    await trio.sleep(10 / PER_SECOND)
    assert await site.ask_often(11, "192.0.2.1") == [200] * 10 + [429]


async def test_who_is_one_client(autojump_clock: MockClock) -> None:
    site = Site()
    site.open.set()
    burst = int(BURST)
    await site.ask_often(burst, "2001:db8::1")
    assert (await site.ask("2001:db8::2"))["status"] == 429
    assert (await site.ask("2001:db8:0:1::1"))["status"] == 200
    await site.ask_often(burst, "::ffff:192.0.2.1")
    assert (await site.ask("192.0.2.1"))["status"] == 429
    # A proxy on this machine is believed, and then only in what it says itself; nobody else is.
    await site.ask_often(burst, "127.0.0.1", "203.0.113.9, 192.0.2.7")
    assert (await site.ask("127.0.0.1", "192.0.2.7"))["status"] == 429
    assert (await site.ask("127.0.0.1", "192.0.2.8"))["status"] == 200
    assert (await site.ask("127.0.0.1", "192.0.2.8", "192.0.2.7"))["status"] == 429  # a line of the proxy's own
    await site.ask_often(burst, "192.0.2.9", "192.0.2.10")
    assert (await site.ask("192.0.2.9", "192.0.2.11"))["status"] == 429


async def test_what_is_remembered_is_bounded(autojump_clock: MockClock) -> None:
    site = Site()
    async with busy(site, "192.0.2.1"):
        site.open.set()
        for number in range(MAX_CLIENTS + 50):
            await site.ask(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        assert len(site.limits._clients) <= MAX_CLIENTS + 1
