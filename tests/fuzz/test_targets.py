"""Every target over its seeds and some hundred mutations of them, so that none rots; scripts/fuzz goes further."""

import random
import tracemalloc

import pytest

from tests.fuzz.mutation import mutate
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

MUTATIONS = {
    "journal": 10,
    "records-file": 20,
    "names-file": 20,
    "contacts": 20,
    "channel": 60,
    "account-phrase": 30,
    "chunk-file": 60,
}
"""Where it is not the usual number: these are slow."""
MAX_BYTES = 8 << 20
"""What any of these inputs, of at most 70 KB, may make a parser and its checks hold at once."""


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_hostile_input(target: Target) -> None:
    rng = random.Random(target.name)
    seeds = list(target.seeds())
    assert seeds
    tracemalloc.start()
    try:
        for seed in seeds:
            assert len(seed) <= target.max_bytes
            target.run(seed)
        for _ in range(MUTATIONS.get(target.name, 200)):
            data = rng.choice(seeds)
            for _ in range(rng.randint(1, 3)):
                data = mutate(data, rng, target.max_bytes)
            target.run(data)
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()
