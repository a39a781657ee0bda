"""The hashes of the page's files: what a gateway serves beside what this installation has."""

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import SplitResult, urlsplit

from node.errors import ConfigError, NetworkError, reason
from node.web.files import PageFile

TIMEOUT_SECONDS = 15.0


def listing(files: Mapping[str, PageFile]) -> str:
    """As `sha256sum` prints it, and as `sha256sum -c` reads it in the folder of the files."""
    return "".join(f"{file.hash}  {path}\n" for path, file in sorted(files.items()))


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is served otherwise."""

    path: str
    served: str | None
    """Its hash there; None: it is not there."""


def gateway_url(text: str) -> SplitResult:
    """The address of a gateway. Raises ConfigError."""
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - it is checked when it is asked for
    except ValueError as exc:
        raise ConfigError(f"this is no address: {exc}") from exc
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError("want a gateway's address, such as https://gateway.example", hint="nothing behind it is used")
    return url


def compare(url: SplitResult, files: Mapping[str, PageFile]) -> list[Difference]:
    """What a gateway serves otherwise. Blocks: run it where somebody watches the clock.

    Raises:
        NetworkError: It does not answer, or not by HTTP.
    """
    assert url.hostname is not None
    if url.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            url.hostname, url.port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=TIMEOUT_SECONDS)
    try:
        found = []
        for path, file in [("", files["index.html"]), *files.items()]:  # "" is what a browser asks for first
            served = _served(connection, "/" + path, len(file.content))
            if served != file.hash:
                found.append(Difference(path or "/", served))
        return found
    except OSError as exc:
        raise NetworkError(f"cannot ask {url.hostname}: {reason(exc)}") from exc
    except http.client.HTTPException as exc:
        raise NetworkError(f"cannot ask {url.hostname}: it does not speak HTTP as it should") from exc
    finally:
        connection.close()


def _served(connection: http.client.HTTPConnection, path: str, size: int) -> str | None:
    """The hash of what is there; of something longer, of its beginning."""
    connection.request("GET", path)
    response = connection.getresponse()
    content = response.read(size + 1)
    if response.read(1):  # the rest is not wanted
        connection.close()
    return sha256(content).hexdigest() if response.status == 200 else None
