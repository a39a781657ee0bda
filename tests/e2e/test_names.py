"""A node that is killed while names are published has everything on its disk that it acknowledged."""

from pathlib import Path
from random import Random

import trio

from node.client import open_client
from node.config import Config
from node.errors import NetworkError
from node.names.reading import resolve
from node.names.seen import Seen
from node.names.writing import publish_version
from protocol.identity import Network
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from protocol.names import NameKeys
from tests.e2e.world import NodeProcess, Nodes

KEYS = NameKeys(b"\x05" * 32)
KILLS = 2


async def _publish(config: Config, seen: Seen, node: NodeProcess, after: float) -> int:
    """Publish one version after another; the node is killed ``after`` so many seconds, in the midst of anything.

    Returns:
        How many it had acknowledged.
    """
    acknowledged = 0

    async def kill() -> None:
        await trio.sleep(after)
        node.process.kill()

    async with open_client(config) as client, trio.open_nursery() as nursery:
        nursery.start_soon(kill)
        expiry = int(client.world.clock.wall()) + 86_400
        while True:
            link = Link(LinkKind.READ, SegmentId(acknowledged.to_bytes(32, "big")), bytes(32))
            try:
                written = await publish_version(client, KEYS, seen, link, expiry, archive=False)
            except NetworkError:
                return acknowledged
            acknowledged = written.sequence


async def test_what_a_killed_node_acknowledged_is_there_when_it_is_back(nodes: Nodes, tmp_path: Path) -> None:
    random = Random(1)
    listen = "127.0.0.1:0"
    for number in range(KILLS):
        node = nodes.start("keeper", listen=listen)
        listen = node.address
        config = Config(tmp_path / f"home-{number}", nodes.network, (node.address,))
        seen = Seen(tmp_path / f"home-{number}" / "names.sqlite", Network(nodes.network).id)
        with trio.fail_after(30):
            acknowledged = await _publish(config, seen, node, 0.1 + random.random() / 5)
        node.kill()
        assert acknowledged > number
        node = nodes.start("keeper", listen=listen)
        with trio.fail_after(30):
            async with open_client(config) as client:
                assert (await resolve(client, KEYS.reader, seen)).sequence >= acknowledged
        node.kill()
