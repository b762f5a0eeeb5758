"""The record of one frame: what the translator has left to Python."""

from __future__ import annotations

from typing import Any, Final

from fastlog.core import EXTRA
from fastlog.decode.engine import Row
from fastlog.decode.json_frames import quick_line, quick_record, read_json
from fastlog.decode.json_lines import encode
from fastlog.decode.record_builder import build_record, complete_record
from fastlog.decode.unpickle import unpickle
from fastlog.record import Record

_EXTRA: Final = Record._fields.index("extra")


def read_record(
    frame: bytes,
    *,
    host: str,
    certificate: str | None = None,
    received: float,
    offset: int,
    idx: int,
) -> Record:
    """Read the record in one frame: a JSON object if the frame begins with `{`, else a pickle.

    Args:
        frame: The payload of the frame.
        host, certificate, received, offset, idx: As in `Record`.

    Raises:
        RejectedError: The frame holds no record.
    """
    origin: dict[str, Any] = {
        "host": host,
        "certificate": certificate,
        "received": received,
        "offset": offset,
        "idx": idx,
    }
    if frame.startswith(b"{"):
        record = quick_record(frame, **origin)
        return record or build_record(read_json(frame), len(frame), **origin)
    with unpickle(frame) as root:
        return build_record(root, len(frame), **origin)


def read_line(
    frame: bytes,
    *,
    host: str,
    certificate: str | None = None,
    received: float,
    offset: int,
    idx: int,
) -> bytes:
    """Read the record in one frame as `read_record` does, and return it as a line of JSON without
    the line feed."""
    if frame.startswith(b"{"):
        line = quick_line(
            frame, host=host, certificate=certificate, received=received, offset=offset, idx=idx
        )
        if line is not None:
            return line
    return encode(
        read_record(
            frame, host=host, certificate=certificate, received=received, offset=offset, idx=idx
        )
    )


def complete_row(row: Row, verdict: int) -> Record:
    """Make the record of a row that holds an inert tree.

    Args:
        row: Has `(length of the frame, tree, shared nodes or None)` in the column `extra`.
        verdict: `EXTRA`: the tree is the extra attributes. `TREE`: it is the whole frame.

    Raises:
        RejectedError: The tree is no record.
    """
    length, tree, shared_nodes = row[_EXTRA]
    try:
        if verdict == EXTRA:
            return complete_record(row, tree, length)
        host, certificate, received, _, offset, idx = row[_EXTRA - 3 :]
        return build_record(
            tree,
            length,
            host=host,
            certificate=certificate,
            received=received,
            offset=offset,
            idx=idx,
        )
    finally:
        # The workers run without garbage collection, so cycles are undone here.
        for node in shared_nodes or ():
            node.clear()
