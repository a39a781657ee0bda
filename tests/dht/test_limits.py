"""Rates per source (docs/spec/dht.md section 7)."""

import pytest

from dht import limits
from dht.limits import ENDPOINT, HOST, STRANGERS, Limits
from protocol.ids import Address


def test_one_source_has_a_burst_and_then_a_rate() -> None:
    rates, source = Limits(), Address("45.0.0.1", 1)
    assert sum(rates.allow(source, 0.0, known=True) for _ in range(5000)) == ENDPOINT.burst
    assert sum(rates.allow(source, 0.5, known=True) for _ in range(5000)) == ENDPOINT.per_second / 2
    assert sum(rates.allow(source, 1000.0, known=True) for _ in range(5000)) == ENDPOINT.burst


def test_a_host_has_a_total_but_loopback_has_not() -> None:
    for host, expected in (("45.0.0.1", HOST.burst), ("127.0.0.1", 20 * 1000)):
        rates = Limits()
        sources = [Address(host, 1 + number) for number in range(20)]
        assert sum(rates.allow(source, 0.0, known=True) for source in sources for _ in range(1000)) == expected


def test_an_ipv6_host_is_a_64() -> None:
    rates = Limits()
    sources = [Address(f"2a00:1:2:3::{number:x}", 1) for number in range(1, 20)]
    assert sum(rates.allow(source, 0.0, known=True) for source in sources for _ in range(1000)) == HOST.burst


def test_strangers_share_and_contacts_do_not_suffer() -> None:
    rates = Limits()
    sources = [Address(f"45.0.{number}.1", 1) for number in range(20)]
    assert sum(rates.allow(source, 0.0, known=False) for source in sources for _ in range(1000)) == STRANGERS.burst
    assert rates.allow(Address("46.0.0.1", 1), 0.0, known=True)
    assert not rates.allow(Address("46.0.0.1", 1), 0.0, known=False)


def test_sixty_nodes_on_one_loopback_address_hinder_each_other_in_nothing() -> None:
    rates = Limits()
    sources = [Address("127.0.0.1", 4110 + number) for number in range(60)]
    assert all(rates.allow(source, 0.0, known=True) for source in sources for _ in range(1000))


def test_the_memory_for_sources_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SOURCES", 10)
    rates = Limits()
    for number in range(100):
        rates.allow(Address(f"45.0.{number}.1", 1), 0.0, known=True)
        rates.allow(Address("46.0.0.1", 1), 0.0, known=True)
    assert len(rates) == 20
    assert sum(rates.allow(Address("46.0.0.1", 1), 0.0, known=True) for _ in range(5000)) == ENDPOINT.burst - 100
