"""Requests we sent and what becomes of them: open transactions and their deadlines (docs/spec/dht.md section 5).

A call goes through these moments: *slow* (its lookup asks somebody else as well), *repeated* (the same
datagram once more, the first may be lost), *given up* (its lookup goes on without it), *closed* (an answer
comes too late). An answer ends it at any moment before that. One task keeps all deadlines; a lookup costs no
task and no nursery.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count

import trio

from dht.contact import Contact
from dht.counters import Counters
from dht.routing import MAX_STRIKES
from dht.socket import DatagramSocket
from protocol.datagrams import KINDS, TRANSACTION_BYTES, Datagram, Kind, Message, Request, seal
from protocol.identity import Identity, Network
from protocol.ids import Address, NodeId, PublicKey

MAX_IN_FLIGHT = 128
"""Calls neither answered nor slow. Their answers fit a socket buffer of the usual 208 KiB."""
MAX_OPEN = 1024
"""Open transactions in all, slow ones included; the oldest gives way."""
MAX_SUSPECTS = 1024

FIRST_SECONDS = 0.5
"""Patience with a peer nothing was measured of: BEP 5 names no figure, libtorrent waits 1 s at first."""
SLOW_SECONDS = 0.05
"""The least time before a call counts as slow, however quick the peer was before: hosts are busy at times."""
GIVE_UP_SECONDS = (0.5, 2.0)
"""Least and most time before a call is given up, between which three measured round trips decide."""
CLOSE_SECONDS = 3.0
"""When a transaction is closed. Answers between giving up and closing still clear a peer's name."""

STRUCK_OUT_SECONDS = 120.0
"""How long a peer that struck out is not asked again because others still name it."""
_STALL_SECONDS = 0.02
_MAX_STALL_SECONDS = 0.25


class Outcome(Enum):
    """What a call reports when it is not answered."""

    SLOW = auto()
    GIVEN_UP = auto()


class Step(Enum):
    """The moments of a call."""

    SLOW = auto()
    REPEAT = auto()
    GIVE_UP = auto()
    CLOSE = auto()


@dataclass(slots=True)
class Suspect:
    """A peer that has not answered lately."""

    strikes: int
    """Unanswered requests in a row; past the first, only those made while others did answer."""
    time: float
    """Of the last of them, monotonic seconds."""


@dataclass(slots=True, eq=False)
class Call:
    """A request of ours."""

    key: PublicKey | None
    """Whose answer counts; None: whoever is at the address."""
    address: Address
    kind: Kind
    """What an answer must be."""
    transaction: bytes
    data: bytes
    mailbox: "Mailbox | None"
    tag: object
    """For the caller: told back with the outcome."""
    sent: float = 0.0
    suspected: bool = False
    """It had left a request unanswered before: it gets one short chance."""
    repeated: bool = False
    in_flight: bool = True
    steps: list[tuple[float, Step]] = field(default_factory=list)
    """What is still to happen, last first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A verified answer to a call."""

    contact: Contact
    read_only: bool
    message: Message
    rtt: float
    time: float


Event = tuple[Call, Answer | Outcome]


class Mailbox:
    """What became of one caller's calls, in order: at most three events for each."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._lot = trio.lowlevel.ParkingLot()
        self.closed = False

    def put(self, event: Event) -> None:
        if not self.closed:
            self._events.append(event)
            self._lot.unpark()

    async def get(self) -> Event:
        """The next event. Every call has one within GIVE_UP_SECONDS."""
        if self._events:
            await trio.lowlevel.checkpoint()
        while not self._events:
            await self._lot.park()
        return self._events.popleft()

    def close(self) -> None:
        """Nobody listens any more; calls go on without it."""
        self.closed = True
        self._events.clear()


class Patience:
    """How long answers take here, over all peers (RFC 6298)."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._deviation = 0.0

    def learn(self, rtt: float) -> None:
        if self._mean is None:
            self._mean, self._deviation = rtt, rtt / 2
            return
        self._deviation += (abs(rtt - self._mean) - self._deviation) / 4
        self._mean += (rtt - self._mean) / 8

    @property
    def seconds(self) -> float:
        """When an answer is late: mean and four deviations."""
        if self._mean is None:
            return FIRST_SECONDS
        return max(SLOW_SECONDS, self._mean + 4 * self._deviation)


