"""Publishing under a name: a new version, a later expiry (docs/spec/names.md section 6).

Two machines may write at once. Both have read the same, so both write the same sequence: nodes keep both records, and
whoever is told so looks for the other one, and says that it is there. No node's word is enough for that: one that lies
must not stop an owner.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dht.names import NameRecords, PutResult
from node.client import Client
from node.errors import ConfigError, NetworkError, NotFoundError, RefusedError, TakenError
from node.names.reading import Copies, copies_of
from node.names.seen import Seen, Sight
from protocol.datagrams import ANY_SEQUENCE, MAX_RECORDS, PutCode
from protocol.links import Link
from protocol.names import (
    HEAD,
    MAX_LIFE_SECONDS,
    MAX_NUMBER,
    MAX_SEQUENCE,
    NONCE_BYTES,
    NameKeys,
    NameValue,
    archive_salt,
    open_record,
)

ENOUGH_KEEPERS = 3
"""Nodes that have to keep a record, where there are so many."""
_TRIES = 3
"""How often copies are put while others take their places."""


class NameConflictError(TakenError):
    """Another machine published a version of the name at the same time. The hint says whether ours is there, too."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to."""

    value: NameValue
    sequence: int
    expiry: int
    """Seconds since 1970-01-01 UTC."""
    kept: int
    """How many nodes keep it."""
    asked: int
    """How many were asked to."""
    forks: tuple[NameValue, ...]
    """Versions beside the one that this one follows: another machine had published at the same time. They are
    archived."""


async def publish_version(
    client: Client,
    keys: NameKeys,
    seen: Seen,
    link: Link,
    expiry: int,
    *,
    archive: bool = True,
    merged: Collection[bytes] | None = None,
) -> Written:
    """Publish what a link leads to as the newest version of a name.

    Args:
        client: Our way into the network.
        keys: The name's.
        seen: What this home has seen of names.
        link: What to publish; its hints are left out.
        expiry: When nodes may forget it, seconds since 1970-01-01 UTC, at most 400 days ahead. Later, if the version
            before lives longer: nodes that were given that one again would show it as the newest.
        archive: Keep a copy of the version before. Without, a fork that is there is lost: the caller has merged it.
        merged: Hashes of the versions that ``link`` takes account of: none but these may be replaced. None: any may.

    Raises:
        NameConflictError: Another machine published a version at the same time.
        RefusedError: There are as many versions or records of it as there can be.
        NetworkError: No node answers, or too few keep it.
        ConfigError: The expiry is over or too far ahead.
        IntegrityFailure: What is there was sealed under another key.
        MachineError: What this home has seen cannot be read or noted.
    """
    now = client.world.clock.wall()
    _check(expiry, now)
    head = await copies_of(client, keys.reader, HEAD)
    last = await _last(client, keys, seen, head)
    if merged is not None and head.sequence >= last.sequence and any(v.hash not in merged for v in head.values):
        raise _conflict(both=False)
    value = NameValue(
        number=_next(last.number, MAX_NUMBER),
        kind=int(link.kind),
        root=link.root,
        key=link.key,
        time=int(now),
        previous=last.hash if last.number else b"",
    )
    sequence = _next(last.sequence)
    if archive:
        await _archive(client, keys, head)
    return await _put_head(client, keys, seen, head, value, sequence, _until(expiry, last.expiry, now))


async def renew_name(client: Client, keys: NameKeys, seen: Seen, expiry: int) -> Written:
    """Let the newest version of a name live longer; never shorter.

    Raises:
        NotFoundError: There is nothing to renew, or only something older than this home has seen.
        RefusedError, NameConflictError, NetworkError, ConfigError, IntegrityFailure, MachineError: As
            :func:`publish_version`.
    """
    now = client.world.clock.wall()
    _check(expiry, now)
    head = await copies_of(client, keys.reader, HEAD)
    last = await _last(client, keys, seen, head)
    if not head.values or head.sequence < last.sequence:
        raise NotFoundError("the newest version of the name is not on the network", hint="publish it again")
    value = head.values[0]
    sequence = _next(last.sequence)
    if len(head.values) > 1:  # the new record takes the place of both
        await _archive(client, keys, head)
    return await _put_head(client, keys, seen, head, value, sequence, _until(expiry, last.expiry, now))


async def renew_archived(client: Client, keys: NameKeys, number: int, expiry: int) -> int:
    """Let the archived copies of an earlier version live longer. Returns how many nodes keep it.

    Raises:
        NotFoundError: Nobody has one.
        RefusedError, NetworkError, ConfigError, IntegrityFailure: As :func:`publish_version` says.
    """
    now = client.world.clock.wall()
    _check(expiry, now)
    copies = await copies_of(client, keys.reader, archive_salt(number))
    if not copies.values:
        raise NotFoundError(f"nobody has version {number} of the name any more")
    later = _until(expiry, copies.sight(keys.reader).expiry, now)
    return await _put_copies(client, keys, copies, copies.values[:MAX_RECORDS], _next(copies.sequence), later)


def _check(expiry: int, now: float) -> None:
    if not now < expiry <= now + MAX_LIFE_SECONDS:
        raise ConfigError(f"a name is kept for {MAX_LIFE_SECONDS // 86_400} days at most, and not until a time past")


def _next(last: int, most: int = MAX_SEQUENCE) -> int:
    """The sequence, or the number, after the last. Raises RefusedError: there is none."""
    if last >= most:
        raise RefusedError(
            f"the name is used up: nothing comes after {most}",
            hint="only who has its secret can have done that: publish under another name",
        )
    return last + 1


def _until(expiry: int, last: int, now: float) -> int:
    """When a record ends that takes the place of others, of which the last ends then: not before that, but at most 400
    days ahead."""
    return max(expiry, min(last, int(now) + MAX_LIFE_SECONDS))


