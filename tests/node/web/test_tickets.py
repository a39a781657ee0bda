"""A link waits for its page: once, and not for long."""

from collections.abc import Mapping

import pytest
import trio
from trio.testing import MockClock

from node.errors import ConfigError, NotFoundError
from node.web.tickets import MAX_TICKETS, TICKET_SECONDS, Tickets
from protocol.ids import Address, SegmentId
from protocol.links import Link, LinkKind

LINK = str(Link(LinkKind.READ, SegmentId(b"r" * 32), b"k" * 32))


PAGE = Address("127.0.0.1", 8420)


def tickets(*, page: Address | None = PAGE) -> Tickets:
    numbers = iter(range(100))
    return Tickets(lambda size: next(numbers).to_bytes(size, "big"), page)


async def asked(one: Tickets, request: Mapping[str, object]) -> str:
    (url,) = [str(reply["url"]) async for reply in one.open(request)]
    return url


async def test_a_ticket_is_good_once() -> None:
    one = tickets()
    url = await asked(one, {"do": "open", "link": LINK})
    page, _, ticket = url.rpartition("/")
    assert page == "http://127.0.0.1:8420/#/open"
    assert LINK not in url
    assert one.redeem(ticket) == LINK
    with pytest.raises(NotFoundError, match="used up"):
        one.redeem(ticket)


async def test_a_ticket_ends(autojump_clock: MockClock) -> None:
    one = tickets()
    ticket = (await asked(one, {"link": LINK})).rpartition("/")[2]
    await trio.sleep(TICKET_SECONDS)
    with pytest.raises(NotFoundError):
        one.redeem(ticket)


async def test_few_are_kept() -> None:
    one = tickets()
    issued = [(await asked(one, {"link": LINK})).rpartition("/")[2] for _ in range(MAX_TICKETS + 1)]
    with pytest.raises(NotFoundError):
        one.redeem(issued[0])
    assert all(one.redeem(ticket) == LINK for ticket in issued[1:])


async def test_without_a_link_or_a_page() -> None:
    assert await asked(tickets(), {}) == "http://127.0.0.1:8420/"
    with pytest.raises(NotFoundError, match="no page"):
        await asked(tickets(page=None), {})
    with pytest.raises(ConfigError, match="link"):
        await asked(tickets(), {"link": "archipel:no"})
