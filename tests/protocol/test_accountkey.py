"""Account keys: written, typed and mistyped (docs/spec/storage.md section 8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.accountkey import MAX_TEXT, SCHEME, format_account_key, parse_account_key
from protocol.errors import AccountKeyError
from protocol.identity import Identity
from protocol.ids import PublicKey
from protocol.words import word_of
from tests.strategies import IDENTITY, raw

TEXT = format_account_key(IDENTITY.key)

account_keys = raw(32).map(lambda seed: Identity(seed).key)


@given(account_keys)
def test_an_account_key_is_read_as_it_was_written(key: PublicKey) -> None:
    text = format_account_key(key)
    assert len(text) == 73
    for form in (text, text.removeprefix(SCHEME), text.upper(), f"\t{text}\n"):
        assert parse_account_key(form) == key


@given(account_keys, st.data())
def test_a_typo_is_caught(key: PublicKey, data: st.DataObject) -> None:
    text = format_account_key(key)
    at = data.draw(st.integers(len(SCHEME), len(text) - 1))
    other = data.draw(
        st.sampled_from([letter for letter in "abcdefghijklmnopqrstuvwxyz234567018!é ı" if letter != text[at]])
    )
    with pytest.raises(AccountKeyError):
        parse_account_key(text[:at] + other + text[at + 1 :])


@given(st.integers(0, len(TEXT) - 1))
def test_an_account_key_cut_short_is_caught(length: int) -> None:
    with pytest.raises(AccountKeyError):
        parse_account_key(TEXT[:length])


@given(st.text())
def test_garbage_is_no_account_key(text: str) -> None:
    with pytest.raises(AccountKeyError):
        parse_account_key(text)


def test_an_account_key_is_bounded_before_it_is_read() -> None:
    with pytest.raises(AccountKeyError, match="at most 256 characters"):
        parse_account_key(" " * MAX_TEXT + TEXT)


def test_a_checksum_of_nothing_is_no_account_key() -> None:
    with pytest.raises(AccountKeyError, match="empty"):
        parse_account_key(SCHEME + word_of("account key", b""))
