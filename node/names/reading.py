"""From a name to what it leads to: the newest version, an earlier one, all of them (docs/spec/names.md section 5)."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from dht.names import NameRecords, Signed
from node.client import Client
from node.errors import IntegrityFailure, NetworkError, NotFoundError
from node.names.seen import Seen, Sight
from protocol.errors import IntegrityError, RemoteProtocolError
from protocol.ids import SegmentId
from protocol.links import Link, LinkKind
from protocol.names import HEAD, NameReader, NameValue, archive_salt, name_id

AHEAD = 8
"""Earlier versions that are asked for at the same time."""
MAX_GAP = 8
"""Versions in a row that nobody has, after which a history ends: what is older has expired as well."""
MAX_WALK = 256
"""Versions that one is compared with when it is asked for by its number: some seconds of looking up."""


@dataclass(frozen=True, slots=True)
class Copies:
    """What the network has under one salt of a name: the distinct values of the highest sequence."""

    records: NameRecords
    values: tuple[NameValue, ...]
    """Those that open, the one to be shown first; empty: nothing is there."""

    @property
    def sequence(self) -> int:
        """Of all of them; 0: nothing is there."""
        return self.records.sequence

    def expiry(self, value: NameValue, reader: NameReader) -> int:
        """When the last record of this value ends, seconds since 1970-01-01 UTC."""
        return max(signed.record.expiry for signed in self.of(value, reader))

    def of(self, value: NameValue, reader: NameReader) -> list[Signed]:
        """The records of this value."""
        return [signed for signed in self.records.newest if _opened(reader, signed) == value]

    def sight(self, reader: NameReader) -> Sight:
        """What is remembered of them. Only with a value."""
        shown = self.values[0]
        last = max(self.expiry(value, reader) for value in self.values)
        return Sight(self.sequence, shown.number, shown.hash, last)


@dataclass(frozen=True, slots=True)
class Shown:
    """A version of a name, as it is shown to a person."""

    number: int
    """Which one."""
    value: NameValue | None
    """None: nobody has it, or what they have is not what the version after it names."""
    sequence: int
    """Of its record."""
    expiry: int
    """When nodes may forget it, seconds since 1970-01-01 UTC; 0 without a value."""
    forks: tuple[NameValue, ...]
    """Other versions of the same number that the name's key signed: two machines at once, or a stolen secret."""
    verified: bool
    """Whether the versions after it, up to the newest, name it as the one before."""
    replaced: bool = False
    """Whether this home saw another version under the same sequence before, which nobody shows now."""

    @property
    def link(self) -> Link:
        """What it leads to. Only with a value."""
        assert self.value is not None
        return Link(LinkKind(self.value.kind), SegmentId(self.value.root), self.value.key)


async def resolve(client: Client, reader: NameReader, seen: Seen) -> Shown:
    """The newest version of a name, which is remembered as seen.

    Raises:
        NotFoundError: Nobody has it, it has expired, or all there is is older than what this home has seen.
        IntegrityFailure: Its records do not open with this read key.
        NetworkError: No node near it answers.
        MachineError: What this home has seen cannot be read or noted.
    """
    name = name_id(reader.key)
    sight = await client.world.blocking(seen.get, name)
    copies = await copies_of(client, reader, HEAD)
    now = client.world.clock.wall()
    binding = sight.binds(now)
    if not copies.values or (binding and copies.sequence < sight.sequence):
        raise _not_found(copies.records, sight, binding)
    value, *others = copies.values
    hashes = [one.hash for one in copies.values]
    await client.world.blocking(seen.note, name, copies.sight(reader), now)
    return Shown(
        number=value.number,
        value=value,
        sequence=copies.sequence,
        expiry=copies.expiry(value, reader),
        forks=tuple(others),
        verified=True,
        replaced=binding and copies.sequence == sight.sequence and sight.hash not in hashes,
    )


async def copies_of(client: Client, reader: NameReader, salt: bytes) -> Copies:
    """What the network has under a salt: HEAD, or that of an archived version.

    Raises:
        IntegrityFailure: There are records, and none of them opens.
        NetworkError: No node answers.
    """
    records = await client.dht.get_records(name_id(reader.key, salt))
    if not records.nodes and not records.holders:
        raise NetworkError("no node near the name answers", hint="is this machine online? name other nodes: --join")
    opened = [_opened(reader, signed) for signed in records.newest]
    values = dict.fromkeys(value for value in opened if value is not None)  # each once, in the order of fork_rank
    if records.newest and not values:
        raise IntegrityFailure(
            "the name's newest record does not open with this link",
            hint="the link's read key is wrong, or the name's owner publishes under another one",
        )
    return Copies(records, tuple(values))


