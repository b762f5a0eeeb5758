"""The ledger: each rejection and loss is entered once, and floods are folded."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from builders import MONDAY, NODE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlog.errors import ConfigError, SinkUnavailableError
from fastlog.ledger import SCHEMA, Entry, Ledger, limits, total
from fastlog.record import Loss, Rejection


def rejection(peer: str = "10.0.0.1:5", at: float = MONDAY, **fields: object) -> Rejection:
    given = {"reason": "malformed", "length": 9, "raw": b"raw", "received": at} | fields
    return Rejection(peer=peer, **given)


def loss(**fields: object) -> Loss:
    given = {"peer": "", "reason": "full", "count": 3, "first": 1.0, "last": 2.0} | fields
    return Loss(**given)


def entry(offset: int, idx: int, notice: Rejection | Loss, sink: str = "") -> Entry:
    """Return an entry whose block was received at the time in the notice."""
    received = notice.received if isinstance(notice, Rejection) else notice.last
    return Entry(offset, idx, notice, sink, received)


def table(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


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


def test_a_ledger_that_cannot_be_written_raises_an_error_and_works_later(tmp_path: Path) -> None:
    path = tmp_path / "later" / "ledger.db"
    ledger = Ledger(path)
    with pytest.raises(SinkUnavailableError, match=r"ledger\.db"):
        ledger.record(NODE, [entry(0, 0, loss())], 1)
    path.parent.mkdir()
    ledger.record(NODE, [entry(0, 0, loss())], 1)
    ledger.close()
    assert len(everything(path)) == 1


# Values that senders choose


def rows_of(path: Path) -> dict[str, int]:
    names = ("rejected", "losses", "entered", "seconds")
    return {name: table(path, f"SELECT count(*) FROM {name}")[0][0] for name in names}  # type: ignore[misc]


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


# Versions, and damage

VERSION_1 = """
CREATE TABLE rejected (
    node TEXT NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, sink TEXT NOT NULL,
    received REAL NOT NULL, peer TEXT NOT NULL, reason TEXT NOT NULL,
    length INTEGER NOT NULL, count INTEGER NOT NULL, raw BLOB NOT NULL,
    PRIMARY KEY (node, offset, idx, sink)
);
CREATE TABLE losses (
    node TEXT NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, sink TEXT NOT NULL,
    peer TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    first REAL NOT NULL, last REAL NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (node, offset, idx, sink)
);
CREATE TABLE entered (
    node TEXT NOT NULL, sink TEXT NOT NULL, offset INTEGER NOT NULL, summed INTEGER NOT NULL,
    PRIMARY KEY (node, sink)
);
CREATE TABLE seconds (
    node TEXT NOT NULL, tab TEXT NOT NULL, second INTEGER NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, rows INTEGER NOT NULL, shared INTEGER,
    PRIMARY KEY (node, tab, second, kind, name)
);
INSERT INTO losses VALUES ('ab', 0, 0, '', '', 'full', 7, 1.0, 2.0, '');
INSERT INTO losses VALUES ('ab', 0, 1, '', '', 'much', 9e18, 1.0, 2.0, '');
INSERT INTO entered VALUES ('ab', '', 100, 0);
INSERT INTO seconds VALUES ('ab', 'losses', 253402300000, 'all', '', 1, NULL);
"""


def test_a_ledger_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    with Ledger(path) as ledger:
        ledger.open()
        assert ledger.record("ab", [entry(50, 0, loss()), entry(100, 0, loss())], 200) == 100
    assert table(path, "PRAGMA user_version") == [(SCHEMA,)]
    counts = "SELECT count FROM losses ORDER BY offset, idx"
    assert table(path, counts) == [(7,), (limits.MAX_COUNT,), (3,)]
    assert table(path, "SELECT DISTINCT second FROM seconds") == [(2,)]


def test_a_ledger_of_a_newer_version_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
        connection.execute("CREATE TABLE news (a)")
    before = path.read_bytes()
    for call in (Ledger(path).open, lambda: Ledger(path).record(NODE, [entry(0, 0, loss())], 1)):
        with pytest.raises(ConfigError, match=r"ledger\.db has layout 3.* install") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def fill(path: Path) -> None:
    with Ledger(path) as ledger:
        for n in range(40):
            notices = [rejection(f"10.0.0.{k}:1", raw=b"r" * 500, at=MONDAY + n) for k in range(9)]
            ledger.record(NODE, [entry(n, k, each) for k, each in enumerate(notices)], n + 1)


DAMAGES = {
    "random bytes": lambda data: random.Random(1).randbytes(len(data)),
    "a header of random bytes": lambda data: random.Random(1).randbytes(100) + data[100:],
    "random bytes behind the first page": lambda data: (
        data[:4096] + random.Random(1).randbytes(len(data) - 4096)
    ),
    "cut in half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "another database": lambda data: other_database(),
}


def other_database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE rejected (something)")
        return connection.serialize()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_ledger_is_set_aside_and_the_new_one_records_that(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    fill(path)
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    with Ledger(path) as first, Ledger(path) as second:
        first.record(NODE, [entry(100, 0, rejection())], 101)
        second.record(NODE, [entry(100, 0, rejection()), entry(200, 0, loss())], 201)
        first.record(NODE, [entry(200, 0, loss()), entry(300, 0, loss())], 301)
    if broken.strip(b"\0"):  # what SQLite takes for an empty file may be used again
        assert (tmp_path / "ledger.db.damaged").read_bytes() == broken
        damaged = table(path, "SELECT count, reason FROM losses WHERE node = ''")
        assert damaged == [(-1, "the ledger was damaged; it is kept as ledger.db.damaged")]
        assert [len(r.message.splitlines()) for r in caplog.records] == [1]
    counts = "SELECT offset FROM rejected UNION ALL SELECT offset FROM losses WHERE node <> ''"
    assert sorted(table(path, counts)) == [(100,), (200,), (300,)]


def test_a_worker_continues_in_the_new_ledger_after_the_open_one_was_renamed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as holder:
        holder.record(NODE, [entry(0, 0, loss())], 1)
        path.rename(tmp_path / "elsewhere.db")
        holder.record(NODE, [entry(100, 0, loss())], 101)
    assert table(path, "SELECT offset FROM losses") == [(100,)]


SUCCESSOR = """
import sys
from pathlib import Path
from fastlog.ledger import Entry, Ledger
from fastlog.record import Loss

path = Path(sys.argv[1])
old, new = Ledger(path), Ledger(path)
old.record("ab", [Entry(0, 0, Loss("", "old", 1, 1.0, 1.0))], 1)
for part in ("-wal", "-shm", ""):
    path.with_name(path.name + part).rename(path.with_name("aside" + part))
new.record("ab", [Entry(1, 0, Loss("", "new", 1, 1.0, 1.0))], 2)
old.close()
print("closed", flush=True)
sys.stdin.read()
"""


def test_closing_the_old_file_does_not_delete_the_log_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with subprocess.Popen(
        [sys.executable, "-c", SUCCESSOR, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"closed\n"
        log = path.with_name("ledger.db-wal")
        before = log.stat()
        with Ledger(path) as mine:
            mine.record("ab", [entry(2, 0, loss())], 3)
            process.stdin.close()
            assert process.wait(30) == 0
            assert log.stat().st_ino == before.st_ino
            mine.record("ab", [entry(3, 0, loss())], 4)
    assert table(path, "SELECT offset FROM losses") == [(1,), (2,), (3,)]
