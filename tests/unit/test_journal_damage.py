"""Damage to durable blocks of the journal is reported, and can be repaired."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from journal_blocks import overwrite, payloads, read_all, run_of

from fastlog.block import Kind, frames, read_notice, runs
from fastlog.errors import JournalDamagedError
from fastlog.journal import Journal, JournalReader, SinkPosition, repair, write_position
from fastlog.journal.segment import segments
from fastlog.record import Loss


@pytest.mark.parametrize("evidence", ["durable offset", "sink", "blocks"])
def test_an_unreadable_durable_block_is_damage(filled: Path, evidence: str) -> None:
    blocks = read_all(filled)
    (filled / "durable").unlink()
    last = segments(filled)[-1]
    victim = next(b for b in blocks if b.offset >= last.start)
    if evidence == "durable offset":
        Journal(filled).close()
        victim = blocks[-1]
    elif evidence == "sink":
        node = (filled / "node").read_text().strip()
        position = SinkPosition(node=node, cursor=0, durable=blocks[-1].end, index=85, at=0.0)
        write_position(filled.parent, "sqlite", position)
        victim = blocks[-1]
    overwrite(last.path, victim.offset - last.start + 60)
    with pytest.raises(JournalDamagedError, match=str(victim.offset)):
        Journal(filled)


def test_the_cursor_of_a_copy_of_the_journal_is_no_damage(filled: Path) -> None:
    """Two servers with copies of one journal share a cursor, and it fits the blocks of one."""
    block = read_all(filled)[-1]
    reader = JournalReader(filled)
    with pytest.raises(JournalDamagedError, match="stores a copy of this journal"):
        reader.read(block.offset + 7)
    overwrite(segments(filled)[-1].path, block.offset - segments(filled)[-1].start + 3)
    for offset in (block.offset, block.offset + 7):
        with pytest.raises(JournalDamagedError, match="no valid block there"):
            reader.read(offset)
    reader.close()


def test_a_missing_segment_is_damage(filled: Path) -> None:
    segments(filled)[2].path.unlink()
    with pytest.raises(JournalDamagedError, match="missing"):
        Journal(filled)


@pytest.mark.parametrize("damage", ["byte", "segment", "tail", "end of a segment"])
def test_a_repair_keeps_readable_blocks_and_reports_the_others(filled: Path, damage: str) -> None:
    blocks = read_all(filled)
    victim_segment = segments(filled)[2] if damage != "tail" else segments(filled)[-1]
    here = [b for b in blocks if b.offset >= victim_segment.start]
    if damage == "byte":
        victims = here[1:2]
        overwrite(victim_segment.path, victims[0].offset - victim_segment.start + 60)
    elif damage == "segment":
        until = segments(filled)[3].start
        victims = [b for b in here if b.offset < until]
        victim_segment.path.unlink()
    elif damage == "tail":
        victims = here[-1:]
        os.truncate(victim_segment.path, victims[0].offset - victim_segment.start + 5)
    else:
        until = segments(filled)[3].start
        victims = [b for b in here if b.end == until]
        os.truncate(victim_segment.path, victims[0].offset - victim_segment.start)
    with pytest.raises(JournalDamagedError):
        Journal(filled)
    assert str(victims[0].offset) in repair(filled)
    journal = Journal(filled)
    journal.append(run_of(b"next"), 1)
    journal.close()
    repaired = read_all(filled)
    stock = [
        bytes(f)
        for b in repaired
        for r in runs(b.payload)
        if r.kind == Kind.STOCK
        for f in frames(r)
    ]
    notices = [
        read_notice(f)
        for b in repaired
        for r in runs(b.payload)
        if r.kind == Kind.NOTICE
        for f in frames(r)
    ]
    assert stock == [*payloads([b for b in blocks if b not in victims]), b"next"]
    assert [type(notice) for notice in notices] == [Loss]
    assert repair(filled) == "the journal is intact: nothing was changed"
