"""A network of real nodes with pages: some that only store, one that is somebody's own, one that is a gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.world import NodeProcess, Nodes, Person

COUNTRIES = ("FR", "DE", "NZ", "IS")


@dataclass(slots=True)
class PageNode:
    """A node with a page of its own, and the home whose account that shows."""

    node: NodeProcess
    home: Path

    @property
    def url(self) -> str:
        """Of its own page, without a slash at the end."""
        return f"http://{self.node.said['http']}"

    @property
    def gateway(self) -> str:
        """Of the page for everybody."""
        return f"http://{self.node.said['gateway']}"


@dataclass(slots=True)
class Islands:
    """The network."""

    nodes: Nodes
    first: NodeProcess
    people: int = field(default=0)

    def start(self, *more: str, home: Path | None = None, http: str = "127.0.0.1:0") -> PageNode:
        """One more node, with a page and a home of its own, or with a home that there is.

        Args:
            more: Further options of `archipel node`.
            home: Of a node that was started before and has ended.
            http: Where its page is.
        """
        self.people += 1
        home = home or self.nodes.folder / f"home-{self.people}"
        data = ("--data", str(home / "node"))  # the later one counts
        node = self.nodes.start(
            f"page-{self.people}", "--http", http, "--home", str(home), *data, *more, join=[self.first.address]
        )
        return PageNode(node, home)

    def person(self, home: Path) -> Person:
        """Whoever uses the command line with this home."""
        return Person(home, self.nodes.network, (self.first.address,))


@contextmanager
def open_islands(folder: Path) -> Iterator[Islands]:
    """Four nodes in four countries that only store."""
    nodes = Nodes(folder)
    try:
        first = nodes.start("island-0", "--country", COUNTRIES[0])
        for number, country in enumerate(COUNTRIES[1:], 1):
            nodes.start(f"island-{number}", "--country", country, join=[first.address])
        yield Islands(nodes, first)
    finally:
        nodes.end()
