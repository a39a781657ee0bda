"""One list of the operator's: a file of keys and ids, read again when it changes, and rewritten when it is to.

Each line is 32 bytes in hex, behind the word that says what they are, and before a share if there is one; behind a # is
whatever the operator wants to remember.
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from node.config import parse_share
from node.errors import ConfigError, machine_error, reason
from node.home import write_private
from protocol.ids import ID_BYTES


@dataclass(frozen=True, slots=True)
class _Line:
    """What a line says."""

    word: str
    entry: bytes
    share: float | None


@dataclass(slots=True)
class ListFile:
    """A list as it was last read. What was read is there for any thread; calls at once are the caller's to prevent."""

    path: Path
    words: tuple[str, ...]
    """What a line may begin with; an empty word: nothing but the hex."""
    shared: str
    """The word whose lines may end with a share of the quota, such as ``10%``."""
    whole: bool
    """Whether a line with a share lists its entry too; if not, it does nothing but set the share."""
    entries: dict[str, frozenset[bytes]] = field(default_factory=dict)
    """For each word what was listed."""
    shares: dict[bytes, float] = field(default_factory=dict)
    """Above 0, at most 1."""
    _seen: tuple[int, int, int] | str = ""

    def refresh(self) -> bool:
        """Read the file if it has changed since; whether it had.

        Raises:
            ConfigError: It cannot be read, or a line is malformed: the entries stay. Raised once for each change.
        """
        seen: tuple[int, int, int] | str
        try:
            found = self.path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError as exc:
            seen = str(exc)
        if seen == self._seen:
            return False
        self._seen = seen
        self._take(self._read())
        return True

    def _read(self) -> str:
        try:
            return self.path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"cannot read {str(self.path)!r}: {reason(exc)}") from exc

    def _take(self, text: str) -> None:
        parsed = [self._parse(line, number) for number, line in enumerate(text.splitlines(), 1)]
        lines = [line for line in parsed if line is not None]
        listed = [line for line in lines if line.share is None or self.whole]
        self.shares = {line.entry: line.share for line in lines if line.share is not None}
        self.entries = {word: frozenset(line.entry for line in listed if line.word == word) for word in self.words}

    def _parse(self, line: str, number: int) -> _Line | None:
        """None: nothing but a comment. Raises ConfigError."""
        words = line.partition("#")[0].split()
        if not words:
            return None
        word = words.pop(0) if "" not in self.words else ""
        entry = _unhex(words.pop(0)) if words else None
        share = None
        if words and word == self.shared:
            with suppress(ConfigError):
                share = parse_share(words[0])
                words.pop(0)
        if word not in self.words or entry is None or words:
            wanted = " or ".join(f"{word} HEX".strip() for word in self.words)
            raise ConfigError(
                f"{self.path}, line {number}: want {wanted}, of {2 * ID_BYTES} digits",
                hint=f"a share may stand behind {f'{self.shared} HEX'.strip()}, such as 10%",
            )
        return _Line(word, entry, share)

    def add(self, word: str, entry: bytes) -> bool:
        """List an entry, in the file as well; False if it was. A share it had goes when that is not to list it.

        Raises:
            ConfigError: The file cannot be read, or a line is malformed: nothing changes.
            MachineError: It cannot be written: nothing changes.
        """
        lines = self._current()
        if entry in self.entries[word]:
            return False
        kept = [line for line in lines if not self._says(line, word, entry)]
        self._write([*kept, f"{word} {entry.hex()}".strip()])
        return True

    def remove(self, word: str, entry: bytes) -> bool:
        """Take an entry off the list, in the file as well; False if it was not on it. Raises as :meth:`add`.

        A line that does nothing but set its share stays.
        """
        lines = self._current()
        if entry not in self.entries[word]:
            return False
        self._write([line for line in lines if not self._says(line, word, entry, but_for_shares=not self.whole)])
        return True

    def _current(self) -> list[str]:
        """The lines as they are in the file now, all of them good; the entries are what they say."""
        text = self._read()
        self._take(text)
        return text.splitlines()

    def _says(self, line: str, word: str, entry: bytes, *, but_for_shares: bool = False) -> bool:
        found = self._parse(line, 0)
        if found is None or (found.word, found.entry) != (word, entry):
            return False
        return found.share is None or not but_for_shares

    def _write(self, lines: list[str]) -> None:
        """Replace the file, whole or not at all, and heed it."""
        path = Path(os.path.realpath(self.path))  # a link to the list stays one
        text = "".join(f"{line}\n" for line in lines)
        try:
            write_private(path, text.encode(), replace=True, mode=stat.S_IMODE(path.stat().st_mode))
        except OSError as exc:
            raise machine_error(f"write the list {str(self.path)!r}, by way of", exc) from exc
        self.refresh()


def _unhex(digits: str) -> bytes | None:
    try:
        entry = bytes.fromhex(digits)
    except ValueError:
        return None
    return entry if len(entry) == ID_BYTES else None
