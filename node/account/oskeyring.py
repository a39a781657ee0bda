"""The keyring of the operating system, where there is one: it keeps an account unlocked instead of the agent.

The only importer of keyring, an optional extra. The entry carries its deadline. A keyring has no clock: when the time
is over, the entry counts for nothing and is deleted by the next command that looks.
"""

import importlib
import importlib.util
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from node.account.held import Held
from node.home import Home
from protocol.account import SECRET_BYTES, AccountKeys, Secret
from protocol.ids import PublicKey

log = logging.getLogger(__name__)

T = TypeVar("T")

SERVICE = "archipel"
KEEPER = "keyring"
ANSWER_SECONDS = 10.0
"""For the keyring, which may ask the person for its own passphrase."""
MAX_SECONDS = 30 * 86400
_TRUSTED = frozenset(
    f"keyring.backends.{name}" for name in ("SecretService", "libsecret", "kwallet", "macOS", "Windows")
)
"""Those that ask the operating system. Others write files, in plain text even, or keep nothing."""


class Backend(Protocol):
    """What is used of a backend of keyring."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


class KeyringFailedError(Exception):
    """The keyring did not do it, or not in time. Caught where there is another way."""


class OsKeyring:
    """The entry of one home."""

    def __init__(self, backend: Backend, home: Home, clock: Callable[[], float] = time.time) -> None:
        """
        Args:
            backend: A keyring.
            home: Whose account it is.
            clock: The time of day.
        """
        self._backend = backend
        self._user = str(home.path.resolve())
        self._clock = clock

    def keep(self, keys: AccountKeys, seconds: int) -> Held:
        """Keep the account unlocked for so long. Raises KeyringFailedError."""
        until = int(self._clock()) + seconds
        entry = json.dumps({"key": keys.identity.key.hex(), "secret": keys.secret.hex(), "until": until})
        _in_time(lambda: self._backend.set_password(SERVICE, self._user, entry))
        return Held(keys, until, KEEPER)

    def held(self, key: PublicKey) -> Held | None:
        """The account with this key, if it is there and its time is not over; else what is there is deleted.

        Raises:
            KeyringFailedError: The keyring did not answer.
        """
        text = _in_time(lambda: self._backend.get_password(SERVICE, self._user))
        if text is None:
            return None
        found = _read(text)
        left = found.until - self._clock() if found is not None else 0
        if found is not None and found.keys.identity.key == key and 0 < left <= MAX_SECONDS:
            return found
        self.forget()
        return None

    def forget(self) -> bool:
        """Delete the entry; whether there was one. Raises KeyringFailedError."""
        if _in_time(lambda: self._backend.get_password(SERVICE, self._user)) is None:
            return False
        _in_time(lambda: self._backend.delete_password(SERVICE, self._user))
        return True


def _read(text: str) -> Held | None:
    """An entry as it was written; None if it is none of ours."""
    try:
        match json.loads(text):
            case {"key": str(key), "secret": str(hidden), "until": int(until)}:
                secret = Secret(bytes.fromhex(hidden))
                if len(secret) == SECRET_BYTES and (keys := AccountKeys(secret)).identity.key.hex() == key:
                    return Held(keys, until, KEEPER)
    except (ValueError, RecursionError):
        pass
    return None


def find_backend() -> Backend | None:
    """The operating system's keyring; None if there is none, or the library is not installed."""
    if importlib.util.find_spec("keyring") is None:
        return None
    try:
        library = importlib.import_module("keyring")
        chosen = _in_time(library.get_keyring)
        candidates = [chosen, *_in_time(lambda: list(getattr(chosen, "backends", ())))]  # of a chain
    except (ImportError, KeyringFailedError) as exc:
        log.info("no keyring of the operating system: %s", type(exc).__name__)
        return None
    found: Backend | None = next((one for one in candidates if type(one).__module__ in _TRUSTED), None)
    return found


def _in_time(call: Callable[[], T]) -> T:
    """Call what may wait for a person in a thread, which is left alone when it takes too long."""
    results: list[T] = []
    errors: list[str] = []

    def work() -> None:
        try:
            results.append(call())
        except Exception as exc:  # noqa: BLE001 - backends are plugins: they raise what they like
            errors.append(type(exc).__name__)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not results:
        raise KeyringFailedError(errors[0] if errors else f"no answer in {ANSWER_SECONDS:.0f} seconds")
    return results[0]
