"""What a person calls this machine, so that they can tell their machines apart. Only this home knows it."""

import logging

from node.errors import ConfigError, machine_error
from node.home import Home, write_private

log = logging.getLogger(__name__)

MAX_CHARACTERS = 64
_MAX_BYTES = 4 * MAX_CHARACTERS


def device_of(home: Home) -> str | None:
    """The name; None: it was given none, or what stands there cannot be one. Blocks. Raises MachineError."""
    try:
        with home.device.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise machine_error("read this machine's name", exc) from exc
    name = data.decode(errors="replace")
    if len(data) > _MAX_BYTES or _problem(name) is not None:
        log.info("what stands in %s is no name of a machine", home.device.name)
        return None
    return name


def check_device(name: str) -> None:
    """Make sure that a machine can be called so. Raises ConfigError."""
    problem = _problem(name)
    if problem is not None:
        raise ConfigError(problem)


def name_device(home: Home, name: str) -> None:
    """Give it a name; on disk when this returns. Blocks.

    Raises:
        ConfigError: It can be none.
        MachineError: It cannot be written; the old one stays.
    """
    check_device(name)
    try:
        write_private(home.device, name.encode(), replace=True)
    except OSError as exc:
        raise machine_error("write this machine's name", exc) from exc


def _problem(name: str) -> str | None:
    if not 1 <= len(name) <= MAX_CHARACTERS:
        return f"the name of a machine has 1 to {MAX_CHARACTERS} characters, got {len(name)}"
    if not name.isprintable() or "\ufffd" in name:
        return "the name of a machine is text in one line"
    return None
