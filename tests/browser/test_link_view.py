"""What a link leads to, shown and downloaded in a page of a real browser; the node is played by a server in memory."""

import random
import wave
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Download, Page, expect

from protocol.links import Link
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES
from tests.browser.deposits import Publisher
from tests.browser.islands import Islands
from tests.browser.ownpage import Somebody, page_of, press, serious
from tests.browser.site import Site

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415408d763f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
MODIFIED = 1_700_000_000 * 10**9


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    with chromium.new_context(locale="en-GB", accept_downloads=True) as opened:
        yield opened


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def opened(context: BrowserContext, site: Site, link: Link | str) -> Page:
    page = context.new_page()
    page.goto(f"{site.url}/#{link}")
    return page


def saved(download: Download, folder: Path) -> bytes:
    place = folder / "saved"
    download.save_as(place)
    return place.read_bytes()


def test_a_folder(context: BrowserContext, site: Site, tmp_path: Path) -> None:
    """Listed, shown and downloaded; markup is text, whatever it is called."""
    files = {
        "holiday/pic.png": PICTURE,
        "holiday/notes/évil.html": b"<script>document.title = 'run'</script>",
        "holiday/large.bin": noise(3 << 20),
        "holiday/empty": b"",
        **{f"holiday/many/{number:02}": noise(5000 + number) for number in range(40)},
    }
    publisher = Publisher()
    link = publisher.publish(files, mtime_ns=MODIFIED)
    site.segments |= publisher.segments
    page = opened(context, site, link)
    expect(page.get_by_role("heading", level=1)).to_have_text("holiday")
    expect(page.get_by_text("44 files · 3.3 MB")).to_be_visible()
    press(page, "pic.png")
    picture = page.get_by_role("img", name="pic.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("picture => picture.naturalWidth") == 1
    assert page.title() == "pic.png · Archipel"
    page.go_back()
    press(page, "notes")
    press(page, "évil.html")
    expect(page.locator("pre")).to_have_text("<script>document.title = 'run'</script>")
    press(page, "Back to the folder")
    page.get_by_label("Path").get_by_text("holiday").click()
    with page.expect_download() as waiting:
        press(page, "Download as .zip")
    assert waiting.value.suggested_filename == "holiday.zip"
    with zipfile.ZipFile(BytesIO(saved(waiting.value, tmp_path))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")} == files
    expect(page.get_by_text("decrypted, verified, and given to your browser")).to_be_visible()
    assert page.title() == "holiday · Archipel"
    assert not [path for path, _ in site.asked if not path.startswith(("/v1/segments/", "/v1/session", "/v1/events"))]


def sound(seconds: int) -> bytes:
    """Of noise, 88,200 bytes a second."""
    file = BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(44_100)
        out.writeframes(noise(88_200 * seconds))
    return file.getvalue()


def test_seeking_moves_only_the_needed_blocks(context: BrowserContext, site: Site) -> None:
    content = sound(360)
    publisher = Publisher()
    site_link = publisher.publish({"long.wav": content})
    site.segments |= publisher.segments
    page = opened(context, site, site_link)
    player = page.locator("audio")
    player.evaluate("player => new Promise(done => player.readyState >= 1 ? done() : player.onloadedmetadata = done)")
    assert round(player.evaluate("player => player.duration")) == 360
    before = moved(site)
    player.evaluate("player => new Promise(done => { player.onseeked = done; player.currentTime = 300; })")
    assert player.evaluate("player => player.readyState") >= 2
    assert before + moved(site) < len(content) // 2  # by and by the browser reads ahead
    wanted = 44 + 300 * 88_200
    assert any(holds(wanted % (16 << 20), span) for span in site.asked)


def spans(site: Site) -> list[tuple[int, int]]:
    """First and last byte of what was asked for in part."""
    found = [span.removeprefix("bytes=").split("-") for _, span in site.asked if span is not None]
    return [(int(first), int(last)) for first, last in found]


def moved(site: Site) -> int:
    return sum(last - first + 1 for first, last in spans(site))


def holds(offset: int, asked: tuple[str, str | None]) -> bool:
    """Whether a byte of a segment's plaintext lies in what was asked for."""
    if asked[1] is None:
        return False
    first, last = map(int, asked[1].removeprefix("bytes=").split("-"))
    sealed = offset // BLOCK_BYTES * SEALED_BLOCK_BYTES
    return first <= sealed + 6146 and sealed <= last


def test_a_node_that_comes_back(context: BrowserContext, site: Site, tmp_path: Path) -> None:
    """A download goes on after the node was away, and the page says what it waits for."""
    content = noise(20 << 20)
    publisher = Publisher()
    link = publisher.publish({"large.bin": content})
    site.segments |= publisher.segments
    page = opened(context, site, link)
    expect(page.get_by_role("heading", name="large.bin")).to_be_visible()
    site.faults.extend(["503"] * 6 + ["cut"])
    with page.expect_download() as waiting:
        press(page, "Download")
    expect(page.get_by_text("Waiting for the node")).to_be_visible()
    assert saved(waiting.value, tmp_path) == content
    expect(page.get_by_text("Waiting for the node")).not_to_be_visible()


def leaves_freely(page: Page) -> bool:
    """Whether the page lets itself be closed without asking."""
    return bool(page.evaluate("dispatchEvent(new Event('beforeunload', { cancelable: true }))"))


def test_a_download_outlives_its_view(context: BrowserContext, site: Site, tmp_path: Path) -> None:
    """Another language and other views, which tell of it; the page is not closed by mistake."""
    site.page = "own"
    content = noise(17 << 20)
    publisher = Publisher()
    link = publisher.publish({"large.bin": content})
    site.segments |= publisher.segments
    page = opened(context, site, link)
    expect(page.get_by_role("heading", name="large.bin")).to_be_visible()
    assert leaves_freely(page)
    site.flowing.clear()
    with page.expect_download() as waiting:
        press(page, "Download")
    press(page, "Français")
    expect(page.get_by_role("button", name="Annuler: large.bin")).to_be_visible()
    page.evaluate("location.hash = '#/'")
    strip = page.get_by_role("complementary", name="De cette page")
    expect(strip).to_contain_text("large.bin")
    assert not leaves_freely(page)
    assert serious(page) == []
    strip.get_by_role("link").click()
    expect(page.get_by_role("heading", name="De cette page")).to_be_visible()
    expect(strip).not_to_be_visible()
    assert serious(page) == []
    site.flowing.set()
    assert saved(waiting.value, tmp_path) == content
    expect(page.get_by_role("article", name="large.bin")).to_contain_text("remis à votre navigateur")
    assert leaves_freely(page)


def test_a_film_that_is_not_there_any_more(context: BrowserContext, site: Site) -> None:
    """Not the browser's fault, nor the file's; and it may come back."""
    publisher = Publisher()
    link = publisher.publish({"long.wav": sound(30)})
    site.segments[link.root.hex()] = publisher.segments[link.root.hex()]
    page = opened(context, site, link)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Made to answer 404")
    expect(alert).not_to_contain_text("cannot play")
    site.segments |= publisher.segments
    press(page, "Try again")
    page.locator("audio").evaluate(
        "player => new Promise(done => player.readyState >= 1 ? done() : player.onloadedmetadata = done)"
    )
    expect(alert).to_be_empty()


def failure(context: BrowserContext, site: Site, link: Link | str) -> str:
    page = opened(context, site, link)
    expect(page.get_by_role("heading", level=1)).to_have_text("This link cannot be opened")
    return page.locator("main .notice.bad").inner_text()


def test_links_that_cannot_be_opened(context: BrowserContext, site: Site) -> None:
    publisher = Publisher()
    link = publisher.publish({"large.bin": noise(1 << 20)})
    text = str(link)
    assert "cut short" in failure(context, site, text[:-5])
    assert "Copy the whole link" in failure(context, site, text[:-5])
    assert "may be away for now" in failure(context, site, text)  # nobody has it
    site.segments |= publisher.segments
    wrong = str(Link(link.kind, link.root, bytes(32)))
    assert "not what the link promises" in failure(context, site, wrong)
    segment = max(site.segments, key=lambda name: len(site.segments[name]))
    damaged = bytearray(site.segments[segment])
    damaged[-1] ^= 1
    site.segments[segment] = bytes(damaged)
    page = opened(context, site, link)
    expect(page.get_by_role("heading", name="large.bin")).to_be_visible()
    press(page, "Download")
    expect(page.get_by_role("alert")).to_contain_text("hash")


def test_keeping_what_was_opened(chromium: Browser, islands: Islands, ada: Somebody, tmp_path: Path) -> None:
    """A name that is taken is asked for; what is sealed to one's account is opened from one's drive."""
    bob = islands.person(tmp_path / "bob")

    def published(content: str) -> str:
        (tmp_path / "kept.txt").write_text(content)
        return str(bob.json("publish", tmp_path / "kept.txt")["link"])

    first, second, third = map(published, ("one", "two", "three"))
    with page_of(chromium, ada) as page:
        page.goto(f"{ada.url}/#{first}")
        press(page, "Keep in my drive")
        expect(page.get_by_text("Kept in the drive: kept.txt")).to_be_visible()
        expect(page.get_by_text("your own node has its link")).to_be_visible()
        page.evaluate("link => { location.hash = link; }", second)
        expect(page.locator("pre")).to_have_text("two")
        press(page, "Keep in my drive")
        page.get_by_label("Keep as").fill("second.txt")
        press(page, "Keep")
        expect(page.get_by_text("Kept in the drive: second.txt")).to_be_visible()
        key = page.evaluate("import('/parts/live.js').then(({ node }) => node.account.key)")
        sealed = bob.json("share", third, "--to", key)["link"]
        page.goto("about:blank")
        page.goto(f"{ada.url}/#{sealed}")
        press(page, "Keep in my drive and open")
        page.get_by_label("Keep as").fill("third.txt")
        press(page, "Keep")
        expect(page.locator("pre")).to_have_text("three")
        assert page.evaluate("location.hash") == "#/view/third.txt"


def test_names_that_windows_takes_for_other_places(context: BrowserContext, site: Site, tmp_path: Path) -> None:
    publisher = Publisher()
    link = publisher.publish({"C:\\autoexec": b"one", "a/..\\b": b"two"})
    site.segments |= publisher.segments
    page = opened(context, site, link)
    with page.expect_download() as waiting:
        press(page, "Download as .zip")
    with zipfile.ZipFile(BytesIO(saved(waiting.value, tmp_path))) as archive:
        assert archive.namelist() == ["C：＼autoexec", "a/", "a/..＼b"]


def test_in_french(chromium: Browser, site: Site) -> None:
    publisher = Publisher()
    site_link = publisher.publish({"un.txt": "Bonjour à tous".encode()})
    site.segments |= publisher.segments
    with chromium.new_context(locale="fr-FR") as context:
        page = opened(context, site, site_link)
        expect(page.get_by_role("button", name="Télécharger", exact=True)).to_be_visible()
        expect(page.locator("pre")).to_have_text("Bonjour à tous")
        assert page.locator("html").get_attribute("lang") == "fr"
