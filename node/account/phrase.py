"""The recovery phrase: an account secret as 24 words (docs/spec/account.md section 2).

The only importer of mnemonic.
"""

import difflib
from collections.abc import Sequence
from functools import cache

from mnemonic import Mnemonic

from node.errors import ConfigError
from protocol.account import Secret

WORDS = 24
MAX_PHRASE_CHARACTERS = 4096
"""More than 24 words have, however they are laid out."""
_SHOWN = 12
"""Of a word that is not of the list an error shows so many characters: it may be anything that was pasted."""

_TOLD = 3
"""Of so many words at most."""


@cache
def _english() -> Mnemonic:
    return Mnemonic("english")


def phrase_of(secret: Secret) -> tuple[str, ...]:
    """The 24 words of an account secret (32 bytes)."""
    words = tuple(_english().to_mnemonic(bytes(secret)).split(" "))
    assert len(words) == WORDS
    return words


def secret_of(phrase: str, *, hidden: bool = False) -> Secret:
    """The account secret that 24 words stand for, with any white space between them and in any case.

    Args:
        phrase: The words.
        hidden: Nothing of what they are is to be seen: of a wrong one the place alone is told.

    Raises:
        ConfigError: Not 24 words; a word that is not of the list, which is named with the nearest one; or a wrong
            checksum. Of a right word no message tells.
    """
    words = phrase[:MAX_PHRASE_CHARACTERS].lower().split()
    unknown = unknown_words(words[: WORDS + 1])
    if unknown:
        raise ConfigError(
            _told(unknown, hidden), hint="all words are English, of 3 to 8 letters: archipel account restore"
        )
    if len(words) != WORDS or len(phrase) > MAX_PHRASE_CHARACTERS:
        raise ConfigError(f"a recovery phrase has {WORDS} words, got {len(words)}")
    try:
        return Secret(_english().to_entropy(words))
    except ValueError:  # without its message and its locals, which hold the words
        pass
    raise ConfigError(
        "every word is of the list, but the checksum does not match: one is another word, or two are swapped",
        hint="compare them with what you wrote down, one by one",
    )


def unknown_words(words: Sequence[str]) -> list[tuple[int, str]]:
    """Those that are not of the list, each with its place, from 1."""
    known = set(_english().wordlist)
    return [(place, word) for place, word in enumerate(words, 1) if word not in known]


def _told(unknown: Sequence[tuple[int, str]], hidden: bool) -> str:
    """Each unknown word with the nearest of the list; hidden ones by their places."""
    told = []
    for place, word in unknown[:_TOLD]:
        if hidden:
            told.append(f"word {place}")
            continue
        nearest = difflib.get_close_matches(word, _english().wordlist, 1, 0.6) if len(word) <= _SHOWN else []
        shown = repr(word) if len(word) <= _SHOWN else f"of {len(word)} letters"
        told.append(f"word {place}, {shown}" + (f": did you mean {nearest[0]!r}?" if nearest else ""))
    more = f"; and {len(unknown) - _TOLD} more" if len(unknown) > _TOLD else ""
    return f"not of the word list: {'; '.join(told)}{more}"
