"""Names of time zones, for servers elsewhere: they take a zone by its name only."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final

from fastlog.errors import ConfigError
from fastlog.query import parse_zone

_LOCALTIME: Final = Path("/etc/localtime")


def zone_name(zone: tzinfo | None) -> str | None:
    """Return the name by which a server knows a zone, or the local one; `None` if it has none.

    Raises:
        ConfigError: The zone was asked for, and has no name.
    """
    if zone is not None:
        name = "UTC" if zone is UTC else getattr(zone, "key", None)
        if name is None:
            raise ConfigError(
                "--tz: with --url, expected a name such as Europe/Berlin or Etc/GMT-2"
            )
        return str(name)
    for name in (os.environ.get("TZ", "").lstrip(":"), _zone_of_system()):
        if name:
            with suppress(ConfigError):
                parse_zone(name)
                return name
    return None


def _zone_of_system() -> str:
    """Return the zone that a link of the system names; "" if it names none."""
    try:
        target = str(_LOCALTIME.readlink())
    except OSError:
        return ""
    return target.partition("zoneinfo/")[2]
