"""Scheme `logging`: records go to the handlers of a `logging.config.dictConfig`.

So every handler that exists for Python's `logging` can be a sink.
"""

from __future__ import annotations

import logging
import logging.config
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fastlog.config.urls import suggest_path
from fastlog.errors import ConfigError
from fastlog.record import Record
from fastlog.sinks import Sink, SinkContext
from fastlog.sinks.cursor_file import SavedCursor
from fastlog.sinks.options import Options

if TYPE_CHECKING:
    from fastlog.decode import Decoded

log = logging.getLogger(__name__)

OWN_LOGGER = __name__.partition(".")[0]
"""The parent of the loggers of this process's own messages."""
MAX_LOGGERS = 10_000
MAX_NAME = 200
MAX_DEPTH = 8
"""Bounds of the loggers that names of clients create, of their length and of their depth: Python
never frees a logger."""
REPORT_EVERY = 60.0
"""Seconds between two log lines about handler errors."""

_FIELDS = tuple(name for name in Record._fields if name not in ("extra", "offset", "idx"))
_RESERVED = frozenset(dir(logging.makeLogRecord({}))) | frozenset(_FIELDS) | {"message", "asctime"}
"""Attributes that formatters and handlers rely on; an extra cannot replace them."""


class LoggingSink(Sink):
    """`logging:///etc/logging.toml`. At least once.

    Handlers do not report whether they have written, so after a crash they get the records since
    the last sync again. When a handler fails, it loses that record; the error is counted and
    logged, and the other handlers get the record.
    """

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        url = context.url
        Options(url, [])
        if url.netloc or not url.path.startswith("/"):
            hint = suggest_path(url)
            raise ConfigError(
                f"expected logging:///path/of/config.toml, got {url.geturl()!r}{hint}"
            )
        self._path = Path(url.path)
        self._cursor = SavedCursor(context)
        self._loggers: dict[str, logging.Logger] = {}
        self._handlers: list[logging.Handler] = []
        self._failures = 0
        self._failing: dict[str, int] = {}
        """Failures by handler since it worked last; a handler that works is not in it."""
        self._logged_at = float("-inf")

    def open(self, node: str) -> int:
        if not self._handlers:
            self._configure()
        return self._cursor.open(node)

    def apply(self, blocks: Sequence[Decoded]) -> None:
        for decoded in blocks:
            self._cursor.check(decoded.block)
            for record in decoded.records:
                self._handle(record)
            self._cursor.move(decoded.block)

    def cursor(self) -> int:
        return self._cursor.offset

    def sync(self) -> int:
        if not self._cursor.is_durable:
            for handler in self._handlers:
                try:
                    handler.flush()
                except Exception:
                    self._count_error(handler)
        return self._cursor.save()

    def tick(self) -> None:
        """Log the handler errors that were counted since the last log line."""
        self._log_errors()

    def failing(self) -> dict[str, int]:
        return dict(self._failing)

    def close(self) -> None:
        for handler in self._handlers:
            try:
                handler.close()
            except Exception:
                self._count_error(handler)
        self._handlers.clear()
        self._loggers.clear()

    def _configure(self) -> None:
        try:
            settings = tomllib.loads(self._path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read {self._path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{self._path}: {error}") from error
        settings.setdefault("version", 1)
        settings.setdefault("disable_existing_loggers", False)
        try:
            logging.config.dictConfig(settings)
        except Exception as error:  # it creates handlers, whose constructors may raise anything
            reason = error.__cause__ or error
            raise ConfigError(f"{self._path}: {error} ({reason})") from error
        self._handlers = list(_handlers())
        for handler in self._handlers:
            self._watch(handler)

    def _watch(self, handler: logging.Handler) -> None:
        """Count the handler's failures, and notice when it works again.

        A handler does not report that it has worked: it calls `handleError` if it has not.
        """
        if "handleError" in vars(handler):
            return  # the sink was closed and opened again, and the handler is still there
        emit, name, failed = handler.emit, _name_of(handler), False

        def handle_error(record: logging.LogRecord) -> None:
            nonlocal failed
            failed = True
            self._count_error(handler)

        def watched_emit(record: logging.LogRecord) -> None:
            nonlocal failed
            failed = False
            try:
                emit(record)
            except Exception:  # the other handlers get the record all the same
                handle_error(record)
            if not failed:
                self._failing.pop(name, None)

        handler.handleError = handle_error  # type: ignore[method-assign]
        handler.emit = watched_emit  # type: ignore[method-assign]

    def _handle(self, record: Record) -> None:
        logger = self._logger(record.name or "root")
        try:
            # As in the Cookbook's listener, the levels of loggers are ignored and those of handlers
            # apply: the application has already decided what to log.
            logger.handle(rebuild(record))
        except Exception:  # a filter, which may belong to a logger or a handler
            self._count_error(None)

    def _logger(self, name: str) -> logging.Logger:
        """Return the logger of a name; its nearest ancestor where the bounds do not allow it."""
        logger = self._loggers.get(name)
        if logger is not None:
            return logger
        if name == "root" or name.split(".", 1)[0] == OWN_LOGGER:
            return logging.getLogger()  # this process's own messages use that name
        if len(name) > MAX_NAME or name.count(".") >= MAX_DEPTH:
            name = ".".join(name[:MAX_NAME].split(".")[:MAX_DEPTH])
        while name not in self._loggers and len(self._loggers) >= MAX_LOGGERS:
            name = name.rpartition(".")[0]
            if not name:
                return logging.getLogger()
        return self._loggers.setdefault(name, logging.getLogger(name))

    def _count_error(self, handler: logging.Handler | None) -> None:
        """Count an error of a handler; None: of another part."""
        self._failures += 1
        if handler is not None:
            name = _name_of(handler)
            self._failing[name] = self._failing.get(name, 0) + 1
        self._log_errors(sys.exc_info()[1])

    def _log_errors(self, error: BaseException | None = None) -> None:
        now = time.monotonic()
        if self._failures and now - self._logged_at >= REPORT_EVERY:
            last = f", the last: {error!r}" if error is not None else ""
            names = ", ".join(sorted(self._failing)) or "which work again"
            log.error(
                "sink %s: %d errors of handlers (%s)%s; only these have lost the records",
                *(self.context.name, self._failures, names, last),
            )
            self._failures, self._logged_at = 0, now


def _name_of(handler: logging.Handler) -> str:
    return handler.name or type(handler).__name__


def rebuild(record: Record) -> logging.LogRecord:
    """Return the `LogRecord` of the client, as far as the client sent it.

    The extras become attributes again. The name of one that would replace an attribute of every
    record gets the prefix `extra_`.
    """
    attributes: dict[str, Any] = {name: getattr(record, name) for name in _FIELDS}
    attributes["name"] = record.name or "root"
    attributes["levelno"] = record.levelno or logging.NOTSET
    attributes["levelname"] = record.levelname or logging.getLevelName(attributes["levelno"])
    attributes["msg"] = record.message
    attributes["msecs"] = record.created % 1.0 * 1000
    attributes["relativeCreated"] = 0.0  # since the start of the client, which is not known
    for key, value in msgspec.json.decode(record.extra).items():
        attributes[f"extra_{key}" if key in _RESERVED else key] = value
    return logging.makeLogRecord(attributes)


def _handlers() -> Iterator[logging.Handler]:
    """Yield every handler that records can reach."""
    root = logging.getLogger()
    seen: set[int] = set()
    for logger in (root, *root.manager.loggerDict.values()):
        if not isinstance(logger, logging.Logger) or logger.name.split(".")[0] == OWN_LOGGER:
            continue
        for handler in logger.handlers:
            if id(handler) not in seen:
                seen.add(id(handler))
                yield handler
