"""The ndjson sink: its lines, and each record exactly once after a crash at any moment."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import (
    DAY,
    MONDAY,
    NODE,
    Clock,
    Fuse,
    decoded_of,
    in_child,
    make_context,
    make_decoded,
    make_record,
    messages_of,
    numbered,
    rest_of,
)

from fastlog.errors import ConfigError, SinkConflictError, SinkError, SinkUnavailableError
from fastlog.record import Record
from fastlog.sinks import line_file
from fastlog.sinks.ndjson import NdjsonSink


def make(tmp_path: Path, options: str = "", **context: object) -> NdjsonSink:
    url = f"ndjson://{tmp_path}/out/app.ndjson{options}"
    return NdjsonSink(make_context(tmp_path / "data", url, **context))


def lines(tmp_path: Path, name: str = "app.ndjson") -> list[Any]:
    text = (tmp_path / "out" / name).read_bytes()
    assert not text or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def all_messages(tmp_path: Path) -> list[str]:
    """Return the messages of the rotated files and the current one, in the order of their names."""
    rotated = sorted(path.name for path in (tmp_path / "out").glob("app.ndjson.*"))
    return [line["message"] for name in [*rotated, "app.ndjson"] for line in lines(tmp_path, name)]


def test_a_line_is_one_object_with_the_records_names(tmp_path: Path) -> None:
    record = make_record("ä\n語", extra='{"n":12345678901234567890123,"x":[1.5,null]}', idx=4)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply([decoded_of(make_decoded(["x"]).block, [record])])

    (line,) = lines(tmp_path)

    assert list(line) == list(Record._fields)
    assert line["extra"] == {"n": 12345678901234567890123, "x": [1.5, None]}
    assert {**line, "extra": record.extra} == record._asdict()


def test_it_resumes_at_its_cursor_and_rejects_a_block_that_is_written(tmp_path: Path) -> None:
    chain = numbered(4)
    sink = make(tmp_path)
    assert sink.open(NODE) == 0
    sink.apply(chain[:2])
    assert sink.sync() == sink.cursor() == chain[1].block.end
    with pytest.raises(SinkConflictError):
        sink.apply(chain[1:])
    sink.close()

    again = make(tmp_path)
    assert again.open(NODE) == chain[1].block.end
    again.apply(chain[2:])
    assert all_messages(tmp_path) == messages_of(chain)


def test_lines_that_were_not_synced_are_cut_off_and_written_again(tmp_path: Path) -> None:
    chain = numbered(4)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    sink.sync()
    sink.apply(chain[1:3])
    with (tmp_path / "out" / "app.ndjson").open("ab") as file:
        file.write(b'{"half a li')  # as a kill in the middle of a write leaves behind

    again = make(tmp_path)
    assert again.open(NODE) == chain[0].block.end
    again.apply(rest_of(chain, again.cursor()))
    assert all_messages(tmp_path) == messages_of(chain)


def test_killed_at_any_step_it_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step is a system call of writing, syncing, saving or rotating; also half a write is one."""
    chain = numbered(6, per_block=4)
    real_write = os.write

    def run_sink(directory: Path, fuse: Fuse | None) -> None:
        def half_write(fd: int, data: bytes) -> int:
            fuse.spark()
            written = real_write(fd, bytes(data)[: max(1, len(data) // 2)])
            fuse.spark()
            return written

        def half_writev(fd: int, pieces: Sequence[bytes]) -> int:
            return half_write(fd, b"".join(pieces))

        with monkeypatch.context() as patched:
            if fuse is not None:
                patched.setattr(os, "write", half_write)
                patched.setattr(os, "writev", half_writev)
                for target, name in (
                    (os, "fdatasync"),
                    (os, "fsync"),
                    (os, "open"),
                    (os, "ftruncate"),
                    (Path, "rename"),
                    (Path, "replace"),
                ):
                    patched.setattr(target, name, sparking(getattr(target, name), fuse))
            sink = make(directory, "?rotate_size=2500")
            for decoded in rest_of(chain, sink.open(NODE)):
                sink.apply([decoded])
                if decoded.block.index % 8 == 0:
                    sink.sync()
            sink.sync()
            sink.close()

    length, died = 0, True
    while died:
        directory = tmp_path / str(length)
        died = in_child(lambda d=directory, n=length: run_sink(d, Fuse(n))) == signal.SIGKILL
        in_child(lambda d=directory, n=length: run_sink(d, Fuse(n // 2)))
        run_sink(directory, None)
        assert all_messages(directory) == messages_of(chain), f"killed at step {length}"
        length += 1
    assert len(list((directory / "out").iterdir())) >= 3
    assert length > 50


def sparking(work: Any, fuse: Fuse) -> Any:
    def sparked(*args: Any, **kwargs: Any) -> Any:
        fuse.spark()
        return work(*args, **kwargs)

    return sparked


def test_lines_are_durable_before_the_cursor_that_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = numbered(2)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    order: list[str] = []
    real_sync, real_replace = os.fdatasync, Path.replace

    def sync(fd: int) -> None:
        order.append(f"sync {Path(f'/proc/self/fd/{fd}').readlink().name}")
        real_sync(fd)

    def replace(self: Path, target: Path) -> Path:
        order.append(f"replace {target.name}")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fdatasync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    sink.sync()

    assert order == ["sync app.ndjson", f"sync .ndjson.json.{os.getpid()}", "replace ndjson.json"]
    assert sink.sync() == chain[0].block.end
    assert len(order) == 3, "nothing new, nothing to sync"


def test_it_rotates_by_size_and_keeps_the_configured_number(tmp_path: Path) -> None:
    chain = numbered(6, per_block=4)
    sink = make(tmp_path, "?rotate_size=1000&keep=2")
    sink.open(NODE)
    for decoded in chain:
        sink.apply([decoded])

    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["app.ndjson", "app.ndjson.000005", "app.ndjson.000006"]
    assert all_messages(tmp_path) == messages_of(chain[4:])
    assert sink.sync() == chain[-1].block.end


def test_it_rotates_by_time_but_never_an_empty_file(tmp_path: Path) -> None:
    clock = Clock()
    chain = numbered(2)
    sink = make(tmp_path, "?rotate_every=1d", clock=clock, steady=clock)
    sink.open(NODE)
    sink.apply(chain[:1])
    clock.now = MONDAY + DAY - 1
    sink.tick()
    assert len(lines(tmp_path)) == 3
    clock.now = MONDAY + DAY
    sink.tick()
    sink.tick()
    clock.now += 5 * DAY
    sink.tick()
    sink.apply(chain[1:])

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "app.ndjson",
        "app.ndjson.000001",
    ]
    assert all_messages(tmp_path) == messages_of(chain)


@pytest.mark.parametrize("jump", [1000 * DAY, -1000 * DAY, 5.0])
def test_a_clock_that_is_set_neither_rotates_nor_stops_the_rotation(
    tmp_path: Path, jump: float
) -> None:
    clock, steady = Clock(), Clock()
    sink = make(tmp_path, "?rotate_every=1d&keep=1", clock=clock, steady=steady)
    sink.open(NODE)
    sink.apply(numbered(1))
    clock.now += jump
    sink.tick()
    clock.now += DAY - 10
    steady.now += DAY - 10
    sink.tick()
    assert len(lines(tmp_path)) == 3
    clock.now += 10
    steady.now += 10
    sink.tick()
    assert lines(tmp_path) == []


def test_a_file_of_a_clock_that_was_ahead_before_a_restart_is_rotated_in_time(
    tmp_path: Path,
) -> None:
    wrong = Clock(MONDAY + 1000 * DAY)
    sink = make(tmp_path, "?rotate_every=1d", clock=wrong, steady=wrong)
    sink.open(NODE)
    sink.apply(numbered(1))
    sink.sync()
    sink.close()
    clock = Clock()
    sink = make(tmp_path, "?rotate_every=1d", clock=clock, steady=clock)
    sink.open(NODE)
    sink.tick()
    clock.now += DAY
    sink.tick()
    assert lines(tmp_path) == []


def test_the_lines_of_an_existing_file_stay(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "app.ndjson").write_bytes(b'{"message": "old"}\n{"message": "cut"}')
    chain = numbered(2)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain)
    sink.close()  # killed before it was synced

    again = make(tmp_path)
    again.apply(rest_of(chain, again.open(NODE)))
    assert all_messages(tmp_path) == ["old", "cut", *messages_of(chain)]


def test_a_file_that_became_shorter_is_neither_truncated_nor_filled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = numbered(3)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:2])
    sink.sync()
    sink.close()
    path = tmp_path / "out" / "app.ndjson"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])

    again = make(tmp_path)
    assert again.open(NODE) == chain[1].block.end
    again.apply(chain[2:])

    assert all_messages(tmp_path) == ["0", *messages_of(chain[2:])]
    assert "is shorter" in caplog.text


