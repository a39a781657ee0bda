"""`archipel node status` and `node leave`, asked of a socket in a data folder; what answers there is made up."""

import json
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from node.cli.control import status_text
from node.control import SOCKET_FILE, Control, Handler
from node.errors import RefusedError
from node.metrics import metrics_text
from tests.node.cli.conftest import Cli
from tests.node.test_metrics import status

Replies = AsyncGenerator[Mapping[str, object], None]


async def tell(request: Mapping[str, object]) -> Replies:
    yield status()


def leaving(*steps: tuple[int, int], gone: int = 0, **why: int) -> Handler:
    """A node that hands on so many chunks of so many, step by step; why it does not, with so many, the rest."""

    async def leave(request: Mapping[str, object]) -> Replies:
        for moved, total in steps:
            yield {
                "moved": moved,
                "left": total - moved - gone,
                "gone": gone,
                "total": total,
                "failed": sum(why.values()),
                "bytes": moved * 1_000_000,
                "why": {reason.replace("_", " "): count for reason, count in why.items()},
            }

    return leave


@contextmanager
def node_in(folder: Path, **handlers: Handler) -> Iterator[None]:
    """What listens in a running node's data folder, in a thread of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = threading.Event()
    stop: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(Control(folder, handlers).run)
            stop.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        token, scope = stop[0]
        token.run_sync_soon(scope.cancel)
        thread.join(10)
    assert not thread.is_alive()


def test_status(cli: Cli, tmp_path: Path) -> None:
    with node_in(tmp_path / "data", status=tell):
        told = cli("node", "status", "--data", str(tmp_path / "data"))
        assert (told.code, told.err) == (0, "")
        assert told.out == status_text(status()) + "\n"
        for arguments in (("--data", str(tmp_path / "data"), "--json", "status"), ("status", "--json")):
            home = () if "--data" in arguments else ("--data", str(tmp_path / "data"))
            told = cli("node", *arguments, *home)
            assert told.code == 0
            assert told.out.startswith('{"node_id": "abab')
            assert told.out.count("\n") == 1
        told = cli("node", "status", "--metrics", "--data", str(tmp_path / "data"))
        assert (told.code, told.out) == (0, metrics_text(status()))
        told = cli("node", "status", "--metrics", "--json", "--data", str(tmp_path / "data"))
        assert told.code == 2


def test_the_default_is_the_home_s_node(cli: Cli, tmp_path: Path) -> None:
    assert cli("node", "status").code == 3
    assert not (tmp_path / "home").exists(), "asking makes nothing"
    with node_in(tmp_path / "home" / "node", status=tell):
        assert cli("node", "status").code == 0


@pytest.mark.parametrize("command", ["status", "leave"])
def test_no_node_there(cli: Cli, tmp_path: Path, command: str) -> None:
    told = cli("node", command, "--data", str(tmp_path))
    assert (told.code, told.out) == (3, "")
    assert told.err == (
        f"archipel: error: no node runs in {tmp_path}\nhint: start it, or name the folder it runs in: --data DIR\n"
    )


def test_options_of_a_node_that_is_started(cli: Cli) -> None:
    told = cli("node", "--quota", "5GB", "--no-port-mapping", "status")
    assert told.code == 2
    assert "--no-port-mapping, --quota: for a node that is being started, not for status" in told.err


def test_leaving(cli: Cli, tmp_path: Path) -> None:
    with node_in(tmp_path, leave=leaving((0, 3), (2, 3), (2, 3), (3, 3))):
        told = cli("node", "leave", "--data", str(tmp_path))
        assert told.code == 0
        assert told.err == (
            "archipel: 2 of 3 chunks handed on, 2.0 MB; 1 left\narchipel: 3 of 3 chunks handed on, 3.0 MB; 0 left\n"
        )
        assert told.out == "handed on 3 chunks (3.0 MB), 0 left\n"
        told = cli("node", "leave", "--data", str(tmp_path), "--json")
        assert json.loads(told.out) == {
            "moved": 3, "left": 0, "gone": 0, "total": 3, "failed": 0, "bytes": 3_000_000, "why": {},
        }  # fmt: skip


def test_leaving_with_nothing_to_hand_on(cli: Cli, tmp_path: Path) -> None:
    with node_in(tmp_path, leave=leaving()):
        assert cli("node", "leave", "--data", str(tmp_path)).out == "handed on 0 chunks (0 B), 0 left\n"


def test_leaving_where_nobody_takes_all(cli: Cli, tmp_path: Path) -> None:
    with node_in(tmp_path, leave=leaving((1, 6), gone=1, too_little_space=3, no_other_node=1)):
        told = cli("node", "leave", "--data", str(tmp_path))
    assert told.code == 4
    assert told.out == "handed on 1 chunk (1.0 MB), 4 left; 1 no longer wanted\n", "the result is shown all the same"
    assert "nobody has taken 4 chunks of 6: too little space 3, no other node 1\n" in told.err
    assert "hint: " in told.err


def test_notes_of_leaving_are_few(cli: Cli, tmp_path: Path) -> None:
    """One at every tenth; and one in every minute, however slow it is."""
    with node_in(tmp_path, leave=leaving(*((moved, 200) for moved in range(201)))):
        told = cli("node", "leave", "--data", str(tmp_path))
    assert told.err.count("\n") == 10
    assert "archipel: 20 of 200 chunks handed on" in told.err
    with node_in(tmp_path, leave=leaving((1, 200), (1, 200), busy=3)), pytest.MonkeyPatch.context() as patch:
        patch.setattr("node.cli.control._NOTE_SECONDS", 0.0)
        told = cli("node", "leave", "--data", str(tmp_path))
    note = "archipel: 1 of 200 chunks handed on, 1.0 MB; 199 left, 3 without a taker so far\n"
    assert told.err.startswith(note * 2)


def test_what_the_node_refuses(cli: Cli, tmp_path: Path) -> None:
    async def refuse(request: Mapping[str, object]) -> Replies:
        if "do" in request:
            raise RefusedError("not now", hint="later")
        yield {}

    with node_in(tmp_path, leave=refuse):
        told = cli("node", "leave", "--data", str(tmp_path))
    assert (told.code, told.out, told.err) == (4, "", "archipel: error: not now\nhint: later\n")
    assert not (tmp_path / SOCKET_FILE).exists()


def test_progress_is_for_a_terminal(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.cli.control.sys.stderr.isatty", lambda: True)
    with node_in(tmp_path, leave=leaving((1, 3), (3, 3))):
        told = cli("node", "leave", "--data", str(tmp_path))
    steps = ("1 of 3 chunks handed on, 1.0 MB; 2 left", "3 of 3 chunks handed on, 3.0 MB; 0 left", "")
    assert told.err == "".join(f"\r{step}\x1b[K" for step in steps), "nothing of it stays"
    assert told.out == "handed on 3 chunks (3.0 MB), 0 left\n"


def depositor(number: int, **fields: object) -> dict[str, object]:
    return {
        "key": f"{number:064x}", "segments": 2, "chunks": 3, "bytes": 6_000_000, "part": 0.012, "share": 0.5,
        "leases": 2, "first_expires": 4_102_444_800, "last_expires": 4_102_444_800, "refused": False, "allowed": None,
        **fields,
    }  # fmt: skip


async def depositors(request: Mapping[str, object]) -> Replies:
    yield {"total": 5, "more": 2, "quota_bytes": 500_000_000}
    yield {"depositors": [depositor(1), depositor(2, refused=True, leases=0)]}
    yield {"depositors": [depositor(3, allowed=False, share=0.125)]}


async def refuse(request: Mapping[str, object]) -> Replies:
    yield {"key": request["key"], "changed": True, "removed_chunks": 7, "refused": True, "allowed": None, "share": None}


async def admit(request: Mapping[str, object]) -> Replies:
    yield {"key": request["key"], "changed": False, "removed_chunks": 0, "refused": False, "allowed": None}


def test_depositors(cli: Cli, tmp_path: Path) -> None:
    with node_in(tmp_path, depositors=depositors):
        told = cli("node", "depositors", "--data", str(tmp_path))
        assert (told.code, told.err) == (0, "")
        first, key, text, _, refused, _, unlisted, last = told.out.splitlines()
        assert first == "5 depositors; of a quota of 500.0 MB"
        assert key == f"{1:064x}"
        assert text.startswith(
            "  3 chunks of 2 segments: 6.0 MB, 1.2% of the quota (at most 50%); 2 leases until 2100-01-01"
        )
        assert refused.endswith("; no lease of its own any more; REFUSED: on the denylist")
        assert unlisted.endswith("; not on the allow-list: gets no more")
        assert "(at most 12.5%)" in unlisted
        assert last == "and 2 more, with less than these"
        fields = json.loads(cli("node", "depositors", "--data", str(tmp_path), "--json").out)
        assert (fields["total"], fields["more"], len(fields["depositors"])) == (5, 2, 3)


def test_a_depositor_refused_and_admitted(cli: Cli, tmp_path: Path) -> None:
    key = "9a" * 32
    with node_in(tmp_path, refuse=refuse, admit=admit):
        told = cli("node", "depositors", "--refuse", key, "--data", str(tmp_path))
        assert told.out == f"{key} is refused; removed 7 chunks that nobody else has a lease on\n"
        told = cli("node", "depositors", "--admit", key, "--data", str(tmp_path))
        assert told.out == f"{key} is admitted, as before\n"
        for arguments in (("--refuse", "9a"), ("--admit", ""), ("--refuse", key, "--admit", key)):
            assert cli("node", "depositors", *arguments, "--data", str(tmp_path)).code == 2
