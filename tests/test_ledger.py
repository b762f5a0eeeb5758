"""The ledger: each rejection and loss once, whoever finds it, and floods folded."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import MONDAY, NODE

from fastlog import ledger as ledgers
from fastlog.errors import SinkUnavailableError
from fastlog.ledger import Entry, Ledger
from fastlog.record import Loss, Rejection


def rejection(peer: str = "10.0.0.1:5", at: float = MONDAY, **fields: object) -> Rejection:
    given = {"reason": "malformed", "length": 9, "raw": b"raw", "received": at} | fields
    return Rejection(peer=peer, **given)


def loss(**fields: object) -> Loss:
    given = {"peer": "", "reason": "full", "count": 3, "first": 1.0, "last": 2.0} | fields
    return Loss(**given)


def table(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def everything(path: Path) -> list[tuple[object, ...]]:
    return table(path, "SELECT * FROM rejected ORDER BY 1, 2, 3, 4") + table(
        path, "SELECT * FROM losses ORDER BY 1, 2, 3, 4"
    )


def test_a_note_is_a_row_of_its_table(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.record(
            NODE,
            [Entry(100, 2, rejection(raw=b"x" * 5000)), Entry(100, 3, loss(detail="d"))],
            200,
        )

    assert table(path, "SELECT * FROM rejected") == [
        (NODE, 100, 2, "", MONDAY, "10.0.0.1:5", "malformed", 9, 1, b"x" * 4096)
    ]
    assert table(path, "SELECT * FROM losses") == [(NODE, 100, 3, "", "", "full", 3, 1.0, 2.0, "d")]


def test_what_was_entered_once_is_not_entered_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    entries = [Entry(0, 1, rejection()), Entry(100, 0, loss())]
    with Ledger(path) as first, Ledger(path) as second:
        first.record(NODE, entries, 200)
        before = everything(path)
        second.record(NODE, entries, 200)
        assert everything(path) == before
        second.record("ff" * 16, entries, 200)  # another journal is another matter
    assert len(everything(path)) == 4


def test_over_ten_a_second_from_one_host_share_a_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    flood = [Entry(0, k, rejection(f"10.0.0.1:{k}", MONDAY + k / 100)) for k in range(30)]
    others = [
        Entry(0, 30, rejection("10.0.0.2:1")),
        Entry(0, 31, rejection("10.0.0.1:99", MONDAY + 1)),
        Entry(0, 32, rejection("10.0.0.1:7", count=5, reason="other")),
    ]
    with Ledger(path) as ledger:
        ledger.record(NODE, flood + others, 1)

    rows = table(path, "SELECT idx, count, reason FROM rejected ORDER BY idx")
    assert rows == [
        *((k, 1, "malformed") for k in range(10)),
        (10, 20 + 5, "various reasons"),
        (30, 1, "malformed"),
        (31, 1, "malformed"),
    ]


notes = st.lists(
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
    """What is too much in a second."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ledgers, "ALL_ROWS_A_SECOND", request.param)
        patched.setattr(ledgers, "REASONS", 1)
        yield


