"""Two machines whose people work in the folder as they like, and sync now and then, until something kills it.

No content is lost unless somebody replaced or deleted it where it lay, and both have the same in the end.
"""

import os
import shutil
from pathlib import Path
from random import Random

import pytest
from trio.testing import MockClock

from tests.network.archipelago import archipelago
from tests.network.executioner import Executioner, Killed
from tests.network.machines import Drive, Machine, machine

NAMES = ("a", "b.txt", "c")
ROUNDS = 25


class Person:
    """Does something to a folder; remembers what was written, and what was given up."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._time = 1_000_000
        self.written: set[bytes] = set()
        self.given_up: set[bytes] = set()

    def work(self, one: Machine) -> None:
        """One thing, at a random place."""
        folder = self._random.choice([one.folder, *(path for path in _all(one.folder) if _is_folder(path))])
        path = folder / self._random.choice(NAMES)
        act = self._random.choice((self._write, self._write, self._delete, self._folder, self._move, self._mode))
        act(one, path)

    def _write(self, one: Machine, path: Path) -> None:
        self._delete(one, path)
        self._time += 1
        content = f"version {self._time}".encode()
        self.written.add(content)
        one.write(str(path.relative_to(one.folder)), content, time=self._time)

    def _delete(self, one: Machine, path: Path) -> None:
        for inner in [path, *_all(path)] if os.path.lexists(path) else []:
            if inner.is_file():
                self.given_up.add(inner.read_bytes())
        if _is_folder(path):
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _folder(self, one: Machine, path: Path) -> None:
        if len(path.relative_to(one.folder).parts) < 4 and not path.exists():
            path.mkdir()

    def _move(self, one: Machine, path: Path) -> None:
        others = [other for other in _all(one.folder) if not path.is_relative_to(other)]
        if others and not os.path.lexists(path):
            self._random.choice(others).rename(path)

    def _mode(self, one: Machine, path: Path) -> None:
        if path.is_file():
            path.chmod(self._random.choice((0o644, 0o755)))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if ".archipel-sync" not in path.parts)


async def sync_or_die(one: Machine, random: Random) -> None:
    if random.random() < 0.4:
        executioner = Executioner(random.randint(1, 20))
        with executioner.at_work(one):
            try:
                await one.sync()
            except Killed:
                return
    else:
        await one.sync()


@pytest.mark.parametrize("seed", range(4))
async def test_people_who_do_as_they_like(autojump_clock: MockClock, base: Path, seed: int) -> None:
    random = Random(seed)
    async with archipelago(base, 5) as islands, islands.user("alice") as one, islands.user("bob") as two:
        drive = Drive()
        both = machine(islands, one, drive, "alice", "A"), machine(islands, two, drive, "bob", "B")
        for each in both:
            each.folder.mkdir(parents=True)
        person = Person(random)
        for _ in range(ROUNDS):
            for each in both:
                for _ in range(random.randint(0, 3)):
                    person.work(each)
                if not any(_all(each.folder)):  # it would be refused
                    (each.folder / "rest").touch()
            await sync_or_die(random.choice(both), random)
        for each in (*both, *both):
            await each.sync()
        assert both[0].tree == both[1].tree
        assert person.written - person.given_up <= set(both[0].tree.values())
        assert len(person.written - person.given_up) >= 3
        assert not any([(await each.sync()).published for each in both])
