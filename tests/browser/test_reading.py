"""What Python has sealed, the page reads: any range of any file, verified, with a node that stumbles."""

import json
from typing import Any

import pytest
from blake3 import blake3
from playwright.sync_api import Page

from protocol.identity import Network
from protocol.links import Link, NameLink
from protocol.names import NameKeys, NameValue
from protocol.seal import BlockCipher
from protocol.segment import BLOCK_BYTES, SEALED_BLOCK_BYTES, TAG_BYTES, Shares
from tests.browser.deposits import Publisher
from tests.browser.site import Site

NETWORK = Network("archipel vectors")
FAR = 4_000_000_000
BIG = bytes(range(251)) * 83_000  # 20.8 MB: two segments
FILES = {"top/a.txt": b"hello", "top/sub/é.bin": bytes(2000), "top/big.bin": BIG, "top/empty": b""}

OPEN = """async ([link, path, ranges, network]) => {
  const pool = core.workerPool();
  const waits = [];
  const get = core.httpGet(fetch.bind(globalThis));
  try {
    const options = { get, pool, onWait: (told) => waits.push(told) };
    if (network) options.network = core.unhex(network);
    const deposit = await core.openLink(link, options);
    const entry = deposit.entry(path);
    const hashes = [];
    for (const [start, stop] of ranges) {
      const parts = [];
      for await (const part of deposit.read(entry, start, stop ?? undefined)) parts.push(part.slice());
      hashes.push(core.hex(core.plainDigest(core.concat(...parts))));
    }
    const listing = deposit.manifest.entries.map(({ path, kind, size }) => [path, kind, size]);
    return { hashes, listing, waits: waits.length, version: deposit.version?.number ?? null };
  } catch (error) {
    return { error: error.name, text: error.message, waits: waits.length };
  } finally {
    pool.close();
  }
}"""


def _hash(data: bytes) -> str:
    return blake3(data).hexdigest()


def _read(
    page: Page, link: object, path: str, ranges: list[tuple[int, int | None]], network: str | None = None
) -> dict[str, Any]:
    told: dict[str, Any] = page.evaluate(OPEN, [str(link), path, ranges, network])
    return told


@pytest.fixture(scope="module")
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture(scope="module")
def link(publisher: Publisher) -> Link:
    """Of FILES."""
    return publisher.publish(FILES)


@pytest.fixture
def served(site: Site, publisher: Publisher, link: Link) -> Site:
    """A node that has FILES."""
    site.segments.update(publisher.segments)
    return site


def test_any_range_of_a_file_in_several_segments(page: Page, served: Site, link: Link) -> None:
    edge = 16 << 20
    ranges = [(0, None), (0, 1), (edge - 1, edge + 1), (131_071, 131_073), (len(BIG) - 1, None), (5, 5), (edge, edge)]
    told = _read(page, link, "top/big.bin", ranges)
    assert told.get("hashes") == [_hash(BIG[start:stop]) for start, stop in ranges], told
    assert told["listing"] == [
        ["top", "folder", 0],
        ["top/a.txt", "file", 5],
        ["top/big.bin", "file", len(BIG)],
        ["top/empty", "file", 0],
        ["top/sub", "folder", 0],
        ["top/sub/é.bin", "file", 2000],
    ]


@pytest.mark.parametrize("path", FILES)
def test_small_and_empty_files(page: Page, served: Site, link: Link, path: str) -> None:
    assert _read(page, link, path, [(0, None), (1, 3)])["hashes"] == [_hash(FILES[path]), _hash(FILES[path][1:3])]


@pytest.mark.parametrize("shares", [Shares(1, 3), Shares(3, 3), Shares(16, 32)], ids=str)
def test_other_shares_and_a_manifest_in_segments(page: Page, site: Site, shares: Shares) -> None:
    publisher = Publisher(shares=shares)
    link = publisher.publish({"f": BIG[:1_500_001]}, spill=True)
    site.segments.update(publisher.segments)
    assert _read(page, link, "f", [(0, None)])["hashes"] == [_hash(BIG[:1_500_001])]


def test_inline_content(page: Page, site: Site) -> None:
    publisher = Publisher()
    link = publisher.publish({"d/one": b"first", "d/two": b"second"})
    site.segments.update(publisher.segments)
    assert _read(page, link, "d/two", [(0, None), (2, 4)])["hashes"] == [_hash(b"second"), _hash(b"co")]