async def _last(client: Client, keys: NameKeys, seen: Seen, head: Copies) -> Sight:
    """The newest version there is: on the network, or, if nodes hold it back or lost it, as this home remembers it."""
    sight: Sight = await client.world.blocking(seen.get, head.records.name)
    held_back = head.sequence < sight.sequence and sight.binds(client.world.clock.wall())
    last = sight if held_back or not head.values else head.sight(keys.reader)
    return replace(last, expiry=max(last.expiry, sight.expiry))


async def _archive(client: Client, keys: NameKeys, head: Copies) -> None:
    """Keep copies of the versions that are about to be replaced, as long as they would have lived."""
    for number in {value.number for value in head.values}:
        copies = await copies_of(client, keys.reader, archive_salt(number))
        wanted = [value for value in head.values if value.number == number][:MAX_RECORDS]
        if any(value not in copies.values for value in wanted):
            until = max(head.expiry(value, keys.reader) for value in wanted)
            await _put_copies(client, keys, copies, wanted, max(1, copies.sequence), until)


async def _put_copies(
    client: Client, keys: NameKeys, copies: Copies, values: Sequence[NameValue], sequence: int, expiry: int
) -> int:
    """Put archived copies of one version, at most two: they have one sequence, so that nodes keep both. What is there
    with it already is left out; where nodes have no place for one, all go on to the next sequence. Returns how many
    nodes keep each, at least."""
    for left in reversed(range(_TRIES)):
        there = copies.values if copies.sequence == sequence else ()
        puts = []
        for value in values:
            if value not in there:
                data = keys.archived(client.network.id, value, sequence=sequence, expiry=expiry)
                puts.append(await _put(client, keys, data, value, ANY_SEQUENCE, copies.records))
        worst = min(puts, key=lambda put: put.kept)
        if worst.enough or not left or worst.now is None or worst.now.sequence < sequence:
            return _count(client, worst)
        copies, sequence = worst.now, _next(worst.now.sequence)
        if copies.values:  # of machines that put at once all take the same expiry, and so make the same records
            expiry = _until(expiry, copies.sight(keys.reader).expiry, client.world.clock.wall())
    raise AssertionError("the last try returns or raises")


async def _put_head(
    client: Client, keys: NameKeys, seen: Seen, head: Copies, value: NameValue, sequence: int, expiry: int
) -> Written:
    nonce = client.world.random_bytes(NONCE_BYTES)
    data = keys.sign(client.network.id, value, sequence=sequence, expiry=expiry, nonce=nonce)
    put = await _put(client, keys, data, value, sequence - 1, head.records)
    if put.now is not None and _another(put.now, sequence, value):
        raise _conflict(both=value in put.now.values)
    kept = _count(client, put)
    sight = Sight(sequence, value.number, value.hash, expiry)
    await client.world.blocking(seen.note, head.records.name, sight, client.world.clock.wall())
    forks = tuple(other for other in head.values[1:] if other != value)
    return Written(value, sequence, expiry, kept, put.result.asked, forks)


@dataclass(frozen=True, slots=True)
class _Put:
    """What became of a record."""

    result: PutResult
    kept: int
    """How many nodes keep it, or another one that says the same for as long."""
    now: Copies | None
    """What is there since, if a node said that there is something else."""

    @property
    def enough(self) -> bool:
        """Whether that is enough to rely on it."""
        return self.kept >= max(1, min(ENOUGH_KEEPERS, self.result.asked))


async def _put(client: Client, keys: NameKeys, data: bytes, value: NameValue, cas: int, found: NameRecords) -> _Put:
    """Put a record on the nodes that were found, and look what is there if any of them has something else."""
    result = await client.dht.put_record(data, cas, found)
    kept = result.count(PutCode.KEPT)
    if not result.count(PutCode.OLDER, PutCode.CONFLICT, PutCode.FORKED):
        return _Put(result, kept, None)
    record = open_record(data, client.network.id)
    now = await copies_of(client, keys.reader, record.salt)
    same = {
        signed.data
        for signed in now.of(value, keys.reader)
        if signed.record.sequence == record.sequence and signed.record.expiry >= record.expiry
    }
    forked = [node for node, reply in result.replies.items() if reply.code is PutCode.FORKED]
    # it keeps two records of one sequence, which need not be ours
    kept += sum(not same.isdisjoint(now.records.holders.get(node, ())) for node in forked)
    return _Put(result, kept, now)


def _conflict(*, both: bool) -> NameConflictError:
    kept = "both versions are kept, and `archipel name log` shows them" if both else "this version is not kept yet"
    return NameConflictError("another machine published this name at the same time", hint=f"run it again: {kept}")


def _another(now: Copies, sequence: int, value: NameValue) -> bool:
    """Whether somebody else's record of our sequence or a higher one is really there."""
    if now.sequence > sequence:
        return True
    return now.sequence == sequence and any(other != value for other in now.values)


def _count(client: Client, put: _Put) -> int:
    """How many nodes keep what was put. Raises NetworkError: too few."""
    answers = len(put.result.replies)
    if answers and put.result.count(PutCode.REFUSED) == answers:
        clock = datetime.fromtimestamp(client.world.clock.wall(), UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise NetworkError(
            f"all {answers} nodes that answer refuse the record of the name",
            hint=f"is this machine's clock right? it says {clock}. If it is, the nodes have no room: try again later",
        )
    if not put.enough:
        raise NetworkError(
            f"only {put.kept} of {put.result.asked} nodes keep the record of the name", hint="try again in a while"
        )
    return put.kept


__all__ = ["ENOUGH_KEEPERS", "NameConflictError", "Written", "publish_version", "renew_archived", "renew_name"]
