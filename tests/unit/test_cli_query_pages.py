"""Which of the matches `fastlog query` prints: limits, cursors, and records around matches."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import Result, Run
from day_files import START, make_record, write_day

pytestmark = pytest.mark.usefixtures("nothing_configured")


def messages(result: Result) -> list[str]:
    return [json.loads(line)["message"] for line in result.out.splitlines()]


def cursor_of(result: Result) -> str | None:
    """Return the cursor of the next page, as a script gets it."""
    found = re.search(r" --cursor (\S+)$", result.err.rstrip("\n"))
    return found[1] if found else None


def test_oldest_takes_the_other_end(command: Run, data: Path):
    found = command("query", "--oldest", "--limit", 3, "--json")
    assert messages(found) == ["message 0", "message 1", "message 2"]
    assert found.err.startswith(
        "fastlog query: printed the oldest 3 records; --limit N prints more; next page: --cursor "
    )
    whole = command("query", "--oldest", "--limit", 10)
    assert (len(whole.out.splitlines()), whole.err) == (10, "")


def pages(command: Run, *words: object) -> list[list[str]]:
    """Return the messages of all pages."""
    found = command("query", "--json", *words)
    printed = [messages(found)]
    while (cursor := cursor_of(found)) is not None:
        found = command("query", "--json", *words, "--cursor", cursor)
        printed.append(messages(found))
    assert found.code == 0
    return printed


def test_cursors_give_all_pages_from_either_end(command: Run, data: Path):
    names = [f"message {at}" for at in range(10)]
    assert pages(command, "--limit", 4) == [names[6:], names[2:6], names[:2]]
    assert pages(command, "--limit", 4, "--oldest") == [names[:4], names[4:8], names[8:]]
    assert pages(command, "--limit", 5) == [names[5:], names[:5]]
    assert pages(command, "--limit", 2, "--level", "warning") == [
        ["message 5", "message 9"],
        ["message 1"],
    ]


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("words", [(), ("--oldest",)])
def test_pages_of_records_with_equal_times_have_each_once(
    command: Run, tmp_path: Path, words: tuple[str, ...], limit: int
):
    logs = tmp_path / "fastlog-data" / "logs"
    records = [make_record(at, created=START + at // 5) for at in range(20)]
    write_day(logs / "2023-11-14.db", records[:10], node="ab")
    write_day(logs / "2023-11-15.db", records[7:], node="cd")
    printed = pages(command, "--limit", limit, *words)
    if not words:
        printed.reverse()
    everything = command("query", "--json", "--limit", 0)
    assert [message for page in printed for message in page] == messages(everything)


def test_a_cursor_is_stable_while_records_arrive(command: Run, data: Path):
    newest = command("query", "--json", "--limit", 4)
    oldest = command("query", "--json", "--limit", 4, "--oldest")
    assert messages(newest)[0] == "message 6"
    late = make_record(20, created=START + 5.5, message="late")
    same = make_record(21, created=START + 6, message="of the same time, and later in the file")
    now = make_record(22, created=START + 30, message="newest")
    write_day(data / "logs" / "2026-11-23.db", [late, same, now])
    back = command("query", "--json", "--limit", 3, "--cursor", cursor_of(newest))
    assert messages(back) == ["message 4", "message 5", "late"]
    forward = command("query", "--json", "--limit", 2, "--oldest", "--cursor", cursor_of(oldest))
    assert messages(forward) == ["message 4", "message 5"]


def test_a_cursor_of_a_deleted_record_continues_behind_it(command: Run, data: Path):
    cursor = cursor_of(command("query", "--json", "--limit", 4))
    assert cursor is not None
    (data / "logs" / "2026-11-23.db").unlink()
    found = command("query", "--json", "--limit", 2, "--cursor", cursor)
    assert messages(found) == ["message 4", "message 5"]


def test_a_cursor_brings_its_direction(command: Run, data: Path):
    cursor = cursor_of(command("query", "--json", "--limit", 4, "--oldest"))
    assert messages(command("query", "--json", "--limit", 2, "--cursor", cursor)) == [
        "message 4",
        "message 5",
    ]
    rest = command("query", "--json", "--limit", 0, "--cursor", cursor)
    assert messages(rest) == [f"message {at}" for at in range(4, 10)]
    newest = cursor_of(command("query", "--json", "--limit", 4))
    rest = command("query", "--json", "--limit", 0, "--cursor", newest)
    assert messages(rest) == [f"message {at}" for at in range(6)]
    wrong = command("query", "--oldest", "--cursor", newest)
    message = "fastlog query: --cursor: this cursor is of a page without --oldest\n"
    assert wrong == Result(2, "", message)


@pytest.mark.parametrize("text", ["", "x", "newest:1:ab:1", "newest:1.1.1:ab:1:1", "old:1:ab:1:1"])
def test_a_text_that_is_no_cursor_is_an_error(command: Run, data: Path, text: str):
    wrong = command("query", "--cursor", text)
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    assert wrong.err.startswith(f"fastlog query: --cursor: {text!r} is no cursor")


def test_people_are_not_shown_cursors_unless_they_use_one(command: Run, data: Path):
    found = command("query", "--limit", 4)
    assert found.err == "fastlog query: printed the newest 4 records; --limit N prints more\n"
    cursor = cursor_of(command("query", "--csv", "--limit", 4))
    assert cursor_of(command("query", "--limit", 4, "--cursor", cursor)) is not None


# ---- records around matches ------------------------------------------------------------------


@pytest.fixture
def processes(tmp_path: Path) -> None:
    """30 records of three processes in turns; process 0 logs an error in records 9 and 24."""
    records = [
        make_record(
            at,
            process=at % 3,
            levelno=40 if at in (9, 24) else 20,
            name=f"app.{'ab'[at % 2]}",
        )
        for at in range(30)
    ]
    logs = tmp_path / "fastlog-data" / "logs"
    write_day(logs / "2023-11-14.db", records[:15])
    write_day(logs / "2023-11-15.db", records[15:])


def around(command: Run, *words: object) -> list[str]:
    """Return the numbers of the printed records, and the separators."""
    printed = command("query", "--fields", "message", "--level", 40, *words)
    assert (printed.code, printed.err) == (0, "")
    return [line.removeprefix("message ") for line in printed.out.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-A", 1], "9 12 -- 24 27"),
        (["-B", 2], "3 6 9 -- 18 21 24"),
        (["-C", 1], "6 9 12 -- 21 24 27"),
        (["-C", 1, "-A", 2], "6 9 12 15 -- 21 24 27"),
        (["-C", 2], "3 6 9 12 15 18 21 24 27"),  # they touch each other
        (["-C", 3], "0 3 6 9 12 15 18 21 24 27"),
        (["-B", 9, "-A", 9], "0 3 6 9 12 15 18 21 24 27"),
        (["-A", 4], "9 12 15 18 21 24 27"),
        (["-B", 4], "0 3 6 9 12 15 18 21 24"),
        (["-C", 1, "--context-by", "logger"], "7 9 11 -- 22 24 26"),
        (["-C", 1, "--limit", 1], "21 24 27"),
        (["-C", 1, "--oldest", "--limit", 1], "6 9 12"),
        (["-C", 0], "9 24"),
    ],
)
@pytest.mark.usefixtures("processes")
def test_records_of_the_same_process_are_printed_around_matches(
    command: Run, words: list[object], expected: str
):
    if "--limit" in words:
        printed = command("query", "--fields", "message", "--level", 40, *words).out
        assert re.findall(r"\d+|--", printed) == expected.split()
    else:
        assert around(command, *words) == expected.split()


def test_groups_of_processes_that_log_in_turns_are_apart(command: Run, tmp_path: Path):
    levels = {3: 40, 4: 40, 6: 40}
    records = [make_record(at, process=at % 2, levelno=levels.get(at, 20)) for at in range(10)]
    write_day(tmp_path / "fastlog-data" / "logs" / "2023-11-14.db", records)
    # Process 1 has 1 3 5, process 0 has 2 4 6 8, where 6 is a match again.
    assert around(command, "-C", 1) == ["1", "3", "5", "--", "2", "4", "6", "8"]


def test_a_process_number_of_another_host_is_another_process(command: Run, tmp_path: Path):
    hosts = ["10.0.0.1", "10.0.0.2"]
    records = [
        make_record(at, process=1, host=hosts[at % 2], levelno=40 if at == 4 else 20)
        for at in range(9)
    ]
    write_day(tmp_path / "fastlog-data" / "logs" / "2023-11-14.db", records)
    assert around(command, "-C", 1) == ["2", "4", "6"]


def test_records_without_a_process_have_those_without_one_around_them(command: Run, tmp_path: Path):
    records = [
        make_record(at, process=None if at % 2 else 7, name=None, levelno=40 if at == 5 else 20)
        for at in range(9)
    ]
    write_day(tmp_path / "fastlog-data" / "logs" / "2023-11-14.db", records)
    assert around(command, "-C", 1) == ["3", "5", "7"]
    assert around(command, "-C", 1, "--context-by", "logger") == ["4", "5", "6"]


def test_records_of_equal_times_are_around_each_other_in_order_of_arrival(
    command: Run, tmp_path: Path
):
    records = [
        make_record(at, created=START, process=1, levelno=40 if at == 4 else 20) for at in range(9)
    ]
    write_day(tmp_path / "fastlog-data" / "logs" / "2023-11-14.db", records)
    assert around(command, "-C", 2) == ["2", "3", "4", "5", "6"]


def test_what_is_more_than_a_day_away_is_no_context(command: Run, tmp_path: Path):
    records = [
        make_record(at, created=START + at * 50_000, process=1, levelno=40 if at == 4 else 20)
        for at in range(9)
    ]
    write_day(tmp_path / "fastlog-data" / "logs" / "2023-11-14.db", records)
    assert around(command, "-C", 5) == ["3", "4", "5"]


@pytest.mark.usefixtures("processes")
def test_json_and_csv_tell_matches_from_the_records_around_them(command: Run):
    lines = command("query", "--level", 40, "-C", 1, "--json").out.splitlines()
    assert [json.loads(line)["match"] for line in lines] == [False, True, False] * 2
    csv = command("query", "--level", 40, "-A", 1, "--csv", "--fields", "message").out
    assert (
        csv
        == "message,match\nmessage 9,true\nmessage 12,false\nmessage 24,true\nmessage 27,false\n"
    )


@pytest.mark.usefixtures("processes")
def test_records_around_a_match_are_less_bright(command: Run):
    words = ["--level", "40", "--limit", "1", "-A", "1", "--color"]
    match, context = command("query", *words).out.splitlines()
    assert not match.startswith("\x1b[2mmessage")
    assert re.fullmatch("\x1b\\[2m[^\x1b]*message 27\x1b\\[0m", context)


@pytest.mark.usefixtures("processes")
def test_context_needs_a_limit(command: Run):
    wrong = command("query", "-C", 1, "--limit", 0)
    message = "fastlog query: -A, -B and -C need a --limit of at least 1\n"
    assert wrong == Result(2, "", message)
