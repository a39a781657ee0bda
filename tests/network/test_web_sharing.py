"""Links by the API of a node's page: those that others gave, and those that are given to others."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from protocol.accountkey import format_account_key
from protocol.identity import Identity
from protocol.links import Link, LinkKind, NameLink, SealedLink, open_link, parse_link, seal_link
from tests.network.archipelago import Archipelago, archipelago
from tests.network.paging import page
from tests.network.test_drive import ACCOUNT
from tests.network.test_drive_deposits import new_name, publish


@pytest.fixture
async def islands(autojump_clock: MockClock, base: Path) -> AsyncIterator[Archipelago]:
    async with archipelago(base, 8) as islands:
        yield islands


async def test_links_of_others(autojump_clock: MockClock, islands: Archipelago) -> None:
    async with page(islands) as one, islands.user("stranger") as stranger:
        film = (await stranger.publish(islands.file("film", 5000))).link
        song = (await stranger.publish(islands.file("song", 5000))).link
        answer = await one.post("links", link=str(film))
        assert (answer.status, answer.json()["path"]) == (201, "film")
        again = await one.post("links", link=f"https://gateway.example/#{str(film).partition(':')[2]}")
        assert (again.status, again.error["text"]) == (409, "it is in the drive already, at 'film'")
        sealed = seal_link(song, ACCOUNT.identity.key, b"s" * 32)
        answer = await one.post("links", link=str(sealed), path="music/song")
        assert (answer.status, answer.json()["path"]) == (201, "music/song")
        for_another = seal_link(song, Identity(b"o" * 32).key, b"s" * 32)
        answer = await one.post("links", link=str(for_another))
        assert (answer.status, "sealed for another account" in answer.error["text"]) == (403, True)
        for nonsense in ("", "archipel:x", "\ud800", "é" * 4000):
            answer = await one.post("links", link=nonsense)
            assert answer.status == 400, nonsense
        answer = await one.post("links", link=str(film.verify_link()))
        assert "a verify link does not tell" in answer.error["text"]
        items = {item["path"]: item for item in (await one.get("/v1/drive"))["items"]}
        assert (items["film"]["kind"], items["film"]["mine"], items["film"]["size"]) == ("link", False, 5000)
        assert parse_link((await one.post("link", path="music/song")).json()["link"]) == song


async def test_shared(autojump_clock: MockClock, islands: Archipelago) -> None:
    islands.file("album/songs/one", 9000)
    islands.file("album/cover", 9000)
    async with page(islands) as one, islands.user("friend") as friend:
        whole = (await publish(one.machine, islands.base / "source" / "album")).published.link
        name = await new_name(one.machine)
        assert (await one.post("share", path="album")).json()["link"] == str(whole)
        assert (await one.post("share", path="blog")).json()["link"] == str(name)
        part = parse_link((await one.post("share", path="album", inside="songs")).json()["link"])
        assert isinstance(part, Link)
        await friend.fetch(part, islands.base / "got")
        assert {path.name for path in (islands.base / "got").rglob("*")} == {"one"}
        to = Identity(b"f" * 32)
        sealed = parse_link((await one.post("share", path="album/cover", to=format_account_key(to.key))).json()["link"])
        assert isinstance(sealed, SealedLink)
        opened = open_link(sealed, to)
        assert isinstance(opened, Link)
        assert (opened.kind, opened != whole) == (LinkKind.READ, True)
        for body, status in [
            ({"path": ""}, 400),
            ({"path": "nothing"}, 404),
            ({"path": "album", "inside": "nothing"}, 404),
            ({"path": "album", "to": "archipel-key:x"}, 400),
            ({"path": "album", "inside": "../x"}, 400),
        ]:
            assert (await one.post("share", **body)).status == status, body
        links = (await one.post("link", path="album")).json()
        assert links == {"link": str(whole), "verify_link": str(whole.verify_link())}
        assert (await one.post("link", path="blog")).json() == {"link": str(name), "verify_link": None}
        await one.post("folders", path="films")
        assert (await one.post("link", path="films")).status == 403
        assert isinstance(name, NameLink)
