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
        if fault := parent_fault(sink.url, config.data_dir):
            raise ConfigError(f"sink {sink.name}: {fault}, or correct the URL {sink.url!r}")


def parent_fault(url: str, data_dir: Path) -> str:
    """Return what is wrong with the parent directory of a sink, and what to do; "" if nothing.

    The directory itself of a `sqlite:` sink is made by the sink, and so is everything inside the
    data directory.
    """
    parts = urlsplit(url)
    if parts.scheme not in _IN_PATH or not parts.path:
        return ""
    parent = Path(parts.path).parent
    place, home = os.path.realpath(parent), os.path.realpath(data_dir)
    is_inside = os.path.commonpath([place, home]) == home
    if is_inside or parent.is_dir():
        return ""
    if parent.exists():
        return f"{parent} is not a directory; remove it"
    return f"the directory {parent} does not exist; make it"
