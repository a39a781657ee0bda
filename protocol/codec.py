"""Frozen dataclasses <-> msgpack arrays, every field checked (docs/spec/wire.md section 1).

The only file that imports msgpack. A dataclass says the shape of each field beside it::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Have:
        segments: Annotated[tuple[bytes, ...], Seq(Raw(32), 256)]

and is encoded as a msgpack array of its fields in order. The same shapes are checked in both directions:
outgoing mistakes are ours (LocalProtocolError), incoming ones are the peer's (RemoteProtocolError).

Arrays are read value by value, as the shapes expect them. msgpack itself makes room for an array as soon as
it has read its length, and nests 1,024 deep: five kilobytes would cost it gigabytes.

Non-goals: maps, floats, extension types, and reading a newer version: a new field is a new message type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from io import BytesIO
from typing import Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

import msgpack

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.hashing import Bytes

T = TypeVar("T")


class Shape(Protocol):
    """What one field that is no array may hold."""

    def load(self, value: object) -> Any:
        """Check a decoded msgpack value and return it as the dataclass holds it. Raises ValueError."""

    def dump(self, value: Any) -> object:
        """Check a field and return what msgpack packs. Raises ValueError."""


@dataclass(frozen=True, slots=True)
class Uint:
    """An integer, minimum <= value <= maximum."""

    maximum: int
    minimum: int = 0

    def load(self, value: object) -> int:
        if type(value) is not int or not self.minimum <= value <= self.maximum:
            raise ValueError(f"want an integer of {self.minimum} to {self.maximum}")
        return value

    dump = load


@dataclass(frozen=True, slots=True)
class Int:
    """An integer of 64 bits, signed."""

    def load(self, value: object) -> int:
        if type(value) is not int or not -(2**63) <= value < 2**63:
            raise ValueError("want an integer of 64 bits")
        return value

    dump = load


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def load(self, value: object) -> bool:
        if type(value) is not bool:
            raise ValueError("want true or false")
        return value

    dump = load


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes: exactly ``minimum`` of them, or between ``minimum`` and ``maximum``."""

    minimum: int
    maximum: int | None = None

    def load(self, value: object) -> bytes:
        most = self.minimum if self.maximum is None else self.maximum
        if type(value) is not bytes or not self.minimum <= len(value) <= most:
            raise ValueError(f"want {self.minimum} to {most} bytes")
        return value

    dump = load


@dataclass(frozen=True, slots=True)
class Text:
    """Text of at most ``maximum`` UTF-8 bytes."""

    maximum: int

    def load(self, value: object) -> str:
        if type(value) is not str or len(value.encode("utf-8", "surrogatepass")) > self.maximum:
            raise ValueError(f"want text of at most {self.maximum} bytes")
        return value

    def dump(self, value: object) -> str:
        text = self.load(value)
        text.encode("utf-8")  # a lone surrogate cannot be sent: UnicodeEncodeError is a ValueError
        return text


@dataclass(frozen=True, slots=True)
class Seq:
    """Up to ``maximum`` of the inner shape; a tuple in Python."""

    inner: "Shape | Seq | Struct"
    maximum: int


@dataclass(frozen=True, slots=True)
class Struct:
    """A dataclass of this module's kind, as a nested array."""

    cls: type


_NESTED = (Seq, Struct)
AnyShape = Shape | Seq | Struct


def encode(message: Any) -> bytes:
    """Encode a dataclass as a msgpack array.

    Raises:
        LocalProtocolError: A field does not have the shape it declares.
    """
    return _encode(message, ())


def encode_tagged(tag: int, message: Any) -> bytes:
    """As :func:`encode`, with the number ``tag`` before the fields. Raises LocalProtocolError as it does."""
    return _encode(message, (tag,))


def decode(cls: type[T], data: Bytes) -> T:
    """Decode ``data``, all of it, as ``cls``. The caller has bounded its length.

    Raises:
        RemoteProtocolError: Not msgpack, trailing bytes, a missing or extra field, or one out of its range.
    """
    try:
        unpacker = _unpacker(data)
        message = _read_struct(unpacker, cls, _read_count(unpacker))
        _check_end(unpacker, data)
    except (ValueError, msgpack.UnpackException) as exc:
        raise RemoteProtocolError(f"cannot decode {cls.__name__}: {exc}") from exc
    return message


