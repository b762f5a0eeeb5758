"""The decoder: from a block of the journal to its records, its rejections and its losses.

Decoding is deterministic: the same block always gives the same result, also in another process and
after a restart. Nothing that a frame holds is imported, called or executed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from fastlog import block as blocks
from fastlog.block import Block
from fastlog.core import EXTRA, FALLBACK, PLAIN, TREE, verdict_text
from fastlog.decode import copy_rows
from fastlog.decode.columns import Columns
from fastlog.decode.engine import Engine, Form, PythonEngine, Row
from fastlog.decode.frame import complete_row, read_line, read_record
from fastlog.decode.inert_tree import allow_digits
from fastlog.decode.json_lines import encode
from fastlog.decode.notices import Located, RejectedFrames, notices_of
from fastlog.errors import ConfigError, RejectedError
from fastlog.record import Record, host_of, identity_of

ENGINES = ("c", "python")
"""The first is the default."""

_RECORD: Final = partial(tuple.__new__, Record)  # Record._make would count the values once more


class Decoded(NamedTuple):
    """What a block holds."""

    block: Block
    records: list[Record]
    """In order of arrival; empty in other forms than `records`."""
    notices: list[Located]
    """The frames that were rejected here, and what the receiver noted in the block, in order."""
    lines: bytes = b""
    """In the form `lines`: the records as lines of JSON, each with its line feed."""
    columns: Columns | None = None
    """In the form `columns`: the records as columns."""
    copy: bytes = b""
    """In the form `copy`: the records as tuples of PostgreSQL's binary COPY (`copy_rows`)."""
    filtered: int = 0
    """Records that the sink's filter has left out."""
    redacted: Mapping[str, int] | None = None
    """Stored records that each rule of redaction has changed, by the name of the rule."""

    def only(self, positions: Sequence[int], idx: Collection[int], total: int) -> Decoded:
        """Return the block with some of its records only.

        Args:
            positions: Where they are among the records of the block, in order of arrival.
            idx: Their ordinals; COPY data is in another order.
            total: How many records the block has.
        """
        records = [self.records[at] for at in positions] if self.records else []
        columns = None if self.columns is None else self.columns.selected(positions)
        lines = self.lines.split(b"\n") if self.lines else []
        copy = copy_rows.only(self.copy, idx, total) if self.copy else self.copy
        return self._replace(
            records=records,
            columns=columns,
            lines=b"".join([lines[at] + b"\n" for at in positions]) if lines else b"",
            copy=copy,
        )

    def without(self, idx: Collection[int]) -> Decoded:
        """Return the block without the records of some frames; not in the form `lines`."""
        kept = [record for record in self.records if record.idx not in idx]
        columns = None if self.columns is None else self.columns.without(idx)
        copy = copy_rows.without(self.copy, idx) if self.copy else self.copy
        return self._replace(records=kept, columns=columns, copy=copy)


def _engine(name: str, form: Form, node: bytes) -> Engine:
    if name == "python":
        return PythonEngine(form)
    from fastlog.decode.c_engine import CEngine  # imports pickle, which only this engine uses

    return CEngine(form, node)


class Decoder:
    """Decodes blocks. From one block to the next, it keeps only numbers of combinations that recur.

    Args:
        engine: `c` translates the frames of a block at once; what is not plain comes as inert
            trees. `python` makes the trees in Python, frame by frame. Both give the same results.
        form: What the sink stores. In the forms `lines` and `copy`, plain frames never become
            Python objects.
        node: The id of the journal, 16 bytes: a field of each tuple in the form `copy`.

    Raises:
        ConfigError: There is no such engine.
    """

    def __init__(
        self, engine: str = ENGINES[0], form: Form = "records", node: bytes = copy_rows.NO_NODE
    ) -> None:
        if engine not in ENGINES:
            raise ConfigError(f"decode.engine: {engine!r} is none of {', '.join(ENGINES)}")
        allow_digits()
        self.engine, self.form, self._node = engine, form, node
        self._engine = _engine(engine, form, node)

    def decode(self, block: Block) -> Decoded:
        """Return the records and the notices of a block; no bytes in its frames make this fail."""
        verdicts, rows, lines, columns, copy = self._engine.translate(block)
        if verdicts is None:  # all frames are plain
            return Decoded(block, list(map(_RECORD, rows)), [], lines, columns, copy)
        if self.form == "lines":
            written: list[Any] = lines.split(b"\n")
            notices = _complete(block, verdicts, iter(rows), written, self.form)
            return Decoded(block, [], notices, b"".join([line + b"\n" for line in written if line]))
        results: list[Any] = [None] * block.frames
        notices = _complete(block, verdicts, iter(rows), results, self.form)
        records = [record for record in results if record is not None]
        if columns is not None:
            return Decoded(block, [], notices, columns=columns.added(records))
        if self.form == "copy":
            rest = b"".join([copy_rows.encode(record, self._node) for record in records])
            return Decoded(block, [], notices, copy=copy + rest)
        return Decoded(block, records, notices)


def _complete(
    block: Block, verdicts: bytes, rows: Iterator[Row], results: list[Any], form: Form
) -> list[Located]:
    """Fill in the records of a block of which not all frames are plain.

    Args:
        block: The block.
        verdicts, rows: As in `Translation`.
        results: One entry for each frame, to be set: a record or, in the form `lines`, a line of
            JSON without its line feed, where the lines of plain frames are set already. The entry
            of a frame that holds no record stays None or empty; in the forms `columns` and
            `copy`, also that of a plain frame.
        form: What the block is decoded into.

    Returns:
        The notices of the block, in order.
    """
    as_lines = form == "lines"
    has_plain_rows = form == "records"
    notices: list[Located] = []
    end = 0
    for run in blocks.runs(block.payload):
        start, end = end, end + run.frames
        if run.kind not in blocks.RECORDS:
            notices += notices_of(block, run, start)
            continue
        if not any(verdicts[start:end]):  # PLAIN is 0
            if has_plain_rows:
                results[start:end] = map(_RECORD, islice(rows, run.frames))
            continue
        host, certificate = host_of(run.peer), identity_of(run.peer)
        received, offset = block.received, block.offset
        rejected = RejectedFrames(block, run)
        read: Any = read_line if as_lines else read_record
        each = zip(verdicts[start:end], blocks.frames(run), strict=True)
        for idx, (verdict, frame) in enumerate(each, start):
            try:
                if verdict == PLAIN:
                    if has_plain_rows:
                        results[idx] = _RECORD(next(rows))
                elif verdict in (EXTRA, TREE):
                    record = complete_row(next(rows), verdict)
                    results[idx] = encode(record) if as_lines else record
                elif verdict == FALLBACK:
                    results[idx] = read(
                        bytes(frame),
                        host=host,
                        certificate=certificate,
                        received=received,
                        offset=offset,
                        idx=idx,
                    )
                else:
                    rejected.add(idx, frame, verdict_text(verdict))
            except RejectedError as error:
                rejected.add(idx, frame, str(error))
            except Exception as error:
                # A bug in the decoder: the worker must continue, and the ledger must show it.
                rejected.add(idx, frame, f"decoder failed: {type(error).__name__}")
        notices += rejected.notices()
    return notices
