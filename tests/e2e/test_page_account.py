"""An account that is unlocked in the page of a node: by whom it is kept so, and for how long."""

import http.client
import json
import signal
from typing import Any

from node.account.agent import ask_agent
from node.home import Home
from tests.e2e.test_accounts import PASSPHRASE, cheap_account
from tests.e2e.world import NodeProcess, Nodes, Person, until


class Page:
    """The page of a node, as a browser on this machine has it."""

    def __init__(self, node: NodeProcess) -> None:
        self._address = node.said["http"].removeprefix("http://").rstrip("/")
        self._token = ""
        self._token = self.ask("POST", "/v1/session")["token"]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        headers = {"Origin": f"http://{self._address}", "Authorization": f"Bearer {self._token}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        with connection.getresponse() as response:
            answer = json.loads(response.read())
        connection.close()
        assert response.status < 400, answer
        return answer


def test_the_agent_outlives_the_node_and_not_its_time(nodes: Nodes) -> None:
    """It is no child of the node, nor in its session: Ctrl-C does not reach it, and a node started again finds it."""
    home: Home = cheap_account(Person(nodes.folder / "home"))
    node = nodes.start("one", "--http", "127.0.0.1:0")
    page = Page(node)
    assert not page.ask("GET", "/v1/account")["unlocked"]
    unlocked = page.ask("POST", "/v1/account/unlock", {"passphrase": PASSPHRASE, "seconds": 600})
    assert (unlocked["unlocked"], unlocked["keeper"]) == (True, "agent")
    assert node.stop(signal.SIGINT) == 0
    assert ask_agent(home) is not None
    page = Page(nodes.start("one", "--http", "127.0.0.1:0"))
    assert page.ask("GET", "/v1/account") == unlocked
    assert page.ask("GET", "/v1/drive")["items"] == []
    assert not page.ask("POST", "/v1/account/lock", {})["unlocked"]
    assert ask_agent(home) is None
    page.ask("POST", "/v1/account/unlock", {"passphrase": PASSPHRASE, "seconds": 1})
    until(lambda: not page.ask("GET", "/v1/account")["unlocked"])
    assert ask_agent(home) is None
