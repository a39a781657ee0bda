"""Accounts that are being made: 24 words that a person is writing down. In memory alone, and not for long."""

import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from node.account.phrase import WORDS, phrase_of
from node.errors import NotFoundError, RefusedError
from protocol.account import SECRET_BYTES, AccountKeys

DRAFT_SECONDS = 30 * 60.0
MAX_DRAFTS = 4
"""Of several the oldest is forgotten: nobody writes down the words of five."""
ASKED = 3
"""Words that have to be given back."""
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Draft:
    """One account that is none yet. Its text form shows the public key only."""

    id: str
    keys: AccountKeys
    asked: tuple[int, ...]
    """Places, from 1, of the words that have to be given back."""
    until: float
    """By the clock of whoever keeps it."""

    @property
    def words(self) -> tuple[str, ...]:
        return phrase_of(self.keys.secret)

    def check(self, answers: Mapping[int, str]) -> None:
        """Make sure that the words that were asked for are given back, and no others.

        Raises:
            RefusedError: They are not. It does not say what they are.
        """
        if set(answers) != set(self.asked):
            raise RefusedError(f"want the words {', '.join(map(str, self.asked))}: no account was made")
        words = self.words
        wrong = [place for place in self.asked if answers[place].strip().lower() != words[place - 1]]
        if wrong:
            places = ", ".join(f"word {place}" for place in wrong)
            raise RefusedError(f"that is another word: {places}; no account was made")


def asked_places() -> tuple[int, ...]:
    """Which words are asked back, from 1."""
    return tuple(sorted(place + 1 for place in random.SystemRandom().sample(range(WORDS), ASKED)))


class Drafts:
    """A few of them."""

    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}

    def begin(self, now: float) -> Draft:
        """A new one."""
        self.clear_old(now)
        while len(self._drafts) >= MAX_DRAFTS:
            del self._drafts[next(iter(self._drafts))]
        keys = AccountKeys(secrets.token_bytes(SECRET_BYTES))
        draft = Draft(secrets.token_hex(_ID_BYTES), keys, asked_places(), now + DRAFT_SECONDS)
        self._drafts[draft.id] = draft
        return draft

    def find(self, identifier: str, now: float) -> Draft:
        """The one with this id. Raises NotFoundError."""
        self.clear_old(now)
        if identifier not in self._drafts:
            raise NotFoundError(
                "these words are not known here any more, and no account was made with them",
                hint="begin again, and write down the new ones",
            )
        return self._drafts[identifier]

    def clear(self) -> None:
        """Forget them all."""
        self._drafts.clear()

    def clear_old(self, now: float) -> None:
        """Forget those whose time is over."""
        for identifier in [one for one, draft in self._drafts.items() if draft.until <= now]:
            del self._drafts[identifier]
