"""Scheme `logging`: records go to the handlers of a `logging.config.dictConfig`.

So every handler that there is for Python's `logging` is a sink.
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

from fastlog.errors import ConfigError, SinkConflictError
from fastlog.record import Record
from fastlog.sinks import Sink, SinkContext
from fastlog.sinks.cursorfile import Cursor, CursorFile
from fastlog.sinks.options import Options

if TYPE_CHECKING:
    from fastlog.decode import Decoded

log = logging.getLogger(__name__)

OWN_LOGGER = __name__.partition(".")[0]
"""Above the loggers of this process's own messages."""
MAX_LOGGERS = 10_000
MAX_NAME = 200
MAX_DEPTH = 8
"""Loggers that clients' names may create, and how long and deep these are: Python frees none."""
REPORT_EVERY = 60.0
"""Seconds between two messages about handlers that fail."""

_FIELDS = tuple(name for name in Record._fields if name not in ("extra", "offset", "idx"))
_RESERVED = frozenset(dir(logging.makeLogRecord({}))) | frozenset(_FIELDS) | {"message", "asctime"}
"""Attributes that a formatter or handler relies on; no client may replace them."""


class LoggingSink(Sink):
    """`logging:///etc/logging.toml`. At least once.

    Handlers do not say whether they have written, so what they got since the last sync they get
    again after a crash. A handler that fails loses that record for itself: it is counted and
    reported, and the others get it.
    """

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        url = context.url
        Options(url, [])
        if url.netloc or not url.path.startswith("/"):
            raise ConfigError(f"expected logging:///path/of/config.toml, got {url.geturl()!r}")
        self._path = Path(url.path)
        self._cursors = CursorFile(context.data_dir, context.name, Cursor)
        self._cursor = Cursor()
        self._durable = 0
        self._loggers: dict[str, logging.Logger] = {}
        self._handlers: list[logging.Handler] = []
        self._failures = 0
        self._reported = float("-inf")

    def open(self, node: str) -> int:
        if not self._handlers:
            self._configure()
        saved = self._cursors.load()
        self._cursor = saved if saved is not None and saved.node == node else Cursor(node)
        self._durable = self._cursor.offset
        return self._cursor.offset

    def apply(self, blocks: Sequence[Decoded]) -> None:
        for decoded in blocks:
            if decoded.block.offset < self._cursor.offset:
                raise SinkConflictError(f"block {decoded.block.offset} was handed on already")
            for record in decoded.records:
                self._hand_on(record)
            self._cursor.offset = decoded.block.end

    def cursor(self) -> int:
        return self._cursor.offset

    def sync(self) -> int:
        if self._cursor.offset != self._durable:
            for handler in self._handlers:
                try:
                    handler.flush()
                except Exception:
                    self._failed()
            self._cursors.save(self._cursor)
            self._durable = self._cursor.offset
        return self._durable

    def tick(self) -> None:
        """Report the handler errors that were counted meanwhile."""
        self._report()

    def close(self) -> None:
        for handler in self._handlers:
            try:
                handler.close()
            except Exception:
                self._failed()
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
        except Exception as error:  # handlers are made in there, which may raise anything
            reason = error.__cause__ or error
            raise ConfigError(f"{self._path}: {error} ({reason})") from error
        self._handlers = list(_handlers())
        for handler in self._handlers:
            handler.handleError = self._failed  # type: ignore[method-assign]

    def _hand_on(self, record: Record) -> None:
        logger = self._logger(record.name or "root")
        try:
            # As in the Cookbook's listener, the levels of loggers do not count, those of handlers
            # do: the application has decided already what is worth logging.
            logger.handle(rebuild(record))
        except Exception:
            self._failed()

    def _logger(self, name: str) -> logging.Logger:
        """The logger of that name; where it is too long or one too many, the nearest above it."""
        logger = self._loggers.get(name)
        if logger is not None:
            return logger
        if name == "root" or name.split(".", 1)[0] == OWN_LOGGER:
            return logging.getLogger()  # this process's own messages go elsewhere
        if len(name) > MAX_NAME or name.count(".") >= MAX_DEPTH:
            name = ".".join(name[:MAX_NAME].split(".")[:MAX_DEPTH])
        while name not in self._loggers and len(self._loggers) >= MAX_LOGGERS:
            name = name.rpartition(".")[0]
            if not name:
                return logging.getLogger()
        return self._loggers.setdefault(name, logging.getLogger(name))

    def _failed(self, record: logging.LogRecord | None = None) -> None:
        """Count a handler's error; it takes the place of `Handler.handleError`."""
        self._failures += 1
        self._report(sys.exc_info()[1])

    def _report(self, error: BaseException | None = None) -> None:
        now = time.monotonic()
        if self._failures and now - self._reported >= REPORT_EVERY:
            shown = f", the last: {error!r}" if error is not None else ""
            log.error("sink %s: %d handler errors%s", self.context.name, self._failures, shown)
            self._failures, self._reported = 0, now


def rebuild(record: Record) -> logging.LogRecord:
    """The `LogRecord` that the client had, as far as it was sent.

    The extras are attributes again; one that would replace an attribute of every record has
    `extra_` before its name.
    """
    attributes: dict[str, Any] = {name: getattr(record, name) for name in _FIELDS}
    attributes["name"] = record.name or "root"
    attributes["levelno"] = record.levelno or logging.NOTSET
    attributes["levelname"] = record.levelname or logging.getLevelName(attributes["levelno"])
    attributes["msg"] = record.message
    attributes["msecs"] = record.created % 1.0 * 1000
    attributes["relativeCreated"] = 0.0  # since the start of the client, which nobody knows
    for key, value in msgspec.json.decode(record.extra).items():
        attributes[f"extra_{key}" if key in _RESERVED else key] = value
    return logging.makeLogRecord(attributes)


def _handlers() -> Iterator[logging.Handler]:
    """Every handler that records can reach."""
    root = logging.getLogger()
    seen: set[int] = set()
    for logger in (root, *root.manager.loggerDict.values()):
        if not isinstance(logger, logging.Logger) or logger.name.split(".")[0] == OWN_LOGGER:
            continue
        for handler in logger.handlers:
            if id(handler) not in seen:
                seen.add(id(handler))
                yield handler
