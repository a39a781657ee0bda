"""Write tokens (BEP 5): proof that an announcer receives at the address it announces from."""

from collections.abc import Callable

from protocol.datagrams import TOKEN_BYTES
from protocol.hashing import digest
from protocol.ids import PublicKey, packed_host

PERIOD_SECONDS = 300.0
"""How long a secret is used; the one before it is still accepted. A token lives 5 to 10 minutes."""


class Tokens:
    """Makes and checks tokens without remembering any."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._secrets = [random_bytes(32), random_bytes(32)]
        self._since: float | None = None

    def make(self, host: str, key: PublicKey, now: float) -> bytes:
        """The token of an asker at ``host`` with ``key``."""
        self._turn(now)
        return _token(self._secrets[0], host, key)

    def check(self, token: bytes, host: str, key: PublicKey, now: float) -> bool:
        """Whether we made this token for the same asker at most two periods ago."""
        self._turn(now)
        return any(token == _token(secret, host, key) for secret in self._secrets)

    def _turn(self, now: float) -> None:
        if self._since is None:
            self._since = now
        periods = int((now - self._since) // PERIOD_SECONDS)
        for _ in range(min(periods, 2)):
            self._secrets = [self._random_bytes(32), self._secrets[0]]
        self._since += periods * PERIOD_SECONDS


def _token(secret: bytes, host: str, key: PublicKey) -> bytes:
    return digest("token", secret, key, packed_host(host))[:TOKEN_BYTES]
