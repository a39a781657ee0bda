"""Pages of nodes on a network in memory: what they serve by HTTP is asked without sockets."""

from functools import partial

import pytest
import trio

from node.web import server
from node.web.parts import Parts
from node.web.site import own_site
from protocol.ids import Address
from tests.network.archipelago import Archipelago, Node
from tests.node.web.asking import ADDRESS, Browser


class Pages:
    """Of nodes that are started with one from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._parts: list[Parts] = []
        monkeypatch.setattr(server, "bind", self._bind)
        monkeypatch.setattr(server, "run_page", self._run)

    async def start(self, islands: Archipelago, **options: object) -> tuple[Node, Browser]:
        """A node with a page, and a browser that shows it."""
        node = await partial(islands.start, page=True, **options)()  # type: ignore[arg-type]  # as they come
        browser = Browser(own_site(self._parts[-1], {}, ADDRESS))
        return node, await browser.begin()

    async def _bind(self, *_: object) -> tuple[None, Address]:
        return None, ADDRESS

    async def _run(
        self,
        parts: Parts,
        listening: object,
        address: Address,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self._parts.append(parts)
        async with trio.open_nursery() as nursery:
            for service in server.services(parts):
                nursery.start_soon(service)
            task_status.started()
