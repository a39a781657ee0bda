"""What the page asks a node for is bounded, ends, and fails with a cause."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from tests.browser.conftest import load_core
from tests.browser.site import Site

GET = """async ([answer, limit, range]) => {
  const { status = 200, headers = {}, size = 10, plain = false } = answer;
  const bytes = new Uint8Array(size).fill(7);
  const pieces = new ReadableStream({ start(stream) { stream.enqueue(bytes); stream.close(); } });
  let heard = 0;
  const fake = async () => new Response(plain ? pieces : (answer.text ?? bytes), { status, headers });
  try {
    const data = await core.httpGet(fake, { onBytes: (count) => (heard += count) })("/", { limit, range });
    return [data.length, heard];
  } catch (error) {
    return [error.name, error.message, error.retrySeconds ?? null];
  }
}"""


@pytest.mark.parametrize("plain", [False, True], ids=["bytes", "pieces"])
@pytest.mark.parametrize(
    ("headers", "limit", "told"),
    [
        ({"Content-Length": "10"}, 10, [10, 10]),
        ({}, 11, [10, 10]),
        ({"Content-Length": "3", "Content-Encoding": "gzip"}, 11, [10, 10]),
        ({"Content-Length": "10"}, 9, ["Integrity", "the node sends 10 bytes where 9 are the most", None]),
    ],
    ids=["told", "untold", "compressed", "announced"],
)
def test_bytes_are_counted(page: Page, headers: dict[str, str], limit: int, plain: bool, told: list[Any]) -> None:
    assert page.evaluate(GET, [{"headers": headers, "plain": plain}, limit, None]) == told


@pytest.mark.parametrize("plain", [False, True], ids=["bytes", "pieces"])
def test_more_than_was_asked_for_is_refused(page: Page, plain: bool) -> None:
    name, _, _ = page.evaluate(GET, [{"plain": plain}, 9, None])
    assert name == "Integrity"


def test_all_in_place_of_a_part_is_refused(page: Page) -> None:
    assert page.evaluate(GET, [{}, 20, [5, 9]])[0] == "Integrity"
    assert page.evaluate(GET, [{"status": 206}, 20, [5, 9]]) == [10, 10]


@pytest.mark.parametrize(
    ("status", "name"),
    [(404, "NotFound"), (502, "Integrity"), (503, "Network"), (429, "Network"), (403, "Refused"), (413, "Refused")],
)
def test_a_status_says_what_can_be_done(page: Page, status: int, name: str) -> None:
    body = '{"error": {"exit": 3, "text": "have 3 of 8 chunks", "hint": null}}'
    answer = {"status": status, "text": body, "headers": {"Retry-After": "7"}}
    assert page.evaluate(GET, [answer, 10, None]) == [name, "have 3 of 8 chunks", 7 if name == "Network" else None]
    bare = page.evaluate(GET, [{"status": status, "text": "<html>"}, 10, None])
    assert bare == [name, f"the node answers with status {status}", None]


def test_silence_ends_a_request_and_a_node_that_stays_away_is_given_up(chromium: Browser, site: Site) -> None:
    script = """async () => {
      const silent = (path, { signal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      const waits = [];
      const gone = async () => { throw new TypeError("failed to fetch"); };
      const link = "archipel:%s";
      const told = await Promise.all([
        core.httpGet(silent)("/", { limit: 1 }).catch((error) => [error.name, error.message]),
        core.openLink(link, { get: core.httpGet(gone), onWait: (each) => waits.push(each) })
          .catch((error) => [error.name, error.message]),
      ]);
      return [...told, waits.length, waits.every(({ cause }) => cause === told[1][1])];
    }"""
    word = str(Link(LinkKind.READ, SegmentId(bytes(32)), bytes(32))).removeprefix("archipel:")
    with chromium.new_context() as context:
        page = context.new_page()
        page.clock.install()
        load_core(page, site)
        page.evaluate(f"() => {{ globalThis.told = ({script % word})(); }}")
        for _ in range(70):
            page.clock.run_for(1000)
        silent, gone, waits, same = page.evaluate("() => globalThis.told")
    assert silent == ["Network", "the node has sent nothing for 60 s"]
    assert gone == ["Network", "the node cannot be reached, or the connection broke"]
    assert 10 < waits < 20
    assert same
