"""The normal form of nodes that no pickler of CPython, or only a rare one, writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlog.decode.bounds import DEPTH, NODES, WEIGHT
from fastlog.decode.inert_tree import Members, Node, dotted
from fastlog.decode.object_reader import ObjectReader
from fastlog.decode.pickle_machine import OVERFLOW
from fastlog.decode.record_builder import build_record
from fastlog.decode.renderer import Normal, Renderer
from fastlog.decode.texts import clean, text_of
from fastlog.decode.work import Work
from fastlog.errors import RejectedError
from fastlog.record import Record

LONG = 1 << 24
"""Bytes of a frame so long that only the absolute bounds apply."""


def attributes(root: Any, reserved: frozenset[str] = frozenset()) -> dict[str, Normal]:
    renderer = Renderer(WEIGHT, NODES, ObjectReader(Work(LONG)))
    return renderer.mapping(root["pairs"], 0, reserved)


def record(root: Any, length: int = LONG) -> Record:
    return build_record(root, length, host="h", received=1.0, offset=2, idx=3)


def extra(value: Any) -> Any:
    return attributes(pairs_of(["x", value]))["x"]


def pairs_of(flat: Any = ()) -> Node:
    return {"pairs": list(flat)}


def named_global(module: str, name: str) -> Node:
    return {"global": f"4:{module}:{name}"}


def make(name: str, *args: Any, **parts: Any) -> Node:
    module, _, cls = name.rpartition(".")
    return {"class": f"4:{module}:{cls}", "args": args, **parts}


TEXTS = {
    "DateTime with a pytz offset": (
        make(
            "datetime.datetime",
            b"\x07\xea\x0b\x17\x0e\x05\x06\x00\x00\x00",
            make("pytz._p", "Europe/Berlin", 3600, 0, "CET"),
        ),
        "2026-11-23T14:05:06+01:00",
    ),
    "pytz.UTC": (
        make("datetime.datetime", b"\x07\xea\x0b\x17\x0e\x05\x06\x00\x00\x00", make("pytz._UTC")),
        "2026-11-23T14:05:06+00:00",
    ),
    "a zone of unknown class": (
        make("datetime.datetime", b"\x07\xea\x0b\x17\x0e\x05\x06\x00\x00\x00", make("app.Zone", 1)),
        "2026-11-23T14:05:06[app.Zone]",
    ),
    "a bare name as zone": (
        make("datetime.time", b"\x0e\x05\x06\x00\x00\x00", named_global("app", "UTC")),
        "14:05:06[app.UTC]",
    ),
    "dateutil": (
        make("datetime.time", b"\x0e\x05\x06\x00\x00\x00", make("dateutil.tz.tz.tzutc")),
        "14:05:06+00:00",
    ),
    "an Enum by name": (
        make("builtins.getattr", named_global("app", "Color"), "RED"),
        "app.Color.RED",
    ),
    "an Enum of the standard library": (make("http.HTTPStatus", 404), 404),
    "__newobj__": (
        make("copyreg.__newobj__", named_global("app", "P"), 1),
        {"!": "app.P", "args": [1]},
    ),
    "__newobj_ex__": (
        make("copyreg.__newobj_ex__", named_global("app", "P"), (1,), pairs_of(["k", 2])),
        {"!": "app.P", "args": [1], "kwargs": {"k": 2}},
    ),
    "what a call made is called": (
        {"class": make("app.factory", 1), "args": [2]},
        {"!": "app.factory()", "args": [2]},
    ),
    "dict and slots": (
        make("app.P", state=(pairs_of(["a", 1]), pairs_of(["b", 2]))),
        {"!": "app.P", "state": {"a": 1, "b": 2}},
    ),
    "a state that is no dict": (make("app.P", state=5), {"!": "app.P", "state": 5}),
    "Python 3.13's paths": (make("pathlib._local.PosixPath", "/a", "b"), "/a/b"),
    "a path of nothing": (make("pathlib.PurePosixPath"), "."),
    "a path in Python 2's text": (make("pathlib.PosixPath", b"/caf\xe9"), "/caf\\udce9"),
    "an overflow": (OVERFLOW, {"!cut": "size"}),
    "a set": (Members([1, 2]), [1, 2]),
}


@pytest.mark.parametrize(("node", "expected"), TEXTS.values(), ids=TEXTS)
def test_a_known_class_becomes_what_it_stands_for(node: Node, expected: Any) -> None:
    assert expected == extra(node)


LIES = [
    make("datetime.datetime", b"\x00" * 10),
    make("datetime.datetime", b"\xff" * 10),
    make("datetime.datetime", "\u0416" * 10),
    make("datetime.datetime", b"short"),
    make("datetime.datetime"),
    make("datetime.datetime", 2026, 11, 23),
    make("datetime.date", b"\x00\x00\x00\x00"),
    make("datetime.date", []),
    make("datetime.time", b"\xff" * 6),
    make("datetime.timedelta", 1, 2),
    make("datetime.timedelta", 10**12, 0, 0),
    make("datetime.timedelta", 10**400, 0, 0),
    make("datetime.timedelta", 1.5, "x", None),
    make("uuid.UUID", state=pairs_of(["int", -1])),
    make("uuid.UUID", state=pairs_of(["int", 1 << 128])),
    make("uuid.UUID", state=pairs_of([pairs_of(), "int"])),
    make("uuid.UUID"),
    make("decimal.Decimal", 1),
    make("decimal.Decimal", "1", "2"),
    make("pathlib.PosixPath", 1),
    make("pathlib.PosixPath", *["a"] * 1000),
    make("builtins.set", 5),
    make("builtins.bytearray", 3_000_000_000),
    make("_codecs.encode", "a", "rot13"),
    make("_codecs.encode"),
    make("http.HTTPStatus", []),
    make("copyreg._reconstructor", 1, 2, 3),
    make("copyreg.__newobj__"),
    make("copyreg.__newobj__", "text"),
    make("copyreg.__newobj_ex__", 1, 2, 3),
]


@pytest.mark.parametrize(
    "node", LIES, ids=lambda node: f"{dotted(node['class'])}{node['args']!r:.40}"
)
def test_an_object_without_the_shape_of_its_class_is_stored_as_it_was_sent(node: Node) -> None:
    actual = extra(node)
    assert dotted(node["class"]) == actual["!"]
    assert len(node["args"]) == len(actual.get("args", []))


def test_an_invalid_zone_does_not_lose_the_time() -> None:
    raw = b"\x07\xea\x0b\x17\x0e\x05\x06\x00\x00\x00"
    for delta in (make("datetime.timedelta", 5, 0, 0), make("x.y"), 5):
        zone = make("datetime.timezone", delta)
        assert (
            extra(make("datetime.datetime", raw, zone)) == "2026-11-23T14:05:06[datetime.timezone]"
        )
    zone = make("pytz._p", "x", 10**9, 0, "y")
    assert extra(make("datetime.datetime", raw, zone)) == "2026-11-23T14:05:06[x]"


def test_an_ordered_dict_of_a_list_without_pairs_is_stored_as_the_list() -> None:
    assert [extra(make("collections.OrderedDict", [("a", 1), 5]))] == [[["a", 1], 5]]


def named(*pairs: Any) -> dict[str, Any]:
    actual = extra(pairs_of(pairs))
    assert isinstance(actual, dict)
    return actual


def test_keys_do_not_collide_when_they_become_text() -> None:
    assert named(1, "i", "1", "s") == {"1 (int)": "i", "1": "s"}
    assert named("1", "s", 1, "i") == {"1": "s", "1 (int)": "i"}
    assert named(b"a", 1, "a", 2) == {"a (bytes)": 1, "a": 2}
    assert named(None, 1, "None", 2) == {"None (nonetype)": 1, "None": 2}
    assert named("a\\x00", 1, "a\0", 2) == {"a\\x00": 1, "a\\x00 (str)": 2}
    assert named("1", 0, 1, 1, b"1", 2) == {"1": 0, "1 (int)": 1, "1 (bytes)": 2}
    assert named("1 (int)", 0, "1", 1, 1, 2) == {"1 (int)": 0, "1": 1, "1 (int 2)": 2}
    assert named((1,), 1, (1,), 2) == {"[1]": 1, "[1] (tuple)": 2}
    assert named(float("nan"), 1, named_global("app", "F"), 2) == {"NaN": 1, "app.F": 2}


def test_the_last_of_equal_keys_counts() -> None:
    assert named("a", 1, "a", 2) == {"a": 2}
    assert named(1, 1, 1, 2) == {"1": 2}
    assert named("1", 0, 1, 2, 1, 3) == {"1": 0, "1 (int)": 3}


def test_a_key_that_is_no_text_does_not_take_the_name_of_a_field() -> None:
    sent = pairs_of([b"msg", "bytes", named_global("a", "b"), 1])
    expected = {"msg (bytes)": "bytes", "a.b (global)": 1}
    assert expected == attributes(sent, frozenset({"msg", "a.b"}))
    actual = record(pairs_of([b"msg", "bytes", "msg", "text"]))
    assert (actual.message, actual.extra) == ("text", '{"msg (bytes)":"bytes"}')


def test_a_str_of_python_2_is_the_name_of_a_field_too() -> None:
    actual = record(pairs_of([b"msg", b"text", b"lineno", 5, b"msecs", 1.0, b"args", []]))
    assert (actual.message, actual.lineno, actual.extra) == ("text", 5, "{}")


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        ([], "list"),
        ((), "tuple"),
        (None, "nonetype"),
        (5, "int"),
        ("text", "str"),
        (b"", "bytes"),
        (Members(), "set"),
        (named_global("m", "n"), "global"),
        (make("posix.system", "ls"), "object"),
        (OVERFLOW, "overflow"),
        (make("builtins.set", ()), "list"),
        (make("builtins.set", []), "list"),
        (make("uuid.UUID", state=pairs_of(["int", 1])), "str"),
    ],
)
def test_a_value_without_attributes_is_no_record(node: Any, kind: str) -> None:
    with pytest.raises(RejectedError) as caught:
        record(node)
    assert f"not a record: {kind}" == str(caught.value)


def test_a_pickled_log_record_and_an_ordered_dict_are_records() -> None:
    ordered = make("collections.OrderedDict", pairs=["msg", "m"])
    for node in (make("logging.LogRecord", state=pairs_of(["msg", "m"])), ordered):
        assert (record(node).message, record(node).extra) == ("m", "{}")


WRAPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda node: [node],
    "tuple": lambda node: (node,),
    "dict": lambda node: pairs_of(["k", node]),
    "key": lambda node: pairs_of([(node,), 1]),
    "object": lambda node: make("app.P", node),
    "state": lambda node: make("app.P", state=node),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_value_deeper_than_the_bound_is_cut_with_a_mark(wrap: Callable[[Any], Any]) -> None:
    node: Any = "deep"
    for _ in range(5000):
        node = wrap(node)
    text = json.dumps(extra(node))
    assert "deep" not in text
    assert "!cut" in text


def test_lists_up_to_the_bound_are_not_cut() -> None:
    node: Any = "deep"
    for _ in range(DEPTH):
        node = [node]
    assert node == extra(node)
    assert '{"!cut": "depth"}' in json.dumps(extra([node]))


def test_a_key_has_few_containers_inside_each_other() -> None:
    """Each level adds quotes and backslashes to the text of the one below it."""
    assert extra(pairs_of([((((1,),),),), 5])) == {"[[[[1]]]]": 5}
    assert extra(pairs_of([(((((1,),),),),), 5])) == {'[[[[{"!cut": "depth"}]]]]': 5}


def test_a_long_text_is_cut_at_the_bound_and_the_mark_counts_the_rest() -> None:
    longest = "x" * (WEIGHT - len('"x":'))  # the key counts too
    assert longest == extra(longest)
    assert f"{longest}… [cut: 5 more]" == extra(longest + "xxxxx")
    assert f"{longest}… [cut: 5 more]" == extra(longest.encode() + b"xxxxx")


def test_a_long_list_and_a_long_dict_are_cut_and_the_mark_counts_the_rest() -> None:
    cut = extra(list(range(NODES + 50)))
    kept = len(cut) - 1
    assert list(range(kept)) == cut[:-1]
    assert {"!cut": NODES + 50 - kept} == cut[-1]
    cut = extra(pairs_of(each for number in range(NODES + 50) for each in (str(number), None)))
    assert len(cut) - 1 + cut["!cut"] == NODES + 50


def test_the_bound_of_values_is_exact() -> None:
    members = [None] * (NODES - 1)  # the list is a value too
    assert members == extra(members)
    assert [*members, {"!cut": 1}] == extra([*members, None])


def test_a_large_attribute_displaces_neither_small_ones_nor_fields() -> None:
    sent = pairs_of(["big", [[]] * 50_000, "user", "bob", "ids", [1, 2], "msg", "hello"])
    actual = record(sent)
    kept = json.loads(actual.extra)
    assert (actual.message, kept["user"], kept["ids"]) == ("hello", "bob", [1, 2])
    assert "!cut" in kept["big"][-1]


def test_shared_nodes_do_not_exceed_the_budget() -> None:
    laughs: Any = ["ha"]
    for _ in range(60):
        laughs = [laughs, laughs]
    long = "x" * 40_000
    for node in (laughs, [long] * 20_000, pairs_of([long, long] * 20_000), [10**4000] * 20_000):
        text = json.dumps(attributes(pairs_of(["x", node])))
        assert len(text) < 2 * WEIGHT


@given(st.binary(max_size=200))
def test_bytes_become_utf8_or_escapes(data: bytes) -> None:
    assert data.decode("utf-8", "backslashreplace").replace("\0", "\\x00") == text_of(data)


@given(st.text(st.characters(exclude_categories=[]), max_size=200))
def test_text_is_unchanged_except_nul_and_lone_surrogates(text: str) -> None:
    expected = "".join(
        "\\x00" if char == "\0" else f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char
        for char in text
    )
    assert expected == clean(text)
