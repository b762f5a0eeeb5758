"""The records that columns stand for, and columns of given records."""

from __future__ import annotations

from collections.abc import Iterable

from fastlog.block import Block
from fastlog.decode import Columns, Decoded
from fastlog.decode.columns import columns_of
from fastlog.record import PROCESS, SITE, Record


def records_in(block: Block, columns: Columns) -> list[Record]:
    """Return the records of a block that was decoded into columns."""
    return [_record(block, columns, at) for at in range(len(columns.idx))]


def _record(block: Block, columns: Columns, at: int) -> Record:
    site = columns.sites[columns.site[at]]
    process = columns.processes[columns.process[at]]
    return Record(
        **dict(zip(SITE, site, strict=True)),
        **dict(zip(PROCESS, process, strict=True)),
        created=columns.created[at],
        message=columns.message[at],
        exc_text=columns.exc_text[at],
        stack_info=columns.stack_info[at],
        extra=columns.extra[at],
        idx=columns.idx[at],
        offset=block.offset,
        received=block.received,
    )


def with_records(decoded: Decoded, records: Iterable[Record]) -> Decoded:
    """Return a block with other records, in the forms `records` and `columns`."""
    records = list(records)
    return decoded._replace(records=records, columns=columns_of(records))
