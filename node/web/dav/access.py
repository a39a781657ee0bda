"""How file managers open the drive: by a password, made once, in a private file of the home."""

import base64
import hmac
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from node.blocking import Blocking
from node.errors import NotFoundError
from node.home import Home, secret_file
from node.web.tickets import Tickets

USER = "archipel"
_BYTES = 16
_FILE = "webdav.secret"


def password(home: Home) -> str:
    """26 letters and digits. Blocks.

    Raises:
        MachineError: The file cannot be read or written, or is damaged.
    """
    home.create()
    return base64.b32encode(secret_file(home.path / _FILE, _BYTES)).decode().rstrip("=").lower()


def is_shown(authorization: str, wanted: str) -> bool:
    """Whether a header ``Authorization: Basic ...`` shows the password; by which user name does not matter."""
    scheme, _, word = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        shown = base64.b64decode(word.strip(), validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(shown.partition(b":")[2], wanted.encode())


@dataclass(frozen=True, slots=True)
class Access:
    """Tells it to the user who runs the node."""

    home: Home | None
    tickets: Tickets
    """They know where the page is."""
    blocking: Blocking

    async def tell(self, _: Mapping[str, object]) -> AsyncGenerator[Mapping[str, object], None]:
        """Answers by the control socket: ``url``, ``user`` and ``password`` of the drive.

        Raises:
            NotFoundError: This node has no page, or no home.
            MachineError: The password cannot be read or written.
        """
        if self.tickets.page is None or self.home is None:
            raise NotFoundError("this node serves no page", hint="start it with --http 127.0.0.1:8420")
        url = f"http://{self.tickets.page}/dav/drive/"
        yield {"url": url, "user": USER, "password": await self.blocking(password, self.home)}
