"""The ledger enters each rejection and loss once, for any number of workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from builders import MONDAY, NODE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rows import entry, loss, rejection, table

from fastlog.errors import SinkUnavailableError
from fastlog.ledger import Entry, Ledger, limits


def everything(path: Path) -> list[tuple[object, ...]]:
    return table(path, "SELECT * FROM rejected ORDER BY 1, 2, 3, 4") + table(
        path, "SELECT * FROM losses ORDER BY 1, 2, 3, 4"
    )


def test_a_notice_becomes_a_row_of_its_table(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.record(
            NODE,
            [entry(100, 2, rejection(raw=b"x" * 5000)), entry(100, 3, loss(detail="d"))],
            200,
        )

    assert table(path, "SELECT * FROM rejected") == [
        (NODE, 100, 2, "", MONDAY, "10.0.0.1:5", "malformed", 9, 1, b"x" * 4096)
    ]
    assert table(path, "SELECT * FROM losses") == [(NODE, 100, 3, "", "", "full", 3, 1.0, 2.0, "d")]


def test_an_entry_is_entered_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    entries = [entry(0, 1, rejection()), entry(100, 0, loss())]
    with Ledger(path) as first, Ledger(path) as second:
        first.record(NODE, entries, 200)
        before = everything(path)
        second.record(NODE, entries, 200)
        assert everything(path) == before
        second.record("ff" * 16, entries, 200)  # of another journal
    assert len(everything(path)) == 4


def test_over_ten_a_second_from_one_host_share_a_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    flood = [entry(0, k, rejection(f"10.0.0.1:{k}", MONDAY + k / 100)) for k in range(30)]
    others = [
        entry(0, 30, rejection("10.0.0.2:1")),
        entry(0, 31, rejection("10.0.0.1:7", count=5, reason="other")),
        entry(0, 32, rejection("10.0.0.1:99", MONDAY + 1)),
    ]
    with Ledger(path) as ledger:
        ledger.record(NODE, flood + others, 1)

    rows = table(path, "SELECT idx, count, reason FROM rejected ORDER BY idx")
    assert rows == [
        *((k, 1, "malformed") for k in range(10)),
        (10, 20 + 5, "various reasons"),
        (30, 1, "malformed"),
        (32, 1, "malformed"),
    ]


notices = st.lists(
    st.tuples(
        st.integers(0, 3),  # idx, made unique below
        st.sampled_from(["10.0.0.1:1", "10.0.0.1:2", "unix"]),
        st.integers(0, 1),  # second
        st.integers(1, 3),  # count
    ),
    max_size=8,
)


@pytest.fixture(params=[100, 3], ids=["of each host", "of all hosts"])
def limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set the limit of rows in a second."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "ROWS_PER_SECOND", request.param)
        patched.setattr(limits, "REASONS_PER_SECOND", 1)
        yield


@pytest.mark.usefixtures("limit")
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    blocks=st.lists(notices, min_size=1, max_size=12),
    cuts=st.tuples(st.sets(st.integers(1, 11)), st.sets(st.integers(1, 11))),
    order=st.lists(st.booleans(), min_size=24, max_size=24),
)
def test_two_workers_with_any_batches_enter_what_one_enters_in_one_call(
    tmp_path_factory: pytest.TempPathFactory,
    blocks: list[list[tuple[int, str, int, int]]],
    cuts: tuple[set[int], set[int]],
    order: list[bool],
) -> None:
    directory = tmp_path_factory.mktemp("ledger")
    entries = [
        [
            entry(
                n * 100,
                idx,
                rejection(peer, MONDAY + n // 4 + second, count=count, reason=f"reason {count}"),
            )
            for idx, (_, peer, second, count) in enumerate(block)
        ]
        for n, block in enumerate(blocks)
    ]
    with Ledger(directory / "one.db") as one:
        one.record(NODE, [entry for block in entries for entry in block], len(blocks) * 100)

    Ledger(directory / "two.db").record(NODE, [], 0)
    todo = [batches(entries, cut) for cut in cuts]
    with Ledger(directory / "two.db") as a, Ledger(directory / "two.db") as b:
        for worker in [*order, *[True] * 12, *[False] * 12]:
            if todo[worker]:
                batch, end = todo[worker].pop(0)
                if batch:  # a worker does not call `record` for a batch without notices
                    (a, b)[worker].record(NODE, batch, end)

    assert counted(directory / "two.db") == counted(directory / "one.db")


def batches(entries: Sequence[list[Entry]], cut: set[int]) -> list[tuple[list[Entry], int]]:
    bounds = [0, *sorted(c for c in cut if c < len(entries)), len(entries)]
    return [
        ([entry for block in entries[start:end] for entry in block], end * 100)
        for start, end in pairwise(bounds)
    ]


def counted(path: Path) -> list[tuple[object, ...]]:
    return table(path, "SELECT offset, idx, peer, reason, count FROM rejected ORDER BY 1, 2")


def test_an_entry_of_a_sink_is_kept_by_its_key_at_any_offset(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.record(NODE, [entry(500, 0, rejection())], 600)
        for _ in range(2):
            for sink in ("sqlite", "ndjson"):
                ledger.record(NODE, [entry(100, 0, rejection(), sink)], 0)
        ledger.record(NODE, [entry(500, 0, rejection())], 600)

    assert table(path, "SELECT offset, sink FROM rejected ORDER BY 1, 2") == [
        (100, "ndjson"),
        (100, "sqlite"),
        (500, ""),
    ]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([(5, 10.0, "a"), (9, 20.0, "b"), (7, 15.0, "c")], (9, 20.0)),
        ([(5, 20.0, "a"), (9, 10.0, "b")], (9, 20.0)),  # the clock was set back
        ([(-1, 10.0, "a"), (9, 20.0, "b")], (9, 20.0)),
        (
            [(9, 10.0, "a"), (-1, 20.0, "a")],
            (9, 10.0),
        ),  # the same span, its count unknown
        ([(9, 10.0, "a"), (-1, 20.0, "b")], (-1, 20.0)),  # a longer one
    ],
)
def test_a_growing_loss_of_a_sink_replaces_its_row(
    tmp_path: Path, losses: list[tuple[int, float, str]], expected: tuple[int, float]
) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for count, last, detail in losses:
            notice = loss(count=count, last=last, detail=detail)
            ledger.record(NODE, [entry(100, 0, notice, "console")], 0)

    assert table(path, "SELECT count, last FROM losses") == [expected]


def test_a_ledger_that_cannot_be_written_raises_an_error_and_works_later(tmp_path: Path) -> None:
    path = tmp_path / "later" / "ledger.db"
    ledger = Ledger(path)
    with pytest.raises(SinkUnavailableError, match=r"ledger\.db"):
        ledger.record(NODE, [entry(0, 0, loss())], 1)
    path.parent.mkdir()
    ledger.record(NODE, [entry(0, 0, loss())], 1)
    ledger.close()
    assert len(everything(path)) == 1
