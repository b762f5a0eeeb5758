"""Headers of the configuration, such as `authorization`. Their values are secret."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from fastlog.errors import ConfigError, SinkUnavailableError
from fastlog.sinks.otlp.settings import Settings

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_VALUE: Final = re.compile(r"[\x20-\x7e\x80-\xff]*")
_RESERVED: Final = frozenset(
    (
        *("connection", "content-encoding", "content-length", "content-type", "host"),
        *("transfer-encoding", "expect", "upgrade"),
    )
)
_MAX_BYTES: Final = 64 << 10
"""Bytes of the longest file."""


class HeaderSource:
    """The headers of a configuration, read again when their file has changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._version: tuple[int, ...] | None = None
        self._headers: dict[str, str] = {}

    def read(self) -> dict[str, str]:
        """Return the headers.

        Raises:
            As `read_headers` does.
        """
        version = self._current_version()
        if version is None or version != self._version:
            self._headers = read_headers(self._settings)
            self._version = version
        return self._headers

    def _current_version(self) -> tuple[int, ...] | None:
        """Return what changes when the file does; None if there is no file to read."""
        if (path := self._settings.headers_file) is None:
            return ()
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def read_headers(settings: Settings, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the headers that a file and a variable have, by their names.

    A line of the file is `Name: value`; empty lines, and those that begin with `#`, are left out.
    The variable is written as `OTEL_EXPORTER_OTLP_HEADERS` is: `name=value,name=value`, with what
    is special percent-encoded. No error has a value.

    Raises:
        ConfigError: They are malformed, or the variable is missing.
        SinkUnavailableError: The file cannot be read now.
    """
    headers: dict[str, str] = {}
    if (path := settings.headers_file) is not None:
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise SinkUnavailableError(f"headers_file {path}: {error.strerror}") from error
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"headers_file {path}: it has more than {_MAX_BYTES} bytes")
        for number, line in enumerate(content.decode("latin-1").split("\n"), 1):
            if line.strip() and not line.startswith("#"):
                _add(headers, *line.partition(":"), f"headers_file {path}, line {number}")
    if (name := settings.headers_env) is not None:
        if name not in environ:
            raise ConfigError(f"headers_env: there is no variable {name}; set it for the server")
        for pair in filter(str.strip, environ[name].split(",")):
            key, equals, value = pair.partition("=")
            _add(headers, key, equals, unquote(value, "latin-1"), f"headers_env {name}")
    return headers


def _add(headers: dict[str, str], name: str, mark: str, value: str, place: str) -> None:
    name, value = name.strip(), value.strip()
    if not mark or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ConfigError(f"{place}: expected a header's name and value")
    if name.lower() in _RESERVED:
        raise ConfigError(f"{place}: {name} is set by fastlog")
    headers[name] = value
