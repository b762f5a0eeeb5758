"""The API's numbers: counts, histogram, fields, problems, exports."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from day_files import START, make_record
from store_kinds import StoreKind, postgres_servers, store_kind
from web_sites import Site, make_store, numbered, serving

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")

__all__ = ["postgres_servers", "store_kind"]

COUNT = 300


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, store_kind: StoreKind) -> Iterator[Site]:
    data_dir = store_kind.make(tmp_path_factory.mktemp("store"), numbered(COUNT))
    with store_kind.serving(data_dir) as site:
        yield site


def test_counts_are_by_groups_of_values_and_say_what_is_left_out(site: Site):
    answer = site.get("/counts", by="level,logger", top=2, q="level>=warning")
    assert answer == {
        "groups": [
            {"values": ["ERROR", "app"], "records": 25},
            {"values": ["ERROR", "app.db"], "records": 25},
        ],
        "other_groups": 4,
        "other_records": 100,
        "total": 150,
        "complete": True,
    }


def test_counts_without_fields_are_one_group(site: Site):
    answer = site.get("/counts")
    assert answer["groups"] == [{"values": [], "records": COUNT}]
    assert (answer["total"], answer["other_records"]) == (COUNT, 0)


def test_counts_of_extras_and_of_missing_values(site: Site):
    groups = site.get("/counts", by="extra.user,extra.none")["groups"]
    assert {tuple(group["values"]) for group in groups} == {(str(user), None) for user in range(5)}


@pytest.mark.parametrize("by", ["nonsens[", "levl", "a,b,c,d,e", "level,,logger"])
def test_counts_by_what_is_no_field_are_an_error(site: Site, by: str):
    assert site.ask("/counts", by=by).status == 400


def test_bars_are_the_counts_of_each_interval(site: Site):
    answer = site.get("/histogram", bars=10, tz="UTC")
    assert answer["interval"] * 10 >= COUNT
    totals: Counter[str] = Counter()
    for bar in answer["bars"]:
        assert bar["begin"] % answer["interval"] == 0
        assert answer["first"] <= bar["begin"] < answer["end"]
        totals.update(bar["counts"])
    assert totals == {"INFO": 150, "WARNING": 75, "ERROR": 75}


def test_bars_are_of_the_span_that_is_asked_for(site: Site):
    answer = site.get("/histogram", since=f"@{START + 100}", until=f"@{START + 200}", by="")
    assert sum(bar["counts"]["records"] for bar in answer["bars"]) == 100
    assert answer["first"] <= START + 100
    assert answer["end"] >= START + 200


def test_rare_values_of_a_histogram_are_one(tmp_path: Path, store_kind: StoreKind):
    records = (make_record(at, name=f"logger{at}") for at in range(100))
    with store_kind.serving(store_kind.make(tmp_path, records)) as site:
        bars = site.get("/histogram", by="logger")["bars"]
    names = {name for bar in bars for name in bar["counts"]}
    assert len(names) == 12
    assert sum(bar["counts"].get("(others)", 0) for bar in bars) == 89


def test_fields_are_those_of_records_as_a_query_has_them(tmp_path: Path, store_kind: StoreKind):
    extra = json.dumps({"user": 1, "odd name": {'q"': 2}, "__proto__": 3, "list": [1]})
    data_dir = store_kind.make(tmp_path, [make_record(0, extra=extra, process=1)])
    with store_kind.serving(data_dir) as site:
        fields = {each["name"]: each for each in site.get("/fields")["fields"]}
        for name in fields:
            assert site.get("/counts", q=f"{name}:*")["total"] == 1, name
    assert fields["extra.user"] == {"name": "extra.user", "kind": "extra", "records": 1}
    assert {'extra."odd name"."q\\""', "extra.__proto__", "extra.list"} <= fields.keys()
    kinds = {name: fields[name]["kind"] for name in ("created", "process", "message")}
    assert kinds == {"created": "time", "process": "number", "message": "text"}


TRACEBACK = """Traceback (most recent call last):
  File "/srv/app (1).py", line {line}, in run
    get("x/y")
  File "/srv/db.py", line 3, in get
    raise KeyError
{exception}: it's {line}"""


def test_problems_are_groups_and_their_queries_find_them(tmp_path: Path, store_kind: StoreKind):
    records = [
        *(
            make_record(at, message=f"user {at} of 10.0.0.{at} said 'x{at}' + b")
            for at in range(30)
        ),
        *(
            make_record(
                at, message="failed", exc_text=TRACEBACK.format(line=at, exception="app.errors.Bad")
            )
            for at in range(30, 50)
        ),
        *(
            make_record(at, message="x", exc_text=TRACEBACK.format(line=at, exception="KeyError"))
            for at in range(50, 60)
        ),
        *(make_record(at, message="first line\nsecond (line) 1") for at in range(60, 65)),
        make_record(65, message="y" * 5000),
    ]
    with store_kind.serving(store_kind.make(tmp_path, records)) as site:
        answer = site.get("/problems")
        assert answer["complete"] is True
        sizes = [problem["records"] for problem in answer["problems"]]
        assert sizes == [30, 20, 10, 5, 1]
        for problem in answer["problems"]:
            assert site.get("/counts", q=problem["query"])["total"] == problem["records"], problem
            assert sum(problem["sparkline"]) == problem["records"]
            assert len(problem["sparkline"]) == 24
            assert problem["example"]["created"] == problem["last"]
    first, second, *_ = answer["problems"]
    assert (first["kind"], first["title"]) == ("message", "user <n> of <n> said '…' + b")
    assert (first["first"], first["last"]) == (START, START + 29)
    assert second["kind"] == "traceback"
    assert second["title"].startswith("app.errors.Bad: it's <n>")
    assert "/srv/db.py in get" in second["pattern"]


def test_an_export_has_exactly_the_records_that_match(site: Site):
    size = site.get("/export/size", q="level:error")
    answer = site.ask("/export", q="level:error")
    lines = answer.body.splitlines()
    assert answer.headers["content-disposition"] == 'attachment; filename="records.ndjson"'
    assert [json.loads(line)["message"] for line in lines] == [
        f"message {at}" for at in range(COUNT) if at % 4 == 3
    ]
    assert size["records"] == len(lines) == 75
    assert abs(size["bytes"] - len(answer.body)) < len(answer.body) / 10


def test_an_export_as_csv_has_a_header(site: Site):
    text = site.ask("/export", q="level:error", format="csv").body.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 75
    assert rows[0]["message"] == "message 3"


def test_an_export_as_csv_runs_nothing_in_a_spreadsheet(tmp_path: Path):
    data_dir = make_store(tmp_path, [make_record(0, message="=1+1\x1b[31m")])
    with serving(data_dir) as site:
        text = site.ask("/export", format="csv").body.decode()
    assert "'=1+1\\x1b[31m" in text
