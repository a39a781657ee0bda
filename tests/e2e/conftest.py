"""Networks and people for the tests of real processes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import processes_of
from tests.e2e.world import Net, Nodes, Person, local_network

_LONGEST = ("drive", "nodes", "interruptions", "losses", "full_disk", "session", "publishing", "names", "healing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the files that take longest: a file is one worker's, and at the end nobody should wait for one."""
    order = {Path(__file__).with_name(f"test_{name}.py"): place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heeded() -> None:
    """Also when a shell started the tests in the background, which has them and all they start ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever a test started has ended; should it not, it does now, and that is a failure."""
    base = tmp_path_factory.getbasetemp()
    yield
    left = processes_of(base)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """Twelve nodes in four countries that no test harms."""
    with local_network(tmp_path_factory.mktemp("calm")) as net:
        yield net


@pytest.fixture
def alice(calm: Net, tmp_path: Path) -> Person:
    """Publishes."""
    return calm.person(tmp_path / "alice")


@pytest.fixture
def bob(calm: Net, tmp_path: Path) -> Person:
    """Has never seen what Alice published."""
    return calm.person(tmp_path / "bob")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Nodes started one by one."""
    started = Nodes(tmp_path)
    try:
        yield started
    finally:
        started.end()
