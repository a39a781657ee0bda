"""The parts of reading by link that need no network: pieces of a stream, aliases, work that is shared, what is kept."""

from dataclasses import replace
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from node.account.agent import end_agent, start_agent
from node.account.vault import Vault
from node.errors import NotFoundError, RefusedError
from node.home import Home
from node.reading.aliases import Aliases, is_alias
from node.reading.filesystem import MOST_AHEAD_BYTES, AheadCache
from node.reading.opened import FIRST_PIECE_BYTES, MOST_PIECE_BYTES, pieces
from node.reading.sealed import unsealed
from node.reading.together import Together
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind, seal_link
from protocol.segment import BLOCK_BYTES
from tests.e2e.test_accounts import CHEAP, PASSPHRASE
from tests.strategies import STRANGER
from tests.vectors.make_account import KEYS

READ = Link(LinkKind.READ, SegmentId(bytes(32)), bytes(32))


@given(st.integers(0, 2**34), st.integers(0, 2**27))
def test_pieces_of_a_stream(start: int, size: int) -> None:
    """They are the whole; the first is short; each lies in one column, or two, of a full segment."""
    cut = list(pieces(start, start + size))
    assert [at for at, _ in cut] == ([start, *(end for _, end in cut[:-1])] if size else [])
    assert not size or cut[-1][1] == start + size
    assert all(0 < end - at <= MOST_PIECE_BYTES for at, end in cut)
    assert all(at // MOST_PIECE_BYTES == (end - 1) // MOST_PIECE_BYTES for at, end in cut)
    assert not size or cut[0][1] - start <= FIRST_PIECE_BYTES
    assert len(cut) <= 6 + size // MOST_PIECE_BYTES


def test_an_alias_stands_for_a_link_and_opens_nothing() -> None:
    aliases = Aliases(most=2)
    links = [replace(READ, key=bytes([number]) * 32) for number in range(3)]
    names = [aliases.name(link) for link in links[:2]]
    assert names[0] != names[1]
    assert all(map(is_alias, names))
    assert not is_alias(str(READ))
    assert aliases.link(names[0]) == links[0]
    assert aliases.name(links[0]) == names[0] == Aliases().name(links[0]), "the same everywhere"
    aliases.name(links[2])
    assert aliases.known() == [links[0], links[2]]
    assert aliases.link(names[1]) is None, "named longest ago"


@given(st.lists(st.tuples(st.integers(0, 40 * BLOCK_BYTES), st.integers(0, 3 * BLOCK_BYTES)), max_size=12))
def test_what_is_read_ahead_is_what_is_there(reads: list[tuple[int, int]]) -> None:
    content = bytes(range(251)) * (37 * BLOCK_BYTES // 251)
    asked: list[tuple[int, int]] = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return content[start:stop]

    cache = AheadCache(BLOCK_BYTES, fetch, len(content))
    for start, size in reads:
        assert cache._fetch(start, start + size) == content[start : start + size]
    assert all(start % BLOCK_BYTES == 0 and (stop % BLOCK_BYTES == 0 or stop == len(content)) for start, stop in asked)


def test_who_reads_on_is_read_ahead_for_and_who_jumps_is_not() -> None:
    asked: list[int] = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((stop - start) // BLOCK_BYTES)
        return bytes(stop - start)

    cache = AheadCache(BLOCK_BYTES, fetch, 2**40)
    for at in range(0, 40 * BLOCK_BYTES, 10_000):
        cache._fetch(at, at + 10_000)
    assert asked == [1, 2, 3, 5, 9, 17, 33][: len(asked)]
    assert len(asked) < 8
    asked.clear()
    for number in range(5):
        cache._fetch(number << 30, (number << 30) + 100)
    assert asked == [1] * 5
    for _ in range(40):
        cache._fetch(cache._end, cache._end + 10)
    assert max(asked) * BLOCK_BYTES <= MOST_AHEAD_BYTES + BLOCK_BYTES
    assert len(cache._data) <= MOST_AHEAD_BYTES + 2 * BLOCK_BYTES


async def test_work_that_several_want_is_done_once(autojump_clock: MockClock) -> None:
    together = Together[str, int]()
    done: list[str] = []
    results: list[object] = []

    async def work(fails: bool) -> int:
        await trio.sleep(1)
        done.append("done")
        if fails:
            raise NotFoundError("not there", hint="wait")
        return 7

    async def ask(fails: bool) -> None:
        try:
            results.append(await together.do("key", partial(work, fails)))
        except NotFoundError as exc:
            results.append((str(exc), exc.hint))

    for fails in (False, True):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask, fails)
    assert len(done) == 2
    assert results == [7] * 5 + [("not there", "wait")] * 5


async def test_who_is_cancelled_leaves_the_work_to_the_next(autojump_clock: MockClock) -> None:
    together = Together[str, int]()
    begun: list[str] = []

    async def work() -> int:
        begun.append("begun")
        await trio.sleep(1)
        return 7

    scope = trio.CancelScope()

    async def first() -> None:
        with scope:
            await together.do("key", work)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await wait_all_tasks_blocked()
        nursery.start_soon(together.do, "key", work)
        await wait_all_tasks_blocked()
        assert len(begun) == 1
        scope.cancel()
    assert len(begun) == 2


def test_a_sealed_link_is_opened_by_the_account_that_is_unlocked(tmp_path_factory: pytest.TempPathFactory) -> None:
    home, other = (Home(tmp_path_factory.mktemp(name)) for name in ("home", "other"))
    sealed = seal_link(READ, KEYS.identity.key, bytes(32))
    assert unsealed(other, READ) is READ
    with pytest.raises(RefusedError, match="this home has none"):
        unsealed(home, sealed)
    Vault.of(home).create(KEYS, PASSPHRASE, CHEAP)
    with pytest.raises(RefusedError, match="locked"):
        unsealed(home, sealed)
    start_agent(home, KEYS, 600)
    try:
        assert unsealed(home, sealed) == READ
        with pytest.raises(RefusedError, match="another account"):
            unsealed(home, seal_link(READ, STRANGER.key, bytes(32)))
    finally:
        end_agent(home)
