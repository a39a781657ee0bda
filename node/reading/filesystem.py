"""`archipel://`: an fsspec filesystem, so that pandas, pyarrow, dask and the like read deposits by link.

The only importer of fsspec, which loads this module by the entry point in pyproject.toml. A link is a secret, and paths
end up in error messages, logs, caches and reprs: inside, a path begins with an alias of the link (``aliases``).
"""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from fsspec.caching import BaseCache, register_cache
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from node.config import load_config
from node.errors import NodeError, NotFoundError, RefusedError
from node.reading.aliases import Aliases, is_alias
from node.reading.background import background
from node.reading.opened import Opened
from node.reading.session import Session
from node.reading.tree import children, file_at, find, only_file
from protocol.errors import LinkError
from protocol.links import AnyLink, parse_link
from protocol.manifest import Kind
from protocol.segment import BLOCK_BYTES

T = TypeVar("T")

MOST_AHEAD_BYTES = 16 << 20
"""Read ahead of a program that goes on reading where it was: a full segment."""

_aliases = Aliases()
_TYPES = {Kind.FILE: "file", Kind.FOLDER: "directory", Kind.SYMLINK: "other"}


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """What a program knows of files: FileNotFoundError, PermissionError, else OSError. The text is the same."""
    try:
        yield
    except NodeError as exc:
        kind = {NotFoundError: FileNotFoundError, RefusedError: PermissionError}.get(type(exc), OSError)
        error = kind(str(exc))
        if exc.hint:
            error.add_note(f"hint: {exc.hint}")
        raise error from exc


