"""What is remembered of a sync (node/syncing/state.py): exactly what was written, or nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import MachineError
from node.syncing import state as state_module
from node.syncing.plan import Item
from node.syncing.state import Base, Known, SyncState
from protocol.ids import PublicKey
from protocol.manifest import Kind

BASE = Base(
    {
        b"d": Known(Item(Kind.FOLDER, mtime_ns=-1)),
        b"d/\xff": Known(Item(Kind.FILE, 2**63, 2**63 - 1, True), -(2**63), b"h" * 32),
        b"l": Known(Item(Kind.SYMLINK, 0, 1, False, b"d"), 2**63 - 1),
    },
    b"v" * 16,
)
NONE = Base({}, b"")
MARK = b"m" * 24


@pytest.fixture
def state(tmp_path: Path) -> SyncState:
    return SyncState(tmp_path, PublicKey(b"a" * 32), Path("/srv/photos"), b"photos")


def test_what_was_written_is_read(state: SyncState) -> None:
    assert state.read(MARK) is None
    state.write(MARK, BASE)
    assert state.read(MARK) == BASE
    state.write(MARK, NONE)
    assert state.read(MARK) == NONE


def test_only_its_owner_may_read_it(state: SyncState) -> None:
    state.write(MARK, BASE)
    assert state.path.stat().st_mode & 0o777 == 0o600
    assert state.path.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in state.path.parent.iterdir()] == [state.path.name]


def test_every_folder_account_and_path_has_its_own(state: SyncState) -> None:
    state.write(MARK, BASE)
    assert state.read(b"n" * 24) is None
    assert state.read(None) is None
    for other in (
        replace(state, account=PublicKey(b"b" * 32)),
        replace(state, folder=Path("/srv/other")),
        replace(state, drive_path=b"other"),
    ):
        assert other.path != state.path
        assert other.read(MARK) is None
        other.path.write_bytes(state.path.read_bytes())  # put there by mistake
        assert other.read(MARK) is None


def test_damaged_it_is_none(state: SyncState) -> None:
    state.write(MARK, BASE)
    good = state.path.read_bytes()
    for number in range(0, len(good), 3):
        state.path.write_bytes(good[:number] + bytes([good[number] ^ 1]) + good[number + 1 :])
        assert state.read(MARK) is None
        state.path.write_bytes(good[:number])
        assert state.read(MARK) is None
    state.path.write_bytes(good + b"x")
    assert state.read(MARK) is None


def test_too_large_it_is_none(state: SyncState, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write(MARK, BASE)
    monkeypatch.setattr(state_module, "MAX_STATE_BYTES", state.path.stat().st_size - 1)
    assert state.read(MARK) is None


def test_a_write_that_was_killed_is_cleared_away(state: SyncState) -> None:
    state.write(MARK, BASE)
    state.path.with_name(f".{state.path.name}.0123456789abcdef.part").write_bytes(b"half")
    assert state.read(MARK) == BASE
    state.write(MARK, NONE)
    assert [path.name for path in state.path.parent.iterdir()] == [state.path.name]


def test_a_disk_that_says_no(state: SyncState) -> None:
    state.path.parent.write_bytes(b"a file")
    with pytest.raises(MachineError, match="cannot write"):
        state.write(MARK, BASE)
    with pytest.raises(MachineError, match="cannot read"):
        state.read(MARK)


@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=30),
        st.builds(
            Known,
            st.builds(
                Item,
                st.sampled_from(Kind),
                st.integers(0, 2**63),
                st.integers(-(2**63), 2**63 - 1),
                st.booleans(),
                st.binary(max_size=30),
            ),
            st.integers(-(2**63), 2**63 - 1),
            st.binary(max_size=32),
        ),
        max_size=5,
    )
)
def test_any_listing_is_kept(tmp_path_factory: pytest.TempPathFactory, base: dict[bytes, Known]) -> None:
    state = SyncState(tmp_path_factory.getbasetemp(), PublicKey(b"a" * 32), Path("/srv"), b"")
    state.write(MARK, Base(base, b"v"))
    assert state.read(MARK) == Base(base, b"v")
