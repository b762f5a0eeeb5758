"""Sizes and times of the configuration are parsed and formatted."""

from __future__ import annotations

import contextlib

import pytest
from config_texts import MIB
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlog.config import parse_duration, parse_size
from fastlog.config.units import format_duration, format_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("64 MiB", 64 * MIB),
        ("10GB", 10**10),
        ("1.5k", 1536),
        ("7 bytes", 7),
        ("1_000", 1000),
    ],
)
def test_a_size_is_read(text: str, size: int):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30 days", 2592000.0),
        ("12h", 43200.0),
        ("1h30m", 5400.0),
        ("90", 90.0),
        ("1.5 min", 90.0),
        ("250ms", 0.25),
    ],
)
def test_a_time_is_read(text: str, seconds: float):
    assert parse_duration(text) == seconds


@settings(deadline=None)
@given(st.text(max_size=12))
def test_any_text_parses_or_raises_value_error(text: str):
    for parse in (parse_size, parse_duration):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0


@settings(deadline=None)
@given(st.integers(0, 2**50))
def test_a_formatted_size_is_parsed_to_nearly_the_same(size: int):
    assert parse_size(format_size(size)) == pytest.approx(size, rel=1e-2)


@settings(deadline=None)
@given(st.floats(0.01, 1e9))
def test_a_formatted_time_is_parsed_to_nearly_the_same(seconds: float):
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-2)