class AheadCache(BaseCache):  # type: ignore[misc]  # fsspec has no types
    """Whole blocks around what is read; more and more beyond it, as long as a program reads on where it was."""

    name = "archipel"

    def __init__(self, blocksize: int, fetcher: Callable[[int, int], bytes], size: int) -> None:
        super().__init__(blocksize, fetcher, size)
        self._start = self._end = 0
        self._data = b""
        self._ahead = 0

    def _fetch(self, start: int | None, stop: int | None) -> bytes:
        start, stop = start or 0, self.size if stop is None else min(stop, self.size)
        if start >= stop:
            return b""
        if not self._start <= start <= stop <= self._end:
            self._move(start, stop)
        return self._data[start - self._start : stop - self._start]

    def _move(self, start: int, stop: int) -> None:
        goes_on = self._start <= start <= self._end and self._data
        self._ahead = min(max(2 * self._ahead, self.blocksize), MOST_AHEAD_BYTES) if goes_on else 0
        kept = self._data[start - self._start :] if goes_on else b""
        begin = self._end if goes_on else start - start % self.blocksize
        end = min(self.size, -(-(stop + self._ahead) // self.blocksize) * self.blocksize)
        self._data = kept + self.fetcher(begin, end)
        self._start, self._end = (start if goes_on else begin), end


register_cache(AheadCache)


class ArchipelFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A file of a deposit, open for reading. It stays what it was, also if a name leads elsewhere meanwhile."""

    DEFAULT_BLOCK_SIZE = BLOCK_BYTES

    def __init__(self, fs: "ArchipelFileSystem", path: str, opened: Opened, index: int, **options: Any) -> None:
        self._opened, self._index = opened, index
        options.setdefault("cache_type", AheadCache.name)
        super().__init__(fs, path, mode="rb", size=opened.entry(index).size, **options)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.fs.read(self._opened, self._index, start, end)  # type: ignore[no-any-return]  # as above

    def __reduce__(self) -> Any:
        return _open_again, (self.fs, self.path, self.loc)


def _open_again(fs: "ArchipelFileSystem", path: str, position: int) -> Any:
    file = fs.open(path)
    file.seek(position)
    return file


class ArchipelFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Deposits by link: ``archipel://WORD/path/in/deposit``, where WORD is a link without ``archipel:``.

    Read only. What the network does not give within the deadlines of a fetch is an error that says why.
    """

    protocol = "archipel"
    root_marker = ""

    def __init__(
        self,
        join: str | tuple[str, ...] | None = None,
        network: str | None = None,
        home: str | None = None,
        **options: Any,
    ) -> None:
        """
        Args:
            join: HOST:PORT of nodes to join by, as text with commas or one by one; else as the command line.
            network: Its name; else as the command line.
            home: The folder of account and remembered contacts; else as the command line.
            options: Those of every fsspec filesystem.

        Raises:
            OSError: What the environment or the configuration file says is malformed.
        """
        super().__init__(**options)
        given = {"join": list(join) if isinstance(join, tuple) else join, "network": network, "home": home}
        with _as_os_errors():
            self._config = load_config(os.environ, given)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """The path with an alias in place of the link, which is remembered in this process."""
        stripped = super()._strip_protocol(path)
        if isinstance(stripped, list) or not stripped:
            return stripped
        first, slash, rest = stripped.lstrip("/").partition("/")
        if is_alias(first):
            return first + slash + rest
        try:
            link = parse_link(first)
        except LinkError as exc:
            raise OSError(f"{exc}; want archipel://LINK/PATH") from None
        return _aliases.name(link) + slash + rest

    def __reduce__(self) -> Any:
        """For another process that is to read the same: it takes along the links that were named here."""
        return _filesystem_with, (tuple(map(str, _aliases.known())), self.storage_args, self.storage_options)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is in a folder; a file itself."""
        opened, inside, path = self._open_link(path)
        index = self._index(opened, inside) if inside else None
        if index is not None and opened.entry(index).kind is not Kind.FOLDER:
            found = [self._told(opened, index, path)]
        else:
            alias = path.partition("/")[0]
            indices = children(opened.manifest, inside)
            found = [self._told(opened, i, f"{alias}/{os.fsdecode(opened.entry(i).path)}") for i in indices]
        return found if detail else [item["name"] for item in found]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size, type, mtime (seconds since 1970-01-01 UTC) of one thing; of a file, a tag of its content."""
        opened, inside, path = self._open_link(path)
        if not inside:
            return {"name": path, "size": 0, "type": "directory"}
        return self._told(opened, self._index(opened, inside), path)

    def exists(self, path: str, **_: Any) -> bool:
        """Whether it is there. Only what is known not to be there is not: else the error is raised."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def modified(self, path: str) -> datetime:
        """When it was last changed, as its publisher has it."""
        return datetime.fromtimestamp(self.info(path).get("mtime", 0), UTC)

    created = modified

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Bytes of a file; negative numbers count from its end."""
        opened, index, _path = self._open_file(path)
        size = opened.entry(index).size
        first, last = (_from_the_end(start, size, 0), _from_the_end(end, size, size))
        return self.read(opened, index, first, last)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> ArchipelFile:
        if mode != "rb":
            raise _read_only()
        opened, index, path = self._open_file(path)
        options = {name: options[name] for name in ("cache_type", "cache_options") if name in options}
        return ArchipelFile(self, path, opened, index, block_size=block_size or "default", **options)

    def read(self, opened: Opened, index: int, start: int, stop: int) -> bytes:
        """Bytes of a file that is open."""
        return self._run(lambda session: session.read(opened, index, start, stop))

    def _open_file(self, path: str) -> tuple[Opened, int, str]:
        opened, inside, path = self._open_link(path)
        index = self._index(opened, inside) if inside else only_file(opened.manifest)
        file = None if index is None else file_at(opened.manifest, index)
        if file is None:
            raise IsADirectoryError("this is no file")
        return opened, file, path

    def _open_link(self, path: str) -> tuple[Opened, bytes, str]:
        """The deposit, the path in it, and the path with an alias."""
        path = self._strip_protocol(path)
        alias, _, inside = path.partition("/")
        if not alias:
            raise FileNotFoundError("want archipel://LINK/PATH")
        link = _aliases.link(alias)
        if link is None:
            raise FileNotFoundError("this process has not been told the link of this alias: name it by archipel://LINK")
        found: AnyLink = link
        return self._run(lambda session: session.open(found)), os.fsencode(inside), path

    def _index(self, opened: Opened, inside: bytes) -> int:
        index = find(opened.manifest, inside)
        if index is None:
            raise FileNotFoundError("the deposit has no such path")
        return index

    def _told(self, opened: Opened, index: int, name: str) -> dict[str, Any]:
        entry = opened.entry(index)
        told = {"name": name, "size": entry.size, "type": _TYPES[entry.kind], "mtime": entry.mtime_ns / 1e9}
        if entry.kind is Kind.SYMLINK:
            told |= {"islink": True, "destination": os.fsdecode(entry.target)}
        file = file_at(opened.manifest, index)
        if file is not None:
            told |= {"type": "file", "size": opened.entry(file).size, "etag": opened.tag(file)}
        return told

    def _run(self, work: Callable[[Session], Awaitable[T]]) -> T:
        with _as_os_errors():
            return background.call(self._config, work)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise _read_only()

    mkdir = makedirs = rmdir = pipe_file = put_file = cp_file = rm_file = _rm = rm = mv = touch = _refuse


def _read_only() -> OSError:
    return PermissionError("archipel:// is read only: archipel publish makes a new deposit")


def _from_the_end(position: int | None, size: int, default: int) -> int:
    if position is None:
        return default
    return position if position >= 0 else max(0, size + position)


def _filesystem_with(links: tuple[str, ...], args: tuple[Any, ...], options: dict[str, Any]) -> ArchipelFileSystem:
    for link in links:
        _aliases.name(parse_link(link))
    return ArchipelFileSystem(*args, **options)
