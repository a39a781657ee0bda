"""Write tokens (docs/spec/dht.md section 2)."""

from random import Random

import pytest

from dht.tokens import PERIOD_SECONDS, Tokens
from protocol.ids import PublicKey

KEY, OTHER = PublicKey(bytes(32)), PublicKey(bytes(31) + b"\1")


def test_a_token_is_for_one_address_and_key() -> None:
    tokens = Tokens(Random(1).randbytes)
    token = tokens.make("45.0.0.1", KEY, 0.0)
    assert len(token) == 8
    assert tokens.check(token, "45.0.0.1", KEY, 0.0)
    assert not tokens.check(token, "45.0.0.2", KEY, 0.0)
    assert not tokens.check(token, "45.0.0.1", OTHER, 0.0)
    assert not tokens.check(bytes(8), "45.0.0.1", KEY, 0.0)
    assert not Tokens(Random(2).randbytes).check(token, "45.0.0.1", KEY, 0.0)


@pytest.mark.parametrize("start", [0.0, 299.0])
def test_a_token_lives_five_to_ten_minutes(start: float) -> None:
    tokens = Tokens(Random(1).randbytes)
    tokens.make("::1", KEY, 0.0)
    token = tokens.make("::1", KEY, start)
    assert tokens.check(token, "::1", KEY, start + PERIOD_SECONDS)
    assert tokens.check(token, "::1", KEY, 2 * PERIOD_SECONDS - 1)
    assert not tokens.check(token, "::1", KEY, 2 * PERIOD_SECONDS)


def test_a_long_sleep_makes_every_token_void() -> None:
    tokens = Tokens(Random(1).randbytes)
    token = tokens.make("::1", KEY, 0.0)
    assert not tokens.check(token, "::1", KEY, 1e9)
