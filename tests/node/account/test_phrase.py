"""24 words and back (node/account/phrase.py)."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.account.phrase import phrase_of, secret_of
from node.errors import ConfigError
from protocol.account import Secret

FOLDER = Path(__file__).parents[2] / "vectors"
PATHS = sorted(FOLDER.glob("account_phrase_*.json"))
WORDS = phrase_of(Secret(bytes(range(32))))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_vector(path: Path) -> None:
    vector = json.loads(path.read_text("utf-8"))
    phrase = vector["input"]["phrase"]
    if vector["expect"] == "success":
        secret = secret_of(phrase)
        assert secret.hex() == vector["output"]["secret"]
        assert list(phrase_of(secret)) == phrase.lower().split()
        return
    with pytest.raises(ConfigError) as caught:
        secret_of(phrase)
    assert caught.value.exit_code == 2


def test_there_are_enough_official_vectors() -> None:
    assert sum("BIP 39's own" in path.read_text("utf-8") for path in PATHS) == 8


@given(st.binary(min_size=32, max_size=32))
def test_any_secret_comes_back(data: bytes) -> None:
    assert secret_of(" ".join(phrase_of(Secret(data)))) == data


def test_the_nearest_word_is_told() -> None:
    wrong = [*WORDS[:6], "abandn", *WORDS[7:23], "xqzzk"]
    with pytest.raises(ConfigError) as caught:
        secret_of(" ".join(wrong))
    told = str(caught.value)
    assert told == "not of the word list: word 7, 'abandn': did you mean 'abandon'?; word 24, 'xqzzk'"
    with pytest.raises(ConfigError, match=r"word 1, 'x'; word 2, 'x'; word 3, 'x'; and 21 more$"):
        secret_of("x " * 24)


def test_what_was_pasted_by_mistake_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        secret_of("archipel:" + "a" * 200)
    assert str(caught.value) == "not of the word list: word 1, of 209 letters"
    with pytest.raises(ConfigError):
        secret_of("x" * 10_000_000)


def test_of_hidden_words_the_places_are_told() -> None:
    wrong = [*WORDS[:6], "abandn", *WORDS[7:23], "hunter2hunter2"]
    with pytest.raises(ConfigError) as caught:
        secret_of(" ".join(wrong), hidden=True)
    assert str(caught.value) == "not of the word list: word 7; word 24"
    assert secret_of(" ".join(WORDS), hidden=True) == bytes(range(32))


@pytest.mark.parametrize("change", [(0, 1), (22, 23)])
def test_right_words_are_not_told(change: tuple[int, int]) -> None:
    words = list(WORDS)
    one, other = change
    words[one], words[other] = words[other], words[one]
    with pytest.raises(ConfigError, match="checksum does not match") as caught:
        secret_of(" ".join(words))
    told = f"{caught.value} {caught.value.hint} {caught.value.__context__}"
    assert caught.value.__context__ is None
    assert not [word for word in words if f" {word} " in told and word not in ("one", "you")]
