"""`fastlog import`: exact for each kind of source, repeated, or killed in the middle."""

from __future__ import annotations

import fcntl
import json
from contextlib import closing
from pathlib import Path

import pytest
from builders import DAY, MONDAY, make_chain
from commands import Run
from day_files import START_NAME, make_record, open_day, write_day, write_old_day
from exports import ONE, OTHER, make_store, stored
from journal_blocks import run_of
from sqlite_stores import make_sink

from fastlog.decode.json_lines import encode
from fastlog.journal import Journal, SinkPosition, write_position
from fastlog.query import COLUMNS
from fastlog.sinks.day_file import DayFile
from fastlog.transfer import additions

pytestmark = pytest.mark.usefixtures("nothing_configured")

OLD = "older than retention.age"
EXTRA = COLUMNS.index("extra")
"""Behind it are offset, idx and node."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


@pytest.fixture
def exported(command: Run, store: Path) -> Path:
    assert command("export", "--data-dir", store, "--output", "all.ndjson").code == 0
    return Path("all.ndjson")


@pytest.mark.parametrize("kind", ["export", "directory", "query --json"])
def test_an_import_has_all_columns_of_all_records_and_a_second_adds_nothing(
    command: Run, store: Path, exported: Path, target: Path, kind: str
) -> None:
    if kind == "query --json":
        words = ("query", "--json", "--limit", 0, "--data-dir", store)
        exported.write_text(command(*words).out, "utf-8")
    source = store if kind == "directory" else exported
    first = command("import", source, "--data-dir", target)
    assert first.out == f"added 84 records to {target}/logs\n"
    assert (first.code, OLD in first.err) == (0, True)
    normal = [with_parsed_extra(row) for row in stored(store)]
    assert [with_parsed_extra(row) for row in stored(target)] == normal
    if kind != "query --json":
        assert stored(target) == stored(store)
    again = command("import", source, exported, "--data-dir", target)
    assert again == (0, f"added 0 records to {target}/logs; 168 were there already\n", "")
    assert len(stored(target)) == 84
    assert sorted(path.name for path in (target / "logs").glob("*.db")) == [
        START_NAME, "2023-11-15.db", "2023-11-16.db",
    ]  # fmt: skip
    assert "sound" in command("check", "--deep", "--data-dir", target).out


def with_parsed_extra(row: tuple[object, ...]) -> tuple[object, ...]:
    return (*row[:EXTRA], json.loads(str(row[EXTRA])), *row[EXTRA + 1 :])


class Killed(BaseException):
    """What a test raises where a process is killed."""


@pytest.mark.parametrize("foreign", [False, True])
def test_an_import_that_is_killed_anywhere_is_completed_by_repeating_it(
    command: Run, exported: Path, target: Path, monkeypatch: pytest.MonkeyPatch, foreign: bool
) -> None:
    monkeypatch.setattr(additions, "BATCH", 10)
    if foreign:
        exported.write_text(
            "".join(f'{{"created":{MONDAY + n * 9000},"msg":"{n}"}}\n' for n in range(84))
        )
    add = DayFile.add
    for kills in range(3):
        left = kills

        def killing(self: DayFile, *args: object) -> None:
            nonlocal left
            add(self, *args)
            left -= 1
            if left < 0:
                raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(DayFile, "add", killing)
            with pytest.raises(Killed):
                command("import", exported, "--data-dir", target)
    command("import", exported, "--data-dir", target)
    found = stored(target)
    assert len(found) == len({row[EXTRA + 1 : EXTRA + 4] for row in found}) == 84
    assert command("import", exported, "--data-dir", target).out.startswith("added 0 ")


LINES = b"""\xef\xbb\xbf{"time":"2026-11-23T12:00:00Z","level":"error","logger":"web","msg":"one"}

