"""Three of twelve nodes freeze in the midst of a command: it ends well, and not much later than undisturbed.

How much later, ``scripts/crashes`` measures; here a bound holds that a machine busy with other work does not break.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.freezing import Freezer
from tests.e2e.trees import random_bytes, write
from tests.e2e.world import local_network

BOUND_SECONDS = 10.0
"""Less than any command waits before it gives up, and than a frozen node's 15 s for a connection."""


@pytest.fixture(scope="module")
def freezer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Freezer]:
    folder = tmp_path_factory.mktemp("frozen")
    write(folder / "file", random_bytes(61, 32_000_000))
    with local_network(folder) as net:
        yield Freezer(net, folder, folder / "file", seed=5)


@pytest.fixture(scope="module")
def link(freezer: Freezer) -> str:
    return freezer.link()


def test_nodes_freeze_in_mid_publish(freezer: Freezer) -> None:
    assert freezer.publish().cost < BOUND_SECONDS


def test_nodes_freeze_in_mid_fetch(freezer: Freezer, link: str) -> None:
    assert freezer.fetch(link).cost < BOUND_SECONDS


def test_nodes_freeze_before_a_check(freezer: Freezer, link: str) -> None:
    assert freezer.check(link).cost < BOUND_SECONDS
