"""What a backup's journal has and the files of its sinks lack is stored by the server's worker."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fastlog.config import RetentionConfig
from fastlog.decode import Decoder
from fastlog.errors import FastlogError
from fastlog.journal import JournalReader, read_positions
from fastlog.journal.durable_offset import DurableOffset
from fastlog.ledger import Ledger
from fastlog.sinks import SinkContext, make_sink
from fastlog.worker.worker import Worker

_EVERYTHING: Final = RetentionConfig(age=1e12, size=sys.maxsize)
"""Nothing is deleted meanwhile, however old the backup is."""


def publish_durable(journal: Path, durable: int) -> None:
    """State how far the copy of a journal is to be read."""
    with DurableOffset(journal, writable=True) as page:
        page.publish(durable)


def catch_up(data_dir: Path, name: str, url: str, engine: str) -> None:
    """Store the blocks of the journal that a sink has not stored.

    Args:
        data_dir: Has the journal, and the ledger.
        name: Of the sink.
        url: Where its files are now.
        engine: Of the decoder.

    Raises:
        FastlogError: That is not possible now.
    """
    sink = make_sink(SinkContext(name, urlsplit(url), data_dir, _EVERYTHING))
    with closing(JournalReader(data_dir / "journal")) as reader:
        end = reader.durable()
        worker = Worker(
            reader,
            Decoder(engine, sink.form, bytes.fromhex(reader.node)),
            sink,
            Ledger(data_dir / "ledger.db"),
            name,
            data_dir,
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
