"""`archipel receipt`, and `publish --receipt`: what is told about a file, and mistakes."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from node.cli.receipt import _show_challenged
from node.errors import IntegrityFailure
from node.keeping.challenge import Answer, Challenged
from node.keeping.receiptfile import NewFile
from node.refusals import Refusals
from protocol.hashing import digest
from protocol.identity import Network
from protocol.ids import NetworkId
from protocol.receipts import EVIDENCE, RECEIPTS, proof_frame
from tests.node.cli.conftest import Cli
from tests.vectors.make_receipts import (
    COUNTRIES,
    EXPIRY,
    GOOD,
    HOLDERS,
    NETWORK,
    PROOF,
    SEGMENTS,
    denial,
    file_of,
    proof,
)

OFF = ("--network", NETWORK.name)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A good receipt file: two segments, three holders."""
    path = tmp_path / "receipts"
    path.write_bytes(GOOD)
    return str(path)


@pytest.fixture
def lies(tmp_path: Path) -> str:
    """Good evidence against the first holder."""
    path = tmp_path / "lies"
    path.write_bytes(PROOF)
    return str(path)


def test_a_good_file(cli: Cli, file: str) -> None:
    told = cli(*OFF, "receipt", "verify", file)
    assert (told.code, told.err) == (0, "")
    counted, countries, until, shortened = told.out.splitlines()
    assert counted == "5 receipts of 3 holders for 5 chunks of 2 segments: every signature is right"
    assert countries == "claimed countries: ?? 1, DE 2, FR 2"
    assert until.startswith("promised until 2030-03-17 (in ")
    assert ", the last until 2030-03-17 (in " in until
    assert shortened == "3 receipts for less time than was asked"


def test_a_good_file_for_programs(cli: Cli, file: str) -> None:
    told = json.loads(cli(*OFF, "--json", "receipt", "verify", file).out)
    holders = told.pop("holders")
    assert told == {
        "segments": 2, "chunks": 5, "receipts": 5, "countries": {"": 1, "DE": 2, "FR": 2},
        "expires": EXPIRY - 2, "last_expires": EXPIRY, "expired": 0, "shortened": 3,
    }  # fmt: skip
    wanted = [
        {
            "key": holder.key.hex(),
            "node_id": holder.node_id.hex(),
            "countries": [country],
            "receipts": count,
            "expires": EXPIRY - index,
        }
        for index, (holder, country, count) in enumerate(zip(HOLDERS, COUNTRIES, (2, 2, 1), strict=True))
    ]
    assert holders == sorted(wanted, key=lambda holder: str(holder["key"]))