def test_a_folder_of_small_files_is_fetched_at_once(page: Page, site: Site) -> None:
    script = """async ([link, stepBytes]) => {
      const deposit = await core.openLink(link, { get: core.httpGet(fetch.bind(globalThis)) });
      const entries = deposit.manifest.entries.filter(({ path }) => path !== "d/050");
      const found = {};
      for await (const { entry, at, data } of deposit.readRuns(entries.map((entry) => ({ entry })), { stepBytes })) {
        if ((found[entry.path] ??= []).reduce((sum, part) => sum + part.length, 0) !== at) throw new Error("order");
        found[entry.path].push(data.slice());
      }
      return Object.entries(found).map(([path, parts]) => [path, core.hex(core.plainDigest(core.concat(...parts)))]);
    }"""
    files = {f"d/{number:03}": BIG[number : 30_000 + 2 * number] for number in range(100)} | {
        "d/large": BIG[:2_000_000]
    }
    publisher = Publisher()
    link = publisher.publish(files)
    site.segments.update(publisher.segments)
    wanted = [[path, _hash(data)] for path, data in files.items() if path != "d/050"]
    for step_bytes, requests in ((16 << 20, len(publisher.segments)), (300_000, 25)):
        site.asked.clear()
        assert page.evaluate(script, [str(link), step_bytes]) == wanted
        assert len(site.asked) <= requests


def test_no_more_than_three_steps_are_in_memory(page: Page, served: Site, link: Link) -> None:
    script = """async (link) => {
      let begun = 0, used = 0, most = 0;
      const plain = core.httpGet(fetch.bind(globalThis));
      const get = (path, options) => {
        if (options.limit > 10_000 && options.range) most = Math.max(most, ++begun - used);
        return plain(path, options);
      };
      const deposit = await core.openLink(link, { get });
      for await (const part of deposit.read(deposit.entry("top/big.bin"), 0, undefined, { stepBytes: 1 << 20 })) {
        used++;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      return [used, most];
    }"""
    assert page.evaluate(script, str(link)) == [20, 3]


def test_a_seek_moves_heads_and_the_needed_blocks_only(page: Page, served: Site, link: Link) -> None:
    script = """async ([link, places]) => {
      const get = core.httpGet(fetch.bind(globalThis));
      const deposit = await core.openLink(link, { get });
      const entry = deposit.entry("top/big.bin");
      const read = [];
      for (const [start, stop] of places) read.push(core.hex(await deposit.readSmall(entry, start, stop)));
      return read;
    }"""
    places = [(9_000_000, 9_000_100), (200_000, 200_010), (131_071, 131_073)]
    assert page.evaluate(script, [str(link), places]) == [BIG[start:stop].hex() for start, stop in places]
    ranges = [asked for _, asked in served.asked]
    assert ranges[:2] == [None, "bytes=0-6145"]  # the root, then one head
    sizes = [int(last) - int(first) + 1 for first, last in (asked[6:].split("-") for asked in ranges[2:] if asked)]
    assert sizes == [SEALED_BLOCK_BYTES, SEALED_BLOCK_BYTES, 2 * SEALED_BLOCK_BYTES]


@pytest.mark.parametrize("faults", [["503"], ["drop", "cut"], ["cut"], ["503", "404"]], ids=str)
def test_a_node_that_is_away_for_a_moment_is_waited_for(
    page: Page, served: Site, link: Link, faults: list[str]
) -> None:
    served.faults.extend(faults)
    told = _read(page, link, "top/big.bin", [(0, None)])
    assert told["hashes"] == [_hash(BIG)]
    assert told["waits"] >= 2  # that it waits, and that it goes on


def test_what_is_not_there_is_said_at_once(page: Page, served: Site, link: Link) -> None:
    served.faults.append("404")
    told = _read(page, link, "top/a.txt", [(0, None)])
    assert (told["error"], told["text"], told["waits"]) == ("NotFound", "made to answer 404", 0)
    assert _read(page, link, "top/none", [(0, None)])["error"] == "NotFound"


