"""An export as Parquet: typed columns, which analytics tools read. Needs the extra `parquet`.

The end of a Parquet file describes all of it, so it cannot be continued after a crash. So the
records are first written as a stream of Arrow, whose parts stand for themselves, and a Parquet file
is made of it when it is complete.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from fastlog.errors import ConfigError, FastlogError, how_to_install
from fastlog.files import open_file
from fastlog.query.fields import COLUMNS, NUMBERS, TIMES
from fastlog.search import Found
from fastlog.transfer.record_lines import Form

try:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    from pyarrow import parquet  # type: ignore[import-untyped, unused-ignore]
except ImportError:
    raise ConfigError(f"Parquet needs pyarrow; {how_to_install('parquet')}") from None

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
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4")


def schema() -> Any:
    """Return the schema: the columns of a record by their names, and `time`."""
    types = dict.fromkeys(COLUMNS, pa.string())
    types |= dict.fromkeys(NUMBERS, pa.int64()) | dict.fromkeys(TIMES, pa.float64())
    fields = [pa.field(name, types[name]) for name in COLUMNS]
    return pa.schema([*fields, pa.field("time", pa.timestamp("us", tz="UTC"))])


def parquet_form(columns: Sequence[str] | None) -> Form:
    """Return the form of a Parquet file.

    Args:
        columns: Those to write; None for all, and `time`.

    Raises:
        ConfigError: A column is none.
    """
    wanted = schema()
    if columns is not None:
        if unknown := [name for name in columns if name not in wanted.names]:
            raise ConfigError(
                f"--fields: a Parquet file has columns only, and {unknown[0]} is none"
            )
        wanted = pa.schema([wanted.field(name) for name in columns])
    header = wanted.serialize().to_pybytes()

    def encode(some: list[Found]) -> bytes:
        return _message(_batch(some, wanted), header)

    return Form(header, encode, ROWS, MAX_BYTES, make_parquet)


def make_parquet(stream: Path, target: Path, must_stop: Callable[[], bool]) -> bool:
    """Make a Parquet file of a stream, durably; return whether it did not have to stop.

    Raises:
        FastlogError: The stream is damaged.
        OSError: The file cannot be written.
    """
    with (
        pa.OSFile(str(stream)) as source,
        os.fdopen(open_file(target, os.O_RDWR), "wb") as file,
    ):
        file.truncate()
        try:
            batches = pa.ipc.open_stream(source)
            names = [name for name in _RECURRING if name in batches.schema.names]
            with parquet.ParquetWriter(
                file, batches.schema, compression="zstd", use_dictionary=names
            ) as writer:
                for batch in batches:
                    if must_stop():
                        return False
                    writer.write_batch(batch)
        except pa.ArrowInvalid as error:
            raise FastlogError(
                f"{stream} is damaged: {error}; begin again without --resume"
            ) from error
        file.flush()
        os.fsync(file.fileno())
    return True


def _message(batch: Any, header: bytes) -> bytes:
    """Return what a stream with this begin has of a batch."""
    buffer = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(buffer, batch.schema, options=_OPTIONS)
    writer.write_batch(batch)
    size = buffer.tell()
    writer.close()  # what that writes would end the stream
    content: bytes = buffer.getvalue().to_pybytes()
    return content[len(header) : size]


def _batch(group: list[Found], wanted: Any) -> Any:
    rows = [(*found.record, found.node) for found in group]
    values = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    arrays = []
    for field in wanted:
        if field.name == "time":
            column = pa.array(map(_microseconds, values["created"]), pa.int64()).cast(field.type)
        else:
            column = pa.array(values[field.name], field.type)
        arrays.append(column)
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _microseconds(seconds: float) -> int | None:
    return round(seconds * 1e6) if _DATE_MIN <= seconds < _DATE_MAX else None
