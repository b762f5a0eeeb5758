"""A record as OpenTelemetry's log record, by its data model and semantic conventions."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from fastlog.record import Record
from fastlog.sinks.otlp import exceptions, extras
from fastlog.sinks.otlp.memo import Memo
from fastlog.sinks.otlp.messages import embedded, logs, resource, tag
from fastlog.sinks.otlp.severity import severity_number
from fastlog.sinks.otlp.trace_context import NO_TRACE, take_trace_context

SERVICE: Final = "service.name"
UNKNOWN_SERVICE: Final = "unknown_service"
"""What the conventions want where no name is known."""
_FROM_RECORD: Final = {
    SERVICE: ("otelServiceName", "dd.service", SERVICE),
    "service.namespace": ("service.namespace",),
    "service.version": ("dd.version", "service.version"),
    "deployment.environment.name": ("dd.env", "deployment.environment.name"),
}
"""Attributes of the resource, and the extras that they are taken from, the best one first."""
_TAKEN: Final = tuple((name, extra) for name, found in _FROM_RECORD.items() for extra in found)
_SERVICE_NAMES: Final = frozenset(extra for _, extra in _TAKEN)
NO_SERVICE: Final[tuple[tuple[str, str], ...]] = ()
_ATTRIBUTE: Final = tag(logs.LogRecord, "attributes")
_LATEST: Final = (1 << 64) - 1


class Item(NamedTuple):
    """A record on its way: encoded, with its place in the journal."""

    offset: int
    idx: int
    resource: bytes
    """The `Resource` that it comes from, serialized."""
    scope: str
    """The name of its logger."""
    body: bytes
    """The `LogRecord`, serialized."""
    record: Record | None
    """The record itself, where its traceback is an attribute, so that it can be encoded again."""


class Mapping:
    """Encodes records of one journal.

    Args:
        node: The journal's id in hex.
        attributes: Those of the resource, from the configuration; what a record says of itself
            replaces them.
        max_traceback: Bytes up to which a traceback is an attribute; a longer one goes behind the
            message.
    """

    def __init__(self, node: str, attributes: dict[str, str], max_traceback: int) -> None:
        self._node = node
        self._configured = attributes
        self._max_traceback = max_traceback
        self._resource = Memo(self._make_resource)

    def encode(self, record: Record, *, traceback_in_body: bool = False) -> Item:
        """Return the record in OpenTelemetry's terms, serialized."""
        values = extras.decode(record.extra)
        trace, from_record = NO_TRACE, NO_SERVICE
        if values:
            trace = take_trace_context(values)
            from_record = _take_service(values)
        text = record.exc_text
        is_long = traceback_in_body or (
            text is not None and len(text.encode("utf-8", "replace")) > self._max_traceback
        )
        body = record.message if text is None or not is_long else f"{record.message}\n{text}"
        own = {"log.record.uid": f"{self._node}/{record.offset}/{record.idx}"}
        if text is not None:
            own |= self._exception(text, is_long)
        if record.stack_info is not None:
            own["code.stacktrace"] = record.stack_info
        head = logs.LogRecord(
            time_unix_nano=_nanoseconds(record.created),
            observed_time_unix_nano=_nanoseconds(record.received),
            severity_number=severity_number(record.levelno),  # type: ignore[arg-type]
            severity_text=extras.clean(record.levelname or ""),
            body=extras.any_value(body),
            attributes=[
                *(extras.key_value(name, value) for name, value in own.items()),
                *_extra_attributes(values, own),
            ],
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            flags=trace.flags,
        )
        encoded = (
            head.SerializeToString()
            + _site(
                record.name, record.pathname or record.filename, record.module, record.lineno,
                record.funcName,
            )
            + _process(
                record.process, record.processName, record.thread, record.threadName,
                record.taskName, record.certificate,
            )
        )  # fmt: skip
        has_attribute = text is not None and not is_long
        return Item(
            record.offset,
            record.idx,
            self._resource(record.host, from_record),
            record.name or "",
            encoded,
            record if has_attribute else None,
        )

    def _exception(self, text: str, is_long: bool) -> dict[str, str]:
        kind, message = exceptions.parse(text)
        found = {"exception.type": kind, "exception.message": message}
        if is_long:  # the body has all of it
            found = {
                name: value and _cut(value, self._max_traceback) for name, value in found.items()
            }
        else:
            found["exception.stacktrace"] = text
        return {name: value for name, value in found.items() if value is not None}

    def _make_resource(self, host: str, from_record: tuple[tuple[str, str], ...]) -> bytes:
        attributes = {SERVICE: UNKNOWN_SERVICE, **_host(host), **self._configured}
        attributes |= dict(from_record)
        pairs = [extras.key_value(name, value) for name, value in attributes.items()]
        return bytes(resource.Resource(attributes=pairs).SerializeToString())


