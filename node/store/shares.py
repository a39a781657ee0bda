"""What of a node's quota one depositor, or one neighbourhood of the network, may take (docs/spec/storage.md section 9).

Without it whoever comes first could fill a node. A share is strict: it holds on an empty node too, because what has
been given cannot be taken back before its leases end.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from node.store.chunkindex import Account
from node.store.quota import UNIT_BYTES, charge
from node.store.refusal import Refusal
from protocol.messages import ErrorCode

DEFAULT_SHARE = 0.5
"""Of the quota: one depositor, or one neighbourhood, leaves half of a node to the others."""


def account_charge(size: int) -> int:
    """What a chunk file of ``size`` bytes counts for: its units, and one for leases, whichever chunk of a segment."""
    return charge(size) + UNIT_BYTES


class Shares:
    """Bytes on each account, those promised to puts under way included. Safe to use from any thread; never waits."""

    def __init__(
        self, quota_bytes: int, *, depositor: float, subnet: float, held: Iterable[tuple[Account, int, int]]
    ) -> None:
        """
        Args:
            quota_bytes: Of the whole node.
            depositor: The share of one depositor, above 0, at most 1: no limit but the quota.
            subnet: The share of one public /24 or /48; likewise.
            held: What is there: accounts, their chunks, and the units of 4 KiB that those take.
        """
        self._depositor = depositor
        self._subnet = subnet
        self.quota_bytes = quota_bytes
        self._depositors: Counter[bytes] = Counter()
        self._subnets: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self.share_of: Callable[[bytes], float | None] = lambda _: None
        """Asked for another share that one depositor has; None: there is none. It never waits."""
        for account, chunks, units in held:
            self._add(account, UNIT_BYTES * (chunks + units))

    def set_quota(self, quota_bytes: int) -> None:
        """Shares are of another quota from now on; what is more than that stays."""
        with self._lock:
            self.quota_bytes = quota_bytes

    def take(self, account: Account, amount: int) -> None:
        """Count ``amount`` more bytes. Raises Refusal (refused), and then counts nothing."""
        with self._lock:
            share = self.depositor_share(account.depositor)
            self._check(share, self._depositors[account.depositor] + amount, "depositor")
            if account.subnet is not None:
                self._check(self._subnet, self._subnets[account.subnet] + amount, "subnet")
            self._add(account, amount)

    def depositor_share(self, depositor: bytes) -> float:
        """What of the quota one depositor may take: above 0, at most 1."""
        return self.share_of(depositor) or self._depositor

    def give(self, account: Account, amount: int) -> None:
        """Count ``amount`` bytes less."""
        with self._lock:
            self._add(account, -amount)

    def _check(self, share: float, amount: int, who: str) -> None:
        if share < 1 and amount > share * self.quota_bytes:
            raise Refusal(ErrorCode.REFUSED, f"one {who} may take {100 * share:.4g}% of this node's quota, and has it")

    def _add(self, account: Account, amount: int) -> None:
        for counter, key in ((self._depositors, account.depositor), (self._subnets, account.subnet)):
            if key is not None:
                counter[key] += amount
                if not counter[key]:  # an account without a byte is not worth remembering
                    del counter[key]
