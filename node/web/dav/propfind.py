"""PROPFIND, by WsgiDAV: what is told of a place, and of what is in it. The only importer of wsgidav.

It is called in a worker thread with all it needs, and looks nothing up. What may be asked is bounded before: a body of
16 KiB, in which entities are refused (defusedxml), 64 properties, and so many things in one folder.
"""

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import register_namespace

from wsgidav.dav_error import HTTP_BAD_REQUEST, DAVError
from wsgidav.dav_provider import DAVCollection, DAVNonCollection, DAVProvider
from wsgidav.request_resolver import RequestResolver
from wsgidav.wsgidav_app import WsgiDAVApp

from node.errors import RefusedError
from node.web.dav.places import Place, Thing
from node.web.http.answers import HttpError

MOST_BODY_BYTES = 16 * 1024
MOST_PROPERTIES = 64
MOST_THINGS = 10_000
"""In one folder: about 40 MB while its answer is put together."""

_SAFE = "!*'(),$-_.~"
_ETAG = "{DAV:}getetag"

register_namespace("D", "DAV:")  # the prefix that clients know best
logging.getLogger("wsgidav").setLevel(logging.CRITICAL + 1)  # it tells paths, which are nobody's business


@dataclass(frozen=True, slots=True)
class Answer:
    """What it came to."""

    status: int
    headers: dict[str, str]
    body: bytes


def propfind(place: Place, href: str, depth: str, body: bytes) -> Answer:
    """Answer one PROPFIND. Takes up to a second.

    Args:
        place: What it is about.
        href: The path by which it was asked for, percent-encoded.
        depth: ``0`` or ``1``.
        body: What is asked, at most MOST_BODY_BYTES.

    Raises:
        RefusedError: There are more than MOST_THINGS in the folder.
        HttpError: It is no PROPFIND, or asks for too much.
    """
    things = list(islice(place.inside(), MOST_THINGS + 1)) if depth == "1" else []
    if len(things) > MOST_THINGS:
        raise RefusedError(
            f"this folder holds more than {MOST_THINGS} things, too many for WebDAV",
            hint="archipel ls lists them, archipel fetch --path fetches one",
        )
    environ = {
        "REQUEST_METHOD": "PROPFIND",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_DEPTH": depth,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "wsgidav.auth.user_name": "",
        "archipel.found": (place.thing, things, href),
    }
    begun: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        begun[:] = [int(status.split(" ", 1)[0]), {name.lower(): value for name, value in headers}]

    try:
        content = b"".join(_app(environ, start_response))
    except DAVError as exc:
        raise HttpError(exc.value, "this is no PROPFIND that can be answered") from None
    status, headers = begun
    return Answer(status, {"content-type": headers.get("content-type", "text/plain")}, content)


class _Told:
    """What WsgiDAV is told of a thing, beside what it asks of every resource."""

    thing: Thing
    href: str

    def get_href(self) -> str:
        return self.href

    def get_display_name(self) -> str:
        """Without what XML cannot hold."""
        name = self.thing.name.decode("utf-8", "replace")
        return "".join(letter if letter.isprintable() else "�" for letter in name)

    def get_last_modified(self) -> float | None:
        return self.thing.changed

    def get_creation_date(self) -> float | None:
        return self.thing.changed

    def get_etag(self) -> str | None:
        return self.thing.tag or None

    def support_etag(self) -> bool:
        return bool(self.thing.tag)

    def get_properties(self, mode: str, *, name_list: list[str] | None = None) -> Any:
        if name_list is not None and len(name_list) > MOST_PROPERTIES:
            raise DAVError(HTTP_BAD_REQUEST)
        return super().get_properties(mode, name_list=name_list)  # type: ignore[misc]  # of the class beside it

    def get_property_value(self, name: str) -> Any:
        found = super().get_property_value(name)  # type: ignore[misc]  # as above
        return f'"{found}"' if name == _ETAG else found


class _File(_Told, DAVNonCollection):  # type: ignore[misc]  # WsgiDAV has no types
    def __init__(self, thing: Thing, href: str, environ: dict[str, Any]) -> None:
        super().__init__("/file", environ)
        self.thing, self.href = thing, href

    def get_content_length(self) -> int:
        return self.thing.size

    def get_content_type(self) -> str:
        return self.thing.kind

    def get_content(self) -> Any:
        raise DAVError(HTTP_BAD_REQUEST)  # files are not answered here

    def support_ranges(self) -> bool:
        return True


class _Folder(_Told, DAVCollection):  # type: ignore[misc]  # WsgiDAV has no types
    def __init__(self, thing: Thing, things: list[Thing], href: str, environ: dict[str, Any]) -> None:
        super().__init__("/", environ)
        self.thing, self.things, self.href = thing, things, href.rstrip("/") + "/"

    def get_member_list(self) -> list[Any]:
        return list(self._members())

    def get_member_names(self) -> list[str]:
        return [member.get_display_name() for member in self._members()]

    def get_member(self, name: str) -> Any:
        return next((member for member in self._members() if member.get_display_name() == name), None)

    def _members(self) -> Iterator[Any]:
        for thing in self.things:
            href = self.href + quote(thing.name, safe=_SAFE)
            if thing.is_folder:
                yield _Folder(thing, [], href, self.environ)
            else:
                yield _File(thing, href, self.environ)


class _Provider(DAVProvider):  # type: ignore[misc]  # WsgiDAV has no types
    def get_resource_inst(self, _: str, environ: dict[str, Any]) -> Any:
        thing, things, href = environ["archipel.found"]
        return _Folder(thing, things, href, environ) if thing.is_folder else _File(thing, href, environ)

    def is_readonly(self) -> bool:
        return True


_app = WsgiDAVApp(
    {
        "provider_mapping": {"/": _Provider()},
        "middleware_stack": [RequestResolver],
        "lock_storage": None,
        "property_manager": None,
        "logging": {"enable": False},
        "verbose": 0,
    }
)
