"""Files of the journal in another version are rejected and not changed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fastlog.errors import JournalError
from fastlog.journal import Journal, JournalReader, repair
from fastlog.journal.segment import segments


def _of_segment(directory: Path, version: bytes) -> Path:
    path = segments(directory)[1].path
    path.write_bytes(b"FLB" + version + path.read_bytes()[4:])
    return path


def _of_snapshot(directory: Path, version: bytes) -> Path:
    path = directory / "clients.1"
    path.write_bytes(b"FLS" + version + path.read_bytes()[4:])
    return path


def _of_durable_offset(directory: Path, version: bytes) -> Path:
    path = directory / "durable"
    with path.open("r+b") as file:
        file.seek(16)
        word = int.from_bytes(b"FLDOFF", "big") << 16 | int(version)
        file.write(word.to_bytes(8, sys.byteorder))
    return path


def _of_position(directory: Path, version: bytes) -> Path:
    path = directory.parent / "positions" / "sqlite.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'{{"version": {int(version)}, "else": true}}')
    return path


@pytest.mark.parametrize(
    ("make", "readable"),
    [(_of_segment, 2), (_of_snapshot, 2), (_of_durable_offset, 1), (_of_position, 1)],
)
def test_a_file_of_a_newer_version_is_rejected_and_not_changed(
    filled: Path, make: Callable[[Path, bytes], Path], readable: int
) -> None:
    path = make(filled, b"7")
    content = path.read_bytes()
    text = rf"{path} has format 7, this fastlog reads {readable}: start the newer fastlog"
    for use in (Journal, JournalReader, repair):
        with pytest.raises(JournalError, match=text):
            use(filled)
    assert path.read_bytes() == content


def test_a_file_of_an_older_version_is_rejected(filled: Path) -> None:
    _of_segment(filled, b"1")
    with pytest.raises(JournalError, match="has format 1, this fastlog reads 2: let the older"):
        Journal(filled)
