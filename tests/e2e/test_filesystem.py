"""`archipel://` in the hands of fsspec and pyarrow: a program without a node reads a deposit by its link."""

import io
import logging
import os
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trio

from node.account.agent import end_agent, start_agent
from node.account.vault import Vault
from node.client import open_client
from node.config import Config
from node.home import Home
from node.names.seen import Seen
from node.names.writing import publish_version
from node.reading.background import background
from node.reading.filesystem import ArchipelFileSystem
from protocol.account import AccountKeys
from protocol.links import Link, NameLink, parse_link, seal_link
from protocol.names import NameKeys
from tests.e2e.test_accounts import CHEAP, PASSPHRASE
from tests.e2e.trees import random_bytes, write
from tests.e2e.world import Net, Person, check_no_secrets, learn_secret

KEYS = AccountKeys(bytes(range(100, 132)))
ROWS = 150_000
COLUMNS = "abcdefgh"
COLUMN_BYTES = 8 * ROWS
SOURCE = 3_000_000


@dataclass(frozen=True)
class Deposit:
    """A folder with a table and other files, and what a program is told of the network."""

    word: str
    verify: str
    large: bytes
    table: pa.Table
    table_bytes: int
    options: dict[str, Any]


def doubles(seed: int) -> pa.Array:
    """Numbers that nothing compresses."""
    packed = random.Random(seed).randbytes(COLUMN_BYTES)
    return pa.Array.from_buffers(pa.int64(), ROWS, [None, pa.py_buffer(packed)])


@pytest.fixture(scope="module")
def deposit(calm: Net, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deposit]:
    folder = tmp_path_factory.mktemp("data")
    source = folder / "data"
    table = pa.table({name: doubles(number) for number, name in enumerate(COLUMNS)})
    write(source / "large.bin", large := random_bytes(5, SOURCE))
    write(source / "notes" / "readme.txt", b"one\ntwo\n")
    write(source / "notes" / "deep" / "more.txt", b"more\n")
    pq.write_table(table, source / "table.parquet", use_dictionary=False, compression="none")
    (source / "latest.parquet").symlink_to("table.parquet")
    published = calm.person(folder / "alice").publish(source)
    word = published["link"].removeprefix("archipel:")
    size = (source / "table.parquet").stat().st_size
    options = {"join": ",".join(calm.join), "network": calm.network, "home": str(folder / "reader")}
    yield Deposit(word, published["verify_link"].removeprefix("archipel:"), large, table, size, options)


@pytest.fixture
def fs(deposit: Deposit) -> ArchipelFileSystem:
    found = fsspec.filesystem("archipel", **deposit.options)
    assert isinstance(found, ArchipelFileSystem)
    return found


def received(fs: ArchipelFileSystem, word: str) -> int:
    """Bytes of sealed blocks that came for a deposit so far."""
    return fs._open_link(f"archipel://{word}")[0].received_bytes


def test_one_column_of_a_table_moves_its_blocks(deposit: Deposit, fs: ArchipelFileSystem) -> None:
    before = received(fs, deposit.word)
    read = pq.read_table(f"archipel://{deposit.word}/data/table.parquet", columns=["c"], filesystem=fs)
    assert read.equals(deposit.table.select(["c"]))
    moved = received(fs, deposit.word) - before
    assert COLUMN_BYTES < moved < COLUMN_BYTES + 6 * 131_088 < deposit.table_bytes / 2


def test_all_of_a_table_by_its_url_and_through_a_symbolic_link(deposit: Deposit) -> None:
    with fsspec.open(f"archipel://{deposit.word}/data/latest.parquet", **deposit.options) as file:
        assert pq.read_table(file).equals(deposit.table)


