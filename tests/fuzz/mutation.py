"""Mutation that knows msgpack: values are changed and encoded again, so that what is inside is reached.

Flipped bits mostly break an encoding at its first length. Here an integer becomes another integer, a list loses an
item, and bytes that hold msgpack themselves (a root's index, a manifest in a root) are changed likewise.
"""

import random
from typing import Any

import msgpack

_OFFSETS = (0, 1, 2, 64)
"""Where an encoding may begin: at once, behind the few bytes of a target's own, behind a signature."""

_POWERS = (1, 2, 16, 32, 128, 256, 2**16, 2**17, 2**24, 2**31, 2**32, 2**63)
_INTEGERS = (*(power + more for power in _POWERS for more in (-1, 0, 1)), 2**64 - 1, -1, -(2**63))
_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    1.5,
    b"",
    "",
    b"..",
    b"a/b",
    b"/",
    b"\0",
    "\u0130",
    [],
    {},
    {1: 2},
    [[]],
    [[[]]],
)
_COMPONENTS = (b"..", b".", b"", b"a", b"\0", b"x" * 256)
"""What a path may be given between two slashes."""
ANNOUNCEMENTS = (b"\xdd\x00\xff\xff\xff", b"\xdf\x00\xff\xff\xff", b"\xc6\x00\xff\xff\xff", b"\xdb\x00\xff\xff\xff")
"""A list, a map, bytes and a text of 16 million, of which nothing follows."""
_MAX_DEPTH = 30


def mutate(data: bytes, rng: random.Random, max_bytes: int) -> bytes:
    """Change a value or a few in the msgpack that ``data`` holds; without any, change bytes."""
    for offset in _OFFSETS:
        unpacked = _unpack(data[offset:])
        if unpacked is not None:
            value, size = unpacked
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                value = _change(value, rng, 0)
            packed = _pack(value)
            if rng.random() < 0.05:
                at = rng.randrange(1, len(packed) + 1)
                packed = packed[:at] + rng.choice(ANNOUNCEMENTS) + packed[at + rng.choice((0, 1, 2)) :]
            changed = data[:offset] + packed + data[offset + size :]
            if len(changed) <= max_bytes:
                return changed
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = _change_bytes(data, rng)
    return data[:max_bytes]


def _unpack(data: bytes) -> tuple[Any, int] | None:
    """The array that ``data`` begins with, and its size."""
    if not data or not (data[0] & 0xF0 == 0x90 or data[0] in (0xDC, 0xDD)):
        return None
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_array_len=len(data), max_map_len=len(data))
    unpacker.feed(data)
    try:
        return unpacker.unpack(), unpacker.tell()
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):  # TypeError: a list as a map's key
        return None


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True, unicode_errors="surrogatepass")
    return packed


def _change(value: Any, rng: random.Random, depth: int) -> Any:
    if rng.random() < 0.03:
        return rng.choice(_VALUES)
    if isinstance(value, list) and depth < _MAX_DEPTH:
        return _change_list(value, rng, depth)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return _change_integer(value, rng)
    if isinstance(value, bytes):
        inner = _unpack(value)
        if inner is not None and inner[1] == len(value) and rng.random() < 0.8:
            return _pack(_change(inner[0], rng, depth + 1))
        return _change_bytes(value, rng)
    if isinstance(value, str):
        return _change_bytes(value.encode("utf-8", "surrogatepass"), rng).decode("utf-8", "replace")
    return rng.choice(_VALUES)


def _change_integer(value: int, rng: random.Random) -> int:
    changed = rng.choice((value + 1, value - 1, value * 2, value // 2, rng.choice(_INTEGERS), rng.getrandbits(16)))
    return changed if -(2**63) <= changed < 2**64 else 0


def _change_list(values: list[Any], rng: random.Random, depth: int) -> list[Any]:
    changed = list(values)
    kind = rng.random()
    if not changed or kind < 0.05:
        changed.insert(rng.randint(0, len(changed)), rng.choice(_VALUES))
    elif kind < 0.75:
        at = rng.randrange(len(changed))
        changed[at] = _change(changed[at], rng, depth + 1)
    elif kind < 0.82:
        del changed[rng.randrange(len(changed))]
    elif kind < 0.92:
        at = rng.randrange(len(changed))
        changed[at:at] = [changed[at]] * rng.choice((1, 1, 2, 40))
    else:
        one, other = rng.randrange(len(changed)), rng.randrange(len(changed))
        changed[one], changed[other] = changed[other], changed[one]
    return changed


def _change_bytes(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return rng.randbytes(rng.choice((1, 2, 8, 32)))
    if b"/" in data and rng.random() < 0.5:
        components = data.split(b"/")
        components[rng.randrange(len(components))] = rng.choice(_COMPONENTS)
        return b"/".join(components)
    at = rng.randrange(len(data))
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + bytes([rng.choice((0, 1, 0x2E, 0x2F, 0x7F, 0x80, 0xFF))]) + data[at + 1 :]
    if kind == 2:
        return data[:at]
    if kind == 3:
        return data[:at] + data[at + rng.randint(1, 40) :]
    if kind == 4:
        return data[:at] + data[at : at + rng.randint(1, 40)] * 2 + data[at:]
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 32))) + data[at:]
