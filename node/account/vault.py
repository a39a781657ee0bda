"""The account file of a home: the account's secret under a passphrase (docs/spec/account.md section 5)."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from node.errors import ConfigError, MachineError, NotFoundError, RefusedError, TakenError, machine_error
from node.home import Home, write_private
from protocol.account import AccountKeys
from protocol.accountfile import (
    MAX_FILE_BYTES,
    MODERATE,
    NONCE_BYTES,
    SALT_BYTES,
    AccountFile,
    Cost,
    WrongPassphraseError,
    passphrase_problem,
    read_account_file,
)
from protocol.errors import IntegrityError, RemoteProtocolError
from protocol.ids import PublicKey

MIN_PASSPHRASE_CHARACTERS = 8
"""Of a new one. Who has the file can try a few in a second, for as long as they like."""


@dataclass(frozen=True, slots=True)
class Vault:
    """The account file, which may not be there."""

    path: Path

    @classmethod
    def of(cls, home: Home) -> "Vault":
        return cls(home.account)

    def create(self, keys: AccountKeys, passphrase: str, cost: Cost = MODERATE) -> None:
        """Write the account file; on disk when this returns. It never replaces one.

        Raises:
            TakenError: This home has an account.
            ConfigError: Not a passphrase to be set.
            MachineError: It cannot be written.
        """
        self.refuse_another()
        data = _sealed(keys, passphrase, cost)
        try:
            write_private(self.path, data)
        except FileExistsError as exc:
            raise _taken() from exc
        except OSError as exc:
            raise machine_error("write the account", exc) from exc

    def refuse_another(self) -> None:
        """Make sure that there is room for an account. Raises TakenError if this home has one."""
        if self.exists:
            raise _taken()

    @property
    def exists(self) -> bool:
        """Whether this home has an account, be its file readable or not. Raises MachineError."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise machine_error("look for the account", exc) from exc
        return True

    def read(self) -> AccountFile:
        """The file, unopened.

        Raises:
            NotFoundError: This home has no account.
            MachineError: The file is damaged or cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError as exc:
            raise no_account() from exc
        except OSError as exc:
            raise machine_error("read the account", exc) from exc
        try:
            return read_account_file(data)
        except RemoteProtocolError as exc:
            raise self._damaged(str(exc)) from exc

    @property
    def key(self) -> PublicKey:
        """The account key, for which no passphrase is needed. Raises as :meth:`read` does."""
        return self.read().public_key

    def open(self, passphrase: str) -> AccountKeys:
        """The account's keys. Takes about a second and 256 MiB, as the file says.

        Raises:
            NotFoundError: This home has no account.
            RefusedError: The passphrase is wrong.
            MachineError: The file is damaged or cannot be read, or there is too little memory.
        """
        file = self.read()
        if passphrase_problem(passphrase) is not None:  # nobody's, so not this one's
            raise _wrong()
        try:
            return file.open(passphrase)
        except WrongPassphraseError:
            pass  # raised anew below, so that no traceback leads to where the passphrase is
        except IntegrityError as exc:
            raise self._damaged(str(exc)) from exc
        except MemoryError as exc:
            raise _no_memory(exc) from exc
        raise _wrong()

    def change(self, keys: AccountKeys, passphrase: str, cost: Cost = MODERATE) -> None:
        """Seal the account's secret under another passphrase; on disk when this returns. Copies that were made of the
        file before still open with the old one.

        Raises:
            ConfigError: Not a passphrase to be set.
            MachineError: It cannot be written; the file is as it was.
        """
        data = _sealed(keys, passphrase, cost)
        try:
            write_private(self.path, data, replace=True)
        except OSError as exc:
            raise machine_error("write the account", exc) from exc

    def _damaged(self, why: str) -> MachineError:
        return MachineError(
            f"the account file {str(self.path)!r} is damaged: {why}",
            hint="restore it from a backup; or move it away, then: archipel account restore, with the 24 words",
        )


def check_new_passphrase(passphrase: str) -> None:
    """Make sure that this may be set. Raises ConfigError, which does not repeat it."""
    problem = passphrase_problem(passphrase)
    if problem is not None:
        raise ConfigError(problem)
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise ConfigError(f"a passphrase has at least {MIN_PASSPHRASE_CHARACTERS} characters, got {len(passphrase)}")


def _sealed(keys: AccountKeys, passphrase: str, cost: Cost) -> bytes:
    check_new_passphrase(passphrase)
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    try:
        return AccountFile.seal(keys, passphrase, salt=salt, nonce=nonce, cost=cost).encode()
    except MemoryError as exc:
        raise _no_memory(exc) from exc


def no_account() -> NotFoundError:
    """That this home has none."""
    return NotFoundError(
        "this home has no account", hint="make one: archipel account new; or: archipel account restore"
    )


def _taken() -> TakenError:
    return TakenError(
        "this home has an account, which is never replaced",
        hint="archipel account show tells which; another one needs another --home",
    )


def _wrong() -> RefusedError:
    return RefusedError(
        "wrong passphrase", hint="forgotten: archipel account restore in another --home, with the words"
    )


def _no_memory(exc: MemoryError) -> MachineError:
    return MachineError(f"this machine has too little memory free: {exc}", hint="end other programs and try again")