def test_folders(deposit: Deposit, fs: ArchipelFileSystem) -> None:
    top = f"archipel://{deposit.word}"
    alias = fs._strip_protocol(top)
    names = [f"{alias}/data/{name}" for name in ("large.bin", "latest.parquet", "notes", "table.parquet")]
    assert fs.ls(f"{top}/data/", detail=False) == names
    assert fs.ls(top, detail=False) == [f"{alias}/data"]
    assert fs.ls(f"{top}/data/large.bin", detail=False) == names[:1]
    assert [item["type"] for item in fs.ls(f"{top}/data")] == ["file", "file", "directory", "file"]
    told = fs.info(f"{top}/data/large.bin")
    assert (told["size"], told["type"], told["name"]) == (SOURCE, "file", names[0])
    assert fs.info(f"{top}/data/latest.parquet")["destination"] == "table.parquet"
    assert fs.info(f"{top}/data/latest.parquet")["etag"] == fs.info(names[3])["etag"] != told["etag"]
    assert fs.isdir(top)
    assert fs.isdir(f"{top}/data/notes")
    assert fs.isfile(names[0])
    assert fs.exists(names[0])
    assert not fs.exists(f"{top}/data/large")
    assert fs.glob(f"{top}/data/**/*.txt") == [f"{alias}/data/notes/deep/more.txt", f"{alias}/data/notes/readme.txt"]
    walked = [(path.removeprefix(alias), folders, files) for path, folders, files in fs.walk(f"{top}/data/notes")]
    assert walked == [("/data/notes", ["deep"], ["readme.txt"]), ("/data/notes/deep", [], ["more.txt"])]
    assert fs.du(f"{top}/data/notes") == len(b"one\ntwo\n") + len(b"more\n")


def test_any_bytes_of_a_file(deposit: Deposit, fs: ArchipelFileSystem, tmp_path: Path) -> None:
    path = f"archipel://{deposit.word}/data/large.bin"
    assert fs.cat_file(path) == deposit.large
    assert fs.cat_file(path, 5, 10) == deposit.large[5:10]
    assert fs.cat_file(path, -7) == deposit.large[-7:]
    assert fs.cat_file(path, 10, 5) == b""
    assert fs.cat_file(path, SOURCE - 3, SOURCE + 99) == deposit.large[-3:]
    with fs.open(path) as file:
        assert file.seek(-100, os.SEEK_END) == SOURCE - 100
        assert file.read() == deposit.large[-100:]
        file.seek(131_070)
        assert file.read(4) == deposit.large[131_070:131_074]
        file.seek(0)
        again = pickle.loads(pickle.dumps(file))
        assert b"".join(iter(lambda: file.read(70_000), b"")) == deposit.large
        assert again.read(3) == deposit.large[:3]
    with fs.open(f"archipel://{deposit.word}/data/notes/readme.txt", "r") as text:
        assert text.readlines() == ["one\n", "two\n"]
    fs.get(f"archipel://{deposit.word}/data/notes", str(tmp_path / "notes"), recursive=True)
    assert (tmp_path / "notes" / "deep" / "more.txt").read_bytes() == b"more\n"


def test_errors_are_those_of_files(deposit: Deposit, fs: ArchipelFileSystem, tmp_path: Path) -> None:
    top = f"archipel://{deposit.word}/data"
    for missing in (f"{top}/nothing", f"{top}/large.bin/below", "link-0123", "link-0123/x", ""):
        with pytest.raises(FileNotFoundError):
            fs.info(missing)
        with pytest.raises(FileNotFoundError):
            fs.open(missing)
    with pytest.raises(IsADirectoryError):
        fs.open(f"{top}/notes")
    for bad in ("archipel://garbage/x", f"archipel://{deposit.word[:-1]}/x"):
        with pytest.raises(OSError, match="mistyped") as told:
            fs.exists(bad)
        check_no_secrets(str(told.value), "an error message")
    with pytest.raises(OSError, match="verify link"):
        fs.ls(f"archipel://{deposit.verify}")
    refused: list[Callable[[str], object]] = [fs.rm, fs.mkdir, fs.touch, fs.rmdir, lambda path: fs.open(path, "wb")]
    for act in refused:
        with pytest.raises(PermissionError, match="read only"):
            act(f"{top}/large.bin")
    nobody = fsspec.filesystem("archipel", home=str(tmp_path), network="nowhere")
    with pytest.raises(OSError, match="nobody to join"):
        nobody.exists(f"{top}/large.bin")
    with pytest.raises(OSError, match="HOST:PORT"):
        fsspec.filesystem("archipel", join="nonsense")


