"""The journal recovers from a tail that is torn at any byte, whatever its records contain."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_blocks import overwrite, payloads, read_all, run_of

from fastlog.block import HEADER, MAGIC, SECRET_BYTES, Block
from fastlog.errors import JournalDamagedError
from fastlog.journal import Journal
from fastlog.journal.secret import read_secret
from fastlog.journal.segment import Header, pack_header, segments


def forged_blocks(offset: int, count: int, secret: bytes) -> bytes:
    """Return valid blocks for this journal offset, with their own offset as the durable one."""
    made = b""
    for n in range(count):
        at = offset + len(made)
        runs = run_of(b"forged %d" % n)
        header = Header(len(runs), 1, offset=at, durable=at, index=n, received_us=0)
        made += pack_header(header, runs, secret) + runs
    return made


def torn_with_forgeries(
    directory: Path, cut: int, secret: Callable[[Path], bytes]
) -> tuple[Path, list[Block]]:
    """Make a journal whose last block holds forged blocks and is torn, as after a power cut.

    Returns:
        The path of its segment, and its valid blocks.
    """
    journal = Journal(directory, delay=3600)  # no block has a durable offset above 0
    for n in range(3):
        journal.append(run_of(b"genuine %d" % n), 1)
    place = journal.end + HEADER.size + len(run_of(b""))  # the journal offset of the record
    forged = forged_blocks(place, 20, secret(directory))
    journal.append(run_of(forged + bytes(200)), 1)
    journal.close()
    whole = read_all(directory)
    (segment,) = segments(directory)
    assert segment.path.read_bytes().find(forged) == place, "the forged blocks are at their offset"
    os.truncate(segment.path, min(whole[-1].end - 1, cut))
    (directory / "durable").unlink()
    return segment.path, [block for block in whole if block.end <= cut][:3]


GUESSES: dict[str, Callable[[Path], bytes]] = {
    "zeros": lambda _: bytes(SECRET_BYTES),
    "the node id": lambda d: bytes.fromhex((d / "node").read_text()),
    "its digest": lambda d: hashlib.sha256((d / "node").read_bytes().strip()).digest()[:16],
    "half of it": lambda d: (read_secret(d) or b"")[:8] + bytes(8),
}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut=st.integers(0, 3600), guess=st.sampled_from(sorted(GUESSES)))
def test_a_torn_tail_is_cut_whatever_blocks_its_records_hold(
    tmp_path_factory: pytest.TempPathFactory, cut: int, guess: str
) -> None:
    """The forger knows the layout, the offset, the node id and the checksum, not the secret."""
    directory = tmp_path_factory.mktemp("forged") / "journal"
    _, valid = torn_with_forgeries(directory, cut, GUESSES[guess])
    recovered = Journal(directory)
    assert recovered.end == (valid[-1].end if valid else 0)
    recovered.append(run_of(b"next"), 1)
    recovered.close()
    assert payloads(read_all(directory)) == [*payloads(valid), b"next"]


def test_a_block_that_is_forged_with_the_secret_is_taken_for_a_block(directory: Path) -> None:
    """So the forged blocks of the test above are valid but for the secret."""
    torn_with_forgeries(directory, 3000, lambda d: read_secret(d) or b"")
    with pytest.raises(JournalDamagedError):
        Journal(directory)


def test_recovery_of_a_tail_full_of_forged_headers_is_fast(directory: Path) -> None:
    """Each has its offset and a length of megabytes, for which a checksum could be computed."""
    journal = Journal(directory, delay=3600)
    journal.append(run_of(b"genuine"), 1)
    end = journal.end
    place = end + HEADER.size + len(run_of(b""))
    fields = (8 << 20, 1), (0, 0, 0)
    forged = b"".join(
        HEADER.pack(MAGIC, bytes(SECRET_BYTES), 0, *fields[0], place + at, *fields[1])
        for at in range(0, 16 << 20, HEADER.size)
    )
    journal.append(run_of(forged), 1)
    journal.close()
    (segment,) = segments(directory)
    os.truncate(segment.path, segment.path.stat().st_size - 1)
    (directory / "durable").unlink()
    started = time.process_time()
    recovered = Journal(directory)
    assert time.process_time() - started < 10, "0.1 s when written; hours with a checksum for each"
    assert recovered.end == end
    recovered.close()


def test_recovery_of_a_large_damaged_segment_is_linear(directory: Path) -> None:
    journal = Journal(directory, delay=0)
    for _ in range(20_000):
        journal.append(run_of(bytes(200)), 1)
    journal.close()
    (segment,) = segments(directory)
    overwrite(segment.path, 60)
    started = time.process_time()
    with pytest.raises(JournalDamagedError):
        Journal(directory)
    assert time.process_time() - started < 20, "0.3 s when written; minutes when it was quadratic"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut=st.integers(0, 3000), garbage=st.binary(max_size=40))
def test_a_tail_torn_at_any_byte_is_cut_and_all_blocks_before_it_stay(
    tmp_path_factory: pytest.TempPathFactory, cut: int, garbage: bytes
) -> None:
    """As after a power cut: one segment, no known durable offset, any byte the last one."""
    directory = tmp_path_factory.mktemp("torn") / "journal"
    journal = Journal(directory, delay=3600)  # no block has a durable offset above 0
    for i in range(10):
        journal.append(run_of(b"%d" % i * 200), 1)
    journal.close()
    whole = read_all(directory)
    (segment,) = segments(directory)
    os.truncate(segment.path, min(cut, whole[-1].end))
    with segment.path.open("ab") as file:
        file.write(garbage)
    (directory / "durable").unlink()
    recovered = Journal(directory)
    survivors = [block for block in whole if block.end <= cut]
    assert recovered.end == (survivors[-1].end if survivors else 0)
    recovered.append(run_of(b"next"), 1)
    recovered.close()
    assert payloads(read_all(directory)) == [*payloads(survivors), b"next"]


def test_a_valid_block_behind_a_torn_one_does_not_make_that_damage(directory: Path) -> None:
    journal = Journal(directory, delay=3600)
    for i in range(3):
        journal.append(run_of(b"%d" % i * 200), 1)
    journal.close()
    blocks = read_all(directory)
    (segment,) = segments(directory)
    overwrite(segment.path, blocks[1].offset + 60)
    (directory / "durable").unlink()
    recovered = Journal(directory)
    assert recovered.end == blocks[0].end
    recovered.close()


def test_a_journal_knows_when_its_newest_durable_block_was_received(directory: Path) -> None:
    times = iter([10.0, 20.5])
    journal = Journal(directory, delay=0, clock=lambda: next(times))
    assert journal.durable_received is None
    journal.append(run_of(b"a"), 1)
    journal.append(run_of(b"b"), 1)
    assert journal.flush(30)
    assert journal.durable_received == 20.5
    state = journal.state()
    journal.close()
    for known in (None, state):
        again = Journal(directory, state=known)
        assert again.durable_received == 20.5
        again.close()
