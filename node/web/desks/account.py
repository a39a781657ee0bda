"""The account of the node's home, as its page sees and changes it: made, restored, unlocked, locked.

The words of an account that is being made are in memory alone. The keys are asked for anew for every call, of whoever
keeps the account unlocked: the node keeps none. One passphrase is tried at a time, since each takes 256 MiB.
"""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio

from node.account.attempts import Attempts
from node.account.depositor import locked
from node.account.device import check_device, device_of, name_device
from node.account.drafts import Draft, Drafts
from node.account.held import Held, held_fields
from node.account.phrase import secret_of
from node.account.unlocked import Watch, check_seconds, hold, let_go
from node.account.vault import Vault, check_new_passphrase, no_account
from node.blocking import Blocking
from node.errors import MachineError, NotFoundError, RefusedError
from node.home import Home
from node.web.http.answers import HttpError
from protocol.account import AccountKeys
from protocol.accountfile import MODERATE, Cost
from protocol.accountkey import format_account_key

FIRST_SECONDS = 8 * 3600
"""For how long an account that was just made, or restored, stays unlocked."""
PATIENCE_SECONDS = 60.0
"""How long a call waits for another one that turns a passphrase into a key."""
_CLEAR_SECONDS = 60.0
"""How often words whose time is over are looked for."""


class AccountDesk:
    """Of one home, in one node. Start :meth:`run` as a task."""

    def __init__(self, home: Home | None, blocking: Blocking, cost: Cost = MODERATE) -> None:
        """
        Args:
            home: Where the account is, or will be; None: this node looks after nobody's.
            blocking: Takes the work.
            cost: Of a guess, for accounts that are made here.
        """
        self._home = home
        self._blocking = blocking
        self._cost = cost
        self._watch = None if home is None else Watch(home)
        self._drafts = Drafts()
        self._attempts = Attempts()
        self._busy = trio.Lock()

    async def run(self) -> None:
        """Forget words whose time is over, until cancelled."""
        while True:
            await trio.sleep(_CLEAR_SECONDS)
            self._drafts.clear_old(trio.current_time())

    @property
    def home(self) -> Home:
        """Raises NotFoundError: this node looks after nobody's account."""
        if self._home is None:
            raise NotFoundError("this node has no home folder with an account", hint="archipel node --home DIR")
        return self._home

    async def state(self) -> dict[str, object]:
        """Whether there is one, which, and whether it is unlocked. Raises MachineError."""
        if self._home is None or not await self._blocking(lambda: Vault.of(self.home).exists):
            return {"exists": False, "key": None, **held_fields(None), "device": await self._device()}
        key = await self._blocking(lambda: Vault.of(self.home).key)
        held = held_fields(await self._held())
        return {"exists": True, "key": format_account_key(key), **held, "device": await self._device()}

    async def keys(self) -> AccountKeys:
        """Those of the account, which is unlocked.

        Raises:
            NotFoundError: There is none.
            RefusedError: It is locked.
            MachineError: Its file, or who keeps it, cannot be asked.
        """
        if not await self._blocking(lambda: Vault.of(self.home).exists):
            raise no_account()
        found = await self._held()
        if found is None:
            raise locked()
        return found.keys

    async def draft(self) -> Draft:
        """The words of an account that is none yet. Raises TakenError: there is one; NotFoundError: as :attr:`home`."""
        await self._blocking(Vault.of(self.home).refuse_another)
        return self._drafts.begin(trio.current_time())

    async def create(self, draft: str, answers: Mapping[int, str], passphrase: str, device: str | None) -> None:
        """Make the account whose words were written down, and keep it unlocked for a while.

        Args:
            draft: Its id.
            answers: The words at the places that were asked for.
            passphrase: For the account file.
            device: What this machine is to be called; None: as before.

        Raises:
            TakenError: There is an account.
            NotFoundError: The draft has been forgotten.
            RefusedError: The answers are wrong.
            ConfigError: The passphrase, or the name, cannot be set.
            MachineError: It cannot be written; or it is made, and nobody can keep it unlocked.
        """
        await self._blocking(Vault.of(self.home).refuse_another)
        found = self._drafts.find(draft, trio.current_time())
        found.check(answers)
        await self._make(found.keys, passphrase, device)

    async def restore(self, words: str, passphrase: str, device: str | None) -> None:
        """Bring an account back from its words. Raises as :meth:`create`; ConfigError: these are no words of one."""
        await self._blocking(Vault.of(self.home).refuse_another)
        await self._make(AccountKeys(await self._blocking(secret_of, words)), passphrase, device)

    async def unlock(self, passphrase: str, seconds: int) -> None:
        """Keep the account unlocked for so long.

        Raises:
            NotFoundError: There is none.
            RefusedError: The passphrase is wrong.
            HttpError: Too many were, just now.
            ConfigError: More than 30 days.
            MachineError: As :meth:`create`.
        """
        check_seconds(seconds)
        vault = Vault.of(self.home)
        async with self._alone():
            wait = math.ceil(self._attempts.wait_seconds(trio.current_time()))
            if wait > 0:
                told = f"too many wrong passphrases: wait {wait} seconds"
                raise HttpError(429, told, headers={"Retry-After": str(wait)})
            try:
                keys = await self._blocking(vault.open, passphrase)
            except RefusedError:
                self._attempts.was_wrong(trio.current_time())
                raise
            self._attempts.was_right()
            await self._keep(keys, seconds)

    async def lock(self) -> bool:
        """Lock it; whether it was unlocked. Raises MachineError: somebody does not give it up."""
        return await self._blocking(let_go, self.home)

    async def _held(self) -> Held | None:
        return None if self._watch is None else await self._blocking(self._watch.held)

    async def _device(self) -> str | None:
        return None if self._home is None else await self._blocking(device_of, self._home)

    async def _make(self, keys: AccountKeys, passphrase: str, device: str | None) -> None:
        check_new_passphrase(passphrase)
        if device is not None:
            check_device(device)
        async with self._alone():
            await self._blocking(_write, self.home, keys, passphrase, device, self._cost)
            self._drafts.clear()
            try:
                await self._keep(keys, FIRST_SECONDS)
            except MachineError as exc:
                raise MachineError(f"the account is made, but is locked: {exc}", hint=exc.hint) from exc

    async def _keep(self, keys: AccountKeys, seconds: int) -> None:
        await self._blocking(hold, self.home, keys, seconds)
        self._watch = Watch(self.home)  # a keyring that did not answer before may do so now

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        with trio.move_on_after(PATIENCE_SECONDS) as scope:
            await self._busy.acquire()
        if scope.cancelled_caught:
            raise HttpError(429, "another passphrase is being tried", headers={"Retry-After": "5"})
        try:
            yield
        finally:
            self._busy.release()


def _write(home: Home, keys: AccountKeys, passphrase: str, device: str | None, cost: Cost) -> None:
    vault = Vault.of(home)
    vault.refuse_another()
    home.create()
    if device is not None:
        name_device(home, device)
    vault.create(keys, passphrase, cost)
