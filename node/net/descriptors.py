"""How many connections the system lets this process hold.

Sockets and files share one limit. A process that has reached it can neither accept nor open anything: so it takes on
fewer connections from the beginning, and what it has taken on it can serve.
"""

import resource

_RESERVED = 24
"""Descriptors for what is no connection and no chunk: standard streams, the event loop, UDP, databases, locks."""
_LEAST = 4


def room_for(most: int, share: float = 1.0) -> int:
    """``most`` connections, or as many as this share of the descriptors allows.

    Args:
        most: What is wanted when there is no want of descriptors.
        share: Part of all descriptors that are not reserved, above 0 and at most 1.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return most
    return min(most, max(_LEAST, int((limit - _RESERVED) * share)))
