"""Targets: what is read back from a disk, which rots, or was written by somebody else."""

import atexit
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path

from dht.state import MAX_CONTACTS, pack_contacts, read_contacts
from node.config import load_config, parse_duration, parse_size, split_host_port
from node.errors import ConfigError, MachineError
from node.journal import DepositRow, Journal
from node.store.chunkfile import ChunkFile, DamagedError, Trailer, pack_leases, parse_name, read_leases
from node.syncing.plan import Item, make_plan
from node.syncing.state import Base, Known, SyncState
from protocol.codec import decode, encode
from protocol.errors import LocalProtocolError, ProtocolError
from protocol.hashing import digest
from protocol.ids import SegmentId
from protocol.leases import Policy
from protocol.manifest import Kind
from protocol.segment import Descriptor, Shares, block_hash
from tests.fuzz.corpus import hex_values
from tests.fuzz.target import Target
from tests.node.builders import ALICE, NETWORK, lease_for, sample

_SMALL, _LARGE = sample(1, 300, Shares(2, 3)), sample(2, 300_000, Shares(2, 3))
_ROOT, _SOURCE, _DEPOSIT = SegmentId(b"r" * 32), b"s" * 32, b"d" * 16
_TOKEN = b"t" * 32
_MARK = b"m" * 24


