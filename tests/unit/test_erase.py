"""`fastlog erase`: the records are gone, from rows, chunks, counts and the bytes of the files."""

from __future__ import annotations

import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from builders import Fuse, in_child
from commands import Run, command_for
from day_files import (
    START_NAME,
    append,
    make_record,
    open_day,
    write_day,
    write_old_day,
)

from fastlog.query import EVERYTHING, TimeContext, parse
from fastlog.record import Record
from fastlog.search import count_totals, examine, search
from fastlog.sinks import day_chunks, day_erasure, erase_days
from fastlog.sinks.day_erasure import Erasure, connect
from fastlog.sinks.day_matches import Matches, pieces

FAR = 1e12
SECRET = "hunter2"
RECORDS = [
    make_record(
        7 * n,
        name=f"app.{n % 3}" if n != 33 else f"app.{SECRET}",
        levelno=(10, 20, 30)[n % 3],
        host=f"10.0.0.{n % 2}",
        threadName=f"thread {SECRET}" if n in (5, 33) else "main",
        message=f"message {n} {SECRET if n % 7 == 5 else 'plain'}",
        exc_text=f"error {SECRET}" if n % 14 == 5 else None,
        extra=f'{{"user":{n % 5},"password":"{SECRET if n % 7 == 5 else "-"}"}}',
        **({"created": FAR + n} if n % 50 == 0 else {}),
    )
    for n in range(250)
]
HIT = [record for record in RECORDS if SECRET in repr(tuple(record))]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 60)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Write a file with four chunks and entries behind them, and one of another day."""
    write_day(tmp_path / "logs" / START_NAME, RECORDS)
    write_day(tmp_path / "logs" / "2023-11-15.db", [make_record(90_000 + n) for n in range(3)])
    return tmp_path / "logs"


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return command_for(tmp_path, capsys)


def messages(logs: Path, query: str = "") -> list[str]:
    tree = parse(query, TimeContext(0.0)) if query else EVERYTHING
    return [found.record.message for found in search(logs, tree)]


def sound(logs: Path) -> bool:
    troubles = [health.trouble for health in examine(logs, deep=True) if health.trouble]
    print(troubles)  # pytest prints it if the test has failed
    return not troubles


def erase(path: Path, query: str) -> int:
    with closing(connect(path)) as connection:
        matches = Matches(connection, parse(query, TimeContext(0.0)))
        erasure = Erasure(connection, secure=False)
        number = sum(erasure.erase(matches.find(piece)) for piece in pieces(connection))
        erasure.remove_unused()
    return number


def bytes_in(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def test_a_preview_shows_what_matches_and_changes_nothing(command: Run, logs: Path) -> None:
    before = messages(logs)
    result = command("erase", "--dry-run", "user=3", "levelno=20")
    number = sum('"user":3' in r.extra and r.levelno == 20 for r in RECORDS)
    first, second, *rest = result.out.splitlines()
    assert (result.code, first) == (0, f"{number} records in 1 day file match")
    assert second == f"  {START_NAME}  {number}"
    assert rest[0] == "the newest:"
    assert len(rest) == 6
    assert messages(logs) == before


def test_what_matches_is_erased_and_no_byte_of_it_is_left(command: Run, logs: Path) -> None:
    assert SECRET.encode() in bytes_in(logs)
    expected = [record.message for record in RECORDS if SECRET not in repr(tuple(record))]
    with closing(open_day(logs / START_NAME)) as file:  # as a running server has it
        append(file, [make_record(5000 + n, message=f"late {n} {SECRET}") for n in range(9)])
        words = ("--yes", "--reason", "request 7", f"{SECRET} OR threadName:*{SECRET}")
        result = command("erase", *words)
        assert SECRET.encode() not in bytes_in(logs)
    assert result.code == 0, result
    left = messages(logs)
    assert sorted(left) == sorted([*expected, *(f"message {90_000 + n}" for n in range(3))])
    assert f"{START_NAME}: erased {len(HIT) + 9} records" in result.out
    assert sound(logs)
    assert SECRET.encode() not in bytes_in(logs)
    assert messages(logs, SECRET) == []
    assert count_totals(logs, EVERYTHING).records == len(left)
    assert len(messages(logs, "plain")) == len(expected)


def test_the_ledger_has_a_row_without_the_query(command: Run, logs: Path, tmp_path: Path) -> None:
    assert command("erase", "--yes", f"message:{SECRET}", "--reason", "request 7").code == 0
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        [row] = ledger.execute("SELECT fields, reason, records, ended - begun, store FROM erasures")
    assert row[:3] == ("message", "request 7", sum(SECRET in r.message for r in RECORDS))
    assert row[3] >= 0
    assert row[4] == str(logs)
    assert SECRET.encode() not in (tmp_path / "ledger.db").read_bytes()
    assert f"erased: {row[2]} records, once\n" in command("stats").out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["user=99"], 1, "0 records in 0 day files match"),
        ([], 2, "name the records with a query"),
        (["user=3"], 2, "there is no terminal to answer; give --yes"),
        (["levl:x"], 2, "there is no field 'levl'"),
        (["x", "--store", "ndjson:///x"], 2, "expected sqlite:///directory or postgresql://"),
    ],
)
def test_exit_codes(command: Run, logs: Path, words: list[str], code: int, text: str) -> None:
    before = messages(logs)
    result = command("erase", *words)
    assert result.code == code
    assert text in result.out + result.err
    assert messages(logs) == before


def test_a_file_of_an_old_version_is_migrated_and_erased_from(command: Run, tmp_path: Path) -> None:
    write_old_day(tmp_path / "logs" / START_NAME, RECORDS)
    assert command("erase", "--yes", SECRET).code == 0
    assert messages(tmp_path / "logs", SECRET) == []
    assert sound(tmp_path / "logs")


def test_a_damaged_file_is_named_and_the_others_are_erased_from(command: Run, logs: Path) -> None:
    (logs / "2023-11-13.db").write_bytes(b"x" * 5000)
    result = command("erase", "--yes", SECRET)
    assert result.code == 3
    assert "2023-11-13.db" in result.err
    assert messages_without_damaged(logs, SECRET) == []


def messages_without_damaged(logs: Path, query: str) -> list[str]:
    (logs / "2023-11-13.db").unlink()
    return messages(logs, query)


def test_numbers_of_erased_entries_are_not_used_again(logs: Path) -> None:
    """Neither of covered ones, nor of others, by a sink that has the file open."""
    path = logs / START_NAME
    with closing(open_day(path)) as file:
        append(file, [make_record(2000)])
        for round_number, query in enumerate(("user=0 OR user=4", "*", "*")):
            last = value(path, "SELECT max(id) FROM entries")
            assert erase(path, query)
            some = [make_record(3000 + round_number * 100 + n, name="new") for n in range(5)]
            append(file, some)
            assert (
                value(path, "SELECT min(id) FROM entries WHERE created >= ?", some[0].created)
                == last + 1
            )
            assert sound(logs)
            assert len(messages(logs, "logger:new message")) == 5
        append(file, [make_record(4000 + n, name="last") for n in range(150)])
    assert sound(logs)
    assert len(messages(logs, "logger:last message")) == 150
    assert count_totals(logs, parse("logger:last", TimeContext(0.0))).records == 150


def value(path: Path, sql: str, *parameters: object) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(sql, parameters).fetchone()[0])


def test_any_erasures_between_any_blocks_leave_a_sound_file(tmp_path: Path) -> None:
    """A sink writes to the file, with its memory of it, while another process erases."""
    path, dice = tmp_path / "logs" / START_NAME, random.Random(7)
    path.parent.mkdir()
    kept: list[Record] = []
    at = 0
    with closing(open_day(path)) as file:
        for _ in range(40):
            some = [
                make_record(
                    at + n, name=f"app.{dice.randrange(4)}", threadName=f"t{dice.randrange(6)}",
                    host=f"h{dice.randrange(3)}", extra=f'{{"n":{dice.randrange(10)}}}',
                )
                for n in range(dice.randrange(1, 40))
            ]  # fmt: skip
            at += len(some)
            append(file, some, per_block=7)
            kept += some
            if dice.random() < 0.5:
                thread, number = f"t{dice.randrange(6)}", dice.randrange(10)
                query = dice.choice([f"threadName:{thread}", f"n={number}", f"n>{number}"])
                is_hit = {
                    f"threadName:{thread}": lambda r, t=thread: r.threadName == t,
                    f"n={number}": lambda r, n=number: int(r.extra[5:-1]) == n,
                    f"n>{number}": lambda r, n=number: int(r.extra[5:-1]) > n,
                }[query]
                assert erase(path, query) == sum(map(is_hit, kept))
                kept = [r for r in kept if not is_hit(r)]
    assert [f.record[:5] for f in search(path.parent)] == [r[:5] for r in kept]
    assert sound(path.parent)


@pytest.mark.parametrize("length", [0, 1, 3, 7, 12])
def test_an_erasure_that_is_killed_leaves_a_sound_file_and_continues(
    logs: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    fuse, compress = Fuse(length), day_erasure.zstd.compress

    def killing(*arguments: object) -> bytes:
        fuse.spark()
        return compress(*arguments)

    def work() -> None:
        monkeypatch.setattr(day_erasure.zstd, "compress", killing)
        erase(logs / START_NAME, SECRET)

    in_child(work)
    monkeypatch.setattr(day_erasure.zstd, "compress", compress)
    assert sound(logs)
    erase(logs / START_NAME, SECRET)
    assert sound(logs)
    assert messages(logs, SECRET) == []


def test_a_reader_that_needs_the_log_makes_the_answer_incomplete(
    command: Run, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_erasure, "TRUNCATE_SECONDS", 0.1)
    monkeypatch.setattr(day_erasure, "BUSY_TIMEOUT", 0.1)
    with closing(sqlite3.connect(logs / START_NAME)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        result = command("erase", "--yes", SECRET)
    assert result.code == 3
    assert "bytes of them may be left" in result.err
    assert messages(logs, SECRET) == []
    again = command("erase", "--yes", SECRET)
    assert again.code == 0
    assert f"{START_NAME}  0, and bytes of an erasure that was broken off" in again.out
    assert SECRET.encode() not in bytes_in(logs)
    assert command("erase", "--yes", SECRET).code == 1


def test_an_erasure_that_is_killed_before_it_wrote_the_file_anew_is_finished_by_the_next(
    command: Run, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite, fuse = erase_days.rewrite, Fuse(0)

    def work() -> None:
        monkeypatch.setattr(erase_days, "rewrite", lambda _: fuse.spark())
        command("erase", "--yes", SECRET, "OR", f"threadName:*{SECRET}")

    assert in_child(work) == signal.SIGKILL
    monkeypatch.setattr(erase_days, "rewrite", rewrite)
    assert sound(logs)
    assert SECRET.encode() in bytes_in(logs)  # the name of a thread
    assert command("erase", "--yes", SECRET).code == 0
    assert SECRET.encode() not in bytes_in(logs)
    assert sound(logs)
