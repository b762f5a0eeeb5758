"""What the answer of a receiver means.

The specification of OTLP/HTTP names what is to be repeated: 429, 502, 503 and 504. It wants clients
to drop records after any other error; fastlog drops them only after 400 and 413, which are about
the records, and waits otherwise.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

from fastlog.sinks.otlp.exchange import Answer
from fastlog.sinks.otlp.messages import DecodeError, json_format, service

MAX_WAIT: Final = 300.0
"""Seconds that a receiver may ask to wait."""
_TOO_LARGE: Final = 413
_UNFIT: Final = (400, _TOO_LARGE)
"""What says that a request is wrong, and so one of its records."""
_TEXT: Final = 300
"""Characters of a receiver's text that are kept."""
_HINTS: Final = {
    401: "check the credentials in headers_file or headers_env",
    403: "check the credentials in headers_file or headers_env",
    404: "check the path of the URL",
    405: "check the path of the URL",
    415: "it takes no protobuf",
}


class Accepted(NamedTuple):
    """The receiver has the records, but for some that it rejected for good."""

    rejected: int = 0
    message: str = ""


class Rejected(NamedTuple):
    """The receiver does not take this request, however often it gets it."""

    reason: str
    is_too_large: bool


class Waits(NamedTuple):
    """The receiver does not have the records now."""

    reason: str
    seconds: float | None = None
    """For how long the receiver asks to wait."""


def meaning(answer: Answer, now: float) -> Accepted | Rejected | Waits:
    """Return what an answer means.

    Args:
        now: The time, for a `Retry-After` that is a date; the receiver's own is used if it says it.
    """
    if 200 <= answer.status < 300:
        return _success(answer)
    reason = f"HTTP {answer.status}"
    if 300 <= answer.status < 400:
        where = answer.headers.get("location", "")
        where = f" to {printable(where.partition('?')[0])}" if where else ""
        return Waits(f"{reason}: it redirects{where}, which is not followed; correct the URL")
    if text := _error_message(answer):
        reason = f"{reason}: {text}"
    if answer.status in _UNFIT:
        return Rejected(reason, answer.status == _TOO_LARGE)
    if hint := _HINTS.get(answer.status):
        reason = f"{reason}; {hint}"
    return Waits(reason, _retry_after(answer, now))


def _success(answer: Answer) -> Accepted | Waits:
    """Read a response. One that is none is no success: a proxy may have answered.

    An empty body is a whole response: all fields have their defaults.
    """
    what = f"HTTP {answer.status}"
    if not answer.body:
        return Accepted()
    response = service.ExportLogsServiceResponse()
    try:
        if answer.content_type == "application/json":
            json_format.Parse(answer.body, response, ignore_unknown_fields=True)
        elif answer.content_type in ("application/x-protobuf", "application/protobuf", ""):
            response.ParseFromString(answer.body)
        else:
            kind = printable(answer.content_type)
            return Waits(f"{what}, but {kind} is no answer of an OTLP receiver; check the URL")
    except (DecodeError, json_format.ParseError, ValueError, RecursionError):
        return Waits(f"{what}, but the answer is no response of OTLP; check the URL")
    partial = response.partial_success
    return Accepted(max(0, partial.rejected_log_records), printable(partial.error_message))


def _error_message(answer: Answer) -> str:
    """Return the text of an error: of a `google.rpc.Status`, or the first line of a plain one."""
    if answer.content_type in ("application/x-protobuf", "application/protobuf"):
        # Fields 1 and 2 of a `Status` are a number and a text, as here.
        status: Any = service.ExportLogsPartialSuccess()
        try:
            status.ParseFromString(answer.body)
        except DecodeError:
            return ""
        return printable(status.error_message)
    if "html" in answer.content_type:
        return "a page of HTML"
    return printable(answer.body.decode("utf-8", "replace").strip().partition("\n")[0])


def _retry_after(answer: Answer, now: float) -> float | None:
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        return min(MAX_WAIT, float(text[:9]))
    try:
        until = parsedate_to_datetime(text).timestamp()
        if date := answer.headers.get("date"):
            now = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return max(0.0, min(MAX_WAIT, until - now))


def printable(text: str) -> str:
    """Return a receiver's text in a form that is safe to log: short, and in one line."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text[:_TEXT].split()))
