"""What is left of a run: in a network where nothing has been asked for a while, it must be nothing."""

import gc
from collections import Counter
from collections.abc import Iterator

import trio

from dht.calls import CLOSE_SECONDS, Calls
from node.net.peers import Peers
from node.serving.admission import BUDGET_BLOCKS, Connections, Memory
from node.store.quota import Quota
from tests.network.archipelago import Archipelago, Node
from tests.network.memory import MemoryStream

_COUNTING = (Calls, Peers, Connections, Memory, Quota, MemoryStream)
"""What counts something that must come to nothing in the end."""


def counting() -> list[object]:
    """Every object alive that counts something."""
    gc.collect()
    return [found for found in gc.get_objects() if isinstance(found, _COUNTING)]


def leaks(islands: Archipelago, running: list[Node], older: set[int]) -> Iterator[str]:
    """What a network that has been left alone for minutes still has: files half written, promises, tasks.

    Args:
        islands: The network; all its users have left.
        running: Nodes that are not dead.
        older: Ids of what counted before it was there.
    """
    for node in islands.nodes:
        for path in (node.data / "tmp").iterdir():
            yield f"{path} is left of a put"
    for found in counting():
        if id(found) not in older and (what := _what_is_left(found)):
            yield f"{type(found).__name__}: {what}"
    tasks = [Counter(_names(task)) for task in islands.nursery.child_tasks]
    if len(tasks) != len(running):
        yield f"{len(tasks)} nodes run, expected {len(running)}"
    usual = min(tasks, key=Counter.total)
    for names in tasks:
        if names != usual:
            yield f"tasks that other nodes do not have: {dict(names - usual)}"


def _what_is_left(found: object) -> str:
    match found:
        case Calls():
            before = trio.current_time() - CLOSE_SECONDS - 1.0
            return _count(sum(call.sent < before for call in found._open.values()), "calls never closed")
        case Peers():
            at_work = found._most - found._active.value
            return _count(found._open + at_work + len(found._pools) + len(found._asking), "connections or requests")
        case Connections():
            return _count(found.open, "connections counted")
        case Memory():
            return _count(BUDGET_BLOCKS - found._free + len(found._held) + len(found._waiting), "blocks of memory")
        case Quota():
            return _count(found.reserved, "bytes promised")
        case MemoryStream():
            return "" if found._closed else f"a stream to {found.peer_address} is open"
        case _:
            raise AssertionError(found)


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count else ""


def _names(task: trio.lowlevel.Task) -> Iterator[str]:
    yield task.name
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _names(child)