{"ts": 1795780800.25, "message": "two", "user": {"id": 7}}
not JSON
{"message": "three\xff"}
{"message": "no time"}
{"created": 1, "node": "ab", "offset": 1, "idx": 0, "received": 1.0}
[1]
"""


def test_lines_of_other_programs(command: Run, target: Path, monkeypatch: pytest.MonkeyPatch):
    Path("app.log").write_bytes(LINES)
    monkeypatch.setattr("time.time", lambda: MONDAY + 10 * DAY)
    result = command("import", "app.log", "--data-dir", target)
    assert (result.code, result.out) == (3, f"added 3 records to {target}/logs\n")
    assert result.err.splitlines() == [
        "fastlog import: app.log:4: is not a JSON object",
        "fastlog import: app.log:5: malformed JSON: text is not UTF-8",
        "fastlog import: app.log:7: is not a line of an export: Object missing required field "
        "`message`",
        "fastlog import: app.log:8: is not a JSON object",
    ]
    names = ("created", "levelname", "name", "message", "host", "received", "extra")
    rows = [tuple(row[COLUMNS.index(name)] for name in names) for row in stored(target)]
    noon, now = MONDAY + DAY / 2, MONDAY + 10 * DAY
    assert rows == [
        (noon, "ERROR", "web", "one", "import", noon, "{}"),
        (1795780800.25, None, None, "two", "import", 1795780800.25, '{"user":{"id":7}}'),
        (now, None, None, "no time", "import", now, "{}"),
    ]
    # On another day, the record without a time would be another one by its day.
    monkeypatch.setattr("time.time", lambda: MONDAY + 12 * DAY)
    again = command("import", "app.log", "--data-dir", target)
    assert again.out == f"added 0 records to {target}/logs; 3 were there already\n"


def test_an_export_of_an_older_version_lacks_columns(command: Run, exported: Path, target: Path):
    lines = [json.loads(line) for line in exported.read_text("utf-8").split("\n")[:-1]]
    Path("old").write_text("".join(f"{json.dumps(without_nulls(line))}\n" for line in lines))
    assert command("import", "old", "--data-dir", target).out.startswith("added 84 records")
    assert command("import", exported, "--data-dir", target).out.startswith("added 0 records")


def test_a_line_with_a_column_of_a_newer_version_is_named(
    command: Run, exported: Path, target: Path
) -> None:
    lines = [json.loads(line) for line in exported.read_bytes().splitlines()[:2]]
    lines[1]["tenant"] = "a"
    Path("new").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    result = command("import", "new", "--data-dir", target)
    assert (result.code, result.out) == (3, f"added 1 record to {target}/logs\n")
    assert "new:2: is not a line of an export: Object contains unknown field `tenant`" in result.err


def without_nulls(line: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in line.items() if value is not None}


def test_what_no_sink_may_store_is_not_imported(command: Run, exported: Path, target: Path):
    Path("redacting.toml").write_text('[[redact]]\nfield = "extra.n"\n')
    words = ("import", exported, "--data-dir", target, "--config", "redacting.toml")
    assert command(*words).out == f"added 84 records to {target}/logs, 52 of them redacted\n"
    assert {json.loads(row[EXTRA]).get("n") for row in stored(target)} == {"***", None}
    assert command(*words).out.startswith("added 0 records")


def test_lines_of_an_ndjson_sink_keep_their_columns(command: Run, store: Path, target: Path):
    record = make_record(1, received=5.25, extra='{"a":1.50}', thread=1 << 60, levelno=None)
    Path("app.ndjson").write_bytes(encode(record) + b"\n" + encode(record) + b"\n")
    assert command("import", "app.ndjson", "--data-dir", target).out.startswith("added 2 records")
    assert [row[: EXTRA + 1] for row in stored(target)] == [record[: EXTRA + 1]] * 2
    assert command("import", "app.ndjson", "--data-dir", target).out.startswith("added 0 records")


def test_records_in_the_journal_are_left_to_the_server(command: Run, target: Path) -> None:
    """The store has lost its newest records, and the journal still has them."""
    journal = Journal(target / "journal", delay=0)
    for _ in range(10):
        assert journal.append(run_of(b"a" * 90), 1) is None
    assert journal.flush(30)
    node, end = journal.node, journal.end
    journal.close()
    records = [make_record(n, offset=end // 10 * n) for n in range(10)]
    (target / "logs").mkdir()
    with closing(open_day(target / "logs" / START_NAME, node)) as file:
        file.connection.execute("UPDATE cursor SET offset = ?", (records[4].offset,))
    source = write_day(target.parent / "copy/logs" / START_NAME, records, node).parents[1]
    result = command("import", source, "--data-dir", target)
    assert (result.code, result.out) == (0, added_and_left(target, 4, 6))
    assert "left to their servers" not in result.err  # its own: there is nothing to decide
    result = command("import", source, "--data-dir", target, "--gone", node)
    assert (result.code, f"that is the journal of {target};" in result.err) == (2, True)
    elsewhere = target / "elsewhere"  # the server does not store there
    store = f"sqlite://{elsewhere}"
    result = command("import", source, "--data-dir", target, "--store", store)
    assert (result.code, result.out) == (0, f"added 10 records to {elsewhere}\n")


def added_and_left(target: Path, added: int, left: int) -> str:
    return (
        f"added {added} records to {target}/logs; {left} are left to their servers, which have not "
        "stored that far\n"
    )


def write_node_of_a_stream(target: Path, records: int) -> Path:
    """Make the target a central that has stored the first records of a node, of ten.

    Returns:
        A data directory that has all ten, and five of another node.
    """
    position = SinkPosition(node=ONE, cursor=10 * records, durable=10 * records, index=4, at=0.0)
    write_position(target / "source", f"sqlite.{ONE}", position)
    if records:
        (target / "logs").mkdir()
        with closing(open_day(target / "logs" / START_NAME, ONE)) as file:
            file.connection.execute("UPDATE cursor SET offset = ?", (10 * records,))
    logs = target.parent / "copy" / "logs"
    write_day(logs / START_NAME, [make_record(n, offset=10 * n) for n in range(10)], ONE)
    other = [make_record(n, offset=10 * n) for n in range(5)]
    write_day(logs / START_NAME.replace(".db", ".1.db"), other, OTHER)
    return logs.parent


def test_records_that_come_from_a_stream_are_left_to_the_central(
    command: Run, target: Path
) -> None:
    source = write_node_of_a_stream(target, 4)
    result = command("import", source, "--data-dir", target)
    assert (result.code, result.out) == (0, added_and_left(target, 9, 6))
    assert f"left to their servers: {ONE}; if a server is gone for good" in result.err
    result = command("import", source, "--data-dir", target, "--gone", ONE.upper())
    text = f"added 6 records to {target}/logs; 9 were there already\n"
    assert (result.code, result.out) == (0, text)
    wrong = command("import", source, "--data-dir", target, "--gone", "ab12")
    assert (wrong.code, "32 hexadecimal digits" in wrong.err) == (2, True)


CENTRAL = """
data_dir = "target"
sink = ["sqlite:", "postgresql:///logs"]
[source]
url = "nats://host/LOGS"
sink = "{sink}"
"""


@pytest.mark.parametrize(("sink", "left"), [("sqlite", 10), ("postgresql", 0)])
def test_a_central_with_two_sinks_stores_the_stream_in_one(
    command: Run, target: Path, sink: str, left: int
) -> None:
    """There is no cursor in the day files: either none was stored yet, or the other sink does."""
    source = write_node_of_a_stream(target, 0)
    (target.parent / "fastlog.toml").write_text(CENTRAL.format(sink=sink))
    result = command("import", source, "--config", target.parent / "fastlog.toml")
    assert f"added {15 - left} records" in result.out
    assert ("10 are left to their servers" in result.out) == bool(left)


def test_a_sink_stores_into_a_file_that_an_import_writes(
    command: Run, exported: Path, target: Path
) -> None:
    """Both have the file open, and each continues after the other."""
    lines = exported.read_bytes().splitlines(keepends=True)[:50]
    start = float(json.loads(lines[0])["received"])
    chain = make_chain(([f"{n}"], start + n) for n in range(30))
    sink = make_sink(target)
    sink.open("00" * 16)
    for n, block in enumerate(chain):
        sink.apply([block])
        Path("some").write_bytes(b"".join(lines[: n + 1]))
        assert command("import", "some", "--data-dir", target).code == 0
    sink.sync()
    sink.close()
    assert len(stored(target)) == 60
    assert "sound" in command("check", "--deep", "--data-dir", target).out


def test_an_older_file_of_the_day_is_migrated(command: Run, exported: Path, target: Path):
    old = [make_record(n, offset=10 * n, extra=f'{{"n":{n}}}') for n in range(20)]
    write_old_day(target / "logs" / START_NAME, old, ONE)
    result = command("import", exported, "--data-dir", target)
    assert result.out == f"added 64 records to {target}/logs; 20 were there already\n"


def test_what_is_no_source_is_one_line(command: Run, store: Path, exported: Path, target: Path):
    def error(*words: object) -> str:
        result = command("import", *words)
        assert (result.out, result.err.count("\n")) == ("", 1)
        return result.err.removeprefix("fastlog import: ").strip()

    assert "does not exist; name an NDJSON file" in error("nothing", "--data-dir", target)
    assert "has no day files" in error(target, "--data-dir", target)
    assert "is the store that records" in error(store, "--data-dir", store)
    assert "does not exist; make it with mkdir" in error(exported, "--data-dir", "none")
    (target / "logs").mkdir()
    (target / "logs" / START_NAME).write_bytes(b"no database" * 1000)
    assert "is damaged" in error(exported, "--data-dir", target)
    with (target / "import.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert error(exported, "--data-dir", target) == f"another import into {target} is running"
