"""What went wrong with a segment: from what its holders did to one error that says so."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from node.errors import IntegrityFailure, NotFoundError
from node.net.peers import PeerRefused
from protocol.errors import ProtocolError
from protocol.records import ProviderRecord


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered as it should be."""

    holder: ProviderRecord
    reason: str
    lied: bool = False
    """Whether what came is not what was asked for."""

    @classmethod
    def of(cls, holder: ProviderRecord, exc: Exception) -> "Failure":
        """What an error of a request says."""
        reason = exc.code.name.lower().replace("_", " ") if isinstance(exc, PeerRefused) else str(exc)
        return cls(holder, reason, isinstance(exc, ProtocolError))


def unavailable(
    have: int, need: int | None, failures: Sequence[Failure], silent: Sequence[ProviderRecord]
) -> NotFoundError | IntegrityFailure:
    """Why a segment that somebody announced cannot be had.

    Args:
        have: Chunks that came.
        need: Chunks it takes; None: not known.
        failures: In the order in which they happened.
        silent: Holders that were asked and had not answered in the end.
    """
    gone = failures and all(failure.reason == "not found" for failure in failures)
    if not have and gone and not silent:
        return NotFoundError("none of its holders has it any more", hint="it has expired or been deleted")
    latest = [Failure(holder, "stopped answering") for holder in silent]
    message = f"have {have} of {need or '?'} chunks of a segment ({_reasons([*latest, *failures])})"
    lies = {failure.holder.index for failure in failures if failure.lied}
    if lies and have + len(lies) >= (need or 1):
        return IntegrityFailure(message, hint="some holders send wrong bytes: try later, or ask the publisher")
    return NotFoundError(message, hint="try again later: holders may come back; archipel check counts them")


def _reasons(failures: Sequence[Failure]) -> str:
    """``DE: 1 wrong hash; FR: 3 connection refused``: of each holder the last."""
    latest = {failure.holder.key: failure for failure in failures}
    counted: dict[str, Counter[str]] = {}
    for failure in latest.values():
        counted.setdefault(failure.holder.country or "unknown country", Counter())[failure.reason] += 1
    return "; ".join(_tally(country, counted[country]) for country in sorted(counted)) or "nobody else has it"


def _tally(country: str, reasons: Counter[str]) -> str:
    told: Sequence[str] = [f"{count} {reason}" for reason, count in reasons.most_common(4)]
    return f"{country}: {', '.join(told)}"
