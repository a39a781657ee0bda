"""Files that change while they are being published: an error, or what they were; never something in between.

The publish is held up by its only node, which stands still from the first chunk on: what it has yet to read is changed
then, and what it has read.
"""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from protocol.segment import SEGMENT_BYTES
from tests.e2e.trees import random_bytes, snapshot, write
from tests.e2e.world import NodeProcess, Nodes, Person, Result, learn_secret, until

FILES = 16
FILE_BYTES = 1_100_000
"""A file of this size is a segment of its own. Three are read ahead."""
LARGE_BYTES = 5 * SEGMENT_BYTES


def publish_while(person: Person, source: Path, node: NodeProcess, change: Callable[[], None], *, code: int) -> Result:
    """A publish of ``source``, the first of this person. When some is stored, and most is not read, it changes."""
    chunks = node.log.with_suffix("") / "chunks"
    before = len(list(chunks.glob("*/*")))
    with person.start("publish", source, "--shares", "1/1") as publish:
        until(lambda: len(list(chunks.glob("*/*"))) > before)
        node.process.send_signal(signal.SIGSTOP)
        try:
            assert publish.running
            change()
        finally:
            node.process.send_signal(signal.SIGCONT)
        return publish.finish(code=code)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"one more line")


def rewrite(path: Path) -> None:
    """In place, as long as before, with the time that it had: only the system knows better."""
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(found.st_size - 10)
        file.write(b"0123456789")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def replace(path: Path) -> None:
    """As editors do: by another file of the same size and time."""
    found = path.stat()
    other = path.with_name("other")
    other.write_bytes(random_bytes(99, found.st_size))
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.rename(path)


@pytest.fixture
def node(nodes: Nodes) -> NodeProcess:
    return nodes.start("node")


def test_files_that_change_before_they_are_read(nodes: Nodes, node: NodeProcess, tmp_path: Path) -> None:
    source = _folder(tmp_path)
    last = source / f"file-{FILES - 1:02}"
    for change in (grow, replace, truncate, Path.unlink):
        alice = nodes.person(f"alice-{change.__name__}", node)
        _check_refused(publish_while(alice, source, node, partial(change, last), code=7), last)
    copy = tmp_path / "copy"
    alice.run("fetch", alice.publish(source, "--shares", "1/1")["link"], "-o", copy)
    assert snapshot(copy) == snapshot(source)


def test_a_file_that_changes_while_it_is_read(nodes: Nodes, node: NodeProcess, tmp_path: Path) -> None:
    """It has several segments. Some have been read, and the others would be of another file."""
    source = tmp_path / "source"
    write(source, random_bytes(3, LARGE_BYTES))
    alice = nodes.person("alice", node)
    _check_refused(publish_while(alice, source, node, partial(rewrite, source), code=7), source)


def test_files_that_change_after_they_were_read(nodes: Nodes, node: NodeProcess, tmp_path: Path) -> None:
    """They are published as they were found, together with their times."""
    alice = nodes.person("alice", node)
    source = _folder(tmp_path)
    before = snapshot(source)
    link = publish_while(alice, source, node, partial(rewrite, source / "file-00"), code=0).text.strip()
    learn_secret(link)
    alice.run("fetch", link, "-o", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == before
    again = alice.publish(source, "--shares", "1/1")
    assert again["link"] != link
    alice.run("fetch", again["link"], "-o", tmp_path / "another")
    assert snapshot(tmp_path / "another") == snapshot(source)


def _folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    for number in range(FILES):
        write(source / f"file-{number:02}", random_bytes(number, FILE_BYTES))
    return source


def _check_refused(refused: Result, changed: Path) -> None:
    assert f"'{changed}' changed while it was being published: " in refused.err
    assert "hint: publish again once nothing writes to it" in refused.err
    assert refused.out == b""
