"""Frozen dataclasses <-> msgpack arrays, every field checked (docs/spec/wire.md section 1).

The only file that imports msgpack. A dataclass says the shape of each field beside it::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Have:
        segments: Annotated[tuple[bytes, ...], Seq(Raw(32), 256)]

and is encoded as a msgpack array of its fields in order. The same shapes are checked in both directions: outgoing
mistakes are ours (LocalProtocolError), incoming ones are the peer's (RemoteProtocolError).

Non-goals: maps, floats, extension types, and reading a newer version: a new field is a new message type.
"""

from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

import msgpack

from protocol.errors import LocalProtocolError, RemoteProtocolError

T = TypeVar("T")


class Shape(Protocol):
    """What one field may hold."""

    def load(self, value: object) -> Any:
        """Check a decoded msgpack value and return it as the dataclass holds it. Raises ValueError."""

    def dump(self, value: Any) -> object:
        """Check a field and return what msgpack packs. Raises ValueError."""


@dataclass(frozen=True, slots=True)
class Uint:
    """An integer, 0 <= value <= maximum."""

    maximum: int

    def load(self, value: object) -> int:
        if type(value) is not int or not 0 <= value <= self.maximum:
            raise ValueError(f"want an integer of 0 to {self.maximum}")
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
class Maybe:
    """The inner shape, or nothing."""

    inner: Shape

    def load(self, value: object) -> Any:
        return None if value is None else self.inner.load(value)

    def dump(self, value: Any) -> object:
        return None if value is None else self.inner.dump(value)


@dataclass(frozen=True, slots=True)
class Seq:
    """Up to ``maximum`` of the inner shape; a tuple in Python."""

    inner: Shape
    maximum: int

    def load(self, value: object) -> tuple[Any, ...]:
        if type(value) is not list or len(value) > self.maximum:
            raise ValueError(f"want a list of at most {self.maximum}")
        return tuple(map(self.inner.load, value))

    def dump(self, value: Any) -> object:
        if type(value) is not tuple or len(value) > self.maximum:
            raise ValueError(f"want a tuple of at most {self.maximum}")
        return [self.inner.dump(item) for item in value]


@dataclass(frozen=True, slots=True)
class Struct:
    """A dataclass of this module's kind, as a nested array."""

    cls: type

    def load(self, value: object) -> Any:
        return _load(self.cls, value)

    def dump(self, value: Any) -> object:
        if type(value) is not self.cls:
            raise ValueError(f"want a {self.cls.__name__}")
        return _dump(value)


@cache
def _shapes(cls: type) -> tuple[tuple[str, Shape], ...]:
    """The (name, shape) of each field; a field without a shape is a mistake in our own code."""
    assert is_dataclass(cls)
    hints = get_type_hints(cls, include_extras=True)
    return tuple((field.name, _shape(hints[field.name])) for field in fields(cls))


def _shape(hint: Any) -> Shape:
    annotated = hint
    while get_origin(annotated) is not None and not hasattr(annotated, "__metadata__"):
        annotated = get_args(annotated)[0]
    shape: Shape = annotated.__metadata__[0]
    return shape


def _load(cls: type[T], value: object) -> T:
    shapes = _shapes(cls)
    if type(value) is not list or len(value) != len(shapes):
        raise ValueError(f"want {len(shapes)} fields")
    loaded = []
    for (name, shape), item in zip(shapes, value, strict=True):
        try:
            loaded.append(shape.load(item))
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
    return cls(**{name: item for (name, _), item in zip(shapes, loaded, strict=True)})


def _dump(message: Any) -> list[object]:
    return [shape.dump(getattr(message, name)) for name, shape in _shapes(type(message))]


def encode(message: Any) -> bytes:
    """Encode a dataclass as a msgpack array.

    Raises:
        LocalProtocolError: A field does not have the shape it declares.
    """
    try:
        packed: bytes = msgpack.packb(_dump(message), use_bin_type=True)
    except (ValueError, TypeError) as exc:
        raise LocalProtocolError(f"cannot encode {type(message).__name__}: {exc}") from exc
    return packed


def decode(cls: type[T], data: bytes | bytearray | memoryview) -> T:
    """Decode ``data``, all of it, as ``cls``. The caller has bounded its length.

    Raises:
        RemoteProtocolError: Not msgpack, trailing bytes, nested too deeply, a missing or extra field, or a field
            out of its range.
    """
    try:
        return _load(cls, unpack(data))
    except ValueError as exc:
        raise RemoteProtocolError(f"cannot decode {cls.__name__}: {exc}") from exc


def unpack(data: bytes | bytearray | memoryview) -> object:
    """One msgpack value with no float, map or extension limits exceeded. Raises ValueError for anything else."""
    size = len(data)
    try:
        value: object = msgpack.unpackb(
            data, raw=False, use_list=True, strict_map_key=True, max_str_len=size, max_bin_len=size,
            max_array_len=size, max_map_len=0, max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError) as exc:  # msgpack's own errors are ValueErrors
        raise ValueError(f"not valid msgpack ({type(exc).__name__})") from exc
    return value
