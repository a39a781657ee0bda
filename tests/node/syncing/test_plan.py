"""The plan of a sync (node/syncing/plan.py): nothing is lost, and both sides are equal in the end."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from node.errors import RefusedError
from node.syncing.plan import Item, Listing, Plan, kept_path, make_plan, same
from protocol.manifest import Kind

FOLDER = Item(Kind.FOLDER)
DAY_NS = 86_400 * 10**9


def file(version: int = 1, *, executable: bool = False) -> Item:
    return Item(Kind.FILE, size=version, mtime_ns=version * DAY_NS, executable=executable)


def link(target: bytes) -> Item:
    return Item(Kind.SYMLINK, target=target)


NAMES = (b"a", b"b", b"a (from the drive, 1970-01-02)", b"a (from the drive, 1970-01-01)")
LEAVES = (file(1), file(2), file(3), file(1, executable=True), link(b"a"), link(b"b"))


@st.composite
def listings(draw: st.DrawFn, depth: int = 3) -> dict[bytes, Item]:
    """Trees over few names and few contents, so that sides agree, differ and get in each other's way."""
    found: dict[bytes, Item] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3)):
        if depth > 1 and draw(st.booleans()):
            found[name] = FOLDER
            found |= {name + b"/" + path: item for path, item in draw(listings(depth - 1)).items()}
        else:
            found[name] = draw(st.sampled_from(LEAVES))
    return found


@st.composite
def changed(draw: st.DrawFn, base: dict[bytes, Item]) -> dict[bytes, Item]:
    """``base`` after somebody worked in it."""
    found = dict(base)
    for path in draw(st.lists(st.sampled_from(sorted(base)), max_size=3)) if base else ():
        for gone in [other for other in found if other == path or other.startswith(path + b"/")]:
            del found[gone]
        if b"/" not in path or found.get(path.rpartition(b"/")[0]) is FOLDER:
            found |= draw(st.sampled_from(({}, {path: file(4)}, {path: FOLDER, path + b"/b": file(5)})))
    folders = [path for path, item in found.items() if item is FOLDER]
    for path in draw(st.lists(st.sampled_from(folders), max_size=2)) if folders else ():
        found.setdefault(path + b"/new", draw(st.sampled_from(LEAVES)))
    return found


@st.composite
def states(draw: st.DrawFn) -> tuple[dict[bytes, Item], dict[bytes, Item], dict[bytes, Item]]:
    """A base, and two sides that come of it, or of nothing known."""
    base = draw(listings())
    sides = st.one_of(listings(), changed(base))
    return draw(st.one_of(st.just(base), st.just({}))), draw(sides), draw(sides)


def steps(plan: Plan, here: Listing, there: Listing) -> list[dict[bytes, Item]]:
    """What is here after each step of the plan, checking that each could be done on a disk."""
    found = dict(here)
    course = [dict(found)]
    for path in plan.remove:
        assert not any(other.startswith(path + b"/") for other in found)
        del found[path]
        course.append(dict(found))
    for path in plan.folders:
        assert path not in found
        found[path] = FOLDER
        course.append(dict(found))
    for place, path in plan.down.items():
        assert found.get(place, file()).kind is not Kind.FOLDER
        found[place] = there[path]
        course.append(dict(found))
    return course


def equal(one: Listing, other: Listing) -> bool:
    return one.keys() == other.keys() and all(same(one[path], other[path]) for path in one)


def is_tree(listing: Listing) -> bool:
    parents = (path.rpartition(b"/")[0] for path in listing)
    return all(not parent or listing[parent].kind is Kind.FOLDER for parent in parents)


def contents(listing: Listing) -> Counter[Item]:
    return Counter(item for item in listing.values() if item.kind is not Kind.FOLDER)


@given(states())
def test_both_sides_are_equal_in_the_end(state: tuple[Listing, Listing, Listing]) -> None:
    base, here, there = state
    plan = make_plan(base, here, there)
    assert is_tree(plan.result)
    assert equal(steps(plan, here, there)[-1], plan.result)
    up = {path: item for path, item in there.items() if path not in plan.remove_there}
    up |= {path: plan.result[path] for path in plan.up}
    assert equal(up, plan.result)


