"""The status as Prometheus reads it, and how it is served."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from functools import partial
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from node.drive.caretaker import CaretakerTally
from node.errors import MachineError
from node.healing.tally import Tally
from node.metrics import ANSWER_SECONDS, HEALING, MAX_CLIENTS, TENDING, metrics_text, serve_metrics
from node.traffic import KINDS, Traffic
from protocol.ids import Address

Look = Callable[[], Awaitable[Mapping[str, Any]]]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def status() -> dict[str, Any]:
    """Of a node, every number another one."""
    numbers = iter(range(1, 1000))
    tally = Tally(**{field.name: next(numbers) for field in fields(Tally)})
    traffic = Traffic()
    for counts in (traffic.served, traffic.asked):
        for count in counts.by_kind.values():
            count.requests, count.received_bytes, count.sent_bytes = next(numbers), next(numbers), next(numbers)
    ways = ("received", "received_bytes", "sent", "sent_bytes")
    return {
        "node_id": "ab" * 32,
        "key": "cd" * 32,
        "address": "10.0.0.1:4110",
        "country": None,
        "network": 'a "quoted"\nname',
        "software": "archipel",
        "started": 1_700_000_000,
        "uptime_seconds": 60,
        "storing": True,
        "why_not_storing": None,
        "full": False,
        "quota": {name: next(numbers) for name in ("limit_bytes", "used_bytes", "trash_bytes", "free_bytes")},
        "held": {name: next(numbers) for name in ("chunks", "segments", "depositors", "records")},
        "contacts": {"total": 6, "countries": {"": 1, "FR": 2}, "unknown": 3},
        "connections": {"accepted": next(numbers), "dialled": next(numbers)},
        "healing": asdict(tally),
        "tending": asdict(CaretakerTally()) | {name: next(numbers) for name in TENDING},
        "traffic": {
            "datagrams": {way: next(numbers) for way in ways},
            "served": {kind: asdict(count) for kind, count in traffic.served.by_kind.items()},
            "asked": {kind: asdict(count) for kind, count in traffic.asked.by_kind.items()},
        },
    }


def read(text: str) -> Samples:
    """As Prometheus would."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def numbers_in(found: object) -> list[float]:
    if isinstance(found, dict):
        return [number for value in found.values() for number in numbers_in(value)]
    return [float(found)] if isinstance(found, int) else []


def test_every_number_of_the_status_is_a_metric() -> None:
    """All counters of healing and all kinds of traffic among them."""
    whole = status()
    samples = read(metrics_text(whole))
    del whole["uptime_seconds"], whole["contacts"]["total"]  # these two are in the others
    assert sorted(numbers_in(whole)) == sorted(value for (name, _), value in samples.items() if name[-5:] != "_info")
    assert samples["archipel_chunks", ()] == whole["held"]["chunks"]
    for result in ("passed", "failed", "silent"):
        assert samples["archipel_audits_total", (("result", result),)] == whole["healing"][f"audits_{result}"]
    for country, count in (("none", 1), ("FR", 2), ("unknown", 3)):
        assert samples["archipel_contacts", (("country", country),)] == count
    for kind in KINDS:
        labels = (("kind", kind), ("side", "asked"), ("way", "sent"))
        assert samples["archipel_request_bytes_total", labels] == whole["traffic"]["asked"][kind]["sent_bytes"]


def test_nothing_that_healing_counts_is_left_out() -> None:
    assert set(HEALING) == {field.name for field in fields(Tally)}
    assert {*TENDING, "refusals"} == {field.name for field in fields(CaretakerTally)}


def test_a_node_without_an_account() -> None:
    assert "archipel_tending_" in metrics_text(status())
    assert "archipel_tending_" not in metrics_text({**status(), "tending": None})


def test_names_and_help_are_as_prometheus_wants_them() -> None:
    for family in text_string_to_metric_families(metrics_text(status())):
        assert family.name.startswith("archipel_")
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge")
        assert all((sample.name[-6:] == "_total") == (family.type == "counter") for sample in family.samples)


def test_the_library_is_loaded_for_metrics_alone() -> None:
    """A node that serves none does not pay for it."""
    code = "import sys, node.cli.node; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def fixed() -> Mapping[str, Any]:
    return status()


@asynccontextmanager
async def serving(look: Look = fixed) -> AsyncIterator[Callable[[], Awaitable[trio.SocketStream]]]:
    """To connect to the server."""
    async with trio.open_nursery() as nursery:
        address = await nursery.start(partial(serve_metrics, Address("127.0.0.1", 0), look))
        yield partial(trio.open_tcp_stream, address.host, address.port)
        nursery.cancel_scope.cancel()


async def get(connect: Callable[[], Awaitable[trio.SocketStream]], request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer, which ends with the connection."""
    async with await connect() as stream:
        await stream.send_all(request)
        answer = b"".join([part async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


async def test_what_a_scrape_gets() -> None:
    async with serving() as connect:
        head, body = await get(connect, b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in lines
    assert f"Content-Length: {len(body)}".encode() in lines
    assert body.decode() == metrics_text(status())


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"\xff\x00\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 9000, b"400"),
    ],
)
async def test_other_requests(request_head: bytes, answer: bytes) -> None:
    async with serving() as connect:
        head, _ = await get(connect, request_head)
        assert head.split()[1] == answer


async def test_a_status_that_cannot_be_had() -> None:
    async def fails() -> Mapping[str, Any]:
        raise MachineError("cannot count what is held: disk")

    async with serving(fails) as connect:
        head, body = await get(connect, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert head.split()[1] == b"503"
    assert body == b"cannot count what is held: disk\n"


async def test_who_says_nothing_is_hung_up_on(autojump_clock: MockClock) -> None:
    async with serving() as connect, await connect() as stream:
        began = trio.current_time()
        assert await stream.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(ANSWER_SECONDS)


async def test_a_crowd_keeps_nobody_out_for_long(autojump_clock: MockClock) -> None:
    async with serving() as connect:
        crowd = [await connect() for _ in range(MAX_CLIENTS)]
        async with await connect() as late:
            assert await late.receive_some() == b"", "hung up on at once"
        assert trio.current_time() < ANSWER_SECONDS
        await trio.sleep(ANSWER_SECONDS)
        assert (await get(connect, b"GET /metrics HTTP/1.1\r\n\r\n"))[0].split()[1] == b"200"
        for stream in crowd:
            await stream.aclose()


async def test_an_address_that_is_taken() -> None:
    async with trio.open_nursery() as nursery:
        address = await nursery.start(partial(serve_metrics, Address("127.0.0.1", 0), fixed))
        with pytest.raises(MachineError, match="cannot listen on 127"):
            await serve_metrics(address, fixed)
        nursery.cancel_scope.cancel()
