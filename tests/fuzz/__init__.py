"""Hostile input for every parser: one target each, driven by scripts/fuzz and, for a moment, by the suite.

target.py says what a target is, wire.py, channels.py, storage.py and files.py hold them by what they parse,
targets.py lists them, mutation.py changes msgpack values rather than bytes, corpus.py finds what to begin with.
"""
