"""What anybody with a link is shown about the leases of a deposit: grouped, verified, and never for long."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.cli.lease import shown_fields, shown_text
from node.client import Client
from node.keeping import leases as module
from node.keeping.holders import find_holders
from node.keeping.leases import GIVE_UP_SECONDS, Shown, show_leases
from node.net.peers import Peers
from node.progress import Progress
from node.publishing.publish import Options
from protocol.accountkey import format_account_key
from protocol.identity import Identity
from protocol.ids import SegmentId, node_id
from protocol.leases import Lease, Policy, open_lease, sign_lease
from protocol.links import Link
from protocol.messages import LEASES_PAGE, Leases, LeasesReply, PutLease
from protocol.records import ProviderRecord
from tests.network.archipelago import NETWORK, User, archipelago
from tests.network.bending import Server, bendable
from tests.network.healing import add_lease, asker, holders_of, other_lease
from tests.node.builders import ALICE, BOB

MIB = 1 << 20
ANYWHERE = Policy(spread_countries=False, avoid=("DE", "FR"))


async def show(user: User, link: Link) -> Shown:
    return await show_leases(user.client, link, Progress())


async def test_a_deposit_of_many_segments_is_a_few_lines(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 8) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        options = Options(policy=Policy(avoid=("DE",)))
        link = (await alice.publish(islands.file("film", 40 * MIB), options=options)).link
        (row,) = alice.journal.deposits(link.root)
        progress = Progress()
        shown = await show_leases(bob.client, link.verify_link(), progress)
        assert progress.done == progress.total
        assert progress.done > 40 * MIB, "the root as well"
        ((terms, spoken),) = shown.leases
        assert (terms.depositor, terms.deposit) == (alice.depositor.identity.key, row.deposit)
        assert (terms.deleted, terms.expiry, terms.policy) == (False, row.expiry, options.policy)
        holders = {node.identity.key for node in islands.nodes if node.chunks()}
        assert (spoken.segments, spoken.holders) == (4, holders)
        assert spoken.answers == spoken.asked == shown.answers > 4
        assert (shown.silent, shown.unanswered, shown.disagreements) == (0, [], [])
        key, account, line, counted = shown_text(shown).splitlines()
        assert key == f"depositor {terms.depositor.hex()}"
        assert account == f"  as an account {format_account_key(terms.depositor)}"
        assert line.startswith(f"  deposit {row.deposit.hex()}: 4 segments, 41.9 MB; until 20")
        assert "spread over countries, but not DE; so say" in line
        assert counted == f"4 segments: {shown.answers} answers of holders"


async def test_who_disagrees_is_told(autojump_clock: MockClock, base: Path) -> None:
    async with archipelago(base, 6) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        link = (await alice.publish(islands.file("film", MIB))).link
        (film,) = set(islands.holders()) - {link.root.hex()}
        nodes = list({node.node_id: node for node in holders_of(islands, film)}.values())
        await add_lease(islands, film, BOB, ANYWHERE)
        newer = other_lease(islands, film, BOB, sequence=2, policy=ANYWHERE)
        gone = other_lease(islands, film, ALICE, deposit=b"g" * 16, sequence=3, deleted=True)
        async with asker(islands, BOB) as peers:
            await peers.request(nodes[0].contact, PutLease(lease=newer))
            await peers.request(nodes[1].contact, PutLease(lease=gone))
        shown = await show(bob, link)
        assert shown.leases[0][0].depositor == alice.depositor.identity.key, "on most bytes"
        told = {terms.depositor: (terms, spoken) for terms, spoken in shown.leases}
        assert (told[BOB.key][0].policy, told[BOB.key][1].answers, told[BOB.key][1].segments) == (ANYWHERE, 1, 1)
        assert told[ALICE.key][0].deleted
        count = len(nodes)
        found = {item.depositor: (item.newest, item.older, item.without) for item in shown.disagreements}
        assert found == {BOB.key: (1, count - 1, 0), ALICE.key: (1, 0, count - 1)}
        assert {item.segment.hex() for item in shown.disagreements} == {film}
        text = shown_text(shown)
        assert "in whatever countries, but not DE or FR" in text
        assert "; DELETED, remembered until " in text
        assert f"segment {film}: of deposit {b'dddd'.hex()} the newest lease at 1 holder, an older one at 5" in text
        fields = shown_fields(shown)
        assert fields["disagree"] == [
            {
                "segment": film, "depositor": item.depositor.hex(), "deposit": item.deposit.hex(),
                "newest": item.newest, "older": item.older, "without": item.without,
            }
            for item in shown.disagreements
        ]  # fmt: skip


def _changed(**changes: object) -> Callable[[Lease], list[bytes]]:
    return lambda lease: [sign_lease(BOB, replace(lease, depositor=BOB.key, **changes))]  # type: ignore[arg-type]


def _flipped(lease: Lease) -> list[bytes]:
    signed = sign_lease(BOB, replace(lease, depositor=BOB.key))
    return [signed[:-1] + bytes([signed[-1] ^ 1])]


@pytest.mark.parametrize(
    "forged",
    [
        _flipped,
        _changed(segment=SegmentId(b"x" * 32)),
        _changed(size=17),
        _changed(network=b"n" * 32),
        lambda _: [b"x"],
    ],
    ids=["signature", "segment", "size", "network", "garbage"],
)
async def test_a_forged_lease_spoils_all_that_its_holder_says(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, forged: Callable[[Lease], list[bytes]]
) -> None:
    insides = bendable(monkeypatch)
    async with archipelago(base, 6) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        link = (await alice.publish(islands.file("film", MIB))).link
        (film,) = set(islands.holders()) - {link.root.hex()}
        liar = holders_of(islands, film)[0]

        def lie(_: Server, asked: Leases, reply: LeasesReply) -> LeasesReply:
            if asked.segment.hex() != film:
                return reply
            lies = forged(open_lease(reply.leases[0], NETWORK.id))
            return replace(reply, leases=(*reply.leases, *lies))

        insides[liar.node_id].server.on_leases = lie
        shown = await show(bob, link)
        ((terms, spoken),) = shown.leases
        assert terms.depositor == alice.depositor.identity.key
        assert spoken.answers == spoken.asked == shown.answers
        assert shown.silent == 1
        assert shown_text(shown).splitlines()[-1].endswith(", 1 gave none")


async def test_who_makes_leases_up_is_one_against_many_and_fills_no_memory(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insides = bendable(monkeypatch)
    monkeypatch.setattr(module, "_REMEMBERED", 30)
    monkeypatch.setattr(module, "MOST", 20)
    async with archipelago(base, 6) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        link = (await alice.publish(islands.file("film", MIB))).link
        (film,) = set(islands.holders()) - {link.root.hex()}
        liar = holders_of(islands, film)[0]
        strangers = [Identity(bytes([number]) * 32) for number in range(1, 65)]

        def lie(_: Server, asked: Leases, reply: LeasesReply) -> LeasesReply:
            lease = open_lease((insides[liar.node_id].store.leases(asked.segment))[0], NETWORK.id)
            made_up = [sign_lease(who, replace(lease, depositor=who.key)) for who in strangers]
            page = tuple(made_up[asked.skip : asked.skip + LEASES_PAGE])
            return LeasesReply(leases=page, more=len(page) == LEASES_PAGE)

        insides[liar.node_id].server.on_leases = lie
        shown = await show(bob, link)
        honest = next(spoken for terms, spoken in shown.leases if terms.depositor == alice.depositor.identity.key)
        assert honest.answers > 4 * max(spoken.answers for _, spoken in shown.leases if spoken is not honest)
        assert len(shown.leases) == len(shown.disagreements) == 20
        assert shown.more_leases > 0 < shown.more_disagreements
        assert "which fewer holders know" in shown_text(shown)


@pytest.mark.parametrize("all_of_them", [False, True])
async def test_it_ends_however_silent_the_holders_are(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch, all_of_them: bool
) -> None:
    """They still show the root; asked about leases they say nothing."""
    request = Peers.request
    silent = set()

    async def asked(peers: Peers, contact: object, message: object, **rest: object) -> object:
        if isinstance(message, Leases) and node_id(contact.key) in silent:  # type: ignore[attr-defined]
            await trio.sleep_forever()
        return await request(peers, contact, message, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Peers, "request", asked)
    async with archipelago(base, 6) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        link = (await alice.publish(islands.file("film", 60 * MIB))).link
        silent |= {node.node_id for node in (islands.nodes if all_of_them else islands.nodes[:2])}
        began = trio.current_time()
        shown = await show(bob, link)
        took = trio.current_time() - began
        assert took < (GIVE_UP_SECONDS + 15 if all_of_them else 15)
        assert len(shown.unanswered) == (shown.segments if all_of_them else 0)
        assert shown.silent > 0
        assert [terms.depositor for terms, _ in shown.leases] == [alice.depositor.identity.key] * (not all_of_them)


async def test_it_ends_when_holders_cannot_even_be_looked_up(
    autojump_clock: MockClock, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(client: Client, segment: SegmentId) -> list[ProviderRecord]:
        if segment == link.root:
            return await find_holders(client, segment)
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(module, "find_holders", never)
    async with archipelago(base, 6) as islands, islands.user("alice") as alice, islands.user("bob") as bob:
        link = (await alice.publish(islands.file("film", 20 * MIB))).link
        began = trio.current_time()
        shown = await show(bob, link)
        assert GIVE_UP_SECONDS <= trio.current_time() - began < GIVE_UP_SECONDS + 5
        assert (len(shown.unanswered), len(shown.leases)) == (shown.segments - 1, 1)
