"""What a block holds beside its records: rejected frames, gaps of clients, loss notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from fastlog import block as blocks
from fastlog.block import Block, Kind, Run
from fastlog.protocol.frames import REASONS, GapReason, public_name, read_gap
from fastlog.record import RAW_BYTES, Loss, Rejection

SINGLY = 10
"""Rejected frames of one run that have a notice each. The others share one notice for each reason.
Four bytes make a frame that is rejected: a notice for each would cost a thousand times what sending
them costs."""
_MOST_LOST = 1 << 40
"""Records that one loss counts at most: sums of them must fit 64 bits."""


class Located(NamedTuple):
    """A notice, and its place in the block."""

    idx: int
    """Ordinal of its frame, counted over all runs of the block, from 0."""
    notice: Rejection | Loss
    by_receiver: bool = False
    """Whether the receiver rejected or lost it, and has logged that."""


class RejectedFrames:
    """The rejected frames of one run."""

    def __init__(self, block: Block, run: Run) -> None:
        self._block, self._run = block, run
        self._single: list[Located] = []
        self._first: dict[str, Located] = {}
        """Beyond the single ones: the first of each reason."""
        self._repeats: Counter[str] = Counter()

    def add(self, idx: int, frame: memoryview, reason: str) -> None:
        """Add a frame."""
        if reason in self._first:
            self._repeats[reason] += 1
            return
        located = Located(idx, _rejection(self._block, self._run, frame, reason))
        if len(self._single) < SINGLY:
            self._single.append(located)
        else:
            self._first[reason] = located

    def notices(self) -> Iterator[Located]:
        """Return the notices for all frames that were added."""
        yield from self._single
        for reason, (idx, notice, _) in self._first.items():
            yield Located(idx, msgspec.structs.replace(notice, count=1 + self._repeats[reason]))


def notices_of(block: Block, run: Run, idx: int) -> Iterator[Located]:
    """Return the notices in a run that holds no records.

    Args:
        block: The block of the run.
        run: The run.
        idx: Ordinal of its first frame in the block.
    """
    if run.kind is Kind.GAP:
        yield from _gaps(block, run, idx)
    elif run.kind is Kind.NOTICE:
        for at, frame in enumerate(blocks.frames(run), idx):
            yield Located(at, _notice(block, run, frame), by_receiver=True)
    elif run.frames and not isinstance(run.kind, Kind):
        yield Located(idx, _unknown(block, run))


def _unknown(block: Block, run: Run) -> Rejection:
    """Reject all frames of a run whose kind this version does not know: a newer one wrote it."""
    return Rejection(
        peer=run.peer,
        reason=f"a run of the unknown kind {int(run.kind)}",
        length=len(run.body),
        raw=bytes(run.body[:RAW_BYTES]),
        count=run.frames,
        received=block.received,
    )


def _gaps(block: Block, run: Run, idx: int) -> Iterator[Located]:
    """Return the losses that a client has declared. Records that another server has are no loss."""
    assert run.stamp is not None
    client = public_name(run.stamp.client)
    for at, frame in enumerate(blocks.frames(run), idx):
        gap = read_gap(frame)
        if gap.reason == GapReason.ELSEWHERE:
            continue
        unknown = f"given up by the client, reason {gap.reason}"
        last = _loss_time(gap.t1, block)
        loss = Loss(
            peer=run.peer,
            reason=REASONS.get(gap.reason, unknown),
            count=min(gap.last - gap.first + 1, _MOST_LOST),
            first=min(_loss_time(gap.t0, block), last),
            last=last,
            detail=f"client {client}, records {gap.first} to {gap.last}",
        )
        yield Located(at, loss)


def _loss_time(microseconds: int, block: Block) -> float:
    """Return the time that a client gave for a loss, in seconds since the epoch. Return the time of
    the block if the client gave none or a later one: no loss follows its declaration."""
    return min(microseconds / 1e6, block.received) if microseconds else block.received


def _notice(block: Block, run: Run, frame: memoryview) -> Rejection | Loss:
    try:
        return blocks.read_notice(frame)
    except msgspec.MsgspecError:
        return _rejection(block, run, frame, "unreadable notice of the receiver")


def _rejection(block: Block, run: Run, frame: memoryview, reason: str) -> Rejection:
    return Rejection(
        peer=run.peer,
        reason=reason,
        length=len(frame),
        raw=bytes(frame[:RAW_BYTES]),
        received=block.received,
    )