class Calls:
    """The open transactions of one node."""

    def __init__(
        self,
        identity: Identity,
        network: Network,
        socket: DatagramSocket,
        random_bytes: Callable[[int], bytes],
        *,
        counters: Counters,
        gave_up: Callable[[Call], None],
    ) -> None:
        """``gave_up`` is called once for each call that is given up."""
        self._identity = identity
        self._network = network
        self._socket = socket
        self._random_bytes = random_bytes
        self._counters = counters
        self._gave_up = gave_up
        self._open: OrderedDict[bytes, Call] = OrderedDict()
        self._slots = trio.Semaphore(MAX_IN_FLIGHT)
        self._timers: list[tuple[float, int, Call]] = []
        self._serial = count()
        self._wake = trio.lowlevel.ParkingLot()
        self._next = float("inf")
        self.patience = Patience()
        self._suspects: OrderedDict[tuple[Address, PublicKey | None], Suspect] = OrderedDict()
        self._heard = float("-inf")
        """When any peer last answered."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether begin() would wait."""
        return self._slots.value == 0

    async def begin(
        self,
        to: Address,
        key: PublicKey | None,
        recipient: NodeId | None,
        message: Request,
        mailbox: Mailbox | None = None,
        *,
        rtt: float | None = None,
        read_only: bool,
        tag: object = None,
    ) -> Call:
        """Send a request; what becomes of it goes to ``mailbox``. Waits while too many are in flight.

        Args:
            to: Where to.
            key: Whose answer counts; None only in a ping to a bare address.
            recipient: The node id of ``key``.
            message: What to ask.
            mailbox: Who wants to know, if anybody.
            rtt: The peer's usual round trip, if known.
            read_only: Our own flag.
            tag: Told back with the outcome.
        """
        transaction = self._random_bytes(TRANSACTION_BYTES)
        data = seal(self._identity, self._network.id, recipient, transaction, message, read_only=read_only)
        kind = Kind(KINDS[type(message)] + 64)
        call = Call(key, to, kind, transaction, data, mailbox, tag)
        await self._slots.acquire()
        call.sent = trio.current_time()
        call.suspected = (to, key) in self._suspects
        self._open[transaction] = call
        if len(self._open) > MAX_OPEN:
            self._evict(next(iter(self._open.values())))
        self._plan(call, rtt)
        self._counters.calls_total += 1
        await self._send(call)
        return call

    def _plan(self, call: Call, rtt: float | None) -> None:
        usual = self.patience.seconds
        slow = min(FIRST_SECONDS, usual if rtt is None else max(SLOW_SECONDS, 3 * rtt))
        least, most = GIVE_UP_SECONDS
        up = slow if call.suspected else max(min(most, 3 * usual), least, slow)
        steps = [(CLOSE_SECONDS, Step.CLOSE), (up, Step.GIVE_UP), (slow, Step.SLOW)]
        if not call.suspected:
            steps.insert(2, (max(slow, up / 2), Step.REPEAT))
        call.steps = [(call.sent + after, step) for after, step in steps]
        self._arm(call)

    def _arm(self, call: Call) -> None:
        when = call.steps[-1][0]
        heapq.heappush(self._timers, (when, next(self._serial), call))
        if when < self._next:
            self._wake.unpark()

    async def _send(self, call: Call) -> None:
        self._counters.sent_total += 1
        self._counters.sent_bytes += len(call.data)
        await self._socket.send(call.data, call.address)

    def match(self, datagram: Datagram, source: Address) -> Call | None:
        """The call a reply may answer, going by everything but its signature."""
        call = self._open.get(datagram.transaction)
        if call is None or call.address != source or call.kind is not datagram.kind:
            return None
        return call if call.key is None or call.key == datagram.sender else None

    def answered(self, call: Call, datagram: Datagram, message: Message) -> Answer:
        """Take a verified reply: close the call and tell whoever asked."""
        now = trio.current_time()
        rtt = now - call.sent
        if not call.repeated:  # else nobody knows which one was answered (Karn's rule)
            self.patience.learn(rtt)
        self._heard = now
        for key in (call.key, datagram.sender):
            self._suspects.pop((call.address, key), None)
        self._close(call)
        answer = Answer(Contact(datagram.sender, call.address), datagram.read_only, message, rtt, now)
        if call.mailbox is not None:
            call.mailbox.put((call, answer))
        return answer

    def _evict(self, call: Call) -> None:
        for _, step in reversed(call.steps):
            if step is Step.SLOW or step is Step.GIVE_UP:
                self._tell(call, Outcome.SLOW if step is Step.SLOW else Outcome.GIVEN_UP)
        self._close(call)

    def _close(self, call: Call) -> None:
        self._open.pop(call.transaction, None)
        call.steps.clear()
        self._land(call)

    def _land(self, call: Call) -> None:
        if call.in_flight:
            call.in_flight = False
            self._slots.release()

    async def run(self) -> None:
        """Keep the deadlines until cancelled. Then nobody waits for an answer any more."""
        try:
            while True:
                await self._due()
        finally:
            for call in list(self._open.values()):
                self._evict(call)

    async def _due(self) -> None:
        """Take the steps that are due, then wait for the next."""
        now = trio.current_time()
        if now - self._next > _STALL_SECONDS:
            # It was us who did not listen: let the answers that wait in the socket be read first.
            await trio.sleep(min(now - self._next, _MAX_STALL_SECONDS))
            now = trio.current_time()
        while self._timers and self._timers[0][0] <= now:
            call = heapq.heappop(self._timers)[2]
            if call.steps:
                await self._step(call)
        self._next = self._timers[0][0] if self._timers else float("inf")
        with trio.move_on_at(self._next):
            await self._wake.park()

    async def _step(self, call: Call) -> None:
        step = call.steps.pop()[1]
        if call.steps:
            self._arm(call)
        match step:
            case Step.SLOW:
                self._land(call)
                self._tell(call, Outcome.SLOW)
            case Step.REPEAT:
                call.repeated = True
                await self._send(call)
            case Step.GIVE_UP:
                self._suspect(call)
                self._tell(call, Outcome.GIVEN_UP)
            case Step.CLOSE:
                self._close(call)

    def _tell(self, call: Call, outcome: Outcome) -> None:
        if call.mailbox is not None:
            call.mailbox.put((call, outcome))

    def _suspect(self, call: Call) -> None:
        self._counters.unanswered_total += 1
        peer = (call.address, call.key)
        before = self._suspects.pop(peer, None)
        if before is None:
            before = Suspect(strikes=0, time=call.sent)
            counts = True
        else:
            counts = self.online_since(call.sent)
        self._suspects[peer] = Suspect(before.strikes + counts, trio.current_time())
        if len(self._suspects) > MAX_SUSPECTS:
            self._suspects.popitem(last=False)
        self._gave_up(call)

    def online_since(self, time: float) -> bool:
        """Whether anybody has answered since ``time``. If not, silence may be our own line's fault."""
        return self._heard >= time

    def struck_out(self, address: Address, key: PublicKey) -> bool:
        """Whether a peer left so many requests unanswered that it is not worth another for some minutes."""
        suspect = self._suspects.get((address, key))
        if suspect is None or suspect.strikes < MAX_STRIKES:
            return False
        return trio.current_time() < suspect.time + STRUCK_OUT_SECONDS
