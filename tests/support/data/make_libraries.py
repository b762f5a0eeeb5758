# -*- coding: utf-8 -*-
"""Makes the files in tests/support/data/libraries: pickles of values of libraries that people log.

    pip install numpy pandas pydantic attrs SQLAlchemy Django python-dateutil pytz markupsafe structlog
    python tests/support/data/make_libraries.py > tests/support/data/libraries/NAME.frames

It runs on Python 2.7 and 3, with whatever of the libraries is there. A file begins with comments
that name the versions; the rest is in base64, and packed with zlib. In it, a line holds name,
protocol and length of a pickle, which follows. The pickle is the attributes of a record, as
handlers send them; `x` is what the name says.

This is one file so that an interpreter needs nothing but it.
"""

from __future__ import print_function

import base64
import collections
import datetime
import decimal
import fractions
import functools
import operator
import pickle
import re
import sys
import time
import types
import uuid
import warnings
import zlib

MOMENT = datetime.datetime(2026, 11, 23, 14, 5, 6, 789)
VERSIONS = []
PROTOCOLS = [0, 1, 2, 4, 5]


def found(name, module=None):
    """The module, or None; notes its version."""
    try:
        __import__(module or name)
    except ImportError:
        return None
    top = sys.modules[name]
    version = getattr(top, "__version__", getattr(top, "VERSION", "?"))
    if isinstance(version, tuple):
        version = ".".join(map(str, version[:3]))
    VERSIONS.append("%s %s" % (name, version))
    return sys.modules[module or name]


class Plain(object):
    def __init__(self, **values):
        self.__dict__.update(values)


class Pair(object):
    __slots__ = ("left", "right")

    def __init__(self):
        self.left, self.right = 1, u"r"


class Text(type(u"")):
    pass


class Whole(int):
    pass


def standard():
    shared = uuid.UUID(int=2**100 + 7)
    made = {
        "uuid_twice": [shared, shared],
        "dict_twice": [{u"a": 1}] * 2,
        "dict_300": dict((u"key%03d" % n, n) for n in range(300)),
        "keys_date": {MOMENT.date(): 1},
        "keys_uuid": {shared: 1},
        "keys_tuple": {(1, u"a"): 2},
        "keys_float": {1.5: 2},
        "fraction": fractions.Fraction(1, 3),
        "decimal": decimal.Decimal("1.50"),
        "deque": collections.deque([1, u"a"], 5),
        "partial": functools.partial(max, 1, key=len),
        "ordered": collections.OrderedDict([(u"b", 1), (u"a", 2)]),
        "counter": collections.Counter([u"a", u"a"]),
        "itemgetter": operator.itemgetter(1),
        "pattern": re.compile(u"a.b"),
        "struct_time": time.struct_time((2026, 11, 23, 14, 5, 6, 0, 327, 0)),
        "slice": slice(1, 2),
        "range": (xrange if sys.version_info[0] == 2 else range)(3),  # noqa
        "range_step": (xrange if sys.version_info[0] == 2 else range)(1, 10, 3),  # noqa
        "text_subclass": Text(u"sub"),
        "int_subclass": Whole(7),
        "slots": Pair(),
        "object": Plain(user=u"bob", at=MOMENT),
        "classes": [int, str, dict, Plain, collections.OrderedDict],
        "exception": ValueError(u"bad", 1),
        "big": 10**30,
    }
    if sys.version_info[0] > 2:
        made.update(of_python_3())
    return made


def of_python_3():
    import dataclasses
    import enum
    import ipaddress
    import pathlib

    Level = enum.IntEnum("Level", "NOTICE ALERT", module="__main__")
    Color = enum.Enum("Color", "RED GREEN", module="__main__")
    Name = enum.Enum("Name", [("DB", "app.db")], type=str, module="__main__")
    Point = dataclasses.make_dataclass("Point", ["x", "y"])
    Point.__module__ = "__main__"
    globals().update(Level=Level, Color=Color, Name=Name, Point=Point)
    made = {
        "int_enum": Level.NOTICE,
        "enum": Color.RED,
        "str_enum": Name.DB,
        "ip4": ipaddress.ip_address("10.0.0.1"),
        "ip6": ipaddress.ip_address("fe80::1"),
        "network": ipaddress.ip_network("10.0.0.0/8"),
        "interface": ipaddress.ip_interface("10.0.0.1/8"),
        "path": pathlib.PurePosixPath("/var/log/app.log"),
        "path_windows": pathlib.PureWindowsPath("C:\\logs\\app.log"),
        "namespace": types.SimpleNamespace(a=1),
        "chain_map": collections.ChainMap({"a": 1}, {"b": 2}),
        "user_dict": collections.UserDict({"a": 1}),
        "user_list": collections.UserList([1, 2]),
        "user_string": collections.UserString("us"),
        "dataclass": Point(1, "y"),
        "ellipsis": [Ellipsis, NotImplemented],
        "http_status": __import__("http").HTTPStatus.NOT_FOUND,
        "signal": __import__("signal").SIGTERM,
        "utc": MOMENT.replace(tzinfo=datetime.timezone.utc),
        "offset": MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=5), "named")),
    }
    try:
        import zoneinfo

        berlin = zoneinfo.ZoneInfo("Europe/Berlin")
        made["zoneinfo"] = MOMENT.replace(tzinfo=berlin)
        made["zoneinfo_ten"] = [MOMENT.replace(second=n, tzinfo=berlin) for n in range(10)]
        made["zoneinfo_itself"] = berlin
    except Exception:
        pass
    return made


