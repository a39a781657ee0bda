"""The vectors of docs/spec/storage.md section 8 that are not about deposits, one operation each."""

from pathlib import Path

import pytest

from protocol.accountkey import format_account_key, parse_account_key
from protocol.identity import Identity
from protocol.links import NameLink, SealedLink, open_link, parse_link, seal_link
from tests.protocol.vectorfiles import Json, Operations, check_made, check_vector, vector_paths
from tests.vectors import make_links


def _parse(inputs: Json) -> Json:
    link = parse_link(inputs["link"])
    assert isinstance(link, NameLink)
    assert parse_link(str(link)) == link
    hints = [str(hint) for hint in link.hints]
    return {"kind": "name", "name": link.name.hex(), "read_key": link.read_key.hex(), "hints": hints}


def _seal(inputs: Json) -> Json:
    link, recipient = parse_link(inputs["link"]), Identity(bytes.fromhex(inputs["seed"]))
    assert not isinstance(link, SealedLink)
    sealed = seal_link(link, recipient.key, bytes.fromhex(inputs["box_seed"]))
    assert open_link(sealed, recipient) == link
    return {"sealed": str(sealed)}


def _open(inputs: Json) -> None:
    sealed = parse_link(inputs["link"])
    assert isinstance(sealed, SealedLink)
    open_link(sealed, Identity(bytes.fromhex(inputs["seed"])))


def _account_key(inputs: Json) -> Json:
    key = parse_account_key(inputs["key"])
    assert parse_account_key(format_account_key(key)) == key
    return {"key": key.hex()}


OPERATIONS: Operations = {
    "parse link": _parse,
    "seal link": _seal,
    "open link": _open,
    "account key": _account_key,
}


@pytest.mark.parametrize("path", vector_paths("links"), ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    check_vector(path, OPERATIONS)


def test_vectors_on_disk_are_those_that_are_made() -> None:
    check_made(make_links, "links")
