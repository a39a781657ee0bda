"""Who may ask the node's page, and what browsers are told to do with the answers."""

import pytest

from node.web.site import own_site
from tests.node.web.asking import ADDRESS, Browser, parts_of


@pytest.fixture
def browser() -> Browser:
    return Browser(own_site(parts_of(), {}, ADDRESS))


@pytest.mark.parametrize("host", ["evil.example:8420", "127.0.0.1:8421", "127.0.0.1", "", "localhost.evil:8420", None])
async def test_a_name_that_leads_here_is_not_enough(browser: Browser, host: str | None) -> None:
    answer = await browser.ask("GET", "/healthz", headers={"Host": host})
    assert (answer.status, answer.error["exit"]) == (421, 4)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