def test_receipts_that_have_expired_are_good_and_promise_nothing(
    cli: Cli, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.clock.SystemClock.wall", lambda _: float(EXPIRY - 1))
    monkeypatch.setattr("time.time", lambda: float(EXPIRY - 1))
    told = cli(*OFF, "receipt", "verify", file)
    assert told.code == 0
    assert "3 receipts expired: nothing is promised there any more" in told.out
    assert "promised until 2030-03-17 (expired), the last until 2030-03-17 (in 0 hours)" in told.out


def test_evidence(cli: Cli, file: str, lies: str) -> None:
    told = cli(*OFF, "receipt", "verify", file, "--evidence", lies)
    assert told.code == 0
    key, segment = HOLDERS[0].key.hex(), SEGMENTS[0].id.hex()
    who = f"node {HOLDERS[0].node_id.hex()}, key {key} (DE)"
    assert told.out.splitlines()[-1] == f"proved: {who}, signed a wrong answer about chunk 0 of segment {segment}"
    (lie,) = json.loads(cli(*OFF, "--json", "receipt", "verify", file, "--evidence", lies).out)["proved"]
    assert (lie["key"], lie["segment"], lie["index"], lie["expires"]) == (key, segment, 0, EXPIRY)
    assert lie["node_id"] == HOLDERS[0].node_id.hex()
    assert not lie["denied"]
    Path(lies).write_bytes(file_of(EVIDENCE, proof_frame(denial())))
    told = cli(*OFF, "receipt", "verify", file, "--evidence", lies)
    assert told.out.splitlines()[-1] == f"proved: {who}, signed that it does not hold chunk 0 of segment {segment}"


def test_evidence_about_somebody_else(cli: Cli, file: str, lies: str) -> None:
    """Its receipt is not one of the file's."""
    Path(file).write_bytes(file_of(RECEIPTS, GOOD[len(RECEIPTS) + 32 :][: _first_frame()]))
    assert cli(*OFF, "receipt", "verify", file, "--evidence", lies).code == 0
    Path(file).write_bytes(file_of(RECEIPTS, GOOD[len(RECEIPTS) + 32 : -32][_first_frame() :]))
    told = cli(*OFF, "receipt", "verify", file, "--evidence", lies)
    assert (told.code, told.out) == (6, "")
    assert "1 of its receipts are not in" in told.err


def _first_frame() -> int:
    start = len(RECEIPTS) + 32
    return 4 + int.from_bytes(GOOD[start : start + 4], "big")


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b"", 2, "it does not begin with 'archipel receipts'"),
        (b"Dear Sir or Madam", 2, "it does not begin with 'archipel receipts'"),
        (PROOF, 2, "it does not begin with 'archipel receipts'"),
        (RECEIPTS.replace(b"1", b"2") + GOOD[20:], 2, "a newer archipel may read it"),
        (file_of(RECEIPTS), 2, "the file holds nothing"),
        (GOOD[:-1], 6, "damaged or cut short"),
        (GOOD[:200] + b"x" + GOOD[201:], 6, "damaged or cut short"),
        (file_of(RECEIPTS, GOOD[52:-32].replace(b"FR", b"IS", 1)), 6, "bad receipt signature"),
        (file_of(RECEIPTS, GOOD[52:-32], network=NetworkId(bytes(32))), 5, "another network"),
    ],
)
def test_a_file_that_is_none(cli: Cli, file: str, data: bytes, code: int, message: str) -> None:
    Path(file).write_bytes(data)
    for command in (("verify", file), ("challenge", file)):
        told = cli(*OFF, "receipt", *command)
        assert (told.code, told.out) == (code, "")
        assert message in told.err


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (GOOD, 2, "it does not begin with 'archipel evidence'"),
        (PROOF[:-1], 6, "damaged or cut short"),
        (file_of(EVIDENCE, proof_frame(proof(signature=bytes(64)))), 6, "bad audit signature"),
        (file_of(EVIDENCE, proof_frame(proof(signed=SEGMENTS[0].hashes[0][32:]))), 6, "the answer is right"),
        (file_of(EVIDENCE, PROOF[52:-32], network=Network("other").id), 5, "another network"),
    ],
)
def test_evidence_that_is_none(cli: Cli, file: str, lies: str, data: bytes, code: int, message: str) -> None:
    Path(lies).write_bytes(data)
    told = cli(*OFF, "receipt", "verify", file, "--evidence", lies)
    assert (told.code, told.out) == (code, "")
    assert message in told.err


def test_another_network_is_named_in_the_hint(cli: Cli, file: str) -> None:
    told = cli("receipt", "verify", file)
    assert told.code == 5
    assert told.err.endswith("hint: name its network: --network NAME\n")


