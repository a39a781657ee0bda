"""Links: written, typed, pasted and mistyped (docs/spec/storage.md section 8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LinkError, LocalProtocolError, RemoteProtocolError, SealedLinkError
from protocol.identity import Identity, seal_box
from protocol.ids import Address, PublicKey, SegmentId
from protocol.links import (
    MAX_BOX_BYTES,
    MAX_TEXT,
    SCHEME,
    AnyLink,
    Link,
    LinkKind,
    NameLink,
    SealedLink,
    link_payload,
    open_link,
    parse_link,
    parse_payload,
    seal_link,
)
from protocol.seal import verify_key
from tests.strategies import IDENTITY, STRANGER, addresses, damaged, raw

READ = Link(LinkKind.READ, SegmentId(b"\xaa" * 32), b"\xbb" * 32)
NAME = NameLink(STRANGER.key, b"\xbb" * 32)
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

deposit_links = st.builds(
    Link,
    st.sampled_from(LinkKind),
    raw(32).map(SegmentId),
    raw(32),
    st.lists(addresses, max_size=8).map(tuple),
)
name_links = st.builds(
    NameLink,
    raw(32).map(lambda seed: Identity(seed).key),
    raw(32),
    st.lists(addresses, max_size=8).map(tuple),
)
open_links = st.one_of(deposit_links, name_links)
links = st.one_of(open_links, st.builds(lambda link, seed: seal_link(link, IDENTITY.key, seed), open_links, raw(32)))


@given(links)
def test_a_link_is_read_as_it_was_written(link: AnyLink) -> None:
    text = str(link)
    assert text.startswith(SCHEME)
    assert set(text.removeprefix(SCHEME)) <= set(ALPHABET)
    word = text.removeprefix(SCHEME)
    for form in (
        text,
        word,
        text.upper(),
        f"\t{text}\n",
        f"https://g.example/#{text}",
        f"HTTP://[::1]:8420/a#{word}",
    ):
        assert parse_link(form) == link
    assert parse_payload(link_payload(link)) == link


@given(links, st.data())
def test_a_typo_is_caught(link: AnyLink, data: st.DataObject) -> None:
    text = str(link)
    at = data.draw(st.integers(len(SCHEME), len(text) - 1))
    other = data.draw(st.sampled_from([letter for letter in ALPHABET + "018!é ı" if letter != text[at]]))
    with pytest.raises(LinkError):
        parse_link(text[:at] + other + text[at + 1 :])


@given(links, st.data())
def test_a_link_cut_short_is_caught(link: AnyLink, data: st.DataObject) -> None:
    text = str(link)
    with pytest.raises(LinkError):
        parse_link(text[: data.draw(st.integers(0, len(text) - 1))])


@given(st.text())
def test_garbage_is_no_link(text: str) -> None:
    with pytest.raises(LinkError):
        parse_link(text)


def test_a_link_is_bounded_before_it_is_read() -> None:
    with pytest.raises(LinkError, match="at most 4096 characters"):
        parse_link(" " * MAX_TEXT + str(READ))


def test_a_letter_that_only_upper_case_makes_ascii_is_caught() -> None:
    """``"ı".upper()`` is an ASCII I."""
    text = str(Link(LinkKind.READ, SegmentId(bytes(32)), b"\x42" * 32))
    assert "i" in text[len(SCHEME) :]
    head, _, tail = text[len(SCHEME) :].partition("i")
    with pytest.raises(LinkError):
        parse_link(f"{SCHEME}{head}ı{tail}")


def test_a_link_is_safe_to_log() -> None:
    assert repr(READ) == "Link(READ, aaaaaaaa)"
    assert repr(NAME) == f"NameLink({NAME.name.hex()[:8]})"
    assert repr(seal_link(READ, IDENTITY.key, bytes(32))) == "SealedLink(114 bytes)"
    with pytest.raises(LinkError) as caught:
        parse_link(str(READ)[:-1])
    assert str(READ)[9:19] not in str(caught.value)


def test_a_verify_link_follows_from_a_read_link() -> None:
    hinted = Link(LinkKind.READ, READ.root, READ.key, (Address("192.0.2.1", 1),))
    verify = hinted.verify_link()
    assert verify == Link(LinkKind.VERIFY, READ.root, verify_key(READ.key), hinted.hints)
    assert verify.verify_link() is verify
    assert READ.verify_key == verify.verify_key == verify.key


@pytest.mark.parametrize(
    ("root", "key", "hints"), [(31, 32, 0), (32, 33, 0), (32, 32, 9)], ids=["root", "key", "hints"]
)
def test_a_link_that_breaks_the_specification_is_not_made(root: int, key: int, hints: int) -> None:
    with pytest.raises(LocalProtocolError):
        Link(LinkKind.READ, SegmentId(bytes(root)), bytes(key), (Address("192.0.2.1", 1),) * hints)


@pytest.mark.parametrize(
    ("name", "key", "hints"), [(31, 32, 0), (32, 33, 0), (32, 32, 9)], ids=["name", "key", "hints"]
)
def test_a_name_link_that_breaks_the_specification_is_not_made(name: int, key: int, hints: int) -> None:
    with pytest.raises(LocalProtocolError):
        NameLink(PublicKey(bytes(name)), bytes(key), (Address("192.0.2.1", 1),) * hints)


@pytest.mark.parametrize("size", [113, 268])
def test_a_sealed_link_that_breaks_the_specification_is_not_made(size: int) -> None:
    with pytest.raises(LocalProtocolError):
        SealedLink(bytes(size))


def test_the_longest_link() -> None:
    longest = NameLink(NAME.name, NAME.read_key, (Address("2001:db8::1", 1),) * 8)
    sealed = seal_link(longest, IDENTITY.key, bytes(32))
    assert len(sealed.box) == MAX_BOX_BYTES == 267
    assert len(str(sealed)) == 446
    assert open_link(sealed, IDENTITY) == longest


@given(open_links, raw(32))
def test_a_sealed_link_opens_for_one_account_alone(link: Link | NameLink, seed: bytes) -> None:
    sealed = seal_link(link, IDENTITY.key, seed)
    assert open_link(sealed, IDENTITY) == link
    with pytest.raises(SealedLinkError):
        open_link(sealed, STRANGER)


@given(st.data())
def test_a_sealed_link_that_was_changed_does_not_open(data: st.DataObject) -> None:
    sealed = seal_link(NAME, IDENTITY.key, bytes(32))
    box = data.draw(damaged(sealed.box).filter(lambda changed: 114 <= len(changed) <= MAX_BOX_BYTES))
    with pytest.raises(SealedLinkError):
        open_link(SealedLink(box), IDENTITY)


@given(raw(66, 219))
def test_a_sealed_link_with_anything_in_it(content: bytes) -> None:
    """Whoever knows an account key can seal what they like to it."""
    sealed = SealedLink(seal_box(IDENTITY.key, content, bytes(32)))
    try:
        link = open_link(sealed, IDENTITY)
    except LinkError:
        return
    assert link_payload(link) == content


def test_a_link_is_sealed_to_no_key_that_nobody_can_have() -> None:
    with pytest.raises(RemoteProtocolError, match="no identity has this public key"):
        seal_link(READ, PublicKey(bytes(32)), bytes(32))
