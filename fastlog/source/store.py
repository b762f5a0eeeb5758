"""Where a central stores what comes from the stream: one place, with a sink for each node."""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import urlsplit

from fastlog.config import Config
from fastlog.config.source_sink import source_sink
from fastlog.config.urls import public_url
from fastlog.errors import describe
from fastlog.files import make_directory
from fastlog.journal import read_position
from fastlog.ledger import Ledger
from fastlog.routing.decoder import make_decoder
from fastlog.sinks import SinkContext, make_sink
from fastlog.source.node_reader import NodeReader
from fastlog.source.tolerant_decoder import TolerantDecoder
from fastlog.worker.life import SignsOfLife
from fastlog.worker.worker import Worker

log = logging.getLogger(__name__)

_LOCAL: Final = ("sqlite",)
"""The schemes of sinks whose store belongs to one server."""


class Store:
    """Makes the workers that store the nodes.

    Args:
        own: The id of this server's journal.
        takes_over: Whether to take also those nodes that another central has stored elsewhere.

    Raises:
        ConfigError: The sink cannot be made.
    """

    def __init__(self, config: Config, own: str, *, takes_over: bool) -> None:
        self._config, self._takes_over = config, takes_over
        settings = source_sink(config)
        assert settings is not None
        self._settings = settings
        url = urlsplit(self._settings.url)
        self.is_local = url.scheme in _LOCAL
        """Whether no other central can store into it."""
        context = SinkContext(self._settings.name, url, config.data_dir, config.retention)
        self._sink = make_sink(context._replace(expire=config.expire, own_node=own))
        self._ledger = Ledger(config.data_dir / "ledger.db")
        self._home = config.data_dir / "source"
        self._signs = SignsOfLife(self._home, self._settings.name)
        """Of the calls that are of no worker: they may wait as long as those of a worker."""
        self._failure = ""

    def describe(self) -> None:
        """Log which sink this is, if there are others."""
        others = [sink.name for sink in self._config.sinks if sink is not self._settings]
        if others:
            log.info(
                "what comes from the stream is stored in %s; %s: only what this server receives",
                *(public_url(self._settings.url), ", ".join(others)),
            )

    def worker(self, reader: NodeReader) -> Worker:
        """Return a worker for a node, not opened yet."""
        make_directory(self._home)
        name = self._name(reader.node)
        sink = self._sink.sibling(name)
        decoder = TolerantDecoder(
            make_decoder(self._config, self._settings, sink.form, reader.node)
        )
        keep_raw = not self._config.redact
        return Worker(reader, decoder, sink, self._ledger, name, self._home, keep_raw=keep_raw)

    def accepts(self, node: str, stored: int) -> bool:
        """Return whether a node may be stored here.

        If its earlier blocks are in the store of another central, its records would be in two
        places from now on, and the other central could not continue.

        Args:
            stored: The offset up to which some central has stored it.

        Raises:
            SinkError: That is not known now.
        """
        if not self.is_local or self._takes_over or not stored:
            return True
        name = self._name(node)
        if read_position(self._home, name) is not None:
            return True  # if the files were removed, the ledger gets what is lost
        sink = self._sink.sibling(name)
        try:
            with self._signs.during("open"):
                return sink.open(node) > 0
        finally:
            sink.close()

    def tick(self) -> None:
        """Do the housekeeping of the store, about once a second."""
        try:
            with self._signs.during("tick"):
                self._sink.tick()
        except Exception as error:  # as in a worker
            text = describe(error)
            if text != self._failure:
                log.warning("sink %s: housekeeping: %s; trying again", self._settings.name, text)
            self._failure = text
        else:
            self._failure = ""

    def _name(self, node: str) -> str:
        return f"{self._settings.name}.{node}"
