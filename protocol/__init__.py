"""What two Archipel implementations must agree on, byte for byte (docs/spec).

No I/O, no clock, no randomness, no logging: bytes and numbers in, bytes and typed errors out.
"""
