"""One encrypted connection between two nodes, without the connection (docs/spec/wire.md sections 3 and 4).

Bytes in, events out; messages in, bytes out. The caller moves the bytes:

    channel.receive_data(data)                  what the socket gave
    channel.data_to_send()                      what the handshake has to say
    channel.next_event()                        HandshakeDone, then Header and BodyEnd in turn; None: feed me
    channel.receive_body_into(target)           between Header and BodyEnd
    channel.send(message, n), send_body(view)   the bytes to send

Goals: bulk bytes are copied as little as can be: decrypted straight into the caller's buffer, encrypted
straight into one send buffer. No more than two records and one receive are buffered. Whatever the peer sends,
only RemoteProtocolError comes out; after that the channel is of no use.

Non-goals: sockets, deadlines, retries, and whether the peer is the one that was meant: see HandshakeDone.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, Final, Self, assert_never

from protocol.codec import Raw, decode, encode
from protocol.errors import LocalProtocolError, RemoteProtocolError, WrongNetworkError
from protocol.framing import LENGTH_BYTES, MAX_RECORD_BYTES, Inbox, framed
from protocol.hashing import Bytes
from protocol.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from protocol.ids import NetworkId, PublicKey
from protocol.messages import (
    MAX_HEADER_BYTES,
    Message,
    answers,
    decode_message,
    encode_message,
    is_request,
    max_body_bytes,
)
from protocol.noise import TAG_BYTES, CipherState, Handshake

PREAMBLE_BYTES: Final = 8
MAX_HANDSHAKE_BYTES: Final = 512
MAX_RECORD_PLAINTEXT: Final = MAX_RECORD_BYTES - TAG_BYTES
SEND_RECORDS: Final = 8
MAX_SEND_BODY: Final = SEND_RECORDS * MAX_RECORD_PLAINTEXT
"""The most that one send_body() takes: 524,152 bytes, eight full records."""

_MAGIC = b"ARC"
_VERSION = b"\x01"
_BODY_LENGTH_BYTES = 4
_RECORD_OVERHEAD = LENGTH_BYTES + TAG_BYTES


@dataclass(frozen=True, slots=True)
class HandshakeDone:
    """The peer has proved that it holds this key. Send data_to_send() next, if the peer is the right one."""

    peer: PublicKey


@dataclass(frozen=True, slots=True)
class Header:
    """A message has begun. Take its body with receive_body_into(); BodyEnd follows, even if there is none."""

    message: Message
    body_bytes: int
    """How much body follows; no more than the type of the message may have."""


@dataclass(frozen=True, slots=True)
class BodyEnd:
    """All of the body has been taken."""


Event = HandshakeDone | Header | BodyEnd


class _State(Enum):
    """What the next bytes are."""

    PREAMBLE = auto()
    HANDSHAKE = auto()
    HEADER = auto()
    BODY = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Binding:
    """The payload of handshake messages 2 and 3: an identity vouches for the sender's static key."""

    key: Annotated[PublicKey, Raw(KEY_BYTES)]
    signature: Annotated[bytes, Raw(SIGNATURE_BYTES)]