def test_another_file_with_the_same_inode_number_is_not_truncated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """File systems give the number of a deleted file to the next one."""
    chain = numbered(2)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    sink.sync()
    sink.close()
    path = tmp_path / "out" / "app.ndjson"
    other = '{"message": "other"}\n' * 100
    with path.open("r+") as file:
        file.write(other)

    again = make(tmp_path)
    again.open(NODE)
    again.apply(chain[1:])

    assert all_messages(tmp_path) == ["other"] * 100 + messages_of(chain[1:])
    assert "in the same place" in caplog.text


def test_after_logrotate_it_continues_in_the_new_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = numbered(3)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    (tmp_path / "out" / "app.ndjson").rename(tmp_path / "out" / "app.ndjson.1")
    sink.apply(chain[1:2])
    sink.sync()
    sink.apply(chain[2:])
    sink.sync()

    assert [line["message"] for line in lines(tmp_path, "app.ndjson.1")] == messages_of(chain[:2])
    assert [line["message"] for line in lines(tmp_path)] == messages_of(chain[2:])
    assert "was moved or replaced" in caplog.text


def test_killed_after_logrotate_the_renamed_file_is_truncated_and_nothing_is_doubled(
    tmp_path: Path,
) -> None:
    chain = numbered(3)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    sink.sync()
    sink.apply(chain[1:2])
    (tmp_path / "out" / "app.ndjson").rename(tmp_path / "out" / "app.ndjson.1")
    (tmp_path / "out" / "app.ndjson").touch()

    again = make(tmp_path)
    again.apply(rest_of(chain, again.open(NODE)))

    assert all_messages(tmp_path) == messages_of(chain)


