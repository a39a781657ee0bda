"""Renewing and deleting: the depositor's right, and nobody else's."""

import time
from pathlib import Path

from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import Net, Person, root_of, until

DAY = 86_400


def test_a_renewal_makes_every_lease_run_longer(alice: Person, bob: Person, tmp_path: Path) -> None:
    write(tmp_path / "file", random_bytes(61, 100_000))
    link = alice.publish(tmp_path / "file", "--lease", "10d")["link"]
    began = int(time.time())
    renewed = alice.json("renew", link, "--lease", "300d")
    assert renewed["segments"] == 2
    assert renewed["holders"] == 10
    assert renewed["silent"] == 0
    assert began + 300 * DAY <= renewed["expires"] <= time.time() + 300 * DAY
    assert {segment["expires"] for segment in bob.json("check", link)["segments"]} == {renewed["expires"]}
    shorter = alice.json("renew", link, "--lease", "1d")
    assert shorter["expires"] == renewed["expires"], "a renewal takes nothing away"
    assert "leases run until" in alice.run("renew", link).text
    shown = bob.run("lease", "show", link).text
    assert "2 segments: 10 answers of holders\n" in shown, shown
    assert shown.count("\n") == 4, "a depositor by two names, a deposit, and how many answered"


def test_only_the_depositor_renews_and_deletes(alice: Person, bob: Person, tmp_path: Path) -> None:
    write(tmp_path / "file", random_bytes(62, 100_000))
    published = alice.publish(tmp_path / "file")
    for command in ("renew", "delete"):
        for link in (published["link"], published["verify_link"]):
            refused = bob.run(command, link, code=4)
            assert "only the depositor" in refused.err
    assert bob.json("check", published["link"])["healthy"]


def test_what_was_deleted_is_gone(calm: Net, alice: Person, bob: Person, tmp_path: Path) -> None:
    write(tmp_path / "file", random_bytes(63, 2_000_000))
    before = set(calm.chunks())
    link = alice.publish(tmp_path / "file")["link"]
    segments = set(calm.chunks()) - before
    assert root_of(link) in segments
    deleted = alice.json("delete", link)
    assert deleted["segments"] == len(segments) == 2
    assert deleted["holders"] == 12 + 5
    assert deleted["silent"] == 0
    until(lambda: not segments & set(calm.chunks()), seconds=5)
    told = bob.run("fetch", link, "-o", tmp_path / "copy", code=3)
    assert "none of its holders has it any more" in told.err
    bob.run("ls", link, code=3)
    assert "only the depositor" in alice.run("delete", link, code=4).err, "there is nothing to delete twice"

    again = alice.publish(tmp_path / "file")
    assert again["link"] == link
    assert again["sent_bytes"] == again["stored_bytes"]
    bob.run("fetch", link, "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == snapshot(tmp_path / "file")


def test_deleting_leaves_what_another_deposit_needs(alice: Person, bob: Person, tmp_path: Path) -> None:
    shared = random_bytes(64, 2_000_000)
    for name in ("one", "two"):
        write(tmp_path / name / "shared", shared)
        write(tmp_path / name / "own", name.encode() * 30_000)
    one, two = alice.publish(tmp_path / "one"), alice.publish(tmp_path / "two")
    assert two["sent_bytes"] < 1_000_000, "the large file was there"
    alice.run("delete", one["link"])
    bob.run("fetch", one["link"], "-o", tmp_path / "copy of one", code=3)
    bob.run("fetch", two["link"], "-o", tmp_path / "copy of two")
    assert snapshot(tmp_path / "copy of two") == snapshot(tmp_path / "two")
    assert bob.json("check", two["link"])["healthy"]


def test_a_link_that_nobody_has_announced(bob: Person, calm: Net, tmp_path: Path) -> None:
    link = str(Link(LinkKind.READ, SegmentId(bytes(range(32))), bytes(32)))
    for command in (("fetch", link, "-o", str(tmp_path / "copy")), ("ls", link), ("check", link)):
        told = bob.run(*command, code=3)
        assert "nobody in this network has announced it" in told.err
        assert told.out == b""
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "copy.part").exists()