@given(states())
def test_nothing_is_lost_but_what_the_other_side_gave_up(state: tuple[Listing, Listing, Listing]) -> None:
    base, here, there = state
    plan = make_plan(base, here, there)
    for path, item in here.items():
        if not same(item, base.get(path)) or same(item, there.get(path)):
            assert same(plan.result.get(path), item)
    places = {path: place for place, path in plan_origins(plan, there).items()}
    for path, item in there.items():
        if not same(item, base.get(path)) or same(item, here.get(path)):
            assert same(plan.result.get(places.get(path, path)), item)
    for path, item in plan.result.items():  # nor is anything made up, or given up things taken back
        assert item in here.values() or item in there.values() or item.kind is Kind.FOLDER
        if item.kind is not Kind.FOLDER and same(item, base.get(path)):
            assert (same(item, here.get(path)) and same(item, there.get(path))) or path in plan.kept.values()


def plan_origins(plan: Plan, there: Listing) -> dict[bytes, bytes]:
    """Place -> path there, of what is kept beside its own path and what lies in it."""
    moved: dict[bytes, bytes] = {}
    for path in sorted(there):
        parent, _, name = path.rpartition(b"/")
        place = plan.kept.get(path)
        if place is None and parent in moved.values():
            (folder,) = [place for place, origin in moved.items() if origin == parent]
            place = folder + b"/" + name
        if place is not None:
            moved[place] = path
    return moved


@given(states())
def test_without_a_base_nothing_goes(state: tuple[Listing, Listing, Listing]) -> None:
    _, here, there = state
    plan = make_plan({}, here, there)
    assert not plan.remove
    for path in plan.remove_there:  # it is kept beside, in a folder whose path a file of ours has
        assert any(path.startswith(folder + b"/") for folder in plan.kept)
    assert not contents(here) - contents(plan.result)
    assert not contents(there) - contents(plan.result)


@given(states())
def test_again_it_does_nothing(state: tuple[Listing, Listing, Listing]) -> None:
    result = make_plan(*state).result
    for base in (result, {}, state[0]):
        plan = make_plan(base, result, result)
        assert plan.result == result
        assert not (plan.remove or plan.folders or plan.down or plan.kept or plan.up or plan.remove_there)


@given(states())
def test_neither_side_is_the_master(state: tuple[Listing, Listing, Listing]) -> None:
    """But for the name of what is kept twice."""
    base, here, there = state
    plan, mirrored = make_plan(base, here, there), make_plan(base, there, here)
    assert contents(plan.result) == contents(mirrored.result)
    assert bool(plan.kept) == bool(mirrored.kept)
    if not plan.kept:
        assert equal(plan.result, mirrored.result)
        assert set(plan.up) == {*mirrored.folders, *mirrored.down}


@given(states(), st.data())
def test_cut_off_anywhere_it_is_completed_by_the_next(
    state: tuple[Listing, Listing, Listing], data: st.DataObject
) -> None:
    """The base is still the old one then, and some of the drive's files have come down."""
    base, here, there = state
    plan = make_plan(base, here, there)
    cut = data.draw(st.sampled_from(steps(plan, here, there)))
    again = make_plan(base, cut, there)
    assert equal(again.result, plan.result)


@pytest.mark.parametrize(
    ("base", "here", "there", "result"),
    [
        (1, 1, 1, 1),
        (1, 2, 1, 2),
        (1, 1, 2, 2),
        (1, 2, 2, 2),
        (0, 1, 0, 1),
        (0, 0, 1, 1),
        (1, 0, 1, 0),
        (1, 1, 0, 0),
        (1, 0, 0, 0),
        (1, 0, 2, 2),
        (1, 2, 0, 2),
    ],
)
def test_one_file(base: int, here: int, there: int, result: int) -> None:
    """By version; 0: there is none."""
    plan = make_plan(*({b"f": file(version)} if version else {} for version in (base, here, there)))
    assert plan.result == ({b"f": file(result)} if result else {})
    assert not plan.kept
    assert plan.down == ({b"f": b"f"} if result not in (0, here) else {})
    assert plan.remove == ((b"f",) if here and not result else ())
    assert plan.up == ((b"f",) if result not in (0, there) else ())
    assert plan.remove_there == ((b"f",) if there and not result else ())


