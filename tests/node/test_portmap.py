"""Ports mapped on the router: the real library against a router on 127.0.0.1, and what is done with what it says."""

import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from node.net import portmap
from node.net.portmap import CLOSE_SECONDS, LEASE_SECONDS, TRY_SECONDS, Mapped, MappingError, PortMapping, UpnpRouter
from tests.node.igd import TELEVISION, Igd, running_igd

HERE = ("127.0.0.1", 4110, "archipel", LEASE_SECONDS)
BOTH = {(4110, "TCP"): HERE, (4110, "UDP"): HERE}
LIMIT_SECONDS = 30


@pytest.fixture
def igd() -> Iterator[Igd]:
    with running_igd() as router:
        yield router


# The router and the library


async def test_a_port_is_mapped_and_given_back(igd: Igd) -> None:
    others = {(80, "TCP"): ("192.168.1.7", 80, "camera", 0)}
    igd.mappings |= others
    router = UpnpRouter(igd.url)
    with trio.fail_after(LIMIT_SECONDS):
        await router.unmap(4110)
        assert igd.mappings == others, "nothing was mapped"
        for _ in range(2):
            assert await router.map(4110, "") == Mapped("127.0.0.1", "203.0.113.9")
            assert igd.mappings == others | BOTH
        await router.unmap(4110)
        assert igd.mappings == others


async def test_a_router_that_knows_no_leases(igd: Igd) -> None:
    igd.only_permanent = True
    router = UpnpRouter(igd.url)
    with trio.fail_after(LIMIT_SECONDS):
        await router.map(4110, "")
        assert igd.mappings == dict.fromkeys(BOTH, (*HERE[:3], 0))
        await router.unmap(4110)
    assert igd.mappings == {}


async def test_the_operators_own_rule_stays(igd: Igd) -> None:
    rule = ("127.0.0.1", 4110, "by hand", 0)
    igd.mappings[4110, "TCP"] = rule
    router = UpnpRouter(igd.url)
    with trio.fail_after(LIMIT_SECONDS):
        await router.map(4110, "")
        assert igd.mappings == {(4110, "TCP"): rule, (4110, "UDP"): HERE}
        await router.unmap(4110)
    assert igd.mappings == {(4110, "TCP"): rule}


async def test_another_machine_has_the_port(igd: Igd) -> None:
    theirs = {(4110, "UDP"): ("192.168.1.7", 4110, "archipel", 60)}
    igd.mappings |= theirs
    with trio.fail_after(LIMIT_SECONDS), pytest.raises(MappingError, match="maps port 4110 to another machine already"):
        await UpnpRouter(igd.url).map(4110, "")
    assert igd.mappings == theirs, "nothing of it is left, and theirs is as it was"


@pytest.mark.parametrize(("code", "told"), [(718, "ConflictInMappingEntry"), (606, "Action not authorized")])
async def test_a_router_that_refuses(igd: Igd, code: int, told: str) -> None:
    igd.refuses["UDP"] = code
    wanted = f"the router at 127.0.0.1 refused to map port 4110: {told}"
    with trio.fail_after(LIMIT_SECONDS), pytest.raises(MappingError, match=wanted):
        await UpnpRouter(igd.url).map(4110, "")
    assert igd.mappings == {}, "one protocol alone is of no use"


async def test_who_is_no_router(igd: Igd, capfd: pytest.CaptureFixture[str]) -> None:
    igd.description = TELEVISION
    with trio.fail_after(LIMIT_SECONDS):
        for url in (igd.url, "http://127.0.0.1:1/root.xml"):
            with pytest.raises(MappingError, match="no router answered to UPnP"):
                await UpnpRouter(url).map(4110, "")
    capfd.readouterr()  # the library says by itself that the connection was refused


@pytest.mark.parametrize("external", ["", "0.0.0.0.0", "\xff\xfe", "<x/>", "9" * 30])
async def test_an_external_address_that_is_none(igd: Igd, external: str) -> None:
    igd.external = external
    with trio.fail_after(LIMIT_SECONDS):
        assert await UpnpRouter(igd.url).map(4110, "") == Mapped("127.0.0.1", "")


async def test_mappings_that_cannot_be_read(igd: Igd) -> None:
    igd.mappings[4110, "TCP"] = ("\xff\xfe", 4110, "\xff", 0)
    with trio.fail_after(LIMIT_SECONDS), pytest.raises(MappingError, match="refused"):
        await UpnpRouter(igd.url).map(4110, "")


