"""A browser for each worker of the test run, and a page that has the core loaded."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.islands import Islands, PageNode, open_islands
from tests.browser.ownpage import MAKE_ACCOUNT, PASSPHRASE, Somebody, page_of
from tests.browser.site import Site

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Chromium, started once. Its own sandbox needs what a container or root does not have."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.fail("no Chromium on the PATH: scripts/test installs it, or apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def load_core(page: Page, site: Site) -> None:
    """Put the modules of node/web/static/core into a page, as `core`."""
    page.goto(f"{site.url}/tests/core.html")
    page.evaluate("() => import('/tests/core.js').then(() => null)")


@pytest.fixture(scope="session")
def _site() -> Iterator[Site]:
    with Site() as served:
        yield served


@pytest.fixture(scope="session")
def _opened(chromium: Browser, _site: Site) -> Iterator[tuple[Page, list[str]]]:
    with chromium.new_context() as context:
        opened = context.new_page()
        errors: list[str] = []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        load_core(opened, _site)
        yield opened, errors


@pytest.fixture
def site(_site: Site) -> Site:
    """Serves the page's files and sealed segments, as a node does."""
    _site.reset()
    return _site


@pytest.fixture
def page(_opened: tuple[Page, list[str]]) -> Iterator[Page]:
    """A page with `core`, the modules of node/web/static/core; an error that nobody catches fails the test."""
    opened, errors = _opened
    errors.clear()
    yield opened
    assert errors == []


@pytest.fixture(scope="session")
def islands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Islands]:
    """A real network, which no test may harm for good."""
    with open_islands(tmp_path_factory.mktemp("islands")) as opened:
        yield opened


@pytest.fixture(scope="session")
def gateway(islands: Islands) -> PageNode:
    """A node whose gateway takes uploads."""
    return islands.start("--gateway", "127.0.0.1:0", "--gateway-uploads")


@pytest.fixture(scope="session")
def ada(chromium: Browser, islands: Islands) -> Somebody:
    """Tests leave different things in her drive."""
    own = islands.start()
    with page_of(chromium, own) as page:
        words = page.evaluate(MAKE_ACCOUNT, [PASSPHRASE])
    return Somebody(own, tuple(words))
