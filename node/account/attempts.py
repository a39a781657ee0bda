"""How often a passphrase may be guessed where a program could do it."""

MAX_WRONG = 5
WINDOW_SECONDS = 60.0


class Attempts:
    """Wrong passphrases of the last minute."""

    def __init__(self) -> None:
        self._wrong: list[float] = []

    def wait_seconds(self, now: float) -> float:
        """How long nobody may try; 0: now is right. ``now`` only goes up."""
        self._wrong = [when for when in self._wrong if now - when < WINDOW_SECONDS]
        return self._wrong[0] + WINDOW_SECONDS - now if len(self._wrong) >= MAX_WRONG else 0.0

    def was_wrong(self, now: float) -> None:
        """One more."""
        self._wrong.append(now)

    def was_right(self) -> None:
        """Whoever knows it may have mistyped it before."""
        self._wrong.clear()
