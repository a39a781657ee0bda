"""A node that is killed while a page sends it files, and again while it publishes them: the transfer goes on."""

import http.client
import json
import signal
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from node.account.vault import Vault
from node.home import Home
from protocol.account import AccountKeys
from tests.e2e.world import NodeProcess, Nodes, until
from tests.vectors.make_account import CHEAP

PASSPHRASE = "correct horse battery"
MIB = 1 << 20


@dataclass
class Page:
    """What the page of a node does."""

    address: str
    token: str = ""
    line: http.client.HTTPConnection = field(init=False)
    """Kept, as browsers do."""

    def __post_init__(self) -> None:
        self.line = http.client.HTTPConnection(self.address, timeout=30)

    def begin(self) -> "Page":
        self.token = self.ask("POST", "/v1/session")["token"]
        return self

    def headers(self, **more: str) -> dict[str, str]:
        return {"Origin": f"http://{self.address}", "Authorization": f"Bearer {self.token}", **more}

    def ask(self, method: str, path: str, body: object = None, *, offset: int | None = None, status: int = 200) -> Any:
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        more = {} if offset is None else {"Upload-Offset": str(offset)}
        self.line.request(method, path, body=sent, headers=self.headers(**more))
        answer = self.line.getresponse()
        data = answer.read()
        assert answer.status == status, data
        return json.loads(data)

    def send_half(self, path: str, data: bytes, size: int) -> http.client.HTTPConnection:
        """Begin to send ``size`` bytes, of which ``data`` are the first."""
        line = http.client.HTTPConnection(self.address, timeout=30)
        line.putrequest("PUT", path)
        for name, value in self.headers(**{"Upload-Offset": "0", "Content-Length": str(size)}).items():
            line.putheader(name, value)
        line.endheaders(data)
        return line


def start(nodes: Nodes, first: NodeProcess) -> tuple[NodeProcess, Page]:
    """The node with the page. It sends slowly, so that there is a while to kill it in."""
    node = nodes.start("page", "--http", "127.0.0.1:0", "--up", "4MB", join=[first.address])
    return node, Page(node.said["http"]).begin()


def test_killed_in_mid_receipt_and_in_mid_publish(nodes: Nodes, tmp_path: Path) -> None:
    home = Home(nodes.folder / "home")
    home.create()
    Vault.of(home).create(AccountKeys(b"e" * 32), PASSPHRASE, CHEAP)
    first = nodes.start("one")
    person = nodes.person("home", first)
    person.run("account", "unlock", "--passphrase-file", "-", stdin=f"{PASSPHRASE}\n".encode())
    try:
        _killed_twice(nodes, first, tmp_path)
    finally:
        person.run("account", "lock")


def _killed_twice(nodes: Nodes, first: NodeProcess, tmp_path: Path) -> None:
    film = Random(1).randbytes(5 * MIB)
    small = {f"films/{number}": Random(number).randbytes(1000 + number) for number in range(100)}
    files = [{"path": "films/film", "size": len(film)}]
    files += [{"path": path, "size": len(data), "mtime": 1_700_000_000} for path, data in small.items()]
    node, page = start(nodes, first)
    upload = page.ask("POST", "/v1/uploads", {"name": "films", "folder": "", "files": files}, status=201)
    place = f"/v1/uploads/{upload['id']}"
    page.ask("PUT", f"{place}/pack", b"".join(small.values()), offset=0)
    spooled = next((nodes.folder / "home" / "uploads").glob(f"*/{upload['id']}"))
    with closing(page.send_half(f"{place}/files/0", film[: 3 * MIB], len(film))):
        until(lambda: (spooled / "0").exists() and (spooled / "0").stat().st_size > MIB)
        node.kill()
    page.line.close()

    node, page = start(nodes, first)
    found = page.ask("GET", place)
    received = found["files"][0]["received"]
    assert MIB < received < len(film)
    assert (found["transfer"]["state"], found["pack"]["received"]) == ("receiving", sum(map(len, small.values())))
    page.ask("PUT", f"{place}/files/0", film[received:], offset=received)

    def confirmed() -> bool:
        now = page.ask("GET", place)["transfer"]
        assert now["state"] != "done", "it was too quick for the test"
        return bool(now["state"] == "running" and now["confirmed_bytes"] > 0)

    until(confirmed)
    node.kill()
    page.line.close()

    node, page = start(nodes, first)
    until(lambda: page.ask("GET", place)["transfer"]["state"] == "done")
    done = page.ask("GET", place)["transfer"]
    assert (done["confirmed_bytes"], done["link_path"]) == (len(film) + sum(map(len, small.values())), "films")
    until(lambda: not spooled.exists())
    down = page.ask("POST", "/v1/downloads", {"path": "films", "to": str(tmp_path)}, status=201)
    until(lambda: page.ask("GET", f"/v1/uploads/{down['id']}")["transfer"]["state"] == "done")
    assert (tmp_path / "films/film").read_bytes() == film
    assert all((tmp_path / path).read_bytes() == data for path, data in small.items())
    page.line.close()
    assert node.stop(signal.SIGTERM) == 0
