"""The session token: what the page has to show for every call that is nobody else's business."""

import base64
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from node.blocking import Blocking
from node.web.http import peeruid
from node.web.http.answers import HttpError, answer

TOKEN_BYTES = 32
_SCHEME = "bearer "

Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """Of one run of a node. The token is in the memory of the node and of its pages, and nowhere else."""

    token: str
    version: str
    """Of the software, so that a page can tell that it is older."""
    blocking: Blocking

    @classmethod
    def begin(cls, random_bytes: Random, version: str, blocking: Blocking) -> "Session":
        """One with a new token."""
        return cls(base64.urlsafe_b64encode(random_bytes(TOKEN_BYTES)).rstrip(b"=").decode(), version, blocking)

    async def give(self, request: Request) -> Response:
        """The token, for a page that this node has served, in a browser of the same user.

        Raises:
            HttpError: Another site asks, or another user of this machine.
        """
        if request.headers.get("origin") is None:
            raise HttpError(403, "the session is for the node's own page", hint="open it in a browser")
        if not await self.blocking(_same_user, request.scope):
            raise HttpError(403, "the session belongs to the user who runs the node")
        return answer({"token": self.token, "version": self.version})

    def check(self, request: Request) -> None:
        """Make sure that the token is shown. Raises HttpError."""
        shown = request.headers.get("authorization", "")
        given = shown[len(_SCHEME) :] if shown[: len(_SCHEME)].lower() == _SCHEME else ""
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise HttpError(401, "this call needs the session token", headers={"WWW-Authenticate": "Bearer"})


def _same_user(scope: Scope) -> bool:
    """Whether the connection comes from our own user, or from root, who can read our memory anyway."""
    if not peeruid.told():
        return True  # docs/threat-model.md says so
    client, server = scope.get("client"), scope.get("server")
    if not client or not server:
        return False
    found = peeruid.user_of((client[0], client[1]), (server[0], server[1]))
    return found is not None and found in (os.getuid(), 0)
