"""A node that many connect to and say nothing, and that rubbish rains on, serves those who speak."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

from node.serving.admission import MAX_CONNECTIONS
from protocol.channel import Channel
from protocol.datagrams import MAX_DATAGRAM_BYTES, Ping, seal
from protocol.identity import Identity, Network
from tests.e2e.meter import MIB, descriptors, peak_bytes, resident_bytes
from tests.e2e.talk import address_of
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import NodeProcess, Nodes, until

SILENT = 1_000
GROWTH_BYTES = 24 * MIB
"""What all this may cost a node in memory: 320 handshakes, bodies on their way, what allocators keep."""
FETCH_SECONDS = 30.0
"""Far more than a second, which it takes on a machine that has nothing else to do than this."""
STRANGER = Identity(b"s" * 32)


def _address(node: NodeProcess) -> tuple[str, int]:
    where = address_of(node)
    return where.host, where.port


def _first_words(network: Network) -> list[bytes]:
    """How a connection may begin that goes nowhere: not at all, in the midst of the preamble, of the handshake."""
    spoken = Channel.initiator(STRANGER, network.id, b"s" * 32, b"e" * 32).data_to_send()
    return [b"", spoken[:5], spoken[:8], spoken[:-1], spoken]


@contextmanager
def half_open(node: NodeProcess, network: Network, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that never finish their handshake."""
    words = _first_words(network)
    with ExitStack() as stack:
        opened = []
        for number in range(count):
            sock = stack.enter_context(socket.create_connection(_address(node), 10))
            sock.sendall(words[number % len(words)])
            opened.append(sock)
        yield opened


@dataclass
class Flood:
    """What was sent, and whether to go on."""

    enough: threading.Event = field(default_factory=threading.Event)
    datagrams: int = 0
    connections: int = 0


@contextmanager
def flooded(node: NodeProcess, network: Network) -> Iterator[Flood]:
    """Rubbish on both sockets of a node, hundreds of times a second."""
    flood = Flood()
    threads = [threading.Thread(target=rain, args=(flood, node, network)) for rain in (_by_udp, _by_tcp)]
    for thread in threads:
        thread.start()
    try:
        yield flood
    finally:
        flood.enough.set()
        for thread in threads:
            thread.join()


def _by_udp(flood: Flood, node: NodeProcess, network: Network) -> None:
    """Random bytes of all sizes; a request that is right: the same one again and again, cut, lengthened, bent."""
    draw = random.Random(1)
    right = seal(STRANGER, network.id, None, b"transact", Ping(), read_only=True)
    kinds: list[Callable[[], bytes]] = [
        lambda: draw.randbytes(draw.choice((0, 1, 108, 109, 500, MAX_DATAGRAM_BYTES, 9_000, 60_000))),
        lambda: right,
        lambda: right[: draw.randrange(len(right))],
        lambda: right + bytes(draw.choice((1, MAX_DATAGRAM_BYTES, 40_000))),
        lambda: _bent(right, draw),
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while not flood.enough.wait(0.004):
            for make in kinds:
                sock.sendto(make(), _address(node))
                flood.datagrams += 1


def _by_tcp(flood: Flood, node: NodeProcess, network: Network) -> None:
    """Connections that say something else: another protocol, another network, a handshake message of 65,535 bytes."""
    draw = random.Random(2)
    preamble = _first_words(network)[2]
    words = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + draw.randbytes(500),
        draw.randbytes(100_000),
        preamble[:4] + draw.randbytes(200),
        preamble + b"\xff\xff" + draw.randbytes(70_000),
        preamble + b"\x00\x30" + draw.randbytes(48) + draw.randbytes(70_000),
    ]
    while not flood.enough.wait(0.004):
        with socket.create_connection(_address(node), 10) as sock:
            try:
                sock.sendall(words[flood.connections % len(words)])
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(1 << 16):
                    pass
            except OSError:  # it hung up in the midst of it, as it should
                pass
        flood.connections += 1


def _bent(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def _hung_up(socks: list[socket.socket]) -> int:
    """How many of these connections the node has ended."""
    ended = 0
    with DefaultSelector() as selector:
        for sock in socks:
            selector.register(sock, EVENT_READ)
        for key, _ in selector.select(0):
            assert isinstance(key.fileobj, socket.socket)
            ended += _at_end(key.fileobj)
    return ended


def _at_end(sock: socket.socket) -> bool:
    """Whether nothing more will come. What the node had to say in the handshake lies before the end."""
    sock.settimeout(0)
    try:
        while sock.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


def test_a_fetch_among_silence_and_rubbish(nodes: Nodes, tmp_path: Path) -> None:
    node, network = nodes.start("node"), Network(nodes.network)
    pid = node.process.pid
    write(tmp_path / "source", random_bytes(81, 20_000_000))
    alice, bob = nodes.person("alice", node), nodes.person("bob", node)
    link = alice.publish(tmp_path / "source", "--shares", "1/1")["link"]
    bob.run("fetch", link, "-o", tmp_path / "calm")
    before, open_before = resident_bytes(pid), descriptors(pid)

    with half_open(node, network, SILENT) as silent:
        assert descriptors(pid) <= open_before + MAX_CONNECTIONS + 8, "the oldest made room for the newest"
        with flooded(node, network) as flood:
            for number in range(2):
                bob.run("fetch", link, "-o", tmp_path / f"copy {number}", seconds=FETCH_SECONDS)
            bob.run("publish", tmp_path / "source", "--shares", "1/1", seconds=FETCH_SECONDS)
        assert flood.datagrams > 1_000
        assert flood.connections > 50
        # When the others have to go is timed where time is virtual: tests/node/test_serve.py.
        until(lambda: _hung_up(silent) >= SILENT - MAX_CONNECTIONS)

    assert peak_bytes(pid) < before + GROWTH_BYTES
    until(lambda: descriptors(pid) <= open_before)
    bob.run("fetch", link, "-o", tmp_path / "copy")
    for name in ("calm", "copy 0", "copy 1", "copy"):
        assert snapshot(tmp_path / name) == snapshot(tmp_path / "source")
    assert node.log.read_text() == "", "whoever sends rubbish cannot fill a disk with it"
    assert node.stop() == 0
