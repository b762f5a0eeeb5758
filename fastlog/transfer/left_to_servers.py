"""What an import into day files leaves to the server that stores there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from fastlog.config import Config
from fastlog.config.source_sink import source_sink
from fastlog.errors import SinkError
from fastlog.journal import read_positions
from fastlog.journal.segment import read_node, segments
from fastlog.sinks.day_cursor import read_cursors
from fastlog.sinks.day_directory import list_day_files
from fastlog.status.data_directory import stores_of


def offsets_left(config: Config, logs: Path, gone: Collection[str]) -> dict[str, int]:
    """Return the journals that the server stores into a directory, and what it has not stored.

    These are the journal of the data directory, and those that the server takes from a stream. It
    stores a journal in the directory if the configuration says so, or if there is a cursor.

    Args:
        logs: The directory of the day files.
        gone: Journals that the server does not store any more.

    Returns:
        For each journal the offset of the first record that the server will store.

    Raises:
        SinkError: A day file cannot be read, so its cursors are not known.
    """
    cursors = _cursors(logs)
    source = source_sink(config)
    sinks = {store.sink for store in stores_of(config) if store.logs.resolve() == logs.resolve()}
    left = dict[str, int]()
    for position in read_positions(config.data_dir / "source").values():
        if position.node in cursors or (source is not None and source.name in sinks):
            left[position.node] = cursors.get(position.node, 0)
    journal = config.data_dir / "journal"
    own, kept = read_node(journal), segments(journal)
    if own is not None and kept and (own in cursors or sinks):
        left[own] = max(cursors.get(own, 0), kept[0].start)
    return {node: offset for node, offset in left.items() if node not in gone}


def _cursors(logs: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in (logs / str(name) for name in list_day_files(logs)):
        try:
            rows = read_cursors(path)
        except SinkError:
            if path.exists():
                raise
            continue  # retention has deleted it
        for node, row in rows.items():
            found[node] = max(row.offset, found.get(node, 0))
    return found
