"""Limits that change while a node runs: in force at once, and again after a restart (node/serving/limits.py)."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.blocking import InlineBlocking
from node.errors import ConfigError, MachineError
from node.net.intake import Intake
from node.net.throttle import MIN_BYTES_PER_SECOND, Throttle, ThrottledStream, limited
from node.net.transport import SystemTransport
from node.serving.limits import LIMITS_FILE, MOST_BYTES, Limits, LimitsDesk, read_kept
from node.store.refusal import Refusal
from protocol.ids import Address
from protocol.messages import ErrorCode
from tests.network.memory import MemoryNetwork
from tests.node.builders import open_store, put, sample
from tests.node.test_app import world
from tests.node.test_throttle import OURS, RATE, THEIRS, WINDOW, Log, near_the_rate, receive_on, send_on

MB = 10**6


def desk(folder: Path, limits: Limits | None = None) -> LimitsDesk:
    store = open_store(folder, quota=10 * MB)
    return LimitsDesk(folder, limits or Limits(quota_bytes=10 * MB), store, Throttle(), InlineBlocking())


async def test_a_quota_changes_at_once_and_removes_nothing(tmp_path: Path) -> None:
    limits, segments = desk(tmp_path), [sample(number) for number in range(3)]
    store = limits._store
    put(store, segments[0], 0)
    used = store.used_bytes
    await limits.change({"quota_bytes": used})
    assert (store.used_bytes, store.free_bytes, store.depositors.quota_bytes) == (used, 0, used)
    with pytest.raises(Refusal) as caught:
        put(store, segments[1], 0)
    assert caught.value.code is ErrorCode.FULL
    await limits.change({"quota_bytes": 20 * MB})
    assert store.free_bytes > 18 * MB
    put(store, segments[2], 0)
    store.close()


async def test_shares_are_of_the_new_quota(tmp_path: Path) -> None:
    limits = desk(tmp_path)
    limits._store._puts.shares._depositor = 0.5
    await limits.change({"quota_bytes": 300_000})
    with pytest.raises(Refusal, match="may take 50% of this node's quota"):
        put(limits._store, sample(), 0)
    limits._store.close()


async def test_what_was_changed_is_kept_and_nothing_else(tmp_path: Path) -> None:
    limits = desk(tmp_path)
    assert read_kept(tmp_path) == {}
    await limits.change({"up_bytes_per_second": 2 * MB})
    await limits.change({"quota_bytes": 0})
    assert limits.limits == Limits(quota_bytes=0, up_bytes_per_second=2 * MB)
    path = tmp_path / LIMITS_FILE
    assert json.loads(path.read_bytes()) == {"version": 1, "up_bytes_per_second": 2 * MB, "quota_bytes": 0}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await limits.change({"up_bytes_per_second": None})
    assert read_kept(tmp_path) == {"up_bytes_per_second": None, "quota_bytes": 0}
    limits._store.close()


@pytest.mark.parametrize(
    "wanted",
    [
        {"quota_bytes": -1},
        {"quota_bytes": None},
        {"quota_bytes": MOST_BYTES + 1},
        {"quota_bytes": True},
        {"quota_bytes": 1.5},
        {"quota_bytes": "10GB"},
        {"up_bytes_per_second": MIN_BYTES_PER_SECOND - 1},
        {"down_bytes_per_second": 0},
        {"version": 1},
        {"quota_bytes": 5, "x": 1},
    ],
)
async def test_what_is_no_limit_changes_nothing(tmp_path: Path, wanted: dict[str, object]) -> None:
    limits = desk(tmp_path)
    with pytest.raises(ConfigError):
        await limits.change(wanted)
    assert limits.limits == Limits(quota_bytes=10 * MB)
    assert limits._store.depositors.quota_bytes == 10 * MB
    assert not (tmp_path / LIMITS_FILE).exists()
    limits._store.close()


async def test_a_disk_that_does_not_take_them_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = desk(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("node.serving.limits.write_private", full)
    with pytest.raises(MachineError, match="cannot write the limits: No space left"):
        await limits.change({"quota_bytes": 5})
    assert limits._store.depositors.quota_bytes == limits.limits.quota_bytes == 10 * MB
    limits._store.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"version": 2, "quota_bytes": 5}',
        b'{"version": 1, "quota_bytes": -5}',
        b'{"version": 1, "up_bytes_per_second": 1}',
        b'{"version": 1, "other": 1}',
        b"[" * 4000,
        b'{"version": 1}' + b" " * 5000,
        b"1" * 4096,
    ],
)
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LIMITS_FILE).write_bytes(content)
    with pytest.raises(MachineError, match="limits is damaged: ") as caught:
        read_kept(tmp_path)
    assert caught.value.hint is not None


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / LIMITS_FILE).mkdir()
    with pytest.raises(MachineError, match="cannot read the limits"):
        read_kept(tmp_path)


async def test_they_survive_a_restart_but_for_what_the_command_line_says(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as it:
        config = it.config(1)
        config.data.mkdir()
        limits = desk(config.data)
        await limits.change({"quota_bytes": 7 * MB, "up_bytes_per_second": MB, "down_bytes_per_second": None})
        limits._store.close()
        started = replace(config, down_bytes_per_second=2 * MB).with_kept()
        assert started.limits == Limits(quota_bytes=7 * MB, up_bytes_per_second=MB)
        node = await it.start(started)
        assert node.info.quota_bytes == 7 * MB
        await it.end(node)
        given = replace(config, given=frozenset({"quota_bytes"})).with_kept()
        assert given.limits == Limits(quota_bytes=config.quota_bytes, up_bytes_per_second=MB)


# Traffic


async def test_without_limits_the_system_is_used_directly() -> None:
    listener, address = await Throttle().around(SystemTransport()).listen(Address("127.0.0.1", 0))
    async with listener, await SystemTransport().dial(address), await listener.accept() as near:
        assert isinstance(near, ThrottledStream)
        assert near.sender is near.receiver is near._stream


async def test_limits_within_others_that_are_none(mock_clock: MockClock) -> None:
    """As a caretaker's, in a node without: who waits for bytes takes none of the rate, and little comes ahead of us."""
    ours = limited(Throttle().around(SystemTransport()), up=None, down=RATE)
    listener, address = await ours.listen(Address("127.0.0.1", 0))
    async with listener:
        far = await SystemTransport().dial(address)
        near = await listener.accept()
    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(near.receive_some)
        await wait_all_tasks_blocked(0.01)
        assert isinstance(near, ThrottledStream)
        assert near._down._all.level() == 0.15 * RATE
        assert isinstance(near._stream, ThrottledStream)
        assert isinstance(near._stream._stream, trio.SocketStream)
        assert near._stream._stream.getsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF) <= 65_536
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("up", [True, False])
async def test_a_limit_holds_at_once_for_what_is_open(autojump_clock: MockClock, up: bool) -> None:
    throttle, net = Throttle(), MemoryNetwork(delay=0.005)
    ours, theirs, log = throttle.around(net.host(OURS.host)), net.host(THEIRS.host), Log()
    listener, _ = await theirs.listen(THEIRS)
    async with listener:
        near, far = await ours.dial(THEIRS), await listener.accept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_on, far if up else near, log)
        async with trio.open_nursery() as sending:
            sending.start_soon(send_on, near if up else far)
            for rate in (RATE, MIN_BYTES_PER_SECOND, RATE // 2):
                throttle.set(up=rate if up else None, down=None if up else rate)
                await trio.sleep(1)
                began = trio.current_time()
                await trio.sleep(WINDOW)
                assert near_the_rate(log.windows(began, began + WINDOW), rate), rate
            throttle.set(up=None, down=None)
            began = trio.current_time()
        assert trio.current_time() < began + 1, "what was left took no time"
        nursery.cancel_scope.cancel()


async def test_a_limit_that_comes_over_real_sockets() -> None:
    """The system had been told to wait for many bytes: with a limit, each piece counts, the last small one as well."""
    throttle = Throttle()
    listener, address = await throttle.around(SystemTransport()).listen(Address("127.0.0.1", 0))
    async with listener:
        far = await SystemTransport().dial(address)
        near = await listener.accept()
    intake, size = Intake(near), 30_000_000
    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(far.send_all, bytes(size))
        left = size
        while intake._waits_for == 1 and left > size // 2:
            left -= len(await intake.receive(left))
        assert intake._waits_for > 1, "else this shows nothing"
        throttle.set(up=None, down=500_000_000)
        with trio.fail_after(10):
            while left:
                left -= len(await intake.receive(left))
            await far.send_all(b"x")
            assert bytes(await intake.receive(100_000)) == b"x"
