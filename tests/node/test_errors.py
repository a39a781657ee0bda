"""What a person is told, and what is a bug (node/errors.py)."""

import pytest

from node.errors import MachineError, NetworkError, told

GONE, FULL = NetworkError("nobody answers"), MachineError("disk full")


def test_failures_side_by_side() -> None:
    assert told(GONE) is GONE
    assert told(ExceptionGroup("two", [ExceptionGroup("one", [FULL]), GONE])) is FULL


@pytest.mark.parametrize("inner", [ValueError("a bug"), ExceptionGroup("one", [ValueError("a bug")])])
def test_a_bug_among_them(inner: Exception) -> None:
    group = ExceptionGroup("two", [GONE, inner])
    with pytest.raises(ExceptionGroup) as raised:
        told(group)
    assert raised.value is group
