"""Scheme `console`: records as coloured text on the server's standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastlog.errors import ConfigError, SinkUnavailableError
from fastlog.sinks import Sink, SinkContext
from fastlog.sinks.cursor_file import SavedCursor
from fastlog.sinks.options import Options
from fastlog.terminal import render

if TYPE_CHECKING:
    from fastlog.decode import Decoded


class ConsoleSink(Sink):
    """`console:` or `console:?colour=auto|always|never`. At least once.

    A terminal does not report what it has shown, so records that were printed since the last sync
    are printed again after a crash.
    """

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        if context.url.netloc or context.url.path:
            raise ConfigError(f"expected console:, got {context.url.geturl()!r}")
        self._colour_option = Options(context.url, ["colour"]).choice(
            "colour", ["auto", "always", "never"]
        )
        self._cursor = SavedCursor(context)
        self._colour = False
        self._fd = -1

    def open(self, node: str) -> int:
        offset = self._cursor.open(node)
        self._fd = sys.stdout.fileno()
        self._colour = self._colour_option == "always" or (
            self._colour_option == "auto" and os.isatty(self._fd) and not os.environ.get("NO_COLOR")
        )
        return offset

    def apply(self, blocks: Sequence[Decoded]) -> None:
        for decoded in blocks:
            self._cursor.check(decoded.block)
            text = "".join(render(record, self._colour) + "\n" for record in decoded.records)
            self._write(text.encode("utf-8", "backslashreplace"))
            self._cursor.move(decoded.block)

    def cursor(self) -> int:
        return self._cursor.offset

    def sync(self) -> int:
        return self._cursor.save()

    def close(self) -> None:
        """Do nothing: standard output belongs to the process."""

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise SinkUnavailableError(f"standard output: {error.strerror}") from error
