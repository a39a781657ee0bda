"""Links: written, typed, pasted and mistyped (docs/spec/storage.md section 8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LinkError, LocalProtocolError
from protocol.ids import Address, SegmentId
from protocol.links import MAX_TEXT, SCHEME, Link, LinkKind, parse_link
from protocol.seal import verify_key
from tests.strategies import addresses, raw

READ = Link(LinkKind.READ, SegmentId(b"\xaa" * 32), b"\xbb" * 32)
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

links = st.builds(
    Link,
    st.sampled_from(LinkKind),
    raw(32).map(SegmentId),
    raw(32),
    st.lists(addresses, max_size=8).map(tuple),
)


@given(links)
def test_a_link_is_read_as_it_was_written(link: Link) -> None:
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


@given(links, st.data())
def test_a_typo_is_caught(link: Link, data: st.DataObject) -> None:
    text = str(link)
    at = data.draw(st.integers(len(SCHEME), len(text) - 1))
    other = data.draw(st.sampled_from([letter for letter in ALPHABET + "018!é ı" if letter != text[at]]))
    with pytest.raises(LinkError):
        parse_link(text[:at] + other + text[at + 1 :])


@given(links, st.data())
def test_a_link_cut_short_is_caught(link: Link, data: st.DataObject) -> None:
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
