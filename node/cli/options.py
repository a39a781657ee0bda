"""Options that every command knows, before and after its name, and the settings that come of them."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from node.config import Config, load_config
from node.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_KEY = "archipel.settings"


@dataclass(slots=True)
class Settings:
    """What the common options said so far; the last one said wins."""

    flags: dict[str, object] = field(default_factory=dict)
    json: bool = False
    verbose: int = 0

    def config(self) -> Config:
        """The merged configuration. Raises ConfigError."""
        return load_config(os.environ, self.flags)


_last = Settings()


def settings() -> Settings:
    """Of the running command; of the last one, after it has ended."""
    context = click.get_current_context(silent=True)
    if context is None:
        return _last
    found: Settings = context.meta.setdefault(_KEY, _last)
    return found


def _take(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is None or value == () or value is False or value == 0:
        return
    found: Settings = context.meta.setdefault(_KEY, _last)
    if parameter.name == "json":
        found.json = True
    elif parameter.name == "verbose":
        found.verbose = value
        level = logging.DEBUG if value > 1 else logging.INFO
        logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    else:
        found.flags[str(parameter.name)] = value


def parsed(option: str, parse: Callable[[str], T], text: str) -> T:
    """What an option's text stands for. Raises ConfigError, which then names the option."""
    try:
        return parse(text)
    except ConfigError as exc:
        raise ConfigError(f"{option}: {exc}", hint=exc.hint) from exc


def parsed_if_given(option: str, parse: Callable[[str], T], text: str | None) -> T | None:
    """The same; None when the option was not given."""
    return None if text is None else parsed(option, parse, text)


def common_options(command: F) -> F:
    """Add the options that stand before and after every command."""
    for option in (
        click.option(
            "-v",
            "--verbose",
            count=True,
            expose_value=False,
            callback=_take,
            help="Say more on standard error; twice for all.",
        ),
        click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            callback=_take,
            help="Print the result as one JSON object.",
        ),
        click.option(
            "--join",
            multiple=True,
            metavar="HOST:PORT",
            expose_value=False,
            callback=_take,
            help="A node to join by; may be repeated.",
        ),
        click.option(
            "--network",
            metavar="NAME",
            expose_value=False,
            callback=_take,
            help="The network's name.  [default: archipel]",
        ),
        click.option(
            "--home",
            metavar="DIR",
            expose_value=False,
            callback=_take,
            help="The folder of your identity and journal.",
        ),
    ):
        command = option(command)
    return command
