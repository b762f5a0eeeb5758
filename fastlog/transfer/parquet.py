"""An export as Parquet: typed columns, which analytics tools read. Needs the extra `parquet`.

The end of a Parquet file describes all of it, so it cannot be continued after a crash: the export
begins again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from fastlog.errors import ConfigError
from fastlog.files import open_file, sync_directory
from fastlog.query.fields import COLUMNS, NUMBERS, TIMES
from fastlog.search import Found
from fastlog.search.parts import size_of
from fastlog.transfer.export import Source

try:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    from pyarrow import parquet  # type: ignore[import-untyped, unused-ignore]
except ImportError:
    raise ConfigError("Parquet needs pyarrow: pip install 'fastlog-server[parquet]'") from None

ROWS: Final = 50_000
"""Rows of a row group, which are in memory at the same time."""
MAX_BYTES: Final = 128 << 20
"""Memory of its records after which a row group ends early."""
_RECURRING: Final = (
    "levelname",
    "name",
    "pathname",
    "filename",
    "module",
    "funcName",
    "host",
    "certificate",
)
_DATE_MIN, _DATE_MAX = -62_135_596_800.0, 253_402_300_800.0
"""The years 1 and 10,000, in seconds since the epoch."""


def schema() -> Any:
    """Return the schema: the columns of a record by their names, and `time`."""
    types = dict.fromkeys(COLUMNS, pa.string())
    types |= dict.fromkeys(NUMBERS, pa.int64()) | dict.fromkeys(TIMES, pa.float64())
    fields = [pa.field(name, types[name]) for name in COLUMNS]
    return pa.schema([*fields, pa.field("time", pa.timestamp("us", tz="UTC"))])


def write_parquet(
    source: Source, output: Path, columns: Sequence[str] | None, count: Callable[[int], object]
) -> int | None:
    """Write an export.

    Args:
        columns: Those to write; None for all, and `time`.
        count: Called with the number of records so far.

    Returns:
        The number of records; None: the search had to stop, and there is no file.

    Raises:
        ConfigError: A column is none.
        OSError: The file cannot be written.
    """
    wanted = schema()
    if columns is not None:
        if unknown := [name for name in columns if name not in wanted.names]:
            raise ConfigError(
                f"--fields: a Parquet file has columns only, and {unknown[0]} is none"
            )
        wanted = pa.schema([wanted.field(name) for name in columns])
    part = output.with_name(f"{output.name}.part")
    records = 0
    with os.fdopen(open_file(part, os.O_RDWR), "wb") as file:
        file.truncate()
        with parquet.ParquetWriter(
            file, wanted, compression="zstd", use_dictionary=[*_known(wanted, _RECURRING)]
        ) as writer:
            for group in _groups(source):
                writer.write_table(_table(group, wanted))
                records += len(group)
                count(records)
        file.flush()
        os.fsync(file.fileno())
    if source.progress.must_stop():
        part.unlink()
        return None
    part.replace(output)
    sync_directory(output.parent)
    return records


def _groups(source: Source) -> Any:
    group: list[Found] = []
    size = 0
    for _, _, some in source.batches(source.parts()):
        group += some
        size += sum(map(size_of, some))
        if len(group) >= ROWS or size >= MAX_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _known(wanted: Any, names: Sequence[str]) -> Any:
    return (name for name in names if name in wanted.names)


def _table(group: list[Found], wanted: Any) -> Any:
    rows = [(*found.record, found.node) for found in group]
    values = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    arrays = []
    for field in wanted:
        if field.name == "time":
            column = pa.array(map(_microseconds, values["created"]), pa.int64()).cast(field.type)
        else:
            column = pa.array(values[field.name], field.type)
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=wanted)


def _microseconds(seconds: float) -> int | None:
    return round(seconds * 1e6) if _DATE_MIN <= seconds < _DATE_MAX else None
