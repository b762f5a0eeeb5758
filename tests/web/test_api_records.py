"""The API's records: pages with cursors, one record, and those around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def messages(records: list[dict[str, Any]]) -> list[str]:
    return [record["message"] for record in records]


def numbers(*of: int) -> list[str]:
    return [f"message {number}" for number in of]


def all_pages(site: Site, **parameters: object) -> list[dict[str, Any]]:
    """Return the records of all pages."""
    records: list[dict[str, Any]] = []
    cursor = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        answer = site.get("/records", **parameters, **more)
        records += answer["records"]
        cursor = answer["cursor"]
        if cursor is None:
            return records


def test_a_record_has_all_columns_its_time_and_its_id(site: Site, store_kind: StoreKind):
    [record] = site.get("/records", q='message:"message 7"', limit=1, order="oldest")["records"]
    assert record["created"] == START + 7
    assert record["time"] == "2023-11-14T22:13:27.000000+00:00"
    assert record["id"] == f"{store_kind.node}:7:0"
    assert record["extra"] == {"user": 2, "request": {"id": "r0"}}
    assert record["exc_text"] is None
    assert {"levelname", "name", "host", "process", "received", "node"} <= record.keys()


def test_the_newest_come_first_and_the_oldest_when_asked(site: Site):
    newest = site.get("/records", limit=2)
    assert messages(newest["records"]) == numbers(299, 298)
    oldest = site.get("/records", limit=2, order="oldest")
    assert messages(oldest["records"]) == numbers(0, 1)


@pytest.mark.parametrize("limit", [1, 7, 100, 300])
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_together_have_each_record_once(site: Site, order: str, limit: int):
    query = "level>=warning" if limit < 7 else ""
    expected = [at for at in range(COUNT) if not query or at % 4 > 1]
    found = messages(all_pages(site, q=query, order=order, limit=limit))
    assert found == numbers(*(expected if order == "oldest" else reversed(expected)))


def test_a_page_without_a_next_one_has_no_cursor(site: Site):
    answer = site.get("/records", q='message:"message 7"', limit=100)
    assert answer["cursor"] is None
    assert answer["complete"] is True
    assert answer["scanned"] == 1.0


def test_a_cursor_is_not_moved_by_records_that_arrive(tmp_path: Path, store_kind: StoreKind):
    data_dir = store_kind.make(tmp_path, numbered(10))
    with store_kind.serving(data_dir) as site:
        first = site.get("/records", limit=4)
        store_kind.append(data_dir, [make_record(at, offset=1000 + at) for at in range(20, 30)])
        second = site.get("/records", limit=4, cursor=first["cursor"])
    assert messages(first["records"] + second["records"]) == numbers(*range(9, 1, -1))


def test_records_of_one_microsecond_are_paged_without_a_loss(tmp_path: Path, store_kind: StoreKind):
    data_dir = store_kind.make(tmp_path, (make_record(at, created=START) for at in range(20)))
    with store_kind.serving(data_dir) as site:
        for order in ("newest", "oldest"):
            found = messages(all_pages(site, order=order, limit=3))
            assert sorted(found) == sorted(numbers(*range(20)))


def test_an_empty_store_has_no_records(tmp_path: Path, store_kind: StoreKind):
    data_dir = store_kind.make(tmp_path, [])
    with store_kind.serving(data_dir) as site:
        assert site.get("/records") == {
            "records": [], "cursor": None, "begin": None, "complete": True, "scanned": 1.0,
            "unread": [],
        }  # fmt: skip
        assert site.get("/histogram")["bars"] == []
        assert site.get("/counts")["total"] == 0
        assert site.get("/problems")["problems"] == []
        assert site.get("/fields")["fields"] == []
        assert site.get("/export/size") == {"records": 0, "bytes": 0, "complete": True}


def test_a_page_is_asked_for_again_by_its_begin(site: Site):
    for order in ("newest", "oldest"):
        cursor, pages = None, []
        while not pages or cursor is not None:
            more = {} if cursor is None else {"cursor": cursor}
            answer = site.get("/records", order=order, limit=7, **more)
            pages.append(answer)
            cursor = answer["cursor"]
        for page in pages:
            again = site.get(
                "/records", order=order, limit=len(page["records"]), cursor=page["begin"]
            )
            assert again["records"] == page["records"]
            assert again["begin"] == page["begin"]


def test_a_search_that_its_deadline_ends_continues_and_ends(tmp_path: Path, store_kind: StoreKind):
    """Each page gets nearer to the end, also where nothing is found."""
    data_dir = store_kind.make(tmp_path, numbered(60_000, per_block=500), per_block=500)
    with store_kind.serving(data_dir) as site:
        cursor, scanned, parts = None, 0.0, 0
        while parts == 0 or cursor is not None:
            more = {} if cursor is None else {"cursor": cursor}
            answer = site.get("/records", q="-user<7", deadline=0.1, **more)
            assert answer["records"] == []
            assert answer["scanned"] >= scanned
            cursor, scanned, parts = answer["cursor"], answer["scanned"], parts + 1
            assert answer["complete"] is (cursor is None)
            assert parts < 500
    assert parts > 1
    assert scanned == 1.0


def test_a_damaged_file_makes_an_answer_incomplete(tmp_path: Path):
    data_dir = make_store(tmp_path, numbered(5))
    (data_dir / "logs" / "2023-11-15.db").write_bytes(b"no database" * 100)
    with serving(data_dir) as site:
        answer = site.get("/records")
    assert len(answer["records"]) == 5
    assert answer["complete"] is False
    [unread] = answer["unread"]
    assert unread.endswith("2023-11-15.db")


def test_a_record_is_found_by_its_id(site: Site, store_kind: StoreKind):
    for number in (0, 150, 299):
        assert site.get(f"/records/{store_kind.node}:{number}:0")["message"] == f"message {number}"


@pytest.mark.parametrize("wrong", ["NODE:300:0", "NODE:5:1", "cd:5:0", "x", "a:b:c"])
def test_an_id_of_no_record_is_not_found(site: Site, store_kind: StoreKind, wrong: str):
    answer = site.ask(f"/records/{wrong.replace('NODE', store_kind.node)}")
    assert answer.status == 404
    assert "no such record" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("process", [96, 98, 100, 102, 104]),
        ("logger", [94, 97, 100, 103, 106]),
        ("extra.user", [90, 95, 100, 105, 110]),
        ("extra.request.id", [100, 101, 102]),
    ],
)
def test_around_a_record_are_those_that_share_a_value(
    site: Site, store_kind: StoreKind, by: str, expected: list[int]
):
    answer = site.get(f"/records/{store_kind.node}:100:0/around", by=by, before=2, after=2)
    assert messages(answer["records"]) == numbers(*expected)


def test_around_by_what_the_record_does_not_have_is_an_error(site: Site, store_kind: StoreKind):
    answer = site.ask(f"/records/{store_kind.node}:100:0/around", by="extra.trace_id")
    assert (answer.status, answer.json["error"]["message"]) == (
        400, "by: the record has no extra.trace_id",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "column"),
    [
        ({"q": "level>>error"}, 7),
        ({"q": "levl:error"}, 1),
        ({"q": "x", "tz": "Europe/Nowhere"}, None),
        ({"limit": "0"}, None),
        ({"limit": "1e3"}, None),
        ({"order": "random"}, None),
        ({"cursor": "newest:nan:1"}, None),
        ({"cursor": "oldest:1.0:1"}, None),
        ({"deadline": "11"}, None),
        ({"colour": "red"}, None),
        ({"since": "now and then"}, None),
        ({"q": "a\0b"}, None),
    ],
)
def test_a_wrong_parameter_is_one_line_and_the_column(
    site: Site, parameters: dict[str, str], column: int | None
):
    answer = site.ask("/records", **parameters)
    assert answer.status == 400
    error = answer.json["error"]
    assert error["column"] == column
    assert error["message"].strip() and "\n" not in error["message"]


def test_times_of_a_query_are_of_the_zone_that_is_named(site: Site):
    """22:13:20 UTC is 23:13:20 in Berlin."""
    query = 'created:"2023-11-14 23:13:25"'
    assert messages(site.get("/records", q=query, tz="Europe/Berlin")["records"]) == numbers(5)
    assert site.get("/records", q=query, tz="UTC")["records"] == []


def test_large_records_make_short_pages(tmp_path: Path, store_kind: StoreKind):
    records = (make_record(at, message="x" * 3_000_000) for at in range(6))
    with store_kind.serving(store_kind.make(tmp_path, records)) as site:
        assert 1 < len(site.get("/records")["records"]) < 6
        assert len(all_pages(site)) == 6
