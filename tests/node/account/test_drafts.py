"""Accounts that are being made, the name of a machine, and how often a passphrase may be guessed."""

from pathlib import Path

import pytest

from node.account.attempts import MAX_WRONG, WINDOW_SECONDS, Attempts
from node.account.device import device_of, name_device
from node.account.drafts import ASKED, DRAFT_SECONDS, MAX_DRAFTS, Drafts
from node.errors import ConfigError, MachineError, NotFoundError, RefusedError
from node.home import Home


def test_words_are_kept_for_half_an_hour() -> None:
    drafts = Drafts()
    draft = drafts.begin(0.0)
    assert drafts.find(draft.id, DRAFT_SECONDS - 1).words == draft.words
    with pytest.raises(NotFoundError, match="no account was made"):
        drafts.find(draft.id, DRAFT_SECONDS)
    again = drafts.begin(DRAFT_SECONDS)
    drafts.clear_old(2 * DRAFT_SECONDS)
    with pytest.raises(NotFoundError):
        drafts.find(again.id, DRAFT_SECONDS)


def test_the_oldest_makes_room() -> None:
    drafts = Drafts()
    made = [drafts.begin(float(number)) for number in range(MAX_DRAFTS + 1)]
    assert len({draft.words for draft in made}) == MAX_DRAFTS + 1
    with pytest.raises(NotFoundError):
        drafts.find(made[0].id, 5.0)
    for draft in made[1:]:
        drafts.find(draft.id, 5.0)


def test_the_words_that_were_asked_for() -> None:
    draft = Drafts().begin(0.0)
    assert len(set(draft.asked)) == ASKED
    right = {place: f" {draft.words[place - 1].upper()} " for place in draft.asked}
    draft.check(right)
    first = draft.asked[0]
    unasked = next(place for place in range(1, 25) if place not in draft.asked)
    for wrong in ({}, right | {unasked: draft.words[unasked - 1]}, {k: v for k, v in right.items() if k != first}):
        with pytest.raises(RefusedError, match="want the words"):
            draft.check(wrong)
    with pytest.raises(RefusedError, match=f"that is another word: word {first}; no account") as caught:
        draft.check(right | {first: "nonsense"})
    told = str(caught.value) + repr(draft) + repr(caught.value.hint)
    assert not any(
        f" {word} " in told.replace(":", " ") for word in draft.words if word not in ("that", "another", "word")
    )
    assert "nonsense" not in told


def test_guesses() -> None:
    attempts = Attempts()
    for number in range(MAX_WRONG):
        assert attempts.wait_seconds(float(number)) == 0
        attempts.was_wrong(float(number))
    assert attempts.wait_seconds(10.0) == WINDOW_SECONDS - 10
    assert attempts.wait_seconds(WINDOW_SECONDS) == 0
    attempts.was_wrong(WINDOW_SECONDS)
    assert attempts.wait_seconds(WINDOW_SECONDS) == 1
    attempts.was_right()
    assert attempts.wait_seconds(WINDOW_SECONDS) == 0


def test_the_name_of_a_machine(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert device_of(home) is None
    for name in ("laptop", "Büro 2", "機" * 64):
        name_device(home, name)
        assert device_of(home) == name
    assert home.device.stat().st_mode & 0o777 == 0o600
    for wrong in ("", "x" * 65, "two\nlines", "\x1b[31m", "\ud800"):
        with pytest.raises(ConfigError):
            name_device(home, wrong)
        assert device_of(home) == "機" * 64, "it is as it was"


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"x" * 65, b"x" * 5000, b"a\nb"])
def test_what_is_no_name_counts_for_nothing(tmp_path: Path, data: bytes) -> None:
    home = Home(tmp_path)
    home.device.write_bytes(data)
    assert device_of(home) is None


def test_a_name_that_cannot_be_read(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.device.mkdir()
    with pytest.raises(MachineError):
        device_of(home)
    with pytest.raises(MachineError):
        name_device(home, "laptop")
