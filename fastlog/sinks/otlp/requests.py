"""Requests: records, grouped by resource and logger, serialized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastlog.sinks.otlp.extras import clean
from fastlog.sinks.otlp.mapping import Item
from fastlog.sinks.otlp.memo import Memo
from fastlog.sinks.otlp.messages import common, embedded, logs, service, tag

EMPTY: Final = b""
"""A request without a record. Receivers answer it like any other, and store nothing."""

_RESOURCE_LOGS: Final = tag(service.ExportLogsServiceRequest, "resource_logs")
_RESOURCE: Final = tag(logs.ResourceLogs, "resource")
_SCOPE_LOGS: Final = tag(logs.ResourceLogs, "scope_logs")
_SCOPE: Final = tag(logs.ScopeLogs, "scope")
_RECORD: Final = tag(logs.ScopeLogs, "log_records")
_FRAMING: Final = 12
"""Bytes of tags and lengths that a record, and each message around it, need at most."""


def make_request(items: Sequence[Item]) -> bytes:
    """Return the request of these records, in their order within each logger."""
    groups: dict[bytes, dict[str, list[bytes]]] = {}
    for item in items:
        scopes = groups.setdefault(item.resource, {})
        scopes.setdefault(item.scope, []).append(embedded(_RECORD, [item.body]))
    return b"".join(
        embedded(
            _RESOURCE_LOGS,
            [
                embedded(_RESOURCE, [resource]),
                *(
                    embedded(_SCOPE_LOGS, [_scope(scope), *records])
                    for scope, records in scopes.items()
                ),
            ],
        )
        for resource, scopes in groups.items()
    )


def _make_scope(name: str) -> bytes:
    scope = common.InstrumentationScope(name=clean(name))
    return embedded(_SCOPE, [scope.SerializeToString()])


_scope = Memo(_make_scope)


class SizeOfRequest:
    """Adds up the size of a request while records are added to it."""

    def __init__(self) -> None:
        self._groups: set[tuple[bytes, str]] = set()
        self._resources: set[bytes] = set()
        self.bytes = 0
        """An upper bound of the size."""

    def added(self, item: Item) -> int:
        """Return by how much a record would make the request larger, at most."""
        size = len(item.body) + _FRAMING
        if (item.resource, item.scope) not in self._groups:
            size += 6 * len(item.scope) + 2 * _FRAMING  # `clean` writes six for a surrogate
        if item.resource not in self._resources:
            size += len(item.resource) + 2 * _FRAMING
        return size

    def add(self, item: Item) -> None:
        """Count a record."""
        self.bytes += self.added(item)
        self._groups.add((item.resource, item.scope))
        self._resources.add(item.resource)
