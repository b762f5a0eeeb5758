"""Fixtures that several files of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from journal_blocks import KIB, run_of

from fastlog.journal import Journal


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a journal that does not exist yet."""
    return tmp_path / "journal"


@pytest.fixture
def filled(directory: Path) -> Iterator[Path]:
    """A closed journal of 85 blocks of one frame each, in several segments."""
    journal = Journal(directory, segment=8 * KIB, size=1 << 20, delay=0)
    for i in range(85):
        assert journal.append(run_of(b"%03d" % i * 95), 1) is None
        if i % 5 == 4:
            wait_for(lambda: journal.durable == journal.end)
    assert journal.close() == []
    yield directory
