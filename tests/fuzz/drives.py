"""Targets: the drive of an account, and the file a home keeps it in."""

from contextlib import suppress

from nacl import bindings

from protocol.drive import LISTED, Drive, EntryKind, folders, listed, parents
from protocol.drivecache import FIRST_LINE, open_cache
from protocol.errors import IntegrityError, RemoteProtocolError, WrongNetworkError
from tests.fuzz.corpus import hex_values, vectors
from tests.fuzz.target import Target
from tests.vectors.make_drive import ALL, CACHE_KEY, NETWORK, NONCE


def _run_drive(data: bytes) -> None:
    with suppress(RemoteProtocolError):
        _check_drive(Drive.decode(data))


def _check_drive(drive: Drive) -> None:
    again = Drive.decode(drive.encode())
    assert again == drive
    merged = drive.merge(ALL)
    assert merged == ALL.merge(drive)
    assert merged.merge(drive) == merged
    assert Drive.decode(merged.encode()) == merged
    shown, taken = listed(drive), folders(drive)
    assert not taken & set(shown)
    assert len(shown) == sum(
        entry.live and entry.kind in LISTED and entry.kind is not EntryKind.FOLDER for entry in drive.entries
    )
    for path in (*shown, *taken):
        assert set(parents(path)) <= taken
        assert not path.startswith(b"/")
        assert b".." not in path.split(b"/")


def _run_cache(data: bytes) -> None:
    """``data`` as a file; and as what is sealed in one."""
    head = FIRST_LINE + NETWORK.id
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(data, head, NONCE, CACHE_KEY)
    for file in (data, head + NONCE + sealed):
        with suppress(IntegrityError, RemoteProtocolError, WrongNetworkError):
            _check_drive(open_cache(CACHE_KEY, NETWORK.id, file).drive)


def _cache_seeds() -> list[bytes]:
    """Files, and what is sealed in the one that opens."""
    (good,) = vectors("drive_cache")
    sealed = bytes.fromhex(good["input"]["file"])[len(FIRST_LINE + NETWORK.id + NONCE) :]
    content = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, FIRST_LINE + NETWORK.id, NONCE, CACHE_KEY)
    return [*hex_values("drive_cache*"), content]


TARGETS = (
    Target("drive", _run_drive, lambda: hex_values("drive_[!c]*"), 20_000),
    Target("drive-cache", _run_cache, _cache_seeds, 20_000),
)
