"""A node's status as metrics for Prometheus; the only importer of prometheus_client, which is loaded when it is used.

Names and meanings: docs/operations.md, "Metrics".
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from node.errors import NodeError, machine_error
from protocol.ids import Address

if TYPE_CHECKING:
    from prometheus_client.core import Metric

log = logging.getLogger(__name__)

PATH = "/metrics"
ANSWER_SECONDS = 5.0
"""For a whole exchange, from the connection to its end."""
MAX_CLIENTS = 8
"""At once; others are hung up on."""
MAX_HEAD_BYTES = 8192
_TEXT = "text/plain; charset=utf-8"

_GAUGES: Final = {
    "storing": ("storing", "1 while the node takes chunks, if it is not full."),
    "full": ("full", "1 while nothing more fits."),
    "start_time_seconds": ("started", "When it started, seconds since 1970."),
    "quota_bytes": ("quota.limit_bytes", "What chunk and lease files may take."),
    "used_bytes": ("quota.used_bytes", "What they take, in whole units of 4 KiB."),
    "trash_bytes": ("quota.trash_bytes", "Of these, what no lease keeps any more."),
    "free_bytes": ("quota.free_bytes", "What quota and disk still have room for, the trash included."),
    "chunks": ("held.chunks", "Chunks held."),
    "segments": ("held.segments", "Segments of which a chunk is held."),
    "depositors": ("held.depositors", "Depositors with a lease here."),
    "records": ("held.records", "Names of which a record is kept, versions of one name counted alone."),
}
"""Metric -> (where in the status, help)."""

HEALING: Final[Mapping[str, tuple[str, str, Mapping[str, str]]]] = {
    "pings": ("pings", "Signs of life asked for.", {}),
    "surveys_asked": ("surveys", "Surveys, asked of others and answered to them.", {"side": "asked"}),
    "surveys_answered": ("surveys", "", {"side": "answered"}),
    "leases_learned": ("leases_learned", "Leases and deletions that came from another holder.", {}),
    "audits_passed": ("audits", "Audits of other nodes' chunks.", {"result": "passed"}),
    "audits_failed": ("audits", "", {"result": "failed"}),
    "audits_silent": ("audits", "", {"result": "silent"}),
    "audits_proven": ("audits_proven", "Failed audits whose wrong answer was signed.", {}),
    "scrubbed_chunks": ("scrubbed_chunks", "Own chunks read and checked.", {}),
    "rotten_chunks": ("rotten_chunks", "Own chunks found damaged, and dropped.", {}),
    "repairs_done": ("repairs", "Chunks rebuilt and placed, and attempts that ended without one.", {"result": "done"}),
    "repairs_failed": ("repairs", "", {"result": "failed"}),
    "repair_read_bytes": ("repair_bytes", "Bytes read from others and written to them for repair.", {"way": "read"}),
    "repair_written_bytes": ("repair_bytes", "", {"way": "written"}),
    "handed_on": ("handed_on_chunks", "Chunks given to a better holder.", {}),
    "duplicates_dropped": ("duplicates_dropped", "Chunks dropped because another node holds them too.", {}),
    "taken_over": ("taken_over_chunks", "Chunks taken from another holder.", {}),
    "take_overs_refused": ("take_overs_refused", "Chunks that another holder offered, refused.", {}),
    "co_holders": ("co_holders", "Nodes with which segments are shared.", {}),
    "missing_nodes": ("missing_nodes", "Those of them that do not answer.", {}),
    "repairs_pending": ("repairs_pending", "Segments with a chunk that nobody has, as far as is known.", {}),
    "beyond_repair": ("beyond_repair", "Those of them with fewer than k chunks live.", {}),
}
"""Field of the tally (node/healing/tally.py) -> (metric, help, labels)."""
_HEALING_GAUGES: Final = frozenset({"co_holders", "missing_nodes", "repairs_pending", "beyond_repair"})

TENDING: Final[Mapping[str, tuple[str, str]]] = {
    "locked": ("locked", "1 while the account is locked, so that its drive is not kept."),
    "deposits": ("deposits", "Deposits in its drive, the drive itself included."),
    "weak": ("weak_deposits", "Those of them that were not whole after their last turn."),
    "lost_segments": ("lost_segments", "Segments of them with fewer than k chunks live."),
    "names": ("names", "Names in its drive."),
    "last_round": ("last_round_seconds", "When all of them had had their turn, seconds since 1970; 0: not yet."),
    "next_round": ("next_round_seconds", "When they have it next; 0: locked, or under way."),
    "rounds": ("rounds", "Times that all had their turn."),
    "tended": ("tended_deposits", "Deposits counted, once for each time."),
    "restored_chunks": ("restored_chunks", "Chunks of them made again and placed."),
    "renewed_segments": ("renewed_segments", "Segments of them that were given a new lease."),
    "renewed_names": ("renewed_names", "Records of names that were given a later expiry."),
    "failed": ("failed_deposits", "Deposits that could not be counted."),
    "failed_names": ("failed_names", "Names that could not be kept."),
    "failed_drive": ("failed_drive", "Times that the drive could not be read, renewed or written."),
    "failed_rounds": ("failed_rounds", "Rounds that a bug has ended."),
}
"""Field of what is told of tending (node/drive/caretaker.py) -> (metric, help). None without an account."""
_TENDING_GAUGES: Final = frozenset(
    ("locked", "deposits", "weak", "lost_segments", "names", "last_round", "next_round"),
)


def metrics_text(status: Mapping[str, Any]) -> str:
    """A node's status (node/status.py) in Prometheus' text format, version 0.0.4."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - 1.5 MB that few nodes need

    class Snapshot:
        def collect(self) -> Iterator["Metric"]:
            yield from _families(status)

    registry = CollectorRegistry()
    registry.register(Snapshot())
    return generate_latest(registry).decode()


