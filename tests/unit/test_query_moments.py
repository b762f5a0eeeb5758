"""Moments: what a text says about time, in a zone, and over the changes of its clocks."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fastlog.errors import ConfigError
from fastlog.query import Moment, TimeContext, parse_moment

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 14, 30, 5, tzinfo=BERLIN)  # a Monday
CONTEXT = TimeContext(NOW.timestamp(), BERLIN, boot=NOW.timestamp() - 90)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def span(first: str, end: str) -> Moment:
    return Moment(at(first), at(end))


@pytest.mark.parametrize(
    ("text", "seconds_ago"),
    [
        ("now", 0), ("NOW", 0), ("1h", 3600), ("-1h", 3600), ("90 min ago", 5400),
        ("1h30m", 5400), ("boot", 90), (f"@{NOW.timestamp() - 5}", 5), (f"{NOW.timestamp()}", 0),
    ],
)  # fmt: skip
def test_an_instant_has_no_length(text: str, seconds_ago: float):
    assert parse_moment(text, CONTEXT) == Moment(*[NOW.timestamp() - seconds_ago] * 2)


@pytest.mark.parametrize(
    ("text", "first", "end"),
    [
        ("today", "2026-11-23T00:00+01:00", "2026-11-24T00:00+01:00"),
        ("Yesterday", "2026-11-22T00:00+01:00", "2026-11-23T00:00+01:00"),
        ("monday", "2026-11-23T00:00+01:00", "2026-11-24T00:00+01:00"),
        ("tuesday", "2026-11-17T00:00+01:00", "2026-11-18T00:00+01:00"),
        ("2026-11-01", "2026-11-01T00:00+01:00", "2026-11-02T00:00+01:00"),
        ("2026-10", "2026-10-01T00:00+02:00", "2026-11-01T00:00+01:00"),
        ("2026-10-25", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("14:30", "2026-11-23T14:30+01:00", "2026-11-23T14:31+01:00"),
        ("9:05", "2026-11-23T09:05+01:00", "2026-11-23T09:06+01:00"),
        ("2026-11-01 14:30:07", "2026-11-01T14:30:07+01:00", "2026-11-01T14:30:08+01:00"),
        ("2026-11-01T14:30:07.5", "2026-11-01T14:30:07.5+01:00", "2026-11-01T14:30:07.6+01:00"),
        ("2026-11-01T14:30Z", "2026-11-01T14:30+00:00", "2026-11-01T14:31+00:00"),
        ("2026-11-01T14:30+02:00", "2026-11-01T14:30+02:00", "2026-11-01T14:31+02:00"),
        ("2026-11-01 14:30 -0330", "2026-11-01T14:30-03:30", "2026-11-01T14:31-03:30"),
        ("2026-11-01 14:30 America/New_York", "2026-11-01T14:30-05:00", "2026-11-01T14:31-05:00"),
        ("2026-11-01 UTC", "2026-11-01T00:00+00:00", "2026-11-02T00:00+00:00"),
        ("20:30 Asia/Tokyo", "2026-11-23T20:30+09:00", "2026-11-23T20:31+09:00"),
        # the repeated hour
        ("2026-10-25T02:30+02:00", "2026-10-25T00:30+00:00", "2026-10-25T00:31+00:00"),
        ("2026-10-25T02:30+01:00", "2026-10-25T01:30+00:00", "2026-10-25T01:31+00:00"),
    ],
)  # fmt: skip
def test_a_text_is_as_long_as_it_is_exact(text: str, first: str, end: str):
    found = parse_moment(text, CONTEXT)
    assert found == pytest.approx(span(first, end), abs=1e-5)


def test_microseconds_are_the_nearest_ones_to_a_float():
    created = 1763900000.0851236
    shown = datetime.fromtimestamp(created, UTC).isoformat()
    first, end = parse_moment(shown, CONTEXT)
    assert first <= created < end


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-10-25 02:30", "2026-10-25T02:30 was twice: the clocks were put back then; "
         "write 2026-10-25T02:30+02:00 or 2026-10-25T02:30+01:00"),
        ("2026-03-29 02:30", "2026-03-29T02:30 does not exist: the clocks were put forward then"),
        ("yesteday", "'yesteday' is no time; did you mean 'yesterday'?"),
        ("14:30 Europe/Berln", "there is no time zone 'Europe/Berln'; did you mean 'Europe/Ber"),
        ("60", "'60' is no time; for seconds since the epoch write @60, for a duration give its "
         "unit, as in 60s"),
        ("soon", "expected a time such as 1h, yesterday, monday, 2026-11-23"),
        ("", "expected a time such as"), ("2026-13-01", "expected a time such as"),
        ("@x", "expected a time such as"), ("1 fortnight", "expected a time such as"),
        ("25:00", "expected a time such as"), ("@1e400", "expected a time such as"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_an_error(text: str, message: str):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        parse_moment(text, CONTEXT)


def test_the_last_start_is_an_error_where_it_is_not_known():
    with pytest.raises(ConfigError, match="'boot' is the last start of the server"):
        parse_moment("boot", TimeContext(NOW.timestamp()))
