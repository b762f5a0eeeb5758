"""`fastlog stats`: its tables and its JSON, also with odd texts, times and ledgers."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from commands import STATUS, Run
from day_files import make_record, write_day

from fastlog.journal import SinkPosition, write_position
from fastlog.ledger import Entry, Ledger
from fastlog.record import Loss, Rejection

pytestmark = pytest.mark.usefixtures("nothing_configured")


@pytest.fixture
def used_data(data: Path) -> Path:
    """Make a data directory with a status, a lagging sink, rejections and losses."""
    now = time.time()
    (data / "status.json").write_text(json.dumps({**STATUS, "at": now}))
    position = SinkPosition(cursor=4000, durable=3000, index=90, at=now, error="disk full")
    write_position(data, "sqlite", position)
    ledger = Ledger(data / "ledger.db")
    ledger.record(
        "ab",
        [
            Entry(
                0,
                0,
                Rejection("h:1", "malformed pickle: truncated", 5, b"hello", count=3, received=1.0),
            ),
            Entry(
                0,
                1,
                Rejection("h:1", "malformed pickle: truncated", 5, b"hello", count=1, received=2.0),
            ),
            Entry(0, 2, Loss("", "journal full", 8, 1.0, 2.0)),
            Entry(0, 3, Loss("", "journal full", -1, 1.0, 3.0)),
            Entry(0, 4, Loss("", "journal damage", -1, 1.0, 3.0)),
            Entry(0, 5, Loss("", "journal damage", -2, 1.0, 3.0)),
        ],
        100,
    )
    ledger.close()
    return data


OLD = {"recent": 0, "recent_unknown": 0}
"""Of a tally whose rows are not of the last minutes."""


def test_stats_json_counts_records_losses_and_lags(command: Run, used_data: Path):
    result = command("stats", "--json")
    stats = json.loads(result.out)
    assert result.code == 0
    assert stats["records"] == 10
    assert stats["levels"] == {"INFO": 7, "WARNING": 3}
    assert stats["loggers"] == {"app.web": 5, "app.db": 5}
    assert stats["hosts"] == {"127.0.0.1": 10}
    assert sum(stats["hours"].values()) == 10
    assert stats["rejected"] == [
        {"reason": "malformed pickle: truncated", "count": 4, "unknown": 0, "last": 2.0, **OLD}
    ]
    assert stats["losses"] == [
        {"reason": "journal full", "count": 8, "unknown": 1, "last": 3.0, **OLD},
        {"reason": "journal damage", "count": 0, "unknown": 3, "last": 3.0, **OLD},
    ]
    [sink] = stats["sinks"]
    assert (sink["name"], sink["cursor"], sink["lag_bytes"], sink["lag_records"]) == (
        "sqlite", 4000, 1000, 10,
    )  # fmt: skip
    assert sink["error"] == "disk full"
    assert stats["receiver"]["connections"] == 3
    assert stats["receiver"]["rejected"] == {"http": 4}


def test_stats_tables_show_the_same_as_json(command: Run, used_data: Path):
    shown = command("stats", "--level", "WARNING").out
    assert "3 records in fastlog-data" in shown
    for line in (
        "WARNING 3",
        "app.db 3",
        "truncated 4",
        "connections 3",
        "journal full 8 + unknown (1 span)",
        "journal damage unknown (3 spans)",
    ):
        assert line in " ".join(shown.split()), line
    assert "rejected: http" in shown
    assert "█" in shown
    assert "disk full" in " ".join(shown.split())


@pytest.mark.parametrize(("cursor", "behind"), [(4000, None), (5000, 0)])
def test_stats_does_not_guess_how_many_records_a_sink_is_behind(
    command: Run, used_data: Path, cursor: int, behind: int | None
):
    write_position(used_data, "sqlite", SinkPosition(cursor=cursor, durable=0, index=None, at=1.0))
    [sink] = json.loads(command("stats", "--json").out)["sinks"]
    assert sink["lag_records"] == behind
    assert command("stats").code == 0


def test_stats_of_a_new_directory_shows_no_records_and_no_receiver(command: Run, tmp_path: Path):
    (tmp_path / "fastlog-data" / "journal").mkdir(parents=True)
    shown = command("stats")
    assert shown.code == 0
    assert shown.out.splitlines() == [
        "0 records in fastlog-data",
        "rejected: none",
        "lost: none",
        "receiver: has not run in this data directory",
    ]


ODD_NAMES = ("[/foo]", "[red]x", "a\x1b]0;PWNED\x07\x1b[2Jb", "\u202eevil", "line\nbreak", "\\[b]")


def test_stats_escapes_text_of_senders(command: Run, data: Path):
    records = [make_record(n, name=name, levelname=name, host=name)
               for n, name in enumerate(ODD_NAMES)]  # fmt: skip
    write_day(data / "logs" / "2026-11-24.db", records)
    with Ledger(data / "ledger.db") as ledger:
        notes = [Rejection("h", f"no key {name!r}: {name}", 0) for name in ODD_NAMES]
        ledger.record("ab", [Entry(0, idx, note) for idx, note in enumerate(notes)], 1)
    (data / "status.json").write_text(json.dumps({**STATUS, "failure": "[/x]\x1b[2J"}))
    position = SinkPosition(cursor=0, durable=0, index=0, at=1.0, error="[/y]\x1b[2J")
    write_position(data, "sqlite", position)
    result = command("stats")
    assert (result.code, result.err) == (0, "")
    assert not set(result.out) & {"\x1b", "\x07", "\u202e"}
    shown = "".join(result.out.split())
    for text in ("[/foo]", "[red]x", "\\u202eevil", "line\\nbreak", "[/x]", "[/y]"):
        assert text in shown, text


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Set the time zone of the process."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_stats_shows_times_that_are_out_of_range(command: Run, data: Path):
    moments = (-62135596800.0, 253402300799.5, -1e18, 1e300)
    records = [make_record(n)._replace(created=moment) for n, moment in enumerate(moments[:2])]
    write_day(data / "logs" / "2026-11-24.db", records)
    with Ledger(data / "ledger.db") as ledger:
        notes = [Loss("", f"reason {n}", 1, m, m) for n, m in enumerate(moments)]
        ledger.record("ab", [Entry(0, idx, note) for idx, note in enumerate(notes)], 1)
    for args in (["stats"], ["stats", "--json"], ["query"]):
        result = command(*args)
        assert (result.code, result.err) == (0, ""), args
    assert "1e+300" in command("stats").out


def damage(path: Path) -> None:
    path.write_bytes(b"\x99" * path.stat().st_size)


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("change", [damage, make_newer])
def test_stats_and_check_report_an_unreadable_ledger_in_one_line(
    command: Run, used_data: Path, change: Callable[[Path], None]
):
    change(used_data / "ledger.db")
    result = command("stats")
    assert result.code == 3
    assert result.err.startswith("fastlog stats: ledger fastlog-data/ledger.db ")
    assert len(result.err.splitlines()) == 1
    assert "10 records" in result.out
    assert "rejected: unknown\nlost: unknown\n" in result.out
    result = command("stats", "--json")
    assert result.code == 3
    stats = json.loads(result.out)
    assert (stats["records"], stats["rejected"], stats["losses"]) == (10, None, None)
    checked = command("check")
    assert checked.code == 1
    (line,) = [line for line in checked.out.splitlines() if "ledger" in line]
    assert line.startswith("FAILED")


def test_stats_says_what_its_tables_leave_out(
    command: Run, data: Path, monkeypatch: pytest.MonkeyPatch
):
    records = [make_record(n * 3600, name=f"logger {n}", host=f"host {n}") for n in range(60)]
    write_day(data / "logs" / "2026-11-24.db", records)
    shown = command("stats").out
    assert "(52 more)" in shown  # of 62 loggers
    assert "(51 more)" in shown  # of 61 hosts
    earlier = next(line for line in shown.splitlines() if line.startswith("(12 earlier)"))
    hours = json.loads(command("stats", "--json").out)["hours"]
    assert int(earlier.split()[2]) == sum(list(hours.values())[:12])
    monkeypatch.setattr("fastlog.search.totals.MAX_GROUPS", 20)
    shown = command("stats").out
    assert "(others)" in shown
    assert "counted together" in shown


def test_stats_says_what_filters_do_not_restrict(command: Run, used_data: Path):
    note = "Filters restrict only the counts of records: by level, logger, host and hour."
    assert note not in command("stats").out
    shown = command("stats", "--logger", "app.db").out
    assert "5 records in fastlog-data that match" in shown
    assert note in shown
    assert json.loads(command("stats", "--level", "INFO", "--json").out)["is_filtered"]


def test_stats_without_an_encoding_for_its_bars_escapes_them(data: Path):
    done = subprocess.run(
        [sys.executable, "-m", "fastlog", "stats"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2588" in done.stdout


def test_lines_about_sinks_are_not_wrapped_through_a_pipe(command: Run, used_data: Path):
    error = "cannot write: " + "a very long reason " * 10
    write_position(
        used_data, "sqlite", SinkPosition(cursor=0, durable=0, index=0, at=1.0, error=error)
    )
    assert f"\nsink sqlite: {error}\n" in command("stats").out
