"""Edits of a query's text by the page: what they write parses, and means what was meant."""

from __future__ import annotations

import time

import pytest
from browsers import running_chromium

from fastlog.query import COLUMNS, TimeContext, compile_query, parse

pytest.importorskip("playwright.sync_api")

VALUES = [
    "plain",
    "two words",
    'quo"te',
    "back\\slash",
    "OR",
    "to",
    "a:b",
    "-minus",
    "*",
    "",
    "(x",
    "é",
    "/re/",
    "a\tb",
]


@pytest.fixture(scope="module")
def edit(shop):
    """A function that calls one of the page's own with the text of a query."""
    page = running_chromium().browser.new_page()
    page.goto(shop.url)

    def call(name, *arguments):
        # The page's policy allows its own modules only, and so does this.
        script = """async ([name, given]) => {
            const module = await import("/static/query-text.js");
            return module[name](...given);
        }"""
        return page.evaluate(script, [name, list(arguments)])

    yield call
    page.close()


def matches(query: str, **fields) -> bool:
    row = dict.fromkeys(COLUMNS)
    row |= {"message": "m", "extra": "{}", "created": time.time(), **fields}
    return compile_query(parse(query, TimeContext(time.time())))(
        tuple(row[name] for name in COLUMNS)
    )


@pytest.mark.parametrize("value", VALUES)
def test_including_any_value_matches_exactly_it(value, edit):
    query = edit("include", "", "threadName", value)
    assert matches(query, threadName=value)
    assert not matches(query, threadName=value + "x")
    assert not matches(query, threadName="other")
    assert edit("include", query, "threadName", value) == ""


@pytest.mark.parametrize("value", VALUES)
def test_excluding_any_value_matches_all_but_it(value, edit):
    query = edit("exclude", "", "threadName", value)
    assert not matches(query, threadName=value)
    assert matches(query, threadName="other")
    assert edit("exclude", query, "threadName", value) == ""


def test_a_second_value_is_one_more_of_the_list(edit):
    query = edit("include", "host:a message:x", "host", "b c")
    assert query == 'host:(a "b c") message:x'
    assert edit("include", query, "host", "a") == 'host:"b c" message:x'


def test_including_an_excluded_value_includes_it(edit):
    assert edit("include", "-host:a", "host", "a") == "host:a"
    assert edit("exclude", "host:(a b)", "host", "a") == "host:b -host:a"


def test_no_value_is_a_value_too(edit):
    query = edit("include", "", "threadName", None)
    assert query == "-threadName:*"
    assert matches(query) and not matches(query, threadName="x")
    assert edit("exclude", "", "threadName", None) == "threadName:*"


def test_a_query_with_or_is_kept_together(edit):
    query = edit("include", "a OR b", "host", "c")
    assert query == "(a OR b) host:c"
    assert edit("include", query, "host", "c") == "(a OR b)"


@pytest.mark.parametrize("query", ["host:x*", "host:[a TO b]", "host:/a b/", "host!=a", "host>a"])
def test_other_terms_about_a_field_stay(query, edit):
    assert edit("include", query, "host", "c") == f"{query} host:c"


@pytest.mark.parametrize("query", ['"open', "(a", "a)", "message:/open"])
def test_unbalanced_queries_are_sent_as_they_are(query, edit):
    assert edit("within", query, "1h", "") == query


def test_a_range_holds_for_the_whole_query(edit):
    assert edit("within", "a OR b", "1h", "2026-11-23T14:30:05Z") == (
        '(a OR b) created>=1h created<"2026-11-23T14:30:05Z"'
    )
    assert edit("within", "", "1h", "") == "created>=1h"
