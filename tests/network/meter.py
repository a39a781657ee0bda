"""How many bytes a client receives and sends, and from and to whom."""

from collections import Counter

from trio.abc import Listener, Stream

from dht.socket import DatagramSocket
from protocol.ids import Address
from tests.network.memory import MemoryHost


class Meter:
    """A host's transport that counts what goes by TCP. Satisfies ``node.net.transport.Transport``."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self.received: Counter[str] = Counter()
        """Bytes by the IP address they came from."""
        self.sent: Counter[str] = Counter()
        """Bytes by the IP address they went to."""

    async def dial(self, address: Address) -> Stream:
        return _MeteredStream(await self._host.dial(address), self.received, self.sent, address.host)

    async def listen(self, address: Address) -> tuple[Listener[Stream], Address]:
        raise AssertionError("a client does not listen")

    async def open_udp(self, address: Address) -> DatagramSocket:
        return await self._host.open_udp(address)


class _MeteredStream(Stream):
    def __init__(self, stream: Stream, received: Counter[str], sent: Counter[str], peer: str) -> None:
        self._stream = stream
        self._received = received
        self._sent = sent
        self._peer = peer

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        self._received[self._peer] += len(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._sent[self._peer] += len(data)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
