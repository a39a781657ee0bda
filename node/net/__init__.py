"""Sockets and connections: where they come from, the channel on them, the pool of them."""
