"""Counting what is done (node/progress.py)."""

from hypothesis import given
from hypothesis import strategies as st

from node.progress import Progress


@given(st.integers(0, 2**24), st.integers(1, 32), st.lists(st.integers(0, 32), max_size=40))
def test_a_part_counts_to_its_size(size: int, chunks: int, steps: list[int]) -> None:
    seen: list[int] = []
    progress = Progress(done=1000, changed=lambda found: seen.append(found.done))
    part = progress.part(size, chunks)
    for step in sorted(min(step, chunks) for step in steps):
        part.confirmed(step, moved=1)
        assert progress.done - 1000 == size * step // chunks
    part.confirmed(chunks)
    assert progress.done == 1000 + size
    assert progress.moved == len(steps)
    assert seen == sorted(seen)
    assert len(seen) == len(steps) + 1


def test_a_note_is_told_once() -> None:
    told: list[int] = []
    progress = Progress(changed=lambda found: told.append(len(found.notes)))
    for text in ("a", "b", "a"):
        progress.note(text)
    assert progress.notes == ["a", "b"]
    assert told == [1, 2]
