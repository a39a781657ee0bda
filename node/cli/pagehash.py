"""`archipel page-hash`: the hashes of the page's own files, and whether a gateway serves those."""

from functools import partial

import click
import trio

from node.cli.options import common_options
from node.cli.output import show
from node.cli.running import run_async
from node.cli.text import count_text
from node.errors import IntegrityFailure, NetworkError
from node.web.files import read_files
from node.web.hashes import Difference, compare, gateway_url, listing

_SECONDS = 60.0


@click.command("page-hash")
@click.argument("gateway", required=False)
@common_options
def page_hash(gateway: str | None) -> None:
    """List the files of the page with their SHA-256; with the address of a GATEWAY, compare what it serves.

    It tells what the gateway serves to you now. It may serve something else to others, or later; and a gateway of
    another version differs honestly.

    \b
    Examples:
      archipel page-hash
      archipel page-hash https://gateway.example
    """
    files = read_files()
    if gateway is None:
        hashes = {path: file.hash for path, file in files.items()}
        show(listing(files).rstrip("\n"), {"files": hashes})
        return
    url = gateway_url(gateway)
    different = run_async(partial(_compared, partial(compare, url, files)))
    if different:
        names = ", ".join(found.path for found in different[:5])
        raise IntegrityFailure(
            f"{url.hostname} serves {count_text(len(different), 'file')} otherwise than this installation: {names}",
            hint="do not enter links there, unless it is known to be of another version",
        )
    show(f"{url.hostname} serves the same {count_text(len(files), 'file')}", {"files": len(files), "same": True})


async def _compared(work: "partial[list[Difference]]") -> list[Difference]:
    found: list[Difference] = []
    with trio.move_on_after(_SECONDS) as scope:
        found = await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    if scope.cancelled_caught:
        raise NetworkError(f"the gateway did not send its files within {_SECONDS:.0f} seconds")
    return found
