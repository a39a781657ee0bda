"""What is installed: three packages and one command, and nothing that overwrites somebody else's."""

import configparser
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import COMMAND_SECONDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=COMMAND_SECONDS)
    (built,) = folder.iterdir()
    yield built


def test_the_top_level_names(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"node", "dht", "protocol"}
    assert {f"{package}/py.typed" for package in ("node", "dht", "protocol")} <= set(names)
    page = "node/web/static/"
    left = [name for name in names if not name.startswith(page)]
    assert not [name for name in left if "test" in name.lower() or name.endswith((".pyc", ".json", ".log"))]
    assert not [name for name in names if name.startswith(page) and name.endswith((".pyc", ".log", ".py"))]


def test_everything_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for package in ("node", "dht", "protocol"):
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert modules == {name for name in names if name.startswith(f"{package}/") and name.endswith(".py")}


def test_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
        points = configparser.ConfigParser()
        points.read_string(archive.read(name).decode())
    assert dict(points["console_scripts"]) == {"archipel": "node.cli:main"}
    assert dict(points["fsspec.specs"]) == {"archipel": "node.reading.filesystem:ArchipelFileSystem"}

    script = "import node, sys; print(node.__file__); from node.cli import main; main()"
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    command = [sys.executable, "-P", "-c", script, "--version"]
    result = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=COMMAND_SECONDS)
    where, version = result.stdout.decode().splitlines()
    assert where.startswith(str(wheel)), "it is the wheel that runs"
    assert version.startswith("archipel, version ")
