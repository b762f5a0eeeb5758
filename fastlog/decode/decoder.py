"""From a block of the journal to the records in it, and to notes of what was none.

Decoding is deterministic: the same block always gives the same answer, also in another process
and after a restart. Nothing that a frame holds is imported, called or executed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from typing import NamedTuple, Protocol

import msgspec

from fastlog import block as blocks
from fastlog import wire
from fastlog.block import Block, Kind, Run
from fastlog.core import FOREIGN, PLAIN, verdict_text
from fastlog.decode.inert import read
from fastlog.decode.lines import Form, encode, splice
from fastlog.decode.payload import read_json
from fastlog.decode.records import record_of
from fastlog.errors import ConfigError, RejectedError
from fastlog.record import RAW_BYTES, Loss, Record, Rejection, host_of

ENGINES = ("c", "python")
"""The first is the default."""
Spent = Callable[[Run, float], None]
Take = Callable[[Record], None]
SINGLY = 10
"""Rejected frames of one run that are noted one by one; the others are one note for each reason.
Four bytes make a frame that is rejected: a note for each would cost a thousand times what it costs
to send them."""
_MOST = 1 << 40
"""Records that one loss counts at most: sums of them must fit 64 bits."""


class Located(NamedTuple):
    """A note, and where in its block it stands."""

    idx: int
    """Ordinal of its frame, counted over all runs of the block, from 0."""
    note: Rejection | Loss
    by_receiver: bool = False
    """Whether the receiver refused or lost it, and has logged that."""


class Decoded(NamedTuple):
    """What a block holds."""

    block: Block
    records: list[Record]
    """In order of arrival; empty where lines were asked for."""
    notes: list[Located]
    """The frames that were rejected here, and what the receiver noted in the block, in order."""
    lines: bytes = b""
    """The records as lines of JSON, each with its end, where that was asked for."""


class PlainReader(Protocol):
    """Reads the plain frames of a block; `plain.Translator` is one."""

    def block(self, block: Block) -> bytes | None:
        """Take a block.

        Returns:
            What became of each frame, as `core.Repacker.block` says it; None: all are plain.
        """

    def records(self) -> list[Record]:
        """End the block: the records of all plain frames, in order."""

    def lines(self) -> bytes:
        """End the block: a line for each frame, empty where it is not plain."""


class _NoPlainReader:
    """The engine without C: to it no frame is plain."""

    def block(self, block: Block) -> bytes | None:
        self._frames = block.frames
        return bytes([FOREIGN]) * block.frames

    def records(self) -> list[Record]:
        return []

    def lines(self) -> bytes:
        return b"\n" * self._frames


def _plain_reader(form: Form) -> PlainReader:
    from fastlog.decode.plain import Translator  # imports pickle, which only this engine uses

    return Translator(form)


class Decoder:
    """Decodes blocks. It keeps nothing from one block to the next.

    Args:
        engine: `c` reads plain frames many at once, and what is not plain as `python` does, which
            reads every frame by itself. Both give the same answers.
        form: what the sink stores. Lines of plain frames never become Python objects.
        spent: Is told of each run that needed the slow reader, and the seconds of the processor
            that it took.
    """

    def __init__(
        self,
        engine: str = ENGINES[0],
        form: Form = "records",
        spent: Spent | None = None,
    ) -> None:
        if engine not in ENGINES:
            raise ConfigError(f"decode.engine: {engine!r} is none of {', '.join(ENGINES)}")
        self.engine, self.form, self._spent = engine, form, spent
        self._reader: PlainReader = _plain_reader(form) if engine == "c" else _NoPlainReader()

    def decode(self, block: Block) -> Decoded:
        """The records and the notes of a block; no bytes in its frames make this fail."""
        if self.form == "lines":
            return self._as_lines(block)
        others: list[Record] = []
        notes = self._read_others(block, self._reader.block(block), others.append)
        records = self._reader.records()
        if others:
            records += others
            records.sort(key=attrgetter("idx"))
        return Decoded(block, records, notes)

    def _as_lines(self, block: Block) -> Decoded:
        """The same, with lines in place of the records."""
        others: dict[int, bytes] = {}

        def take(record: Record) -> None:
            others[record.idx] = encode(record)

        verdicts = self._reader.block(block)
        notes = self._read_others(block, verdicts, take)
        lines = self._reader.lines()
        return Decoded(block, [], notes, lines if verdicts is None else splice(lines, others))

    def _read_others(self, block: Block, verdicts: bytes | None, take: Take) -> list[Located]:
        """Read the frames that are not plain, and the runs that hold no records."""
        notes: list[Located] = []
        if verdicts is None:
            return notes
        idx = 0
        for run in blocks.runs(block.payload):
            if run.kind not in blocks.RECORDS:
                notes += _notes(block, run, idx)
            elif any(own := verdicts[idx : idx + run.frames]):  # PLAIN is 0
                began = time.thread_time()
                notes += _read_aside(block, run, idx, own, take)
                if self._spent is not None:
                    self._spent(run, time.thread_time() - began)
            idx += run.frames
        return notes


def _read_aside(block: Block, run: Run, idx: int, verdicts: bytes, take: Take) -> Iterator[Located]:
    """Read the frames of a run that are foreign, one by one, and note those that are rejected."""
    host = host_of(run.peer)
    rejected = _Rejected(block, run)
    texts = {verdict: verdict_text(verdict) for verdict in set(verdicts) - {PLAIN, FOREIGN}}
    for verdict, frame in zip(verdicts, blocks.frames(run), strict=True):
        if verdict == FOREIGN:
            if reason := _take_record(block, host, frame, idx, take):
                rejected.add(idx, frame, reason)
        elif verdict != PLAIN:
            rejected.add(idx, frame, texts[verdict])
        idx += 1
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
    client = wire.public_name(run.stamp.client)
    for at, frame in enumerate(blocks.frames(run), idx):
        gap = wire.read_gap(frame)
        if gap.reason == wire.Reason.ELSEWHERE:
            continue
        unknown = f"given up by the client, reason {gap.reason}"
        last = _moment(gap.t1, block)
        loss = Loss(
            peer=run.peer,
            reason=wire.REASONS.get(gap.reason, unknown),
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
        return blocks.read_note(frame)
    except msgspec.MsgspecError:
        return _rejection(block, run, frame, "unreadable note of the receiver")


def _take_record(block: Block, host: str, frame: memoryview, idx: int, take: Take) -> str | None:
    """Take the record in a frame; why there is none, if so."""
    try:
        record = read_record(
            bytes(frame), host=host, received=block.received, offset=block.offset, idx=idx
        )
        take(record)
    except RejectedError as error:
        return str(error)
    except Exception as error:
        # A mistake of ours. The worker must get past it, and the ledger must tell of it.
        return f"decoder failed: {type(error).__name__}"
    return None


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
    make = partial(record_of, host=host, received=received, offset=offset, idx=idx)
    if frame.startswith(b"{"):
        return make(read_json(frame), len(frame))
    with read(frame) as value:
        return make(value, len(frame))
