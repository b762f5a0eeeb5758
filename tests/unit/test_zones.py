"""Zones: `--utc` and `--tz`, for what is printed and for what is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from commands import Run
from day_files import make_record, write_day

from fastlog.zone import LOCAL, Zone

pytestmark = pytest.mark.usefixtures("nothing_configured")

BACK = 1_698_541_200.0
"""2023-10-29 1:00 UTC, when the clocks of Berlin went back from 3:00 to 2:00."""


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the local zone be Berlin's."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_local_times_have_an_offset_only_in_the_hour_that_is_repeated():
    assert [LOCAL.text(BACK + seconds) for seconds in (-3601, -3600, -0.5, 0, 3599, 3600)] == [
        "2023-10-29 01:59:59.000",
        "2023-10-29 02:00:00.000+02:00",
        "2023-10-29 02:59:59.500+02:00",
        "2023-10-29 02:00:00.000+01:00",
        "2023-10-29 02:59:59.000+01:00",
        "2023-10-29 03:00:00.000",
    ]
    forward = 1_679_792_400.0  # 2023-03-26: 2:00 became 3:00
    assert [LOCAL.text(forward + seconds) for seconds in (-1, 0)] == [
        "2023-03-26 01:59:59.000",
        "2023-03-26 03:00:00.000",
    ]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (UTC, "2023-10-29 01:00:00.000+00:00"),
        (ZoneInfo("Europe/Berlin"), "2023-10-29 02:00:00.000+01:00"),
        (ZoneInfo("Asia/Kathmandu"), "2023-10-29 06:45:00.000+05:45"),
        (timezone(-timedelta(hours=3, minutes=30)), "2023-10-28 21:30:00.000-03:30"),
    ],
)
def test_a_named_zone_always_has_its_offset(zone: timezone | ZoneInfo, expected: str):
    assert Zone(zone).text(BACK) == expected


@pytest.mark.parametrize("seconds", [1e18, -1e18, 1e12, -1e12, 253_402_300_800.0])
def test_a_time_that_no_date_has_is_its_number(seconds: float):
    for zone in (LOCAL, Zone(UTC), Zone(ZoneInfo("Europe/Berlin"))):
        assert zone.text(seconds) == str(seconds)
        assert zone.iso(seconds) is None


def test_iso_times_are_exact_to_the_microsecond_and_mean_the_same_moment():
    for zone in (LOCAL, Zone(ZoneInfo("America/New_York"))):
        for seconds in (0.0, 1_700_000_000.123456, BACK, 1.5, -1.25):
            text = zone.iso(seconds)
            assert text is not None
            moment = datetime.fromisoformat(text)
            assert moment.timestamp() == seconds
            assert moment.tzinfo is not None
    assert LOCAL.iso(1.5) == "1970-01-01T00:00:01.500000+00:00"


@pytest.fixture
def repeated(tmp_path: Path) -> None:
    """Four records, half an hour apart, from the start of the first pass of the hour on."""
    records = [make_record(at, created=BACK - 3600 + 1800 * at) for at in range(4)]
    write_day(tmp_path / "fastlog-data" / "logs" / "2023-10-29.db", records)


@pytest.mark.usefixtures("repeated")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--utc"], "00:00:00.000+00:00"),
        (["--tz", "Europe/Berlin"], "02:00:00.000+02:00"),
        (["--tz", "+05:45"], "05:45:00.000+05:45"),
        (["--tz", "-0100"], "23:00:00.000-01:00"),
    ],
)
def test_the_zone_is_used_for_printing(command: Run, words: list[str], expected: str):
    for name in ("query", "tail"):
        assert command(name, *words).out.splitlines()[0].split()[1] == expected
    shown = json.loads(command("query", *words, "--json").out.splitlines()[0])["time"]
    assert shown.endswith(expected[-6:])
    assert datetime.fromisoformat(shown).timestamp() == BACK - 3600


@pytest.mark.usefixtures("repeated")
def test_the_zone_is_that_of_times_in_the_query(command: Run):
    def found(*words: str) -> str:
        return command("query", "--count", *words).out.strip()

    assert found("--since", "2023-10-29 00:45", "--utc") == "2"
    assert found("--tz", "America/New_York", "--since", "2023-10-28 20:45") == "2"
    assert found("--tz", "Europe/Berlin", "--until", "2023-10-29 03:00") == "4"
    assert found("--tz", "Europe/Berlin", "--until", "2023-10-29T02:00+01:00") == "2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tz", "Europe/Berln"], "there is no time zone 'Europe/Berln'; did you mean"),
        (["--tz", "berlin"], "there is no time zone 'berlin'; did you mean 'Europe/Berlin'?"),
        (["--tz", ""], "there is no time zone ''"),
        (["--tz", "../../etc/passwd"], "there is no time zone '../../etc/passwd'"),
        (["--tz", "+25:00"], "there is no time zone '+25:00'"),
        (["--tz", "UTC", "--utc"], "--utc and --tz exclude each other"),
    ],
)
def test_a_zone_that_does_not_exist_is_an_error(
    command: Run, data: Path, words: list[str], message: str
):
    for name in ("query", "tail"):
        wrong = command(name, *words)
        assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
        assert wrong.err.startswith(f"fastlog {name}: {message}")
