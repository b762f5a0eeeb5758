"""From a block of the journal to the records in it, and to notes of what was none.

Decoding is deterministic: the same block always gives the same answer, also in another process
and after a restart. Nothing that a frame holds is imported, called or executed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol, TypedDict

import msgspec

from fastlog import block as blocks
from fastlog.block import Block, Kind, Run
from fastlog.core import EXTRA, FOREIGN, PLAIN, TREE, verdict_text
from fastlog.decode.inert import read
from fastlog.decode.lines import Form, encode, splice
from fastlog.decode.nodes import allow_digits
from fastlog.decode.payload import quick_line, quick_record, read_json
from fastlog.decode.records import complete, record_of
from fastlog.errors import ConfigError, RejectedError
from fastlog.protocol.frames import REASONS, Reason, public_name, read_gap
from fastlog.record import RAW_BYTES, Loss, Record, Rejection, host_of

ENGINES = ("c", "python")
"""The first is the default."""
Row = tuple[Any, ...]
SINGLY = 10
"""Rejected frames of one run that are noted one by one; the others are one note for each reason.
Four bytes make a frame that is rejected: a note for each would cost a thousand times what it costs
to send them."""
_MOST = 1 << 40
"""Records that one loss counts at most: sums of them must fit 64 bits."""
_EXTRA: Final = Record._fields.index("extra")
_RECORD: Final = partial(tuple.__new__, Record)  # Record._make would count the values once more


class Place(TypedDict):
    """Where a frame was received, and where it stands in the journal: as in `Record`."""

    host: str
    received: float
    offset: int
    idx: int


class Located(NamedTuple):
    """A note, and where in its block it stands."""

    idx: int
    """Ordinal of its frame, counted over all runs of the block, from 0."""
    note: Rejection | Loss
    by_receiver: bool = False
    """Whether the receiver rejected or lost it, and has logged that."""


class Decoded(NamedTuple):
    """What a block holds."""

    block: Block
    records: list[Record]
    """In order of arrival; empty where lines were asked for."""
    notes: list[Located]
    """The frames that were rejected here, and what the receiver noted in the block, in order."""
    lines: bytes = b""
    """The records as lines of JSON, each with its end, where that was asked for."""


class FrameReader(Protocol):
    """Reads the frames of a block; `plain.PlainReader` is one."""

    def block(self, block: Block) -> bytes | None:
        """Take a block.

        Returns:
            What became of each frame, as `core.Translator.block` says it; None: all are plain.
        """

    def end(self) -> tuple[list[Row], bytes]:
        """End the block.

        Returns:
            The rows of its frames, in order, and where lines are wanted, a line for each frame:
            empty where it is not plain. Plain frames have no row then.
        """


class _NoReader:
    """The engine without C: to it all frames are foreign."""

    def block(self, block: Block) -> bytes | None:
        self._frames = block.frames
        return bytes([FOREIGN]) * block.frames

    def end(self) -> tuple[list[Row], bytes]:
        return [], b"\n" * self._frames


def _translator(form: Form) -> FrameReader:
    from fastlog.decode.plain import PlainReader  # imports pickle, which only this engine uses

    return PlainReader(form)


class Decoder:
    """Decodes blocks. It keeps nothing from one block to the next.

    Args:
        engine: `c` reads the frames of a block at once; what is not plain comes as inert trees.
            `python` makes the trees by itself, frame by frame. Both give the same answers.
        form: what the sink stores. Lines of plain frames never become Python objects.
    """

    def __init__(self, engine: str = ENGINES[0], form: Form = "records") -> None:
        if engine not in ENGINES:
            raise ConfigError(f"decode.engine: {engine!r} is none of {', '.join(ENGINES)}")
        allow_digits()
        self.engine, self.form = engine, form
        self._reader: FrameReader = _translator(form) if engine == "c" else _NoReader()

    def decode(self, block: Block) -> Decoded:
        """The records and the notes of a block; no bytes in its frames make this fail."""
        verdicts = self._reader.block(block)
        rows, lines = self._reader.end()
        if verdicts is None:
            return Decoded(block, list(map(_RECORD, rows)), [], lines)
        made: _Records | _Lines = _Records() if self.form == "records" else _Lines(lines)
        notes = _read_runs(block, verdicts, rows, made)
        return Decoded(block, made.records, notes, made.lines())


class _Records:
    """The records of a block, in order."""

    plain_have_rows = True

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, record: Record) -> None:
        self.records.append(record)

    def add_plain(self, rows: Iterable[Row]) -> None:
        self.records += map(_RECORD, rows)

    def read(self, frame: bytes, place: Place) -> None:
        """Add the record of a frame that the translator has not read."""
        self.add(read_record(frame, **place))

    def lines(self) -> bytes:
        return b""


class _Lines:
    """The records of a block as lines: plain ones come as lines from C."""

    plain_have_rows = False

    def __init__(self, plain: bytes) -> None:
        self.records: list[Record] = []
        self._plain = plain
        self._others: dict[int, bytes] = {}

    def add(self, record: Record) -> None:
        self._others[record.idx] = encode(record)

    def add_plain(self, rows: Iterable[Row]) -> None:
        """Plain frames have no rows."""

    def read(self, frame: bytes, place: Place) -> None:
        line = quick_line(frame, **place) if frame.startswith(b"{") else None
        if line is None:
            self.add(read_record(frame, **place))
        else:
            self._others[place["idx"]] = line

    def lines(self) -> bytes:
        return splice(self._plain, self._others)


def _read_runs(
    block: Block, verdicts: bytes, rows: list[Row], made: _Records | _Lines
) -> list[Located]:
    """Read a block of which not all frames are plain, and note what is no record."""
    notes: list[Located] = []
    left, idx = iter(rows), 0
    for run in blocks.runs(block.payload):
        own = verdicts[idx : idx + run.frames]
        if run.kind not in blocks.RECORDS:
            notes += _notes(block, run, idx)
        elif any(own):  # PLAIN is 0
            notes += _read_run(block, run, idx, own, left, made)
        elif made.plain_have_rows:
            made.add_plain(islice(left, run.frames))
        idx += run.frames
    return notes


def _read_run(
    block: Block,
    run: Run,
    idx: int,
    verdicts: bytes,
    rows: Iterator[Row],
    made: _Records | _Lines,
) -> Iterator[Located]:
    """The same for one run that holds records."""
    host, received, offset = host_of(run.peer), block.received, block.offset
    rejected = _Rejected(block, run)
    for at, (verdict, frame) in enumerate(zip(verdicts, blocks.frames(run), strict=True), idx):
        try:
            if verdict == PLAIN:
                if made.plain_have_rows:
                    made.add_plain(islice(rows, 1))
            elif verdict in (EXTRA, TREE):
                made.add(read_row(next(rows), verdict))
            elif verdict == FOREIGN:
                place: Place = {"host": host, "received": received, "offset": offset, "idx": at}
                made.read(bytes(frame), place)
            else:
                rejected.add(at, frame, verdict_text(verdict))
        except RejectedError as error:
            rejected.add(at, frame, str(error))
        except Exception as error:
            # A mistake of ours. The worker must get past it, and the ledger must tell of it.
            rejected.add(at, frame, f"decoder failed: {type(error).__name__}")
    return rejected.notes()


class _Rejected:
    """What is rejected of a run."""

    def __init__(self, block: Block, run: Run) -> None:
        self._block, self._run = block, run
        self._single: list[Located] = []
        self._first: dict[str, Located] = {}
        self._count: Counter[str] = Counter()

    def add(self, idx: int, frame: memoryview, reason: str) -> None:
        if reason in self._first:
            self._count[reason] += 1
            return
        located = Located(idx, _rejection(self._block, self._run, frame, reason))
        if len(self._single) < SINGLY:
            self._single.append(located)
        else:
            self._first[reason] = located

    def notes(self) -> Iterator[Located]:
        yield from self._single
        for reason, (idx, note, _) in self._first.items():
            yield Located(idx, msgspec.structs.replace(note, count=1 + self._count[reason]))


def _notes(block: Block, run: Run, idx: int) -> Iterator[Located]:
    """What a run that holds no records tells the ledger."""
    if run.kind is Kind.GAP:
        yield from _gaps(block, run, idx)
    elif run.kind is Kind.NOTE:
        for at, frame in enumerate(blocks.frames(run), idx):
            yield Located(at, _note(block, run, frame), by_receiver=True)
    elif run.frames and not isinstance(run.kind, Kind):
        yield Located(idx, _unknown(block, run))


def _unknown(block: Block, run: Run) -> Rejection:
    """All frames of a run whose kind this version does not know: a newer one wrote it."""
    return Rejection(
        peer=run.peer,
        reason=f"a run of the unknown kind {int(run.kind)}",
        length=len(run.body),
        raw=bytes(run.body[:RAW_BYTES]),
        count=run.frames,
        received=block.received,
    )


def _gaps(block: Block, run: Run, idx: int) -> Iterator[Located]:
    """What a client has given up. What another server has is no loss."""
    assert run.stamp is not None
    client = public_name(run.stamp.client)
    for at, frame in enumerate(blocks.frames(run), idx):
        gap = read_gap(frame)
        if gap.reason == Reason.ELSEWHERE:
            continue
        unknown = f"given up by the client, reason {gap.reason}"
        last = _moment(gap.t1, block)
        loss = Loss(
            peer=run.peer,
            reason=REASONS.get(gap.reason, unknown),
            count=min(gap.last - gap.first + 1, _MOST),
            first=min(_moment(gap.t0, block), last),
            last=last,
            detail=f"client {client}, records {gap.first} to {gap.last}",
        )
        yield Located(at, loss)


def _moment(microseconds: int, block: Block) -> float:
    """Return the time that a client has told, or when we heard of it where that cannot be: nothing
    is lost after it was declared as lost."""
    return min(microseconds / 1e6, block.received) if microseconds else block.received


def _note(block: Block, run: Run, frame: memoryview) -> Rejection | Loss:
    try:
        return blocks.read_notice(frame)
    except msgspec.MsgspecError:
        return _rejection(block, run, frame, "unreadable note of the receiver")


def _rejection(block: Block, run: Run, frame: memoryview, reason: str) -> Rejection:
    return Rejection(
        peer=run.peer,
        reason=reason,
        length=len(frame),
        raw=bytes(frame[:RAW_BYTES]),
        received=block.received,
    )


def read_record(frame: bytes, *, host: str, received: float, offset: int, idx: int) -> Record:
    """The record in one frame: a JSON object where it begins with `{`, else a pickle.

    Raises:
        RejectedError: the frame holds no record.
    """
    length = len(frame)
    if frame.startswith(b"{"):
        record = quick_record(frame, host=host, received=received, offset=offset, idx=idx)
        if record is not None:
            return record
        root = read_json(frame)
        return record_of(root, length, host=host, received=received, offset=offset, idx=idx)
    with read(frame) as root:
        return record_of(root, length, host=host, received=received, offset=offset, idx=idx)


def read_row(row: Row, verdict: int) -> Record:
    """The record of a row in which something is a tree.

    Raises:
        RejectedError: the tree is no record.
    """
    length, tree, met = row[_EXTRA]
    try:
        if verdict == EXTRA:
            return complete(row, tree, length)
        host, received, _, offset, idx = row[_EXTRA - 2 :]
        return record_of(tree, length, host=host, received=received, offset=offset, idx=idx)
    finally:
        for node in met or ():  # the workers collect no garbage
            node.clear()
