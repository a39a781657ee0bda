"""The cached drive: sealed, damaged, and of somebody else (docs/spec/drive.md section 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from protocol import codec, drivecache
from protocol.drivecache import CachedDrive, open_cache, seal_cache
from protocol.errors import IntegrityError, LocalProtocolError, RemoteProtocolError, WrongNetworkError
from tests.strategies import NETWORK, damaged, raw, uint
from tests.vectors.make_drive import ALL, CACHE_KEY, NONCE

CACHED = CachedDrive(drive=ALL, sequence=3, seen=1_900_000_000, unsent=True)


@given(uint(2**63 - 1), uint(2**64 - 1), st.booleans(), raw(24))
def test_a_cache_is_read_as_it_was_written(sequence: int, seen: int, unsent: bool, nonce: bytes) -> None:
    cached = CachedDrive(drive=ALL, sequence=sequence, seen=seen, unsent=unsent)
    data = seal_cache(CACHE_KEY, NETWORK.id, cached, nonce)
    assert open_cache(CACHE_KEY, NETWORK.id, data) == cached
    assert b"photos" not in data


@given(st.data())
def test_a_damaged_cache_does_not_open(data: st.DataObject) -> None:
    changed = data.draw(damaged(seal_cache(CACHE_KEY, NETWORK.id, CACHED, NONCE)))
    with pytest.raises((IntegrityError, RemoteProtocolError, WrongNetworkError)):
        open_cache(CACHE_KEY, NETWORK.id, changed)


@given(st.binary(max_size=200))
def test_garbage_is_no_cache(data: bytes) -> None:
    with pytest.raises((IntegrityError, RemoteProtocolError)):
        open_cache(CACHE_KEY, NETWORK.id, data)
    with pytest.raises((IntegrityError, RemoteProtocolError)):
        open_cache(CACHE_KEY, NETWORK.id, drivecache.FIRST_LINE + NETWORK.id + data)


def test_a_cache_is_bounded_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    data = seal_cache(CACHE_KEY, NETWORK.id, CACHED, NONCE)
    monkeypatch.setattr(drivecache, "MAX_CACHE_BYTES", len(data) - 1)
    with pytest.raises(RemoteProtocolError, match="of at most"):
        open_cache(CACHE_KEY, NETWORK.id, data)


@pytest.mark.parametrize(("key", "nonce"), [(31, 24), (32, 23)])
def test_keys_and_nonces_of_wrong_lengths(key: int, nonce: int) -> None:
    with pytest.raises(LocalProtocolError):
        seal_cache(bytes(key), NETWORK.id, CACHED, bytes(nonce))


@pytest.mark.parametrize(("version", "drive"), [(2, ALL.encode()), (1, b"\xc0")], ids=["version", "drive"])
def test_what_is_sealed_and_still_wrong(version: int, drive: bytes) -> None:
    content = codec.encode(drivecache._Content(version=version, sequence=0, seen=0, unsent=False, drive=drive))
    head = drivecache.FIRST_LINE + NETWORK.id
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(content, head, NONCE, CACHE_KEY)
    with pytest.raises(RemoteProtocolError):
        open_cache(CACHE_KEY, NETWORK.id, head + NONCE + sealed)
