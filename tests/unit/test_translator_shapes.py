"""The translator reads frames of every Python, and of the grammar, as the engine in Python does."""

from __future__ import annotations

import logging
import logging.handlers
from functools import cache

import grammar
import pytest
import shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreters import VERSIONS, interpreters
from translations import is_plain, is_read, rows_of, verdict_of

from fastlog.core import EXTRA, PLAIN, TREE

ORDINARY = (
    *("none", "true", "false", "zero", "small", "short", "medium", "minus", "int31", "int32"),
    *("int63", "minus63", "float", "whole", "tiny", "nan", "inf", "minus_inf", "text", "empty"),
    *("latin", "cyrillic", "cjk", "arabic", "emoji", "nul", "surrogate", "lines", "quotes", "long"),
    *("wide", "bytes", "bytes_empty", "bytes_utf8", "bytes_latin", "bytes_nul", "bytes_quotes"),
    *("bytes_all", "bytes_long", "list", "list_empty", "list_long", "tuple_empty", "tuple1"),
    *("tuple2", "tuple3", "tuple4", "set", "set_empty", "frozenset", "dict", "dict_empty"),
    *("keys_int", "datetime", "uuid", "decimal"),
)
"""The shapes that the stock handler of every Python sends, and that are plain."""
OF_PYTHON_3 = ("bytearray", "datetime_utc", "datetime_offset", "datetime_fold")


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    if request.param not in interpreters():
        pytest.skip(f"no Python {request.param} on this machine")
    return str(request.param)


verdict_once, is_read_once = cache(verdict_of), cache(is_read)
"""Picklers of several interpreters write the same bytes."""


def test_the_shapes_of_ordinary_log_records_are_plain(version: str) -> None:
    ordinary = {*ORDINARY, *(OF_PYTHON_3 if version != "2.7" else ())}
    frames = [f for f in shapes.frames(version) if f.shape in ordinary]
    assert [(f.shape, f.how) for f in frames if verdict_once(f.data) != PLAIN] == []
    assert {f.shape for f in frames if f.how == "socket"} == ordinary


def test_no_shape_of_any_protocol_is_a_fallback(version: str) -> None:
    assert [(f.shape, f.how) for f in shapes.frames(version) if not is_read_once(f.data)] == []


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10**12))
def test_any_pickle_of_the_grammar_gives_the_same_result(seed: int) -> None:
    is_plain(grammar.frame(seed))


def test_the_grammar_reaches_every_verdict_that_matters() -> None:
    verdicts = [verdict_of(grammar.frame(seed)) for seed in range(1500)]
    assert verdicts.count(PLAIN) > 300
    assert verdicts.count(EXTRA) > 100
    assert verdicts.count(TREE) > 100
    assert len(set(verdicts)) > 8


def test_every_beginning_of_a_stock_frame_gives_the_same_result() -> None:
    record = logging.LogRecord("app", 30, "/a.py", 12, "m %s", ("é",), None, "run")
    record.x = {"a": [1, 2.5, (None,)]}
    frame = logging.handlers.SocketHandler("localhost", 0).makePickle(record)[4:]
    for end in range(len(frame)):
        assert not is_plain(frame[:end])
    assert is_plain(frame)


def test_a_frame_does_not_depend_on_the_frames_before_it() -> None:
    alone = {seed: rows_of(grammar.frame(seed)) for seed in range(300)}
    frames = [grammar.frame(seed) for seed in range(300)]
    in_one_block = rows_of(*frames)
    expected = [row for rows in alone.values() for row in rows]
    assert repr([row[:-1] for row in in_one_block]) == repr([row[:-1] for row in expected])
