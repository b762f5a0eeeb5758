"""A sink's filter: the same records as a query of the language finds, in every form."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import pytest
from builders import NODE
from routes import FORMS, block_of, lines_of, records_of, route

from fastlog.decode import Decoder, Form, copy_rows
from fastlog.query import COLUMNS, TimeContext, compile_query, parse
from fastlog.record import Rejection

LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR"}


def frame(n: int, **more: Any) -> bytes:
    level = (10, 20, 30, 40)[n % 4]
    attributes = {
        "name": ("app", "app.db", "web")[n % 3],
        "msg": f"message {n}",
        "levelno": level,
        "levelname": LEVELS[level],
        "created": 1_785_000_000.0 + n,
        "process": n % 2,
        "user": n % 5,
    }
    return pickle.dumps(attributes | more, 1)


FRAMES = [
    *(frame(n) for n in range(40)),
    frame(40, price=Decimal("1.5"), when=object),  # left to Python, or to its table
    b"no pickle",
    frame(42, msg="größer ☃", exc_text="Traceback: \x00 boom"),
    b'{"msg": "as JSON", "levelno": 40, "user": 3}',
    *(frame(n, nested={"a": [1, {"b": n}]}) for n in range(44, 50)),
]
BLOCK = block_of(FRAMES)
ALL = Decoder().decode(BLOCK).records
QUERIES = [
    "level>=WARNING logger:app",
    "level>=WARNING OR user=3",
    "-level:debug process=1",
    "NOT (logger:app OR user>2)",
    "user=3",
    "message:größer",
    "boom",
    "nested.a:*",
    "host:10.0.0.9 idx<10",
    f"node:{NODE} offset=7 received>2020-01-01",
    "node:other",
    "created<2026-01-01",
    "has:nothing",
    "*",
    "-*",
]


@pytest.mark.parametrize("engine", ["c", "python"])
@pytest.mark.parametrize("form", FORMS)
def test_each_query_keeps_what_the_evaluator_finds(form: Form, engine: str) -> None:
    plain = Decoder("c", form, bytes.fromhex(NODE)).decode(BLOCK)
    for query in QUERIES:
        is_wanted = compile_query(parse(query, TimeContext(0.0)), COLUMNS)
        expected = [record for record in ALL if is_wanted((*record, NODE))]
        decoded = route(form, engine=engine, filter=query).decode(BLOCK)
        if form == "lines":
            wanted = {record.idx for record in expected}
            assert lines_of(decoded) == [each for each in lines_of(plain) if each["idx"] in wanted]
        else:
            assert records_of(decoded) == expected, query
        assert decoded.filtered == len(ALL) - len(expected), query
        assert decoded.notices == plain.notices


def test_the_text_of_the_kept_columns_is_theirs() -> None:
    kept = route("columns", filter="level>=WARNING").decode(block_of(FRAMES[:40])).columns
    assert kept is not None
    alone = Decoder("c", "columns").decode(
        block_of([f for n, f in enumerate(FRAMES[:40]) if n % 4 > 1])
    )
    assert alone.columns is not None
    assert kept.text == alone.columns.text != b""


def test_tuples_of_copy_are_told_from_the_text_of_a_record_that_looks_like_them() -> None:
    border = b"\x00\x00\x00\x10" + bytes.fromhex(NODE) + b"\x00\x19"
    node = "25" * 16  # "%" is text: the border of the tuples can be in a message but for its NULs
    for some in (NODE, node, "00" * 16, "0019" * 8, "000000100019000000100019" + "00" * 4):
        data = [copy_rows.encode(record, bytes.fromhex(some)) for record in ALL]
        for changed in (data, [each.replace(b"message 1", border[:9]) for each in data]):
            copy = b"".join(changed)
            expected = b"".join(changed[at] for at in (0, 3, 4))
            assert copy_rows.only(copy, {ALL[at].idx for at in (0, 3, 4)}, len(ALL)) == expected


def test_a_later_block_is_decided_by_its_own_call_sites() -> None:
    decoder = route("columns", filter="logger:app")
    for logger, kept in (("app", 1), ("web", 0), ("app.x", 1), ("apple", 0), ("app", 1)):
        columns = decoder.decode(block_of([frame(0, name=logger)])).columns
        assert (0 if columns is None else len(columns)) == kept


def test_a_record_that_cannot_be_decided_is_stored_and_that_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bool:
        raise RuntimeError("a value of the record")

    monkeypatch.setattr("fastlog.routing.selection.compile_query", lambda *_: fail)
    decoded = route(filter="message:x user=3").decode(BLOCK)
    assert (decoded.records, decoded.filtered) == (ALL, 0)
    [line] = caplog.messages
    assert line.startswith("a filter cannot decide about a record (RuntimeError in test_routing")
    assert "a value" not in caplog.text


def test_a_sink_without_routing_has_the_plain_decoder() -> None:
    assert type(route("columns")) is Decoder
    assert type(route("columns", filter="*")) is Decoder


def test_fields_are_chosen_with_those_that_say_which_record_it_is() -> None:
    block = block_of([frame(1, db={"host": "a", "port": 1}, **{"x.y": 5})])
    fields = ["level", "message", "extra.user", "extra.db.host", "x.y"]
    [record] = records_of(route("copy", fields=fields).decode(block))
    assert record.extra == '{"user":1,"db":{"host":"a"},"x.y":5}'
    assert (record.levelname, record.name, record.process, record.host) == ("INFO", None, None, "")
    [line] = lines_of(route("lines", fields=fields).decode(block))
    assert list(line) == [
        "created",
        "levelno",
        "levelname",
        "message",
        "received",
        "extra",
        "offset",
        "idx",
    ]


def test_without_leaves_fields_out() -> None:
    block = block_of([frame(1, db={"host": "a", "port": 1})])
    [line] = lines_of(route("lines", without=["logger", "db.host", "user"]).decode(block))
    assert line["extra"] == {"db": {"port": 1}}
    assert "name" not in line
    assert line["process"] == 1
    [record] = records_of(route("columns", without=["extra", "message"]).decode(block))
    assert (record.extra, record.message, record.name) == ("{}", "", "app.db")


def test_without_leaves_out_what_validation_keeps_of_a_field() -> None:
    block = block_of([frame(1, msg="%d", args=("secret",), lineno="none", exc_info="secret")])
    [line] = lines_of(route("lines", without=["message", "traceback"]).decode(block))
    notes = ["lineno: 'none' is not an integer"]
    assert line["extra"] == {"user": 1, "lineno": "none", "!notes": notes}


def test_a_filter_sees_the_fields_that_the_sink_does_not_store() -> None:
    decoded = route("lines", filter="user=1", fields=["message"]).decode(BLOCK)
    assert len(lines_of(decoded)) == sum('"user":1' in record.extra for record in ALL)
    assert [type(each.notice) for each in decoded.notices] == [Rejection]
