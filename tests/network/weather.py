"""What goes wrong among the nodes of an archipelago, drawn from a seed, and a record of who was hit and when.

A storm hits some nodes at once and goes on changing until it is cancelled; then everything heals. The record says who
was undisturbed all the time: only of those may a test expect anything.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import trio

from tests.network.archipelago import Archipelago, Node
from tests.network.memory import MemoryHost

CRAWL = 3000
"""Bytes per second: a block takes 44 s."""
SLOW = 100_000
"""Bytes per second: slow, and good enough."""
MOST_ROTTEN = 16
"""One node in so many."""
LATE_SECONDS = 0.6
"""One way."""
HARMLESS = ("slow",)
"""Troubles that excuse nothing."""
TROUBLES = ("dead", "frozen", "cut", "mute", "swallowing", "damaging", "tearing", "crawling", "late", "rotten", "slow")


@dataclass(slots=True, eq=False)
class Trouble:
    """One fault of one node, while it lasts."""

    node: Node
    kind: str


@dataclass(slots=True, eq=False)
class Weather:
    """The faults of one run."""

    islands: Archipelago
    random: Random
    frauds: list[str]
    """IP addresses of nodes that lie, which a partition may take, too."""
    delay: float = 0.005
    late: dict[str, None] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    """Troubles by kind, those that are over, too."""
    _troubles: list[Trouble] = field(default_factory=list)
    _far: list[str] = field(default_factory=list)
    _hit: dict[str, list[list[float]]] = field(default_factory=dict)
    """By IP address: when it was hit, and when it had recovered; once for every trouble."""
    _rotten: dict[str, None] = field(default_factory=dict)

    def one_way(self, one: str, other: str) -> float:
        """The delay between two addresses."""
        return LATE_SECONDS if one in self.late or other in self.late else self.delay

    def undisturbed(self, ip: str, since: float, until: float) -> bool:
        """Whether nothing that excuses anything was wrong there at any time between the two."""
        return ip not in self._rotten and not any(
            began <= until and ended >= since for began, ended in self._hit.get(ip, [])
        )

    async def storm(self, share: float, pause: float) -> None:
        """Hit ``share`` of the nodes, and then go on, a change every ``pause`` seconds in the mean."""
        most = round(share * len(self.islands.nodes))
        self._spoil_lines()
        for node in self.random.sample(self.islands.nodes, most):
            self._hit_by(node, self._draw())
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self.random.expovariate(1 / pause))
                match self.random.choice(("hit", "hit", "mend", "mend", "part")):
                    case "hit" if len(self._troubles) < most and (well := self._untroubled()):
                        self._hit_by(self.random.choice(well), self._draw())
                    case "mend" if self._troubles:
                        trouble = self.random.choice(self._troubles)
                        self._troubles.remove(trouble)
                        nursery.start_soon(self._mend, trouble)
                    case "part" if share and not self._far:
                        nursery.start_soon(self._part)

    async def heal(self) -> None:
        """Everything is well again; of the nodes that are dead one half stays so."""
        net = self.islands.net
        net.loss = net.damage = net.double = net.jitter = 0.0
        self._join()
        troubles, self._troubles = self._troubles, []
        async with trio.open_nursery() as nursery:
            for trouble in troubles:
                if trouble.kind != "dead" or self.random.random() < 0.5:
                    nursery.start_soon(self._mend, trouble)
                    await trio.sleep(0.01)

    def running(self) -> list[Node]:
        """Nodes that are not dead."""
        return [node for node in self.islands.nodes if not node.scope.cancel_called]

    # Lines

    def _spoil_lines(self) -> None:
        net, draw = self.islands.net, self.random.choice
        net.loss = draw((0.0, 0.02, 0.1))
        net.damage = draw((0.0, 0.0, 0.0005))
        net.double = draw((0.0, 0.05))
        net.jitter = draw((0.0, 0.1))

    async def _part(self) -> None:
        """Some nodes are beyond reach for a while: both ways, or one way only. Users are on this side."""
        ips = [node.host.ip for node in self.islands.nodes] + self.frauds
        share = self.random.choice((0.2, 0.2, 0.5, 0.5, 0.9, 1.0))
        self._far = self.random.sample(ips, round(share * len(ips)))
        self.islands.net.partition = self._wall(frozenset(self._far), self.random.choice(("both", "out", "in")))
        self.islands.net.changed()
        self.seen[f"partition of {share:.0%}"] += 1
        for ip in self._far:
            self._began(ip)
        await trio.sleep(self.random.choice((0.5, 3.0, 10.0, 30.0)))
        self._join()

    @staticmethod
    def _wall(far: frozenset[str], way: str) -> Callable[[str, str], bool]:
        def parted(one: str, other: str) -> bool:
            return (one in far) is not (other in far) and (way == "both" or (one in far) is (way == "out"))

        return parted

    def _join(self) -> None:
        for ip in self._far:
            self._ended(ip)
        self._far = []
        self.islands.net.partition = lambda one, other: False
        self.islands.net.changed()

    # Nodes

    def _untroubled(self) -> list[Node]:
        troubled = [trouble.node.host.ip for trouble in self._troubles]
        return [node for node in self.running() if node.host.ip not in troubled]

    def _draw(self) -> str:
        """A trouble; few of those that nothing mends, or no deposit would be left."""
        kind = self.random.choice(TROUBLES)
        return "slow" if kind == "rotten" and len(self._rotten) >= len(self.islands.nodes) // MOST_ROTTEN else kind

    def _hit_by(self, node: Node, kind: str) -> None:
        self.seen[kind] += 1
        self._troubles.append(Trouble(node, kind))
        if kind not in HARMLESS:
            self._began(node.host.ip)
        if kind == "dead":
            node.kill()
        elif kind == "rotten":
            self._rot(node)
        else:
            self._set(node.host, kind, True)

    async def _mend(self, trouble: Trouble) -> None:
        node = trouble.node
        if trouble.kind == "dead":
            await trio.testing.wait_all_tasks_blocked()
            await self.islands.restart(node)
        elif trouble.kind != "rotten":
            self._set(node.host, trouble.kind, False)
        if trouble.kind not in HARMLESS:
            self._ended(node.host.ip)

    def _set(self, host: MemoryHost, kind: str, on: bool) -> None:
        match kind:
            case "frozen":
                host.freeze(on)
            case "cut":
                host.cut(on)
            case "mute":
                host.mute(on)
            case "swallowing":
                host.is_swallowing = on
            case "damaging":
                host.damage = 0.3 if on else 0.0
            case "tearing":
                host.tearing = 0.3 if on else 0.0
            case "crawling" | "slow":
                pace = CRAWL if kind == "crawling" else SLOW
                host.bytes_per_second = host.downlink.bytes_per_second = pace if on else float("inf")
            case "late" if on:
                self.late[host.ip] = None
            case "late":
                self.late.pop(host.ip, None)
            case _:
                raise AssertionError(kind)

    def _rot(self, node: Node) -> None:
        """A byte of every chunk on its disk is changed."""
        self._rotten[node.host.ip] = None
        for chunk in sorted(node.chunks()):
            data = bytearray(node.chunk_file(chunk).read_bytes())
            data[self.random.randrange(node.chunk_bytes(chunk))] ^= 1
            node.chunk_file(chunk).write_bytes(data)

    def _began(self, ip: str) -> None:
        self._hit.setdefault(ip, []).append([trio.current_time(), float("inf")])

    def _ended(self, ip: str) -> None:
        """One of its troubles is over: which, does not matter."""
        open_spans = [span for span in self._hit[ip] if span[1] == float("inf")]
        open_spans[0][1] = trio.current_time()
