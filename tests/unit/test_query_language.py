"""The query language: what each form means for a record, and which texts are errors."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from day_files import START, make_record, open_day, write_day
from hypothesis import example, given, settings
from hypothesis import strategies as st
from queries import matches, parsed
from query_terms import QUESTIONS, Question, fields_of_records
from searches import messages

from fastlog.errors import ConfigError
from fastlog.query import QueryError, compile_query, parse_level
from fastlog.query.operands import phrase, regex
from fastlog.query.tree import columns_of

EXTRA = (
    '{"user":77,"text":"77","f":1.5,"yes":true,"none":null,"a":{"b":"x","n":{"m":1}},'
    '"dot.ted":"d","list":[1,{"c":5}],"request-id":"r 1","say":"he said \\"hi\\"\\n",'
    '"!notes":["levelno: not a number"]}'
)
FIELDS: dict[str, Any] = {
    "extra": EXTRA, "message": "Disk is 90% full: retry", "name": "app.db", "lineno": 12,
    "exc_text": "ZeroDivisionError: ü", "taskName": None,
    "filename": "app.py",
}  # fmt: skip


@pytest.mark.parametrize(
    ("query", "is_wanted"),
    [
        ("", True), ("   ", True), ("*", True),
        # words and phrases
        ("disk", True), ("DISK full", True), ("full disk", True), ('"disk full"', False),
        ('"is 90%"', True), ("zerodiv", True), ("Ü", True), ("request-id", True), ("floppy", False),
        (r'"said \"hi\""', True), ("d*full", True), ("disk*empty", False),
        (r"full\:", True), ('"full:"', True), ("12:30", False), ("90%", True),
        # equality
        ("message:disk", True), ("message=disk", True), ("message:disk*", True),
        ("message:*disk", False), ("message:*retry", True), ('message:"*"', False),
        ("traceback:zero", True), ("exc_text:zero*ü", True), ("traceback:disk", False),
        ("extra:hi", True), ("extra:disk", False),
        ("name:app.db", True), ("name:app", False), ("name:app*", True), ("name:App*", False),
        ("name:*", True), ("taskName:*", False), ("NOT taskName:*", True), ("taskName!=x", True),
        ("host:127.0.0.1", True), ("host:127.*", True), ("host:10.*", False),
        ("lineno:12", True), ("lineno=12.0", True), ("lineno:13", False), ("lineno:1*", True),
        ("filename:app.py", True), ('filename:"app.p*"', False),
        # expressions
        ("message:/^Disk/", True), ("message:/^disk/", False), ("message:/(?i)^disk/", True),
        (r"message:/90%\s/", True), (r"name:/p\.d/", True), ("lineno:/^1/", True),
        ("user:/^7+$/", True), ("message!=/x{3}/", True),
        # order, lists, ranges
        ("lineno>11", True), ("lineno>12", False), ("lineno >= 12", True), ("lineno<=12", True),
        ("lineno:[10 TO 20]", True), ("lineno:[12 TO 12]", True), ("lineno:[13 TO *]", False),
        ("lineno:[* TO 12]", True), ("lineno!=[10 TO 20]", False), ("lineno:(11 12)", True),
        ("lineno:(11 OR 12)", True), ("lineno!=(11 12)", False), ("lineno!=(11 13)", True),
        ("name>app", True), ('filename:("x y" app.py)', True),
        # loggers and levels
        ("logger:app", True), ("logger:app.db", True), ("logger:ap", False),
        ("logger:app.*", True), ("logger=app.db.pool", False), ("logger!=app", False),
        ("level:info", True), ("level:INFO", True), ("level:20", True), ("level:in*", True),
        ("level:debug", False), ("level>=info", True), ("level>info", False), ("level<30", True),
        ("level:(debug info)", True), ("level!=info", False), ("level:/^I/", True),
        # extras
        ("user=77", True), ("extra.user=77", True), ("text=77", True), ("user=78", False),
        ("user!=78", True), ("missing!=1", True), ("missing=1", False), ("missing:*", False),
        ("a.b=x", True), ("extra.a.n.m=1", True), ("dot.ted=d", True), ("f=1.5", True),
        ("f>1", True), ("f>1.5", False), ("f>=1.5", True), ("user<100", True),
        ("text<100", False), ('text>"9"', False), ('text>"7"', True), ("a.b>w", True),
        ("yes=true", True), ("yes=1", False), ("yes=false", False), ("none=null", True),
        ("none:*", True), ("missing=null", False), ("a=x", False),
        ("list[0]=1", True), ("list[1].c>4", True), ("list[9]=1", False), ("list[1].d:*", False),
        ('extra."request-id":"r 1"', True), ("request-id:r*", True), ("list:*c*", True),
        # notes
        ("has:note", True), ("note:number", True), ("note:message", False), ("has:user", True),
        ("has:extra.missing", False), ("has:traceback", True), ("has:taskName", False),
        # logic
        ("disk OR floppy", True), ("floppy OR disk", True), ("disk floppy", False),
        ("disk AND full", True), ("NOT floppy", True), ("-floppy", True), ("-disk", False),
        ("--disk", True), ("NOT -disk", True), ("floppy OR disk full", True),
        ("(floppy OR disk) full", True), ("(floppy OR disk) empty", False),
        ("-(floppy OR disk)", False), ("-(floppy disk)", True), ("-level:debug -user=1", True),
        ("user=77 OR user=78 lineno=1", True), ("(user=77 OR user=78) lineno=1", False),
        # times
        (f"created>={START}", True), ("created>1s", True), ("created<1s", False),
        ("created<=2023-11-14T22:13:20Z", True), ("created<2023-11-14T22:13:20Z", False),
        ("created>2023-11-14T22:13:20Z", False), ("time:[-1h TO now]", True),
        ("time:2023-11-14T22:13Z", True), ("time:2023-11-14T22:12Z", False),
        ("received>1h", True),
    ],
)  # fmt: skip
def test_a_query_matches_or_not(query: str, is_wanted: bool):
    assert matches(query, make_record(0, **FIELDS)) == is_wanted


@pytest.mark.parametrize(
    ("query", "column", "message"),
    [
        ("leve=1", 1, "there is no field 'leve'; did you mean 'level'? An extra of this name is"),
        ("disk lvelno=3", 6, "there is no field 'lvelno'; did you mean 'levelno'?"),
        ("lineno>abc", 8, "lineno is a number, got 'abc'"),
        ("lineno:[1 TO x]", 14, "lineno is a number, got 'x'"),
        ("level:eror", 7, "there is no level 'eror'; did you mean 'error'?"),
        ("level:crit", 7, "there is no level 'crit'; did you mean 'critical'?"),
        ("level>=notice", 8, "there is no level 'notice'"),
        ("host:127.0.0", 6, "127.0.0 is no whole address; host:127.0.0.* matches"),
        ("created>yesteday", 9, "'yesteday' is no time; did you mean 'yesterday'?"),
        ("created>2026", 9, "'2026' is no time; for seconds since the epoch write @2026"),
        ("created:/x/", 9, "created is a time: compare it"),
        ("user=", 6, 'expected a value after "user="; user:* asks whether it is there'),
        ("Error: disk", 7, 'expected a value after "Error:"'),
        ('""', 1, "the text is empty, and every record would match"),
        ('message:""', 9, "the text is empty, and every record would match"),
        ('logger:""', 8, "the name of a logger is empty"),
        ("message://", 9, "the regular expression is empty"),
        ("message:/(/", 9, "not a regular expression: '(': "),
        ("pathname:/srv/app", 10, 'expected /regex/ with "\\/" for each slash in it'),
        ("message:/x/i", 9, "expected /regex/"),
        ("x and y", 3, 'write AND for the operator, or quote the word: "and"'),
        ("could not connect", 7, 'write NOT for the operator, or quote the word: "not"'),
        ("AND x", 1, "expected a term, got AND"),
        ("x OR", 5, "expected a term, and the query ends"),
        ("x AND OR y", 7, "expected a term, got OR"),
        ("(x", 1, 'this "(" is not closed'),
        ("x)", 2, '")" without "("'),
        ("()", 1, "there is nothing between the parentheses"),
        ("level:()", 7, "there is nothing between the parentheses"),
        ('"x', 1, "this quote is not closed"),
        ('"x"y', 4, "expected a space after the quotes"),
        ("f(x)", 2, "put the whole text in quotes"),
        ("- x", 2, 'expected a term directly after "-"'),
        ("lineno:[1 2]", 8, "expected a range such as [10 TO 20]"),
        ("lineno:[1 TO 2", 8, 'this "[" is not closed'),
        ("lineno:[* TO *]", 8, "one end of the range must be a value"),
        ("lineno>1*", 8, "> takes a value as it is"),
        (">5", 1, "expected a field before >"),
        ("has:*", 5, "has: takes the name of a field"),
        ("(" * 60 + "x", 51, "more than 50 parentheses inside each other"),
        ("x" * 70_000, 65_537, "the query has more than 65536 characters"),
    ],
)  # fmt: skip
def test_a_mistake_is_an_error_at_its_column(query: str, column: int, message: str):
    with pytest.raises(QueryError, match=f"^{re.escape(message)}") as caught:
        parsed(query)
    assert caught.value.column == column
    assert f"(column {column} of " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@settings(deadline=None, max_examples=500)
@given(fields_of_records(), QUESTIONS)
def test_a_query_means_what_plain_python_says(fields: dict[str, Any], question: Question):
    record = make_record(0, **fields)
    assert matches(question.text, record) == question.is_wanted(record)


_SIGNS = ': = != < <= > >= ( ) [ ] " / * - \\ level logger user lineno created extra has note'
_WORDS = "AND OR NOT TO and 1h 77 error . a.b [0] yesterday 2026-11-23 é \udcff \0 (?i) {"
_PIECES = st.sampled_from([*_SIGNS.split(), *_WORDS.split(), "\n"])


@settings(deadline=None, max_examples=1000)
@given(st.lists(_PIECES | st.text(max_size=3), max_size=12), st.sampled_from(["", " "]))
@example(["message:", "/", "\0", "/"], "")
@example(["user:", '"', "\udcff", '"'], "")
def test_any_text_is_a_query_that_works_or_an_error_with_a_column(pieces: list[str], space: str):
    text = space.join(pieces)
    try:
        tree = parsed(text)
    except QueryError as error:
        assert 1 <= error.column <= len(text) + 1
    else:
        compile_query(tree)((*make_record(0, **FIELDS), "ab"))
        columns_of(tree)


def test_a_level_is_found_by_its_number_where_its_name_is_another():
    assert matches("level:error", make_record(0, levelno=40, levelname="E"))
    assert matches("level:error", make_record(0, levelno=None, levelname="Error"))
    assert matches("levelname:notice", make_record(0, levelno=25, levelname="notice"))
    assert matches("level:audit", make_record(0, levelno=25, levelname="AUDIT"))
    assert not matches("level>=info", make_record(0, levelno=None, levelname="ERROR"))


def test_levels_are_named_or_numbered():
    assert [parse_level(text) for text in ("warning", "WARN", "35", "FATAL")] == [30, 30, 35, 50]
    with pytest.raises(ConfigError, match="no level 'WARNIN'; did you mean 'WARNING'"):
        parse_level("WARNIN")


def test_what_cannot_be_searched_for_is_an_error():
    with pytest.raises(ConfigError, match=r"not a regular expression: '\(': "):
        regex("(")
    with pytest.raises(ConfigError, match=r"not a text to search for: '.*': 'utf-8' codec"):
        phrase("\udcff")


@pytest.mark.parametrize(
    ("text", "message", "is_wanted"),
    [
        ("WORLD", "hello world", True), ("100%", "it is 100% sure", True), ("100%", "1000", False),
        ("a_b", "a_b", True), ("a_b", "axb", False), ("\\", "a\\b", True), ("x", "", False),
        ("größe", "GRÖẞE", True), ("größe", "GRÖSSE", False), ("ÄÖ", "äö", True),
        ("k", "\N{KELVIN SIGN}", True), ("\N{LATIN SMALL LETTER LONG S}", "S", True),
    ],
)  # fmt: skip
def test_a_word_is_plain_text_in_any_case(text: str, message: str, is_wanted: bool):
    assert matches(text, make_record(0, message=message)) == is_wanted


def test_a_time_span_includes_its_begin_and_not_its_end(tmp_path: Path):
    write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in range(5)])
    found = messages(tmp_path, f"created>={START + 1} created<{START + 3}")
    assert found == ["message 1", "message 2"]


def test_a_file_whose_stated_span_is_of_another_time_is_not_searched(tmp_path: Path):
    """The span in `meta` is wrong here, which shows that it is used; a missing one is ignored."""
    path = write_day(tmp_path / "2026-11-23.db", [make_record(0), make_record(10)])
    window = f"created>={START + 5} created<{START + 20}"
    assert messages(tmp_path, window) == ["message 10"]
    with closing(open_day(path)) as day:
        execute = day.connection.execute
        execute("UPDATE meta SET value = ? WHERE key = 'min_created'", (START,))
        execute("UPDATE meta SET value = ? WHERE key = 'max_created'", (START + 4,))
    assert messages(tmp_path, window) == []
    assert messages(tmp_path, f"created<{START + 20}") == ["message 0", "message 10"]
