"""Every view of the page, in the states that a person meets: brought about by what they would press."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.ownpage import PASSPHRASE, press, row

BROKEN = "archipel:aeaxjiu6kg4hcnck4tkwmkqurqm"


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to be seen: nodes, and links of deposits."""

    empty: str
    """Of a page whose node has no account."""
    own: str
    """Of one whose account is unlocked, and whose drive holds `letter.txt`, `Photos` and `film.bin`."""
    gateway: str
    folder: str
    """A link's word."""
    file: str
    verify: str


View = Callable[[Page, Scene], None]
"""Goes there, and waits until all is shown."""


def _home(page: Page, scene: Scene) -> None:
    page.goto(scene.empty)
    expect(page.get_by_label("Name of this device")).to_be_visible()


def _words(page: Page, scene: Scene) -> None:
    _home(page, scene)
    page.get_by_label("Name of this device").fill("Ada's laptop")
    page.get_by_label("Passphrase", exact=True).fill(PASSPHRASE)
    page.get_by_label("The same again").fill(PASSPHRASE)
    press(page, "Continue")
    expect(page.locator(".words li")).to_have_count(24)


def _check(page: Page, scene: Scene) -> None:
    _words(page, scene)
    press(page, "I have written them down")
    expect(page.locator(".places input")).to_have_count(3)


def _restore(page: Page, scene: Scene) -> None:
    page.goto(scene.empty)
    press(page, "Restore from 24 words")
    expect(page.get_by_label("The 24 words, in order")).to_be_visible()


def _unlocked(page: Page, scene: Scene) -> None:
    page.goto(scene.own)
    expect(page.get_by_role("heading", name="Everything in one place")).to_be_visible()


def _drive(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.own}/#/drive")
    expect(row(page, "film.bin").locator(".health .badge.good")).to_be_visible(timeout=20_000)


def _menu(page: Page, scene: Scene) -> None:
    _drive(page, scene)
    press(page, "Add")
    expect(page.get_by_role("menu")).to_be_visible()


def _new_folder(page: Page, scene: Scene) -> None:
    _menu(page, scene)
    page.get_by_role("menuitem", name="New folder").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def _share(page: Page, scene: Scene) -> None:
    _drive(page, scene)
    row(page, "letter.txt").press("s")
    press(page, "Make the link")
    expect(page.get_by_role("dialog").locator("code")).to_have_count(2)
    page.get_by_role("dialog").get_by_role("button", name="QR code").first.click()
    expect(page.get_by_role("img", name="QR code: For a browser")).to_be_visible()


def _move(page: Page, scene: Scene) -> None:
    _drive(page, scene)
    row(page, "letter.txt").press("m")
    page.get_by_role("menuitem", name="Move").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def _keys(page: Page, scene: Scene) -> None:
    _drive(page, scene)
    press(page, "Keys")
    expect(page.get_by_role("dialog")).to_be_visible()


def _delete(page: Page, scene: Scene) -> None:
    _drive(page, scene)
    row(page, "film.bin").press("Delete")
    expect(page.get_by_role("dialog")).to_be_visible()


def _transfers(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.own}/#/transfers")
    expect(page.get_by_role("article").first).to_be_visible()


def _network(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.own}/#/network")
    page.locator("main table").get_by_role("button", name="Iceland").click(timeout=20_000)
    expect(page.get_by_role("heading", name="What if Iceland vanished?")).to_be_visible()
    expect(page.locator("main .spinner")).to_have_count(0, timeout=20_000)


def _operator(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.own}/#/operator")
    expect(page.locator("main h2").nth(1)).to_be_visible()
    expect(page.locator("main .spinner")).to_have_count(0)


def _folder(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.gateway}/#{scene.folder}")
    expect(page.get_by_role("button", name="Download as .zip")).to_be_visible(timeout=20_000)


def _file(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.gateway}/#{scene.file}")
    expect(page.locator("main pre")).to_be_visible(timeout=20_000)


def _verify(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.gateway}/#{scene.verify}")
    page.get_by_role("button", name="How safe is it now?").click(timeout=20_000)
    expect(page.locator("main .spinner")).to_have_count(0, timeout=20_000)


def _error(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.gateway}/#{BROKEN}")
    expect(page.get_by_role("heading", name="This link cannot be opened")).to_be_visible()


def _gateway(page: Page, scene: Scene) -> None:
    page.goto(scene.gateway)
    expect(page.get_by_role("button", name="Open")).to_be_visible()
    expect(page.locator("main .card.drop")).to_be_visible()


def _locked(page: Page, scene: Scene) -> None:
    _unlocked(page, scene)
    press(page, "Lock")
    expect(page.get_by_role("button", name="Unlock")).to_be_visible()


VIEWS: dict[str, View] = {
    "home": _home,
    "words": _words,
    "check": _check,
    "restore": _restore,
    "unlocked": _unlocked,
    "drive": _drive,
    "menu": _menu,
    "new-folder": _new_folder,
    "share": _share,
    "move": _move,
    "keys": _keys,
    "delete": _delete,
    "transfers": _transfers,
    "network": _network,
    "operator": _operator,
    "folder": _folder,
    "file": _file,
    "verify": _verify,
    "error": _error,
    "gateway": _gateway,
    "locked": _locked,
}
"""The last one ends the others of the own page: the account is locked then."""
LETTER = "We have found water on the second island.\n\nThe boat is dry, and we go on with the tide.\n"


def make_files(folder: Path) -> None:
    """What the drive of a scene holds."""
    (folder / "letter.txt").write_text(LETTER)
    (folder / "film.bin").write_bytes(bytes(range(256)) * 12_000)
    photos = folder / "Photos"
    (photos / "lagoon").mkdir(parents=True)
    for number in range(4):
        (photos / f"island-{number}.txt").write_text(LETTER * (number + 3))
    (photos / "lagoon" / "tide.txt").write_text(LETTER)
