"""One byte range of a body, as HTTP asks for it (RFC 9110 section 14); and what a client has already (section 13)."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from starlette.requests import Request

from node.web.http.answers import HttpError

_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE | re.ASCII)


def asked_range(request: Request, size: int, tag: str, changed: datetime | None = None) -> tuple[int, int] | None:
    """The bytes [start, stop) that are asked for; None: all.

    Several ranges, and what is none, count for nothing, as RFC 9110 has it; and so does the range of somebody who has
    the beginning of another body (`If-Range`).

    Args:
        request: Maybe with a range.
        size: Bytes of the body.
        tag: Its entity tag, quoted.
        changed: When it was changed last, in whole seconds; None: that is not told.

    Raises:
        HttpError: No byte of it is in the range.
    """
    condition = request.headers.get("if-range", tag)
    if condition != tag and (changed is None or _date(condition) != changed):
        return None
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise HttpError(416, f"it has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return start, stop


def has_it(request: Request, tag: str, changed: datetime | None = None, *, exists: bool = True) -> bool:
    """Whether the client says that it has the body already (`If-None-Match`, else `If-Modified-Since`).

    Args:
        request: What it says.
        tag: Of the body.
        changed: When the body was made; None: not known.
        exists: Whether it is known that there is one: ``*`` is any that there is.
    """
    tags = request.headers.get("if-none-match")
    if tags is None:
        since = _date(request.headers.get("if-modified-since", ""))
        return changed is not None and since is not None and changed <= since
    told = [item.strip() for item in tags.split(",")]
    return (exists and "*" in told) or tag in told or f"W/{tag}" in told


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # also a year of many digits
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
