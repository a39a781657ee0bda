"""`archipel open LINK`: the page shows what it leads to, and the browser was only told a ticket."""

from playwright.sync_api import Browser, expect

from tests.browser.islands import Islands


def test_open(chromium: Browser, islands: Islands) -> None:
    own = islands.start()
    owner = islands.person(own.home)
    link = "archipel:" + "a" * 20
    assert "mistyped" in owner.run("open", link, "--no-browser", code=2).err
    url = owner.json("open", "--no-browser")["url"]
    assert url == own.url + "/"
    with chromium.new_context(locale="en") as context:
        page = context.new_page()
        page.goto(url)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
