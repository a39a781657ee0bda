"""What one client of a public gateway may ask for: so many requests at once, and so many in a while."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import trio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from node.web.http.answers import HttpError, error_answer

AT_ONCE = 12
"""Requests of one client under way: a page reads three segments ahead, and loads its files."""
AT_ONCE_IN_ALL = 96
BURST, PER_SECOND = 240, 20.0
"""Requests of one client: at first, and as they come back. A block at a time, 20 a second are 2.6 MB/s."""
MAX_CLIENTS = 4096
"""Remembered; of more, those who asked longest ago are forgotten."""


@dataclass(slots=True)
class _Client:
    left: float = BURST
    filled_at: float = field(default_factory=trio.current_time)
    under_way: int = 0

    def spend(self) -> float:
        """Take one request; seconds to wait if there is none."""
        now = trio.current_time()
        self.left = min(BURST, self.left + (now - self.filled_at) * PER_SECOND)
        self.filled_at = now
        if self.left < 1:
            return (1 - self.left) / PER_SECOND
        self.left -= 1
        return 0.0


class Limits:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            with self._entered(neighbour(scope)):
                await self._app(scope, receive, send)
        except _TooManyError as exc:
            await error_answer(exc)(scope, receive, send)

    @contextmanager
    def _entered(self, name: str) -> Iterator[None]:
        client = self._clients.setdefault(name, _Client())
        self._clients.move_to_end(name)
        wait = client.spend()
        if wait or client.under_way >= AT_ONCE or self._under_way >= AT_ONCE_IN_ALL:
            raise _TooManyError(max(1, round(wait)))
        self._forget()
        client.under_way += 1
        self._under_way += 1
        try:
            yield
        finally:
            client.under_way -= 1
            self._under_way -= 1

    def _forget(self) -> None:
        """Whoever asked longest ago, if there are too many and nothing of theirs is under way."""
        while len(self._clients) > MAX_CLIENTS:
            name, client = self._clients.popitem(last=False)
            if client.under_way:
                self._clients[name] = client
                return


class _TooManyError(HttpError):
    def __init__(self, seconds: int) -> None:
        super().__init__(429, "too many requests at once", hint="try again", headers={"Retry-After": str(seconds)})


def neighbour(scope: Scope) -> str:
    """An IPv4 address, or an IPv6 /64, which is one customer's. Who asks a reverse proxy on this machine, that says."""
    address = ip_address(scope["client"][0].partition("%")[0])
    if address.is_loopback:
        lines = Headers(scope=scope).getlist("x-forwarded-for")
        told = lines[-1].rpartition(",")[2].strip() if lines else ""  # the last is the proxy's own
        with suppress(ValueError):
            address = ip_address(told)
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return str(mapped)
    return str(address) if address.version == 4 else str(ip_network((int(address) >> 64 << 64, 64)))
