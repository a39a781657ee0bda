"""Who may ask the node's page, and what browsers are told to do with the answers."""

import pytest
from starlette.types import Message

from node.web.site import own_site
from tests.node.web.asking import ADDRESS, Browser, parts_of


@pytest.fixture
async def browser() -> Browser:
    return Browser(own_site(parts_of(), {}, ADDRESS))


@pytest.mark.parametrize("host", ["evil.example:8420", "127.0.0.1:8421", "127.0.0.1", "", "localhost.evil:8420", None])
async def test_a_name_that_leads_here_is_not_enough(browser: Browser, host: str | None) -> None:
    answer = await browser.ask("GET", "/v1/account", headers={"Host": host})
    assert (answer.status, answer.error["exit"]) == (421, 4)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost:8420", "LocalHost:8420", "[::1]:8420"])
async def test_the_names_of_this_machine(browser: Browser, host: str) -> None:
    await browser.begin()
    assert (await browser.ask("GET", "/v1/account", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "https://127.0.0.1:8420",
        "http://127.0.0.1:8421",
        "http://localhost:8420",  # not by the name by which it asks
        "http://127.0.0.1:8420.evil.example",
    ],
)
@pytest.mark.parametrize("call", [("POST", "/v1/session"), ("GET", "/v1/account"), ("POST", "/v1/account/lock")])
async def test_another_site_may_not_ask(browser: Browser, origin: str, call: tuple[str, str]) -> None:
    await browser.begin()
    answer = await browser.ask(*call, headers={"Origin": origin})
    assert (answer.status, answer.error["exit"]) == (403, 4)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_may_lead_here_and_no_further(browser: Browser, site: str) -> None:
    await browser.begin()
    leads = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert (await browser.ask("GET", "/", headers=leads)).error["text"] == "there is nothing here", (
        "no page is built in"
    )
    for method, path, mode in [
        ("GET", "/v1/account", "navigate"),
        ("GET", "/v1/files/x", "navigate"),
        ("GET", "/", "no-cors"),
        ("POST", "/", "navigate"),
    ]:
        answer = await browser.ask(
            method, path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Origin": None}
        )
        assert answer.status == 403, (method, path, mode)


@pytest.mark.parametrize("name", ["host", "origin"])
async def test_of_two_none_is_believed(browser: Browser, name: str) -> None:
    good = {"host": str(ADDRESS), "origin": f"http://{ADDRESS}"}[name].encode()
    for values, status in (([good], 405), ([good, b"evil.example"], 400), ([b"evil.example", good], 400)):
        scope, _ = browser._scope("GET", "/v1/session", None, None, {name.capitalize(): None})
        scope["headers"] += [(name.encode(), value) for value in values]
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        async def send(message: Message, sent: list[Message] = sent) -> None:
            sent.append(message)

        await browser.app(scope, receive, send)
        assert sent[0]["status"] == status


async def test_programs_send_none_of_it(browser: Browser) -> None:
    await browser.begin()
    bare = {"Origin": None, "Sec-Fetch-Site": None, "Sec-Fetch-Mode": None}
    assert (await browser.ask("GET", "/v1/account", headers=bare)).status == 200


async def test_what_browsers_are_told(browser: Browser) -> None:
    for path in ("/v1/account", "/nowhere", "/openapi.json"):
        headers = (await browser.ask("GET", path)).headers
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "set-cookie" not in headers


async def test_there_are_no_web_sockets(browser: Browser) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await browser.app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
