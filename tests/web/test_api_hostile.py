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
