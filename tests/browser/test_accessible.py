"""Every view: what axe-core finds in it is nothing serious, in light and in dark, on a screen and on a phone; it fits a
phone's width; it asks for nothing from elsewhere, breaks no rule of its policy, and has nothing to tell the console."""

import json
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize

from tests.browser.islands import Islands, PageNode
from tests.browser.ownpage import MAKE_ACCOUNT, PASSPHRASE, finished, page_of, upload
from tests.browser.views import VIEWS, Scene, make_files

SCREEN, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=360, height=740)
AXE = Axe()
WIDTH = "() => document.scrollingElement.scrollWidth"


@pytest.fixture(scope="module")
def scene(chromium: Browser, islands: Islands, gateway: PageNode, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A drive with something in it, and links."""
    folder = tmp_path_factory.mktemp("scene")
    make_files(folder)
    own = islands.start()
    with page_of(chromium, own) as page:
        page.evaluate(MAKE_ACCOUNT, [PASSPHRASE])
        page.goto(f"{own.url}/#/drive")
        upload(page, folder / "film.bin")
        finished(page, "film.bin")
    person = islands.person(own.home)
    photos, letter = (person.publish(folder / name) for name in ("Photos", "letter.txt"))
    words = (link.partition(":")[2] for link in (photos["link"], letter["link"], letter["verify_link"]))
    return Scene(islands.start().url, own.url, gateway.gateway, *words)


def serious(page: Page, **options: object) -> list[str]:
    """What axe-core finds that keeps somebody from using the view, or nearly so."""
    violations = AXE.run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [
        f"{issue['id']}: {node['html']}: {node['failureSummary']}"
        for issue in violations
        if issue["impact"] in ("serious", "critical")
        for node in issue["nodes"]
    ]


def judged(page: Page) -> list[str]:
    """What is wrong with what is shown: on a screen in light, then on a phone in the dark."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size(SCREEN)
    wrong = serious(page)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.set_viewport_size(PHONE)
    wrong += [f"phone, dark: {issue}" for issue in serious(page)]
    if (width := page.evaluate(WIDTH)) > PHONE["width"]:
        wrong.append(f"phone: it is {width} pixels wide")
    return wrong


def test_every_view(chromium: Browser, scene: Scene) -> None:
    own = {urlsplit(url).netloc for url in (scene.empty, scene.own, scene.gateway)}
    wrong: dict[str, list[str]] = {}
    with chromium.new_context(locale="en-GB", viewport=SCREEN) as context:
        page = context.new_page()
        told: list[str] = []

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                told.append(f"{message.text} ({message.location['url']})")

        page.on("console", on_console)
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda asked: told.append(asked.url) if _leaves(asked.url, own) else None)
        for name, go in VIEWS.items():
            page.set_viewport_size(SCREEN)
            page.goto("about:blank")  # else what is open stays open
            go(page, scene)
            if found := judged(page) + told:
                wrong[name] = found
            told.clear()
    assert not wrong, json.dumps(wrong, indent=1)


def _leaves(url: str, own: set[str]) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("about", "blob", "data") and parts.netloc not in own