@pytest.mark.parametrize("place", ["descriptor", "hashes", "block", "other"])
def test_a_node_that_changes_anything_is_caught(page: Page, served: Site, link: Link, place: str) -> None:
    ids = [name for name, data in served.segments.items() if len(data) > 16 << 20]
    whole = served.segments[ids[0]]
    head = 2 + int.from_bytes(whole[:2], "big")
    at = {"descriptor": 20, "hashes": head + 40, "block": head + 128 * 32 + 300_000, "other": 0}[place]
    changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    served.segments[ids[0]] = served.segments[link.root.hex()] if place == "other" else changed
    told = _read(page, link, "top/big.bin", [(0, None)])
    assert told["error"] == "Integrity"
    assert told["waits"] == 0


def test_a_block_forged_by_somebody_who_has_the_link_is_caught(page: Page, site: Site) -> None:
    publisher = Publisher()
    content = BIG[:300_000]
    link = publisher.publish({"f": content})
    ref = publisher.store(content)
    forged = BlockCipher(ref.key).seal(1, False, bytes(BLOCK_BYTES))  # opens, under the very key
    whole = publisher.segments[ref.id.hex()]
    start = len(whole) - len(content) - 3 * TAG_BYTES + SEALED_BLOCK_BYTES
    publisher.segments[ref.id.hex()] = whole[:start] + forged + whole[start + SEALED_BLOCK_BYTES :]
    site.segments.update(publisher.segments)
    told = _read(page, link, "f", [(0, None)])
    assert (told["error"], told["text"]) == ("Integrity", "block 1 does not match its hash")


def test_another_key_opens_nothing(page: Page, served: Site, link: Link) -> None:
    told = _read(page, Link(link.kind, link.root, bytes(32)), "top/big.bin", [(0, None)])
    assert (told["error"], told["text"]) == ("Integrity", "the key is not that of the segment")


def test_reading_ends_when_it_is_aborted(page: Page, served: Site, link: Link) -> None:
    script = """async (link) => {
      const stop = new AbortController();
      const get = core.httpGet(fetch.bind(globalThis));
      const deposit = await core.openLink(link, { get });
      try {
        const options = { stepBytes: 1 << 20, signal: stop.signal };
        for await (const part of deposit.read(deposit.entry("top/big.bin"), 0, undefined, options)) {
          stop.abort();
        }
      } catch (error) {
        return error.name;
      }
    }"""
    assert page.evaluate(script, str(link)) == "AbortError"
    assert len(served.asked) <= 5  # the root, a head, three steps


@pytest.mark.parametrize("in_answer", [True, False])
def test_a_name_leads_to_its_newest_version(page: Page, served: Site, link: Link, in_answer: bool) -> None:
    keys = NameKeys(b"\x07" * 32)
    old = NameValue(number=1, kind=1, root=bytes(32), key=bytes(32), time=5, previous=b"")
    new = NameValue(number=2, kind=1, root=link.root, key=link.key, time=6, previous=old.hash)

    def record(value: NameValue, sequence: int, network: Network = NETWORK, expiry: int = FAR) -> str:
        return keys.sign(network.id, value, sequence=sequence, expiry=expiry, nonce=bytes(16)).hex()

    foreign, ended = record(old, 9, Network("another")), record(old, 8, expiry=1000)
    records = [record(old, 1), foreign, "00" * 100, record(new, 2), ended]
    answer = {"records": records, **({"network": NETWORK.id.hex()} if in_answer else {})}
    served.names[keys.identity.key.hex()] = json.dumps(answer).encode()
    named = NameLink(keys.identity.key, keys.read_key)
    told = _read(page, named, "top/a.txt", [(0, None)], None if in_answer else NETWORK.id.hex())
    assert (told["hashes"], told["version"]) == ([_hash(b"hello")], 2)


def test_a_verify_link_tells_of_the_segments_and_reads_nothing(page: Page, served: Site, link: Link) -> None:
    script = """async (link) => {
      const deposit = await core.openLink(link, { get: core.httpGet(fetch.bind(globalThis)) });
      try {
        deposit.entry("top");
      } catch (error) {
        return [deposit.index.map(({ length }) => length), error.name];
      }
    }"""
    lengths, error = page.evaluate(script, str(link.verify_link()))
    assert sum(lengths) == len(BIG) + 2005
    assert error == "LinkError"