def test_a_file_that_both_changed_is_kept_twice() -> None:
    plan = make_plan(
        {b"d": FOLDER, b"d/f.tar": file(1)}, {b"d": FOLDER, b"d/f.tar": file(2)}, {b"d": FOLDER, b"d/f.tar": file(3)}
    )
    beside = b"d/f (from the drive, 1970-01-04).tar"
    assert plan.result == {b"d": FOLDER, b"d/f.tar": file(2), beside: file(3)}
    assert plan.kept == {b"d/f.tar": beside}
    assert plan.down == {beside: b"d/f.tar"}
    assert plan.up == (beside, b"d/f.tar")


def test_a_folder_that_became_a_file_here_and_was_worked_in_there() -> None:
    base = {b"x": FOLDER, b"x/old": file(1), b"x/a": file(1)}
    plan = make_plan(base, {b"x": file(5)}, base | {b"x/a": file(2)})
    beside = b"x (from the drive, 1970-01-01)"
    assert plan.result == {b"x": file(5), beside: FOLDER, beside + b"/a": file(2)}


def test_a_file_that_became_a_folder_there_and_was_written_to_here() -> None:
    plan = make_plan({b"x": file(1)}, {b"x": file(2)}, {b"x": FOLDER, b"x/a": file(3)})
    beside = b"x (from the drive, 1970-01-01)"
    assert plan.result == {b"x": file(2), beside: FOLDER, beside + b"/a": file(3)}
    assert plan.folders == (beside,)
    assert plan.down == {beside + b"/a": b"x/a"}


def test_a_folder_deleted_on_one_side_stays_around_what_is_new_in_it() -> None:
    base = {b"x": FOLDER, b"x/old": file(1)}
    plan = make_plan(base, base | {b"x/new": file(2)}, {})
    assert plan.result == {b"x": FOLDER, b"x/new": file(2)}
    assert plan.remove == (b"x/old",)
    assert plan.up == (b"x", b"x/new")


def test_the_time_of_folders_and_links_does_not_count() -> None:
    here = {b"d": FOLDER._replace(mtime_ns=1), b"l": link(b"t")._replace(mtime_ns=1)}
    plan = make_plan({}, here, {b"d": FOLDER, b"l": link(b"t")})
    assert not (plan.up or plan.down or plan.folders or plan.remove)


@pytest.mark.parametrize(
    ("path", "item", "number", "kept"),
    [
        (b"f.txt", file(1), 1, b"f (from the drive, 1970-01-02).txt"),
        (b"f.txt", file(1), 3, b"f (from the drive, 1970-01-02, 3).txt"),
        (b"d.d/f", FOLDER, 1, b"d.d/f (from the drive, 1970-01-01)"),
        (b"d.d", FOLDER, 1, b"d.d (from the drive, 1970-01-01)"),
        (b".rc", file(1), 1, b".rc (from the drive, 1970-01-02)"),
        (b"\xff.\xfe", file(1), 1, b"\xff (from the drive, 1970-01-02).\xfe"),
        (b"x" * 255, file(1), 1, b"x" * 226 + b" (from the drive, 1970-01-02)"),
        ("ü".encode() * 127, file(1), 1, "ü".encode() * 113 + b" (from the drive, 1970-01-02)"),
        (b"x." + b"y" * 253, file(1), 1, b"x." + b"y" * 224 + b" (from the drive, 1970-01-02)"),
        (b"f", Item(Kind.FILE, mtime_ns=2**63 - 1), 1, b"f (from the drive, 2262-04-11)"),
        (b"f", Item(Kind.FILE, mtime_ns=-(2**63)), 1, b"f (from the drive, 1677-09-21)"),
    ],
)
def test_the_name_it_is_kept_under(path: bytes, item: Item, number: int, kept: bytes) -> None:
    assert kept_path(path, item, number) == kept


def test_a_path_too_long_to_keep_twice_is_refused() -> None:
    with pytest.raises(RefusedError, match="too long for keeping both"):
        kept_path(b"/".join([b"d" * 200] * 19) + b"/f", file(1))


@example(({}, {b"a": file(1)}, {b"a": file(2), b"a (from the drive, 1970-01-03)": file(3)}))
@given(states())
def test_what_is_kept_takes_nobodys_name(state: tuple[Listing, Listing, Listing]) -> None:
    base, here, there = state
    plan = make_plan(base, here, there)
    assert len(set(plan.kept.values())) == len(plan.kept)
    for place in plan.kept.values():
        assert place not in there
        assert place not in here or same(here[place], plan.result[place])
