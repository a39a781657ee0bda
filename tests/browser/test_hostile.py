"""Damaged and made-up bytes: the page refuses what Python refuses, by the same error, and reads the rest alike."""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Page

from protocol import errors, links
from protocol.links import Link, parse_link
from protocol.words import word_of
from tests.browser.site import Site
from tests.browser.test_vectors import FOLDER
from tests.protocol import test_link_vectors, test_names, test_storage_vectors, test_wire_vectors
from tests.vectors.make_names import KEYS
from tests.vectors.make_wire import CLIENT

Json = dict[str, Any]
Change = Callable[[Random, bytes], bytes]
CASES = 250
LARGE = (
    b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xcf" + b"\xff" * 8,
    b"\xd3" + b"\xff" * 8,
    b"\xc0",
    b"\x80",
)


def _damaged(random: Random, data: bytes) -> bytes:
    """One bit or byte another, a piece left out, put in, or all that follows left out."""
    at = random.randrange(len(data))
    match random.randrange(5):
        case 0:
            return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
        case 1:
            return data[:at] + random.randbytes(1) + data[at + 1 :]
        case 2:
            return data[:at] + data[at + random.randint(1, 3) :]
        case 3:
            return data[:at] + random.choice(LARGE) + data[at + random.randint(0, 1) :]
    return data[:at]


def _parse(inputs: Json) -> Json:
    link = parse_link(inputs["link"])
    operations = test_storage_vectors.OPERATIONS if isinstance(link, Link) else test_link_vectors.OPERATIONS
    return operations["parse link"](inputs) or {}


def _word(random: Random, payload: bytes) -> str:
    """A link with a right checksum, half of the time."""
    whole = random.random() < 0.5
    changed = _damaged(random, payload)
    if changed[1:2] == b"\x04":  # a sealed link is the node's
        changed = b"\x01\x01" + changed[2:]
    word = word_of("link", changed if whole else payload)
    return links.SCHEME + (word if whole else _damaged(random, word.encode()).decode("latin-1"))


def _inputs(stem: str) -> Json:
    inputs: Json = json.loads((FOLDER / f"{stem}.json").read_text())["input"]
    return inputs


def _cases(random: Random) -> Iterator[tuple[str, Json, Callable[[Json], Json | None]]]:
    """(operation, input, what Python makes of it)."""
    storage = test_storage_vectors.OPERATIONS
    fields = [
        ("storage_descriptor", "read descriptor", "descriptor"),
        ("storage_manifest", "read manifest", "manifest"),
        ("storage_manifest_segments", "read manifest", "manifest"),
        ("storage_root_spilled", "open root", "root"),
        ("storage_root_spilled", "open root", "spilled"),
    ]
    for stem, operation, field in fields:
        inputs = _inputs(stem)
        inputs.pop("segment_id", None)
        data = bytes.fromhex(inputs[field])
        for _ in range(CASES):
            yield operation, {**inputs, field: _damaged(random, data).hex()}, storage[operation]
    signed = [
        ("names_second", "record", "record", KEYS.identity, "name", test_names.OPERATIONS["record"]),
        ("wire_lease", "lease", "data", CLIENT, "lease", test_wire_vectors.OPERATIONS["lease"]),
    ]
    for stem, operation, field, identity, label, run in signed:
        inputs = _inputs(stem)
        body = bytes.fromhex(inputs[field])[64:]
        for _ in range(CASES):
            changed = identity.sign_body(label, _damaged(random, body))
            yield operation, {**inputs, field: changed.hex()}, run
    for stem in ("storage_link_hints", "links_name_hints"):
        payload = links.link_payload(parse_link(_inputs(stem)["link"]))
        for _ in range(CASES):
            yield "parse link", {"link": _word(random, payload)}, _parse


def _expected(inputs: Json, run: Callable[[Json], Json | None]) -> Json:
    try:
        made = run(inputs)
    except errors.ProtocolError as error:
        return {"expect": type(error).__name__}
    return {"expect": "success", **({} if made is None else {"output": made})}


@pytest.mark.parametrize("seed", [1])
def test_what_python_makes_of_it_the_page_makes_of_it(page: Page, site: Site, seed: int) -> None:
    vectors = {}
    refused = 0
    for number, (operation, inputs, run) in enumerate(_cases(Random(seed))):
        expected = _expected(inputs, run)
        refused += expected["expect"] != "success"
        vectors[f"{number} {operation} {inputs}"] = json.dumps({"operation": operation, "input": inputs, **expected})
    assert len(vectors) * 0.6 < refused < len(vectors) * 0.99  # both sorts are there
    told = page.evaluate("(vectors) => core.runVectors(vectors)", vectors)
    assert {name: problem for name, problem in told.items() if problem is not None} == {}