def _opened(reader: NameReader, signed: Signed) -> NameValue | None:
    try:
        return reader.open(signed.record)
    except (IntegrityError, RemoteProtocolError):
        return None


def _not_found(records: NameRecords, sight: Sight, binding: bool) -> NotFoundError:
    if records.sequence:
        return NotFoundError(
            "the network shows an older version of this name than this machine has seen: "
            "nodes may be holding back the newest",
            hint="try again later, or join by other nodes: --join",
        )
    if records.expired:
        date = datetime.fromtimestamp(min(records.expired, 2**37), UTC).strftime("%Y-%m-%d")
        return NotFoundError(f"the name expired on {date}", hint="its owner has to publish again")
    if sight.sequence:
        return NotFoundError(
            f"nobody has this name any more; this machine saw version {sight.number} of it",
            hint="those who keep it cannot be reached: try again later"
            if binding
            else "it has expired: its owner has to publish again",
        )
    return NotFoundError(
        "nobody has this name", hint="nothing was published under it yet, or it has expired; is it this network?"
    )


async def history(client: Client, reader: NameReader, newest: Shown) -> AsyncGenerator[Shown]:
    """All versions from the newest down to the first, as far as there are copies. Use with aclosing().

    Each is compared with what the version after it names; what does not fit is shown as a fork. Ends after MAX_GAP
    versions that nobody has.

    Raises:
        NetworkError: No node answers.
    """
    yield newest
    expected = None if newest.value is None else newest.value.previous
    gap = 0
    for above in range(newest.number, 1, -AHEAD):
        numbers = range(above - 1, max(0, above - 1 - AHEAD), -1)
        found = await _archived(client, reader, numbers)
        for number in numbers:
            shown = _link_up(found[number], reader, number, expected)
            yield shown
            expected = None if shown.value is None or not shown.verified else shown.value.previous
            gap = 0 if shown.value is not None or shown.forks else gap + 1
            if gap >= MAX_GAP:
                return


async def _archived(client: Client, reader: NameReader, numbers: range) -> dict[int, Copies | None]:
    """The archived copies of these versions; None for one whose records do not open."""
    found: dict[int, Copies | None] = {}

    async def ask(number: int) -> None:
        try:
            found[number] = await copies_of(client, reader, archive_salt(number))
        except IntegrityFailure:
            found[number] = None
        except NetworkError as exc:
            failures.append(exc)

    failures: list[NetworkError] = []
    async with trio.open_nursery() as nursery:
        for number in numbers:
            nursery.start_soon(ask, number)
    if failures:
        raise failures[0]
    return found


def _link_up(copies: Copies | None, reader: NameReader, number: int, expected: bytes | None) -> Shown:
    """An archived version: the copy that fits the chain; without a chain, the one that everybody shows."""
    values = () if copies is None else copies.values
    fitting = [value for value in values if expected is None or value.hash == expected]
    value = fitting[0] if fitting else None
    return Shown(
        number=number,
        value=value,
        sequence=0 if copies is None else copies.sequence,
        expiry=0 if copies is None or value is None else copies.expiry(value, reader),
        forks=tuple(other for other in values if other != value),
        verified=value is not None and expected is not None,
    )


async def read_version(client: Client, reader: NameReader, seen: Seen, number: int) -> Shown:
    """One version by its number, compared with all that came after it if their copies are there, and at most MAX_WALK.

    Raises:
        NotFoundError: There is no such version, or nobody has it any more; or as :func:`resolve` says.
        IntegrityFailure, NetworkError, MachineError: As :func:`resolve` says.
    """
    newest = await resolve(client, reader, seen)
    if not 1 <= number <= newest.number:
        raise NotFoundError(f"the name has no version {number}", hint=f"its newest is version {newest.number}")
    if number == newest.number:
        return newest
    found = await _archived(client, reader, range(number, number - 1, -1))
    shown = _link_up(found[number], reader, number, None)
    if shown.value is not None and newest.number - number <= MAX_WALK:
        async with aclosing(history(client, reader, newest)) as versions:
            async for walked in versions:
                if walked.number == number:
                    shown = walked
                    break
    if shown.value is None:
        raise NotFoundError(
            f"nobody has version {number} of the name any more",
            hint="`archipel name log` shows which there are" if not shown.forks else "there is one that does not fit",
        )
    return shown


__all__ = ["Copies", "Shown", "copies_of", "history", "read_version", "resolve"]
