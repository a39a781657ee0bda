"""A node's rate limits, measured at the other end of its connections over windows of 10 seconds."""

import fcntl
import json
import secrets
import struct
import sys
import termios
from bisect import bisect_left
from contextlib import closing
from pathlib import Path

import trio
from trio.abc import Listener, Stream

from dht.socket import DatagramSocket
from node.client import Client, World, open_client
from node.config import Config
from node.fetching.download import Downloader
from node.fetching.reader import read_contents, select
from node.fetching.restore import choose_target, restore
from node.home import Depositor
from node.journal import Journal
from node.net.transport import SystemTransport
from node.progress import Progress
from node.publishing.content import FileContent
from node.publishing.publish import Options, publish
from node.publishing.source import scan
from protocol.identity import Identity, Network
from protocol.ids import Address
from protocol.links import Link
from protocol.segment import Shares
from scripts.benchmarks.processes import background
from scripts.benchmarks.table import Table

_NETWORK = "rates"
_RATE = 2_000_000
_WINDOW_SECONDS = 10.0
_SIZE = 13 * _RATE
"""So that there are windows that begin later than the first byte."""
_LOOK_SECONDS = 0.05


def rate_limits(table: Table, folder: Path) -> None:
    """Publish to, and fetch from, a lone node with a limit each way."""
    folder.mkdir()
    command = [sys.executable, "-P", "-m", "node.cli", "--json", "--network", _NETWORK, "node"]
    command += ["--listen", "127.0.0.1:0", "--data", str(folder / "node"), "--up", str(_RATE), "--down", str(_RATE)]
    with background(command) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        trio.run(_measure, table, folder, address)


async def _measure(table: Table, folder: Path, address: str) -> None:
    lines = _CountedTransport()
    (folder / "file").write_bytes(secrets.token_bytes(_SIZE))
    async with open_client(Config(folder, _NETWORK, (address,)), world=World(lines)) as client:
        async with trio.open_nursery() as looking:
            looking.start_soon(lines.look)
            link = await _publish(client, folder)
            looking.cancel_scope.cancel()
        _tell(table, "node --down 2MB: what it takes", lines.taken)
        async with trio.open_nursery() as looking:
            looking.start_soon(lines.look)
            await _fetch(client, folder, link)
            looking.cancel_scope.cancel()
        _tell(table, "node --up 2MB: what it gives", lines.given)
    if (folder / "copy").read_bytes() != (folder / "file").read_bytes():
        raise SystemExit("what was fetched is not what was published")


async def _publish(client: Client, folder: Path) -> Link:
    depositor = Depositor(Identity(secrets.token_bytes(32)), secrets.token_bytes(32))
    content = FileContent(scan([folder / "file"]), b"rates")
    with closing(Journal(folder / "journal", Network(_NETWORK).id)) as journal:
        options = Options(shares=Shares(1, 1))
        return (await publish(client, depositor, journal, content, options, Progress())).link


async def _fetch(client: Client, folder: Path, link: Link) -> None:
    downloader = Downloader(client, Progress())
    manifest = await read_contents(downloader, link)
    chosen = select(manifest, None)
    target = choose_target(manifest, chosen, folder / "copy", link.root, force=False)
    await restore(downloader, link, manifest, [(chosen[0], 0, _SIZE)], chosen, target, force=False)


def _tell(table: Table, what: str, seen: list[tuple[float, int]]) -> None:
    """The first window, and how far the others are from the limit at worst."""
    seen = seen[max(0, next(i for i, (_, size) in enumerate(seen) if size > seen[0][1]) - 1) :]
    last = next(i for i, (_, size) in enumerate(seen) if size == seen[-1][1])
    times = [time for time, _ in seen[: last + 1]]
    rates = []
    for time, before in seen[: last + 1]:
        end = bisect_left(times, time + _WINDOW_SECONDS)
        if end < len(times):
            rates.append((seen[end][1] - before) / (times[end] - time))
    off = ", ".join(f"{(rate / _RATE - 1) * 100:+.1f} %" for rate in (min(rates), max(rates)))
    table.add(what, rates[0] / 1e6, "MB/s", f"first 10 s; {len(rates)} windows of 10 s: {off}")


class _CountedTransport:
    """Real connections, and what the other ends have taken and given. Satisfies ``node.net.transport.Transport``."""

    def __init__(self) -> None:
        self._system = SystemTransport()
        self._streams: list[_CountedStream] = []
        self.taken: list[tuple[float, int]] = []
        self.given: list[tuple[float, int]] = []

    async def look(self) -> None:
        """Note both, again and again, from nothing."""
        self.taken, self.given = [], []
        while True:
            now = trio.current_time()
            self.taken.append((now, sum(stream.taken() for stream in self._streams)))
            self.given.append((now, sum(stream.given for stream in self._streams)))
            await trio.sleep(_LOOK_SECONDS)

    async def dial(self, address: Address) -> Stream:
        stream = _CountedStream(await self._system.dial(address))
        self._streams.append(stream)
        return stream

    async def listen(self, address: Address) -> tuple[Listener[Stream], Address]:
        raise AssertionError("a client does not listen")

    async def open_udp(self, address: Address) -> DatagramSocket:
        return await self._system.open_udp(address)


class _CountedStream(Stream):
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sent = 0
        self.given = 0

    def taken(self) -> int:
        """Bytes the other end has acknowledged; as good as all, once this one is closed."""
        handle = self._stream.socket.fileno()
        if handle < 0:
            return self._sent
        (waiting,) = struct.unpack("i", fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)))
        return self._sent - int(waiting)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            sent = await self._stream.socket.send(view)
            self._sent += sent
            view = view[sent:]

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        self.given += len(data)
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()
