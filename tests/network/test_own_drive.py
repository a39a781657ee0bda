"""The drive as commands read and change it: with the network, and without (node/cli/owndrive.py)."""

from pathlib import Path

import pytest
from trio.testing import MockClock

from node.cli.owndrive import change_drive, read_drive
from node.cli.recorded import BEGUN
from node.drive.tree import put
from node.errors import MachineError, NetworkError, RefusedError
from protocol.drive import Drive
from tests.network.archipelago import Archipelago, archipelago, failure
from tests.network.test_drive import Machine, entry, machine, shown


def cut_off(islands: Archipelago, who: Machine) -> None:
    """From now on nothing comes to this machine, nor from it."""
    apart = who.user.host.ip
    islands.net.partition = lambda source, other: apart in (source, other)
    islands.net.changed()


async def add(who: Machine, name: str) -> bool:
    return await change_drive(who.service, lambda drive, now_ms: put(drive, entry(name, now_ms), now_ms))


async def test_the_last_copy_is_shown_without_a_network(
    autojump_clock: MockClock, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with archipelago(base, 6) as islands, machine(islands, "one") as one, machine(islands, "two") as two:
        assert (await read_drive(two.service)).drive == Drive(), "nobody has put anything into it"
        assert await add(one, "photos")
        assert capsys.readouterr() == ("", f"archipel: {BEGUN}\n")
        assert shown((await read_drive(two.service)).drive) == ["photos"]
        assert capsys.readouterr() == ("", "")
        cut_off(islands, two)
        assert shown((await read_drive(two.service)).drive) == ["photos"]
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("archipel: note: the drive cannot be read now: ")
        assert "; this is how it was at 20" in err
        assert "changes" not in err

        assert not await add(two, "films")
        assert capsys.readouterr().err.endswith("; the change is kept here, and goes with the next one\n")
        assert shown((await read_drive(two.service)).drive) == ["films", "photos"]
        assert "UTC, with changes that the network has not\n" in capsys.readouterr().err


async def test_nothing_to_show(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands, machine(islands, "one") as one:
        await add(one, "photos")
        async with machine(islands, "two") as two:
            cut_off(islands, two)
            assert isinstance(await failure(read_drive(two.service)), NetworkError)


async def test_what_is_refused_here_is_not_taken_for_trouble_with_the_network(
    autojump_clock: MockClock, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(drive: Drive, now_ms: int) -> Drive:
        raise RefusedError("no")

    async with archipelago(base, 6) as islands, machine(islands, "one") as one:
        assert isinstance(await failure(change_drive(one.service, refuse)), RefusedError)
        one.service.cache._path.mkdir(parents=True)
        assert isinstance(await failure(add(one, "photos")), MachineError)
    assert capsys.readouterr() == ("", "")