def of_numpy(np):
    made = {}
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
                 "float16", "float32", "float64"):  # fmt: skip
        made["np_" + name] = getattr(np, name)(7)
        made["np_array_" + name] = np.arange(4, dtype=name)
    made.update({
        "np_float32_tenth": np.float32(0.1),
        "np_int8_negative": np.int8(-7),
        "np_uint64_largest": np.uint64(2**64 - 1),
        "np_void": np.void(b"ab"),
        "np_nan": np.float64("nan"),
        "np_quarter": np.float64(0.25),
        "np_longdouble": np.longdouble(0.5),
        "np_bool": np.bool_(True),
        "np_str": np.str_(u"x"),
        "np_str_utf8": np.array(u"журнал")[()],
        "np_bytes": np.bytes_(b"x"),
        "np_complex": np.complex128(1 + 2j),
        "np_datetime64": np.datetime64("2026-11-23T14:05:06.000789"),
        "np_datetime64_day": np.datetime64("2026-11-23"),
        "np_datetime64_ns": np.datetime64("2026-11-23T14:05:06.000789123"),
        "np_datetime64_month": np.datetime64("2026-11"),
        "np_datetime64_year": np.datetime64("2026"),
        "np_datetime64_week": np.datetime64("2026-11-19", "W"),
        "np_datetime64_hour": np.datetime64("2026-11-23T14"),
        "np_datetime64_second": np.datetime64("2026-11-23T14:05:06"),
        "np_datetime64_25s": np.datetime64(10, "25s"),
        "np_datetime64_before_1970": np.datetime64("1969-12-31T23:59:59.5"),
        "np_nat": np.datetime64("NaT"),
        "np_timedelta64": np.timedelta64(90, "s"),
        "np_timedelta64_ms": np.timedelta64(1500, "ms"),
        "np_timedelta64_ns": np.timedelta64(1, "ns"),
        "np_timedelta64_month": np.timedelta64(3, "M"),
        "np_timedelta64_nat": np.timedelta64("NaT"),
        "np_array": np.array([1.5, float("nan"), 3.0]),
        "np_array_2d": np.arange(6).reshape(2, 3),
        "np_array_fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "np_array_fortran_3d": np.asfortranarray(np.arange(12).reshape(2, 3, 2)),
        "np_array_0d": np.array(5),
        "np_array_empty": np.zeros((0, 3)),
        "np_array_no_columns": np.zeros((2, 0)),
        "np_array_bool": np.array([True, False]),
        "np_array_big_endian": np.arange(3, dtype=">i4"),
        "np_array_str": np.array([u"a", u"bc"]),
        "np_array_str_utf8": np.array([u"a", u"bc\xe9"]),
        "np_array_bytes": np.array([b"a", b"bc"]),
        "np_array_object": np.array([1, u"a", None], dtype=object),
        "np_array_datetime": np.array(["2026-11-23", "NaT"], dtype="datetime64[D]"),
        "np_array_complex": np.array([1 + 2j]),
        "np_array_structured": np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        "np_record": np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])[0],
        "np_array_large": np.zeros(3000),
        "np_array_long": np.zeros((150, 150), dtype="u1"),
        "np_array_slice": np.arange(10)[::3],
        "np_masked": np.ma.masked_array([1, 2], mask=[0, 1]),
        "np_matrix": np.matrix([[1, 2]]),
        "np_dtype": np.dtype("f8"),
        "np_type": np.float64,
        "np_function": np.mean,
        "np_ten": [np.float64(n / 4.0) for n in range(10)],
        "np_dict": {u"loss": np.float32(0.5), u"epoch": np.int64(3)},
    })  # fmt: skip
    return made


