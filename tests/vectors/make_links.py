"""Vectors of docs/spec/storage.md section 8: name links, sealed links, account keys. Run by scripts/make_vectors.

The links of deposits are in make_storage.py.
"""

from collections.abc import Iterator
from typing import Any

from protocol import accountkey, links
from protocol.accountkey import format_account_key
from protocol.identity import Identity, seal_box
from protocol.ids import Address, PublicKey, SegmentId
from protocol.links import Link, LinkKind, NameLink, SealedLink, link_payload, seal_link
from protocol.words import word_of

Vector = dict[str, Any]
Named = Iterator[tuple[str, Vector]]

NAME = Identity(b"\x03" * 32)
RECIPIENT_SEED, STRANGER_SEED = b"\x04" * 32, b"\x05" * 32
BOX_SEED = bytes(range(32))
HINTS = (Address("192.0.2.1", 4110), Address("2001:db8::1", 65535))
READ = Link(LinkKind.READ, SegmentId(bytes(range(32))), bytes(range(32, 64)))
NAMED = NameLink(NAME.key, bytes(range(64, 96)), HINTS)


def _vector(operation: str, text: str, inputs: Vector, expect: str, output: Vector | None = None) -> Vector:
    vector = {"spec": "docs/spec/storage.md", "operation": operation, "description": text, "input": inputs}
    return {**vector, "expect": expect, **({"output": output} if output is not None else {})}


def _text(payload: bytes) -> str:
    return links.SCHEME + word_of("link", payload)


def _names() -> Named:
    def bad(text: str, payload: bytes) -> Vector:
        return _vector("parse link", text, {"link": _text(payload)}, "LinkError")

    bare = NameLink(NAMED.name, NAMED.read_key)
    for stem, text, link in (("links_name", "a name link", bare), ("links_name_hints", "one with two hints", NAMED)):
        hints = [str(hint) for hint in link.hints]
        output = {"kind": "name", "name": link.name.hex(), "read_key": link.read_key.hex(), "hints": hints}
        yield stem, _vector("parse link", text, {"link": str(link)}, "success", output)
    yield "links_name_point", bad("no point of the curve", b"\x01\x03" + bytes(range(64)))
    yield "links_name_small", bad("a point of small order", b"\x01\x03\x01" + bytes(31) + bytes(32))
    yield "links_name_short", bad("a key of 31 bytes", link_payload(bare)[:-1])
    yield "links_name_trailing", bad("a byte after the keys", link_payload(bare) + b"\x09")


def _sealed() -> Named:
    recipient = Identity(RECIPIENT_SEED)

    def opened(text: str, payload: bytes, expect: str, seed: bytes = RECIPIENT_SEED) -> Vector:
        return _vector("open link", text, {"link": _text(payload), "seed": seed.hex()}, expect)

    def around(payload: bytes) -> bytes:
        return b"\x01\x04" + seal_box(recipient.key, payload, BOX_SEED)

    for stem, text, link in (("links_sealed", "a read link", READ), ("links_sealed_name", "a name link", NAMED)):
        inputs = {"link": str(link), "seed": RECIPIENT_SEED.hex(), "box_seed": BOX_SEED.hex()}
        output = {"sealed": str(seal_link(link, recipient.key, BOX_SEED))}
        yield stem, _vector("seal link", f"{text} sealed to an account", inputs, "success", output)
    good = around(link_payload(READ))
    yield "links_sealed_stranger", opened("sealed to another account", good, "SealedLinkError", STRANGER_SEED)
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    yield "links_sealed_flipped", opened("one bit of the box is another", flipped, "SealedLinkError")
    small = b"\x01\x04" + bytes(32) + good[34:]
    yield "links_sealed_small", opened("the box's own key is of small order", small, "SealedLinkError")
    yield "links_sealed_kind", opened("kind 5 in the box", around(b"\x01\x05" + bytes(64)), "LinkError")
    nested = SealedLink(seal_box(recipient.key, link_payload(READ), BOX_SEED))
    yield "links_sealed_nested", opened("a sealed link in the box", around(link_payload(nested)), "LinkError")
    yield "links_sealed_version", opened("version 2 in the box", around(b"\x02" + link_payload(READ)[1:]), "LinkError")
    short, long = good[:-1], good + bytes(links.MAX_BOX_BYTES)
    for stem, text, payload in (("short", "a box of 113 bytes", short), ("long", "a box of 381 bytes", long)):
        yield f"links_sealed_{stem}", _vector("parse link", text, {"link": _text(payload)}, "LinkError")


def _account_keys() -> Named:
    key = Identity(RECIPIENT_SEED).key
    good = format_account_key(key)

    def of(text: str, word: str, expect: str = "AccountKeyError", output: Vector | None = None) -> Vector:
        return _vector("account key", text, {"key": word}, expect, output)

    def made(payload: bytes) -> str:
        return accountkey.SCHEME + word_of("account key", payload)

    yield "links_account_key", of("an account key", good, "success", {"key": key.hex()})
    loose = f" {good.removeprefix(accountkey.SCHEME).upper()}\n"
    yield "links_account_key_bare", of("the word alone, upper case", loose, "success", {"key": key.hex()})
    typo = good[:20] + ("a" if good[20] != "a" else "b") + good[21:]
    yield "links_account_key_typo", of("one character is another", typo)
    yield "links_account_key_cut", of("eight characters are missing", good[:-8])
    yield "links_account_key_link", of("a link", str(READ))
    yield "links_account_key_version", of("version 2", made(b"\x02" + key))
    yield "links_account_key_long", of("a key of 33 bytes", made(b"\x01" + key + b"\0"))
    yield "links_account_key_point", of("no point of the curve", made(b"\x01" + PublicKey(bytes(range(32)))))


def vectors() -> Named:
    """(file stem, content) of every vector."""
    yield from _names()
    yield from _sealed()
    yield from _account_keys()
