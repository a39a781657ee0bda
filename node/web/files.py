"""The page's own files: read once, with their hashes, compressed for those who take that."""

import gzip
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from node.web.http.answers import HttpError

STATIC = Path(__file__).parent / "static"
_INDEX = "index.html"
_TYPES = {".js": "text/javascript", ".json": "application/json", ".svg": "image/svg+xml", ".css": "text/css"}
_MIN_GZIP_BYTES = 512


@dataclass(frozen=True)
class PageFile:
    """One file of the page."""

    content: bytes
    media_type: str

    @cached_property
    def packed(self) -> bytes | None:
        """Compressed, where that is shorter. Made when it is first asked for: most pages are seldom seen."""
        packed = gzip.compress(self.content, 9, mtime=0) if len(self.content) >= _MIN_GZIP_BYTES else self.content
        return packed if len(packed) < len(self.content) else None

    @cached_property
    def hash(self) -> str:
        """SHA-256 in hex, as `sha256sum` prints it."""
        return sha256(self.content).hexdigest()


def read_files(folder: Path = STATIC) -> dict[str, PageFile]:
    """Every file of the page by its path, such as ``core/blake3.js``. Blocks."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): _read(path) for path in found}


def _read(path: Path) -> PageFile:
    content = path.read_bytes()
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if media_type.startswith("text/") or path.suffix in _TYPES:
        media_type += "; charset=utf-8"
    return PageFile(content, media_type)


@dataclass(frozen=True, slots=True)
class Page:
    """Serves them."""

    files: Mapping[str, PageFile]

    async def serve(self, request: Request) -> Response:
        """The file at the request's path. Raises HttpError: there is none."""
        found = self.files.get(request.path_params.get("path") or _INDEX)
        if found is None:
            raise HttpError(404, "there is nothing here")
        headers = {"ETag": f'W/"{found.hash[:32]}"', "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if f'"{found.hash[:32]}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = found.content
        if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["Content-Encoding"] = found.packed, "gzip"
        return Response(content, media_type=found.media_type, headers=headers)
