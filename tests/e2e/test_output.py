"""What goes to standard output and what does not; the fields of ``--json`` as docs/operations.md lists them."""

import dataclasses
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

from node.drive.caretaker import CaretakerTally
from tests.e2e.trees import random_bytes, write
from tests.e2e.world import (
    COMMAND,
    COMMAND_SECONDS,
    Json,
    Net,
    Nodes,
    Person,
    check_no_secrets,
    learn_secret,
    local_network,
)

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
SURVIVES = {"nodes", "country", "not_country"}
NODE = {"name", "pid", "state", "country", "node_id", "address", "data"}


def documented(command: str) -> str:
    """What docs/operations.md says of a command's fields."""
    section = OPERATIONS.read_text().partition("## 2. Exit codes and JSON")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    (found,) = [row[2] for row in rows if f"`{command}`" in row[1].replace("`devnet status`", "`status`")]
    return found


def check_fields(command: str, fields: Json, wanted: set[str]) -> None:
    assert set(fields) == wanted
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", documented(command)))))
    assert wanted <= words, f"docs/operations.md does not tell of {wanted - words}"


def test_publish(alice: Person, tmp_path: Path) -> None:
    write(tmp_path / "folder" / "file", random_bytes(81, 200_000))
    os.mkfifo(tmp_path / "folder" / "pipe")
    fields = alice.publish(tmp_path / "folder", "--avoid", "DE,NZ,IS")
    numbers = {"bytes", "stored_bytes", "sent_bytes", "segments", "chunks", "placed"}
    check_fields(
        "publish",
        fields,
        numbers | {"link", "verify_link", "seconds", "survives", "skipped", "notes", "refusals", "drive"},
    )
    assert all(type(fields[name]) is int for name in numbers)
    assert type(fields["seconds"]) is float
    assert set(fields["survives"]) == SURVIVES
    assert fields["survives"]["not_country"] == ["FR"]
    assert len(fields["skipped"]) == len(fields["notes"]) == 1
    assert fields["bytes"] == 200_000
    assert fields["segments"] == 2
    assert fields["chunks"] == fields["placed"] == 5 + 6


def test_fetch_ls_check_renew_and_delete(alice: Person, bob: Person, tmp_path: Path) -> None:
    write(tmp_path / "folder" / "file", random_bytes(82, 200_000), mtime_ns=1_500_000_000_250_000_000)
    (tmp_path / "folder" / "link").symlink_to("file")
    link = alice.publish(tmp_path / "folder")["link"]

    fetched = bob.json("fetch", link, "-o", tmp_path / "copy")
    check_fields("fetch", fetched, {"paths", "bytes", "received_bytes", "resumed_bytes", "seconds"})
    assert fetched["paths"] == [str(tmp_path / "copy")]
    assert fetched["received_bytes"] > fetched["bytes"] == 200_000
    assert fetched["resumed_bytes"] == 0

    listed = bob.json("ls", link)
    check_fields("ls", listed, {"entries", "bytes", "expires"})
    assert listed["bytes"] == 200_000
    folder, file, symlink = listed["entries"]
    assert set(folder) == set(file) == {"path", "kind", "size", "mtime", "executable"}
    assert set(symlink) == set(file) | {"target"}
    assert (folder["kind"], file["kind"], symlink["kind"]) == ("folder", "file", "symlink")
    assert file["mtime"] == 1_500_000_000.25

    checked = bob.json("check", link)
    check_fields("check", checked, {"segments", "survives", "healthy"})
    fields = ("id", "k", "n", "live", "countries", "repairing", "expires")
    assert {tuple(segment) for segment in checked["segments"]} == {fields}
    assert {segment["expires"] for segment in checked["segments"]} == {listed["expires"]}
    assert re.search(r"leases run until \d{4}-\d\d-\d\d \(in 180 days\)", bob.run("ls", link).err)
    assert set(checked["survives"]) == SURVIVES
    assert checked["healthy"] is True

    shown = bob.json("lease", "show", link)
    wanted = {"segments", "answers", "silent", "unanswered", "leases", "more_leases", "disagree", "more_disagree"}
    check_fields("lease show", shown, wanted)
    (leases,) = shown["leases"]
    check_fields("lease show", leases, {
        "depositor", "account_key", "deposit", "deleted", "expires", "spread", "avoid",
        "segments", "bytes", "holders", "answers", "asked",
    })  # fmt: skip
    assert (leases["segments"], leases["expires"]) == (len(checked["segments"]), listed["expires"])
    assert leases["answers"] == leases["asked"] == shown["answers"]

    for command in ("renew", "delete"):
        changed = alice.json(command, link)
        check_fields(
            command, changed, {"segments", "holders", "silent", "expires", "seconds_left", "refusals", "drive"}
        )
        assert 0 < changed["expires"] - time.time() - changed["seconds_left"] + 5 < 10


