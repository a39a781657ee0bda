"""Accounts: what one secret of 32 bytes stands for (docs/spec/account.md).

The secret is all there is of an account. Everything else is derived from it, each under a label of its own, so that it
comes back on any machine from the 24 words that stand for the secret. Whoever has one derived secret learns neither
another nor the account's.
"""

from protocol.errors import LocalProtocolError
from protocol.hashing import digest
from protocol.identity import Identity

SECRET_BYTES = 32
MAX_LABEL_BYTES = 64
"""UTF-8 bytes of a name's label."""


class Secret(bytes):
    """Secret bytes whose text form does not show them. No message can carry them: the codec takes plain bytes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Secret({len(self)} bytes)"

    __str__ = __repr__


class AccountKeys:
    """What an account's secret opens. Its text form shows the public key only."""

    __slots__ = ("identity", "secret")

    def __init__(self, secret: bytes) -> None:
        """Take an account secret of 32 bytes. Raises LocalProtocolError for another length."""
        if len(secret) != SECRET_BYTES:
            raise LocalProtocolError(f"an account secret is {SECRET_BYTES} bytes, got {len(secret)}")
        self.secret = Secret(secret)
        self.identity = Identity(digest("account identity", secret))
        """Signs the account's leases. Its public key is the account key."""

    @property
    def convergence_secret(self) -> Secret:
        """What the account's segment keys are derived from."""
        return Secret(digest("account convergence", self.secret))

    @property
    def cache_key(self) -> Secret:
        """Seals what a machine remembers of the drive."""
        return Secret(digest("account cache", self.secret))

    @property
    def drive_secret(self) -> Secret:
        """The name secret of the account's drive."""
        return Secret(digest("account drive", self.secret))

    def name_secret(self, label: str) -> Secret:
        """The name secret of one of the account's names.

        Args:
            label: What the account calls it, 1 to 64 UTF-8 bytes, as it is: nothing is normalised.

        Raises:
            LocalProtocolError: The label is longer or empty, or cannot be UTF-8.
        """
        try:
            encoded = label.encode()
        except UnicodeEncodeError as exc:
            raise LocalProtocolError(f"a label is UTF-8, got {label!r}") from exc
        if not 1 <= len(encoded) <= MAX_LABEL_BYTES:
            raise LocalProtocolError(f"a label is 1 to {MAX_LABEL_BYTES} bytes, got {len(encoded)}")
        return Secret(digest("account name", self.secret, encoded))

    def __repr__(self) -> str:
        return f"AccountKeys({self.identity.key.hex()[:8]})"
