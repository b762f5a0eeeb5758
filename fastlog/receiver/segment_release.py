"""Releases the journal's segments that no sink needs any more."""

from __future__ import annotations

import logging

from fastlog.config import Config
from fastlog.journal import Journal, read_positions
from fastlog.receiver.client_handshakes import ClientHandshakes

log = logging.getLogger(__name__)


class SegmentRelease:
    """Compares the positions of the sinks with the journal."""

    def __init__(self, config: Config, journal: Journal, handshakes: ClientHandshakes) -> None:
        self._data_dir, self._journal, self._handshakes = config.data_dir, journal, handshakes
        self._sinks = {sink.name: sink.when_full for sink in config.sinks}
        """By name: whether a full journal waits for the sink ("hold") or not ("skip")."""
        self.slowest = ""
        """The sink that holds the journal's oldest blocks, as of the last `release`."""
        self._unknown: set[str] = set()
        """Sinks with a position that are not in the configuration; each is logged once."""

    def release(self) -> None:
        """Release the segments that all sinks have made durable.

        A nearly full journal waits only for the sinks that hold it.
        """
        positions = read_positions(self._data_dir)
        durable = {
            name: positions[name].durable
            if name in positions and positions[name].node == self._journal.node
            else 0
            for name in self._sinks
        }
        holding = [durable[name] for name, when_full in self._sinks.items() if when_full == "hold"]
        holders = [name for name, when_full in self._sinks.items() if when_full == "hold"]
        self.slowest = min(holders, key=lambda name: durable[name], default="")
        by_all = min(durable.values())
        by_holding = min(holding, default=self._journal.durable)
        self._journal.release(by_all, by_holding, self._handshakes.snapshot)
        for name in positions.keys() - self._sinks.keys() - self._unknown:
            self._unknown.add(name)
            log.warning(
                "sink %s is not in the configuration any more: the journal keeps nothing for it",
                name,
            )
