"""Numbers, dates, names and what a deposit survives, in a person's words."""

import time

import pytest

from node.cli.output import survival_text
from node.cli.text import clock_text, date_text, size_text, visible
from node.config import parse_duration, parse_size, split_host_port
from node.keeping.survival import Survival, survival_fields


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (300_000, "300.0 kB"),
        (64_100_000, "64.1 MB"),
        (10**9, "1.0 GB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("50GB", 50 * 10**9),
        ("512MiB", 512 << 20),
        ("1.5TB", 1_500_000_000_000),
        ("1000000", 1_000_000),
        (" 2 kb ", 2000),
        ("0", 0),
    ],
)
def test_parsing_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("12h", 43_200), ("180d", 15_552_000), ("2w", 1_209_600), ("1000y", 31_536_000_000)],
)
def test_parsing_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "parts"),
    [("host:1", ("host", 1)), ("127.0.0.1:65535", ("127.0.0.1", 65535)), ("[::1]:0", ("::1", 0)), ("[a]:5", ("a", 5))],
)
def test_splitting_addresses(text: str, parts: tuple[str, int]) -> None:
    assert split_host_port(text) == parts


def test_dates() -> None:
    now = int(time.time())
    assert date_text(now + 180 * 86_400).endswith(" (in 180 days)")
    assert date_text(now + 5 * 3600).endswith(" (in 5 hours)")
    assert date_text(0) == "1970-01-01 (expired)"
    assert date_text(2**63).startswith("9999-12-31 ")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("naïve 日本 🌋", "naïve 日本 🌋"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("latin\udce9", "latin\\udce9"),
        ("right\u202eto left", "right\\u202eto left"),
        ("\x7f\x9b", "\\x7f\\x9b"),
    ],
)
def test_strangers_names(name: str, shown: str) -> None:
    assert visible(name) == shown


@pytest.mark.parametrize(
    ("survives", "text"),
    [
        (Survival(-1, (), ("FR",)), "it cannot be read now: some segment has fewer than k live chunks"),
        (Survival(0, (), ()), "it survives the loss of no node; no holder claims a country"),
        (Survival(1, (), ("FR",)), "it survives the loss of any 1 node, but NOT the loss of (claimed) country FR"),
        (
            Survival(4, ("DE", "FR"), ()),
            "it survives the loss of any 4 nodes, and of any one (claimed) country of DE, FR",
        ),
        (
            Survival(2, ("DE",), ("FR", "NZ")),
            "it survives the loss of any 2 nodes, but NOT the loss of either of the (claimed) countries FR and NZ; "
            "it survives that of DE",
        ),
        (
            Survival(1, ("DE", "IS"), ("FR", "GB", "NZ")),
            "it survives the loss of any 1 node, but NOT the loss of any one of the (claimed) countries FR, GB, NZ; "
            "it survives that of either of DE and IS",
        ),
    ],
)
def test_what_a_deposit_survives(survives: Survival, text: str) -> None:
    assert survival_text(survives) == text
    assert survival_fields(survives) == {
        "nodes": survives.nodes,
        "country": survives.country,
        "not_country": survives.not_country,
    }


def test_a_moment_is_told_to_the_minute_and_ends_with_the_year_9999() -> None:
    assert clock_text(1_700_000_000) == "2023-11-14 22:13 UTC"
    for far in (253_402_300_800, 2**64 - 1):
        assert clock_text(far) == "9999-12-31 23:59 UTC"
