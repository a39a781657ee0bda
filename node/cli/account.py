"""`archipel account`: made on this machine, known to no server, restored anywhere from 24 words."""

import secrets
import sys
from collections import Counter
from collections.abc import Sequence

import click

from node.account.drafts import asked_places
from node.account.held import Held, held_fields
from node.account.phrase import MAX_PHRASE_CHARACTERS, WORDS, phrase_of, secret_of
from node.account.unlocked import check_seconds, held, hold, let_go
from node.account.vault import Vault
from node.cli.options import common_options, parsed, settings
from node.cli.output import hand_over, note, refuse_nowhere, show
from node.cli.own import own_home
from node.cli.passphrase import (
    get_passphrase,
    new_passphrase,
    passphrase_file,
    standard_input,
    typed_unseen,
)
from node.cli.text import clock_text, count_text, seen_text
from node.config import parse_duration
from node.drive.cache import DriveCache
from node.errors import ConfigError, MachineError, RefusedError
from protocol.account import SECRET_BYTES, AccountKeys
from protocol.accountkey import format_account_key
from protocol.drive import EntryKind
from protocol.drivecache import CachedDrive
from protocol.identity import Network

_TRIES = 3
"""For each word that has to be typed back."""


@click.group()
@common_options
def account() -> None:
    """Your account: an identity that 24 words restore on any machine. Fetching needs none.

    \b
    Example:
      archipel account new
      archipel account unlock --for 8h
      archipel publish ~/Photos
      archipel account lock
    """


@account.command()
@passphrase_file
@common_options
def new(passphrase_file: str | None) -> None:
    """Make an account, and show its 24 words this once. Write them down: nothing else restores it.

    The words come first: if they cannot be written there is no account.

    \b
    Example:
      archipel account new
    """
    home = own_home()
    vault = Vault.of(home)
    vault.refuse_another()
    refuse_nowhere()
    passphrase = new_passphrase(passphrase_file)
    keys = AccountKeys(secrets.token_bytes(SECRET_BYTES))
    words = phrase_of(keys.secret)
    home.create()
    # Before there is an account: one whose words nobody has is none.
    hand_over(_table(words), {"words": words, "key": format_account_key(keys.identity.key)})
    if not settings().json and _person_watches():
        _ask_back(words)
    vault.create(keys, passphrase)
    note(f"made the account {format_account_key(keys.identity.key)}; the words are not shown again")


def _person_watches() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def _table(words: Sequence[str]) -> str:
    """Four numbered words to a line."""
    cells = [f"{place:>2} {word:<10}" for place, word in enumerate(words, 1)]
    return "\n".join(" ".join(cells[at : at + 4]).rstrip() for at in range(0, len(cells), 4))


def _ask_back(words: Sequence[str]) -> None:
    """Have three words typed back. Raises RefusedError if they are others."""
    note(f"write the {WORDS} words down, on paper: they are all that restores the account, and are not shown again")
    for place in asked_places():
        for left in reversed(range(_TRIES)):
            if _ask_line(f"word {place}: ").lower() == words[place - 1]:
                break
            if not left:
                raise RefusedError("that is another word: no account was made", hint="archipel account new")
            note("that is another word")


def _ask_line(prompt: str) -> str:
    """A line that a person types and sees. Raises click.Abort at the end of input."""
    click.echo(prompt, nl=False, err=True)
    try:
        line = standard_input().readline(MAX_PHRASE_CHARACTERS)
    except UnicodeDecodeError:
        line = "\ufffd"  # no word at all, and told as such
    if not line:
        raise click.Abort
    return line.strip()


@account.command()
@click.option("--hidden", is_flag=True, help="Do not show the words while they are typed.")
@passphrase_file
@common_options
def restore(hidden: bool, passphrase_file: str | None) -> None:
    """Bring an account back from its 24 words, typed at the terminal or from standard input.

    With --passphrase-file - the first line of standard input is the passphrase, the words come behind it.

    \b
    Examples:
      archipel account restore
      archipel account restore --passphrase-file passphrase < words
    """
    home = own_home()
    vault = Vault.of(home)
    vault.refuse_another()
    passphrase = new_passphrase("-") if passphrase_file == "-" else None  # noqa: S105 - no password
    keys = AccountKeys(secret_of(_read_phrase(hidden), hidden=hidden))
    passphrase = passphrase or new_passphrase(passphrase_file)
    home.create()
    vault.create(keys, passphrase)
    text = format_account_key(keys.identity.key)
    show(f"restored the account {text}", {"key": text})


