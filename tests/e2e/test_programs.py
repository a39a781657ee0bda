"""Programs that know nothing of archipel read files of a real node, by HTTP."""

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.trees import random_bytes, write
from tests.e2e.world import NodeProcess, Nodes, learn_secret

SIZE = 9_000_000


@dataclass
class Served:
    """A node with a page, and a deposit."""

    node: NodeProcess
    host: str
    word: str
    film: bytes

    @property
    def path(self) -> str:
        return f"/v1/files/{self.word}/top/film.mp4"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    nodes = Nodes(folder)
    try:
        node = nodes.start("one", "--http", "127.0.0.1:0")
        write(folder / "top" / "film.mp4", film := random_bytes(3, SIZE))
        write(folder / "top" / "sub" / "x.txt", b"x")
        link = nodes.person("alice", node).publish(folder / "top", "--shares", "2/3")["link"]
        learn_secret(link)
        yield Served(node, node.said["http"], link.removeprefix("archipel:"), film)
    finally:
        nodes.end()


def test_one_connection_asks_for_many_parts(served: Served) -> None:
    connection = http.client.HTTPConnection(served.host, timeout=20)
    for method, span, status, expected in (
        ("GET", "", 200, served.film),
        ("HEAD", "", 200, b""),
        ("GET", "bytes=100-199", 206, served.film[100:200]),
        ("GET", "bytes=-7", 206, served.film[-7:]),
        ("GET", f"bytes={SIZE}-", 416, None),
        ("GET", f"bytes={SIZE - 5_000_000}-", 206, served.film[-5_000_000:]),
    ):
        connection.request(method, served.path, headers={"Range": span} if span else {})
        answered = connection.getresponse()
        assert answered.status == status
        content = answered.read()
        assert expected is None or content == expected
    connection.request("GET", served.path + "-not")
    answered = connection.getresponse()
    assert (answered.status, json.load(answered)["error"]["exit"]) == (404, 3)
    connection.close()


def test_clients_that_leave_and_clients_that_wait(served: Served) -> None:
    """More of them than may read at once: those who left hold up nobody, those who do not read have their turn."""
    host, port = served.host.split(":")
    waiting = []
    for number in range(30):
        client = socket.create_connection((host, int(port)), timeout=20)
        head = f"GET {served.path} HTTP/1.1\r\nHost: {served.host}\r\nRange: bytes={number * 200_000}-\r\n\r\n"
        client.sendall(head.encode())
        if number < 6:
            waiting.append(client)
        else:
            client.recv(1000)
            client.close()
    test_one_connection_asks_for_many_parts(served)
    for number, client in enumerate(waiting):
        answered = http.client.HTTPResponse(client)
        answered.begin()
        assert answered.read() == served.film[number * 200_000 :]
        answered.close()
        client.close()


def test_the_node_serves_no_other_sites_page(served: Served) -> None:
    connection = http.client.HTTPConnection(served.host, timeout=20)
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        connection.request("GET", served.path, headers=headers)
        answered = connection.getresponse()
        assert answered.status in (403, 421)
        assert b"error" in answered.read()
    connection.close()


def test_the_log_says_nothing(served: Served) -> None:
    (line,) = Path(served.node.log).read_text().splitlines()
    assert line.endswith(f"its page: http://{served.host}"), "nothing of requests is logged"
