"""The page as a whole: its languages, its size, its codes, and what stands around every view."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import qrcode
from playwright.sync_api import Browser, Page, expect
from qrcode.util import MODE_8BIT_BYTE, QRData

from tests.browser.ownpage import Somebody, page_of, press
from tests.browser.site import STATIC

FIRST_LOAD_BYTES = 100 * 1024
SETTLED_MS = 500
"""For what a view asks for after it is shown: there is no end of it to be awaited, since events go on."""
TEXTS = sorted(path.stem for path in (STATIC / "text").glob("*.js"))
LEVELS = {"L": qrcode.constants.ERROR_CORRECT_L, "M": qrcode.constants.ERROR_CORRECT_M}


@pytest.mark.parametrize("name", TEXTS)
def test_both_languages_say_everything(page: Page, name: str) -> None:
    said = page.evaluate(f"async () => (await import('/text/{name}.js')).default")
    assert list(said["en"]) == list(said["fr"])
    for key, text in said["en"].items():
        for form in re.findall(r"\{\w+\}", text):
            assert form in said["fr"][key], key
    tight = [text for text in said["fr"].values() if re.search(r"[a-zé}][!?;»]", text)]
    assert tight == [], "French has a space before these signs"


def test_french_is_set_as_it_is_printed(page: Page) -> None:
    told = page.evaluate(
        """async () => {
          const { choose, teller } = await import("/parts/i18n.js");
          const texts = { en: { a: "so: {what}" }, fr: { a: "l'île : « {what} » ?" } };
          const tell = (tag) => { choose(tag); return teller(texts)("a", { what: "x : y" }); };
          return [tell("fr"), tell("en")];
        }"""
    )
    assert told == ["l’île\u00a0: «\u00a0x : y\u00a0»\u00a0?", "so: x : y"]


def test_in_french(chromium: Browser, ada: Somebody) -> None:
    with page_of(chromium, ada, "drive", locale="fr-FR") as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("Fichiers")
        assert page.title() == "Fichiers · Archipel"
        assert page.evaluate("document.documentElement.lang") == "fr"
        press(page, "English")
        expect(page.get_by_role("heading", level=1)).to_have_text("Drive")
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("Drive")


@pytest.mark.parametrize("view", ["", "drive", "network"])
def test_a_first_load_is_small(chromium: Browser, ada: Somebody, view: str) -> None:
    """What comes over the wire, as it comes: headers, files compressed, the node's answers."""
    with chromium.new_context(locale="en") as context:
        page = context.new_page()
        wire = context.new_cdp_session(page)
        wire.send("Network.enable")
        asked: dict[str, str] = {}
        came: Counter[str] = Counter()
        wire.on("Network.requestWillBeSent", lambda told: asked.update({told["requestId"]: told["request"]["url"]}))
        wire.on("Network.responseReceived", lambda told: count(told, told["response"]["encodedDataLength"]))
        wire.on("Network.dataReceived", lambda told: count(told, told["encodedDataLength"]))

        def count(told: dict[str, Any], length: int) -> None:
            came[asked[told["requestId"]].removeprefix(ada.url)] += length

        page.goto(f"{ada.url}/#/{view}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_timeout(SETTLED_MS)
    table = "\n".join(f"{size:8} {path}" for path, size in came.most_common())
    assert all(path.startswith("/") for path in came), f"from elsewhere:\n{table}"
    assert came["/main.js"] and came["/app.css"]
    assert came.total() < FIRST_LOAD_BYTES, f"{came.total()} bytes:\n{table}"


@pytest.mark.parametrize(("length", "level"), [(1, "L"), (60, "M"), (106, "L"), (200, "M"), (1200, "L"), (2331, "M")])
def test_codes_are_those_of_the_standard(page: Page, length: int, level: str) -> None:
    """As another implementation draws them, in versions 1 to 40."""
    text = ("http://127.0.0.1:8420/#aeau4esqffqltwckuqvd7nlxhm5sfwzq2e6tlrp5bqwz4xk3ja7y" * 40)[:length]
    for mask in (0, 3, 6):
        code = qrcode.QRCode(error_correction=LEVELS[level], border=0, mask_pattern=mask)
        code.add_data(QRData(text.encode(), mode=MODE_8BIT_BYTE))
        code.make(fit=True)
        drawn = page.evaluate("async (asked) => (await import('/parts/qr.js')).qrCode(...asked)", [text, level, mask])
        assert drawn == [[bool(module) for module in line] for line in code.modules]


def test_a_code_that_cannot_be(page: Page) -> None:
    failed = page.evaluate(
        """async () => {
          const { qrCode } = await import("/parts/qr.js");
          try { return qrCode("x".repeat(2954), "L").length; } catch (error) { return error.name; }
        }"""
    )
    assert failed == "RangeError"


def test_every_file_can_be_read() -> None:
    """No module of the page is longer than one of the node's."""
    own = [path for folder in ("parts", "views", "text") for path in Path(STATIC, folder).rglob("*.js")]
    assert [path.name for path in own if len(path.read_text().splitlines()) > 400] == []
