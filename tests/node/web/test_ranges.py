"""What an HTTP client asks of a body: one range of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from node.web.http.answers import HttpError
from node.web.http.ranges import asked_range
from tests.network.asking import scope_of


def asked(text: str, size: int) -> tuple[int, int] | None:
    scope = scope_of("/", "GET", {}) | {"headers": [(b"range", text.encode("utf-8", "surrogatepass"))]}
    return asked_range(Request(scope), size, '"tag"')


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=0-", 10, (0, 10)),
        ("bytes=3-5", 10, (3, 6)),
        ("bytes=3-999999999999999999", 10, (3, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-99", 10, (0, 10)),
        ("Bytes=1-2", 10, (1, 3)),
        ("bytes=5-3", 10, None),
        ("bytes=3-9999999999999999999", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("bytes=", 10, None),
        ("bytes=-", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=+1-2", 10, None),
        ("bytes=٣-٤", 10, None),
        ("blocks=0-1", 10, None),
        ("bytes 0-1", 10, None),
        ("", 10, None),
        ("bytes=" + "0" * 99 + "-", 10, None),
    ],
)
def test_a_range(text: str, size: int, expected: tuple[int, int] | None) -> None:
    assert asked(text, size) == expected


@pytest.mark.parametrize(("text", "size"), [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_beyond_the_end(text: str, size: int) -> None:
    with pytest.raises(HttpError) as told:
        asked(text, size)
    assert told.value.status == 416
    assert told.value.headers == {"Content-Range": f"bytes */{size}"}


@given(
    st.one_of(st.text(max_size=40), st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}", fullmatch=True)), st.integers(0, 99)
)
def test_any_text_is_a_range_inside_or_none(text: str, size: int) -> None:
    try:
        found = asked(text, size)
    except HttpError:
        return
    assert found is None or 0 <= found[0] < found[1] <= size
