"""One process at a time publishes a source; nobody waits for a journal to be closed (node/journal.py)."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.errors import RefusedError
from node.journal import Journal
from tests.node.test_journal import NETWORK, source


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deposits.sqlite"


@contextmanager
def beginning(path: Path) -> Iterator[None]:
    """Another process is publishing source 1."""
    script = (
        "import sys; from pathlib import Path; from node.journal import Journal; from protocol.ids import NetworkId\n"
        "Journal(Path(sys.argv[1]), NetworkId(bytes(32))).begin(bytes([1]) * 32, bytes(16), b'')\n"
        "print('begun', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "begun\n"
        yield
        other.stdin.close()
        other.wait()


def test_two_processes_cannot_publish_the_same(path: Path) -> None:
    """Their leases would outdo each other's. The claim ends with the process."""
    journal = Journal(path, NETWORK)
    with beginning(path):
        with pytest.raises(RefusedError, match="published already"):
            journal.begin(source(1), b"1" * 16, b"")
        journal.begin(source(2), b"2" * 16, b"")
    assert journal.begin(source(1), b"1" * 16, b"").deposit == bytes(16)
    journal.close()


def test_what_is_released_another_process_may_publish(path: Path) -> None:
    journal = Journal(path, NETWORK)
    attempt = journal.begin(source(1), bytes(16), b"")
    journal.begin(source(2), bytes(16), b"")
    journal.release(attempt)
    with beginning(path), pytest.raises(RefusedError, match="published already"):
        journal.begin(source(1), bytes(16), b"")
    journal.close()
