"""The course of a lookup, without any network (docs/spec/dht.md section 5)."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dht.contact import Contact
from dht.routing import K
from dht.search import ALPHA, MAX_ASKED, Found, Search
from protocol.ids import Address, NodeId, PublicKey

OWN = NodeId(bytes(32))
TARGET = bytes(32)


def contacts(count: int, seed: int = 1) -> list[Contact]:
    """Nearest to TARGET first."""
    random = Random(seed)
    made = [Contact(PublicKey(random.randbytes(32)), Address("10.0.0.1", 1 + number)) for number in range(count)]
    return sorted(made, key=lambda contact: contact.node_id)


def found(contact: Contact) -> Found:
    return Found(contact, bytes(8), 0.01, 0.0)


def asked(search: Search) -> list[Contact]:
    """Ask as long as somebody is to be asked."""
    result = []
    while (contact := search.next()) is not None:
        search.asked(contact)
        result.append(contact)
    return result


def test_the_nearest_twenty_are_asked_nearest_first() -> None:
    search, peers = Search(TARGET, OWN), contacts(30)
    search.offer(reversed(peers))
    assert asked(search) == peers[:K]
    assert search.waiting() == K > ALPHA
    assert not search.done()
    for contact in peers[:K]:
        search.answered(found(contact))
    assert search.done()
    assert [answer.contact for answer in search.found()] == peers[:K]


def test_an_empty_search_is_over() -> None:
    search = Search(TARGET, OWN)
    assert search.done()
    assert search.found() == []


def test_we_do_not_ask_ourselves() -> None:
    peer = contacts(1)[0]
    search = Search(TARGET, peer.node_id)
    search.offer([peer])
    assert search.next() is None


def test_a_slow_one_frees_its_place_but_is_waited_for() -> None:
    search, peers = Search(TARGET, OWN), contacts(K + 1)
    search.offer(peers)
    asked(search)
    search.slow(peers[0])
    assert asked(search) == [peers[K]]
    for contact in peers[1:]:
        search.answered(found(contact))
    assert not search.done()
    search.answered(found(peers[0]))
    search.slow(peers[0])  # a late word changes nothing
    search.failed(peers[0])
    assert search.done()
    assert [answer.contact for answer in search.found()] == peers[:K]


def test_a_failed_one_is_replaced() -> None:
    search, peers = Search(TARGET, OWN), contacts(K + 5)
    search.offer(peers)
    asked(search)
    for contact in peers[:3]:
        search.failed(contact)
    assert asked(search) == peers[K : K + 3]


def test_a_nearer_one_learnt_late_is_still_asked() -> None:
    search, peers = Search(TARGET, OWN), contacts(K + 1)
    search.offer(peers[1:])
    for contact in asked(search):
        search.answered(found(contact))
    search.offer(peers)
    assert asked(search) == [peers[0]]


def test_every_address_of_a_key_is_tried() -> None:
    search, peer = Search(TARGET, OWN), contacts(1)[0]
    others = [Contact(peer.key, Address("10.0.0.9", port)) for port in (1, 2)]
    search.offer([peer, *others, peer])
    tried = []
    while not search.done():
        tried += asked(search)
        search.failed(tried[-1])
    assert tried == [peer, others[1], others[0]]
    assert search.found() == []


def test_one_that_stores_nothing_is_not_tried_elsewhere() -> None:
    search, peer = Search(TARGET, OWN), contacts(1)[0]
    search.offer([peer, Contact(peer.key, Address("10.0.0.9", 1))])
    asked(search)
    search.failed(peer, final=True)
    assert search.done()


@given(st.integers(0, 2**16), st.lists(st.sampled_from("asf"), max_size=400))
def test_every_course_ends(seed: int, course: list[str]) -> None:
    """Whatever is answered, slow or failed, and whoever is named on the way, a bounded number is asked."""
    search, random = Search(TARGET, OWN), Random(seed)
    search.offer(contacts(K, seed))
    flying: list[Contact] = []
    count = 0
    while not search.done():
        assert len(flying) + (search.next() is not None) > 0, "nobody to wait for, and not done"
        flying += (new := asked(search))
        count += len(new)
        contact = flying.pop(random.randrange(len(flying)))
        match course.pop() if course else "f":
            case "a":
                search.answered(found(contact))
                search.offer(contacts(5, random.getrandbits(32)))
            case "s":
                search.slow(contact)
                flying.append(contact)
            case _:
                search.failed(contact)
    assert count <= MAX_ASKED
    assert len(search.found()) <= K