def _take_service(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what a record says of its service, and remove it from the extras."""
    if _SERVICE_NAMES.isdisjoint(values):
        return NO_SERVICE
    found: dict[str, str] = {}
    for name, extra in _TAKEN:
        value = values.get(extra)
        if isinstance(value, str):
            del values[extra]
            if value:
                found.setdefault(name, value)
    return tuple(found.items())


def _extra_attributes(values: dict[str, Any], own: dict[str, str]) -> Iterator[Any]:
    """Yield the extras as attributes; one whose name is taken, or empty, gets a prefix.

    The names of attributes are unique in a record.
    """
    for name, value in values.items():
        unique = name
        while (
            not unique or unique in own or unique in _OWN or (unique != name and unique in values)
        ):
            unique = f"extra.{unique}"
        yield extras.key_value(unique, value)


_OWN: Final = frozenset(
    (
        *("code.function.name", "code.file.path", "code.line.number", "process.pid"),
        *("python.process.name", "python.task.name", "thread.id", "thread.name"),
        "fastlog.certificate",
    )
)
"""The names of attributes that almost every record gets."""


def _make_site(
    logger: str | None, path: str | None, module: str | None, line: int | None, name: str | None
) -> bytes:
    function = None if name is None else qualified(name, module, logger, path)
    return _serialized(
        [("code.function.name", function), ("code.file.path", path), ("code.line.number", line)]
    )


def _make_process(
    pid: int | None,
    process: str | None,
    thread: int | None,
    name: str | None,
    task: str | None,
    certificate: str | None,
) -> bytes:
    return _serialized(
        [
            ("process.pid", pid),
            ("python.process.name", process),
            ("thread.id", thread),
            ("thread.name", name),
            ("python.task.name", task),
            ("fastlog.certificate", certificate),
        ]
    )


_site, _process = Memo(_make_site), Memo(_make_process)


def _serialized(attributes: Iterable[tuple[str, str | int | None]]) -> bytes:
    """Return attributes as fields of a serialized `LogRecord`, without those that are None."""
    return b"".join(
        embedded(_ATTRIBUTE, [extras.key_value(name, value).SerializeToString()])
        for name, value in attributes
        if value is not None
    )


def qualified(name: str, module: str | None, logger: str | None, path: str | None) -> str:
    """Return a function's name with its module, where the record says which one that is.

    A record has the module's last name only. It is that of a logger `logging.getLogger(__name__)`,
    as most are, if the logger's last name is the same.
    """
    if not logger or not module:
        return name
    last = logger.rpartition(".")[2]
    if module == "__init__":
        parts = (path or "").replace("\\", "/").split("/")
        module = parts[-2] if len(parts) > 1 else ""
    return f"{logger}.{name}" if last == module else name


@lru_cache(1024)
def _host(peer: str) -> dict[str, Any]:
    """Return what is known of the machine that sent a record.

    One that sent it over a Unix socket or a loopback address is this machine.
    """
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return {"host.name": socket.gethostname()}
    if address.is_loopback:
        return {"host.name": socket.gethostname()}
    return {"host.ip": [peer]}


def _nanoseconds(seconds: float) -> int:
    """Return nanoseconds since the epoch, in steps of a microsecond; 0, unknown, before it."""
    return max(0, min(_LATEST, round(seconds * 1e6) * 1000))


def _cut(text: str, size: int) -> str:
    encoded = text.encode("utf-8", "backslashreplace")
    return text if len(encoded) <= size else encoded[:size].decode("utf-8", "ignore")