def test_what_is_no_file(cli: Cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, code, message in (
        (tmp_path / "nowhere", 7, "No such file"),
        (tmp_path, 2, "is not a file"),
        (tmp_path / "pipe", 2, "is not a file"),
    ):
        told = cli("receipt", "verify", str(path))
        assert (told.code, told.out) == (code, "")
        assert message in told.err


def test_a_denial_is_told_apart_from_a_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    """It proves that a chunk is not held there, and nothing of the reason."""
    counts = {Answer.RIGHT: 4, Answer.PROVED: 1, Answer.DENIED: 2, Answer.REFUSED: 3}
    with pytest.raises(IntegrityFailure):
        _show_challenged(Challenged(Counter(counts)), None, Refusals())
    assert capsys.readouterr().out.splitlines() == [
        "10 chunks asked for: 4 answered rightly, 1 wrongly, 2 denied, 3 refused, 0 without an answer",
        "1 wrong answer signed: that is proof",
        "2 denials signed: proof that it is not held there, but not of why",
    ]


PUBLISH = ("--join", "127.0.0.1:1", "publish", "FILE", "--receipt")
CHALLENGE = (*OFF, "--join", "127.0.0.1:1", "receipt", "challenge", "RECEIPTS", "-o")


@pytest.mark.parametrize("command", [PUBLISH, CHALLENGE], ids=["publish", "challenge"])
def test_a_file_that_cannot_be_written_is_found_out_before_anybody_is_asked(
    cli: Cli, file: str, tmp_path: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.cli.publish.open_client", None)
    monkeypatch.setattr("node.cli.receipt.open_client", None)
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "there").write_bytes(b"precious")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "taken.part").write_bytes(b"somebody's")
    (tmp_path / "folder.part").mkdir()
    os.mkfifo(tmp_path / "pipe.part")
    filled = [{"FILE": str(tmp_path / "file"), "RECEIPTS": file}.get(word, word) for word in command]
    for name, code, message in (
        ("there", 4, "exists"),
        ("dangling", 4, "exists"),
        (".", 4, "exists"),
        ("taken", 4, "taken.part' is in the way"),
        ("pipe", 4, "pipe.part' is in the way"),
        ("folder", 7, "Is a directory"),
        ("nowhere/new", 7, "No such file or directory"),
        ("there/new", 7, "Not a directory"),
    ):
        told = cli(*filled, str(tmp_path / name))
        assert (told.code, told.out) == (code, ""), told
        assert message in told.err
    assert (tmp_path / "there").read_bytes() == b"precious"
    assert (tmp_path / "taken.part").read_bytes() == b"somebody's"
    assert not list(tmp_path.glob("new*"))


def test_what_fails_leaves_no_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    told = cli("publish", str(tmp_path / "file"), "--receipt", str(tmp_path / "new"))
    assert told.code == 5  # nobody to join
    assert not list(tmp_path.glob("new*"))


def test_a_new_file(tmp_path: Path) -> None:
    """Whole or not at all, its owner's alone, one writer at a time; what a killed one left is written over."""
    path, part = tmp_path / "new", tmp_path / "new.part"
    part.write_bytes(RECEIPTS + b"of a command that was killed")
    part.chmod(0o644)
    file = NewFile(path, RECEIPTS, NETWORK.id)
    with pytest.raises(Exception, match="another command is writing"):
        NewFile(path, RECEIPTS, NETWORK.id)
    file.add(GOOD[len(RECEIPTS) + 32 : -32])
    assert not path.exists()
    file.finish()
    file.close()
    assert path.read_bytes() == GOOD
    assert path.stat().st_mode & 0o777 == 0o600
    assert not part.exists()
    with pytest.raises(Exception, match="exists"):
        NewFile(path, RECEIPTS, NETWORK.id)
    unfinished = NewFile(tmp_path / "other", RECEIPTS, NETWORK.id)
    unfinished.close()
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    file = NewFile(tmp_path / "new", EVIDENCE, NETWORK.id)
    (tmp_path / "new").write_bytes(b"precious")
    with pytest.raises(Exception, match="exists"):
        file.finish()
    file.close()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    file = NewFile(tmp_path / "new", RECEIPTS, NETWORK.id)
    with open("/dev/full", "r+b", buffering=0) as full:
        os.dup2(full.fileno(), file._file.fileno())
    with pytest.raises(Exception, match=r"cannot write .*new': No space left on device"):
        file.add(digest("file", b"") * 10_000)
    file.close()
