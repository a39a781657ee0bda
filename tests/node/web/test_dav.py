"""PROPFIND of whatever there is to tell, asked by anybody; the password of the drive."""

import base64
import logging
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.blocking import InlineBlocking
from node.errors import NotFoundError, RefusedError
from node.home import Home
from node.web.dav.access import Access, is_shown, password
from node.web.dav.places import Place, Thing
from node.web.dav.propfind import MOST_BODY_BYTES, MOST_PROPERTIES, MOST_THINGS, propfind
from node.web.http.answers import HttpError
from node.web.tickets import Tickets
from protocol.ids import Address

HREF = "/dav/link/WORD/caf%C3%A9"
FILE = Thing(name=b"a.txt", is_folder=False, changed=1_700_000_000.0, size=7, kind="text/plain", tag="abc-1")
ALL = b""


def folder(*things: Thing) -> Place:
    return Place(Thing(name=b"caf\xc3\xa9"), lambda: iter(things))


def told(place: Place, depth: str = "1", body: bytes = ALL) -> dict[str, dict[str, str | None]]:
    """href -> property -> its text, of those that were found."""
    found = propfind(place, HREF, depth, body)
    assert found.status == 207
    assert found.headers == {"content-type": "application/xml; charset=utf-8"}
    tree = ElementTree.fromstring(found.body)
    return {
        str(response.findtext("{DAV:}href")): {
            prop.tag.removeprefix("{DAV:}"): "folder" if prop.find("{DAV:}collection") is not None else prop.text
            for propstat in response.iter("{DAV:}propstat")
            if " 200 " in str(propstat.findtext("{DAV:}status"))
            for prop in propstat.iterfind("{DAV:}prop/*")
        }
        for response in tree
    }


def ask_for(*names: str) -> bytes:
    wanted = "".join(f"<D:{name}/>" for name in names)
    return f"<D:propfind xmlns:D='DAV:'><D:prop>{wanted}</D:prop></D:propfind>".encode()


def test_a_folder_and_what_is_in_it() -> None:
    place = folder(FILE, Thing(name=b"sub", changed=5.0))
    assert told(place) == {
        f"{HREF}/": {"resourcetype": "folder", "displayname": "café"},
        f"{HREF}/a.txt": {
            "resourcetype": None,
            "creationdate": "2023-11-14T22:13:20Z",
            "getcontentlength": "7",
            "getcontenttype": "text/plain",
            "getlastmodified": "Tue, 14 Nov 2023 22:13:20 GMT",
            "displayname": "a.txt",
            "getetag": '"abc-1"',
        },
        f"{HREF}/sub/": {
            "resourcetype": "folder",
            "creationdate": "1970-01-01T00:00:05Z",
            "getlastmodified": "Thu, 01 Jan 1970 00:00:05 GMT",
            "displayname": "sub",
        },
    }
    assert list(told(place, "0")) == [f"{HREF}/"]


def test_a_file_and_some_of_its_properties() -> None:
    asked = ask_for("getcontentlength", "getetag", "resourcetype", "lockdiscovery", "nonsense")
    assert told(Place(FILE), "1", asked) == {
        HREF: {"getcontentlength": "7", "getetag": '"abc-1"', "resourcetype": None}
    }


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name), unique=True, max_size=8))
def test_any_name_is_told_and_found_again(names: list[bytes]) -> None:

    found = told(folder(*(Thing(name=name, is_folder=False) for name in names)))
    assert {unquote_to_bytes(href.rpartition("/")[2]) for href in list(found)[1:]} == set(names)


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<D:propfind xmlns:D="DAV:"><D:prop><D:getetag>&b;</D:getetag></D:prop></D:propfind>"""
FILE_ENTITY = b"""<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><D:propfind xmlns:D="DAV:">&a;</D:propfind>"""


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(BOMB, id="entities"),
        pytest.param(FILE_ENTITY, id="a file of the machine"),
        pytest.param(b"<", id="no XML"),
        pytest.param(b"\xff\xfe\x00", id="no text"),
        pytest.param(b"<x/>", id="another element"),
        pytest.param(b"<D:propfind xmlns:D='DAV:'><D:allprop/><D:allprop/></D:propfind>", id="twice"),
        pytest.param(ask_for(*(f"p{number}" for number in range(MOST_PROPERTIES + 1))), id="too many properties"),
    ],
)
def test_what_is_no_question_is_refused(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(HttpError) as refused:
        propfind(folder(FILE), HREF, "1", body)
    assert refused.value.status == 400
    assert not caplog.records, "it holds what a stranger sent"


WORDS = st.text(max_size=99).map(lambda text: f"<D:propfind xmlns:D='DAV:'>{text}</D:propfind>".encode())


@given(st.one_of(st.binary(max_size=200), WORDS))
def test_any_question_is_answered_or_refused(body: bytes) -> None:
    try:
        assert propfind(folder(FILE), HREF, "1", body).status == 207
    except HttpError as refused:
        assert refused.status == 400


def test_deep_and_long_questions_end_soon() -> None:
    deep = b"<a>" * (MOST_BODY_BYTES // 3)
    with pytest.raises(HttpError):
        propfind(folder(FILE), HREF, "1", deep)
    closed = b"<a>" * 2000 + b"</a>" * 2000
    with pytest.raises(HttpError):
        propfind(folder(FILE), HREF, "1", closed)


def test_a_folder_that_is_too_large() -> None:
    made: list[int] = []

    def endless() -> Iterator[Thing]:
        while True:
            made.append(1)
            yield FILE

    with pytest.raises(RefusedError, match="too many for WebDAV"):
        propfind(Place(Thing(name=b"x"), endless), HREF, "1", ALL)
    assert len(made) == MOST_THINGS + 1
    assert len(told(Place(Thing(name=b"x"), endless), "0")) == 1


def basic(user: str, shown: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{shown}".encode()).decode()


def test_the_password_of_the_drive(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    made = password(home)
    assert len(made) == 26
    assert password(home) == made
    assert (home.path / "webdav.secret").stat().st_mode & 0o777 == 0o600
    assert is_shown(basic("archipel", made), made)
    assert is_shown(basic("", made).replace("Basic", "basic"), made)
    wrong = (basic("archipel", made[:-1]), basic(made, ""), "Bearer " + made, "Basic", "Basic !!!", "Basic é", "", made)
    assert not any(is_shown(header, made) for header in wrong)


async def told_by(access: Access) -> object:
    async with aclosing(access.tell({})) as replies:
        return await anext(replies)


async def test_it_is_told_where_there_is_a_page(tmp_path: Path) -> None:
    tickets = Tickets(bytes)
    access = Access(Home(tmp_path), tickets, InlineBlocking())
    with pytest.raises(NotFoundError, match="no page"):
        await told_by(access)
    tickets.page = Address("127.0.0.1", 8420)
    assert await told_by(access) == {
        "url": "http://127.0.0.1:8420/dav/drive/",
        "user": "archipel",
        "password": password(Home(tmp_path)),
    }
