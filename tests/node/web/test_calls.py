"""What goes wrong in a call, and what its client is told: bodies that do not come, errors, bugs."""

import errno
import logging
from collections.abc import AsyncIterator

import pytest
import trio
from starlette.requests import Request
from starlette.responses import Response
from trio.testing import MockClock

from node.errors import (
    ConfigError,
    IntegrityFailure,
    MachineError,
    NetworkError,
    NodeError,
    NotFoundError,
    RefusedError,
    TakenError,
)
from node.web.files import Page
from node.web.http.answers import BODY_SECONDS, HttpError, answer, error_answer, read_object
from node.web.http.calls import Call, Handler
from node.web.http.guard import Guard
from node.web.http.session import Session
from node.web.site import _application, own_site
from tests.node.web.asking import ADDRESS, Browser, Cut, offline_client, parts_of

SECRET = "archipel:do-not-tell-this"


def serving(handler: Handler) -> Browser:
    """A page with one call, POST /v1/try."""
    world = offline_client().world
    call = Call(method="POST", path="/v1/try", handler=handler, summary="A try.", private=False, answers={200: {}})
    session = Session.begin(world.random_bytes, "test", world.blocking)
    app = _application([call], session.check, Page({}))
    return Browser(Guard(app, frozenset({str(ADDRESS)})))


async def echo(request: Request) -> Response:
    return answer(await read_object(request, 1000))


def raising(exc: Exception) -> Handler:
    async def handler(_: Request) -> Response:
        raise exc

    return handler


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (ConfigError("no"), 400),
        (NotFoundError("no"), 404),
        (RefusedError("no"), 403),
        (TakenError("no"), 409),
        (NetworkError("no"), 503),
        (IntegrityFailure("no"), 502),
        (MachineError("no"), 500),
        (HttpError(429, "no", headers={"Retry-After": "7"}), 429),
        (ExceptionGroup("of a nursery", [NotFoundError("no")]), 404),
    ],
)
async def test_an_error_says_what_the_command_line_says(exc: Exception, status: int) -> None:
    got = await serving(raising(exc)).ask("POST", "/v1/try")
    assert got.status == status
    assert got.error["text"] == "no"
    if isinstance(exc, NodeError):
        assert got.error == {"exit": exc.exit_code, "text": "no", "hint": None}
    assert got.headers.get("retry-after") == ("7" if status == 429 else None)


def test_a_full_disk_has_a_status_of_its_own() -> None:
    exc = MachineError("cannot write")
    exc.__cause__ = OSError(errno.ENOSPC, "no space left on device")
    assert error_answer(exc).status_code == 507


@pytest.mark.parametrize(
    "exc",
    [
        ValueError(SECRET),
        ExceptionGroup(SECRET, [NotFoundError("no"), KeyError(SECRET)]),
        ExceptionGroup(SECRET, [ExceptionGroup(SECRET, [TypeError(SECRET)])]),
        NodeError(SECRET),
    ],
)
async def test_a_bug_is_told_without_its_text(exc: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    got = await serving(raising(exc)).ask("POST", "/v1/try")
    assert (got.status, got.error["exit"]) == (500, 1)
    if type(exc) is not NodeError:
        assert SECRET not in got.body.decode()
        assert "a bug in an answer" in caplog.text
    assert SECRET not in caplog.text


async def test_a_body(caplog: pytest.LogCaptureFixture) -> None:
    browser = serving(echo)
    assert (await browser.ask("POST", "/v1/try", json={"a": ["é"]})).json() == {"a": ["é"]}
    assert (await browser.ask("POST", "/v1/try")).json() == {}
    for nonsense in (b"{", b"\xff", b"[1]", b"null", b'"x"', b"[" * 900, b"1" * 900, b'{"a": NaN}}'):
        got = await browser.ask("POST", "/v1/try", body=nonsense)
        assert (got.status, got.error["exit"]) == (400, 2), nonsense
    assert not caplog.records


async def test_a_body_that_is_too_long_is_not_kept() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 600
            yield b" " * 600

    browser = serving(echo)
    got = await browser.ask("POST", "/v1/try", body=endless())
    assert (got.status, got.error["exit"], sent) == (413, 2, 1200)


async def test_a_body_that_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    got = await serving(echo).ask("POST", "/v1/try", body=Cut(b'{"a":'))
    assert (got.status, got.error["text"]) == (400, "the body was cut short")
    assert not caplog.records


async def test_a_body_that_does_not_come(autojump_clock: MockClock) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" "
            await trio.sleep(1)

    began = trio.current_time()
    got = await serving(echo).ask("POST", "/v1/try", body=slow())
    assert (got.status, trio.current_time() - began) == (408, BODY_SECONDS)


async def test_a_path_that_is_no_text() -> None:
    async def handler(_: Request) -> Response:
        return answer({"path": b"caf\xe9".decode(errors="surrogateescape")})

    got = await serving(handler).ask("POST", "/v1/try")
    assert got.body == b'{"path":"caf\\udce9"}'


async def test_what_there_is_not() -> None:
    browser = await Browser(own_site(parts_of(), {}, ADDRESS)).begin()
    for method, path, status in [
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/account", 405),
        ("PUT", "/", 405),
        ("GET", "/v1/account/lock", 405),
        ("GET", "/v1/account/", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
    ]:
        got = await browser.ask(method, path)
        assert (got.status, set(got.error)) == (status, {"exit", "text", "hint"}), (method, path)
        assert ("allow" in got.headers) == (status == 405)
    got = await browser.ask("DELETE", "/v1/account")
    assert got.headers["allow"] == "GET, HEAD, POST"


async def test_a_head_is_what_a_get_would_be() -> None:
    browser = await Browser(own_site(parts_of(), {}, ADDRESS)).begin()
    one, other = await browser.ask("GET", "/v1/account"), await browser.ask("HEAD", "/v1/account")
    assert (one.status, one.headers) == (other.status, other.headers)
    assert other.body == b""
    assert (await browser.ask("HEAD", "/v1/account", headers={"Authorization": None})).status == 401
