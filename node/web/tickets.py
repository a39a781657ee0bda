"""A link on its way from `archipel open` to the page: it waits in the node's memory, and the browser is told a ticket.

A browser's arguments can be read by everybody on the machine. A ticket is good once, for a minute, and only for a page
that has the session token.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field

import trio

from node.errors import ConfigError, NotFoundError
from protocol.errors import LinkError
from protocol.ids import Address
from protocol.links import parse_link

TICKET_SECONDS = 60.0
MAX_TICKETS = 16
_TICKET_BYTES = 16


@dataclass(slots=True, repr=False)
class Tickets:
    """Of one node."""

    random_bytes: Callable[[int], bytes]
    page: Address | None = None
    """Where the node's own page is served; None: nowhere."""
    _waiting: OrderedDict[str, tuple[float, str]] = field(default_factory=OrderedDict)
    """Ticket -> (until when by trio's clock, link)."""

    async def open(self, request: Mapping[str, object]) -> AsyncGenerator[Mapping[str, object], None]:
        """Answers by the control socket: the address to open, with a ticket behind ``#`` if there is a ``link``.

        Raises:
            NotFoundError: This node has no page.
            ConfigError: It is no link.
        """
        if self.page is None:
            raise NotFoundError("this node serves no page", hint="start it with --http 127.0.0.1:8420")
        url = f"http://{self.page}/"
        if "link" in request:
            url += f"#/open/{self._issue(str(request['link']))}"
        yield {"url": url}

    def _issue(self, link: str) -> str:
        try:
            parse_link(link)
        except LinkError as exc:
            raise ConfigError(str(exc)) from exc
        ticket = self.random_bytes(_TICKET_BYTES).hex()
        self._waiting[ticket] = trio.current_time() + TICKET_SECONDS, link
        while len(self._waiting) > MAX_TICKETS:
            self._waiting.popitem(last=False)
        return ticket

    def redeem(self, ticket: str) -> str:
        """The link that waits for it, which then is forgotten.

        Raises:
            NotFoundError: There is none: it was redeemed, or a minute has passed.
        """
        until, link = self._waiting.pop(ticket, (0.0, ""))
        if trio.current_time() >= until:
            raise NotFoundError("this ticket is used up, or older than a minute", hint="archipel open LINK")
        return link