def _read_phrase(hidden: bool) -> str:
    """The words: typed, in one line or in several, or all that is left of standard input."""
    stream = standard_input()
    if not hidden and not stream.isatty():
        try:
            return stream.buffer.read(MAX_PHRASE_CHARACTERS + 1).decode()
        except UnicodeDecodeError:
            pass
        raise ConfigError("a recovery phrase is UTF-8")
    words: list[str] = []
    while len(words) < WORDS:
        prompt = f"the next of {WORDS} words, from word {len(words) + 1} on: " if words else f"the {WORDS} words: "
        line = typed_unseen(prompt) if hidden else _ask_line(prompt)
        if not line.split():
            break
        words += line.split()
    return " ".join(words)


@account.command("show")
@common_options
def show_account() -> None:
    """Show the account key, which others may know, whether the account is unlocked, and if so what is in its drive.

    \b
    Example:
      archipel account show
    """
    home = own_home()
    key = Vault.of(home).key
    found = held(home, key)
    state = f"unlocked until {clock_text(found.until)} ({found.keeper})" if found is not None else "locked"
    drive = None if found is None else _last_copy(found.keys)
    show(
        f"{format_account_key(key)}\n{state}\n{_drive_text(found, drive)}",
        {
            "key": format_account_key(key),
            **held_fields(found),
            "drive": None if drive is None else _drive_fields(drive),
        },
    )


def _last_copy(keys: AccountKeys) -> CachedDrive | None:
    """The drive as it was last seen here, without asking the network; None: it never was, or the copy is damaged."""
    network = Network(settings().config().network).id
    path = own_home().drive(network)
    if not path.exists():
        return None
    try:
        return DriveCache(path, keys.cache_key, network, secrets.token_bytes).load()
    except MachineError as exc:  # what else there is to show is shown
        note(f"note: {exc}")
        return None


def _drive_text(found: Held | None, drive: CachedDrive | None) -> str:
    if found is None:
        return "drive: not shown while the account is locked"
    if drive is None:
        return "drive: not seen on this machine"
    counts = _drive_fields(drive)
    kinds = [("deposit", "deposits"), ("name", "names"), ("link", "links"), ("share", "shares")]
    there = ", ".join(count_text(int(str(counts[many])), one) for one, many in kinds)
    return f"drive: {there}; as it was {seen_text(drive.seen, drive.unsent)}"


def _drive_fields(drive: CachedDrive) -> dict[str, object]:
    live = Counter(entry.kind for entry in drive.drive.entries if entry.live)
    return {
        "deposits": live[EntryKind.DEPOSIT],
        "names": live[EntryKind.NAME],
        "links": live[EntryKind.LINK],
        "shares": live[EntryKind.SHARE],
        "seen": drive.seen or None,
        "unsent": drive.unsent,
    }


@account.command()
@click.option(
    "--for", "lasting", default="1h", show_default=True, metavar="D", help="For how long: 30m, 8h; 30d at most."
)
@passphrase_file
@common_options
def unlock(lasting: str, passphrase_file: str | None) -> None:
    """Ask for the passphrase now, and for a while not again.

    The operating system's keyring keeps the account open where there is one that archipel can use, else a process of
    your own that ends when the time is over.

    \b
    Examples:
      archipel account unlock
      archipel account unlock --for 8h
    """
    seconds = parsed("--for", parse_duration, lasting)
    check_seconds(seconds)
    home = own_home()
    keys = Vault.of(home).open(get_passphrase(passphrase_file))
    found = hold(home, keys, seconds)
    show(f"unlocked until {clock_text(found.until)} ({found.keeper})", held_fields(found))


@account.command()
@common_options
def lock() -> None:
    """Forget the unlocked account: from now on the passphrase is asked for again.

    \b
    Example:
      archipel account lock
    """
    was = let_go(own_home())
    show("locked" if was else "it was locked", {"was_unlocked": was})


@account.command()
@click.option("--new-passphrase-file", metavar="FILE", help="The same for the new one: with - the next line.")
@passphrase_file
@common_options
def passwd(new_passphrase_file: str | None, passphrase_file: str | None) -> None:
    """Change the passphrase. Copies that were made of the account file before open with the old one.

    \b
    Example:
      archipel account passwd
    """
    vault = Vault.of(own_home())
    keys = vault.open(get_passphrase(passphrase_file))
    vault.change(keys, new_passphrase(new_passphrase_file, "--new-passphrase-file"))
    text = format_account_key(keys.identity.key)
    show(f"changed the passphrase of {text}", {"key": text})
