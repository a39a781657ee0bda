"""What the page seals, Python opens, and would have sealed alike: ids, keys, links and leases."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from playwright.sync_api import Page

from protocol.identity import Identity
from protocol.leases import Policy, open_lease, sign_lease
from protocol.links import Link, parse_link
from protocol.manifest import extents, inline_content, open_root, read_manifest
from protocol.seal import open_segment, root_key
from protocol.segment import SEALED_BLOCK_BYTES, Descriptor, Shares
from tests.browser.deposits import SECRET, Publisher
from tests.browser.site import Site
from tests.vectors.make_names import NETWORK

SEED = bytes(range(32, 64))
MTIME, EXPIRY = 1_700_000_000, 1_800_000_000  # as PUBLISH has them
USUAL = Shares()
PATTERN = bytes(range(251))

PUBLISH = """async ([files, secret, seed, network, shares, options]) => {
  const pool = core.workerPool();
  const told = [], waits = [];
  const pattern = Uint8Array.from({ length: 251 }, (_, at) => at);
  const sources = files.map(([path, size]) => ({
    path, size, mtime: 1700000000,
    read: async (start, stop) => {
      if (options.gone === path) throw new DOMException("gone", "NotReadableError");
      const end = options.shrunk === path ? stop - 1 : stop;
      const data = new Uint8Array(end - start + 251);
      for (let at = 0; at < data.length; at += 251) data.set(pattern.subarray(0, data.length - at), at);
      return data.subarray(start % 251, (start % 251) + end - start);
    },
  }));
  try {
    const made = await core.publish(sources, {
      pool, secret: core.unhex(secret), identity: await core.Identity.of(core.unhex(seed)),
      network: core.unhex(network), expiry: 1800000000, shares, ...options.terms,
      post: core.httpPost(fetch.bind(globalThis), "/v1/segments"),
      onProgress: (each) => told.push(each), onWait: (each) => waits.push(each),
    });
    return { ...made, steps: told, waits: waits.length };
  } catch (error) {
    return { error: error.name, text: error.message, waits: waits.length };
  } finally {
    pool.close();
  }
}"""


def _content(size: int) -> bytes:
    return (PATTERN * (size // 251 + 1))[:size]


def _publish(
    page: Page, sizes: Mapping[str, int] | Sequence[tuple[str, int]], shares: Shares = USUAL, **options: Any
) -> dict[str, Any]:
    files = list(sizes.items() if isinstance(sizes, Mapping) else sizes)
    wanted = {"k": shares.k, "n": shares.n}
    told: dict[str, Any] = page.evaluate(PUBLISH, [files, SECRET.hex(), SEED.hex(), NETWORK.id.hex(), wanted, options])
    return told


class Posted:
    """Segments as they were posted, opened by Python."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.by_id: dict[bytes, tuple[Descriptor, bytes, bytes]] = {}
        """Descriptor, lease, sealed blocks."""
        for body in bodies:
            parts, rest = [], body
            for _ in range(2):
                size = int.from_bytes(rest[:2], "big")
                parts.append(rest[2 : 2 + size])
                rest = rest[2 + size :]
            descriptor = Descriptor.decode(parts[0])
            assert descriptor.id not in self.by_id
            self.by_id[descriptor.id] = (descriptor, parts[1], rest)

    def plaintext(self, segment: bytes, key: bytes) -> bytes:
        """Of one segment, out of its data columns."""
        descriptor, _, sealed = self.by_id[segment]
        layout = descriptor.layout
        step = layout.rows * SEALED_BLOCK_BYTES
        columns = {index: sealed[index * step : (index + 1) * step] for index in range(layout.k)}
        return bytes(open_segment(descriptor, key, columns))

    def files(self, link: Link) -> dict[str, bytes]:
        """All files of the deposit."""
        root = open_root(self.plaintext(link.root, root_key(link.verify_key)), link.key)
        encoded = b"".join(self.plaintext(ref.id, ref.key) for ref in root.spill) if root.spill else root.encoded
        manifest = read_manifest(root, encoded)
        contents = [self.plaintext(ref.id, ref.key) for ref in manifest.segments]
        found = {}
        for entry in manifest.entries:
            if manifest.segments:
                runs = extents(entry, manifest.segments)
                data = b"".join(contents[run.segment][run.offset : run.offset + run.length] for run in runs)
            else:
                data = inline_content(manifest, entry)
            if entry.kind == 0:
                found[entry.path.decode()] = data
        return found


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ({"note.txt": 5}, Shares()),
        ({"d/a": 0, "d/e/b": 65_530, "d/é": 6}, Shares()),
        ({"d/a": 3, "d/big": (16 << 20) + 70_000, "d/z": 70_000, "d/medium": 1 << 20}, Shares()),
        ({"f": 3_000_000}, Shares(1, 3)),
        ({"f": 3_000_000}, Shares(16, 32)),
        ({"f": 3_000_000}, Shares(3, 3)),
    ],
    ids=["inline", "inline-folder", "segments", "copies", "wide", "no-parity"],
)
def test_the_page_publishes_what_python_publishes(
    page: Page, site: Site, sizes: dict[str, int], shares: Shares
) -> None:
    made = _publish(page, sizes, shares)
    assert "error" not in made, made
    contents = {path: _content(size) for path, size in sizes.items()}
    publisher = Publisher(shares=shares)
    assert made["link"] == str(publisher.publish(contents, mtime_ns=MTIME * 10**9))
    posted = Posted(site.posted)
    link = parse_link(made["link"])
    assert isinstance(link, Link)
    assert made["verifyLink"] == str(link.verify_link())
    assert posted.files(link) == contents
    assert {segment.hex() for segment in posted.by_id} == set(publisher.segments)
    assert site.posted[-1].endswith(posted.by_id[link.root][2])  # the root last: a deposit is there as a whole
    assert made["segments"] == len(site.posted)


