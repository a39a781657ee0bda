"""The page's modules on the vectors of the formats: what is right is read, what is wrong is refused, as in Python."""

import json
from pathlib import Path

import pytest
from blake3 import blake3
from playwright.sync_api import Page

from protocol.hashing import digest

FOLDER = Path(__file__).parent.parent / "vectors"
NOT_THE_PAGES = {"open link", "archive"}
"""A sealed link is opened, and a name is written, by the node that has the account."""
PREFIXES = ("crypto_", "storage_", "links_", "names_", "wire_lease")
VECTORS = {
    path.stem: text
    for path in sorted(FOLDER.glob("*.json"))
    if path.stem.startswith(PREFIXES) and json.loads(text := path.read_text())["operation"] not in NOT_THE_PAGES
}
LENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 2048, 2049, 3072, 3073, 4096, 4097)
LONGER = (5120, 5121, 6144, 6145, 7168, 7169, 8192, 8193, 16384, 31744, 102400, 131072, 131088)


_told: dict[str, str | None] = {}


@pytest.fixture
def told(page: Page) -> dict[str, str | None]:
    """What the page says of each vector: asked once for all of them."""
    if not _told:
        _told.update(page.evaluate("(vectors) => core.runVectors(vectors)", VECTORS))
    return _told


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str, told: dict[str, str | None]) -> None:
    assert told[name] is None


def test_blake3_at_all_the_lengths_where_its_tree_changes(page: Page) -> None:
    script = """(lengths) => lengths.map((length) => {
      const data = Uint8Array.from({ length: length + 1 }, (_, at) => (at + 250) % 251).subarray(1);
      return [core.hex(core.plainDigest(data)), core.hex(core.digest("block", data))];
    })"""
    lengths = LENGTHS + LONGER
    data = [bytes(at % 251 for at in range(length)) for length in lengths]
    expected = [[blake3(each).hexdigest(), digest("block", each).hex()] for each in data]
    assert page.evaluate(script, lengths) == expected
