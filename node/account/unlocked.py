"""Whether the account is unlocked, and by whom it is kept so: the operating system's keyring, else the agent."""

import logging
from dataclasses import dataclass

from node.account.agent import ask_agent, end_agent, start_agent
from node.account.held import Held
from node.account.oskeyring import MAX_SECONDS, KeyringFailedError, OsKeyring, find_backend
from node.account.vault import Vault
from node.errors import ConfigError, MachineError
from node.home import Home
from protocol.account import AccountKeys
from protocol.ids import PublicKey

log = logging.getLogger(__name__)


def hold(home: Home, keys: AccountKeys, seconds: int) -> Held:
    """Keep the account unlocked, from now on for ``seconds``, instead of for what was left.

    Raises:
        ConfigError: It is to last for more than 30 days.
        MachineError: Nobody can keep it.
    """
    check_seconds(seconds)
    keyring = _keyring(home)
    if keyring is not None:
        end_agent(home)
        try:
            return keyring.keep(keys, seconds)
        except KeyringFailedError as exc:
            log.warning("the keyring does not keep the account (%s): the agent does", exc)
    return start_agent(home, keys, seconds)


def check_seconds(seconds: int) -> None:
    """Make sure that an account may stay unlocked for so long. Raises ConfigError."""
    if not 1 <= seconds <= MAX_SECONDS:
        raise ConfigError(f"an account stays unlocked for 30 days at most, got {seconds} seconds")


def held(home: Home, key: PublicKey) -> Held | None:
    """The home's account, if it is unlocked; what is kept of another account counts for nothing.

    Raises:
        MachineError: What is there does not answer as an agent does.
    """
    found = ask_agent(home)
    if found is not None and found.keys.identity.key == key:
        return found
    keyring = _keyring(home)
    try:
        return keyring.held(key) if keyring is not None else None
    except KeyringFailedError as exc:
        log.warning("the keyring does not say whether it has the account: %s", exc)
        return None


@dataclass(slots=True)
class Watch:
    """Looks again and again whether a home's account is unlocked, for what runs unattended.

    A keyring that does not answer waits for a person to give its own passphrase: it is not asked a second time.
    """

    home: Home
    _no_keyring: bool = False

    def keys(self) -> AccountKeys | None:
        """The account's keys; None: it is locked, or there is none. Blocks. Raises as :meth:`held`."""
        found = self.held()
        return None if found is None else found.keys

    def held(self) -> Held | None:
        """As :meth:`keys`, with whoever keeps it, and until when.

        Raises:
            MachineError: The account file cannot be read; or what is there does not answer as an agent does.
        """
        vault = Vault.of(self.home)
        if not vault.exists:
            return None
        key = vault.key
        found = ask_agent(self.home)
        if found is None or found.keys.identity.key != key:
            found = self._in_keyring(key)
        return found

    def _in_keyring(self, key: PublicKey) -> Held | None:
        keyring = None if self._no_keyring else _keyring(self.home)
        try:
            return keyring.held(key) if keyring is not None else None
        except KeyringFailedError as exc:
            self._no_keyring = True
            log.warning("the keyring does not say whether it has the account (%s): it is not asked again", exc)
            return None


def let_go(home: Home) -> bool:
    """Lock the account; whether it was unlocked.

    Raises:
        MachineError: The keyring has it, or may have it, and does not give it up; the agent has.
    """
    was, failed = False, list[MachineError]()
    for forget in (end_agent, _forget):  # the second also where the first fails
        try:
            was |= forget(home)
        except MachineError as exc:
            failed.append(exc)
    if failed:
        raise MachineError("; ".join(map(str, failed)), hint=failed[0].hint)
    return was


def _forget(home: Home) -> bool:
    """As :func:`let_go`, of the keyring alone."""
    keyring = _keyring(home)
    try:
        return keyring is not None and keyring.forget()
    except KeyringFailedError as exc:
        raise MachineError(
            f"the keyring does not say whether it has the account: {exc}",
            hint="unlock the keyring and try again, or remove its entry `archipel` by hand",
        ) from exc


def _keyring(home: Home) -> OsKeyring | None:
    backend = find_backend()
    return None if backend is None else OsKeyring(backend, home)