@pytest.mark.usefixtures("limit")
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    blocks=st.lists(notes, min_size=1, max_size=12),
    cuts=st.tuples(st.sets(st.integers(1, 11)), st.sets(st.integers(1, 11))),
    order=st.lists(st.booleans(), min_size=24, max_size=24),
)
def test_two_sinks_with_any_batches_enter_what_one_does_in_one_go(
    tmp_path_factory: pytest.TempPathFactory,
    blocks: list[list[tuple[int, str, int, int]]],
    cuts: tuple[set[int], set[int]],
    order: list[bool],
) -> None:
    directory = tmp_path_factory.mktemp("ledger")
    entries = [
        [
            Entry(
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
        for turn in [*order, *[True] * 12, *[False] * 12]:
            if todo[turn]:
                batch, end = todo[turn].pop(0)
                if batch:  # a worker does not call for a batch without notes
                    (a, b)[turn].record(NODE, batch, end)

    assert counted(directory / "two.db") == counted(directory / "one.db")


def batches(entries: Sequence[list[Entry]], cut: set[int]) -> list[tuple[list[Entry], int]]:
    bounds = [0, *sorted(c for c in cut if c < len(entries)), len(entries)]
    return [
        ([entry for block in entries[start:end] for entry in block], end * 100)
        for start, end in pairwise(bounds)
    ]


def counted(path: Path) -> list[tuple[object, ...]]:
    return table(path, "SELECT offset, idx, peer, reason, count FROM rejected ORDER BY 1, 2")


def test_what_concerns_a_sink_is_kept_by_its_key_wherever_the_journal_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.record(NODE, [Entry(500, 0, rejection())], 600)
        for _ in range(2):
            for sink in ("sqlite", "ndjson"):
                ledger.record(NODE, [Entry(100, 0, rejection(), sink)], 0)
        ledger.record(NODE, [Entry(500, 0, rejection())], 600)

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
        ([(9, 10.0, "a"), (-1, 20.0, "a")], (9, 10.0)),  # the same span, forgotten how long
        ([(9, 10.0, "a"), (-1, 20.0, "b")], (-1, 20.0)),  # a longer one
    ],
)
def test_a_growing_loss_of_a_sink_replaces_its_row(
    tmp_path: Path, losses: list[tuple[int, float, str]], expected: tuple[int, float]
) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for count, last, detail in losses:
            note = loss(count=count, last=last, detail=detail)
            ledger.record(NODE, [Entry(100, 0, note, "console")], 0)

    assert table(path, "SELECT count, last FROM losses") == [expected]


def totals(path: Path) -> dict[str, int]:
    return dict(
        table(
            path,
            "SELECT reason, sum(count) FROM (SELECT reason, count FROM rejected UNION ALL"
            " SELECT reason, count FROM losses) GROUP BY reason",
        )
    )


def test_all_hosts_together_make_a_hundred_rows_a_second_and_some_sums(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    flood: list[Entry] = []
    for k in range(3000):
        peer = f"10.0.{k // 250}.{k % 250}:1"
        note = (
            loss(peer=peer, reason="full")
            if k % 3 == 0
            else rejection(peer, reason=f"reason {min(k % 40, 14)}")
        )
        flood.append(Entry(0, k, note))
    with Ledger(path) as ledger:
        ledger.record(NODE, flood, 1)

    (rejected,) = table(path, "SELECT count(*), sum(count) FROM rejected")
    (lost,) = table(path, "SELECT count(*), sum(count) FROM losses")
    assert rejected == (ledgers.ALL_ROWS_A_SECOND + ledgers.REASONS + 1, 2000)
    assert lost == (ledgers.ALL_ROWS_A_SECOND + 1, 3000)
    assert table(path, "SELECT sum(count) FROM losses WHERE peer = ''") == [(2700,)]
    various = "SELECT peer, raw FROM rejected WHERE reason = 'various reasons'"
    assert table(path, various) == [("", b"")]


def test_of_old_rows_the_sums_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "ROWS", 20)
    path = tmp_path / "ledger.db"
    expected: dict[str, int] = {}
    with Ledger(path) as ledger:
        for n in range(200):
            reason = f"reason {n % 3}"
            entries = [
                Entry(n, 0, rejection(f"10.0.0.{n}:1", MONDAY + n, reason=reason)),
                Entry(n, 1, loss(reason="full", last=MONDAY + n)),
                Entry(n, 2, loss(reason="damage", count=-1, last=MONDAY + n)),
            ]
            for entry in entries:
                expected[entry.note.reason] = expected.get(entry.note.reason, 0) + entry.note.count
            for _ in range(2):
                ledger.record(NODE, entries, n + 1)

    assert totals(path) == expected
    assert table(path, "SELECT count(*) FROM rejected") == [(20 + 3,)]
    assert table(path, "SELECT count(*) FROM losses") == [(20 + 2,)]
    sums = "SELECT node, peer, received FROM rejected WHERE rowid < 0 ORDER BY received DESC"
    assert table(path, sums)[0] == ("", "", MONDAY + 179)
    assert table(path, "SELECT first, last FROM losses WHERE rowid < 0 AND count > 0") == [
        (1.0, MONDAY + 189)
    ]


def test_reasons_that_a_stranger_makes_up_are_not_told_apart_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "ROWS", 5)
    monkeypatch.setattr(ledgers, "SUMS", 7)
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for n in range(100):
            note = rejection(at=MONDAY + n, reason=f"reason {n}")
            ledger.record(NODE, [Entry(n, 0, note)], n + 1)

    assert table(path, "SELECT count(*), sum(count) FROM rejected") == [(5 + 7 + 1, 100)]
    assert totals(path)["various reasons"] == 100 - 5 - 7


def test_a_sinks_row_that_has_become_part_of_a_sum_is_not_entered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "ROWS", 3)
    path = tmp_path / "ledger.db"
    entries = [
        Entry(n, k, rejection(at=MONDAY + n, reason="bad taste"), "list")
        for n in range(10)
        for k in range(2)
    ]
    with Ledger(path) as ledger:
        for at in range(0, len(entries), 2):
            ledger.record(NODE, entries[at : at + 2], 0)
        for n in range(20, 40):
            ledger.record(NODE, [Entry(n, 0, rejection(at=MONDAY + n))], n + 1)
        latest = table(path, "SELECT offset, idx FROM rejected WHERE sink = 'list' ORDER BY 1, 2")
        for at in range(0, len(entries), 2):
            ledger.record(NODE, entries[at : at + 2], 0)

    assert totals(path) == {"bad taste": 20, "malformed": 20}
    assert latest == [(9, 0), (9, 1)], "the worker may be killed before its sink has stored those"


def test_of_old_rejections_the_bytes_go_and_the_rows_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "RAW_ROWS", 3)
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for n in range(5):
            ledger.record(NODE, [Entry(n, 0, rejection(at=MONDAY + n))], n + 1)

    assert table(path, "SELECT offset, raw FROM rejected") == [
        (0, b""),
        (1, b""),
        (2, b"raw"),
        (3, b"raw"),
        (4, b"raw"),
    ]


def test_a_ledger_that_cannot_be_written_says_so_and_works_later(tmp_path: Path) -> None:
    path = tmp_path / "later" / "ledger.db"
    ledger = Ledger(path)
    with pytest.raises(SinkUnavailableError, match=r"ledger\.db"):
        ledger.record(NODE, [Entry(0, 0, loss())], 1)
    path.parent.mkdir()
    ledger.record(NODE, [Entry(0, 0, loss())], 1)
    ledger.close()
    assert len(everything(path)) == 1
