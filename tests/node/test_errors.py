"""What a person is told, and what is a bug (node/errors.py)."""

from node.errors import MachineError, NetworkError, expected

GONE, FULL = NetworkError("nobody answers"), MachineError("disk full")


def test_failures_side_by_side() -> None:
    assert expected(GONE) is GONE
    assert expected(ExceptionGroup("two", [ExceptionGroup("one", [FULL]), GONE])) is FULL


def test_a_bug_among_them() -> None:
    assert expected(ExceptionGroup("two", [GONE, ValueError("a bug")])) is None
    assert expected(ExceptionGroup("two", [GONE, ExceptionGroup("one", [ValueError("a bug")])])) is None
