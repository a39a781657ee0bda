"""The page's msgpack: what it writes can be read; its reader is bounded by what shapes say, whatever bytes announce."""

from typing import Any

import pytest
from playwright.sync_api import Page

from protocol.manifest import Entry, Kind
from tests.vectors import make_storage

SHAPES = {
    "flags": "core.struct({ all: core.list(2, core.flag) })",
    "number": "core.struct({ one: core.uint(300, 1) })",
    "bytes": "core.struct({ one: core.bin(1, 3) })",
    "text": "core.struct({ one: core.text(2) })",
    "many": "core.struct({ all: core.list(1048576, core.struct({ one: core.uint(9) })) })",
    "signed": "core.struct({ one: core.int64 })",
}

READ = """([shape, data]) => {
  const shapes = { %s };
  try {
    const { one, all } = core.decode(shapes[shape], core.unhex(data));
    return core.hex(core.encode(shapes[shape], { one, all }));
  } catch (error) {
    return error.name;
  }
}""".replace("%s", ", ".join(f"{name}: {shape}" for name, shape in SHAPES.items()))


def test_lists_of_every_length_come_back(page: Page) -> None:
    """Whatever falls on the place at which the writer takes more memory."""
    lost = page.evaluate(
        """() => {
          const shape = core.struct({ all: core.list(4000, core.uint(300)) });
          const lost = [];
          for (let length = 0; length < 2200; length += 1) {
            const all = Array.from({ length }, (_, at) => (7 * at + length) % 300);
            const read = core.decode(shape, core.encode(shape, { all })).all;
            if (read.length !== length || read.some((one, at) => one !== all[at])) lost.push(length);
          }
          return lost;
        }"""
    )
    assert lost == []


def test_files_that_all_lie_in_all_segments_are_refused(page: Page) -> None:
    size = sum(ref.length for ref in make_storage.REFS)
    files = [Entry(path=name, kind=Kind.FILE, size=size) for name in (b"a", b"b", b"c")]

    def told(count: int) -> Any:
        manifest = make_storage._encode(tuple(files[:count]), segments=make_storage.REFS, inline=b"")
        script = "(data) => { try { core.decodeManifest(core.unhex(data)); } catch (error) { return error.name; } }"
        return page.evaluate(script, manifest.hex())

    assert (told(2), told(3)) == (None, "Malformed")


@pytest.mark.parametrize(
    ("shape", "data", "read"),
    [
        ("flags", "9192c2c3", "9192c2c3"),
        ("flags", "91dc0002c2c3", "9192c2c3"),
        ("flags", "9193c2c3c2", "Malformed"),
        ("flags", "91ddffffffff", "Malformed"),
        ("flags", "9191c0", "Malformed"),
        ("flags", "919101", "Malformed"),
        ("flags", "90", "Malformed"),
        ("flags", "9290c2", "Malformed"),
        ("flags", "", "Malformed"),
        ("flags", "8190c2", "Malformed"),
        ("number", "9101", "9101"),
        ("number", "91cf000000000000012c", "91cd012c"),
        ("number", "91d3000000000000012c", "91cd012c"),
        ("number", "91cd012d", "Malformed"),
        ("number", "9100", "Malformed"),
        ("number", "91ff", "Malformed"),
        ("number", "91cfffffffffffffffff", "Malformed"),
        ("number", "91cb3ff0000000000000", "Malformed"),
        ("number", "91c3", "Malformed"),
        ("number", "910101", "Malformed"),
        ("bytes", "91c403010203", "91c403010203"),
        ("bytes", "91c60000000101", "91c40101"),
        ("bytes", "91c400", "Malformed"),
        ("bytes", "91c40401020304", "Malformed"),
        ("bytes", "91c6ffffffff01", "Malformed"),
        ("bytes", "91c40301", "Malformed"),
        ("bytes", "91a161", "Malformed"),
        ("text", "91a161", "91a161"),
        ("text", "91d902c3a9", "91a2c3a9"),
        ("text", "91a3616263", "Malformed"),
        ("text", "91a2c328", "Malformed"),
        ("text", "91c40161", "Malformed"),
        ("many", "91dd00100000", "Malformed"),
        ("many", "91dd00100001", "Malformed"),
        ("many", "91dd00000001" + "91" * 5000, "Malformed"),
        ("signed", "91d38000000000000000", "91d38000000000000000"),
        ("signed", "91d1ff80", "91d080"),
        ("signed", "91cf8000000000000000", "Malformed"),
    ],
)
def test_reading(page: Page, shape: str, data: str, read: str) -> None:
    made: Any = page.evaluate(READ, [shape, data])
    assert made == read
