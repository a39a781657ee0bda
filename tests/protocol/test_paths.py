"""Which paths and link targets a manifest may hold, and that obeying the rules keeps links inside."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.paths import MAX_PATH_BYTES, path_problem, target_problem


@pytest.mark.parametrize(
    "path",
    [
        b"a",
        b"a/b",
        b"...",
        b"a/..b/.c",
        b"\xff\xfe",
        b" ",
        b"a\\..\\b",
        b"x" * 255,
        (b"x" * 204 + b"/") * 19 + b"y",
        b"d/" * 255 + b"f",
    ],
)
def test_paths_that_are_allowed(path: bytes) -> None:
    assert path_problem(path) is None


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/",
        b"/etc/passwd",
        b"a/",
        b"a//b",
        b".",
        b"a/.",
        b"./a",
        b"..",
        b"../a",
        b"a/../b",
        b"a/..",
        b"a\0b",
        b"x" * 256,
        b"a/" + b"x" * 256,
        (b"x" * 255 + b"/") * 16 + b"y",
        b"d/" * 256 + b"f",
    ],
)
def test_paths_that_are_not(path: bytes) -> None:
    assert path_problem(path) is not None


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"t/l", b"a"),
        (b"t/l", b"."),
        (b"t/l", b"./a//b/"),
        (b"t/l", b"..."),
        (b"t/a/l", b".."),
        (b"t/a/l", b"../b"),
        (b"t/a/b/l", b".././../c"),
    ],
)
def test_targets_that_are_allowed(path: bytes, target: bytes) -> None:
    assert target_problem(path, target) is None


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"t/l", b""),
        (b"t/l", b"x" * (MAX_PATH_BYTES + 1)),
        (b"t/l", b"/"),
        (b"t/l", b"/t/a"),
        (b"t/l", b"a\0"),
        (b"t/l", b".."),
        (b"t/l", b"../t/a"),
        (b"t/a/l", b"../.."),
        (b"t/a/l", b"b/.."),
        (b"t/a/l", b"../b/../c"),
        (b"l", b"a"),
        (b"l", b"."),
    ],
)
def test_targets_that_are_not(path: bytes, target: bytes) -> None:
    assert target_problem(path, target) is not None


names = st.sampled_from((b"a", b"b", b"c"))
targets = st.lists(st.sampled_from((b"..", b".", b"", b"a", b"b", b"c")), min_size=1, max_size=6).map(b"/".join)


@given(st.dictionaries(st.lists(names, min_size=1, max_size=3).map(tuple), targets, min_size=1, max_size=8))
def test_links_that_obey_the_rules_lead_nowhere_else(tree: dict[tuple[bytes, ...], bytes]) -> None:
    """On a real file system, with links through links: whatever the rules allow stays inside."""
    with TemporaryDirectory() as folder:
        top = Path(folder).resolve() / "deposit" / "top"
        top.mkdir(parents=True)
        links = []
        for components, target in sorted(tree.items()):
            path = b"top/" + b"/".join(components)
            place = top.joinpath(*map(os.fsdecode, components))
            parents = [parent for parent in place.parents if parent.is_relative_to(top)]
            if any(parent.is_symlink() for parent in parents) or target_problem(path, target) is not None:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists() and not place.is_symlink():
                place.symlink_to(os.fsdecode(target))
                links.append(place)
        for link in links:
            try:
                os.path.realpath(link, strict=True)
            except OSError as exc:
                if exc.errno == errno.ELOOP:
                    continue  # leads nowhere at all
            resolved = Path(os.path.realpath(link))
            assert resolved == top or resolved.is_relative_to(top)
