"""Values of libraries are stored as `docs/pickle.md` says.

The frames were made by `tests/support/clients/make_library_pickles.py`.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
from logged_values import extra_of
from places import SUPPORT

FRAMES = SUPPORT / "data" / "library_frames.tsv"

LIBRARIES: dict[str, Any] = {
    "float64": 0.25,
    "float32": 0.1,
    "float16": 0.5,
    "longdouble": 1.5,
    "nan": "NaN",
    "int8": -7,
    "int64": 7,
    "uint64": 2**64 - 1,
    "bool_": True,
    "str_": "xé",
    "bytes_": "xy",
    "complex128": "(1+2j)",
    "void": {"!": "numpy._core.multiarray.scalar", "args": ["V2", "ab"]},
    "record": {
        "!": "numpy._core.multiarray.scalar",
        "args": ["V12", "\x01" + "\\x00" * 10 + "@"],
    },
    "datetime64[us]": "2026-11-23T14:05:06.000789",
    "datetime64[ns]": "2026-11-23T14:05:06.000789123",
    "datetime64[s]": "2026-11-23T14:05:06",
    "datetime64[h]": "2026-11-23T14:00:00",
    "datetime64[D]": "2026-11-23",
    "datetime64[M]": "2026-11",
    "datetime64[Y]": "2026",
    "datetime64[W]": "2026-11-19",
    "datetime64[25s]": "1970-01-01T00:04:10",
    "datetime64 NaT": "NaT",
    "datetime64 before": "1969-12-31T23:59:59.500000",
    "timedelta64[s]": "0:01:30",
    "timedelta64[ns]": "0:00:00.000000001",
    "timedelta64[M]": "3 months",
    "timedelta64 NaT": "NaT",
    "array": [[0, 1, 2], [3, 4, 5]],
    "array of Fortran": [[1.0, 2.0], [3.0, 4.0]],
    "array 3d of Fortran": [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]],
    "array of big endian": [1, 2],
    "array 0d": 5,
    "array of bool": [True, False],
    "array of str": ["a", "bcé"],
    "array of bytes": ["a"],
    "array of objects": [1, "a", None],
    "array of float16": [0.5],
    "array of complex": ["1j"],
    "array of dates": ["2026-11-23"],
    "array empty": [],
    "array of rows of none": [[], []],
    "array of records": {"!": "numpy.ndarray", "shape": [1], "dtype": "V12", "!cut": "size"},
    "array long": {"!": "numpy.ndarray", "shape": [150, 150], "dtype": "uint8", "!cut": "size"},
    "array masked": [None, 2],
    "matrix": [[1, 2]],
    "dtype": "float64",
    "Timestamp": "2026-11-23T14:05:06.000789",
    "Timestamp of ns": "2026-11-23T14:05:06.000789123",
    "Timestamp with a zone": "2026-11-23T13:05:06+00:00[Europe/Berlin]",
    "Timestamp in UTC": "2026-11-23T14:05:06+00:00",
    "Timestamp with an offset": "2026-11-23T14:05:06+05:30",
    "Timedelta": "1 day, 2:00:00.500000",
    "NaT": "NaT",
    "NA": "pandas.NA",
    "Period": "2026-11",
    "Interval": {"!": "pandas.Interval", "args": [1, 2, "right"]},
    "Series": {"!": "pandas.Series", "name": "a", "index": "range(0, 2)", "values": [1, 2]},
    "Series of str": {
        "!": "pandas.Series",
        "name": "c",
        "index": "range(0, 2)",
        "values": ["x", "y"],
    },
    "DataFrame": {
        "!": "pandas.DataFrame",
        "columns": ["a", "b", "c"],
        "index": "range(0, 2)",
        "blocks": [[[1, 2]], [[0.5, 1.5]], ["x", "y"]],
    },
    "Index": [1, 2],
    "RangeIndex": "range(0, 2)",
    "DatetimeIndex": ["2026-11-23T00:00:00", "2026-11-24T00:00:00"],
    "Categorical": {
        "!": "pandas.Categorical",
        "dtype": {
            "!": "pandas.CategoricalDtype",
            "state": {"categories": ["a", "b"], "ordered": False},
        },
        "values": [0, 1, 0],
    },
    "tzoffset": "2026-11-23T14:05:06+01:00",
    "tzutc": "2026-11-23T14:05:06+00:00",
    "tzfile": "2026-11-23T14:05:06[Europe/Berlin]",
    "tzstr": "2026-11-23T14:05:06[EST5EDT]",
    "pytz": "2026-11-23T14:05:06+01:00",
    "pytz UTC": "2026-11-23T14:05:06+00:00",
    "pytz FixedOffset": "2026-11-23T14:05:06+01:30",
    "pytz of one offset": "2026-11-23T14:05:06[Etc/GMT+5]",
    "pydantic": {"!": "__main__.Model", "state": {"user": "bob", "price": "1.50"}},
    "pydantic extra": {
        "!": "__main__.Model",
        "state": {"user": "eve", "price": "1.50", "more": 1},
    },
    "attrs": {"!": "__main__.Attributes", "state": {"user": "bob"}},
    "attrs slots": {"!": "__main__.Slotted", "state": {"user": "bob"}},
    "Row": {"id": 1, "name": "bob"},
    "RowMapping": {"id": 1, "name": "bob"},
    "Markup": "<b>",
    "SafeString": "<i>",
    "gettext_lazy": "lazy",
    "pgettext_lazy": "lazy",
}


def library_frames() -> list[tuple[str, int, bytes]]:
    lines = [line for line in FRAMES.read_text().splitlines() if not line.startswith("#")]
    fields = (line.split("\t") for line in lines)
    return [(name, int(protocol), base64.b64decode(frame)) for name, protocol, frame in fields]


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_value_of_a_library_is_readable_at_every_protocol(name: str) -> None:
    frames = [(protocol, frame) for each, protocol, frame in library_frames() if each == name]
    assert len(frames) > 1
    for protocol, frame in frames:
        actual = extra_of(frame)["x"]
        assert (protocol, repr(LIBRARIES[name])) == (protocol, repr(actual))


def test_every_captured_frame_is_expected() -> None:
    assert {name for name, _, _ in library_frames()} == set(LIBRARIES)
