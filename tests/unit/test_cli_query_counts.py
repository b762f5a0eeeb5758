"""`--count`, `--by` and `--histogram`: how many records match, of which kind, and when."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Result, Run
from day_files import START, make_record, write_day

from fastlog.cli.histogram import choose_interval

pytestmark = pytest.mark.usefixtures("nothing_configured")


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the local zone be Berlin's, where the clocks go back on 2023-10-29 at 3:00."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def write(tmp_path: Path, *moments: float, **fields: object) -> None:
    records = [
        make_record(at, created=float(moment), **fields) for at, moment in enumerate(moments)
    ]
    write_day(tmp_path / "fastlog-data" / "logs" / "2023-11-14.db", records)


def test_count_prints_only_the_number(command: Run, data: Path):
    assert command("query", "--count", "--level", "warning") == Result(0, "3\n", "")
    assert command("query", "--count", "--json").out == '{"records":10}\n'
    assert command("query", "--count", "--csv").out == "records\n10\n"


def test_count_of_nothing_is_0_and_exit_code_1(command: Run, data: Path):
    assert command("query", "--count", "--level", "error") == Result(1, "0\n", "")


def test_by_a_field_prints_its_values_with_the_most_frequent_first(command: Run, data: Path):
    printed = command("query", "--by", "level")
    assert printed == Result(0, "records  level\n      7  INFO\n      3  WARNING\n", "")


def test_by_several_fields_counts_their_combinations(command: Run, data: Path):
    rows = list(csv.reader(io.StringIO(command("query", "--by", "logger,level", "--csv").out)))
    assert rows == [
        ["logger", "level", "records"],
        ["app.web", "INFO", "5"],
        ["app.db", "WARNING", "3"],
        ["app.db", "INFO", "2"],
    ]


def test_by_an_extra_and_by_a_missing_value(command: Run, data: Path):
    assert command("query", "--by", "user", "--level", "warning").out.splitlines()[1:] == [
        "      1  1", "      1  5", "      1  9",
    ]  # fmt: skip
    printed = command("query", "--by", "threadName", "--json").out
    assert json.loads(printed) == {"threadName": None, "records": 10}
    assert command("query", "--by", "threadName").out.splitlines()[1] == "     10  -"


def test_by_times_and_whole_extras_is_as_printed_fields_are(command: Run, tmp_path: Path):
    write(tmp_path, START, START, extra='{"a":[1,2]}')
    found = json.loads(command("query", "--by", "time,created,extra,extra.a", "--json").out)
    assert found == {
        "time": "2023-11-14T22:13:20.000000+00:00",
        "created": START,
        "extra": {"a": [1, 2]},
        "extra.a": "[1,2]",
        "records": 2,
    }
    rows = command("query", "--by", "time,extra", "--csv").out.splitlines()
    assert rows[1] == '2023-11-14T22:13:20.000000+00:00,"{""a"":[1,2]}",2'
    shown = command("query", "--by", "time,extra", "--utc").out.splitlines()
    assert shown[1] == '      2  2023-11-14 22:13:20.000+00:00  {"a":[1,2]}'


def test_top_limits_the_groups_and_the_rest_is_reported(command: Run, data: Path):
    printed = command("query", "--by", "user", "--top", 4)
    assert len(printed.out.splitlines()) == 5
    report = "left out 6 smaller groups with 6 records; --top N shows more"
    assert printed.err == f"fastlog query: {report}\n"
    assert command("query", "--by", "user", "--top", 9, "--json").err == (
        "fastlog query: left out 1 smaller group with 1 record; --top N shows more\n"
    )
    for top in (0, 10):
        assert command("query", "--by", "user", "--top", top).err == ""


def test_the_largest_ten_groups_are_printed_by_default(command: Run, tmp_path: Path):
    write(tmp_path, *(START + at for at in range(12)), extra="{}")
    printed = command("query", "--by", "message")
    assert len(printed.out.splitlines()) == 11
    assert "2 smaller groups with 2 records" in printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--count", "--by", "level"], "--count and --by exclude each other"),
        (["--histogram", "--count"], "--count and --histogram exclude each other"),
        (["--top", "3"], "--top needs --by"),
        (["--count", "--limit", "3"], "--limit has no meaning with --count"),
        (["--by", "level", "--fields", "level"], "--fields has no meaning with --by"),
        (["--histogram", "-C", "2"], "--context has no meaning with --histogram"),
        (["--count", "--format", "x"], "--format has no meaning with --count"),
        (["--histogram=1.5s"], "--histogram: expected an interval of whole seconds"),
        (["--histogram=x"], "--histogram: expected an interval of whole seconds"),
        (["--histogram", "0s"], "--histogram: expected an interval of whole seconds"),
        (["--deadline", "soon"], "--deadline: expected a duration such as 5s or 2m, got 'soon'"),
    ],
)
def test_options_that_contradict_each_other_are_an_error(
    command: Run, data: Path, words: list[str], message: str
):
    wrong = command("query", *words)
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    assert wrong.err.startswith(f"fastlog query: {message}")


def test_a_histogram_has_a_bar_for_each_interval_and_a_legend(
    command: Run, data: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    printed = command("query", "--utc", "--histogram", "5s")
    bar, longer, empty, legend = printed.out.splitlines()
    assert re.fullmatch(r"2023-11-14 22:13:20\+00:00  5  #{10}={40}", bar)
    assert re.fullmatch(r"2023-11-14 22:13:25\+00:00  5  #{20}={30}", longer)
    assert (empty, legend) == ("", "# WARNING 3   = INFO 7")
    assert (printed.code, printed.err) == (0, "")


def bars(command: Run, *words: object) -> list[tuple[str, int]]:
    """Return the labels and the numbers of a histogram, without its legend."""
    rows = command("query", "--histogram", *words).out.partition("\n\n")[0]
    found = re.findall(r"^([\d-]{10} \S+) +([\d,]+)\b", rows, re.MULTILINE)
    return [(label, int(number.replace(",", ""))) for label, number in found]


def test_the_word_behind_histogram_is_an_interval_only_if_it_is_one(command: Run, data: Path):
    assert len(bars(command, "5s")) == 2
    assert len(bars(command, "levelno=30")) == 9  # seconds 1 to 9
    assert [number for _, number in bars(command, "1h", "levelno=30")] == [3]
    assert command("query", "levelno=30", "--histogram").out.count("\n") == 9 + 2


def test_the_interval_is_chosen_from_the_span(command: Run, tmp_path: Path):
    write(tmp_path, *(START + 600 * at for at in range(100)))
    assert len(bars(command, "--utc")) == 17  # 16.5 hours, in hours


@pytest.mark.parametrize(
    ("span", "interval"),
    [
        (0, 1), (29, 1), (60, 5), (3600, 300), (86400, 3600), (29 * 86400, 86400),
        (4e8, 364 * 86400), (1e11, 364 * 86400),
    ],
)  # fmt: skip
def test_the_chosen_interval_needs_few_rows(span: float, interval: int):
    assert choose_interval(0.0, float(span), 30) == interval


def test_empty_intervals_are_shown_and_many_of_them_are_one_line(command: Run, tmp_path: Path):
    write(tmp_path, START, START + 3, START + 100, START + 1e9)
    assert [number for _, number in bars(command, "1s")] == [1, 0, 0, 1, 1, 1]
    rows = command("query", "--utc", "--histogram", "1s").out.splitlines()
    assert [row.strip() for row in rows if "empty" in row] == [
        "96 empty intervals",
        "999,999,899 empty intervals",
    ]


def test_a_span_that_is_asked_for_is_shown_to_its_ends(command: Run, data: Path):
    span = ["--since", "@1699999980", "--until", "@1700000220"]
    assert [number for _, number in bars(command, "1m", *span)] == [10, 0, 0, 0]
    since = ["--since", "@1699999980"]  # until now
    assert "empty intervals" in command("query", "--histogram", "1m", *since).out


def test_histogram_json_and_csv_have_counts_by_level(command: Run, data: Path):
    lines = command("query", "--histogram", "5s", "--json").out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "time": f"2023-11-14T22:13:2{second}.000000+00:00",
            "start": 1_700_000_000 + second,
            "seconds": 5,
            "records": 5,
            "levels": {"WARNING": warnings, "INFO": 5 - warnings},
        }
        for second, warnings in ((0, 1), (5, 2))
    ]
    rows = list(csv.reader(io.StringIO(command("query", "--histogram", "1h", "--csv").out)))
    assert rows == [
        ["time", "start", "seconds", "level", "records"],
        ["2023-11-14T22:00:00.000000+00:00", "1699999200", "3600", "WARNING", "3"],
        ["2023-11-14T22:00:00.000000+00:00", "1699999200", "3600", "INFO", "7"],
    ]


def test_a_histogram_of_nothing_prints_nothing_and_ends_with_1(command: Run, data: Path):
    for words in ([], ["1h"]):
        assert command("query", "--level", "error", "--histogram", *words) == Result(1, "", "")


def test_every_level_of_an_interval_is_in_its_bar(command: Run, tmp_path: Path):
    logs = tmp_path / "fastlog-data" / "logs"
    many = [make_record(at, created=START) for at in range(1000)]
    one = make_record(1000, created=START, levelno=50, levelname="CRITICAL")
    custom = make_record(1001, created=START, levelno=None, levelname="AUDIT")
    write_day(logs / "2023-11-14.db", [*many, one, custom], per_block=100)
    bar, _, legend = command("query", "--histogram", "1h").out.splitlines()
    assert legend == "# CRITICAL 1   = INFO 1,000   + AUDIT 1"
    assert [bar.count(each) for each in "#+"] == [1, 1]


@pytest.mark.usefixtures("berlin")
def test_days_begin_at_midnight_and_may_have_23_or_25_hours(command: Run, tmp_path: Path):
    first = 1_698_444_000  # Saturday 2023-10-28, 0:00 in Berlin
    write(tmp_path, *(first + 3600 * hour for hour in range(73)))
    assert bars(command, "1d") == [
        ("2023-10-28 00:00", 24),
        ("2023-10-29 00:00", 25),
        ("2023-10-30 00:00", 24),
    ]
    assert bars(command, "1d", "--utc")[0] == ("2023-10-27 00:00+00:00", 2)
    write(tmp_path, first + 14 * 86400)
    assert "10 empty intervals" in command("query", "--histogram", "1d").out


@pytest.mark.usefixtures("berlin")
def test_both_passes_of_a_repeated_hour_have_a_bar_with_its_offset(command: Run, tmp_path: Path):
    first = 1_698_534_000  # 1:00
    write(tmp_path, *(first + 1800 * at for at in range(7)))
    assert bars(command, "1h") == [
        ("2023-10-29 01:00", 2),
        ("2023-10-29 02:00+02:00", 2),
        ("2023-10-29 02:00+01:00", 2),
        ("2023-10-29 03:00", 1),
    ]
