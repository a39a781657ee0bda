"""Targets: records of names, which any node may have made up, what their owner may have sealed in them, and the files
in which nodes and homes keep what they know of names."""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from functools import cache

from dht.records import Kept, RecordStore
from node.errors import MachineError
from node.names.seen import Seen, Sight
from node.store.recordfile import RecordFile
from protocol.codec import encode
from protocol.errors import ProtocolError
from protocol.ids import NameId
from protocol.names import MAX_RECORD_BYTES, MAX_SEALED_BYTES, name_id, open_record
from tests.fuzz.corpus import hex_values
from tests.fuzz.files import fresh, no_handle_left
from tests.fuzz.target import Target
from tests.vectors.make_names import FIRST, KEYS, NETWORK, TIME, record, sealed_by_hand, signed_by_hand

_TAG_BYTES = 16


def _run(data: bytes) -> None:
    """``data`` as a record; as the body of one that is signed; as the value in one that is signed and sealed."""
    _read(data)
    _read(KEYS.identity.sign_body("name", data))
    if 1 <= len(data) <= MAX_SEALED_BYTES - _TAG_BYTES:
        _read(signed_by_hand(sealed_by_hand(data)))


def _read(data: bytes) -> None:
    with suppress(ProtocolError):
        opened = open_record(data, NETWORK.id)
        assert len(data) <= MAX_RECORD_BYTES
        assert opened.name_id == name_id(opened.key, opened.salt)
        value = KEYS.reader.open(opened)
        signed = KEYS.sign(
            NETWORK.id,
            value,
            sequence=opened.sequence,
            expiry=opened.expiry,
            nonce=opened.nonce,
            salt=opened.salt,
        )
        assert open_record(signed, NETWORK.id) == opened


def _seeds() -> list[bytes]:
    good = record()
    return [good, good[64:], encode(FIRST), *hex_values("names_*")]


# --- the files ---

_NAME = name_id(KEYS.identity.key)


def _run_record_file(data: bytes) -> None:
    """``data`` as a node's file of records: whatever it is, the node goes on, and what it writes is there."""
    path = fresh("records.sqlite")
    path.write_bytes(data)
    store = RecordStore(NETWORK)
    logging.disable(logging.WARNING)  # that it is damaged
    try:
        with no_handle_left(), suppress(MachineError), closing(RecordFile.open(path)) as file:
            file.load_into(store, TIME)
            assert set(store.names()) <= {_NAME}, "nobody else's was ever signed"
            with suppress(sqlite3.Error):  # it reads well, and is damaged where one writes
                file.save(_kept())
                file.expire(TIME)
    finally:
        logging.disable(logging.NOTSET)


def _kept() -> dict[NameId, Kept]:
    return {_NAME: Kept((record(),), TIME + 86_400, bytes(3))}


@cache
def _good_record_file() -> bytes:
    path = fresh("records.sqlite")
    with closing(RecordFile.open(path)) as file:
        file.save(_kept())
    return path.read_bytes()


def _run_seen(data: bytes) -> None:
    """``data`` as a home's file of what it has seen."""
    path = fresh("names.sqlite")
    path.write_bytes(data)
    seen = Seen(path, NETWORK.id)
    calls: tuple[Callable[[], object], ...] = (
        lambda: seen.get(_NAME),
        lambda: seen.note(_NAME, Sight(2**62, 1, bytes(32), TIME), TIME),
        lambda: seen.get(_NAME),
    )
    for call in calls:
        with no_handle_left(), suppress(MachineError):
            call()


@cache
def _good_seen() -> bytes:
    path = fresh("names.sqlite")
    Seen(path, NETWORK.id).note(_NAME, Sight(5, 2, bytes(range(32)), TIME + 60), TIME)
    return path.read_bytes()


TARGETS = (
    Target("name-record", _run, _seeds, 1_000),
    Target("records-file", _run_record_file, lambda: [_good_record_file()], 30_000),
    Target("names-file", _run_seen, lambda: [_good_seen()], 30_000),
)
