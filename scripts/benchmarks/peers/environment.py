"""A throwaway Python environment: nothing in it is ever a dependency of ours."""

import os
import sys
from pathlib import Path

from scripts.benchmarks.processes import Started

_INSTALL_SECONDS = 240.0


def install(folder: Path, requirement: str) -> Path:
    """Make an environment with one package in it; returns its folder of programs."""
    print(f"installing {requirement} ...", file=sys.stderr, flush=True)
    Started([sys.executable, "-m", "venv", str(folder)], os.environ).finish(_INSTALL_SECONDS)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check", requirement]
    Started(pip, os.environ).finish(_INSTALL_SECONDS)
    return folder / "bin"
