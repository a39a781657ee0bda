"""`archipel open`: the page of the node that runs here, in a browser."""

import os
import webbrowser
from contextlib import aclosing
from functools import partial
from pathlib import Path

import click

from node.cli.control import DATA_OPTION, node_folder
from node.cli.links import read_any_link
from node.cli.options import common_options
from node.cli.output import note, show
from node.cli.running import run_async
from node.control import ask
from node.errors import ConfigError, MachineError


@click.command("open")
@click.argument("link", required=False)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--webdav", is_flag=True, help="Print how a file manager opens the drive: address, user, password.")
@DATA_OPTION
@common_options
def open(link: str | None, no_browser: bool, webdav: bool, data: str | None) -> None:
    """Open the page of the node that runs here; with LINK, what it leads to.

    The link reaches the page through the node: the browser is told a ticket, good once and for a minute.

    \b
    Examples:
      archipel open
      archipel open @link.txt
      archipel open --webdav
    """
    if webdav:
        if link is not None:
            raise ConfigError("--webdav opens the drive: leave out LINK", hint="a link is /dav/link/WORD/ there")
        found = run_async(partial(_asked, node_folder(data), {"do": "webdav"}))
        show("\n".join(f"{name + ':':9} {value}" for name, value in found.items()), found)
        return
    word = None if link is None else str(read_any_link(link))
    url = run_async(partial(_address, node_folder(data), word))
    if not no_browser and not _shown(url):
        note("there is no browser here: open the address in one")
    show(url, {"url": url})


async def _address(folder: Path, link: str | None) -> str:
    request = {"do": "open"} if link is None else {"do": "open", "link": link}
    return str((await _asked(folder, request))["url"])


async def _asked(folder: Path, request: dict[str, str]) -> dict[str, str]:
    async with aclosing(ask(folder, request)) as replies:
        async for reply in replies:
            return {str(name): str(value) for name, value in reply.items()}
    raise MachineError("the node has not said where its page is")


def _shown(url: str) -> bool:
    """Whether a browser was found for it. What browsers say as they start is not ours to print."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER")):
        return os.uname().sysname == "Darwin" and webbrowser.open(url)
    return webbrowser.open(url)
