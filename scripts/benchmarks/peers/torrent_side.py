"""One side of a libtorrent transfer. Runs in an environment that has libtorrent and nothing of ours.

make FILE TORRENT           hash a file; prints {"seconds"}
seed TORRENT FOLDER         prints a port, serves until standard input ends
fetch TORRENT FOLDER PORT   fetch from that port; prints {"seconds"}, from the order to the last verified piece
"""

import json
import os
import sys
import time
from collections.abc import Callable

import libtorrent as lt  # type: ignore[import-not-found]  # only in its own environment

_LOOK_SECONDS = 0.002
_GIVE_UP_SECONDS = 110.0


def make(file: str, torrent: str) -> None:
    began = time.perf_counter()
    creator = lt.create_torrent([lt.create_file_entry(os.path.basename(file), os.path.getsize(file))])
    lt.set_piece_hashes(creator, os.path.dirname(file))
    with open(torrent, "wb") as handle:
        handle.write(lt.bencode(creator.generate()))
    print(json.dumps({"seconds": time.perf_counter() - began}))


def seed(torrent: str, folder: str) -> None:
    session = _session()
    handle = session.add_torrent(_order(torrent, folder))
    _wait_until_whole(handle)
    print(session.listen_port(), flush=True)
    sys.stdin.read()


def fetch(torrent: str, folder: str, port: str) -> None:
    session = _session()
    began = time.perf_counter()
    handle = session.add_torrent(_order(torrent, folder))
    handle.connect_peer(("127.0.0.1", int(port)))
    _wait_until_whole(handle)
    print(json.dumps({"seconds": time.perf_counter() - began}))


def _session() -> "lt.session":
    """Loopback and TCP only, and nobody is told of it; for the rest as it comes."""
    off = ("enable_outgoing_utp", "enable_incoming_utp", "enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp")
    settings: dict[str, object] = dict.fromkeys(off, False)
    return lt.session(settings | {"listen_interfaces": "127.0.0.1:0", "allow_multiple_connections_per_ip": True})


def _order(torrent: str, folder: str) -> "lt.add_torrent_params":
    order = lt.load_torrent_file(torrent)
    order.save_path = folder
    order.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    return order


def _wait_until_whole(handle: "lt.torrent_handle") -> None:
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while not handle.status().is_seeding:
        if time.monotonic() > deadline:
            raise SystemExit("no whole file")
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {"make": make, "seed": seed, "fetch": fetch}
    roles[sys.argv[1]](*sys.argv[2:])
