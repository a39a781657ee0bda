"""A request we do not do, with the reason that goes back to the peer."""

from protocol.messages import ErrorCode


class Refusal(Exception):
    """Raised wherever a request cannot be done; the server answers it with an error reply and goes on."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(f"{code.name.lower()}: {text}")
        self.code = code
        self.text = text.encode("ascii", "replace").decode()[:256]
        """For a person's eyes, at most 256 bytes."""
