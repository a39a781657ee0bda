"""Machines of one account, each with a folder that is kept equal to the one in the drive."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node.errors import RefusedError
from node.progress import Progress
from node.publishing.content import FileContent
from node.publishing.publish import Options, Published, publish
from node.publishing.source import Source
from node.syncing.folder import SyncedFolder
from node.syncing.state import SyncState
from node.syncing.sync import Synced, sync
from node.syncing.workfolder import WORK_NAME
from protocol.hashing import plain_digest
from protocol.ids import PublicKey
from protocol.links import Link
from protocol.manifest import Kind
from tests.network.archipelago import Archipelago, User, archipelago

ACCOUNT = PublicKey(b"a" * 32)
SECOND = 10**9
WORK = os.fsdecode(WORK_NAME)


@dataclass
class Drive:
    """What every machine sees at once: the newest link."""

    link: Link | None = None


@dataclass
class Machine:
    """A home and a folder."""

    islands: Archipelago
    user: User
    drive: Drive
    folder: Path
    home: Path
    published: list[Published] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    seen: Link | None = None
    """What the drive had when this machine looked."""

    @property
    def state(self) -> SyncState:
        return SyncState(self.home, ACCOUNT, self.folder, b"photos")

    async def sync(self, changed: Callable[[Progress], None] = lambda _: None) -> Synced:
        """Sync with the drive; ``changed`` is called as things come down."""
        self.progress, self.seen = Progress(changed=changed), self.drive.link
        return await sync(self.user.client, self.seen, self.state, self.publish_first, self.progress)

    async def publish_first(self, source: Source) -> Link:
        """Publish, unless another machine did since this one looked."""
        if self.drive.link != self.seen:
            raise RefusedError("another machine changed the drive at the same time", hint="run it again")
        return await self.publish(source)

    async def publish(self, source: Source) -> Link:
        content = FileContent(source, plain_digest(bytes(self.folder)))
        user = self.user
        done = await publish(user.client, user.depositor, user.journal, content, Options(), Progress())
        self.published.append(done)
        self.drive.link = done.link
        return done.link

    def write(self, name: str, content: bytes | str, *, time: int = 1_000_000) -> Path:
        """Write a file, at ``time`` (seconds)."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(path, ns=(0, time * SECOND))
        return path

    @property
    def tree(self) -> dict[str, object]:
        """What is in the folder: contents of files, targets of links."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.relative_to(self.folder).parts[0] != WORK)
        return {str(path.relative_to(self.folder)): _content(path) for path in found}

    @property
    def work(self) -> set[str]:
        """What a sync has left in its working folder."""
        work = self.folder / WORK
        return set(os.listdir(work)) if work.exists() else set()

    @property
    def mark(self) -> bytes:
        """Of the folder, which has one."""
        with SyncedFolder(self.folder) as folder:
            mark = folder.work.mark()
        assert mark is not None
        return mark


def _content(path: Path) -> object:
    if path.is_symlink():
        return path.readlink()
    return Kind.FOLDER if path.is_dir() else path.read_bytes()


def machine(islands: Archipelago, user: User, drive: Drive, name: str, folder: str) -> Machine:
    """A machine of its own, with a folder that is not made yet."""
    return Machine(islands, user, drive, islands.base / name / folder, islands.base / f"home-{name}")


@asynccontextmanager
async def two_machines(base: Path) -> AsyncIterator[tuple[Machine, Machine]]:
    """Alice's with a folder ``Photos``, which is in the drive, and Bob's, where it is called ``Bilder``."""
    async with archipelago(base, 6) as islands, islands.user("alice") as first, islands.user("bob") as second:
        drive = Drive()
        alice = machine(islands, first, drive, "alice", "Photos")
        bob = machine(islands, second, drive, "bob", "Bilder")
        alice.folder.mkdir(parents=True)
        bob.folder.parent.mkdir()
        alice.write("a.txt", "a")
        alice.write("b.txt", "b")
        alice.write("sub/c.txt", "c")
        await alice.sync()
        await bob.sync()
        yield alice, bob
