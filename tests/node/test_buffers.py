"""Memory that is used again."""

from contextlib import closing

from node.buffers import Buffers, Loan


def test_what_was_given_back_is_taken_again() -> None:
    buffers = Buffers(100)
    room = buffers.take(40)
    assert len(room) == 40
    memory = room.obj
    buffers.give(room)
    again = buffers.take(30)
    assert again.obj is memory
    assert len(again) == 30
    assert buffers.take(40).obj is not memory


def test_a_long_buffer_is_not_spent_on_a_little() -> None:
    buffers = Buffers(100)
    room = buffers.take(40)
    buffers.give(room)
    assert buffers.take(20).obj is not room.obj
    assert buffers.take(41).obj is not room.obj
    assert buffers.take(21).obj is room.obj


def test_no_more_is_kept_than_was_said() -> None:
    buffers = Buffers(100)
    rooms = [buffers.take(40) for _ in range(3)]
    buffers.give(*rooms)
    kept = {id(room.obj) for room in rooms[1:]}
    taken = [buffers.take(40) for _ in range(3)]
    assert [id(room.obj) in kept for room in taken] == [True, True, False]
    large = buffers.take(101)
    buffers.give(large)
    assert buffers.take(101).obj is not large.obj


def test_what_nobody_takes_for_a_while_goes() -> None:
    buffers = Buffers(100)
    room = buffers.take(40)
    buffers.give(room)
    buffers.sweep()
    again = buffers.take(40)
    assert again.obj is room.obj
    buffers.give(again)
    buffers.sweep()
    buffers.sweep()
    assert buffers.take(40).obj is not room.obj


def test_what_was_lent_comes_back_in_the_end() -> None:
    """Once: what its borrower has given back itself, somebody else may have by then."""
    buffers = Buffers(1000)
    with closing(Loan(buffers)) as loan:
        first, kept = loan.take(40), loan.take(100)
        loan.give(first)
        assert buffers.take(40).obj is first.obj
        assert buffers.take(100).obj is not kept.obj
    assert buffers.take(100).obj is kept.obj
    assert buffers.take(40).obj is not first.obj
