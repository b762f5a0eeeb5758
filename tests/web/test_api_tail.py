"""The API's tail: new records as server-sent events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from day_files import make_record
from store_kinds import StoreKind, postgres_servers, store_kind
from web_sites import Site, make_store, numbered, serving

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")

__all__ = ["postgres_servers", "store_kind"]


class Store:
    """A store that grows, and its web server."""

    def __init__(self, kind: StoreKind, data_dir: Path, site: Site) -> None:
        self._kind, self._data_dir, self.site = kind, data_dir, site
        self.node = kind.node

    def add(self, *numbers: int, **fields: object) -> None:
        self._kind.append(
            self._data_dir,
            [make_record(at, offset=numbers[0], idx=n, **fields) for n, at in enumerate(numbers)],
            per_block=len(numbers),
        )


@pytest.fixture
def store(tmp_path: Path, store_kind: StoreKind) -> Iterator[Store]:
    data_dir = store_kind.make(tmp_path, numbered(3))
    with store_kind.serving(data_dir) as site:
        yield Store(store_kind, data_dir, site)


def numbers(*of: int) -> list[str]:
    return [f"message {number}" for number in of]


def test_new_records_that_match_come_in_order_of_arrival(store: Store):
    with store.site.tail(q="level:error") as events:
        store.add(12, 11, levelno=40, levelname="ERROR")
        store.add(13)
        store.add(14, levelno=40, levelname="ERROR")
        assert events.messages(3) == numbers(12, 11, 14)


def test_a_burst_comes_in_batches_of_200_at_most(store: Store):
    with store.site.tail() as events:
        store.add(*range(100, 700))
        sizes: list[int] = []
        found: list[str] = []
        for event in events:
            assert event.kind == "records"
            sizes.append(len(event.data))
            found += [each["message"] for each in event.data]
            assert event.id == event.data[-1]["id"]
            if len(found) == 600:
                break
    assert found == numbers(*range(100, 700))
    assert max(sizes) == 200


def test_what_comes_too_fast_is_dropped_and_counted(store: Store):
    with store.site.tail() as events:
        store.add(*range(100, 5100))
        found, dropped = [], 0
        for event in events:
            if event.kind == "dropped":
                dropped += event.data["dropped"]
            elif event.kind == "records":
                found += [each["message"] for each in event.data]
            if len(found) + dropped >= 5000 or event.kind == "ping":
                break
    assert len(found) + dropped == 5000
    assert dropped >= 5000 - 2000
    assert found == numbers(*range(5100 - len(found), 5100))


@pytest.mark.parametrize("how", ["header", "parameter"])
def test_a_tail_continues_behind_the_last_event(store: Store, how: str):
    store.add(10, 11, 12, 13)
    place = f"{store.node}:10:1"
    if how == "header":
        events = store.site.tail({"Last-Event-ID": place})
    else:
        events = store.site.tail(after=place)
    with events:
        assert events.messages(2) == numbers(12, 13)
        store.add(20, 21)
        assert events.messages(2) == numbers(20, 21)


def test_the_stream_begins_with_the_id_of_the_last_record(store: Store):
    """A client continues behind it, though it has got no event yet."""
    store.add(10, 11)
    with store.site.tail(q="level:critical") as events:
        lines = [events.next_line() for _ in range(3)]
    assert lines == ["retry: 2000", f"id: {store.node}:10:1", ""]


def test_of_what_a_tail_has_missed_it_gets_the_newest(store: Store):
    store.add(*range(100, 4100))
    with store.site.tail(after=f"{store.node}:100:0") as events:
        dropped = next(iter(events))
        assert (dropped.kind, dropped.data) == ("dropped", {"dropped": 1999})
        found = events.messages(2000)
    assert found == numbers(*range(2100, 4100))


def test_an_event_has_the_columns_that_are_asked_for(store: Store):
    with store.site.tail(columns="level,message,extra.user", after=f"{store.node}:1:0") as events:
        event = next(iter(events))
    [record] = event.data
    assert record.keys() == {
        "created", "time", "id", "levelno", "levelname", "message", "extra",
    }  # fmt: skip


def test_fifty_tails_get_every_record(store: Store):
    """Each has a queue of its own; the store is read once for all."""
    tails = [store.site.tail(q="level:error" if at % 2 else "") for at in range(50)]
    try:
        store.add(*range(100, 400), levelno=40, levelname="ERROR")
        for events in tails:
            assert events.messages(300) == numbers(*range(100, 400))
    finally:
        for events in tails:
            events.__exit__()


def test_too_many_tails_are_turned_away(tmp_path: Path):
    with serving(make_store(tmp_path, []), config="[web]\ntails = 2\n") as site:
        with site.tail(), site.tail():
            answer = site.ask("/tail")
            assert answer.status == 503
            assert "web.tails" in answer.json["error"]["message"]
        wait_for(lambda: tail_opens(site), "a closed tail makes room")


def tail_opens(site: Site) -> bool:
    try:
        site.tail().__exit__()
    except OSError:
        return False
    return True
