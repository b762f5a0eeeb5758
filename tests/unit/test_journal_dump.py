"""The dump of the journal describes each block and run, and all damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_blocks import overwrite, read_all, run_of

from fastlog.block import Kind, Stamp, make_run
from fastlog.journal import Journal, dump
from fastlog.journal.segment import segments


def test_a_dump_describes_each_block_and_run(directory: Path) -> None:
    stamp = Stamp(bytes(range(16)), incarnation=3, sequence=41)
    batch = make_run(Kind.BATCH, [b"b", b"c"], peer="[::1]:7", connection=9, stamp=stamp)
    journal = Journal(directory, clock=lambda: 1_700_000_000.25)
    journal.append(run_of(b"a") + batch, 3)
    journal.append(run_of(b"d"), 1)
    assert journal.flush(30)
    name = segments(directory)[0].path.name
    first, second = read_all(directory)
    live = list(dump(directory))
    journal.close()
    assert (
        live
        == list(dump(directory))
        == [
            f"journal {directory}: node {journal.node}, 1 segments, durable offset {second.end}",
            f"segment {name}: offset 0, {second.end} bytes",
            f"{name} offset 0: {first.end} bytes, index 0, 3 frames, "
            "received 2023-11-14T22:13:20.250000Z, durable 0, checksum ok",
            "    stock: 1 frames, 5 bytes, peer 127.0.0.1:5, connection 0",
            "    batch: 2 frames, 10 bytes, peer [::1]:7, connection 9, "
            "client 000102030405060708090a0b0c0d0e0f, incarnation 3, sequence 41",
            f"{name} offset {second.offset}: {second.end - second.offset} bytes, index 3, "
            "1 frames, received 2023-11-14T22:13:20.250000Z, durable 0, checksum ok",
            "    stock: 1 frames, 5 bytes, peer 127.0.0.1:5, connection 0",
        ]
    )
    assert list(dump(directory, start=second.offset)) == [*live[:2], *live[-2:]]
    assert "        1 bytes: b'c'" in list(dump(directory, frames=True))


def test_a_dump_says_what_is_damaged_and_where(filled: Path) -> None:
    blocks, first, second = read_all(filled), *segments(filled)[:2]
    overwrite(first.path, blocks[1].offset + 60)
    victims = [
        block for block in blocks if second.start <= block.offset < segments(filled)[2].start
    ]
    second.path.unlink()
    os.truncate(segments(filled)[-1].path, blocks[-1].offset - segments(filled)[-1].start + 9)
    lines = list(dump(filled))
    where = f"{first.path.name} offset {blocks[1].offset}: "
    size = blocks[1].end - blocks[1].offset
    assert any(line.startswith(where) and "checksum WRONG" in line for line in lines)
    assert f"{where}damaged: {size} bytes are not a valid block" in lines
    assert any(
        line.startswith(f"{first.path.name} offset {second.start}: damaged: ")
        and f"{victims[-1].end - second.start} bytes before the next segment are missing" in line
        for line in lines
    )
    last = f"{segments(filled)[-1].path.name} offset {blocks[-1].offset}: damaged: 9 bytes"
    assert any(line.startswith(last) for line in lines)
    assert sum("checksum ok" in line for line in lines) == 85 - 2 - len(victims)


def test_a_dump_of_a_directory_without_segments_says_so(tmp_path: Path) -> None:
    assert list(dump(tmp_path)) == [
        f"journal {tmp_path}: node missing or damaged, 0 segments, durable offset unknown"
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 900), garbage=st.binary(min_size=1, max_size=200))
def test_a_dump_of_any_damage_has_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, at: int, garbage: bytes
) -> None:
    directory = tmp_path_factory.mktemp("dump") / "journal"
    journal = Journal(directory, delay=3600)
    for i in range(4):
        journal.append(run_of(b"%d" % i * 100), 1)
    journal.close()
    (segment,) = segments(directory)
    with segment.path.open("r+b") as file:
        file.seek(at)
        file.write(garbage)
    assert list(dump(directory, frames=True))
