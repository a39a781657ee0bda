"""What a browser sends a gateway, to open a link and to publish: no link, no key, no name, no plaintext."""

import base64
import random
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from protocol.links import Link, parse_link
from tests.browser.islands import Islands, PageNode
from tests.browser.recorder import Recorder
from tests.e2e.world import learn_secret

NAME = "a-name-nobody-may-learn"
TEXT = b"what nobody on the way may read. "


def secrets_of(link: Link) -> Iterable[bytes]:
    """The link and its keys, in the forms in which they could be sent."""
    word = str(link).partition(":")[2]
    yield from (word[at : at + 24].encode() for at in range(0, len(word) - 24, 12))
    for key in (link.key, link.verify_key):
        yield from (key, key.hex().encode(), base64.b64encode(key)[:40], base64.urlsafe_b64encode(key)[:40])


def check_nothing_told(sent: bytes, link: Link) -> None:
    assert sent
    assert NAME.encode() not in sent
    assert TEXT not in sent
    assert not [secret for secret in secrets_of(link) if secret in sent]


def save(page: Page, place: Path) -> bytes:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download", exact=True).click()
    waiting.value.save_as(place)
    return place.read_bytes()


def test_opening_a_link(chromium: Browser, islands: Islands, gateway: PageNode, tmp_path: Path) -> None:
    content = TEXT + random.Random(1).randbytes(3 << 20)
    (tmp_path / NAME).write_bytes(content)
    text = islands.person(tmp_path / "alice").json("publish", tmp_path / NAME)["link"]
    link = parse_link(text)
    assert isinstance(link, Link)
    with Recorder(int(gateway.gateway.rpartition(":")[2])) as line, chromium.new_context(locale="en") as context:
        page = context.new_page()
        page.goto(f"{line.url}/#{link}")
        expect(page.get_by_role("heading", level=1)).to_have_text(NAME)
        assert save(page, tmp_path / "saved") == content
        page.get_by_role("button", name="How safe is it now?").click()
        expect(page.get_by_text("Every chunk is there.")).to_be_visible()
        check_nothing_told(line.sent, link)


def test_publishing_from_the_browser(chromium: Browser, islands: Islands, gateway: PageNode, tmp_path: Path) -> None:
    content = TEXT + random.Random(2).randbytes(17 << 20)
    (tmp_path / NAME).write_bytes(content)
    with Recorder(int(gateway.gateway.rpartition(":")[2])) as line, chromium.new_context(locale="en") as context:
        page = context.new_page()
        page.goto(f"{line.url}/")
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Upload files").click()
        chooser.value.set_files(tmp_path / NAME)
        page.get_by_role("button", name="Français").click()  # which it outlives
        expect(page.get_by_role("heading", name="Publié", exact=True)).to_be_visible(timeout=30_000)
        text = page.get_by_role("textbox", name="Lien").last.input_value()
        assert text.startswith(line.url + "/#archipel:")
        link = parse_link(text)
        assert isinstance(link, Link)
        learn_secret(str(link))
        check_nothing_told(line.sent, link)
    bob = islands.person(tmp_path / "bob")
    bob.run("fetch", str(link), "-o", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_the_newest_version_of_a_name(chromium: Browser, islands: Islands, gateway: PageNode, tmp_path: Path) -> None:
    """The link of a name leads to what was published under it last."""
    owner = islands.person(tmp_path / "owner")
    (tmp_path / "passphrase").write_text("a passphrase of some length\n")
    owner.run("account", "new", "--passphrase-file", tmp_path / "passphrase")
    owner.run("account", "unlock", "--passphrase-file", tmp_path / "passphrase")
    name = owner.json("name", "new", "blog")["link"]
    for text in ("the first", "the second"):
        (tmp_path / "post.txt").write_text(text)
        owner.run("publish", tmp_path / "post.txt", "--as", "blog")
    with chromium.new_context(locale="en") as context:
        page = context.new_page()
        page.goto(f"{gateway.gateway}/#{name}")
        expect(page.locator("pre")).to_have_text("the second")
        expect(page.get_by_text("version 2")).to_be_visible()
    owner.run("account", "lock")
