"""Names: keys, records, values; and that nothing unsigned, foreign or misplaced gets through (docs/spec/names.md)."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import errors
from protocol.identity import Network
from protocol.ids import NetworkId, PublicKey
from protocol.names import (
    HEAD,
    MAX_NUMBER,
    MAX_RECORD_BYTES,
    MAX_SEQUENCE,
    NameKeys,
    NameReader,
    NameValue,
    archive_salt,
    fork_rank,
    name_id,
    open_record,
)
from tests.strategies import NETWORK, damaged, raw, uint
from tests.vectors import make_names
from tests.vectors.make_names import FIRST, KEYS, SECOND, STRANGER

PATHS = sorted((Path(__file__).parent.parent / "vectors").glob("names_*.json"))


def _values() -> st.SearchStrategy[NameValue]:
    def build(number: int, kind: int, root: bytes, key: bytes, time: int, previous: bytes) -> NameValue:
        before = previous if number > 1 else b""
        return NameValue(number=number, kind=kind, root=root, key=key, time=time, previous=before)

    numbers = st.one_of(st.sampled_from((1, 2, MAX_NUMBER)), st.integers(1, MAX_NUMBER))
    return st.builds(build, numbers, st.integers(1, 2), raw(32), raw(32), uint(2**64 - 1), raw(32))


values = _values()
sequences = st.one_of(st.sampled_from((1, MAX_SEQUENCE)), st.integers(1, MAX_SEQUENCE))


def _keys(inputs: dict[str, Any]) -> dict[str, Any]:
    keys = NameKeys(bytes.fromhex(inputs["secret"]))
    return {
        "public_key": keys.identity.key.hex(),
        "read_key": keys.read_key.hex(),
        "head": name_id(keys.identity.key).hex(),
        "archived": name_id(keys.identity.key, archive_salt(inputs["number"])).hex(),
    }


def _record(inputs: dict[str, Any]) -> dict[str, Any]:
    data = bytes.fromhex(inputs["record"])
    record = open_record(data, NetworkId(bytes.fromhex(inputs["network"])))
    reader = NameReader(PublicKey(bytes.fromhex(inputs["key"])), bytes.fromhex(inputs["read_key"]))
    value = reader.open(record)
    return {
        "name_id": record.name_id.hex(),
        "sequence": record.sequence,
        "expiry": record.expiry,
        "value": make_names.plain(value),
        "hash": value.hash.hex(),
        "fork_rank": fork_rank(data).hex(),
    }


def _archive(inputs: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: field if isinstance(field, int) else bytes.fromhex(field) for name, field in inputs["value"].items()
    }
    data = NameKeys(bytes.fromhex(inputs["secret"])).archived(
        NetworkId(bytes.fromhex(inputs["network"])),
        NameValue(**fields),
        sequence=inputs["sequence"],
        expiry=inputs["expiry"],
    )
    return {"record": data.hex()}


OPERATIONS = {"keys": _keys, "record": _record, "archive": _archive}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector = json.loads(path.read_text())
    run = OPERATIONS[vector["operation"]]
    if vector["expect"] == "success":
        assert run(vector["input"]) == vector["output"]
        return
    with pytest.raises(errors.ProtocolError) as raised:
        run(vector["input"])
    assert type(raised.value).__name__ == vector["expect"]


def test_the_files_are_those_that_the_maker_makes() -> None:
    made = {stem: json.loads(json.dumps(content)) for stem, content in make_names.vectors()}
    assert made == {path.stem: json.loads(path.read_text()) for path in PATHS}


@given(raw(32), values, sequences, uint(2**64 - 1), raw(16), st.booleans())
def test_what_is_signed_is_read(
    secret: bytes, value: NameValue, sequence: int, expiry: int, nonce: bytes, archived: bool
) -> None:
    keys = NameKeys(secret)
    salt = archive_salt(value.number) if archived else HEAD
    data = keys.sign(NETWORK.id, value, sequence=sequence, expiry=expiry, nonce=nonce, salt=salt)
    record = open_record(data, NETWORK.id)
    assert len(data) <= 346 < MAX_RECORD_BYTES
    assert (record.key, record.sequence, record.expiry) == (keys.identity.key, sequence, expiry)
    assert record.name_id == name_id(keys.identity.key, salt)
    assert keys.reader.open(record) == value


@given(values, st.data())
def test_a_damaged_record_is_noticed(value: NameValue, draw: st.DataObject) -> None:
    data = KEYS.sign(NETWORK.id, value, sequence=1, expiry=1, nonce=bytes(16))
    with pytest.raises(errors.RemoteProtocolError):
        open_record(draw.draw(damaged(data)), NETWORK.id)


@given(st.binary(max_size=1000))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(errors.RemoteProtocolError):
        open_record(data, NETWORK.id)


@given(values)
def test_only_the_read_key_opens_it(value: NameValue) -> None:
    record = open_record(KEYS.sign(NETWORK.id, value, sequence=1, expiry=1, nonce=bytes(16)), NETWORK.id)
    for reader in (NameReader(KEYS.identity.key, bytes(32)), NameReader(STRANGER.identity.key, KEYS.read_key)):
        with pytest.raises(errors.IntegrityError):
            reader.open(record)


def test_a_record_is_of_one_network() -> None:
    with pytest.raises(errors.WrongNetworkError):
        open_record(make_names.record(), Network("elsewhere").id)


def test_equal_values_have_one_hash_and_different_records() -> None:
    one, other = make_names.record(), make_names.record(nonce=bytes(16))
    assert fork_rank(one) != fork_rank(other)
    assert [KEYS.reader.open(open_record(data, make_names.NETWORK.id)).hash for data in (one, other)] == [
        FIRST.hash
    ] * 2
    assert FIRST.hash != SECOND.hash == SECOND.hash


@pytest.mark.parametrize(
    "changes",
    [{"sequence": 0}, {"sequence": 2**63}, {"expiry": 2**64}, {"nonce": bytes(15)}, {"salt": bytes(65)}],
)
def test_what_would_break_the_specification_is_not_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.LocalProtocolError):
        make_names.record(**changes)


@given(values, sequences, uint(2**64 - 1))
def test_an_archived_copy_is_read_and_sealed_under_a_key_of_its_own(
    value: NameValue, sequence: int, expiry: int
) -> None:
    record = open_record(KEYS.archived(NETWORK.id, value, sequence=sequence, expiry=expiry), NETWORK.id)
    assert (record.sequence, record.expiry, record.salt) == (sequence, expiry, archive_salt(value.number))
    assert KEYS.reader.open(record) == value
    other = NameValue(number=value.number, kind=1, root=b"o" * 32, key=bytes(32), time=0, previous=value.previous)
    for changed, until in ((other, expiry), (value, expiry - 1 if expiry else 1)):
        data = KEYS.archived(NETWORK.id, changed, sequence=sequence, expiry=until)
        assert open_record(data, NETWORK.id).nonce != record.nonce


def test_an_archived_copy_ends_within_what_can_be_written() -> None:
    for expiry in (-1, 2**64):
        with pytest.raises(errors.LocalProtocolError, match="an expiry is"):
            KEYS.archived(NETWORK.id, FIRST, sequence=1, expiry=expiry)


def test_a_value_without_its_chain_is_not_signed() -> None:
    broken = NameValue(number=2, kind=1, root=bytes(32), key=bytes(32), time=0, previous=b"")
    with pytest.raises(errors.LocalProtocolError, match="version 2 names 0 bytes as previous"):
        make_names.record(broken)


def test_keys_of_a_wrong_length_are_our_mistake() -> None:
    for make in (lambda: NameKeys(bytes(31)), lambda: NameReader(KEYS.identity.key, bytes(31))):
        with pytest.raises(errors.LocalProtocolError):
            make()
    for number in (0, 2**32):
        with pytest.raises(errors.LocalProtocolError, match="a version is"):
            archive_salt(number)


def test_no_text_form_tells_a_secret() -> None:
    shown = " ".join(map(repr, (KEYS, KEYS.reader, FIRST, SECOND)))
    key = KEYS.identity.key.hex()[:8]
    assert shown == f"NameKeys({key}) NameReader({key}) NameValue(1) NameValue(2)"
