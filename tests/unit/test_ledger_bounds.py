"""The ledger stays small: floods are folded, old rows are summed, and senders choose no bound."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from builders import MONDAY, NODE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rows import entry, loss, rejection, table

from fastlog.ledger import Entry, Ledger, limits, total


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
        notice = (
            loss(peer=peer, reason="full")
            if k % 3 == 0
            else rejection(peer, reason=f"reason {min(k % 40, 14)}")
        )
        flood.append(entry(0, k, notice))
    with Ledger(path) as ledger:
        ledger.record(NODE, flood, 1)

    (rejected,) = table(path, "SELECT count(*), sum(count) FROM rejected")
    (lost,) = table(path, "SELECT count(*), sum(count) FROM losses")
    assert rejected == (limits.ROWS_PER_SECOND + limits.REASONS_PER_SECOND + 1, 2000)
    assert lost == (limits.ROWS_PER_SECOND + 1, 3000)
    assert table(path, "SELECT sum(count) FROM losses WHERE peer = ''") == [(2700,)]
    various = "SELECT peer, raw FROM rejected WHERE reason = 'various reasons'"
    assert table(path, various) == [("", b"")]


def test_old_rows_become_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ROWS", 20)
    path = tmp_path / "ledger.db"
    expected: dict[str, int] = {}
    with Ledger(path) as ledger:
        for n in range(200):
            reason = f"reason {n % 3}"
            entries = [
                entry(n, 0, rejection(f"10.0.0.{n}:1", MONDAY + n, reason=reason)),
                entry(n, 1, loss(reason="full", last=MONDAY + n)),
                entry(n, 2, loss(reason="damage", count=-1, last=MONDAY + n)),
            ]
            for each in entries:
                expected[each.notice.reason] = (
                    expected.get(each.notice.reason, 0) + each.notice.count
                )
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


def test_reasons_that_clients_invent_get_a_bounded_number_of_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ROWS", 5)
    monkeypatch.setattr(limits, "MAX_SUMS", 7)
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for n in range(100):
            notice = rejection(at=MONDAY + n, reason=f"reason {n}")
            ledger.record(NODE, [entry(n, 0, notice)], n + 1)

    assert table(path, "SELECT count(*), sum(count) FROM rejected") == [(5 + 7 + 1, 100)]
    assert totals(path)["various reasons"] == 100 - 5 - 7


def test_a_summed_row_of_a_sink_is_not_entered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ROWS", 3)
    path = tmp_path / "ledger.db"
    entries = [
        entry(n, k, rejection(at=MONDAY + n, reason="bad taste"), "list")
        for n in range(10)
        for k in range(2)
    ]
    with Ledger(path) as ledger:
        for at in range(0, len(entries), 2):
            ledger.record(NODE, entries[at : at + 2], 0)
        for n in range(20, 40):
            ledger.record(NODE, [entry(n, 0, rejection(at=MONDAY + n))], n + 1)
        latest = table(path, "SELECT offset, idx FROM rejected WHERE sink = 'list' ORDER BY 1, 2")
        for at in range(0, len(entries), 2):
            ledger.record(NODE, entries[at : at + 2], 0)

    assert totals(path) == {"bad taste": 20, "malformed": 20}
    assert latest == [(9, 0), (9, 1)], "the worker may be killed before its sink has stored those"


def test_old_rejections_lose_their_bytes_and_keep_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RAW_ROWS", 3)
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for n in range(5):
            ledger.record(NODE, [entry(n, 0, rejection(at=MONDAY + n))], n + 1)

    assert table(path, "SELECT offset, raw FROM rejected") == [
        (0, b""),
        (1, b""),
        (2, b"raw"),
        (3, b"raw"),
        (4, b"raw"),
    ]


def rows_of(path: Path) -> dict[str, int]:
    names = ("rejected", "losses", "entered", "seconds")
    return {name: table(path, f"SELECT count(*) FROM {name}")[0][0] for name in names}  # type: ignore[misc]


# Values that senders choose

MOMENTS = (0.0, 1.0, -1.0, 2.0**63 / 1e6, 2.0**64, 253402300799.0, float("inf"), -float("inf"))


def test_times_that_senders_claim_make_no_rows_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for block in range(10):
            entries = [
                Entry(
                    *(block, k, loss(first=MOMENTS[k % 8], last=MOMENTS[k % 7] + k, count=1)),
                    received=MONDAY + block / 10,
                )
                for k in range(500)
            ]
            ledger.record(NODE, entries, block + 1)

    assert rows_of(path) == {"rejected": 0, "losses": 101, "entered": 1, "seconds": 4}
    assert totals(path) == {"full": 5000}


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    clock=st.lists(st.integers(0, 2**33) | st.integers(1000, 1100), min_size=1, max_size=30),
    seed=st.randoms(use_true_random=False),
)
def test_the_helper_tables_stay_small_with_any_clock(
    tmp_path_factory: pytest.TempPathFactory, clock: list[int], seed: random.Random
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with Ledger(path) as ledger:
        for block, now in enumerate(clock):
            entries = [
                Entry(block, k, make(f"10.0.{seed.randrange(200)}.1:1", reason), received=now)
                for k in range(30)
                for reason in [f"reason {seed.randrange(50)}"]
                for make in [seed.choice((rejection, lambda p, r: loss(peer=p, reason=r)))]
            ]  # fmt: skip
            ledger.record(NODE, entries, block + 1)
    found = rows_of(path)
    assert found["entered"] == 1
    assert found["seconds"] <= 2 * (2 * limits.ROWS_PER_SECOND + limits.REASONS_PER_SECOND + 3)


def test_a_swinging_clock_does_not_begin_a_new_second_each_time(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for block in range(50):
            received = MONDAY - 30 * (block % 2)
            flood = [Entry(block, k, rejection(), received=received) for k in range(40)]
            ledger.record(NODE, flood, block + 1)
    assert rows_of(path)["rejected"] == limits.HOST_ROWS_PER_SECOND + 1


def test_any_number_of_journals_and_sinks_leaves_a_bounded_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ROWS", 30)
    monkeypatch.setattr(limits, "MAX_CURSORS", 8)
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for n in range(60):
            ledger.record(f"{n:032x}", [entry(0, 0, rejection(at=MONDAY + n))], 1)
            ledger.record(NODE, [entry(n, 0, rejection(), f"sink {n}")], 0)
            ledger.record(NODE, [entry(n, 1, loss(last=MONDAY + n))], n + 1)
    found = rows_of(path)
    assert found["entered"] == 8
    assert found["rejected"] <= 30 + 3 + 8
    assert table(
        path, "SELECT offset FROM entered WHERE node = ? AND sink = ''".replace("?", f"'{NODE}'")
    ) == [(60,)]
    assert totals(path) == {"malformed": 120, "full": 180}


def test_the_texts_of_a_row_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    long = "é" * 100_000
    with Ledger(path) as ledger:
        notices = [rejection(long, reason=long), loss(peer=long, reason=long, detail=long)]
        ledger.record(NODE, [entry(0, k, each) for k, each in enumerate(notices)], 1)
    assert table(path, "SELECT max(length(peer), length(reason)) FROM rejected") == [(400,)]
    lengths = "SELECT max(length(peer), length(reason), length(detail)) FROM losses"
    assert table(path, lengths) == [(400,)]


def test_counts_of_any_size_never_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ROWS", 5)
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for n in range(30):
            notices = [
                loss(count=1 << 63, last=MONDAY + n),
                loss(count=1 << 52, last=MONDAY + n),
            ] * 60
            ledger.record(NODE, [entry(n, k, each) for k, each in enumerate(notices)], n + 1)
    counts = [count for (count,) in table(path, "SELECT count FROM losses")]
    assert {type(count) for count in counts} == {int}
    assert max(counts) == limits.MAX_COUNT  # type: ignore[type-var]
    assert table(path, f"SELECT {total('count')} FROM losses") == [(limits.MAX_COUNT,)]
