"""The session token: who gets it, and what is done with it."""

import os
from pathlib import Path

import pytest

from node.blocking import InlineBlocking
from node.web.http import peeruid
from node.web.http.session import Session
from node.web.site import own_site
from tests.node.web.asking import ADDRESS, Browser, parts_of

_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
_HERE, _THERE = "0100007F:20E4", "0100007F:C350"
"""127.0.0.1:8420, and 127.0.0.1:50000, as the table has them on a little-endian machine."""
OTHER_UID = os.getuid() + 1


@pytest.fixture
async def browser() -> Browser:
    return Browser(own_site(parts_of(), {}, ADDRESS))


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's, as a test writes it."""
    path = tmp_path / "tcp"
    path.write_text(_HEAD)
    monkeypatch.setattr(peeruid, "_TABLES", {4: path, 6: path})
    monkeypatch.setattr(peeruid, "_LITTLE", True)
    return path


def row(local: str, remote: str, uid: int) -> str:
    return f"   0: {local} {remote} 01 00000000:00000000 00:00000000 00000000  {uid}        0 1234 1\n"


@pytest.mark.parametrize(("uid", "status"), [(os.getuid(), 200), (0, 200), (OTHER_UID, 403)])
async def test_it_is_for_our_own_user(browser: Browser, table: Path, uid: int, status: int) -> None:
    """Our end of the connection stands in the table as well, and is always ours."""
    table.write_text(_HEAD + row(_HERE, _THERE, os.getuid()) + row(_THERE, _HERE, uid))
    answer = await browser.ask("POST", "/v1/session")
    assert answer.status == status
    if status == 403:
        assert "token" not in answer.body.decode()


async def test_a_connection_that_is_not_in_the_table(browser: Browser, table: Path) -> None:
    table.write_text(_HEAD + row(_THERE, "0100007F:20E5", os.getuid()) + "nonsense\n" + row(_THERE, _HERE, OTHER_UID))
    assert (await browser.ask("POST", "/v1/session")).status == 403
    table.write_text(_HEAD)
    assert (await browser.ask("POST", "/v1/session")).status == 403


async def test_where_the_kernel_does_not_tell(browser: Browser, table: Path) -> None:
    table.unlink()
    assert (await browser.ask("POST", "/v1/session")).status == 200


def test_an_address_of_ipv6(table: Path) -> None:
    loopback = "00000000000000000000000001000000"
    table.write_text(_HEAD + row(f"{loopback}:C350", f"{loopback}:20E4", 1234))
    assert peeruid.user_of(("::1", 50_000), ("::1", 8420)) == 1234
    assert peeruid.user_of(("::1", 50_001), ("::1", 8420)) is None


def test_ipv4_by_a_socket_for_both(table: Path) -> None:
    mapped = "0000000000000000FFFF00000100007F"
    table.write_text(_HEAD + row(f"{mapped}:C350", f"{mapped}:20E4", 1234))
    assert peeruid.user_of(("127.0.0.1", 50_000), ("127.0.0.1", 8420)) == 1234


async def test_only_a_page_gets_it(browser: Browser) -> None:
    answer = await browser.ask("POST", "/v1/session", headers={"Origin": None})
    assert (answer.status, answer.error["hint"]) == (403, "open it in a browser")
    assert (await browser.ask("GET", "/v1/session")).status == 405


@pytest.mark.parametrize(
    "shown", [None, "", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {}x", "Bearer {}\u00e9", "Bearer  {}"]
)
async def test_what_is_private_needs_it(browser: Browser, shown: str | None) -> None:
    await browser.begin()
    token = None if shown is None else shown.format(browser.token)
    for method, path in [
        ("GET", "/v1/account"),
        ("POST", "/v1/account/lock"),
        ("GET", "/v1/drive"),
        ("GET", "/v1/status"),
    ]:
        answer = await browser.ask(method, path, headers={"Authorization": token})
        assert (answer.status, answer.error["exit"]) == (401, 4)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (await browser.ask("GET", "/v1/account", headers={"Authorization": f"bEARER {browser.token}"})).status == 200


async def test_another_run_of_the_node_has_another(browser: Browser) -> None:
    await browser.begin()
    again = Browser(own_site(parts_of(), {}, ADDRESS), token=browser.token)
    assert (await again.ask("GET", "/v1/account")).status == 401


def test_its_text_form_does_not_show_it() -> None:
    session = Session.begin(lambda size: b"\xfb" * size, "v", InlineBlocking())
    assert session.token not in repr(session)
    assert len(session.token) == 43
