"""The filters of a search: which records match, and which filters are errors."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from day_files import START, make_record, open_day, write_day
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import messages

from fastlog.errors import ConfigError
from fastlog.query import Filters, check_regex, parse_condition, parse_level, parse_moment


def one(tmp_path: Path, filters: Filters, **fields: Any) -> bool:
    """Return whether a record with these fields matches."""
    tmp_path.joinpath("2026-11-23.db").unlink(missing_ok=True)
    write_day(tmp_path / "2026-11-23.db", [make_record(0, **fields)])
    return bool(messages(tmp_path, filters))


def conditions(*texts: str) -> Filters:
    return Filters(where=tuple(parse_condition(text, START) for text in texts))


def test_since_is_included_and_until_is_not(tmp_path: Path):
    write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in range(5)])
    filters = Filters(since=START + 1, until=START + 3)
    assert messages(tmp_path, filters) == ["message 1", "message 2"]


def test_a_file_whose_stated_span_is_of_another_time_is_not_searched(
    tmp_path: Path,
):
    """The span in `meta` is wrong here, which shows that it is used; a missing one is ignored."""
    path = write_day(tmp_path / "2026-11-23.db", [make_record(0), make_record(10)])
    window = Filters(since=START + 5, until=START + 20)
    assert messages(tmp_path, window) == ["message 10"]
    with closing(open_day(path)) as day:
        execute = day.connection.execute
        execute("UPDATE meta SET value = ? WHERE key = 'min_created'", (START,))
        execute("UPDATE meta SET value = ? WHERE key = 'max_created'", (START + 4,))
    assert messages(tmp_path, window) == []
    assert messages(tmp_path, Filters(until=START + 20)) == ["message 0", "message 10"]


@pytest.mark.parametrize(("level", "matches"), [(29, False), (30, True), (35, True), (None, False)])
def test_a_level_is_the_lowest_one(tmp_path: Path, level: int | None, matches: bool):
    assert one(tmp_path, Filters(level=30), levelno=level) == matches


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("app.db", True), ("app.db.pool", True), ("app.db.", True), ("app", False),
        ("app.dbx", False), ("app.db-x", False), ("app.db/x", False), ("App.db", False),
        (None, False),
    ],
)  # fmt: skip
def test_a_logger_matches_all_below_it(tmp_path: Path, name: str | None, matches: bool):
    assert one(tmp_path, Filters(logger=("app.db",)), name=name) == matches


def test_of_several_loggers_or_hosts_one_must_match(tmp_path: Path):
    filters = Filters(logger=("a", "b"), host=("h", "i"))
    assert one(tmp_path, filters, name="b.c", host="h")
    assert not one(tmp_path, filters, name="b.c", host="j")
    assert not one(tmp_path, filters, name="c", host="h")


@pytest.mark.parametrize(
    ("text", "message", "matches"),
    [
        ("WORLD", "hello world", True), ("100%", "it is 100% sure", True), ("100%", "1000", False),
        ("a_b", "a_b", True), ("a_b", "axb", False), ("\\", "a\\b", True), ("x", "", False),
        ("größe", "GRÖẞE", True), ("größe", "GRÖSSE", False), ("ÄÖ", "äö", True),
        ("k", "\N{KELVIN SIGN}", True), ("\N{LATIN SMALL LETTER LONG S}", "S", True),
        ("", "", True),
    ],
)  # fmt: skip
def test_grep_is_plain_text_in_any_case(tmp_path: Path, text: str, message: str, matches: bool):
    assert one(tmp_path, Filters(grep=(text,)), message=message) == matches


def test_grep_and_regex_search_the_traceback_too(tmp_path: Path):
    fields = {"message": "it failed", "exc_text": "ZeroDivisionError: ü"}
    assert one(tmp_path, Filters(grep=("zerodiv",)), **fields)
    assert one(tmp_path, Filters(grep=("Ü",)), **fields)
    assert one(tmp_path, Filters(regex=(r"^Zero\w+: .$",)), **fields)
    assert not one(tmp_path, Filters(regex=("^zero",)), **fields)
    assert not one(tmp_path, Filters(grep=("failed", "nothing")), **fields)


EXTRA = (
    '{"user":77,"text":"77","f":1.5,"yes":true,"none":null,"a":{"b":"x","n":{"m":1}},'
    '"dot.ted":"d","q\'":1,"list":[1]}'
)


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("extra.user=77", True), ("extra.text=77", True), ("extra.user=78", False),
        ("extra.user!=77", False), ("extra.user!=78", True), ("extra.missing!=1", True),
        ("extra.missing=1", False), ("extra.a.b=x", True), ("extra.a.n.m=1", True),
        ("extra.dot.ted=d", True), ("extra.f=1.5", True), ("extra.f>1", True),
        ("extra.f>1.5", False), ("extra.f>=1.5", True), ("extra.user<100", True),
        ("extra.text<100", False), ("extra.text<9", False), ("extra.a.b>w", True),
        ("extra.yes=true", True), ("extra.yes=false", False), ("extra.none=null", True),
        ("extra.missing=null", False), ("extra.q'=1", True), ("extra.a=x", False),
        ("extra.list=[1]", True),
        ("levelno>=20", True), ("levelno>20", False), ("levelname=INFO", True),
        ("lineno=5", False), ("lineno!=5", True), ("message = a = b", True),
        ("host<=127.0.0.1", True), ("node=ab", True), ("offset=0", True),
        (f"created>={START}", True), ("created>1s", True), ("created<1s", False),
        ("created<=2023-11-14T22:13:20Z", True), ("created<2023-11-14T22:13:20Z", False),
    ],
)  # fmt: skip
def test_a_condition_compares_a_field(tmp_path: Path, condition: str, matches: bool):
    assert one(tmp_path, conditions(condition), extra=EXTRA, message="a = b") == matches


def test_all_conditions_must_hold(tmp_path: Path):
    assert one(tmp_path, conditions("extra.user=77", "levelno=20"), extra=EXTRA)
    assert not one(tmp_path, conditions("extra.user=77", "levelno=30"), extra=EXTRA)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leve=1", "there is no field 'leve'; did you mean 'levelno'?"),
        ("extr.user=1", "there is no field 'extr.user'; did you mean 'extra.NAME'?"),
        ("extra.=1", "expected extra.NAME or extra.NAME.NAME, got 'extra.'"),
        ('extra.a"b=1', "expected extra.NAME or extra.NAME.NAME, got 'extra.a\"b'"),
        ("word", "expected field=value, got 'word'"),
        ("created>soon", "expected a time such as 1h, 2026-11-23, '2026-11-23 14:30' or yesterday, "
         "got 'soon'"),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_an_error(text: str, message: str):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        parse_condition(text, START)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_condition_that_works_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
):
    logs = tmp_path_factory.getbasetemp() / "conditions"
    if not logs.exists():
        write_day(logs / "2026-11-23.db", [make_record(0, extra=EXTRA)])
    for candidate in (text, f"extra.{text}=1", f"message={text}", f"extra.a.{text}!={text}"):
        try:
            filters = conditions(candidate)
        except ConfigError:
            continue
        if "\0" not in candidate and candidate.isprintable():
            messages(logs, filters)


def test_levels_are_named_or_numbered():
    assert [parse_level(text) for text in ("warning", "WARN", "35", "FATAL")] == [30, 30, 35, 50]
    with pytest.raises(ConfigError, match="no level 'WARNIN'; did you mean 'WARNING'"):
        parse_level("WARNIN")


def test_a_wrong_regular_expression_is_an_error():
    with pytest.raises(ConfigError, match=r"not a regular expression: '\(': "):
        check_regex("(")


NOW = datetime(2026, 11, 23, 14, 30, 5).timestamp()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1h", NOW - 3600), ("90 min ago", NOW - 5400), ("now", NOW), ("@12.5", 12.5),
        ("today", datetime(2026, 11, 23)), ("Yesterday", datetime(2026, 11, 22)),
        ("2026-11-01", datetime(2026, 11, 1)), ("14:30", datetime(2026, 11, 23, 14, 30)),
        ("2026-11-01 14:30", datetime(2026, 11, 1, 14, 30)),
        ("2026-11-01T14:30:00+02:00", datetime.fromisoformat("2026-11-01T14:30:00+02:00")),
        ("9:05", datetime(2026, 11, 23, 9, 5)),
    ],
)  # fmt: skip
def test_a_moment_is_parsed(text: str, moment: float | datetime):
    expected = moment.timestamp() if isinstance(moment, datetime) else moment
    assert parse_moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "60", "2026-13-01", "@x", "1 fortnight", "25:00"])
def test_a_text_that_is_no_moment_is_an_error(text: str):
    with pytest.raises(ConfigError, match="expected a time such as"):
        parse_moment(text, NOW)