def test_node(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "deny").write_text("# nobody yet\n")
    node = nodes.start("one", "--deny", str(tmp_path / "deny"))
    wanted = {"node_id", "address", "country", "quota_bytes", "used_bytes", "storing", "network", "http", "gateway"}
    check_fields("node", node.said, wanted)
    assert node.said["country"] is None
    assert len(node.said["node_id"]) == 64
    _refuse_and_admit(nodes.person("alice", node), nodes.folder / "one", tmp_path)
    assert node.process.stdout is not None
    os.set_blocking(node.process.stdout.fileno(), False)
    node.process.terminate()
    node.process.wait(20)
    assert node.process.stdout.read() == b"", "one object and nothing else"


def _refuse_and_admit(alice: Person, data: Path, folder: Path) -> None:
    """The only node refuses its only depositor, who is told so, and then does not any more."""
    write(folder / "file", random_bytes(85, 1000))
    assert alice.publish(folder / "file")["refusals"] == []
    (found,) = alice.json("node", "depositors", "--data", data)["depositors"]
    refused = alice.json("node", "depositors", "--refuse", found["key"], "--data", data)
    check_fields("--admit", refused, {"key", "changed", "removed_chunks", "refused", "allowed", "share"})
    assert (refused["changed"], refused["removed_chunks"]) == (True, found["chunks"])
    told = alice.run("publish", folder / "file", code=4)
    assert "note: 1 node refuses you: the operator's denylist names that depositor (" in told.err
    assert alice.run("node", "depositors", "--admit", found["key"], "--data", data).text.endswith("is admitted\n")
    assert (folder / "deny").read_text() == "# nobody yet\n"
    alice.publish(folder / "file")


def test_the_status_of_a_node_that_runs(alice: Person, calm: Net, tmp_path: Path) -> None:
    write(tmp_path / "file", random_bytes(84, 3_000_000))
    alice.publish(tmp_path / "file")
    node = next(node for node in calm.nodes if _held(calm, node.name))
    here = ("--data", node.data)

    before = _held(calm, node.name)
    fields = alice.json("node", "status", *here)
    assert fields["held"]["chunks"] in (before, _held(calm, node.name))
    who = {"node_id", "key", "address", "country", "network", "software", "started", "uptime_seconds"}
    does = {"storing", "why_not_storing", "full", "quota", "held", "contacts", "connections", "healing", "traffic"}
    check_fields("node status", fields, who | does | {"tending"})
    inner = {name for part in ("quota", "held", "contacts", "connections", "healing") for name in fields[part]}
    inner |= {field.name for field in dataclasses.fields(CaretakerTally)}
    inner |= {name for side in ("served", "asked") for name in fields["traffic"][side]}
    told = set(re.findall(r"\w+", OPERATIONS.read_text().partition("### A running node")[2].partition("\n### ")[0]))
    assert inner <= told, f"docs/operations.md does not tell of {inner - told}"

    assert (fields["node_id"], fields["address"], fields["country"]) == (node.node_id, node.address, node.country)
    assert fields["storing"] is True
    assert fields["contacts"]["total"] == 11
    assert fields["traffic"]["served"]["put"]["received_bytes"] > 100_000

    found = alice.json("node", "depositors", *here)
    check_fields("node depositors", found, {"total", "more", "quota_bytes", "depositors"})
    assert (found["total"], found["more"]) == (len(found["depositors"]), 0)
    assert sum(depositor["chunks"] for depositor in found["depositors"]) == _held(calm, node.name)
    table = OPERATIONS.read_text().partition("**`archipel node depositors`** shows")[2].partition("\n### ")[0]
    assert set(found["depositors"][0]) <= set(re.findall(r"`(\w+)`", table))
    refused = alice.run("node", "depositors", "--refuse", found["depositors"][0]["key"], *here, code=4)
    assert "no denylist" in refused.err
    assert "--deny FILE" in refused.err


def _held(net: Net, name: str) -> int:
    """How many chunks lie on a node's disk."""
    return sum(name in names for holders in net.chunks().values() for names in holders.values())