@cache
def _folder() -> Path:
    """A folder of this process, removed when it ends."""
    folder = tempfile.TemporaryDirectory(prefix="archipel-fuzz-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@contextmanager
def no_handle_left() -> Iterator[None]:
    """Check that no file stays open: the system gives the lowest free number."""
    before = os.dup(0)
    os.close(before)
    yield
    after = os.dup(0)
    os.close(after)
    assert after == before


# --- the configuration, and what is typed ---


def _run_config(data: bytes) -> None:
    """``data`` as a configuration file, as environment variables, and as each kind of value one can type."""
    (_folder() / "config.toml").write_bytes(data)
    text = data.decode("utf-8", "surrogateescape")
    home = {"ARCHIPEL_HOME": str(_folder())}
    _config(home)
    (_folder() / "config.toml").unlink()
    if "\0" not in text:  # no environment holds one
        _config({**home, "ARCHIPEL_NETWORK": text})
        _config({**home, "ARCHIPEL_JOIN": text})
        _config({"ARCHIPEL_HOME": text})
    with suppress(ConfigError):
        host, port = split_host_port(text)
        assert host
        assert 0 <= port <= 65_535
    with suppress(ConfigError):
        assert parse_size(text) >= 0
    with suppress(ConfigError):
        assert 0 < parse_duration(text) < 2**63
    with suppress(LocalProtocolError):
        shares = Shares.parse(text)
        assert Shares.parse(str(shares)) == shares


def _config(environ: dict[str, str]) -> None:
    with suppress(ConfigError):
        config = load_config(environ, {})
        assert 1 <= len(config.network.encode()) <= 64
        for name in config.join:
            split_host_port(name)


_CONFIGS = (
    b'network = "home"\njoin = ["192.0.2.1:4110", "[2001:db8::1]:4110"]\n',
    b"network = '''x'''\n# remark\n[join]\na.b = 1979-05-27T07:32:00Z\n",
    b'join = [ 1, 0x1f, 1e9, inf, true, { a = [ [ ] ] } ]\n"network" = "\\u00fc"\n',
    b"192.0.2.1:4110, [::1]:80,example.org:1",
    b"50GB",
    b"1.5 MiB",
    b"180d",
    b"8/12",
    b"~/archipel",
)


# --- a node's files ---


def _run_chunk_file(data: bytes) -> None:
    """``data`` as a chunk's file; as a trailer, behind as many zeros as it speaks of; as leases; as a name."""
    path = _folder() / "chunk"
    path.write_bytes(data)
    with no_handle_left():
        for index in (0, 1):
            _open_chunk(path, _SMALL.id, index)
        with suppress(DamagedError):
            leases = read_leases(path)
            path.write_bytes(pack_leases(leases))
            assert read_leases(path) == leases
        with suppress(ProtocolError):
            trailer = decode(Trailer, data)
            descriptor = Descriptor.decode(trailer.descriptor)
            if trailer.index < descriptor.layout.n:
                os.truncate(path, 0)
                os.truncate(path, descriptor.layout.column_bytes(trailer.index))
                with path.open("ab") as file:
                    file.write(trailer.pack())
                _open_chunk(path, descriptor.id, trailer.index)
    name = data[:100].decode("utf-8", "surrogateescape")
    parsed = parse_name(name)
    if parsed is not None:
        assert name == f"{parsed[0].hex()}.{'leases' if parsed[1] is None else parsed[1]}"


def _open_chunk(path: Path, segment: SegmentId, index: int) -> None:
    with suppress(DamagedError), closing(ChunkFile.open(path, segment, index)) as file:
        assert file.descriptor.id == segment
        assert file.trailer.index == index
        for block in range(file.blocks)[:2]:
            out = bytearray(file.range_bytes(block, 1))
            file.read_into(block, 1, memoryview(out))
            assert block_hash(out) == file.block_hash(block)


def _chunk_seeds() -> list[bytes]:
    seeds = [pack_leases([]), pack_leases([lease_for(_SMALL)[1]] * 2), b"%s.11" % _SMALL.id.hex().encode()]
    for segment in (_SMALL, _LARGE):
        _, lease = lease_for(segment)
        for index in range(segment.descriptor.layout.n):
            trailer = Trailer(
                descriptor=segment.descriptor.encode(), index=index, hashes=segment.hashes[index], lease=lease
            )
            seeds.append(encode(trailer))
            if segment is _SMALL:
                seeds.append(segment.columns[index] + trailer.pack())
    return seeds


def _run_contacts(data: bytes) -> None:
    path = _folder() / "contacts"
    path.write_bytes(data)
    found = read_contacts(path)
    assert len(found) <= MAX_CONTACTS
    path.write_bytes(pack_contacts(found))
    assert read_contacts(path) == found


def _contact_seeds() -> list[bytes]:
    packed = [data for data in hex_values("dht_nodes_*") if len(data) in (38, 50)]
    return [b"", b"".join(b"%s\n" % one.hex().encode() for one in packed), b"00" * 38 + b"\r\n\n" + b"zz" * 50]


# --- the depositor's journal ---


def _run_journal(data: bytes) -> None:
    """``data`` as the journal's file; and as the policy of the deposit in a good one."""
    path = fresh("deposits.sqlite")
    if data.startswith(b"SQLite"):
        path.write_bytes(data)
    else:
        path.write_bytes(_good_journal())
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE deposit SET policy = CAST(? AS TEXT)", (data,))
    _use_journal(path)


def fresh(name: str) -> Path:
    """A database's path, where there is no file yet."""
    for path in _folder().glob(f"{name}*"):
        path.unlink()
    return _folder() / name


def _use_journal(path: Path) -> None:
    """Everything a journal does; each may find the file damaged, and none may find anything else."""
    with suppress(MachineError), no_handle_left(), closing(Journal(path, NETWORK.id)) as journal:
        calls: tuple[Callable[[], object], ...] = (
            lambda: [journal.only_in(row) for row in journal.deposits(_ROOT)],
            lambda: _update(journal),
            lambda: journal.segments(_ROOT),
            lambda: journal.seen(_ROOT),
            lambda: journal.next_terms(_DEPOSIT, 1, 1),
            lambda: journal.begin(_SOURCE, _DEPOSIT, b""),
            lambda: journal.putting(_ROOT),
            lambda: journal.placed(_TOKEN),
            lambda: journal.note_placed(_TOKEN, _SMALL.descriptor),
            lambda: journal.forget(_ROOT),
        )
        for call in calls:
            with suppress(MachineError):
                call()


def _update(journal: Journal) -> None:
    for row in journal.deposits(_ROOT):
        journal.update(row)


@cache
def _good_journal() -> bytes:
    path = fresh("deposits.sqlite")
    with closing(Journal(path, NETWORK.id)) as journal:
        attempt = journal.begin(_SOURCE, _DEPOSIT, b"")
        journal.next_terms(_DEPOSIT, 1_700_000_000_000, 1_800_000_000)
        row = DepositRow(_ROOT, _DEPOSIT, "photos", 10_000, 1, 1_800_000_000, Policy(avoid=("FR", "DE")))
        journal.finish(attempt, row, [(SegmentId(bytes([number]) * 32), number) for number in range(1, 30)])
        journal.putting(_ROOT)
        journal.note_placed(_TOKEN, _SMALL.descriptor)
    return path.read_bytes()


# --- what a synced folder and the drive agreed on ---


def _state() -> SyncState:
    return SyncState(_folder(), ALICE.key, Path("/photos"), b"photos")


def _run_sync_state(data: bytes) -> None:
    """``data`` as the file, and as what stands in a file that is whole: it is read as it was written, or is none."""
    state = _state()
    state.path.parent.mkdir(exist_ok=True)
    for content in (data, data[:-32] + digest("file", data[:-32])):
        state.path.write_bytes(content)
        with no_handle_left():
            base = state.read(_MARK)
        if base is not None:
            state.write(_MARK, base)
            assert state.read(_MARK) == base
            make_plan({path: known.item for path, known in base.known.items()}, {}, {})


def _sync_state_seeds() -> list[bytes]:
    state = _state()
    file, link = Item(Kind.FILE, 5, 1_700_000_000_000_000_000, True), Item(Kind.SYMLINK, target=b"a")
    state.write(
        _MARK,
        Base({b"a": Known(Item(Kind.FOLDER)), b"a/b": Known(file, -5, b"h" * 32), b"c": Known(link, 6)}, b"v" * 16),
    )
    return [state.path.read_bytes()]


TARGETS = (
    Target("sync-state", _run_sync_state, _sync_state_seeds, 3000),
    Target("config", _run_config, lambda: _CONFIGS, 3000),
    Target("chunk-file", _run_chunk_file, _chunk_seeds, 8000),
    Target("contacts", _run_contacts, _contact_seeds, 8000),
    Target("journal", _run_journal, lambda: [_good_journal(), b'{"spread_countries": false, "avoid": ["FR"]}'], 70_000),
)
