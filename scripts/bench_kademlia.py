"""The same lookups by the stock kademlia server: no signatures, 160-bit ids, UDP through rpcudp."""

import asyncio
import os
import random
import time
from typing import Any

from bench_lookups import LOOKUPS, K, Row, recall, row


async def _servers(count: int) -> list[Any]:
    from kademlia.network import Server

    servers: list[Any] = []
    for _ in range(count):
        server = Server()
        await server.listen(0, interface="127.0.0.1")
        if servers:
            await server.bootstrap([("127.0.0.1", servers[0].transport.get_extra_info("sockname")[1])])
        servers.append(server)
    return servers


async def _row(nodes: int, dead: int, seconds: float) -> Row:
    from kademlia.crawling import NodeSpiderCrawl
    from kademlia.node import Node

    chance = random.Random(1)
    servers = await _servers(nodes)
    chance.shuffle(servers)
    count = len(servers) * dead // 100
    for server in servers[:count]:
        server.stop()
    living = servers[count:]
    ids = [server.node.id for server in living]
    times, recalls = [], []
    end = time.monotonic() + seconds
    while len(times) < LOOKUPS and (not times or time.monotonic() < end):
        server, target = chance.choice(living), os.urandom(20)
        node = Node(target)
        began = time.perf_counter()
        near = server.protocol.router.find_neighbors(node)
        found = await NodeSpiderCrawl(server.protocol, node, near, K, 3).find()
        times.append(time.perf_counter() - began)
        recalls.append(recall([other.id for other in found], target, ids, server.node.id))
    for server in living:
        server.stop()
    return row("kademlia 2.2", nodes, dead, times, recalls)


def measure(nodes: int, dead: int, seconds: float) -> Row:
    """One line of the table."""
    return asyncio.run(_row(nodes, dead, seconds))
