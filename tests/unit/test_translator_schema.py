"""The translator makes rows and lines of any schema, and rejects one that is out of range."""

from __future__ import annotations

import json
import pickle
from typing import Literal

import pytest
from translations import body_of

from fastlog import Translator
from fastlog.core import Column
from fastlog.decode.c_engine import BOUNDS, columns


@pytest.mark.parametrize(
    "wrong",
    [
        [Column("a", "colour")],
        [Column("", "text")],
        [Column("a" * 64, "text")],
        [Column("a", "text"), Column("a", "integer")],
        [Column(f"c{n}", "text") for n in range(33)],
        [Column("a", "text", key='a"b')],
        [Column("a", "text", key="a" * 64)],
        [Column("a", "text", group=3)],
    ],
)
def test_a_column_out_of_range_is_rejected(wrong: list[Column]) -> None:
    with pytest.raises(ValueError, match="column"):
        Translator(wrong, BOUNDS)


@pytest.mark.parametrize("wrong", [{"depth": 65}, {"nodes": (1 << 20) + 1}])
def test_a_bound_out_of_range_is_rejected(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="bound"):
        Translator(columns(), BOUNDS._replace(**wrong))


def test_rows_have_the_columns_of_any_schema() -> None:
    mine = [Column("level", "integer"), Column("extra", "extra"), Column("text", "message")]
    translator = Translator(
        mine, BOUNDS._replace(depth=4, nodes=100, weight=1000, times=(0.0, 1.0))
    )
    translator.begin(0.0, 0)
    frame = pickle.dumps({"text": "t", "level": -7, "more": [1, {"a": None}]}, 4)
    assert translator.run(body_of([frame]), 1, 0, "h") is None
    assert pickle.loads(translator.end().rows) == [(-7, '{"more":[1,{"a":null}]}', "t")]


def test_lines_have_the_keys_of_any_schema() -> None:
    bounds = BOUNDS._replace(depth=4, nodes=100, weight=1000, times=(0.0, 1.0))
    mine = [
        Column("args", "silent"),
        Column("level", "integer", key="severity"),
        Column("text", "message"),
        Column("extra", "extra"),
    ]
    translator = Translator(mine, bounds, form="lines")
    translator.begin(0.0, 0)
    good = pickle.dumps({"text": 'a "b"\n', "level": -7, "more": [1]}, 4)
    assert translator.run(body_of([good, b"no pickle", good]), 3, 0, "h") is not None
    line = b'{"severity":-7,"text":"a \\"b\\"\\n","extra":{"more":[1]}}\n'
    assert bytes(translator.end().lines) == line + b"\n" + line


@pytest.mark.parametrize("form", ["rows", "lines"])
def test_a_schema_can_repeat_a_column_of_long_text(form: Literal["rows", "lines"]) -> None:
    mine = [Column(name, name, key=f"{name}{n}") for n in range(8) for name in ("extra", "host")]
    translator = Translator(mine, BOUNDS, form=form)
    translator.begin(0.0, 0)
    extra, host = {"a": "x" * 100_000}, "h" * 100_000
    assert translator.run(body_of([pickle.dumps(extra, 4)]), 1, 0, host) is None
    if form == "lines":
        row = list(json.loads(bytes(translator.end().lines)).values())
    else:
        row = [x if x == host else json.loads(x) for x in pickle.loads(translator.end().rows)[0]]
    assert row == [extra, host] * 8


def test_rows_without_a_column_are_empty_objects() -> None:
    translator = Translator([Column("a", "silent")], BOUNDS, form="lines")
    translator.begin(0.0, 0)
    assert translator.run(body_of([pickle.dumps({"a": 1.5}, 1)] * 2), 2, 0, "h") is None
    assert bytes(translator.end().lines) == b"{}\n{}\n"


def test_lines_have_what_is_equal_in_all_of_a_run_where_the_schema_puts_it() -> None:
    mine = [
        Column("offset", "offset"),
        Column("dropped", "silent"),
        Column("received", "received"),
        Column("text", "message"),
        Column("host", "host"),
        Column("certificate", "certificate"),
        Column("idx", "idx"),
        Column("again", "host"),
    ]
    translator = Translator(mine, BOUNDS, form="lines")
    frame = pickle.dumps({"text": "t", "dropped": 1}, 4)
    translator.begin(1.5, 7)
    assert translator.run(body_of([frame, frame]), 2, 0, 'a"') is None
    line = (
        '{"offset":7,"received":1.5,"text":"t","host":"a\\"","certificate":null,"idx":%d,'
        '"again":"a\\""}'
    )
    assert bytes(translator.end().lines).decode().splitlines() == [line % 0, line % 1]
