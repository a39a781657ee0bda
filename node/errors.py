"""What can go wrong for a person: every class has its exit code (docs/operations.md), and a hint where there is one."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager


class NodeError(Exception):
    """Base of all errors shown to a user. The message says what failed and why; the hint says what to do."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(NodeError):
    """A flag, an environment variable, the configuration file or a link is malformed. Nothing was done."""

    exit_code = 2


class NotFoundError(NodeError):
    """The network does not have it, or fewer than k chunks of a segment can be reached now."""

    exit_code = 3


class RefusedError(NodeError):
    """Somebody said no: quota, policy, lease, not the owner, destination exists."""

    exit_code = 4


class TakenError(RefusedError):
    """There is something already where this was to be made, or another one changed it meanwhile."""


class NetworkError(NodeError):
    """Nobody to join, all peers unreachable, or another network's name."""

    exit_code = 5


class IntegrityFailure(NodeError):
    """Fewer than k chunks are left because holders served bytes that do not match what the link promises; or what was
    signed, or answered to a challenge, is not right."""

    exit_code = 6


class MachineError(NodeError):
    """This machine: disk full, permission, the source changed while it was read."""

    exit_code = 7


def told(exc: Exception) -> NodeError:
    """The one error a person is told of what a piece of work ended with, alone or in groups that nurseries made.

    Raises:
        Exception: ``exc`` itself, if there is anything else in it: that is a bug.
    """
    found = list(leaves(exc))
    errors = [leaf for leaf in found if isinstance(leaf, NodeError)]
    if len(errors) < len(found):
        raise exc
    return errors[0]


@asynccontextmanager
async def one_error() -> AsyncIterator[None]:
    """Around a nursery, in one ``async with``: whatever NodeErrors it ends with, the first alone comes out."""
    try:
        yield
    except ExceptionGroup as exc:
        raise told(exc) from exc


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups, or the one that it is."""
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from leaves(inner)
    else:
        yield exc


def place_of(exc: BaseException) -> str:
    """Of a bug: what kind of error, and where. Its message may hold anything."""
    exc = next(leaves(exc))
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" in {trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}"
    return f"{type(exc).__name__}{where}"


def machine_error(doing: str, exc: OSError) -> MachineError:
    """An OSError in a person's words: what we were doing, to which file, and the system's reason."""
    where = f" {os.fsdecode(exc.filename)!r}" if isinstance(exc.filename, str | bytes) else ""
    return MachineError(f"cannot {doing}{where}: {reason(exc)}")


def reason(exc: OSError | UnicodeError) -> str:
    """Why the system, or Python, could not do it: in words, without an error number."""
    if isinstance(exc, UnicodeError):
        return "not UTF-8" if isinstance(exc, UnicodeDecodeError) else "no name can be so"
    return exc.strerror or str(exc) or type(exc).__name__
