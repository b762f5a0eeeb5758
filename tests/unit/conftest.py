"""Fixtures that several files of this folder share: a journal, and a command line with its data.

Its temporary files are in memory where there is room: on a disk, the syncs of SQLite alone take
minutes. The tests of whole servers and of clients use the disk.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Result, Run
from conditions import wait_for
from day_files import make_record, write_day
from journal_blocks import KIB, run_of
from memory_disks import memory_disk

from fastlog.cli import fastlog
from fastlog.cli.command import run
from fastlog.journal import Journal


@pytest.fixture(scope="session")
def tmp_path_factory(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[pytest.TempPathFactory]:
    """The factory of `tmp_path`, whose directories are in memory, where there is room.

    If a test fails, they stay until a later run.
    """
    with memory_disk(lambda: request.session.testsfailed) as place:
        if place is None:
            yield tmp_path_factory
            return
        factory = copy.copy(tmp_path_factory)
        factory._basetemp = place  # there is no public way to set it for one folder of tests
        factory._retention_policy = "failed"  # memory is scarcer than a disk
        yield factory


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


@pytest.fixture
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory, without variables that configure fastlog or colours."""
    for name in os.environ:
        if name.startswith("FASTLOG_") or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a `fastlog` command line."""

    def run_it(*args: object) -> Result:
        code = run(fastlog, "fastlog", [str(arg) for arg in args])
        return Result(code, *capsys.readouterr())

    return run_it


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Make a data directory with ten records, three of them warnings."""
    logs = tmp_path / "fastlog-data" / "logs"
    records = [
        make_record(
            at,
            levelno=30 if at % 4 == 1 else 20,
            levelname="WARNING" if at % 4 == 1 else "INFO",
            name=f"app.{'db' if at % 2 else 'web'}",
            extra=f'{{"user":{at}}}',
        )
        for at in range(10)
    ]
    write_day(logs / "2026-11-22.db", records[:6])
    write_day(logs / "2026-11-23.db", records[6:])
    return logs.parent


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
