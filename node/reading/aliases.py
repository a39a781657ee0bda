"""Names that stand for links where those would be told: in paths, and so in error messages, logs and caches."""

import hashlib
import threading
from collections import OrderedDict

from protocol.links import AnyLink, link_payload

MOST_KNOWN = 4096
"""Links that are remembered; the one that was named longest ago is forgotten."""

_PREFIX = "link-"
_PERSON = b"archipel alias"


class Aliases:
    """Links by their aliases. Any thread may call."""

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._links: OrderedDict[str, AnyLink] = OrderedDict()

    def name(self, link: AnyLink) -> str:
        """The alias of a link, which is remembered from now on: the same in every process, and it opens nothing."""
        alias = _PREFIX + hashlib.blake2b(link_payload(link), digest_size=12, person=_PERSON).hexdigest()
        with self._lock:
            self._links[alias] = link
            self._links.move_to_end(alias)
            while len(self._links) > self._most:
                self._links.popitem(last=False)
        return alias

    def link(self, alias: str) -> AnyLink | None:
        """The link that an alias stands for; None: nobody has named it here, or too long ago."""
        with self._lock:
            return self._links.get(alias)

    def known(self) -> list[AnyLink]:
        """All of them, the one that was named last in the end."""
        with self._lock:
            return list(self._links.values())


def is_alias(text: str) -> bool:
    """Whether a word is an alias; no link begins so."""
    return text.startswith(_PREFIX)
