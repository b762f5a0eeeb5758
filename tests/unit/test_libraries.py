"""Values of libraries: both engines read them alike, and the C engine without a fallback."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import shapes
from engines import block_of, decoder, differing, explain
from interpreters import VERSIONS, interpreters
from libraries import FILES, samples

from fastlog.core import FALLBACK
from fastlog.decode.c_engine import CEngine

MODERN = [file for file in FILES if file != "python2.7"]


def fallbacks(frames: dict[str, bytes]) -> list[str]:
    """Return the names of the frames that fall back to the reader in Python."""
    verdicts = CEngine().translate(block_of(list(frames.values()))).verdicts or b""
    return [name for name, verdict in zip(frames, verdicts, strict=False) if verdict == FALLBACK]


def named(file: str) -> dict[str, bytes]:
    return {f"{each.name} {each.protocol}": each.frame for each in samples(file)}


def values(file: str, name: str) -> list[Any]:
    """Return what is stored as `x`, at each protocol."""
    frames = [each.frame for each in samples(file) if each.name == name]
    records = decoder("python", "records").decode(block_of(frames)).records
    return [json.loads(record.extra)["x"] for record in records]


@pytest.mark.parametrize("file", FILES)
def test_both_engines_give_the_same_for_values_of_libraries(file: str) -> None:
    frames = named(file)
    assert len(frames) > 400
    for frame in differing(list(frames.values())):
        pytest.fail(explain(frame))


@pytest.mark.parametrize("file", FILES)
def test_every_sample_is_a_record(file: str) -> None:
    frames = named(file)
    assert not decoder("c", "records").decode(block_of(list(frames.values()))).notices


@pytest.mark.parametrize("file", FILES)
def test_no_value_of_a_library_falls_back(file: str) -> None:
    assert fallbacks(named(file)) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_no_shape_of_any_python_falls_back(version: str) -> None:
    if version not in interpreters():
        pytest.skip(f"no Python {version} on this machine")
    frames = {f"{frame.shape} {frame.how}": frame.data for frame in shapes.frames(version)}
    assert fallbacks(frames) == []


EXPECTED: dict[str, Any] = {
    "np_quarter": 0.25,
    "np_int64": 7,
    "np_uint8": 7,
    "np_float16": 7.0,
    "np_float32": 7.0,
    "np_bool": True,
    "np_str": "x",
    "np_nan": "NaN",
    "np_datetime64": "2026-11-23T14:05:06.000789",
    "np_array": [1.5, "NaN", 3.0],
    "np_array_int32": [0, 1, 2, 3],
    "np_array_2d": [[0, 1, 2], [3, 4, 5]],
    "np_array_fortran": [[0, 1, 2], [3, 4, 5]],
    "np_array_big_endian": [0, 1, 2],
    "np_array_bool": [True, False],
    "np_ten": [n / 4.0 for n in range(10)],
    "pd_timestamp": "2026-11-23T14:05:06.000789",
    "decimal": "1.50",
    "fraction": "1/3",
    "range": "range(0, 3)",
    "ip4": "10.0.0.1",
    "ip6": "fe80::1",
    "markup": "<b>x</b>",
    "zoneinfo": "2026-11-23T14:05:06.000789[Europe/Berlin]",
    "pytz_zone": "2026-11-23T14:05:06.000789+01:00",
    "pytz_utc": "2026-11-23T14:05:06.000789+00:00",
    "du_offset": "2026-11-23T14:05:06.000789+01:00",
    "django_safe": "<b>safe</b>",
    "uuid_twice": ["00000010-0000-0000-0000-000000000007"] * 2,
    "dict_twice": [{"a": 1}] * 2,
    "dict_300": {f"key{n:03}": n for n in range(300)},
}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("file", FILES)
def test_a_value_is_stored_as_its_meaning(file: str, name: str) -> None:
    found = values(file, name)
    if not found:
        assert file not in MODERN or name in ("ip4", "ip6"), "only Python 2.7 may lack one"
        pytest.skip(f"{file} has no {name}")
    for value in found:
        assert value == EXPECTED[name]
        if isinstance(value, float):
            assert math.isfinite(value)


EXPECTED_OF_NEWEST: dict[str, Any] = {
    "np_float32_tenth": 0.1,
    "np_longdouble": 0.5,
    "np_int8_negative": -7,
    "np_uint64_largest": 2**64 - 1,
    "np_str_utf8": "журнал",
    "np_bytes": "x",
    "np_complex": "(1+2j)",
    "np_void": {"!": "numpy._core.multiarray.scalar", "args": ["V2", "ab"]},
    "np_record": {
        "!": "numpy._core.multiarray.scalar",
        "args": ["V12", "\x01" + "\\x00" * 9 + "\x04@"],
    },
    "np_datetime64_year": "2026",
    "np_datetime64_month": "2026-11",
    "np_datetime64_week": "2026-11-19",
    "np_datetime64_day": "2026-11-23",
    "np_datetime64_hour": "2026-11-23T14:00:00",
    "np_datetime64_second": "2026-11-23T14:05:06",
    "np_datetime64_ns": "2026-11-23T14:05:06.000789123",
    "np_datetime64_25s": "1970-01-01T00:04:10",
    "np_datetime64_before_1970": "1969-12-31T23:59:59.500000",
    "np_nat": "NaT",
    "np_timedelta64": "0:01:30",
    "np_timedelta64_ns": "0:00:00.000000001",
    "np_timedelta64_month": "3 months",
    "np_timedelta64_nat": "NaT",
    "np_array_fortran_3d": [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]],
    "np_array_0d": 5,
    "np_array_empty": [],
    "np_array_no_columns": [[], []],
    "np_array_str_utf8": ["a", "bcé"],
    "np_array_bytes": ["a", "bc"],
    "np_array_object": [1, "a", None],
    "np_array_float16": [0.0, 1.0, 2.0, 3.0],
    "np_array_complex": ["(1+2j)"],
    "np_array_datetime": ["2026-11-23", "NaT"],
    "np_array_structured": {"!": "numpy.ndarray", "shape": [1], "dtype": "V12", "!cut": "size"},
    "np_array_long": {"!": "numpy.ndarray", "shape": [150, 150], "dtype": "uint8", "!cut": "size"},
    "np_masked": [1, None],
    "np_matrix": [[1, 2]],
    "np_dtype": "float64",
    "pd_timestamp_ns": "2026-11-23T14:05:06.000789123",
    "pd_timestamp_zoned": "2026-11-23T13:05:06.000789+00:00[Europe/Berlin]",
    "pd_timestamp_utc": "2026-11-23T14:05:06.000789+00:00",
    "pd_timestamp_offset": "2026-11-23T14:05:06+05:30",
    "pd_timedelta": "1:00:00",
    "pd_timedelta_days": "1 day, 2:00:00.500000",
    "pd_nat": "NaT",
    "pd_na": "pandas.NA",
    "pd_period": "2026-11",
    "pd_interval": {"!": "pandas.Interval", "args": [0, 1, "right"]},
    "pd_series": {
        "!": "pandas.Series",
        "name": "s",
        "index": "range(0, 2)",
        "values": [1.5, 2.5],
    },
    "pd_series_text": {
        "!": "pandas.Series",
        "name": "b",
        "index": "range(0, 2)",
        "values": ["x", "y"],
    },
    "pd_frame_mixed": {
        "!": "pandas.DataFrame",
        "columns": ["a", "b", "c"],
        "index": "range(0, 2)",
        "blocks": [[[1, 2]], [[0.5, 1.5]], ["x", "y"]],
    },
    "pd_index": [1, 2, 3],
    "pd_range_index": "range(0, 5)",
    "pd_datetime_index": [f"2026-11-{day}T00:00:00" for day in (23, 24, 25)],
    "pd_categorical": {
        "!": "pandas.Categorical",
        "dtype": {
            "!": "pandas.CategoricalDtype",
            "state": {"categories": ["a", "b"], "ordered": False},
        },
        "values": [0, 1, 0],
    },
    "du_utc": "2026-11-23T14:05:06.000789+00:00",
    "du_file": "2026-11-23T14:05:06.000789[Europe/Berlin]",
    "du_str": "2026-11-23T14:05:06.000789[CET-1CEST]",
    "pytz_fixed": "2026-11-23T14:05:06.000789+05:30",
    "pytz_static": "2026-11-23T14:05:06.000789[Etc/GMT+5]",
    "pydantic_model": {"!": "__main__.Item", "state": {"name": "book", "price": "9.90"}},
    "pydantic_extra": {"!": "__main__.Open", "state": {"user": "eve", "more": 1}},
    "attrs": {"!": "__main__.Made", "state": {"a": 1, "b": "b"}},
    "attrs_slots": {"!": "__main__.Slotted", "state": {"a": 1, "b": "b"}},
    "sa_row": {"a": 1, "b": "x"},
    "sa_mapping": {"a": 1, "b": "x"},
    "django_lazy": "lazy text",
    "django_lazy_context": "lazy text",
}
"""What the newest libraries give; older ones pickle some of these values in another way."""


@pytest.mark.parametrize("name", EXPECTED_OF_NEWEST)
def test_a_value_of_the_newest_libraries_is_stored_as_its_meaning(name: str) -> None:
    found = values("python3.12", name)
    assert len(found) > 1
    for value in found:
        assert repr(value) == repr(EXPECTED_OF_NEWEST[name])  # 1, 1.0 and True differ


@pytest.mark.parametrize("file", FILES)
def test_nothing_of_numpy_is_stored_as_its_raw_bytes(file: str) -> None:
    wanted = ("np_int", "np_uint", "np_float", "np_array_int", "np_array_uint", "np_array_float")
    for name in sorted({each.name for each in samples(file) if each.name.startswith(wanted)}):
        for value in values(file, name):
            assert "numpy" not in json.dumps(value), name
