"""A port of the router before this machine, mapped to this node (UPnP IGD). The only importer of miniupnpc.

Home routers let nothing in that nobody inside asked for. Most can be asked by UPnP to let one port through. What a
router says is believed as far as it goes: whether peers really get through, dial-backs tell
(node/serving/reachability.py).
"""

import ipaddress
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import trio

from dht.contact import Scope, scope
from node.net.transport import is_unspecified, outbound_host
from protocol.ids import Address

if TYPE_CHECKING:
    import miniupnpc

log = logging.getLogger(__name__)

LEASE_SECONDS = 3600
"""After which the router forgets a mapping that nobody renews: what a killed node leaves behind."""
RENEW_SECONDS = 1200.0
"""Two renewals may fail before the lease ends."""
TRY_SECONDS = 15.0
CLOSE_SECONDS = 2.0
_SEARCH_MILLISECONDS = 500
"""For each of the 13 waits of the library's search; an answer to an earlier question counts in a later wait."""
_NAME = "archipel"
"""What a router's list of mappings shows."""
_PROTOCOLS = ("TCP", "UDP")
_ONLY_PERMANENT = "OnlyPermanentLeasesSupported"


class MappingError(Exception):
    """The port is not mapped; the text says what was tried. Forward it by hand, then."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping that a router says it has made."""

    router: str
    """The router's address on our side."""
    external: str
    """The IP address of its other side, as it says; empty when it does not."""

    @property
    def is_public(self) -> bool:
        """Whether somebody on the internet could dial the external address."""
        return bool(self.external) and scope(self.external) is Scope.PUBLIC


class Router(Protocol):
    """Whatever maps ports. The deadlines are the caller's."""

    async def map(self, port: int, host: str) -> Mapped:
        """Map ``port`` by UDP and TCP to the same number here, or renew it. Raises MappingError.

        Args:
            port: 1 to 65535.
            host: The address the node listens on; empty: the one of this machine that faces the router.
        """
        ...

    async def unmap(self, port: int) -> None:
        """Take back what :meth:`map` made, and nothing else, as far as the router lets us."""
        ...


def helps(listening: str) -> bool:
    """Whether a mapping may help a node that listens on this IP address: it has no public one, but may have a way out.

    Not on loopback, and not for IPv6, where there are no mappings: a firewall on the way has to be told by hand.
    """
    host = outbound_host(version=4) if is_unspecified(listening) else listening
    return ":" not in host and scope(host) is Scope.PRIVATE


class PortMapping:
    """The mapping of one node's port: made when asked for, renewed from then on, removed at the end."""

    def __init__(self, router: Router, port: int, listening: str) -> None:
        """Args:
        router: Maps it.
        port: UDP and TCP, here and outside.
        listening: The IP address the node listens on.
        """
        self._router = router
        self._port = port
        self._host = "" if is_unspecified(listening) else listening
        self._is_ours = False
        self.outcome = ""
        """What the last try came to, for people; empty before the first."""

    async def open(self) -> Mapped | None:
        """Make or renew the mapping, within TRY_SECONDS. None: ``outcome`` says why not."""
        mapped = None
        self.outcome = "the router gave no answer in time"
        with trio.move_on_after(TRY_SECONDS):
            try:
                mapped = await self._router.map(self._port, self._host)
            except MappingError as exc:
                self.outcome = str(exc)
        if mapped is None:
            log.info("port %d is not mapped: %s", self._port, self.outcome)
            return None
        self._is_ours = True
        self.outcome = f"the router at {mapped.router} maps the port"
        if mapped.external and not mapped.is_public:
            self.outcome += f", but is behind another router or the provider's, at {mapped.external} itself"
        log.info("%s (%d)", self.outcome, self._port)
        return mapped

    async def run(self) -> None:
        """Renew it, once it was made, until cancelled."""
        while True:
            await trio.sleep(RENEW_SECONDS)
            if self._is_ours:
                await self.open()

    async def close(self) -> None:
        """Remove it, within CLOSE_SECONDS; a router that does not answer forgets it when the lease ends."""
        if self._is_ours:
            with trio.move_on_after(CLOSE_SECONDS):
                await self._router.unmap(self._port)