def test_devnet(tmp_path: Path) -> None:
    with local_network(tmp_path, nodes=2) as net:
        operator, here = net.operator, ("--dir", str(net.folder))
        status = operator.json("devnet", "status", *here)
        check_fields("status", status, {"nodes"})
        assert [set(node) for node in status["nodes"]] == [NODE, NODE]
        for command in ("freeze", "thaw", "kill"):
            check_fields(command, operator.json("devnet", command, "1", *here), {"nodes"})
        check_fields("raid", operator.json("devnet", "raid", "DE", *here), {"nodes"})
        check_fields("devnet down", operator.json("devnet", "down", *here), {"nodes"})
        up = operator.json("devnet", "up", "--nodes", "1", *here)
        check_fields("devnet up", up, {"network", "join", "nodes"})
        assert [set(node) for node in up["nodes"]] == [NODE]


def test_an_error_prints_nothing_on_standard_output(alice: Person, calm: Net, tmp_path: Path) -> None:
    told = alice.run("--json", "publish", tmp_path / "missing", code=7)
    assert told.out == b""
    assert told.err.startswith("archipel: error: cannot read ")
    assert alice.run("--json", "ls", "archipel:nonsense", code=2).out == b""


def test_progress_is_for_terminals(alice: Person, tmp_path: Path) -> None:
    """A bar is drawn while it works; standard output has the result alone, and the bar tells no link."""
    write(tmp_path / "file", random_bytes(83, 20_000_000))
    shown, out = _on_a_terminal(alice, "publish", tmp_path / "file")
    link = out.strip()
    assert out == f"{link}\n"
    learn_secret(link)
    assert "publishing" in shown
    check_no_secrets(shown, "the terminal")
    shown, out = _on_a_terminal(alice, "fetch", link, "-o", tmp_path / "copy")
    assert out == f"{tmp_path / 'copy'}\n"
    assert "fetching" in shown
    check_no_secrets(shown, "the terminal")


def _on_a_terminal(person: Person, *arguments: str | Path) -> tuple[str, str]:
    """What a command shows on a terminal that is its standard error, and what it prints on standard output."""
    terminal, end = pty.openpty()
    with (
        os.fdopen(terminal, "rb", buffering=0) as reader,
        os.fdopen(end, "wb") as stderr,
        person.start(*arguments, stderr=stderr) as command,
    ):
        shown = b""
        while command.running or select.select([reader], [], [], 0)[0]:
            if select.select([reader], [], [], 0.02)[0]:
                shown += reader.read(65536)
        result = command.finish(code=0)
    return shown.decode(errors="replace"), result.text


def test_a_reader_that_goes_away(alice: Person, bob: Person, tmp_path: Path) -> None:
    """As in `archipel ls LINK | head -1`: nothing to say about it."""
    write(tmp_path / "file", random_bytes(84, 5_000_000))
    link = alice.publish(tmp_path / "file")["link"]
    with bob.start("fetch", link, "-o", "-") as fetch:
        assert fetch.process.stdout is not None
        assert len(fetch.process.stdout.read(1000)) == 1000
        fetch.process.stdout.close()  # in the middle: no pipe holds 5 MB
        assert fetch.process.stderr is not None
        assert fetch.process.stderr.read() == b""
        assert fetch.process.wait(20) == 0
    for arguments in (["ls", link], ["ls", link, "--json"], ["fetch", link, "-o", "-"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as stdout, bob.start(*arguments, stdout=stdout) as command:
            assert command.finish(code=0).err == ""


def test_a_standard_stream_that_is_closed(alice: Person, tmp_path: Path) -> None:
    write(tmp_path / "file", b"content")
    link = alice.publish(tmp_path / "file")["link"]
    for closed in (">&-", "2>&-", "<&-"):
        code, out, err = _with_streams(alice, f'>"{tmp_path}/out" 2>"{tmp_path}/err" {closed}', "ls", link)
        assert code == 0
        assert err.startswith("archipel: leases run until ") is (closed != "2>&-")
        assert err.count("\n") == (closed != "2>&-")
        assert ("file" in out) is (closed != ">&-")


def test_no_standard_input_where_it_is_wanted(alice: Person, tmp_path: Path) -> None:
    streams = f'>"{tmp_path}/out" 2>"{tmp_path}/err" <&-'
    for arguments in (["ls", "-"], ["publish", "-", "--name", "x"]):
        told = _with_streams(alice, streams, *arguments)
        assert told == (2, "", "archipel: error: standard input is closed\n")


def _with_streams(person: Person, streams: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command with its standard streams as a shell redirects them, to the files out and err."""
    folder = person.home.parent
    for name in ("out", "err"):
        (folder / name).write_text("")
    script = ["sh", "-c", f'exec "$@" {streams}', "sh", *COMMAND, *arguments]
    code = subprocess.run(script, env=person.environment(), timeout=COMMAND_SECONDS, check=False).returncode
    return code, (folder / "out").read_text(), (folder / "err").read_text()
