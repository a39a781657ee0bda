"""Somebody at the page of a node of their own: what they press and see."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.islands import PageNode

PASSPHRASE = "lagoon-river-tin-basalt 77"
MAKE_ACCOUNT = """async ([passphrase]) => {
  const { post } = await import("/parts/api.js");
  const { draft, words, ask } = await post("/v1/account/words");
  const answers = Object.fromEntries(ask.map((place) => [place, words[place - 1]]));
  await post("/v1/account", { draft, answers, passphrase, device: "Ada's laptop" });
  return words;
}"""
LOCK = """async () => { await (await import("/parts/api.js")).post("/v1/account/lock"); }"""


@dataclass(frozen=True, slots=True)
class Somebody:
    """Who has an account, and a node of their own where it is unlocked."""

    node: PageNode
    words: tuple[str, ...]

    @property
    def url(self) -> str:
        return self.node.url


@contextmanager
def page_of(browser: Browser, node: PageNode | Somebody, view: str = "", locale: str = "en-GB") -> Iterator[Page]:
    """A page in a browser that has not seen it before; errors that nobody catches fail the test."""
    with browser.new_context(locale=locale) as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{node.url}/#/{view}")
        yield page
        assert errors == []


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def row(page: Page, name: str) -> Locator:
    """Of a thing in the drive."""
    return page.locator("tbody tr").filter(has=page.get_by_role("link", name=name, exact=True, include_hidden=True))


def transfer(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


def upload(page: Page, *files: Path) -> None:
    """Into the folder of the drive that is shown, by the picker."""
    press(page, "Add")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("menuitem", name="Upload files").click()
    chooser.value.set_files(files)


def drop(page: Page, name: str, content: str) -> None:
    """A text file, in the middle of the window."""
    page.evaluate(
        """([name, content]) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([content], name, { type: "text/plain" }));
          for (const kind of ["dragenter", "dragover", "drop"]) {
            document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
          }
        }""",
        [name, content],
    )


def finished(page: Page, name: str) -> Locator:
    """The transfer, once it is done."""
    page.get_by_role("link", name="Transfers").first.click()
    found = transfer(page, name)
    expect(found.get_by_text("Done", exact=True)).to_be_visible(timeout=30_000)
    return found


def serious(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core finds that keeps somebody from using the page: which rule, and where."""
    found = Axe().run(page).response["violations"]
    return [
        (issue["id"], [node["html"] for node in issue["nodes"]])
        for issue in found
        if issue["impact"] in ("serious", "critical")
    ]
