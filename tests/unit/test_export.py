"""`fastlog export`: its forms, and that an interrupted one continues to the same bytes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Run
from day_files import START, START_NAME, make_record, write_day, write_old_day
from exports import ONE, make_store, place, stored

from fastlog.query import COLUMNS, EVERYTHING, Node
from fastlog.search import Progress, Unread, parts
from fastlog.search.day_store import DayStore
from fastlog.search.parts import Batch, Part
from fastlog.transfer import export_file
from fastlog.transfer.export_file import ExportFile

pytestmark = pytest.mark.usefixtures("nothing_configured")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store")


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "WINDOW", 7)


def test_lines_have_all_columns_in_order_of_arrival(command: Run, store: Path, tmp_path: Path):
    result = command("export", "--data-dir", store, "--output", "all.ndjson")
    assert result == (0, "exported 84 records to all.ndjson\n", "")
    lines = [json.loads(line) for line in Path("all.ndjson").read_text("utf-8").split("\n")[:-1]]
    assert [line["offset"] for line in lines[:50]] == [10 * n for n in range(50)]
    assert [line["id"] for line in lines[-2:]] == [f"{ONE}:100024:0", f"{'cd' * 16}:5:0"]
    assert len(lines) == len(stored(store))
    assert tuple(lines[0]) == (*COLUMNS, "time", "id")
    assert Path("all.ndjson").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part*"))


def test_filters_and_fields(command: Run, store: Path):
    words = ("export", "--data-dir", store, "--fields", "time,n", "n>=48 n<99")
    assert command(*words).out.splitlines() == [
        '{"time":"2023-11-14T22:14:08.000000+00:00","n":48}',
        '{"time":"2023-11-14T22:14:09.000000+00:00","n":49}',
    ]
    assert command(*words, "--format", "csv").out.splitlines()[:2] == [
        "time,n",
        "2023-11-14T22:14:08.000000+00:00,48",
    ]
    since = ("export", "--data-dir", store, "--since", "2023-11-15T12:00Z", "--until", "2023-11-17")
    assert len(command(*since).out.splitlines()) == 25


def test_cells_of_csv_are_no_formulas(command: Run, store: Path):
    command("export", "--data-dir", store, "--output", "all.csv")
    with Path("all.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 84
    assert "'=cmd" in {row["name"] for row in rows}


def test_parquet_has_typed_columns(command: Run, store: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert command("export", "--data-dir", store, "--output", "all.parquet").code == 0
    table = parquet.read_table("all.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert types["created"] == types["received"] == "double"
    assert types["levelno"] == types["offset"] == types["thread"] == "int64"
    assert types["message"] == types["extra"] == "string"
    assert types["time"] == "timestamp[us, tz=UTC]"
    values = [tuple(row[name] for name in table.column_names[:-1]) for row in table.to_pylist()]
    assert sorted(values, key=place) == [row[:-1] for row in stored(store)]
    command("export", "--data-dir", store, "--output", "two.parquet", "--fields", "created,message")
    assert parquet.read_schema("two.parquet").names == ["created", "message"]
    result = command("export", "--data-dir", store, "--output", "x.parquet", "--fields", "extra.n")
    assert (result.code, "columns only, and extra.n is none" in result.err) == (2, True)


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_older_versions_have_the_same_lines(command: Run, tmp_path: Path, version: int):
    records = [make_record(n, offset=10 * n) for n in range(30)]
    write_day(tmp_path / "new/logs" / START_NAME, records, ONE)
    write_old_day(tmp_path / "old/logs" / START_NAME, records, ONE, version=version)
    printed = [
        command("export", "--data-dir", tmp_path / name, "--since", "2023-11-14T22:13:25Z").out
        for name in ("new", "old")
    ]
    assert printed[0] == printed[1]
    assert printed[0].count("\n") == 25


def test_large_records_are_read_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parts, "BATCH_BYTES", 5_000)
    records = [make_record(n, offset=n, message="x" * 2_000) for n in range(30)]
    store = DayStore(write_day(tmp_path / "logs" / START_NAME, records, ONE).parent)
    [part] = store.parts(EVERYTHING)
    batches = list(store.read_part(part, 0, EVERYTHING, Progress()))
    assert [batch.position for batch in batches] == list(range(2, 31, 2))
    assert [each.record.offset for batch in batches for each in batch.found] == list(range(30))


class Killed(BaseException):
    """What a test raises where a process is killed."""


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet"])
@pytest.mark.parametrize("saves", [True, False])
def test_an_export_that_is_killed_anywhere_continues_to_the_same_bytes(
    command: Run, store: Path, monkeypatch: pytest.MonkeyPatch, form: str, saves: bool
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow.parquet")
        monkeypatch.setattr("fastlog.transfer.parquet.ROWS", 15)
    words = ("export", "--data-dir", store, "--format", form, "n>5 OR message:message")
    command(*words, "--output", "whole")
    whole = Path("whole").read_bytes()
    monkeypatch.setattr(export_file, "SAVE_INTERVAL", 0.0 if saves else 1e9)
    reached, kills = ExportFile.reached, 0
    while True:
        left = kills % 5

        def killing(self: ExportFile, part: int, position: int, records: int) -> None:
            nonlocal left
            reached(self, part, position, records)
            left -= 1
            if left < 0:
                self.write(b"what no state counts")
                raise Killed

        monkeypatch.setattr(ExportFile, "reached", killing)
        if kills == 12 and not saves:
            monkeypatch.setattr(ExportFile, "reached", reached)  # nothing is saved: at last, whole
        try:
            result = command(*words, "--output", "part", *(["--resume"] if kills else []))
        except Killed:
            kills += 1
            assert not Path("part").exists()
            # A record that comes now is not part of this export.
            late = make_record(99, offset=200_000 + kills, message="message late")
            write_day(store / "logs" / START_NAME, [late], ONE)
            continue
        assert result.code == 0
        break
    assert kills > (1 if form == "parquet" else 3)
    assert Path("part").read_bytes() == whole
    assert not [*Path().glob("*.part*")]
    assert command(*words, "--output", "part", "--resume").out == "part is complete already\n"


@pytest.mark.parametrize("is_made", [True, False])
def test_a_parquet_file_that_is_being_made_of_the_stream_is_made_again(
    command: Run, store: Path, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    pytest.importorskip("pyarrow.parquet")
    from fastlog.transfer import parquet

    make = parquet.make_parquet
    words = ("export", "--data-dir", store, "--output")
    command(*words, "whole.parquet")

    def killing(stream: Path, target: Path, must_stop: Callable[[], bool]) -> bool:
        make(stream, target, must_stop if is_made else lambda: True)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(parquet, "make_parquet", killing)
        for more in ([], ["--resume"]):
            with pytest.raises(Killed):
                command(*words, "part.parquet", *more)
    assert not Path("part.parquet").exists()
    result = command(*words, "part.parquet", "--resume")
    assert result.out == "exported 84 records to part.parquet\n"
    assert Path("part.parquet").read_bytes() == Path("whole.parquet").read_bytes()
    assert not [*Path().glob("*.part*")]


@pytest.mark.usefixtures("small_windows")
def test_a_parquet_export_that_is_interrupted_continues_to_the_same_bytes(
    command: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("fastlog.transfer.parquet.ROWS", 30)
    words = ("export", "--data-dir", store, "--output")
    command(*words, "whole.parquet")
    read_part, batches = DayStore.read_part, 0

    def interrupted(self: DayStore, part: Part, position: int, query: Node, progress: Progress,
                    unread: Unread | None = None) -> Iterator[Batch]:  # fmt: skip
        nonlocal batches
        for batch in read_part(self, part, position, query, progress, unread):
            batches += 1
            if batches == 7:
                progress.interrupt()
            yield batch

    monkeypatch.setattr(DayStore, "read_part", interrupted)
    result = command(*words, "part.parquet")
    assert (result.code, "--resume continues" in result.err) == (130, True)
    assert command(*words, "part.parquet", "--resume").code == 0
    assert Path("part.parquet").read_bytes() == Path("whole.parquet").read_bytes()


def test_a_parquet_file_without_records_can_be_read(command: Run, store: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    words = ("export", "--data-dir", store, "--output", "none.parquet", "nowhere")
    assert command(*words).code == 0
    assert parquet.read_table("none.parquet").num_rows == 0


@pytest.mark.usefixtures("small_windows")
def test_only_the_same_export_is_continued(
    command: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killing(self: ExportFile, *_: int) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(ExportFile, "reached", killing)
        with pytest.raises(Killed):
            command("export", "--data-dir", store, "--output", "a", "n>5")
    result = command("export", "--data-dir", store, "--output", "a", "n>6", "--resume")
    assert result == (
        1,
        "",
        "fastlog export: a.part was begun with other arguments; name the same ones, or begin again "
        "without --resume\n",
    )
    assert command("export", "--data-dir", store, "--output", "a", "n>6").code == 0
    assert len(Path("a").read_bytes().splitlines()) == 45


@pytest.mark.usefixtures("small_windows")
def test_a_file_that_retention_deletes_meanwhile_makes_it_incomplete(
    command: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = ExportFile.reached

    def deleting(self: ExportFile, part: int, position: int, records: int) -> None:
        (store / "logs" / "2023-11-15.db").unlink(missing_ok=True)
        reached(self, part, position, records)

    monkeypatch.setattr(ExportFile, "reached", deleting)
    result = command("export", "--data-dir", store, "--output", "a")
    assert (result.code, result.out) == (3, "exported 59 records to a\n")
    assert "2023-11-15.db was deleted while it was read" in result.err


def test_a_relative_time_means_that_of_the_begin(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_day(tmp_path / "d/logs" / START_NAME, [make_record(n) for n in range(20)], ONE)
    words = ("export", "--data-dir", tmp_path / "d", "--since", "10s", "--output", "a")
    monkeypatch.setattr("time.time", lambda: START + 15)

    def killing(self: ExportFile, *_: int) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(ExportFile, "reached", killing)
        with pytest.raises(Killed):
            command(*words)
    monkeypatch.setattr("time.time", lambda: START + 100)
    assert command(*words, "--resume").out == "exported 15 records to a\n"