def of_pandas(pd):
    moment = pd.Timestamp(MOMENT)
    frame = pd.DataFrame({"a": [1, 2], "b": [u"x", u"y"]})
    mixed = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [u"x", u"y"]})
    made = {
        "pd_timestamp": moment,
        "pd_timestamp_utc": moment.tz_localize("UTC"),
        "pd_timestamp_zoned": moment.tz_localize("Europe/Berlin"),
        "pd_timestamp_ns": pd.Timestamp("2026-11-23T14:05:06.000789123"),
        "pd_timestamp_offset": pd.Timestamp("2026-11-23T14:05:06+05:30"),
        "pd_timestamp_day": pd.Timestamp("2026-11-23"),
        "pd_nat": pd.NaT,
        "pd_timedelta": pd.Timedelta(1, "h"),
        "pd_timedelta_days": pd.Timedelta("1 days 02:00:00.5"),
        "pd_timedelta_ns": pd.Timedelta(1234567891, "ns"),
        "pd_period": pd.Period("2026-11", freq="M"),
        "pd_interval": pd.Interval(0, 1),
        "pd_series": pd.Series([1.5, 2.5], name="s"),
        "pd_series_text": frame["b"],
        "pd_frame": frame,
        "pd_frame_mixed": mixed,
        "pd_index": pd.Index([1, 2, 3]),
        "pd_range_index": pd.RangeIndex(5),
        "pd_datetime_index": pd.date_range("2026-11-23", periods=3),
        "pd_categorical": pd.Categorical(["a", "b", "a"]),
        "pd_row": frame.iloc[0],
        "pd_shape": frame.shape,
        "pd_value": frame["a"].iloc[0],
    }
    if hasattr(pd, "NA"):
        made["pd_na"] = pd.NA
        made["pd_series_nullable"] = pd.Series([1, None], dtype="Int64")
    return made


def of_pydantic(pydantic):
    Item = type(
        "Item", (pydantic.BaseModel,),
        {"__annotations__": {"name": str, "price": decimal.Decimal}, "__module__": "__main__"},
    )  # fmt: skip
    Order = type(
        "Order", (pydantic.BaseModel,),
        {"__annotations__": {"items": list, "at": datetime.datetime}, "__module__": "__main__"},
    )  # fmt: skip
    options = {"extra": "allow"}
    is_new = hasattr(pydantic, "ConfigDict")  # 2.0 or newer
    Open = type(
        "Open", (pydantic.BaseModel,),
        {"__annotations__": {"user": str}, "__module__": "__main__",
         "model_config" if is_new else "Config": options if is_new else type("C", (), options)},
    )  # fmt: skip
    globals().update(Item=Item, Order=Order, Open=Open)
    item = Item(name="book", price=decimal.Decimal("9.90"))
    made = {"pydantic_model": item, "pydantic_nested": Order(items=[item], at=MOMENT)}
    made["pydantic_extra"] = Open(user="eve", more=1)
    made["pydantic_secret"] = pydantic.SecretStr("hidden")
    try:
        Item(name=None, price="x")
    except pydantic.ValidationError as error:
        made["pydantic_error"] = error
    return made


def of_attrs(attr):
    Made = attr.make_class("Made", {"a": attr.ib(), "b": attr.ib()})
    Slotted = attr.make_class("Slotted", {"a": attr.ib(), "b": attr.ib()}, slots=True)
    Frozen = attr.make_class("Frozen", ["a"], frozen=True, slots=True)
    for each in (Made, Slotted, Frozen):
        each.__module__ = "__main__"
    globals().update(Made=Made, Slotted=Slotted, Frozen=Frozen)
    return {"attrs": Made(1, u"b"), "attrs_slots": Slotted(1, u"b"), "attrs_frozen": Frozen(1)}


def of_sqlalchemy(sa):
    engine = sa.create_engine("sqlite://")
    made = {"sa_url": engine.url}
    with engine.connect() as connection:
        query = sa.text("SELECT 1 AS a, 'x' AS b")
        made["sa_row"] = connection.execute(query).fetchone()
        made["sa_mapping"] = made["sa_row"]._mapping
        made["sa_rows"] = connection.execute(query).fetchall()
    from sqlalchemy.sql import quoted_name

    made["sa_name"] = quoted_name("users", True)
    made["sa_clause"] = sa.text("SELECT 1")
    try:
        from sqlalchemy.orm import declarative_base
    except ImportError:
        from sqlalchemy.ext.declarative import declarative_base
    base = declarative_base()
    User = type(
        "User", (base,),
        {"__tablename__": "users", "__module__": "__main__",
         "id": sa.Column(sa.Integer, primary_key=True), "name": sa.Column(sa.String(9))},
    )  # fmt: skip
    globals()["User"] = User
    made["sa_entity"] = User(id=7, name=u"bob")
    return made


