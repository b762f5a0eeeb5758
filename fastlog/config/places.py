"""Where the configured sinks store, and whether these places exist.

A server that made every missing directory would store below a directory that was misspelt, or on
the wrong disk while another is not mounted.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from fastlog.config.tree import Config
from fastlog.errors import ConfigError

_IN_PATH = ("sqlite", "ndjson")
"""The schemes of sinks that store in the path of their URL."""


def check_places(config: Config) -> None:
    """Check that each sink outside the data directory has an existing parent directory.

    Raises:
        ConfigError: One has none.
    """
    for sink in config.sinks:
        missing = missing_parent(sink.url, config.data_dir)
        if missing is not None:
            raise ConfigError(
                f"sink {sink.name}: the directory {missing} does not exist; make it, or correct "
                f"the URL {sink.url!r}"
            )


def missing_parent(url: str, data_dir: Path) -> Path | None:
    """Return the missing parent directory of a sink outside the data directory, if it is missing.

    The directory itself of a `sqlite:` sink is made by the sink.
    """
    parts = urlsplit(url)
    if parts.scheme not in _IN_PATH or not parts.path:
        return None
    parent = Path(parts.path).parent
    place, home = os.path.realpath(parent), os.path.realpath(data_dir)
    is_inside = os.path.commonpath([place, home]) == home
    return None if is_inside or parent.is_dir() else parent
