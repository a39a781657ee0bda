"""What a page asks a node for, served out of memory; with faults."""

import json
import re
import sys
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from node.web.http.guard import PAGE_POLICY

STATIC = Path(__file__).parents[2] / "node" / "web" / "static"
PAGES = Path(__file__).parent / "pages"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".json": "application/json",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
HEALTH = {"ok": True, "storing": True, "page": "gateway", "uploads": False, "network": bytes(32).hex()}
MAX_BODY = 17 << 20


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that has heard enough is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # of the base class: a socket


class Site:
    """A node's HTTP as far as the core needs it. What it was asked for can be looked at."""

    def __init__(self) -> None:
        self.segments: dict[str, bytes] = {}
        """Sealed segments by id, as docs/spec/web.md has them."""
        self.names: dict[str, bytes] = {}
        """Answers about names, by public key."""
        self.posted: list[bytes] = []
        self.asked: list[tuple[str, str | None]] = []
        """(path, Range) of each request under /v1."""
        self.faults: deque[str] = deque()
        """What happens to the next requests under /v1: a status, "cut" in the middle, "drop" without answer."""
        self.page = "gateway"
        """Whose page this is; of one's own, the rest of the API does not answer."""
        self.flowing = threading.Event()
        """Segments are given only while it is set."""
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def reset(self) -> None:
        """As it was in the beginning."""
        for kept in (self.segments, self.names, self.posted, self.asked, self.faults):
            kept.clear()
        self.page = "gateway"
        self.flowing.set()

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self.reset()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flowing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fault(self) -> str | None:
        """What is to go wrong now."""
        with self._lock:
            return self.faults.popleft() if self.faults else None

    def content(self, path: str) -> tuple[bytes, str] | None:
        """The bytes behind a path, and their type."""
        if (found := re.fullmatch(r"/v1/segments/([0-9a-f]{64})", path)) is not None:
            data = self.segments.get(found[1])
            return None if data is None else (data, "application/octet-stream")
        if (found := re.fullmatch(r"/v1/names/([0-9a-f]{64})", path)) is not None:
            data = self.names.get(found[1])
            return None if data is None else (data, TYPES[".json"])
        if path == "/healthz":
            return json.dumps(HEALTH | {"page": self.page}).encode(), TYPES[".json"]
        if path == "/":
            path = "/index.html"
        folder, name = (PAGES, path.removeprefix("/tests/")) if path.startswith("/tests/") else (STATIC, path[1:])
        file = folder / name
        if re.fullmatch(r"[a-z0-9/_.-]+", name) is None or ".." in name or not file.is_file():
            return None
        return file.read_bytes(), TYPES[file.suffix]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                fault = None
                if self.path.startswith("/v1/"):
                    site.asked.append((self.path, self.headers["Range"]))
                    fault = site.fault()
                if self.path.startswith("/v1/segments/"):
                    site.flowing.wait()
                found = site.content(self.path)
                if fault == "drop":
                    self.close_connection = True
                elif fault is not None and fault.isdigit():
                    self.fail(int(fault))
                elif found is None:
                    self.fail(404)
                else:
                    self.send(*found, cut=fault == "cut")

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                assert size <= MAX_BODY
                body = self.rfile.read(size)
                fault = site.fault()
                if fault is not None and fault.isdigit():
                    self.fail(int(fault))
                    return
                site.posted.append(body)
                placed = {"placed": 12, "n": 12, "k": 8, "nodes": 12, "countries": {"FR": 6, "NZ": 6}}
                self.answer(201, json.dumps(placed).encode(), TYPES[".json"])

            def fail(self, status: int) -> None:
                error = {"exit": 3, "text": f"made to answer {status}", "hint": None}
                self.answer(status, json.dumps({"error": error}).encode(), TYPES[".json"])

            def send(self, data: bytes, kind: str, *, cut: bool) -> None:
                asked = re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", self.headers["Range"] or "")
                if asked is None:
                    self.answer(200, data, kind, cut=cut)
                else:
                    self.answer(206, data[int(asked[1]) : int(asked[2]) + 1], kind, cut=cut)

            def answer(self, status: int, data: bytes, kind: str, *, cut: bool = False) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Content-Security-Policy", PAGE_POLICY)
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if cut else data)
                self.close_connection = cut

        return Handler