def of_django(django):
    from django.conf import settings

    settings.configure(USE_I18N=False, USE_TZ=True, SECRET_KEY="x" * 50)
    django.setup()
    from django.http import QueryDict
    from django.test import RequestFactory
    from django.utils import timezone
    from django.utils.datastructures import MultiValueDict
    from django.utils.functional import lazy
    from django.utils.safestring import mark_safe

    from django.utils.translation import pgettext_lazy as translate_in_context

    try:
        from django.utils.translation import gettext_lazy as translate
    except ImportError:
        from django.utils.translation import ugettext_lazy as translate
    kind = type(u"")
    return {
        "django_safe": mark_safe(u"<b>safe</b>"),
        "django_lazy": translate(u"lazy text"),
        "django_lazy_context": translate_in_context(u"menu", u"lazy text"),
        "django_lazy_call": lazy(with_mark, kind)(u"a"),
        "django_query": QueryDict("a=1&a=2&b=3"),
        "django_multi": MultiValueDict({"a": ["1", "2"]}),
        "django_now": MOMENT.replace(tzinfo=timezone.utc if hasattr(timezone, "utc") else None),
        "django_local": MOMENT.replace(tzinfo=timezone.get_fixed_timezone(60)),
        "django_request": RequestFactory().get("/x"),
        "django_error": django.core.exceptions.ValidationError(u"no"),
    }


def with_mark(text):
    return text + u"!"


def of_dateutil(dateutil):
    from dateutil import relativedelta, tz

    made = {
        "du_offset": MOMENT.replace(tzinfo=tz.tzoffset("X", 3600)),
        "du_utc": MOMENT.replace(tzinfo=tz.tzutc()),
        "du_local": MOMENT.replace(tzinfo=tz.tzlocal()),
        "du_relative": relativedelta.relativedelta(months=1),
        "du_str": MOMENT.replace(tzinfo=tz.tzstr("CET-1CEST")),
    }
    berlin = tz.gettz("Europe/Berlin")
    if berlin:
        made["du_file"] = MOMENT.replace(tzinfo=berlin)
    return made


def of_pytz(pytz):
    return {
        "pytz_utc": MOMENT.replace(tzinfo=pytz.utc),
        "pytz_zone": pytz.timezone("Europe/Berlin").localize(MOMENT),
        "pytz_summer": pytz.timezone("Europe/Berlin").localize(MOMENT.replace(month=7)),
        "pytz_fixed": pytz.FixedOffset(330).localize(MOMENT),
        "pytz_itself": pytz.timezone("Europe/Berlin"),
        "pytz_static": MOMENT.replace(tzinfo=pytz.timezone("Etc/GMT+5")),
    }


def of_markupsafe(markupsafe):
    return {"markup": markupsafe.Markup(u"<b>x</b>")}


def of_structlog(structlog):
    log = structlog.get_logger("app").bind(user=7, at=MOMENT)
    return {
        "structlog_context": getattr(log, "_context", None) or structlog.get_context(log),
        "structlog_level": structlog.stdlib.LoggerFactory,
        "structlog_event": {u"event": u"login", u"user": 7, u"_record": None},
    }


def shapes():
    made = standard()
    for name, module, make in (
        ("numpy", None, of_numpy), ("pandas", None, of_pandas), ("pydantic", None, of_pydantic),
        ("attr", None, of_attrs), ("sqlalchemy", None, of_sqlalchemy),
        ("django", None, of_django), ("dateutil", "dateutil.tz", of_dateutil),
        ("pytz", None, of_pytz), ("markupsafe", None, of_markupsafe),
        ("structlog", None, of_structlog),
    ):  # fmt: skip
        if found(name, module):
            made.update(make(sys.modules[name]))
    return made


def record_with(value):
    """The attributes that a stock handler would send."""
    return {
        u"name": u"app.db", u"msg": u"m", u"args": None, u"levelname": u"INFO", u"levelno": 20,
        u"created": 1795442706.25, u"lineno": 7, u"pathname": u"/srv/app/db.py", u"x": value,
    }  # fmt: skip


def main():
    warnings.simplefilter("ignore")
    packed = b""
    for name, value in sorted(shapes().items()):
        for protocol in PROTOCOLS:
            try:
                frame = pickle.dumps(record_with(value), protocol)
            except Exception:  # noqa: it cannot be pickled, so nobody sends it
                continue
            packed += ("%s %d %d\n" % (name, protocol, len(frame))).encode("ascii") + frame
    print("# Python %d.%d.%d" % sys.version_info[:3])
    for version in VERSIONS:
        print("# " + version)
    text = base64.b64encode(zlib.compress(packed, 9)).decode("ascii")
    for at in range(0, len(text), 100):
        print(text[at : at + 100])


if __name__ == "__main__":
    main()
