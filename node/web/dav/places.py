"""What stands at a path of a deposit, as WebDAV tells it: a file or a folder, and what is in that."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from node.errors import NotFoundError
from node.reading.opened import Opened
from node.reading.tree import children, file_at, find
from node.web.content import content_type, last_modified
from protocol.manifest import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A file, or a folder."""

    name: bytes
    """The last component of its path; nothing at the top."""
    is_folder: bool = True
    changed: float | None = None
    """Seconds since 1970-01-01 UTC; None: not told."""
    size: int = 0
    kind: str = ""
    """Media type of a file."""
    tag: str = ""
    """Of a file: the same tag is the same bytes. Without quotes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request leads."""

    thing: Thing
    inside: Callable[[], Iterator[Thing]] = lambda: iter(())
    """What is in a folder."""
    file: tuple[Opened, int] | None = None
    """A file's deposit and entry."""


def in_deposit(opened: Opened, path: bytes, top: Thing, base: bytes = b"") -> Place:
    """What stands at ``path`` in a deposit; symbolic links to files of it are those files, other ones are not there.

    Args:
        opened: The deposit.
        path: From ``base`` on, without slashes around it; empty: ``base`` itself.
        top: That, as a folder.
        base: A folder of the deposit; empty: the deposit.

    Raises:
        NotFoundError: There is nothing.
    """
    if not path:
        return Place(top, lambda: _things(opened, base))
    path = base + b"/" + path if base else path
    index = find(opened.manifest, path)
    thing = None if index is None else _thing(opened, index)
    if index is None or thing is None:
        raise NotFoundError("the deposit has no such path")
    if thing.is_folder:
        return Place(thing, lambda: _things(opened, path))
    file = file_at(opened.manifest, index)
    assert file is not None
    return Place(thing, file=(opened, file))


def _things(opened: Opened, folder: bytes) -> Iterator[Thing]:
    for index in children(opened.manifest, folder):
        if (thing := _thing(opened, index)) is not None:
            yield thing


def _thing(opened: Opened, index: int) -> Thing | None:
    entry = opened.entry(index)
    name = entry.path.rpartition(b"/")[2]
    if entry.kind is Kind.FOLDER:
        return Thing(name=name, changed=_seconds(opened, index))
    file = file_at(opened.manifest, index)
    if file is None:
        return None
    return Thing(
        name=name,
        is_folder=False,
        changed=_seconds(opened, file),
        size=opened.entry(file).size,
        kind=content_type(name.decode("utf-8", "replace")),
        tag=opened.tag(file),
    )


def _seconds(opened: Opened, index: int) -> float | None:
    changed = last_modified(opened.entry(index))
    return None if changed is None else changed.timestamp()
