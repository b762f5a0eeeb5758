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


@pytest.mark.parametrize("file", FILES)
def test_nothing_of_numpy_is_stored_as_its_raw_bytes(file: str) -> None:
    wanted = ("np_int", "np_uint", "np_float", "np_array_int", "np_array_uint", "np_array_float")
    for name in sorted({each.name for each in samples(file) if each.name.startswith(wanted)}):
        for value in values(file, name):
            assert "numpy" not in json.dumps(value), name
