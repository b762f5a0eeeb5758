"""The log lines about frames that are no records."""

from __future__ import annotations

from collections.abc import Iterable

from fastlog.decode import Decoded
from fastlog.eventlog import EventLog
from fastlog.record import Rejection, host_of

REASON_CHARACTERS = 300
"""Characters of a reason that are logged."""


def log_rejections(events: EventLog, found: Iterable[Decoded]) -> None:
    """Log the rejections in blocks, but for those of the receiver, which has logged them."""
    for decoded in found:
        for _, notice, by_receiver in decoded.notices:
            if isinstance(notice, Rejection) and not by_receiver:
                text = f"rejected frames of {host_of(notice.peer)}: {notice.reason}"
                events.add("rejected", _one_line(text), notice.count)


def _one_line(text: str) -> str:
    """Return the text in a form that is safe to log: any client may have sent a part of it."""
    return "".join(c if c.isprintable() else "?" for c in text[:REASON_CHARACTERS])
