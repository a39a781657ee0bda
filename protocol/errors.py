"""Every error the protocol package can raise: split by whose fault it is, then by what the caller can do."""


class ProtocolError(Exception):
    """Base of all errors of this package. Nothing else comes out of it, whatever bytes go in."""


class LocalProtocolError(ProtocolError):
    """We were about to break the specification: a bug on our side. Let it crash."""


class RemoteProtocolError(ProtocolError):
    """Bytes from outside break the specification. Drop the connection or datagram; lower the sender's score."""


class SignatureError(RemoteProtocolError):
    """A signature does not verify. The bytes prove nothing about the key they name."""


class WrongNetworkError(RemoteProtocolError):
    """The peer speaks for another network or another version. Nothing is wrong with the line: ask elsewhere."""


class LinkError(ProtocolError):
    """A link or account key a person typed or pasted cannot be read. The message says what is wrong with it."""


class SealedLinkError(LinkError):
    """A sealed link does not open with this account's key: it was sealed to another, or changed since."""


class AccountKeyError(ProtocolError):
    """An account key that a person typed or pasted cannot be read. The message says what is wrong with it."""


class DriveFullError(ProtocolError):
    """A drive would have more entries or bytes than it may. Something has to go first."""


class IntegrityError(ProtocolError):
    """Bytes do not match the id, hash or tag they were promised under. Never ask the same peer again."""


class ErasureError(ProtocolError):
    """A row of a segment could not be coded or rebuilt."""


class NotEnoughChunksError(ErasureError):
    """Fewer than ``need`` columns of a row were given to the decoder."""

    def __init__(self, have: int, need: int) -> None:
        super().__init__(f"have {have} of {need} chunks")
        self.have = have
        self.need = need
