"""The map that ships with the page: every country is on it, small enough to be loaded, and drawn within its frame."""

import gzip
import json
import re
from typing import Any

import pytest

from node.web.files import STATIC
from scripts.make_map import CODES, UNCODED

PATH = re.compile(r"(M\d+ \d+l-?\d+(?:(?:-| )\d+)+z)+")
WORLD: dict[str, Any] = json.loads((STATIC / "map" / "world.json").read_bytes())


def test_every_country_has_an_outline_or_is_a_dot() -> None:
    codes = {CODES[at : at + 2] for at in range(0, len(CODES), 5)}
    assert len(codes) == 249
    assert set(WORLD["paths"]) | set(WORLD["dots"]) == codes | set(UNCODED.values())
    assert not set(WORLD["paths"]) & set(WORLD["dots"])
    assert set(WORLD["middles"]) == set(WORLD["paths"])


def test_places_are_within_the_frame() -> None:
    for x, y in [*WORLD["middles"].values(), *WORLD["dots"].values()]:
        assert 0 <= x <= WORLD["width"]
        assert 0 <= y <= WORLD["height"]


@pytest.mark.parametrize("code", ["", *WORLD["paths"]])
def test_an_outline_is_a_path_within_the_frame(code: str) -> None:
    path = WORLD["paths"][code] if code else WORLD["other"]
    assert PATH.fullmatch(path)
    for ring in path.split("z")[:-1]:
        x, y, *steps = map(int, re.findall(r"-?\d+", ring))
        assert len(steps) % 2 == 0
        for dx, dy in zip(steps[::2], steps[1::2], strict=True):
            x, y = x + dx, y + dy
            assert -1 <= x <= WORLD["width"] + 1
            assert -1 <= y <= WORLD["height"] + 1


def test_where_some_are() -> None:
    """West is left, north is up; what lies across the edge of the picture is drawn on both sides."""
    middles = WORLD["middles"]
    assert middles["US"][0] < middles["FR"][0] < middles["NZ"][0]
    assert middles["IS"][1] < middles["FR"][1] < middles["ZA"][1] < middles["NZ"][1] + 100
    starts = [int(x) for x in re.findall(r"M(\d+) ", WORLD["paths"]["RU"])]
    assert min(starts) < WORLD["width"] / 2 < max(starts)


def test_it_is_small() -> None:
    content = (STATIC / "map" / "world.json").read_bytes()
    assert len(content) < 45 * 1024
    assert len(gzip.compress(content, 9)) < 20 * 1024
