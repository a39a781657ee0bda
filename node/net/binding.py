"""Where a node listens, and what others may dial because of it."""

from trio.abc import Listener, Stream

from dht.socket import DatagramSocket
from node.errors import machine_error
from node.net.transport import Transport, is_unspecified, outbound_host
from protocol.ids import Address

_TRIES = 20
"""A port that is free for TCP may be taken for UDP: then any other free one will do, if none was named."""


async def bind(transport: Transport, address: Address) -> tuple[Listener[Stream], DatagramSocket, Address]:
    """Listen by TCP and UDP on one port number; port 0: any that is free. Raises MachineError."""
    for tries_left in reversed(range(_TRIES if address.port == 0 else 1)):
        listener = None
        try:
            listener, bound = await transport.listen(address)
            return listener, await transport.open_udp(bound), bound
        except OSError as exc:
            if listener is not None:
                await listener.aclose()
            if not tries_left:
                raise machine_error(f"listen on {address}", exc) from exc
    raise AssertionError("unreachable")


def reachable_at(listening: Address) -> Address:
    """Where peers may reach a node that listens there, until they say better."""
    if not is_unspecified(listening.host):
        return listening
    return Address(outbound_host(version=6 if ":" in listening.host else 4), listening.port)
