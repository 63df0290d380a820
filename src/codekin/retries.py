"""When to ask a server again: what it says itself, and how long to wait where it says nothing."""

from __future__ import annotations

import email.utils
import random
from datetime import datetime, timezone

LONGEST_PAUSE = 600.0
"""Seconds that a server may ask for; more is taken for these."""
_LONGEST_WAIT = 60.0


def is_transient(status: int) -> bool:
    """Whether an HTTP status says that the same request may do better later."""
    return status in (408, 409, 425, 429) or status >= 500


def backoff(attempt: int) -> float:
    """Seconds to wait before the attempt of that number, from 1: half a second and ever more, with chance in it."""
    return float(min(_LONGEST_WAIT, 2.0 ** (attempt - 2)) * random.uniform(0.5, 1.0))


def retry_after(header: str) -> float:
    """The seconds that a `Retry-After` header asks for (RFC 9110, section 10.2.3): a number or a date; else 0."""
    try:
        return min(LONGEST_PAUSE, max(0.0, float(header)))
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return 0.0
    # A date in "-0000" has no zone; HTTP's are all in UTC.
    seconds = (at.replace(tzinfo=timezone.utc) - datetime.now(timezone.utc)).total_seconds()
    return min(LONGEST_PAUSE, max(0.0, seconds))
