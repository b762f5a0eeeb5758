"""Scheme `console`: records as coloured text on the server's standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastlog.errors import ConfigError, SinkConflictError, SinkUnavailableError
from fastlog.sinks import Sink, SinkContext
from fastlog.sinks.cursorfile import Cursor, CursorFile
from fastlog.sinks.options import Options
from fastlog.terminal import render

if TYPE_CHECKING:
    from fastlog.decode import Decoded


class ConsoleSink(Sink):
    """`console:` or `console:?colour=auto|always|never`. At least once.

    A terminal cannot be asked what it has shown, so what was printed since the last sync is
    printed again after a crash.
    """

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        if context.url.netloc or context.url.path:
            raise ConfigError(f"expected console:, got {context.url.geturl()!r}")
        self._colour = Options(context.url, ["colour"]).choice(
            "colour", ["auto", "always", "never"]
        )
        self._cursors = CursorFile(context.data_dir, context.name, Cursor)
        self._cursor = Cursor()
        self._durable = 0
        self._painted = False
        self._fd = -1

    def open(self, node: str) -> int:
        saved = self._cursors.load()
        self._cursor = saved if saved is not None and saved.node == node else Cursor(node)
        self._durable = self._cursor.offset
        self._fd = sys.stdout.fileno()
        self._painted = self._colour == "always" or (
            self._colour == "auto" and os.isatty(self._fd) and not os.environ.get("NO_COLOR")
        )
        return self._cursor.offset

    def apply(self, blocks: Sequence[Decoded]) -> None:
        for decoded in blocks:
            if decoded.block.offset < self._cursor.offset:
                raise SinkConflictError(f"block {decoded.block.offset} is printed already")
            text = "".join(render(record, self._painted) + "\n" for record in decoded.records)
            self._write(text.encode("utf-8", "backslashreplace"))
            self._cursor.offset = decoded.block.end

    def cursor(self) -> int:
        return self._cursor.offset

    def sync(self) -> int:
        if self._cursor.offset != self._durable:
            self._cursors.save(self._cursor)
            self._durable = self._cursor.offset
        return self._durable

    def close(self) -> None:
        """Nothing to do: standard output belongs to the process."""

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise SinkUnavailableError(f"standard output: {error.strerror}") from error
