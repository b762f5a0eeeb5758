"""Trace and span of a record, under the names that Python's instrumentations give them."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

_HEX: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)", re.ASCII)
_DECIMAL: Final = re.compile(r"[0-9]{1,20}", re.ASCII)
_TRACE, _SPAN = 16, 8
"""Bytes of a trace id and of a span id."""
SAMPLED: Final = 1


class TraceContext(NamedTuple):
    """A record's place in a trace."""

    trace_id: bytes = b""
    """16 bytes, or none."""
    span_id: bytes = b""
    """8 bytes, or none."""
    flags: int = 0


NO_TRACE: Final = TraceContext()
_NAMES: Final = frozenset(
    (
        *("otelTraceID", "otelSpanID", "otelTraceSampled", "dd.trace_id", "dd.span_id"),
        *("trace_id", "span_id", "trace_flags"),
    )
)


def take_trace_context(extras: dict[str, Any]) -> TraceContext:
    """Return the trace that a record belongs to, and remove what says so from its extras.

    The names are those of OpenTelemetry's instrumentation of `logging` (`otelTraceID`, …), of
    ddtrace (`dd.trace_id`, …), and `trace_id`, `span_id` and `trace_flags`. Of several, the first
    that is valid is used. Ids that are zero mean that there is no trace, and are removed. A value
    that is no id stays an extra.
    """
    if _NAMES.isdisjoint(extras):
        return NO_TRACE
    trace = (
        _take(extras, "otelTraceID", _TRACE, is_hex=True)
        or _take(extras, "dd.trace_id", _TRACE, is_hex=False)
        or _take(extras, "trace_id", _TRACE, is_hex=True)
    )
    span = (
        _take(extras, "otelSpanID", _SPAN, is_hex=True)
        or _take(extras, "dd.span_id", _SPAN, is_hex=False)
        or _take(extras, "span_id", _SPAN, is_hex=True)
    )
    return TraceContext(trace, span, _take_flags(extras, bool(trace)))


def _take(extras: dict[str, Any], name: str, size: int, *, is_hex: bool) -> bytes:
    """Return an id, and remove it from the extras; b"" where there is none."""
    value = extras.get(name)
    if value is None:
        return b""
    found = _parse_hex(value, size) if is_hex else _parse_datadog(value, size)
    if found is None:
        return b""
    del extras[name]
    return found if any(found) else b""


def _parse_hex(value: object, size: int) -> bytes | None:
    if isinstance(value, str) and (match := _HEX.fullmatch(value)) is not None:
        digits = match[1]
        if len(digits) == 2 * size or not digits.strip("0"):
            return bytes.fromhex(digits[: 2 * size].zfill(2 * size))
    return bytes(size) if value == 0 and type(value) is int else None


def _parse_datadog(value: object, size: int) -> bytes | None:
    """Read an id of ddtrace: a decimal number of 64 bits, or 32 hexadecimal digits."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str):
        return None
    if _DECIMAL.fullmatch(text):
        number = int(text)
        return number.to_bytes(size, "big") if number < 1 << 64 else None
    return _parse_hex(text, size)


def _take_flags(extras: dict[str, Any], has_trace: bool) -> int:
    sampled, flags = extras.get("otelTraceSampled"), extras.get("trace_flags")
    if isinstance(sampled, bool):
        del extras["otelTraceSampled"]
        return SAMPLED if sampled and has_trace else 0
    if isinstance(flags, str) and re.fullmatch(r"[0-9a-fA-F]{2}", flags, re.ASCII):
        flags = int(flags, 16)
    if type(flags) is int and 0 <= flags <= 0xFF and has_trace:
        del extras["trace_flags"]
        return flags
    return 0
