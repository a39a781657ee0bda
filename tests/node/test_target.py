"""Where a fetch puts things (node/fetching/restore.py)."""

from pathlib import Path

import pytest

from node.errors import ConfigError, MachineError, RefusedError
from node.fetching.restore import Target, choose_target
from protocol.manifest import Entry, Kind, Manifest

ROOT = b"r" * 32


def _targets(dest: Path | None, *tops: bytes, force: bool = False) -> Target:
    entries = tuple(Entry(path=top, kind=Kind.FILE) for top in sorted(tops))
    return choose_target(Manifest(entries=entries), range(len(tops)), dest, ROOT, force=force)


def test_where_things_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _targets(None, b"a") == Target(Path("a.part"), ((b"a", Path("a")),))
    assert _targets(Path("x"), b"a") == Target(Path("x.part"), ((b"a", Path("x")),))
    assert _targets(Path("x"), b"a", b"b") == Target(Path("x.part"), ((b"a", Path("x/a")), (b"b", Path("x/b"))))
    assert _targets(None, b"a", b"b").staging == Path("archipel-72727272.part")
    paths = {b"top": Kind.FOLDER, b"top/sub": Kind.FOLDER, b"top/sub/c": Kind.FILE, b"top/z": Kind.FILE}
    inner = Manifest(entries=tuple(Entry(path=path, kind=kind) for path, kind in paths.items()))
    chosen = [i for i, entry in enumerate(inner.entries) if entry.path.startswith(b"top/sub")]
    assert choose_target(inner, chosen, None, ROOT, force=False).moves == ((b"top/sub", Path("sub")),)
    with pytest.raises(MachineError, match="does not exist"):
        _targets(Path("no/such/x"), b"a")
    for bad in (Path("/"), Path("..") / "..", Path()):
        with pytest.raises((ConfigError, RefusedError)):
            _targets(bad, b"a")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(RefusedError, match="exists"):
        _targets(Path("dangling"), b"a")
