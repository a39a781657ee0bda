"""Files by link for a server's requests: they share what is open, and only so many read at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial

import trio

from node.buffers import Buffers, Loan
from node.client import Client
from node.errors import ConfigError
from node.linktext import read_link_text
from node.reading.opened import Opened
from node.reading.shelf import Shelf
from node.reading.slots import Slots
from protocol.links import SealedLink

STREAMS = 8
"""Files that are read at once; each takes up to 10 MB of memory."""
KEPT_BYTES = STREAMS * 10_000_000
"""Of memory that they have given back, for the next: as much as they take together, that no more is ever asked for."""


@dataclass(slots=True)
class Served:
    """Of one server."""

    client: Client
    shelf: Shelf
    buffers: Buffers = field(default_factory=partial(Buffers, KEPT_BYTES))
    _room: Slots = field(default_factory=partial(Slots, STREAMS, "reading files"))

    async def open(self, text: str) -> Opened:
        """What a link leads to, given as its word, with or without ``archipel:``.

        Raises:
            ConfigError: It is no link, or a verify link, or a sealed one: whoever asks need not be the account's owner.
            NodeError: As :meth:`Shelf.open`.
        """
        link = read_link_text(text)
        if isinstance(link, SealedLink):
            raise ConfigError("this link is sealed for one account", hint="archipel fetch opens it with that account")
        return await self.shelf.open(self.client, link)

    @asynccontextmanager
    async def stream(
        self, opened: Opened, index: int, start: int, stop: int
    ) -> AsyncIterator[trio.abc.ReceiveChannel[memoryview]]:
        """As :meth:`Opened.stream`, as soon as there is room for one more.

        Raises:
            NetworkError: There is none for 30 seconds.
        """
        async with self._room.taken():
            with closing(Loan(self.buffers)) as loan:
                async with opened.stream(self.client, index, start, stop, loan) as parts:
                    yield parts
