"""What /openapi.json says, held against a real node by schemathesis: requests as it says, and requests that break it.

Small and always the same: a handful of requests at the edges of each call, and some at random with a fixed seed. Apart
from what it says, no answer may be 500, which is a bug or a machine that fails.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.request import Request, urlopen

import pytest
import schemathesis
from playwright.sync_api import APIResponse, Browser, Page
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

from tests.browser.islands import Islands, PageNode
from tests.browser.ownpage import MAKE_ACCOUNT, PASSPHRASE, page_of
from tests.e2e.world import root_of

EXPECTED = ["2xx", "3xx", "4xx", "502", "503", "507"]
OFF = {"enabled": False}
CHECKS: Mapping[str, Any] = {
    "not_a_server_error": {"expected-statuses": EXPECTED},
    "negative_data_rejection": {"expected-statuses": ["4xx", "503"]},
    # What a path, a link or a word may be is more than a schema can say.
    "positive_data_acceptance": OFF,
    # There are other ways to be refused than 401 for want of a token: by Origin, and on a gateway.
    "use_after_free": OFF,
    "ensure_resource_availability": OFF,
}
APART = {
    "GET /v1/events": "does not end",
    "POST /v1/account/lock": "nothing could be tried with the account afterwards",
    "POST /v1/drive/renew": "asks every holder of every segment",
    "POST /v1/account/unlock": "turns each passphrase into a key for a second: Argon2",
    "PATCH /v1/operator/limits": "a node that may send a kilobyte a second does not get far with the other calls",
}
"""Tried below, one by one, and why."""
ENDS = {f"POST /v1/transfers/{{id}}/{act}": "nothing is left to try" for act in ("cancel", "forget")}
EXAMPLES = 3
SEED = 6


def config(apart: Mapping[str, str], headers: Mapping[str, str], known: Mapping[str, object]) -> SchemathesisConfig:
    generation = {"max-examples": EXAMPLES, "no-shrink": True, "deterministic": True, "database": "none"}
    others = [{"exclude-path-regex": "[{]", **OFF}] if known else []
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "headers": dict(headers),
            "request-timeout": 20,
            "continue-on-failure": True,
            "checks": dict(CHECKS),
            "generation": generation | {"mode": "positive" if known else "all"},
            "phases": {"examples": OFF, "stateful": OFF},
            "parameters": dict(known),
            "operations": [{"include-name": name, **OFF} for name in apart] + others,
        }
    )


def tried(
    url: str, apart: Mapping[str, str], headers: Mapping[str, str], known: Mapping[str, object] = MappingProxyType({})
) -> tuple[int, list[str]]:
    """How many requests were made, and what is wrong with their answers.

    Args:
        url: Of a node's page.
        apart: Calls that are left out.
        headers: For all calls.
        known: Parameters that are always so; with some, only calls with a part of the path to choose.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config(apart, headers, known))
    made = 0
    wrong: list[str] = []
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            made += len(event.recorder.cases)
            wrong += _wrong(event)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            wrong.append(str(event))
    return made, wrong


def _wrong(event: events.ScenarioFinished) -> Iterator[str]:
    for case, checks in event.recorder.checks.items():
        for check in checks:
            if check.status is Status.FAILURE and check.failure_info is not None:
                asked = event.recorder.cases[case].value.as_curl_command()
                yield f"{event.label}: {check.name}: {check.failure_info.failure}\n  {asked}"


class Caller:
    """The page's own way of asking."""

    def __init__(self, page: Page, url: str) -> None:
        self._request, self._url = page.request, url
        token = self._request.post(f"{url}/v1/session", headers={"Origin": url}).json()["token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, method: str, path: str, body: Any = None) -> APIResponse:
        headers = self.headers | ({} if body is None else {"Content-Type": "application/json"})
        data = None if body is None else json.dumps(body)
        return self._request.fetch(f"{self._url}{path}", method=method, headers=headers, data=data)


@pytest.fixture(scope="module")
def own(islands: Islands) -> PageNode:
    return islands.start()


@pytest.fixture(scope="module")
def call(chromium: Browser, own: PageNode) -> Iterator[Caller]:
    """For the page of a node where an account is unlocked."""
    with page_of(chromium, own) as page:
        page.evaluate(MAKE_ACCOUNT, [PASSPHRASE])
        yield Caller(page, own.url)


def test_of_a_gateway(gateway: PageNode) -> None:
    made, wrong = tried(gateway.gateway, {}, {})
    assert wrong == []
    assert made > 40


def test_of_the_own_page(own: PageNode, call: Caller) -> None:
    made, wrong = tried(own.url, APART, call.headers)
    assert wrong == []
    assert made > 1000


def test_of_what_there_is(islands: Islands, own: PageNode, call: Caller, tmp_path: Path) -> None:
    """Calls about things that exist: an upload that is waited for, a deposit, a name."""
    upload = call("POST", "/v1/uploads", {"name": "a", "folder": "", "files": [{"path": "a", "size": 9}]}).json()
    (tmp_path / "isle.txt").write_text("water all around")
    published = islands.person(own.home).publish(tmp_path / "isle.txt")
    known = {
        "path.id": upload["id"],
        "path.number": 0,
        "path.link": published["link"].partition(":")[2],
        "path.path": "isle.txt",
        "path.segment": root_of(published["link"]),
        "path.key": "ab" * 32,
    }
    made, wrong = tried(own.url, ENDS, call.headers, known)
    assert wrong == []
    assert made > 40
    for act in ("cancel", "forget"):
        assert call("POST", f"/v1/transfers/{upload['id']}/{act}").json()["state"] == "cancelled"


def test_apart(own: PageNode, call: Caller) -> None:
    """The calls that are not tried at random, by hand: as they should be called, and as they should not."""
    limits = call("GET", "/v1/operator/limits").json()
    changed = call("PATCH", "/v1/operator/limits", {"up_bytes_per_second": 10**9}).json()
    assert changed == limits | {"up_bytes_per_second": 10**9}
    refused: list[object] = [{"up_bytes_per_second": 1}, {"quota_bytes": "all"}, {"quota_bytes": -1}, {"speed": 1}, []]
    for body in refused:
        assert call("PATCH", "/v1/operator/limits", body).status == 400
    assert call("PATCH", "/v1/operator/limits", {"up_bytes_per_second": None}).json() == limits
    assert call("POST", "/v1/drive/renew", {"path": 1}).status == 400
    assert call("POST", "/v1/drive/renew", {"path": "not there"}).status == 404
    assert call("POST", "/v1/drive/renew", {"path": None}).status == 200  # of what the random calls left there
    assert call("POST", "/v1/account/lock", {"now": True}).status == 400
    assert not call("POST", "/v1/account/lock").json()["unlocked"]
    assert call("GET", "/v1/drive").status == 403
    for bad in ({"passphrase": "", "seconds": 60}, {"passphrase": PASSPHRASE, "seconds": 0}, {"seconds": 60}):
        assert call("POST", "/v1/account/unlock", bad).status == 400
    assert call("POST", "/v1/account/unlock", {"passphrase": "not this one", "seconds": 60}).status == 403
    assert call("POST", "/v1/account/unlock", {"passphrase": PASSPHRASE, "seconds": 60}).json()["unlocked"]
    asked = Request(f"{own.url}/v1/events", headers=call.headers)
    with urlopen(asked, timeout=20) as told:
        assert told.headers["Content-Type"].partition(";")[0] == "text/event-stream"
        assert told.readline()[:1] in (b":", b"e")
