"""The sqlite sink stores records as they are, in their order, once each, or none of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import MONDAY, NODE, make_chain, make_decoded, make_record, messages_of, numbered
from columns import with_records
from sqlite_stores import make_sink, rows, value

from fastlog.errors import SinkConflictError
from fastlog.record import Record
from fastlog.sinks import day_rows


def test_every_field_is_stored_as_it_is(tmp_path: Path) -> None:
    decoded = make_decoded(["one"])
    record = make_record(
        "ä\n語",
        levelno=-(2**63),
        thread=2**63 - 1,
        lineno=None,
        received=decoded.block.received,
        extra='{"a":[1,{"b":null}]}',
        idx=3,
    )
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply([with_records(decoded, [record])])
    columns = ", ".join(Record._fields)

    stored = value(tmp_path, "2026-11-23.db", f"SELECT {columns} FROM records")

    assert stored == tuple(record)
    assert rows(tmp_path, "node") == [NODE]


ROWS = day_rows.ROWS


@pytest.mark.parametrize(
    "sizes", [[ROWS - 1], [ROWS], [ROWS + 1], [3 * ROWS + 5], [1, ROWS, 7], [0, 2 * ROWS], [0]]
)
def test_records_keep_their_order_with_any_number_in_a_statement(
    tmp_path: Path, sizes: list[int]
) -> None:
    chain = make_chain(
        ([f"{block}.{n}" for n in range(size)], MONDAY) for block, size in enumerate(sizes)
    )
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain)

    assert rows(tmp_path) == messages_of(chain)
    assert rows(tmp_path, "idx") == [record.idx for each in chain for record in each.records]
    assert set(rows(tmp_path, "node")) <= {NODE}


def test_a_rejected_row_among_many_stores_none_of_them(tmp_path: Path) -> None:
    decoded = make_decoded([str(n) for n in range(2 * ROWS)])
    odd = [*decoded.records]
    odd[ROWS + 3] = odd[ROWS + 3]._replace(thread=2**63)
    sink = make_sink(tmp_path)
    sink.open(NODE)

    with pytest.raises(OverflowError):
        sink.apply([with_records(decoded, odd)])

    assert rows(tmp_path) == []
    assert list(sink.offending(with_records(decoded, odd))) == [ROWS + 3]


def test_a_new_sink_starts_at_zero_and_an_old_one_at_its_cursor(tmp_path: Path) -> None:
    chain = numbered(4)
    sink = make_sink(tmp_path)
    assert sink.open(NODE) == 0
    sink.apply(chain[:2])
    sink.apply(chain[2:])
    assert sink.cursor() == chain[-1].block.end
    sink.close()

    assert make_sink(tmp_path).open(NODE) == chain[-1].block.end
    assert make_sink(tmp_path).open("ff" * 16) == 0
    assert rows(tmp_path) == messages_of(chain)


def test_a_block_that_is_stored_already_is_a_conflict(tmp_path: Path) -> None:
    chain = numbered(2)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain)

    with pytest.raises(SinkConflictError):
        sink.apply(chain[1:])
    assert rows(tmp_path) == messages_of(chain)


def test_a_failed_transaction_leaves_neither_rows_nor_cursor(tmp_path: Path) -> None:
    chain = numbered(2)
    bad = with_records(chain[1], [*chain[1].records, make_record("x", thread=2**63)])
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])

    with pytest.raises(OverflowError):
        sink.apply([bad])

    assert sink.cursor() == chain[0].block.end
    assert rows(tmp_path) == messages_of(chain[:1])
    sink.apply(chain[1:])
    assert rows(tmp_path) == messages_of(chain)


def test_offending_rows_are_returned_and_nothing_is_stored(tmp_path: Path) -> None:
    decoded = make_decoded(["good", "bad", "worse"])
    records = [
        decoded.records[0],
        decoded.records[1]._replace(process=2**64),
        decoded.records[2]._replace(message="\ud800"),
    ]
    sink = make_sink(tmp_path)
    sink.open(NODE)

    reasons = sink.offending(with_records(decoded, records))

    assert list(reasons) == [1, 2]
    assert "OverflowError" in reasons[1]
    assert rows(tmp_path) == []


def test_sync_commits_something_even_where_nothing_is_new(tmp_path: Path) -> None:
    """A commit that changes no page syncs no log, so earlier commits would not be durable."""
    sink = make_sink(tmp_path)
    assert sink.open(NODE) == sink.sync() == 0
    chain = numbered(1)
    sink.apply(chain)
    log = tmp_path / "logs" / "2026-11-23.db-wal"

    for _ in range(2):
        size = log.stat().st_size
        assert sink.sync() == chain[-1].block.end
        assert log.stat().st_size > size
