"""Whether a gateway serves the page that this installation has."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from node.errors import ConfigError, NetworkError
from node.web.files import PageFile, read_files
from node.web.hashes import Difference, compare, gateway_url, listing

FILES = read_files()


@contextmanager
def serving(contents: Mapping[str, bytes]) -> Iterator[str]:
    """A gateway with these files, by path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = contents.get(self.path[1:] or "index.html")
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def honest() -> dict[str, bytes]:
    return {path: file.content for path, file in FILES.items()}


def found(contents: Mapping[str, bytes]) -> list[Difference]:
    with serving(contents) as url:
        return compare(gateway_url(url + "/#archipel:x"), FILES)


def test_the_same() -> None:
    assert found(honest()) == []


def test_a_changed_file() -> None:
    contents = {**honest(), "main.js": honest()["main.js"].replace(b"a", b"e", 1)}
    assert [difference.path for difference in found(contents)] == ["main.js"]


@pytest.mark.parametrize("more", [b" ", b" " * 1_000_000])
def test_a_longer_file(more: bytes) -> None:
    contents = {**honest(), "app.css": honest()["app.css"] + more}
    assert [difference.path for difference in found(contents)] == ["app.css"]


def test_a_missing_file() -> None:
    contents = honest()
    del contents["main.js"]
    assert found(contents) == [Difference("main.js", None)]


def test_the_list_is_that_of_sha256sum() -> None:
    one = {"b": PageFile(b"", ""), "a": PageFile(b"x", "")}
    lines = listing(one).splitlines()
    assert lines[0] == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  a"
    assert lines[1].endswith("  b")


def test_the_list_in_the_docs_is_that_of_these_files() -> None:
    """Else make it again: archipel page-hash > docs/page.sha256"""
    kept = Path(__file__).parents[3] / "docs" / "page.sha256"
    assert kept.read_text() == listing(FILES)


@pytest.mark.parametrize("text", ["gateway.example", "ftp://gateway.example", "http://", "http://a:b", "http://[::1"])
def test_no_gateway(text: str) -> None:
    with pytest.raises(ConfigError):
        gateway_url(text)


def test_nobody_answers() -> None:
    with pytest.raises(NetworkError, match="Connection refused"):
        compare(gateway_url("http://127.0.0.1:1"), FILES)
