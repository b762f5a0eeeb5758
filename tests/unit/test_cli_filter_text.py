"""Filters as a query text, which `--url` sends: it means what the arguments and flags mean."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlog.cli.filters import Filters
from fastlog.errors import ConfigError
from fastlog.query import Node, TimeContext, parse

CONTEXT = TimeContext(1_700_000_000.0, None, 0.0)
NOTHING: dict[str, Any] = {
    **dict.fromkeys(("since", "until", "level")),
    **dict.fromkeys(("logger", "host", "grep", "regex", "where"), ()),
}


def text_of(terms: str = "", **flags: Any) -> str:
    with click.Context(click.Command("tail")):
        return Filters(terms, NOTHING | flags).text()


def meaning(terms: str = "", **flags: Any) -> Node:
    return Filters(terms, NOTHING | flags).in_context(CONTEXT)


@pytest.mark.parametrize(
    ("terms", "flags"),
    [
        ("", {}),
        ("a OR b", {"level": "warning"}),
        ("user=77 -noise", {"level": "35", "logger": ("app.*", "web"), "host": ("10.0.0.*",)}),
        ("", {"since": "2026-11-23 14:30", "until": "2026-11-23T15:00Z"}),
        ("", {"since": "boot", "where": ("a OR b", "", "-c")}),
        ("ends\\", {"where": ("too\\\\\\",), "grep": ('say "hi" \\ there', "*", "NOT")}),
    ],
    ids=str,
)
def test_the_text_means_what_the_filters_mean(terms: str, flags: dict[str, Any]):
    assert parse(text_of(terms, **flags), CONTEXT) == meaning(terms, **flags)


TEXT = st.text(st.sampled_from('ab*. \t\n"\\()[]/:=<>!-é'), min_size=1, max_size=12)


@settings(deadline=None)
@given(TEXT, TEXT)
def test_any_name_and_any_text_keep_their_meaning(name: str, text: str):
    flags = {"logger": (name, "app"), "grep": (text,)}
    assert parse(text_of("x", **flags), CONTEXT) == meaning("x", **flags)


@pytest.mark.parametrize("pattern", ["a/b", r"a\/b", r"\\/", r"^GET .*id=\d", "(?i)x|y"])
def test_an_expression_is_looked_for_in_each_text(pattern: str):
    [wanted] = [text_of(regex=(pattern,))]
    parts = wanted[1:-1].split(" OR ")
    assert [part.partition(":")[0] for part in parts] == [
        "message", "exc_text", "stack_info", "extra",
    ]  # fmt: skip
    parse(wanted, CONTEXT)  # it is valid


@pytest.mark.parametrize(
    ("terms", "flags", "error"),
    [
        ("(a", {}, 'this "(" is not closed'),
        ("", {"where": ("a) OR (b",)}, '--where: ")" without "("'),
        ("", {"level": "eror"}, "did you mean 'ERROR'"),
        ("", {"since": "yesterda"}, "--since: "),
    ],
    ids=str,
)
def test_a_mistake_is_an_error_before_anything_is_sent(
    terms: str, flags: dict[str, Any], error: str
):
    with pytest.raises(ConfigError, match=re.escape(error)):
        text_of(terms, **flags)