def mapping_for(listening: Address, router: Router | None) -> PortMapping | None:
    """The mapping of a node that listens there; None where it cannot help, or nobody is to be asked."""
    if router is None or not helps(listening.host):
        return None
    return PortMapping(router, listening.port, listening.host)


class UpnpRouter:
    """The router that answers by UPnP. The library blocks, so it runs in a thread that may be left behind."""

    def __init__(self, description_url: str | None = None) -> None:
        """Args:
        description_url: Of the router's root description; None: search the local network, by multicast.
        """
        self._description_url = description_url
        self._gateway: _Gateway | None = None
        # One call at a time, also after one that was abandoned: the library's objects are not made for more.
        self._limiter = trio.CapacityLimiter(1)

    async def map(self, port: int, host: str) -> Mapped:
        return await trio.to_thread.run_sync(self._map, port, host, limiter=self._limiter, abandon_on_cancel=True)

    async def unmap(self, port: int) -> None:
        await trio.to_thread.run_sync(self._unmap, port, limiter=self._limiter, abandon_on_cancel=True)

    def _map(self, port: int, host: str) -> Mapped:
        made = self._gateway.made if self._gateway is not None else set()
        # Looked for each time: a router that was started again or exchanged may be somewhere else.
        self._gateway = _find(host, self._description_url, made)
        return self._gateway.map(port, host)

    def _unmap(self, port: int) -> None:
        if self._gateway is not None:
            self._gateway.unmap(port)


def _find(host: str, description_url: str | None, made: set[str]) -> "_Gateway":
    """A router that answers. Raises MappingError."""
    try:
        import miniupnpc  # noqa: PLC0415 - not installed everywhere, and most nodes never need it
    except ImportError as exc:
        raise MappingError("the router was not asked: that needs the miniupnpc package") from exc
    upnp = miniupnpc.UPnP(multicastif=host or None, discoverdelay=_SEARCH_MILLISECONDS)
    try:
        if description_url is None:
            upnp.discover()
        address = urlsplit(upnp.selectigd(description_url)).hostname or ""
        upnp.statusinfo()  # televisions answer the search as well, but have no connection to tell of
    except Exception as exc:  # the library raises nothing narrower
        raise MappingError("no router answered to UPnP") from exc
    return _Gateway(upnp, address, made)


class _Gateway:
    """One router that was found. Everything here blocks."""

    def __init__(self, upnp: "miniupnpc.UPnP", address: str, made: set[str]) -> None:
        self._upnp = upnp
        self._address = address
        self.made = made
        """The protocols that we have mapped."""

    def map(self, port: int, host: str) -> Mapped:
        try:
            for protocol in _PROTOCOLS:
                self._map_one(port, protocol, host or self._upnp.lanaddr)
        except Exception as exc:  # the library raises nothing narrower
            self.unmap(port)
            if isinstance(exc, MappingError):
                raise
            raise MappingError(f"the router at {self._address} refused to map port {port}: {exc}") from exc
        return Mapped(self._address, self._external())

    def unmap(self, port: int) -> None:
        for protocol in sorted(self.made):
            try:
                self._upnp.deleteportmapping(port, protocol)
                self.made.discard(protocol)
            except Exception as exc:  # noqa: BLE001 - the library raises nothing narrower
                log.info("the router at %s did not remove %s port %d: %s", self._address, protocol, port, exc)

    def _map_one(self, port: int, protocol: str, host: str) -> None:
        there = self._upnp.getspecificportmapping(port, protocol)
        if there is not None:
            to, to_port, name = there[:3]
            if (to, to_port) != (host, port):
                raise MappingError(f"the router at {self._address} maps port {port} to another machine already")
            if name != _NAME:
                return  # the operator's own rule: neither shortened to a lease nor removed when we stop
        try:
            self._upnp.addportmapping(port, protocol, host, port, _NAME, "", LEASE_SECONDS)
        except Exception as exc:
            if str(exc) != _ONLY_PERMANENT:
                raise
            self._upnp.addportmapping(port, protocol, host, port, _NAME, "", 0)
        self.made.add(protocol)

    def _external(self) -> str:
        try:
            return str(ipaddress.ip_address(self._upnp.externalipaddress()))
        except Exception:  # noqa: BLE001 - the library raises nothing narrower; and it may be no address
            return ""
