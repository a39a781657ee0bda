"""Which user of this machine is at the other end of a loopback connection, as the kernel's table of sockets says."""

import sys
from ipaddress import ip_address
from pathlib import Path

MAX_TABLE_BYTES = 16 << 20
_TABLES = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}


def user_of(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The user id of whoever opened a connection. Blocks.

    Args:
        client: Address and port at the other end.
        server: Address and port at ours.

    Returns:
        None: the kernel does not tell, as outside Linux, or the connection has gone.
    """
    found = _listed(client, server)
    if found is None and ip_address(client[0]).version == 4:  # or whoever it is talks IPv4 by a socket for both
        found = _listed((f"::ffff:{client[0]}", client[1]), (f"::ffff:{server[0]}", server[1]))
    return found


def _listed(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """As :func:`user_of`, by the table for addresses as these."""
    wanted = [_row(*client), _row(*server)]
    try:
        with _TABLES[ip_address(client[0]).version].open("rb") as table:
            for line in table.read(MAX_TABLE_BYTES).split(b"\n")[1:]:
                fields = line.split()
                if fields[1:3] == wanted:
                    return int(fields[7])
    except (OSError, ValueError, IndexError):
        return None
    return None


def told() -> bool:
    """Whether this system tells it at all."""
    return _TABLES[4].exists()


def _row(host: str, port: int) -> bytes:
    """As the table has it: 32-bit words of the address in the machine's own order, then the port."""
    packed = ip_address(host).packed
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    swapped = b"".join(bytes(reversed(word)) for word in words) if _LITTLE else packed
    return f"{swapped.hex().upper()}:{port:04X}".encode()


_LITTLE = sys.byteorder == "little"
