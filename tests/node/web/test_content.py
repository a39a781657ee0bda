"""What an HTTP client asks of a file's bytes, and what a file is called and taken for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.web.answers import HttpError
from node.web.content import _disposition, content_type, parse_range


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=0-", 10, (0, 10)),
        ("bytes=3-5", 10, (3, 6)),
        ("bytes=3-99999999999999999999", 10, (3, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-99", 10, (0, 10)),
        ("Bytes = 1 - 2", 10, (1, 3)),
        ("bytes=5-3", 10, None),
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
    assert parse_range(text, size) == expected


@pytest.mark.parametrize(("text", "size"), [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_beyond_the_end(text: str, size: int) -> None:
    with pytest.raises(HttpError) as told:
        parse_range(text, size)
    assert told.value.status == 416
    assert told.value.headers == {"Content-Range": f"bytes */{size}"}


@given(
    st.one_of(st.text(max_size=40), st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}", fullmatch=True)), st.integers(0, 99)
)
def test_any_text_is_a_range_inside_or_none(text: str, size: int) -> None:
    try:
        found = parse_range(text, size)
    except HttpError:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        ("film.mp4", "video/mp4", True),
        ("film.mkv", "video/matroska", True),
        ("song.opus", "audio/ogg", True),
        ("PHOTO.JPG", "image/jpeg", True),
        ("a.webp", "image/webp", True),
        ("readme.md", "text/markdown; charset=utf-8", True),
        ("notes.txt", "text/plain; charset=utf-8", True),
        ("table.csv", "text/csv; charset=utf-8", True),
        ("page.html", "text/html; charset=utf-8", False),
        ("drawing.svg", "image/svg+xml", False),
        ("drawing.svgz", "application/gzip", False),
        ("feed.xml", "text/xml; charset=utf-8", False),
        ("paper.pdf", "application/pdf", False),
        ("archive.tar.gz", "application/gzip", False),
        ("no ending", "application/octet-stream", False),
        (".txt", "application/octet-stream", False),
        ("http://example.org/x.html/", "application/octet-stream", False),
        ("", "application/octet-stream", False),
    ],
)
def test_what_a_file_is_taken_for(name: str, kind: str, shown: bool) -> None:
    assert content_type(name) == kind
    assert _disposition(name, kind).startswith("inline; " if shown else "attachment; ")


def test_the_name_of_a_file_breaks_no_header() -> None:
    told = _disposition('a"\\\r\nX: y\x7f%é\udcff', "text/plain")
    assert told == (
        'inline; filename="a____X: y____"; '  # what is not plain is told by the other one
        "filename*=UTF-8''a%22%5C%0D%0AX%3A%20y%7F%25%C3%A9%3F"
    )
