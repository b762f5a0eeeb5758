"""What a backup's journal has and the files of its sinks lack is stored by the server's worker."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fastlog.config import Config, RetentionConfig, SinkConfig
from fastlog.errors import FastlogError
from fastlog.journal import JournalReader, read_positions
from fastlog.journal.durable_offset import DurableOffset
from fastlog.ledger import Ledger
from fastlog.routing.decoder import make_decoder
from fastlog.sinks import SinkContext, make_sink
from fastlog.worker.worker import Worker

_EVERYTHING: Final = RetentionConfig(age=1e12, size=sys.maxsize)
"""Nothing is deleted meanwhile, however old the backup is."""


def publish_durable(journal: Path, durable: int) -> None:
    """State how far the copy of a journal is to be read."""
    with DurableOffset(journal, writable=True) as page:
        page.publish(durable)


def catch_up(data_dir: Path, settings: SinkConfig, config: Config) -> None:
    """Store the blocks of the journal that a sink has not stored.

    Args:
        data_dir: Has the journal, and the ledger.
        settings: Of the sink; its URL says where its files are now.
        config: Has the rules of redaction.

    Raises:
        FastlogError: That is not possible now.
    """
    name = settings.name
    sink = make_sink(SinkContext(name, urlsplit(settings.url), data_dir, _EVERYTHING))
    with closing(JournalReader(data_dir / "journal")) as reader:
        end = reader.durable()
        worker = Worker(
            reader,
            make_decoder(config, settings, sink.form, reader.node),
            sink,
            Ledger(data_dir / "ledger.db"),
            name,
            data_dir,
            keep_raw=not config.redact,
        )
        worker.open()
        while sink.cursor() < end:
            if worker.step() and sink.cursor() < end:
                position = read_positions(data_dir).get(name)
                reason = None if position is None else position.error
                raise FastlogError(
                    f"sink {name} has not stored all that the journal of the backup has: "
                    f"{reason or 'it cannot be reached'}"
                )
        worker.finish(lambda _: None)
