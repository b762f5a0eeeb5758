"""Prints frames with values of numpy, pandas and other libraries, for `data/library_frames.tsv`.

So the suite needs none of them. A line is: the name of the value, the protocol, the frame in base64,
with tabs between. The first line names the versions. Run it in an environment that has them all:

    pip install numpy pandas pydantic attrs sqlalchemy markupsafe python-dateutil pytz django
    python make_library_pickles.py > ../data/library_frames.tsv
"""

import base64
import datetime
import decimal
import importlib.metadata
import pickle
import platform

import attrs
import dateutil.tz
import django
import markupsafe
import numpy as np
import pandas as pd
import pydantic
import pytz
import sqlalchemy
from django.conf import settings

settings.configure(USE_I18N=False)
django.setup()

from django.utils.safestring import mark_safe  # noqa: E402
from django.utils.translation import gettext_lazy, pgettext_lazy  # noqa: E402

LIBRARIES = (
    *("numpy", "pandas", "pydantic", "attrs", "sqlalchemy", "markupsafe", "python-dateutil"),
    *("pytz", "django"),
)


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    user: str = "bob"
    price: decimal.Decimal = decimal.Decimal("1.50")


@attrs.define
class Slotted:
    user: str = "bob"


@attrs.define(slots=False)
class Attributes:
    user: str = "bob"


def rows():
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        result = connection.execute(sqlalchemy.text("select 1 as id, 'bob' as name"))
        row = result.first()
        return row, row._mapping


def zoned(zone, hour=14):
    return datetime.datetime(2026, 11, 23, hour, 5, 6, tzinfo=zone)


RECORDS = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
TABLE = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": ["x", "y"]})
ROW, MAPPING = rows()
BERLIN = pytz.timezone("Europe/Berlin")

VALUES = {
    "float64": np.float64(0.25), "float32": np.float32(0.1), "float16": np.float16(0.5),
    "longdouble": np.longdouble(1.5), "nan": np.float64("nan"),
    "int8": np.int8(-7), "int64": np.int64(7), "uint64": np.uint64(2**64 - 1),
    "bool_": np.bool_(True), "str_": np.str_("x\xe9"), "bytes_": np.bytes_(b"xy"),
    "complex128": np.complex128(1 + 2j), "void": np.void(b"ab"), "record": RECORDS[0],
    "datetime64[us]": np.datetime64("2026-11-23T14:05:06.000789"),
    "datetime64[ns]": np.datetime64("2026-11-23T14:05:06.000789123"),
    "datetime64[s]": np.datetime64("2026-11-23T14:05:06"),
    "datetime64[h]": np.datetime64("2026-11-23T14"),
    "datetime64[D]": np.datetime64("2026-11-23"), "datetime64[M]": np.datetime64("2026-11"),
    "datetime64[Y]": np.datetime64("2026"), "datetime64[W]": np.datetime64("2026-11-19", "W"),
    "datetime64[25s]": np.datetime64(10, "25s"), "datetime64 NaT": np.datetime64("NaT"),
    "datetime64 before": np.datetime64("1969-12-31T23:59:59.5"),
    "timedelta64[s]": np.timedelta64(90, "s"), "timedelta64[ns]": np.timedelta64(1, "ns"),
    "timedelta64[M]": np.timedelta64(3, "M"), "timedelta64 NaT": np.timedelta64("NaT"),
    "array": np.arange(6).reshape(2, 3), "array of Fortran": np.asfortranarray([[1.0, 2], [3, 4]]),
    "array 3d of Fortran": np.asfortranarray(np.arange(12).reshape(2, 3, 2)),
    "array of big endian": np.array([1, 2], dtype=">i4"), "array 0d": np.array(5),
    "array of bool": np.array([True, False]), "array of str": np.array(["a", "bc\xe9"]),
    "array of bytes": np.array([b"a"]), "array of objects": np.array([1, "a", None], dtype=object),
    "array of float16": np.array([0.5], dtype="f2"), "array of complex": np.array([1j]),
    "array of dates": np.array(["2026-11-23"], dtype="M8[D]"), "array empty": np.zeros((0, 3)),
    "array of rows of none": np.zeros((2, 0)),
    "array of records": RECORDS, "array long": np.zeros((150, 150), dtype="u1"),
    "array masked": np.ma.masked_array([1, 2], [True, False]), "matrix": np.matrix([[1, 2]]),
    "dtype": np.dtype("f8"),
    "Timestamp": pd.Timestamp("2026-11-23T14:05:06.000789"),
    "Timestamp of ns": pd.Timestamp("2026-11-23T14:05:06.000789123"),
    "Timestamp with a zone": pd.Timestamp("2026-11-23T14:05:06", tz="Europe/Berlin"),
    "Timestamp in UTC": pd.Timestamp("2026-11-23T14:05:06", tz="UTC"),
    "Timestamp with an offset": pd.Timestamp("2026-11-23T14:05:06+05:30"),
    "Timedelta": pd.Timedelta("1 days 02:00:00.5"), "NaT": pd.NaT, "NA": pd.NA,
    "Period": pd.Period("2026-11"), "Interval": pd.Interval(1, 2),
    "Series": TABLE["a"], "Series of str": TABLE["c"], "DataFrame": TABLE,
    "Index": pd.Index([1, 2]), "RangeIndex": TABLE.index,
    "DatetimeIndex": pd.date_range("2026-11-23", periods=2),
    "Categorical": pd.Categorical(["a", "b", "a"]),
    "tzoffset": zoned(dateutil.tz.tzoffset("X", 3600)), "tzutc": zoned(dateutil.tz.tzutc()),
    "tzfile": zoned(dateutil.tz.gettz("Europe/Berlin")),
    "tzstr": zoned(dateutil.tz.tzstr("EST5EDT")),
    "pytz": BERLIN.localize(zoned(None)), "pytz UTC": zoned(pytz.UTC),
    "pytz FixedOffset": zoned(pytz.FixedOffset(90)),
    "pytz of one offset": zoned(pytz.timezone("Etc/GMT+5")),
    "pydantic": Model(), "pydantic extra": Model(user="eve", more=1),
    "attrs": Attributes(), "attrs slots": Slotted(),
    "Row": ROW, "RowMapping": MAPPING,
    "Markup": markupsafe.Markup("<b>"), "SafeString": mark_safe("<i>"),
    "gettext_lazy": gettext_lazy("lazy"), "pgettext_lazy": pgettext_lazy("context", "lazy"),
}


def main():
    versions = " ".join("%s %s" % (name, importlib.metadata.version(name)) for name in LIBRARIES)
    print("# Python %s %s" % (platform.python_version(), versions))
    for name, value in VALUES.items():
        for protocol in (1, 2, 4, 5):
            try:
                frame = pickle.dumps({"msg": "m", "x": value}, protocol)
            except (TypeError, RecursionError):  # some need a newer protocol
                continue
            print("%s\t%d\t%s" % (name, protocol, base64.b64encode(frame).decode()))


if __name__ == "__main__":
    main()