def test_the_link_is_told_nowhere(deposit: Deposit, fs: ArchipelFileSystem, caplog: pytest.LogCaptureFixture) -> None:
    learn_secret(f"archipel:{deposit.word}")
    url = f"archipel://{deposit.word}/data/large.bin"
    with caplog.at_level(logging.DEBUG), fs.open(url) as file:
        file.read(10)
        told = [
            repr(fs),
            str(fs),
            fs.to_json(),
            repr(fs.storage_options),
            repr(file),
            file.full_name,
            repr(file.info()),
        ]
    told.append(repr(fsspec.open(url, **deposit.options)))
    told.append(repr(fs._open_link(url)[0]))
    with pytest.raises(FileNotFoundError) as error:
        pq.read_table(fsspec.core.url_to_fs(f"{url}/nothing", **deposit.options)[1], filesystem=fs)
    told.append(str(error.value))
    check_no_secrets("\n".join([*told, caplog.text]), "what is told of a file")


def test_names_and_sealed_links(deposit: Deposit, calm: Net, tmp_path: Path) -> None:
    link = parse_link(deposit.word)
    assert isinstance(link, Link)
    home, name = Home(tmp_path / "owner"), NameKeys(KEYS.name_secret("data"))
    home.create()
    Vault.of(home).create(KEYS, PASSPHRASE, CHEAP)
    start_agent(home, KEYS, 600)

    async def publish() -> None:
        async with open_client(Config(home.path, calm.network, calm.join)) as client:
            seen = Seen(home.names, client.network.id)
            await publish_version(client, name, seen, link, int(client.world.clock.wall()) + 86_400)

    trio.run(publish)
    fs = fsspec.filesystem("archipel", **deposit.options | {"home": str(home.path)})
    sealed = seal_link(link, KEYS.identity.key, os.urandom(32))
    for leads in (sealed, NameLink(name.reader.key, name.reader.read_key)):
        word = str(leads).removeprefix("archipel:")
        assert fs.cat_file(f"archipel://{word}/data/notes/readme.txt") == b"one\ntwo\n"
    end_agent(home)
    with pytest.raises(PermissionError, match="locked"):
        fs.cat_file(f"archipel://{str(sealed).removeprefix('archipel:')}/data/notes/readme.txt")
    for other in (fs, fsspec.filesystem("archipel", **deposit.options)):
        with pytest.raises(PermissionError):
            other.exists(f"archipel://{str(sealed).removeprefix('archipel:')}/data")


def test_threads_read_at_the_same_time(deposit: Deposit) -> None:
    read: list[bytes] = []

    def work() -> None:
        fs = fsspec.filesystem("archipel", **deposit.options)
        read.append(fs.cat_file(f"archipel://{deposit.word}/data/large.bin"))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert read == [deposit.large] * 6


SCRIPT = """
import os, sys, fsspec
word = sys.stdin.read()
url = f"archipel://{word}/data/notes/readme.txt"
with fsspec.open(url) as file:  # by the environment, as the command line
    assert file.read() == b"one\\ntwo\\n"
child = os.fork()
if not child:  # no thread of its parent's came along
    with fsspec.open(url, "rt") as file:
        print(file.read(), flush=True)
    sys.exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_process_of_its_own_and_its_child(deposit: Deposit, bob: Person) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:::multiprocessing", "-c", SCRIPT],
        input=deposit.word,
        capture_output=True,
        text=True,
        env=bob.environment(),
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "one\ntwo\n\n", "")
    assert (bob.home / "contacts").exists(), "the next one needs no address to join by"


def test_an_interrupted_read_ends(deposit: Deposit, fs: ArchipelFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes to whoever waits; the work in the other thread is cancelled, and the next read goes on."""
    cancelled = threading.Event()

    async def forever(_: object) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    ctrl_c = threading.Timer(0.2, os.kill, (os.getpid(), 2))
    ctrl_c.start()
    with pytest.raises(KeyboardInterrupt):
        background.call(fs._config, forever)
    ctrl_c.join()
    assert cancelled.wait(10)
    assert io.BytesIO(fs.cat_file(f"archipel://{deposit.word}/data/notes/readme.txt")).readline() == b"one\n"