async def test_the_library_is_not_there(igd: Igd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "miniupnpc", None)
    mapping = PortMapping(UpnpRouter(igd.url), 4110, "0.0.0.0")
    with trio.fail_after(LIMIT_SECONDS):
        assert await mapping.open() is None
    assert mapping.outcome == "the router was not asked: that needs the miniupnpc package"


async def test_a_router_that_gives_no_answer(igd: Igd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for its thread, and no second one is begun beside it."""
    monkeypatch.setattr(portmap, "TRY_SECONDS", 0.2)
    igd.answers.clear()
    mapping = PortMapping(UpnpRouter(igd.url), 4110, "0.0.0.0")
    with trio.fail_after(2):
        for _ in range(2):
            assert await mapping.open() is None
            assert mapping.outcome == "the router gave no answer in time"
    igd.answers.set()
    monkeypatch.setattr(portmap, "TRY_SECONDS", LIMIT_SECONDS)
    assert await mapping.open() == Mapped("127.0.0.1", "203.0.113.9")


# What is done with it


class FakeRouter:
    """Notes what it is asked, and when."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.fails = False
        self.seconds = 0.0

    async def map(self, port: int, host: str) -> Mapped:
        self.asked.append((f"map {port} {host}", trio.current_time()))
        await trio.sleep(self.seconds)
        if self.fails:
            raise MappingError("the router is in a bad mood")
        return Mapped("192.168.1.1", "5.6.7.8")

    async def unmap(self, port: int) -> None:
        self.asked.append((f"unmap {port}", trio.current_time()))
        await trio.sleep(self.seconds)


async def test_a_mapping_is_renewed_and_removed(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    router = FakeRouter()
    mapping = PortMapping(router, 4110, "192.168.1.3")
    nursery.start_soon(mapping.run)
    await trio.sleep(2 * LEASE_SECONDS)
    await mapping.close()
    assert router.asked == [], "nothing before it is asked for"
    assert await mapping.open() == Mapped("192.168.1.1", "5.6.7.8")
    assert mapping.outcome == "the router at 192.168.1.1 maps the port"
    router.fails = True
    await trio.sleep(LEASE_SECONDS / 2)
    router.fails = False
    await trio.sleep(10 * LEASE_SECONDS)
    times = [at for what, at in router.asked if what == "map 4110 192.168.1.3"]
    assert len(times) == len(router.asked) > 20, "also after one that failed"
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) < LEASE_SECONDS / 2
    await mapping.close()
    assert router.asked[-1] == ("unmap 4110", trio.current_time())
    nursery.cancel_scope.cancel()


async def test_a_router_has_its_time_and_no_more(autojump_clock: MockClock) -> None:
    router = FakeRouter()
    mapping = PortMapping(router, 4110, "::")
    await mapping.open()
    assert router.asked == [("map 4110 ", 0.0)], "listening everywhere, the address that faces the router is meant"
    router.seconds = 1e6
    began = trio.current_time()
    assert await mapping.open() is None
    assert trio.current_time() - began == pytest.approx(TRY_SECONDS)
    await mapping.close()
    assert trio.current_time() - began == pytest.approx(TRY_SECONDS + CLOSE_SECONDS)


@pytest.mark.parametrize(
    ("listening", "outbound", "wanted"),
    [
        ("127.0.0.1", "192.168.1.3", False),
        ("::1", "192.168.1.3", False),
        ("5.6.7.8", "192.168.1.3", False),
        ("fd00::3", "192.168.1.3", False),
        ("192.168.1.3", "5.6.7.8", True),
        ("100.64.0.3", "5.6.7.8", True),
        ("0.0.0.0", "192.168.1.3", True),
        ("::", "192.168.1.3", True),
        ("0.0.0.0", "5.6.7.8", False),
        ("0.0.0.0", "127.0.0.1", False),
    ],
)
def test_where_a_mapping_may_help(monkeypatch: pytest.MonkeyPatch, listening: str, outbound: str, wanted: bool) -> None:
    monkeypatch.setattr(portmap, "outbound_host", lambda *, version: {4: outbound, 6: "2001:db8::3"}[version])
    assert portmap.helps(listening) is wanted


@pytest.mark.parametrize(
    ("external", "public"), [("5.6.7.8", True), ("100.64.3.2", False), ("192.168.0.2", False), ("", False)]
)
def test_which_external_addresses_are_public(external: str, public: bool) -> None:
    assert Mapped("192.168.1.1", external).is_public is public
