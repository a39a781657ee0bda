"""Target: the channel, as either side, against a peer that knows the protocol and keeps to it as long as it likes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from protocol import channel as channel_module
from protocol import codec
from protocol.channel import BodyEnd, Channel, Header
from protocol.errors import RemoteProtocolError
from protocol.framing import LENGTH_BYTES, MAX_RECORD_BYTES, framed
from protocol.identity import Identity
from protocol.ids import Address
from protocol.messages import (
    Audit,
    DialBack,
    ErrorCode,
    ErrorReply,
    Get,
    GetReply,
    Have,
    HaveReply,
    Held,
    Hello,
    Leases,
    Message,
    Put,
    PutLease,
    Survey,
    answers,
    encode_message,
)
from protocol.noise import TAG_BYTES, Handshake
from tests.fuzz.corpus import hex_values, vectors
from tests.fuzz.target import Target
from tests.vectors.make_wire import CLIENT, NETWORK, NODE, SEEDS, SEGMENT, SURVEYED, _samples

_PREAMBLE = channel_module._MAGIC + channel_module._VERSION + NETWORK.id[:4]
_MAX_STEPS = 24
_ERROR = ErrorReply(code=ErrorCode.BUSY)
_REQUESTS: tuple[tuple[Message, int], ...] = (
    (Get(segment=SEGMENT, index=0, count=128, proof=True), 0),
    (Have(depositor=CLIENT.key, deposit=bytes(16), segments=(SEGMENT, SEGMENT)), 0),
    (Put(descriptor=b"d", index=0, hashes=bytes(32), lease=b"l", permit=bytes(64)), 100),
    (Audit(segment=SEGMENT, index=0, block=0, nonce=bytes(16)), 0),
    (PutLease(lease=b"l"), 0),
    (DialBack(address=Address("192.0.2.1", 4110)), 0),
    (Survey(nonce=bytes(16), segments=SURVEYED), 0),
    (Leases(segment=SEGMENT), 0),
    (Hello(), 0),
)
"""What a victim that has dialled asks, one after another, with as much body."""

_RAW, _HEADER, _BODY, _AGAIN = range(4)


@dataclass(frozen=True, slots=True)
class _Script:
    """What the peer does."""

    victim_dialled: bool
    first: int
    """With which of the requests such a victim begins."""
    binding: bytes | None
    """Its payload in the handshake; None: the right one."""
    steps: Sequence[tuple[int, int, bytes]]
    """After the handshake: what kind of thing it sends, a number for it, and bytes."""
    raw: bytes | None = None
    """All it sends, in place of a handshake."""


def _run_channel(data: bytes) -> None:
    """``data`` as a script, or sent as it is to either side."""
    script = _script(data)
    scripts = [script] if script else [_Script(dialled, 0, None, (), data) for dialled in (False, True)]
    for one in scripts:
        victim = _Victim(one, room=1 << 17)
        stream = _play(one, victim)
        cut = sum(data[:8]) % 97 + 1
        again = _Victim(one, room=cut * 400)
        for piece in _pieces(stream, cut):
            again.feed(piece)
        assert again.events == victim.events  # however the bytes are cut and taken


def _script(data: bytes) -> _Script | None:
    try:
        unpacked = msgpack.unpackb(data, max_map_len=0)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        return None
    match unpacked:
        case [bool() as dialled, int() as first, bytes() | None as binding, list() as listed]:
            return _Script(dialled, first, binding and binding[:400], tuple(_steps(listed)))
    return None


def _steps(listed: list[Any]) -> Iterator[tuple[int, int, bytes]]:
    for one in listed[:_MAX_STEPS]:
        match one:
            case [int() as kind, int() as number, bytes() as data]:
                yield kind % 4, number % 2**32, data


def _pieces(stream: bytes, cut: int) -> Iterator[bytes]:
    """First a few single bytes, then ever longer pieces, a receive of a socket at most."""
    at, size = 0, 1
    while at < len(stream):
        yield stream[at : at + size]
        at += size
        size = min(65_536, size + cut if at > cut else 1)


class _Victim:
    """A channel, and a caller that takes whatever comes, asks and answers."""

    def __init__(self, script: _Script, room: int) -> None:
        self._dialled = dialled = script.victim_dialled
        seeds = SEEDS["initiator" if dialled else "responder"]
        self.channel = Channel(
            Identity(seeds["identity"]), NETWORK.id, seeds["static"], seeds["ephemeral"], initiator=dialled
        )
        self.events: list[object] = []
        self.failed = False
        self._asked = script.first
        self._target = memoryview(bytearray(room))
        self._left = 0
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        if self.failed:
            return
        received = bytearray(data)
        try:
            self.channel.receive_data(memoryview(received))
            self._drain()
        except RemoteProtocolError as exc:
            self.failed = True
            self.events.append(type(exc))
            self.channel.data_to_send()
            _still_fails(self.channel)
        assert self.failed or self.channel.unread < LENGTH_BYTES + MAX_RECORD_BYTES
        received[:] = b"\xaa" * len(received)  # more is needed now, and the next receive goes into the same buffer

    def _drain(self) -> None:
        while True:
            if self._left:
                room = self._target[: self._left]
                written = self.channel.receive_body_into(room)
                assert 0 <= written <= len(room)
                self._body += room[:written]
                self._left -= written
                if not written:
                    return
            elif (event := self.channel.next_event()) is None:
                return
            else:
                self._take(event)

    def _take(self, event: object) -> None:
        self.events.append(event)
        if isinstance(event, Header):
            self._left = event.body_bytes
        elif self._dialled:  # the handshake or a reply is over
            self._ask()
        elif isinstance(event, BodyEnd):
            self.channel.send(_ERROR)
        if isinstance(event, BodyEnd):
            self.events.append(bytes(self._body))
            self._body.clear()

    def _ask(self) -> None:
        message, body_bytes = _REQUESTS[self._asked % len(_REQUESTS)]
        self._asked += 1
        self.channel.send(message, body_bytes)
        if body_bytes:
            self.channel.send_body(memoryview(bytes(body_bytes)))


def _still_fails(channel: Channel) -> None:
    try:
        channel.next_event()
    except RemoteProtocolError:
        return
    raise AssertionError("a failed channel goes on")


def _play(script: _Script, victim: _Victim) -> bytes:
    """Play the peer against the victim; returns all that was sent."""
    if script.raw is not None:
        victim.feed(script.raw)
        return script.raw
    peer = _Peer(script, victim)
    for step in script.steps:
        if victim.failed:
            break
        peer.send(peer.made(*step))
    return bytes(peer.sent)


class _Peer:
    """The other side, whose handshake is right but for its binding."""

    def __init__(self, script: _Script, victim: _Victim) -> None:
        dials = not script.victim_dialled
        seeds = SEEDS["initiator" if dials else "responder"]
        self._identity = CLIENT if dials else NODE
        self._victim = victim
        self._last = b""
        self.sent = bytearray()
        self._handshake = Handshake(
            initiator=dials, prologue=_PREAMBLE + NETWORK.id, static=seeds["static"], ephemeral=seeds["ephemeral"]
        )
        before = _PREAMBLE
        if dials:
            self.send(_PREAMBLE + framed(self._handshake.write(lambda _hash: b"")))
            before = b""
        self._handshake.read(victim.channel.data_to_send()[len(_PREAMBLE) + LENGTH_BYTES :])
        self.send(before + framed(self._handshake.write(lambda so_far: self._binding(script, so_far))))
        if not victim.failed:
            if not dials:
                self._handshake.read(victim.channel.data_to_send()[LENGTH_BYTES:])
            self._cipher = self._handshake.split()[0]

    def _binding(self, script: _Script, so_far: bytes) -> bytes:
        statement = self._handshake.static_key + NETWORK.id + so_far
        right = channel_module._Binding(key=self._identity.key, signature=self._identity.sign("noise", statement))
        return codec.encode(right) if script.binding is None else script.binding

    def send(self, data: bytes) -> None:
        self._last = data
        self.sent += data
        self._victim.feed(data)

    def made(self, kind: int, number: int, data: bytes) -> bytes:
        """The bytes of one step."""
        if kind == _RAW:
            return data
        if kind == _HEADER:
            return self._record(number.to_bytes(4, "big") + data)
        if kind == _BODY:
            size = number % (MAX_RECORD_BYTES - TAG_BYTES + 1)
            return self._record((data * (size // max(1, len(data)) + 1))[:size].ljust(size, b"\0"))
        return self._last

    def _record(self, plaintext: bytes) -> bytes:
        plaintext = plaintext[: MAX_RECORD_BYTES - TAG_BYTES]
        sealed = bytearray(len(plaintext) + TAG_BYTES)
        self._cipher.encrypt_into(plaintext, memoryview(sealed))
        return framed(bytes(sealed))


def _seeds() -> Iterator[bytes]:
    """Conversations that are right, with every message; and the transcript of the vectors."""

    def header(message: Message, body_bytes: int = 0) -> list[object]:
        return [_HEADER, body_bytes, encode_message(message)]

    def body(size: int) -> list[object]:
        return [_BODY, size, b"body"]

    for sample in _samples():
        yield msgpack.packb([False, 0, None, [header(sample)] * 2])
        asked = [number for number, (request, _) in enumerate(_REQUESTS) if answers(sample, request)]
        yield msgpack.packb([True, asked[0] if asked else 0, None, [header(sample)]])
    put = [header(_REQUESTS[2][0], 131_088), body(65_519), body(65_519), body(50)]
    yield msgpack.packb([False, 0, None, [*put, header(Hello()), *put]])
    got = [header(GetReply(descriptor=b"d", hashes=bytes(32)), 70_000), body(65_519), body(70_000 - 65_519)]
    yield msgpack.packb(
        [True, 0, None, [*got, header(HaveReply(held=(Held(), Held()))), header(_ERROR), [_AGAIN, 0, b""]]]
    )
    yield msgpack.packb([True, 0, None, [header(GetReply(), 100), body(101)]])
    yield msgpack.packb([True, 0, b"\x92\xc4\x20" + NODE.key + b"\xc4\x40" + bytes(64), []])
    yield msgpack.packb([False, 0, None, [[_RAW, 0, b"\x80\x00"]]])
    yield from hex_values("wire_channel_*")
    for vector in vectors("wire_channel"):
        for side in ("initiator", "responder"):
            yield b"".join(bytes.fromhex(one["data"]) for one in vector["output"]["sent"] if one["by"] == side)


TARGETS = (Target("channel", _run_channel, lambda: list(_seeds()), 20_000),)