def test_a_file_that_copytruncate_has_cut_is_logged_and_still_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = numbered(2)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    sink.sync()
    os.truncate(tmp_path / "out" / "app.ndjson", 0)
    sink.apply(chain[1:])
    sink.sync()
    sink.close()

    assert make(tmp_path).open(NODE) == chain[1].block.end
    assert all_messages(tmp_path) == messages_of(chain[1:])
    assert "another program writes it" in caplog.text


@pytest.mark.parametrize("call", ["writev", "fdatasync"])
def test_after_a_full_disk_the_file_is_truncated_to_what_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    chain = numbered(3)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    sink.sync()
    sink.apply(chain[1:2])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(line_file.os, call, full)
        with pytest.raises(SinkUnavailableError, match="No space left"):
            sink.apply(chain[2:])
            sink.sync()
    with pytest.raises(SinkConflictError):
        sink.apply(chain[2:])
    sink.apply(rest_of(chain, sink.open(NODE)))
    sink.sync()

    assert all_messages(tmp_path) == messages_of(chain)


def test_more_blocks_than_one_writev_takes_are_all_written(tmp_path: Path) -> None:
    chain = numbered(os.sysconf("SC_IOV_MAX") + 1)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain)
    assert all_messages(tmp_path) == messages_of(chain)
    assert sink.sync() == chain[-1].block.end


def test_another_journal_begins_at_zero_and_truncates_nothing(tmp_path: Path) -> None:
    chain = numbered(2)
    sink = make(tmp_path)
    sink.open(NODE)
    sink.apply(chain)
    sink.close()

    again = make(tmp_path)
    assert again.open("ff" * 16) == 0
    again.apply(chain[:1])
    assert all_messages(tmp_path) == messages_of(chain) + messages_of(chain[:1])


def test_a_damaged_cursor_is_an_error_with_the_path(tmp_path: Path) -> None:
    sink = make(tmp_path)
    sink.open(NODE)
    sink.close()
    (tmp_path / "data" / "cursors" / "ndjson.json").write_text("{")

    with pytest.raises(SinkError, match=r"ndjson\.json is damaged"):
        make(tmp_path).open(NODE)


def test_a_path_that_is_no_regular_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "app.ndjson")
    with pytest.raises(SinkUnavailableError, match="not a regular file"):
        make(tmp_path).open(NODE)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("ndjson:", "expected ndjson:///path"),
        ("ndjson://host/file", "expected ndjson:///path"),
        ("ndjson:///dir/", "expected ndjson:///path"),
        ("ndjson:///f?rotate_sise=1", "did you mean 'rotate_size'"),
        ("ndjson:///f?rotate_every=soon", "a time such as 1d"),
        ("ndjson:///f?keep=0", "keep is a number"),
        ("ndjson:///f?keep=1&keep=2", "given twice"),
    ],
)
def test_a_wrong_url_is_explained(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        NdjsonSink(make_context(tmp_path, url))
