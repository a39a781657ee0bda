"""What a file is called and taken for, and what a browser is to do with it."""

import pytest

from node.web.content import _disposition, content_type


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
