"""The page's own files, as they are sent."""

import gzip
from hashlib import sha256
from pathlib import Path

import pytest

from node.web.files import read_files
from node.web.site import own_site
from tests.node.web.asking import ADDRESS, Browser, parts_of

INDEX = b"<!doctype html>" + b"<p>archipel</p>" * 100


@pytest.fixture
async def browser(tmp_path: Path) -> Browser:
    (tmp_path / "core").mkdir()
    (tmp_path / "index.html").write_bytes(INDEX)
    (tmp_path / "core" / "blake3.js").write_bytes(b"export {}\n")
    (tmp_path / "map.svg").write_bytes(b"<svg/>")
    (tmp_path / "picture.png").write_bytes(bytes(range(256)) * 4)
    return Browser(own_site(parts_of(), read_files(tmp_path), ADDRESS))


async def test_what_they_are(browser: Browser) -> None:
    for path, kind, body in [
        ("/", "text/html; charset=utf-8", INDEX),
        ("/index.html", "text/html; charset=utf-8", INDEX),
        ("/core/blake3.js", "text/javascript; charset=utf-8", b"export {}\n"),
        ("/map.svg", "image/svg+xml; charset=utf-8", b"<svg/>"),
        ("/picture.png", "image/png", bytes(range(256)) * 4),
    ]:
        answer = await browser.ask("GET", path)
        assert (answer.status, answer.headers["content-type"], answer.body) == (200, kind, body)
        assert answer.headers["etag"] == f'W/"{sha256(body).hexdigest()[:32]}"'
        assert answer.headers["cache-control"] == "no-cache"
        assert int(answer.headers["content-length"]) == len(body)


async def test_what_the_browser_has_is_not_sent_again(browser: Browser) -> None:
    etag = (await browser.ask("GET", "/")).headers["etag"]
    answer = await browser.ask("GET", "/", headers={"If-None-Match": f'W/"other", {etag}'})
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
    assert (await browser.ask("GET", "/", headers={"If-None-Match": '"other"'})).status == 200


async def test_compressed_where_that_is_shorter(browser: Browser) -> None:
    answer = await browser.ask("GET", "/", headers={"Accept-Encoding": "gzip, br"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(answer.body) == INDEX
    assert len(answer.body) < len(INDEX) / 4
    for path in ("/core/blake3.js",):
        assert "content-encoding" not in (await browser.ask("GET", path, headers={"Accept-Encoding": "gzip"})).headers


async def test_a_head(browser: Browser) -> None:
    answer = await browser.ask("HEAD", "/")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", str(len(INDEX)))


async def test_nothing_else(browser: Browser) -> None:
    for path in ("/core", "/core/", "/core/../index.html", "/missing.js", "//index.html", "/index.html/"):
        assert (await browser.ask("GET", path)).status == 404, path


@pytest.mark.parametrize(
    "path",
    [
        *("/v1%2ffiles%2fabc", "/v1/files%2fabc", "/v1%2ffiles/abc/x/y", "/v1/files%2Fabc/x", "//v1/files/abc"),
        *("/dav%2flink", "/dav%2Flink%2fabc", "/dav%2flink/x/y/z", "/%64av/link/x"),
    ],
)
async def test_an_escaped_slash_is_none(browser: Browser, path: str) -> None:
    answer = await browser.ask("GET", path)
    assert (answer.status, answer.error["text"]) == (404, "there is nothing here")
