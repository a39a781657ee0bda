"""What ``scripts/bench`` measures of storage, one file for each kind of work.

``__main__`` chooses and runs; ``table`` shows; ``machine`` is what Linux tells of processes and memory; ``processes``
runs commands; ``localnet`` is the local network under test; ``raw`` the limit it is held against. ``idle``, ``large``,
``small`` and ``frozen`` are what is measured; ``peers`` is what it is measured beside.
"""
