"""What a synced folder and the drive last agreed on: the base of the next sync, one file for each in the home.

Without it a sync deletes nothing. So whatever is wrong with the file, it counts as none.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from node.errors import machine_error
from node.home import write_private
from node.syncing.plan import Item
from protocol.codec import Flag, Int, Raw, Seq, Struct, Uint, decode, encode
from protocol.errors import RemoteProtocolError
from protocol.hashing import DIGEST_BYTES, digest
from protocol.identity import KEY_BYTES
from protocol.ids import PublicKey
from protocol.manifest import MAX_ENTRIES, MAX_MANIFEST_BYTES, Kind
from protocol.paths import MAX_PATH_BYTES

_HEAD = b"archipel sync 2\n"
MAX_STATE_BYTES = MAX_MANIFEST_BYTES + MAX_ENTRIES * 48
"""A manifest of the same files is larger, but for stamps and digests."""


class Known(NamedTuple):
    """What both sides agreed on of one path, and how it was found here then."""

    item: Item
    stamp: int = 0
    """:func:`~node.publishing.source.stamp` of what was here."""
    digest: bytes = b""
    """Of a file, that of the bytes here (:meth:`~node.syncing.folder.SyncedFolder.digest`); empty: not known."""


class Base(NamedTuple):
    """What both sides last agreed on."""

    known: Mapping[bytes, Known]
    """By path in the folder."""
    version: bytes
    """Which version of the folder in the drive that was (:func:`~node.syncing.ancestry.version_of`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Agreed:
    path: Annotated[bytes, Raw(1, MAX_PATH_BYTES)]
    kind: Annotated[int, Uint(max(Kind))]
    size: Annotated[int, Uint(2**63)]
    mtime_ns: Annotated[int, Int()]
    executable: Annotated[bool, Flag()]
    target: Annotated[bytes, Raw(0, MAX_PATH_BYTES)]
    stamp: Annotated[int, Int()]
    digest: Annotated[bytes, Raw(0, DIGEST_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    account: Annotated[bytes, Raw(KEY_BYTES)]
    folder: Annotated[bytes, Raw(1, MAX_PATH_BYTES)]
    drive_path: Annotated[bytes, Raw(0, MAX_PATH_BYTES)]
    mark: Annotated[bytes, Raw(1, 64)]
    version: Annotated[bytes, Raw(0, DIGEST_BYTES)]
    agreed: Annotated[tuple[_Agreed, ...], Seq(Struct(_Agreed), MAX_ENTRIES)]


@dataclass(frozen=True, slots=True)
class SyncState:
    """Where the base of one synced folder is kept."""

    home: Path
    account: PublicKey
    folder: Path
    """Absolute, with no symbolic link in it."""
    drive_path: bytes
    """What it is synced with. Another path has another base: else what it lacks would be deleted here."""

    @property
    def path(self) -> Path:
        """The file; whose, and of which folder, can be seen in it only."""
        name = digest("local", self.account, digest("local", os.fsencode(self.folder)), self.drive_path)
        return self.home / "sync" / name.hex()

    def read(self, mark: bytes | None) -> Base | None:
        """The base, or None: there is none, or it is damaged, or of another folder.

        Args:
            mark: Of the folder; None: it has none. Another one at the same path (made anew, or left by a disk that is
                not mounted) has no base yet.

        Raises:
            MachineError: It exists and cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_STATE_BYTES:
                    return None
                data = file.read(size)  # not more: room for all that is asked for is made at once
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise machine_error("read", exc) from exc
        body, check = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
        if not body.startswith(_HEAD) or digest("file", body) != check:
            return None
        try:
            base = decode(_Base, body[len(_HEAD) :])
        except RemoteProtocolError:
            return None
        whose = (base.account, base.folder, base.drive_path, base.mark)
        if whose != (self.account, os.fsencode(self.folder), self.drive_path, mark):
            return None
        known = {
            item.path: Known(
                Item(Kind(item.kind), item.size, item.mtime_ns, item.executable, item.target), item.stamp, item.digest
            )
            for item in base.agreed
        }
        return Base(known, base.version)

    def write(self, mark: bytes, base: Base) -> None:
        """Replace the base; it is on the disk when this returns. One process at a time.

        Raises:
            MachineError: The disk says no. The base of before is still there.
        """
        body = _HEAD + self._encode(mark, base)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self.path, body + digest("file", body), replace=True)
        except OSError as exc:
            exc.filename = exc.filename or str(self.path)  # a disk that is full does not say where
            raise machine_error("write", exc) from exc

    def _encode(self, mark: bytes, base: Base) -> bytes:
        agreed = tuple(
            _Agreed(
                path=path,
                kind=int(item.kind),
                size=item.size,
                mtime_ns=item.mtime_ns,
                executable=item.executable,
                target=item.target,
                stamp=stamp,
                digest=content,
            )
            for path, (item, stamp, content) in sorted(base.known.items())
        )
        folder = os.fsencode(self.folder)
        return encode(
            _Base(
                account=self.account,
                folder=folder,
                drive_path=self.drive_path,
                mark=mark,
                version=base.version,
                agreed=agreed,
            )
        )
