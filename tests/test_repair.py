"""What a repair of the journal says about the records that it could not save."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fastlog.block import Block, Kind, frames, make_run, read_note, runs
from fastlog.journal import Journal, JournalReader, repair
from fastlog.journal.segment import segments
from fastlog.record import Loss


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A journal of some segments, each of some blocks of three frames."""
    directory = tmp_path / "journal"
    journal = Journal(directory, segment=4096, delay=0.0)
    for n in range(30):
        journal.append(make_run(Kind.STOCK, [b"%d.%d" % (n, k) + b"x" * 200 for k in range(3)]), 3)
    journal.close()
    assert len(segments(directory)) > 3
    return directory


def read_all(directory: Path) -> list[Block]:
    reader, found = JournalReader(directory), []
    at = segments(directory)[0].start
    while more := reader.read(at):
        found += more
        at = more[-1].end
    reader.close()
    return found


def overwrite(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff\xee\xdd")


def lose_a_segment(directory: Path) -> None:
    segments(directory)[1].path.unlink()


def cut_a_segment(directory: Path) -> None:
    segment = segments(directory)[1]
    os.truncate(segment.path, segment.path.stat().st_size - 100)


def damage_the_oldest_block_of_a_journal_that_was_released_before(directory: Path) -> None:
    segments(directory)[0].path.unlink()
    overwrite(segments(directory)[0].path, 60)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lose_a_segment, None),
        (cut_a_segment, 3),
        (damage_the_oldest_block_of_a_journal_that_was_released_before, -1),
    ],
)
def test_the_loss_is_counted_where_the_next_sound_block_tells_how_much_it_is(
    filled: Path, damage: Callable[[Path], None], expected: int | None
) -> None:
    before = read_all(filled)
    first, second = (segment.start for segment in segments(filled)[1:3])
    if expected is None:
        expected = sum(block.frames for block in before if first <= block.offset < second)
        assert expected > 3
    damage(filled)
    said = repair(filled)

    left = [(run, block) for block in read_all(filled) for run in runs(block.payload)]
    notes = [read_note(f) for run, _ in left if run.kind is Kind.NOTE for f in frames(run)]
    assert [note.count for note in notes if isinstance(note, Loss)] == [expected]
    assert f"({expected if expected > 0 else 'an unknown number of'} records)" in said
    ordinals = {block.offset: block.index for block in before}
    for run, block in left:
        if run.kind is Kind.STOCK:
            assert block.index == ordinals[block.offset]
