"""Memory that is used again."""

from node.buffers import Buffers


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
