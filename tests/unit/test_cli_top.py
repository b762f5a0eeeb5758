"""Rates of `fastlog top` from counts by minute, and its view at any size."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from day_files import make_record, write_day
from hypothesis import example, given, settings
from hypothesis import strategies as st
from queries import parsed
from rich.cells import cell_len
from rich.console import Console

from fastlog.cli.api import Api
from fastlog.cli.api_errors import ApiError
from fastlog.cli.top_rates import Rate, Rates
from fastlog.cli.top_readings import (
    FIELDS,
    MINUTES,
    ApiSource,
    Reading,
    StoreSource,
    first_minute,
)
from fastlog.cli.top_view import View
from fastlog.config import Config
from fastlog.status.data_directory import Status
from fastlog.status.server_state import ServerState
from fastlog.status.sink_reports import SinkReport
from fastlog.status.tallies import Tally

NOON = 1_700_049_600.0
"""The begin of a minute."""
STATE = ServerState(
    rejected=[], losses=[], ledger_error=None, recent_seconds=300.0, sinks=[], running=True,
    receiver=None,
)  # fmt: skip


def reading(at: float, **levels: dict[int, int]) -> Reading:
    """Return a reading of the records of each level by minute; `NOON` begins minute 0."""
    bars = {
        name: Counter({int(NOON) + 60 * minute: records for minute, records in counts.items()})
        for name, counts in levels.items()
    }
    return Reading(NOON + at, dict.fromkeys(FIELDS, bars), STATE, [])


def rates_of(*readings: Reading) -> Rates:
    rates = Rates()
    for each in readings:
        rates.add(each)
    return rates


def test_the_first_rate_is_that_of_the_last_minute():
    rates = rates_of(reading(15, INFO={0: 30, -1: 40, -2: 1000}))
    assert rates.total().per_second == pytest.approx((30 + 40 * 0.75) / 60)


def test_a_rate_is_the_difference_of_two_readings():
    first = reading(10, INFO={-1: 500, 0: 100})
    second = reading(14, INFO={-1: 520, 0: 160}, ERROR={0: 4})
    rates = rates_of(first, second)
    assert [(rate.name, rate.per_second, rate.records) for rate in rates.of("level")] == [
        ("INFO", 20.0, 680),
        ("ERROR", 1.0, 4),
    ]
    assert rates.total().per_second == 21.0


def test_a_rate_goes_on_across_the_end_of_a_minute():
    rates = rates_of(reading(58, INFO={0: 100}), reading(62, INFO={0: 110, 1: 10}))
    assert rates.total().per_second == 5.0


def test_a_rate_is_the_mean_of_about_ten_seconds():
    readings = [reading(at, INFO={0: 10 * at}) for at in range(0, 30, 2)]
    readings += [reading(at, INFO={0: 280}) for at in range(30, 40, 2)]
    assert rates_of(*readings).total().per_second == 0.0
    assert rates_of(*readings[:-3]).total().per_second == pytest.approx(6.0)


def test_records_that_retention_deletes_are_no_negative_rate():
    rates = rates_of(reading(0, INFO={-1: 100}), reading(10, INFO={-1: 50, 0: 10}))
    assert rates.total().per_second == 1.0


def test_a_clock_that_is_set_back_begins_anew():
    rates = rates_of(reading(600, INFO={10: 60}), reading(30, INFO={0: 60}))
    assert rates.total().per_second == 1.0


def test_there_is_a_bar_for_each_minute_and_the_last_one_is_at_the_present_rate():
    first = int(first_minute(NOON) - NOON) // 60
    rates = rates_of(reading(10, INFO={first: 7, -1: 60, 0: 20}), reading(12, INFO={-1: 60, 0: 24}))
    [rate] = rates.of("level")
    assert (len(rate.minutes), rate.minutes[-2:]) == (MINUTES, [60.0, 120.0])
    [rate] = rates_of(reading(50, INFO={-1: 0, 0: 90})).of("level")
    assert rate.minutes[-1] == 90.0


# ---- the view ------------------------------------------------------------------------------


def rate(name: str, per_second: float = 1.0) -> Rate:
    return Rate(name, per_second, int(60 * per_second), [0.0] * (MINUTES - 2) + [5.0, 10.0])


def view(**fields: Any) -> View:
    values: dict[str, Any] = {
        "source": "data", "at": NOON, "total": rate(""), "levels": [rate("INFO"), rate("ERROR")],
        "loggers": [rate(f"app.{at}") for at in range(40)],
        "hosts": [rate(f"10.0.0.{at}") for at in range(40)],
        "state": STATE, "notes": [], "hint": "every 2 s; q ends",
    }  # fmt: skip
    return View(**(values | fields))


def shown(wanted: View, columns: int = 100, lines: int | None = None) -> str:
    console = Console(
        width=columns, height=lines or 25, file=io.StringIO(), force_terminal=True, no_color=True,
        highlight=False, color_system=None,
    )  # fmt: skip
    if lines is not None:
        console.set_alt_screen(True)
    with console.capture() as captured:
        console.print(wanted)
    return captured.get()


def test_levels_come_in_the_order_of_importance():
    names = ("DEBUG", "AUDIT", "CRITICAL", "INFO")
    lines = shown(view(levels=[rate(name) for name in names])).splitlines()
    assert [line.split()[0] for line in lines if line.startswith(names)] == [
        *("CRITICAL", "INFO", "DEBUG", "AUDIT")
    ]


def test_the_state_of_the_server_is_named():
    sink = SinkReport(name="out", configured=True, lag_records=1234, lag_seconds=75.0, error="full")
    state = ServerState(
        rejected=[Tally("http", 5, 0, NOON, 3, 0)],
        losses=[Tally("journal full", 9, 2, NOON, 7, 1)],
        ledger_error=None,
        recent_seconds=300.0,
        sinks=[sink],
        running=False,
        receiver=Status(at=NOON, size=900, limit=1000, connections=1, throttled=2, failure="x"),
    )
    text = shown(view(state=state), 200)
    assert "lost 7 and 1 unknown spans, rejected 3 in the last 5 minutes" in text
    assert "journal 900 bytes of 1000 bytes, 90.0% full; 1 connection, 2 throttled" in text
    assert "sink out: 1,234 records, 75 s behind; full" in text
    assert "fastlog-server is not running; last status at " in text


@settings(deadline=None)
@example(2, 8, "\u200d\u200d")  # joiners that join nothing
@given(
    st.integers(1, 250), st.integers(1, 60),
    st.text(st.sampled_from("ab\x1b\x07\u202e日本👩\u200de\u0301[bold]"), max_size=60),
)  # fmt: skip
def test_any_text_is_escaped_and_fits_any_window(columns: int, lines: int, name: str):
    wanted = view(
        source=name, levels=[rate(name)], loggers=[rate(name)] * 30, hosts=[rate(name)],
        notes=[name],
    )  # fmt: skip
    text = shown(wanted, columns, lines)
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    rows = text.rstrip("\n").split("\n")
    assert len(rows) <= lines
    assert max(map(cell_len, rows)) <= columns


def test_a_large_window_has_more_loggers_and_hosts_and_says_what_is_left_out():
    few, many = (shown(view(), 100, lines) for lines in (24, 60))
    assert few.count("app.") < many.count("app.") < 40
    assert f"({40 - few.count('app.')} more)" in few
    assert few.count("10.0.0.") >= 3
    assert len(many.splitlines()) == 60


def test_without_unicode_bars_are_ascii():
    console = Console(width=80, file=io.TextIOWrapper(io.BytesIO(), "ascii"), no_color=True)
    with console.capture() as captured:
        console.print(view())
    assert captured.get().isascii()
    assert "#" in captured.get()


# ---- readings of files ---------------------------------------------------------------------


def test_readings_count_what_is_stored_meanwhile_and_forget_what_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now = NOON + 30
    monkeypatch.setattr("fastlog.cli.top_readings.time.time", lambda: now)
    (tmp_path / "journal").mkdir()

    def store(*times: float, **fields: Any) -> None:
        records = [make_record(0, created=at, **fields) for at in times]
        write_day(tmp_path / "logs" / "2023-11-15.db", records)

    def read() -> dict[str, dict[str, dict[int, int]]]:
        bars = source.read().bars
        return {
            field: {
                name: {(at - int(NOON)) // 60: number for at, number in counts.items()}
                for name, counts in bars[field].items()
            }
            for field in FIELDS
        }

    source = StoreSource(Config(data_dir=tmp_path), parsed("message*"))
    store(NOON - 1800, NOON - 1700, NOON - 90, NOON, NOON + 1)
    store(NOON, levelname="ERROR", name="db", host="10.0.0.2")
    info = {-29: 1, -2: 1, 0: 2}
    assert read() == {
        "level": {"INFO": info, "ERROR": {0: 1}},
        "logger": {"app": info, "db": {0: 1}},
        "host": {"127.0.0.1": info, "10.0.0.2": {0: 1}},
    }
    store(NOON - 100, NOON + 2, NOON - 600)  # the last comes too late to be new
    assert read()["level"]["INFO"] == {-29: 1, -2: 2, 0: 3}
    now += 60
    assert read()["level"]["INFO"] == {-10: 1, -2: 2, 0: 3}
    assert read()["host"] == {"127.0.0.1": {-10: 1, -2: 2, 0: 3}, "10.0.0.2": {0: 1}}


def test_a_reading_that_is_interrupted_ends_and_says_so(tmp_path: Path):
    """A thread that still reads when the process ends could abort it."""
    write_day(tmp_path / "logs" / "2023-11-15.db", [make_record(0, created=time.time())])
    source = StoreSource(Config(data_dir=tmp_path), parsed("message"))
    assert source.read().notes == []
    source.interrupt()
    assert "incomplete" in source.read().notes[0]


def test_a_reading_of_a_page_that_does_not_answer_can_be_ended():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        api = Api(f"http://127.0.0.1:{listener.getsockname()[1]}")
        source = ApiSource(api, "", None)

        def read() -> None:
            with pytest.raises(ApiError):
                source.read()

        thread = threading.Thread(target=read)
        thread.start()
        client, _ = listener.accept()
        with client:
            assert client.recv(1000).startswith(b"GET /api/v1/status")
            source.interrupt()
            thread.join(20)
            assert not thread.is_alive()
    with pytest.raises(ApiError):
        source.read()