def test_leases_are_those_of_one_deposit_and_one_identity(page: Page, site: Site) -> None:
    _publish(page, {"a": 100_000, "b": 2_000_000}, terms={"spreadCountries": False, "avoid": ["AQ", "US"]})
    posted = Posted(site.posted)
    identity = Identity(SEED)
    leases = [open_lease(lease, NETWORK.id) for _, lease, _ in posted.by_id.values()]
    assert len(leases) == 3
    assert len({(lease.deposit, lease.sequence) for lease in leases}) == 1
    for (descriptor, signed, _), lease in zip(posted.by_id.values(), leases, strict=True):
        assert (lease.segment, lease.size) == (descriptor.id, descriptor.layout.length)
        assert (lease.depositor, lease.expiry, lease.deleted) == (identity.key, EXPIRY, False)
        assert lease.policy == Policy(spread_countries=False, avoid=("AQ", "US"))
        assert sign_lease(identity, lease) == signed


def test_without_a_secret_and_an_identity_each_deposit_has_its_own(page: Page, site: Site) -> None:
    script = """async (network) => {
      const files = [{ path: "f", size: 3, read: async () => Uint8Array.of(1, 2, 3) }];
      const post = core.httpPost(fetch.bind(globalThis), "/v1/segments");
      const terms = { post, network: core.unhex(network), expiry: 1800000000 };
      return [(await core.publish(files, terms)).link, (await core.publish(files, terms)).link];
    }"""
    one, other = page.evaluate(script, NETWORK.id.hex())
    assert one != other
    keys = {open_lease(lease, NETWORK.id).depositor for _, lease, _ in Posted(site.posted).by_id.values()}
    assert len(keys) == 2


def test_equal_segments_are_sent_once(page: Page, site: Site) -> None:
    made = _publish(page, {"one": 2_000_000, "two": 2_000_000})
    assert made["segments"] == len(site.posted) == 2  # the content and the root
    link = parse_link(made["link"])
    assert isinstance(link, Link)
    assert Posted(site.posted).files(link) == {"one": _content(2_000_000), "two": _content(2_000_000)}


def test_progress_is_told_until_all_is_placed(page: Page, site: Site) -> None:
    steps = _publish(page, {"a": 2_000_000, "b": 3_000_000})["steps"]
    for name in ("sealedBytes", "placedBytes", "chunks", "placed"):
        amounts = [step[name] for step in steps]
        assert amounts == sorted(amounts)
    assert steps[0] == {
        "totalBytes": 5_000_000,
        "sealedBytes": 0,
        "placedBytes": 0,
        "chunks": 0,
        "placed": 0,
        "countries": {},
    }
    last = steps[-1]
    assert (last["sealedBytes"], last["placedBytes"]) == (5_000_000, 5_000_000)
    assert (last["chunks"], last["placed"], last["countries"]) == (36, 36, {"FR": 18, "NZ": 18})


def test_a_node_that_is_away_for_a_moment_is_waited_for(page: Page, site: Site) -> None:
    site.faults.extend(["503", "429"])
    made = _publish(page, {"a": 2_000_000})
    assert (made["segments"], made["waits"]) == (2, 3)


def test_a_node_that_refuses_is_believed(page: Page, site: Site) -> None:
    site.faults.append("403")
    made = _publish(page, {"a": 2_000_000, "b": 2_000_001, "c": 2_000_002})
    assert (made["error"], made["text"], made["waits"]) == ("Refused", "made to answer 403", 0)
    assert len(site.posted) <= 1  # of the other that was under way


@pytest.mark.parametrize(
    ("sizes", "options", "text"),
    [
        ([("f", 9), ("f", 9)], {}, "f cannot be published: its path is another's too"),
        ([("f", 9), ("f/g", 9)], {}, "f cannot be published: it is a file and a folder"),
        ([("../f", 9)], {}, "../f cannot be published: a path is absolute"),
        ([("x" * 256, 9)], {}, "at most 255 bytes"),
        ([("f", 2_000_000)], {"gone": "f"}, "f cannot be read"),
        ([("f", 2_000_000)], {"shrunk": "f"}, "f changed"),
        ([], {}, "nothing to publish"),
    ],
    ids=["twice", "beneath", "outside", "long", "gone", "shrunk", "nothing"],
)
def test_what_cannot_be_published_is_said(
    page: Page, site: Site, sizes: list[tuple[str, int]], options: dict[str, Any], text: str
) -> None:
    made = _publish(page, sizes, **options)
    assert made["error"] == "SourceError"
    assert text in made["text"]
    assert site.posted == []
