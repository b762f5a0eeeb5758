"""Which sink stores what comes from the source."""

from __future__ import annotations

from typing import Final

from fastlog.config.tree import Config, SinkConfig
from fastlog.config.values import nearest
from fastlog.errors import ConfigError

_SCHEMES: Final = ("sqlite", "postgresql", "postgres")
"""Of sinks that store the blocks of many journals, each of them once."""


def source_sink(config: Config) -> SinkConfig | None:
    """Return the sink that stores what comes from the source; None if there is no source.

    Raises:
        ConfigError: There is no such sink, or it is not clear which; the text lacks the place.
    """
    if not config.source.url:
        return None
    able = [sink for sink in config.sinks if sink.url.partition(":")[0] in _SCHEMES]
    wanted = config.source.sink
    if wanted:
        names = [sink.name for sink in config.sinks]
        if wanted not in names:
            raise ConfigError(f"no sink is called {wanted!r}{nearest(wanted, names)}")
        able = [sink for sink in able if sink.name == wanted]
    if len(able) == 1:
        return able[0]
    if able:
        raise ConfigError(
            "what comes from a source is stored by one sink, and there are several that could: "
            f"give source.sink one of the names {', '.join(sink.name for sink in able)}"
        )
    named = f"{wanted!r} is none" if wanted else "there is none"
    raise ConfigError(
        f"what comes from a source is stored by a sqlite: or a postgresql: sink, and {named}"
    )