def decode_tagged(classes: Mapping[int, type[T]], data: Bytes) -> T:
    """Decode ``data``, all of it, as the class that its first value, a number, stands for.

    Raises:
        RemoteProtocolError: The number is not in ``classes``, or as :func:`decode` says.
    """
    try:
        unpacker = _unpacker(data)
        count = _read_count(unpacker)
        tag = _TAG.load(unpacker.unpack())
        if tag not in classes:
            raise ValueError(f"unknown type {tag}")
        message = _read_struct(unpacker, classes[tag], count - 1)
        _check_end(unpacker, data)
    except (ValueError, msgpack.UnpackException) as exc:
        raise RemoteProtocolError(f"cannot decode a message: {exc}") from exc
    return message


_TAG = Uint(255)

_known: dict[type, tuple[tuple[str, AnyShape], ...]] = {}


def _shapes(cls: type) -> tuple[tuple[str, AnyShape], ...]:
    """The (name, shape) of each field; a field without a shape is a mistake in our own code."""
    if cls not in _known:
        assert is_dataclass(cls)
        hints = get_type_hints(cls, include_extras=True)
        _known[cls] = tuple((field.name, _shape(hints[field.name])) for field in fields(cls))
    return _known[cls]


def _shape(hint: Any) -> AnyShape:
    annotated = hint
    while get_origin(annotated) is not None and not hasattr(annotated, "__metadata__"):
        annotated = get_args(annotated)[0]
    shape: AnyShape = annotated.__metadata__[0]
    return shape


def _encode(message: Any, first: tuple[int, ...]) -> bytes:
    packer = msgpack.Packer(use_bin_type=True, autoreset=False)
    try:
        _write_struct(packer, message, first)
    except (ValueError, TypeError) as exc:
        raise LocalProtocolError(f"cannot encode {type(message).__name__}: {exc}") from exc
    packed: bytes = packer.bytes()
    return packed


def _write_struct(packer: msgpack.Packer, message: Any, first: tuple[int, ...] = ()) -> None:
    shapes = _shapes(type(message))
    packer.pack_array_header(len(first) + len(shapes))
    for value in first:
        packer.pack(value)
    for name, shape in shapes:
        value = getattr(message, name)
        try:
            if isinstance(shape, _NESTED):
                _write(packer, shape, value)
            else:
                packer.pack(shape.dump(value))
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None


def _write(packer: msgpack.Packer, shape: AnyShape, value: Any) -> None:
    """Value by value, as they are read: a million entries as lists would take more than the entries."""
    if isinstance(shape, Struct):
        if type(value) is not shape.cls:
            raise ValueError(f"want a {shape.cls.__name__}")
        _write_struct(packer, value)
    elif isinstance(shape, Seq):
        if type(value) is not tuple or len(value) > shape.maximum:
            raise ValueError(f"want a tuple of at most {shape.maximum}")
        packer.pack_array_header(len(value))
        for item in value:
            _write(packer, shape.inner, item)
    else:
        packer.pack(shape.dump(value))


def _unpacker(data: Bytes) -> msgpack.Unpacker:
    """Reads single values and the lengths of arrays; no array, map or extension as a whole."""
    size = len(data)
    return msgpack.Unpacker(
        BytesIO(data),  # shares what is of type bytes, whereas feed() copies all of it at once
        raw=False,
        strict_map_key=True,
        max_buffer_size=size,
        max_str_len=size,
        max_bin_len=size,
        max_array_len=0,
        max_map_len=0,
        max_ext_len=0,
    )


def _read_count(unpacker: msgpack.Unpacker) -> int:
    count: int = unpacker.read_array_header()
    return count


def _check_end(unpacker: msgpack.Unpacker, data: Bytes) -> None:
    if unpacker.tell() != len(data):
        raise ValueError("trailing bytes")


def _read(unpacker: msgpack.Unpacker, shape: AnyShape) -> Any:
    if isinstance(shape, Struct):
        return _read_struct(unpacker, shape.cls, _read_count(unpacker))
    if isinstance(shape, Seq):
        count = _read_count(unpacker)
        if count > shape.maximum:
            raise ValueError(f"want a list of at most {shape.maximum}")
        return tuple([_read(unpacker, shape.inner) for _ in range(count)])
    return shape.load(unpacker.unpack())


def _read_struct(unpacker: msgpack.Unpacker, cls: type[T], count: int) -> T:
    shapes, unpack = _shapes(cls), unpacker.unpack
    if count != len(shapes):
        raise ValueError(f"want {len(shapes)} fields, got {count}")
    values = {}
    for name, shape in shapes:
        try:
            values[name] = _read(unpacker, shape) if isinstance(shape, _NESTED) else shape.load(unpack())
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
    return cls(**values)