def _families(status: Mapping[str, Any]) -> Iterator["Metric"]:
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily  # noqa: PLC0415 - see above

    about = {name: status[name] or "" for name in ("node_id", "address", "country", "network", "software")}
    yield InfoMetricFamily("archipel_node", "Who this node is; the country is a claim.", about)
    for name, (where, text) in _GAUGES.items():
        yield GaugeMetricFamily(f"archipel_{name}", text, _value(status, where))
    countries = {country or "none": count for country, count in status["contacts"]["countries"].items()}
    contacts = countries | {"unknown": status["contacts"]["unknown"]}
    labelled = partial(_labelled, labels=("country",))
    yield labelled("contacts", "Contacts by claimed country, where known.", [((c,), n) for c, n in contacts.items()])
    connections = [((side,), count) for side, count in status["connections"].items()]
    yield _labelled("connections", "Open connections.", connections, labels=("side",))
    yield from _healing(status["healing"])
    yield from _tending(status["tending"])
    yield from _traffic(status["traffic"])


def _value(status: Mapping[str, Any], where: str) -> float:
    found: Any = status
    for name in where.split("."):
        found = found[name]
    return float(found)


def _labelled(
    name: str,
    text: str,
    samples: Iterable[tuple[tuple[str, ...], float]],
    *,
    labels: tuple[str, ...],
    counter: bool = False,
) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see above

    kind = CounterMetricFamily if counter else GaugeMetricFamily
    family = kind(f"archipel_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _healing(tally: Mapping[str, int]) -> Iterator["Metric"]:
    metrics: dict[str, tuple[str, dict[str, str], dict[tuple[str, ...], float]]] = {}
    for name, (metric, text, labels) in HEALING.items():
        _, _, samples = metrics.setdefault(metric, (text, dict(labels), {}))
        samples[tuple(labels.values())] = tally[name]
    for metric, (text, labels, samples) in metrics.items():
        yield _labelled(metric, text, samples.items(), labels=tuple(labels), counter=metric not in _HEALING_GAUGES)


def _tending(told: Mapping[str, int] | None) -> Iterator["Metric"]:
    if told is None:
        return
    for name, (metric, text) in TENDING.items():
        samples: list[tuple[tuple[str, ...], float]] = [((), float(told[name]))]
        yield _labelled(f"tending_{metric}", text, samples, labels=(), counter=name not in _TENDING_GAUGES)


def _traffic(traffic: Mapping[str, Any]) -> Iterator["Metric"]:
    counter = partial(_labelled, counter=True)
    datagrams = traffic["datagrams"]
    ways = ("received", "sent")
    yield counter("datagrams", "Datagrams of the DHT.", [((way,), datagrams[way]) for way in ways], labels=("way",))
    sizes = [((way,), datagrams[f"{way}_bytes"]) for way in ways]
    yield counter("datagram_bytes", "Bytes in them.", sizes, labels=("way",))
    counts = [(side, kind, count) for side in ("served", "asked") for kind, count in traffic[side].items()]
    requests = [((side, kind), count["requests"]) for side, kind, count in counts]
    yield counter("requests", "Requests of others (served) and our own (asked).", requests, labels=("side", "kind"))
    moved = [((side, kind, way), count[f"{way}_bytes"]) for side, kind, count in counts for way in ways]
    text = "Bytes that connections carried for them, both ways."
    yield counter("request_bytes", text, moved, labels=("side", "kind", "way"))


# Serving them


async def serve_metrics(
    address: Address,
    look: Callable[[], Awaitable[Mapping[str, Any]]],
    *,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer ``GET /metrics`` until cancelled. Tells where it listens.

    HTTP/1.1 without anything that can be left out: one request to a connection, no body in it.

    Raises:
        MachineError: It cannot listen there.
    """
    try:
        (listener, *_) = listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as exc:
        raise machine_error(f"listen on {address}", exc) from exc
    places = trio.Semaphore(MAX_CLIENTS)

    async def serve(stream: trio.SocketStream) -> None:
        try:
            places.acquire_nowait()
        except trio.WouldBlock:
            await trio.aclose_forcefully(stream)
            return
        try:
            with suppress(trio.BrokenResourceError), trio.move_on_after(ANSWER_SECONDS):
                await stream.send_all(await _answer(await _request_line(stream), look))
        finally:
            places.release()
            await trio.aclose_forcefully(stream)

    bound = Address(*listener.socket.getsockname()[:2])
    log.info("metrics at http://%s%s", bound, PATH)
    task_status.started(bound)
    await trio.serve_listeners(serve, listeners)


async def _request_line(stream: trio.SocketStream) -> str:
    """The first line, once all of the head is there; empty when it ends before or is too long."""
    head = bytearray()
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some(4096)
        if not data or len(head) + len(data) > MAX_HEAD_BYTES:
            return ""
        head += data
    return head.partition(b"\r\n")[0].decode("latin-1")


async def _answer(request_line: str, look: Callable[[], Awaitable[Mapping[str, Any]]]) -> bytes:
    method, _, rest = request_line.partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    if not rest.endswith((" HTTP/1.1", " HTTP/1.0")):
        return _response("400 Bad Request", "this is no HTTP request\n")
    if path != PATH:
        return _response("404 Not Found", f"there is only {PATH}\n")
    if method != "GET":
        return _response("405 Method Not Allowed", "only GET\n")
    try:
        return _response("200 OK", metrics_text(await look()), "text/plain; version=0.0.4; charset=utf-8")
    except NodeError as exc:
        return _response("503 Service Unavailable", f"{exc}\n")


def _response(status: str, text: str, kind: str = _TEXT) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
