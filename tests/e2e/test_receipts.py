"""Receipts by the command line: what holders signed, checked offline, and asked for."""

from pathlib import Path

from tests.e2e.test_output import check_fields
from tests.e2e.trees import random_bytes, write
from tests.e2e.world import Net, Person


def test_publish_verify_and_challenge(calm: Net, alice: Person, bob: Person, tmp_path: Path) -> None:
    write(tmp_path / "file", random_bytes(91, 2_000_000))
    file = tmp_path / "receipts"
    published = alice.publish(tmp_path / "file", "--receipt", file)
    told = published["receipt"]
    assert told["file"] == str(file)
    assert told["receipts"] == published["placed"] == 12 + 5
    assert 5 < told["holders"] <= 12
    assert alice.run("publish", tmp_path / "file", "--receipt", file, code=4).text == ""

    verified = bob.json("receipt", "verify", file)
    counted = {"segments", "chunks", "receipts", "expires", "last_expires", "expired", "shortened"}
    check_fields("receipt verify", verified, counted | {"countries", "holders"})
    assert verified["receipts"] == verified["chunks"] == told["receipts"]
    assert (verified["segments"], verified["expired"], verified["shortened"]) == (2, 0, 0)
    assert len(verified["holders"]) == told["holders"]
    assert set(verified["countries"]) == {"FR", "DE", "NZ", "IS"}

    asked = bob.json("receipt", "challenge", file, "-o", tmp_path / "lies")
    check_fields(
        "receipt challenge",
        asked,
        {"right", "proved", "wrong", "denied", "refused", "silent", "expired", "liars", "evidence", "refusals"},
    )
    assert (asked["right"], asked["evidence"]) == (told["receipts"], None)
    assert not list(tmp_path.glob("lies*"))
