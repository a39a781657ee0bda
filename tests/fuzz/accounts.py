"""Targets: account files and recovery phrases, which anybody may have written."""

from contextlib import suppress

from node.account.phrase import phrase_of, secret_of
from node.errors import ConfigError
from protocol.accountfile import FIRST_LINE, WrongPassphraseError, read_account_file
from protocol.errors import IntegrityError, RemoteProtocolError
from tests.fuzz.corpus import hex_values
from tests.fuzz.target import Target
from tests.vectors.make_account import FILE, OFFICIAL, PASSPHRASE, SECRET, mended

_CHEAP_BYTES = 64 * 1024
"""What a file may ask for that is opened here: others are as good, and take their time."""


def _run_file(data: bytes) -> None:
    """As it is; with the last hash put right; and as the body of a file whose beginning is right, too."""
    for file in (data, mended(data[:-32]), mended(FIRST_LINE + data)):
        with suppress(RemoteProtocolError):
            found = read_account_file(file)
            assert found.encode() == file or len(found.encode()) < len(file)
            assert read_account_file(found.encode()) == found
            if found.memory_bytes <= _CHEAP_BYTES:
                with suppress(WrongPassphraseError, IntegrityError):
                    assert found.open(PASSPHRASE).secret == SECRET


def _run_phrase(data: bytes) -> None:
    """``data`` as a recovery phrase."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(ConfigError):
        secret = secret_of(text)
        assert " ".join(phrase_of(secret)) == " ".join(text.lower().split())


def _file_seeds() -> list[bytes]:
    return [FILE.encode(), FILE.encode()[len(FIRST_LINE) : -32], *hex_values("account_file*")]


def _phrase_seeds() -> list[bytes]:
    return [phrase.encode() for _, phrase in OFFICIAL.values()]


TARGETS = (
    Target("account-file", _run_file, _file_seeds, 600),
    Target("account-phrase", _run_phrase, _phrase_seeds, 600),
)
