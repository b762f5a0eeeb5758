"""Which store a command searches: one that it is given, or that of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from fastlog.config import Config, SinkConfig
from fastlog.errors import ConfigError
from fastlog.search.day_store import DayStore
from fastlog.search.store import POSTGRES, RecordStore, open_store
from fastlog.status.data_directory import find_store, stores_of


class ChosenStore(NamedTuple):
    """The store that a command searches."""

    sink: str
    """The name of the sink that writes it; "" if it is not known."""
    store: RecordStore


def choose_store(config: Config, url: str | None = None, keep: int = 0) -> ChosenStore:
    """Return the store of the URL; without one, that of the first `sqlite:` sink of the
    configuration, or else of its first `postgresql:` sink.

    Args:
        keep: As in `open_store`.

    Raises:
        ConfigError: The URL is wrong, or there is no store.
    """
    if url is not None:
        return ChosenStore("", open_store(url, keep))
    sink = _postgres_sink(config)
    if sink is not None:
        return ChosenStore(sink.name, open_store(sink.url, keep))
    found = find_store(config)
    return ChosenStore(found.sink, DayStore(found.logs))


def store_of_server(config: Config, keep: int) -> RecordStore:
    """Return the store of a server that runs with this configuration.

    An earlier server may have left another one in its status, which `choose_store` considers.

    Raises:
        ConfigError: It stores nowhere where records can be searched.
    """
    if stores := stores_of(config):
        return DayStore(stores[0].logs)
    sink = _postgres_sink(config)
    if sink is None:
        raise ConfigError(
            "there is no sqlite: or postgresql: sink whose records can be served; add one"
        )
    return open_store(sink.url, keep)


def find_target(config: Config, url: str | None = None) -> Path | str:
    """Return to what an import adds records: a directory of day files, or the URL of a database.

    Without a URL, it is that of the first `sqlite:` sink, or else of the first `postgresql:` sink.

    Raises:
        ConfigError: The URL is wrong, or there is no such sink.
    """
    if url is not None:
        store = open_store(url)
        return store.logs if isinstance(store, DayStore) else url
    if stores := stores_of(config):
        return stores[0].logs
    sink = _postgres_sink(config)
    if sink is None:
        raise ConfigError(
            "the configuration has no sqlite: or postgresql: sink, and only their stores take "
            "records; name one with --store"
        )
    return sink.url


def is_day_store(config: Config, url: str | None = None) -> bool:
    """Return whether `choose_store` chooses day files in the data directory."""
    return url is None and _postgres_sink(config) is None


def _postgres_sink(config: Config) -> SinkConfig | None:
    """Return the sink whose database is searched; None where there is a `sqlite:` sink, too."""
    sinks = () if stores_of(config) else config.sinks
    return next((sink for sink in sinks if urlsplit(sink.url).scheme in POSTGRES), None)
