"""Hostile records: the API gives their text as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from day_files import make_record
from web_sites import Site, make_store, numbered, serving

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")

HOSTILE = (
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m \u202eright to left\u202c e\u0301 \U0001f600",
    "</textarea>' onload='x' {{7*7}} ${x} %s %n",
    "\ud7ff\ue000\uffff\u2028\u2029 data: x\n\nevent: records\n",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    records = [
        *numbered(40),
        *(make_record(40 + at, message=text, name=text) for at, text in enumerate(HOSTILE)),
        make_record(50, extra=json.dumps({"__proto__": {"a": 1}, "constructor": 2, "": 3})),
    ]
    with serving(make_store(tmp_path_factory.mktemp("store"), records)) as site:
        yield site


def test_hostile_records_are_what_they_are(site: Site):
    records = site.get("/records", q="created>=@1700000040")["records"]
    texts = {record["message"] for record in records}
    assert set(HOSTILE) <= texts
    assert {record["name"] for record in records} >= set(HOSTILE)
    assert any(record["extra"].get("__proto__") == {"a": 1} for record in records)


def test_a_record_cannot_forge_an_event(tmp_path: Path):
    text = 'x\n\nevent: records\ndata: ["forged"]\n\n'
    extra = '{"a":\r\n\r\n1}'  # as another program may have written it
    data_dir = make_store(tmp_path, [make_record(0), make_record(1, message=text, extra=extra)])
    with serving(data_dir) as site, site.tail(after="ab:0:0") as events:
        assert events.messages(1) == [text]


LONG = "x" * 10_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    extra = json.dumps({"blob": LONG, "list": [1] * 1000, "user": 7, LONG: 1})
    long = make_record(1, message=LONG, name=LONG, exc_text=f"{LONG}\nValueError: x", extra=extra)
    store = make_store(tmp_path_factory.mktemp("large"), [make_record(0), long, make_record(2)])
    with serving(store) as site:
        yield site


def is_abbreviated(record: dict[str, object]) -> bool:
    assert record["message"] == record["name"] == "x" * 1000
    assert str(record["exc_text"]).endswith("x\nValueError: x")
    assert record["extra"] == {"blob": "x" * 200 + "…", "user": 7}
    lengths = record["abbreviated"]
    assert isinstance(lengths, dict)
    assert set(lengths) == {"message", "name", "exc_text", "extra"}
    return bool(lengths["message"] == len(LONG))


def test_long_texts_are_abbreviated_on_request_and_a_record_is_whole(large: Site):
    page = large.get("/records", max_text=1000)
    assert len(page["records"]) == 3, "its size is that of what is sent"
    assert ["abbreviated" in record for record in page["records"]] == [False, True, False]
    assert is_abbreviated(page["records"][1])
    whole = large.get("/records/ab:1:0")
    assert "abbreviated" not in whole
    assert whole["message"] == LONG
    assert whole["extra"]["blob"] == LONG


def test_long_texts_are_abbreviated_around_a_record_in_problems_and_in_a_tail(large: Site):
    around = large.get("/records/ab:0:0/around", max_text=1000, by="process")["records"]
    assert is_abbreviated(around[1])
    problems = large.get("/problems", max_text=1000)["problems"]
    assert any("abbreviated" in each["example"] for each in problems)
    with large.tail(after="ab:0:0", max_text=1000) as events:
        event = next(event for event in events if event.kind == "records")
    assert is_abbreviated(event.data[0])


@pytest.mark.parametrize("field", ["message", "logger", "extra.blob"])
def test_long_values_are_cut_in_counts(field: str, large: Site):
    values = [group["values"][0] for group in large.get("/counts", by=field)["groups"]]
    assert "x" * 1000 + "…" in values
    names = {name for bar in large.get("/histogram", by=field)["bars"] for name in bar["counts"]}
    assert "x" * 1000 + "…" in names


def test_names_of_megabytes_are_no_fields(large: Site):
    assert len(large.ask("/fields").body) < 10_000


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_export_has_long_texts_whole(form: str, large: Site):
    assert large.ask("/export", format=form).body.count(LONG.encode()) >= 5
