"""A manifest by its paths."""

from hypothesis import given
from hypothesis import strategies as st

from node.reading.tree import children, file_at, find, only_file
from protocol.manifest import Entry, Kind, Manifest


def manifest_of(paths: dict[bytes, Kind | bytes]) -> Manifest:
    """Entries by path; a symbolic link by its target."""
    made = [
        Entry(path=path, kind=Kind.SYMLINK, target=kind) if isinstance(kind, bytes) else Entry(path=path, kind=kind)
        for path, kind in sorted(paths.items())
    ]
    manifest = Manifest(entries=tuple(made))
    manifest.encode()
    return manifest


TREE = manifest_of(
    {
        b"a": Kind.FOLDER,
        b"a-b": Kind.FILE,
        b"a/b": Kind.FOLDER,
        b"a/b-c": Kind.FILE,
        b"a/b.d": Kind.FOLDER,
        b"a/b.d/x": Kind.FILE,
        b"a/b/c": Kind.FOLDER,
        b"a/b/c/d": Kind.FILE,
        b"a/b0": Kind.FILE,
        b"a/circle": b"circle",
        b"a/dir": b"b",
        b"a/far": b"b/c/.//d",
        b"a/gone": b"nothing",
        b"a/through": b"far",
        b"a/b/up": b"../b0",
        b"z": Kind.FILE,
    }
)


def names(folder: bytes) -> list[bytes]:
    return [TREE.entries[index].path for index in children(TREE, folder)]


def test_what_is_in_a_folder_itself() -> None:
    assert names(b"") == [b"a", b"a-b", b"z"]
    links = [b"a/circle", b"a/dir", b"a/far", b"a/gone", b"a/through"]
    assert names(b"a") == [b"a/b", b"a/b-c", b"a/b.d", b"a/b0", *links]
    assert names(b"a/b") == [b"a/b/c", b"a/b/up"]
    assert names(b"a/b/c/d") == names(b"nothing") == names(b"a/") == []


def test_one_entry() -> None:
    for index, entry in enumerate(TREE.entries):
        assert find(TREE, entry.path) == index
    for missing in (b"", b"a/", b"/a", b"b", b"zz", b"a/b/c/d/e"):
        assert find(TREE, missing) is None


def test_where_symbolic_links_lead() -> None:
    def leads(path: bytes) -> bytes | None:
        index = find(TREE, path)
        assert index is not None
        found = file_at(TREE, index)
        return None if found is None else TREE.entries[found].path

    assert leads(b"a/far") == leads(b"a/through") == b"a/b/c/d"
    assert leads(b"a/b/up") == b"a/b0"
    assert leads(b"z") == b"z"
    assert leads(b"a/circle") is leads(b"a/gone") is leads(b"a/dir") is leads(b"a") is None


def test_a_deposit_of_one_file() -> None:
    assert only_file(manifest_of({b"x": Kind.FILE})) == 0
    assert only_file(manifest_of({b"x": Kind.FOLDER})) is None
    assert only_file(TREE) is None


@given(st.sets(st.lists(st.sampled_from([b"a", b"b", b"a.", b"a0", b"\xff"]), min_size=1, max_size=4).map(tuple)))
def test_all_of_any_tree_is_found_by_walking(found: set[tuple[bytes, ...]]) -> None:
    kinds: dict[bytes, Kind | bytes] = {b"top": Kind.FOLDER}
    for steps in found:
        kinds.setdefault(b"/".join((b"top", *steps)), Kind.FILE)
        for depth in range(1, len(steps)):
            kinds[b"/".join((b"top", *steps[:depth]))] = Kind.FOLDER
    manifest = manifest_of(kinds)
    walked, waiting = [], [b""]
    while waiting:
        for index in children(manifest, waiting.pop()):
            walked.append(index)
            waiting.append(manifest.entries[index].path)
    assert sorted(walked) == list(range(len(manifest.entries)))