class Channel:
    """One side of a connection. The initiator sends requests; the responder answers each with one reply."""

    def __init__(
        self,
        identity: Identity,
        network: NetworkId,
        static_seed: bytes,
        ephemeral_seed: bytes,
        *,
        initiator: bool,
    ) -> None:
        """As :meth:`initiator` and :meth:`responder`, which read better."""
        self._identity = identity
        self._network = network
        self._preamble = _MAGIC + _VERSION + network[:4]
        self._handshake = Handshake(
            initiator=initiator,
            prologue=self._preamble + network,
            static=static_seed,
            ephemeral=ephemeral_seed,
        )
        self._initiator = initiator
        self._inbox = Inbox()
        self._outbox = b""
        self._state = _State.PREAMBLE
        self._sender: CipherState | None = None
        self._receiver: CipherState | None = None
        self._my_turn = initiator  # whether the next header is ours to send
        self._request: Message | None = None  # the last one, asked or answered
        self._body_left = 0  # bytes of the incoming body not yet decrypted
        self._rest = memoryview(b"")  # decrypted body bytes that had no room in the caller's buffer
        self._send_left = 0  # bytes of the outgoing body not yet given to send_body()
        self._send_buffer: bytearray | None = None
        self.peer: PublicKey | None = None
        """Who the peer is, once the handshake is done."""
        if initiator:
            self._outbox = self._preamble + framed(self._handshake.write(lambda _hash: b""))

    @classmethod
    def initiator(cls, identity: Identity, network: NetworkId, static_seed: bytes, ephemeral_seed: bytes) -> Self:
        """The side that dialled.

        Args:
            identity: Who we are; for a client, made for this process alone.
            network: Id of the network both must be in.
            static_seed: 32 secret bytes, an X25519 key used for channels only; ``identity`` vouches for it.
            ephemeral_seed: 32 fresh random bytes.
        """
        return cls(identity, network, static_seed, ephemeral_seed, initiator=True)

    @classmethod
    def responder(cls, identity: Identity, network: NetworkId, static_seed: bytes, ephemeral_seed: bytes) -> Self:
        """The side that was dialled. Arguments as for :meth:`initiator`."""
        return cls(identity, network, static_seed, ephemeral_seed, initiator=False)

    # --- receiving ---

    def receive_data(self, data: Bytes) -> None:
        """Take what the socket gave, which must not change until more is needed. Then take the events and the body.

        Raises:
            RemoteProtocolError: Two records lie here unread: the peer goes on without being asked.
        """
        self._inbox.feed(data)

    @property
    def unread(self) -> int:
        """Bytes received that are not yet events or body: the beginning of a record, when more is needed."""
        return len(self._inbox)

    def data_to_send(self) -> bytes:
        """What the handshake has to say, once. Send it after WrongNetworkError too: it tells the peer."""
        data, self._outbox = self._outbox, b""
        return data

    def next_event(self) -> Event | None:
        """The next event, or None when more bytes are needed.

        Raises:
            RemoteProtocolError: The peer breaks the specification. The channel is of no use any more.
            WrongNetworkError: It speaks for another network or version.
            LocalProtocolError: There is body left to be taken.
        """
        try:
            return self._next_event()
        except RemoteProtocolError:
            self._state = _State.FAILED
            raise

    def _next_event(self) -> Event | None:
        while True:
            match self._state:
                case _State.PREAMBLE:
                    if not self._read_preamble():
                        return None
                case _State.HANDSHAKE:
                    message = self._inbox.take_framed(1, MAX_HANDSHAKE_BYTES)
                    if message is None:
                        return None
                    if self._read_handshake(bytes(message)):
                        assert self.peer is not None
                        return HandshakeDone(self.peer)
                case _State.HEADER:
                    return self._read_header()
                case _State.BODY:
                    if self._body_left or self._rest:
                        raise LocalProtocolError("the body has to be taken first")
                    self._rest = memoryview(b"")  # a slice of no bytes keeps a whole record in memory
                    self._state = _State.HEADER
                    return BodyEnd()
                case _State.FAILED:
                    raise RemoteProtocolError("the channel has failed")
                case _:
                    assert_never(self._state)

    def receive_body_into(self, target: memoryview) -> int:
        """Decrypt as much of the body as has been received into ``target``; returns how many bytes it wrote.

        Fewer than the body and the target have room for means that more bytes are needed. Give the channel a
        target that ends with the body, or many records long, and every record is decrypted in place.

        Raises:
            RemoteProtocolError: A record is damaged or does not fit the body. ``target`` then holds rubbish.
            LocalProtocolError: There is no body to take.
        """
        if self._state is not _State.BODY:
            raise LocalProtocolError("there is no body to take")
        try:
            return self._receive_body_into(target)
        except RemoteProtocolError:
            self._state = _State.FAILED
            raise

    def _receive_body_into(self, target: memoryview) -> int:
        assert self._receiver is not None
        room = len(target)
        written = min(len(self._rest), room)
        target[:written] = self._rest[:written]
        self._rest = self._rest[written:]
        while self._body_left and written < room:
            record = self._inbox.take_framed(TAG_BYTES + 1, MAX_RECORD_BYTES)
            if record is None:
                break
            size = len(record) - TAG_BYTES
            if size > self._body_left:
                raise RemoteProtocolError(f"a record of {size} bytes where {self._body_left} bytes of body are left")
            self._body_left -= size
            if size <= room - written:
                self._receiver.decrypt_into(record, target[written : written + size])
                written += size
            else:
                plaintext = self._decrypt(record)
                self._rest = plaintext[room - written :]
                target[written:] = plaintext[: room - written]
                written = room
        return written

    def _decrypt(self, record: Bytes) -> memoryview:
        assert self._receiver is not None
        plaintext = memoryview(bytearray(len(record) - TAG_BYTES))
        self._receiver.decrypt_into(record, plaintext)
        return plaintext

    # --- handshake ---

    def _read_preamble(self) -> bool:
        preamble = self._inbox.take(PREAMBLE_BYTES)
        if preamble is None:
            return False
        if bytes(preamble[: len(_MAGIC)]) != _MAGIC:
            raise RemoteProtocolError("the peer does not speak this protocol")
        if preamble != self._preamble:
            if not self._initiator:
                self._outbox = self._preamble
            raise WrongNetworkError("the peer is in another network or speaks another version")
        self._state = _State.HANDSHAKE
        return True

    def _read_handshake(self, message: bytes) -> bool:
        """Read one handshake message and write the next; returns whether the handshake is done."""
        handshake = self._handshake
        payload, before = handshake.read(message)
        if handshake.remote_static:
            self.peer = self._check_binding(payload, before)
        elif payload:
            raise RemoteProtocolError("the first handshake message has a payload")
        if handshake.my_turn:
            reply = framed(handshake.write(self._binding))
            self._outbox = reply if self._initiator else self._preamble + reply
        if handshake.done:
            self._sender, self._receiver = handshake.split()
            self._state = _State.HEADER
        return handshake.done

    def _statement(self, static_key: bytes, before: bytes) -> bytes:
        return static_key + self._network + before

    def _binding(self, before: bytes) -> bytes:
        statement = self._statement(self._handshake.static_key, before)
        return encode(_Binding(key=self._identity.key, signature=self._identity.sign("noise", statement)))

    def _check_binding(self, payload: bytes, before: bytes) -> PublicKey:
        binding = decode(_Binding, payload)
        statement = self._statement(self._handshake.remote_static, before)
        verify(binding.key, "noise", statement, binding.signature)
        return binding.key

    # --- messages ---

    def _read_header(self) -> Header | None:
        record = self._inbox.take_framed(
            TAG_BYTES + _BODY_LENGTH_BYTES + 1, TAG_BYTES + _BODY_LENGTH_BYTES + MAX_HEADER_BYTES
        )
        if record is None:
            return None
        plaintext = self._decrypt(record)
        message = decode_message(plaintext[_BODY_LENGTH_BYTES:])
        body_bytes = int.from_bytes(plaintext[:_BODY_LENGTH_BYTES], "big")
        if self._my_turn or not self._expected(message, by_initiator=not self._initiator):
            raise RemoteProtocolError(f"{type(message).__name__} out of turn")
        most = max_body_bytes(message, self._request)
        if body_bytes > most:
            raise RemoteProtocolError(f"{type(message).__name__} with a body of {body_bytes} bytes, at most {most}")
        if not self._initiator:
            self._request = message
        self._my_turn = True
        self._body_left = body_bytes
        self._state = _State.BODY
        return Header(message, body_bytes)

    def _expected(self, message: Message, *, by_initiator: bool) -> bool:
        """Whether it is a request when the initiator sends it, and else an answer to the last one."""
        if by_initiator:
            return is_request(message)
        assert self._request is not None  # turns alternate, and the initiator begins
        return answers(message, self._request)

    def send(self, message: Message, body_bytes: int = 0) -> bytes:
        """Begin a message: returns its header record. ``body_bytes`` of body must follow through send_body().

        Raises:
            LocalProtocolError: The handshake is not done, it is the peer's turn, the last body is incomplete,
                or the message is of the wrong kind or out of bounds.
        """
        if self._sender is None or not self._my_turn or self._send_left:
            raise LocalProtocolError("a message out of turn")
        if not self._expected(message, by_initiator=self._initiator):
            raise LocalProtocolError(f"{type(message).__name__} is not for this side to send now")
        if not 0 <= body_bytes <= max_body_bytes(message, self._request):
            raise LocalProtocolError(f"{type(message).__name__} with a body of {body_bytes} bytes")
        plaintext = body_bytes.to_bytes(_BODY_LENGTH_BYTES, "big") + encode_message(message)
        record = bytearray(_RECORD_OVERHEAD + len(plaintext))
        self._encrypt(self._sender, plaintext, memoryview(record))
        if self._initiator:
            self._request = message
        self._my_turn = False
        self._send_left = body_bytes
        return bytes(record)

    def send_body(self, view: memoryview) -> memoryview:
        """Encrypt the next part of the body; returns its records, valid until the next call.

        Only the last record of a part is shorter than a record may be: give MAX_SEND_BODY bytes at a time.

        Raises:
            LocalProtocolError: ``view`` is empty or longer than MAX_SEND_BODY or what is left of the body.
        """
        size = len(view)
        if self._sender is None or not 0 < size <= min(MAX_SEND_BODY, self._send_left):
            raise LocalProtocolError(f"{size} bytes of body, expected 1 to {min(MAX_SEND_BODY, self._send_left)}")
        buffer = self._send_buffer
        needed = size + _RECORD_OVERHEAD * -(-size // MAX_RECORD_PLAINTEXT)
        if buffer is None or len(buffer) < needed:
            buffer = self._send_buffer = bytearray(needed)
        out = memoryview(buffer)[:needed]
        position = 0
        for start in range(0, size, MAX_RECORD_PLAINTEXT):
            plaintext = view[start : start + MAX_RECORD_PLAINTEXT]
            end = position + len(plaintext) + _RECORD_OVERHEAD
            self._encrypt(self._sender, plaintext, out[position:end])
            position = end
        self._send_left -= size
        if not self._send_left:
            self._send_buffer = None  # an idle connection keeps no buffer
        return out

    @staticmethod
    def _encrypt(sender: CipherState, plaintext: Bytes, out: memoryview) -> None:
        out[:LENGTH_BYTES] = (len(out) - LENGTH_BYTES).to_bytes(LENGTH_BYTES, "big")
        sender.encrypt_into(plaintext, out[LENGTH_BYTES:])
