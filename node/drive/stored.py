"""What became of a deposit, and of what the drive says of it."""

from dataclasses import dataclass, replace
from typing import Self

from node.errors import NodeError
from node.names.writing import Written
from node.publishing.publish import Published
from protocol.ids import Address
from protocol.links import NameLink


@dataclass(frozen=True, slots=True)
class Recorded:
    """Whether the drive says what was done."""

    path: bytes | None
    """Where it is shown; None: this machine could not even remember it."""
    why: NodeError | None
    """Why the network's drive does not say so yet."""
    begun: bool = False
    """Whether a new drive was begun with it, since none was found."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A deposit that is stored whole."""

    published: Published
    recorded: Recorded | None = None
    """None: there is no account, so no drive."""
    name: NameLink | None = None
    written: Written | None = None
    """The version of the name."""
    failure: NodeError | None = None
    """Why there is none: the deposit is stored all the same."""

    def with_hints(self, hints: tuple[Address, ...]) -> Self:
        """With addresses of nodes in its links."""
        published = replace(self.published, link=replace(self.published.link, hints=hints))
        return replace(self, published=published, name=self.name and replace(self.name, hints=hints))
