"""The ndjson sink writes each record as one line, exactly once after a crash at any moment."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import (
    NODE,
    Fuse,
    decoded_of,
    in_child,
    make_decoded,
    make_record,
    messages_of,
    numbered,
    rest_of,
)
from ndjson_files import all_messages, lines, make_sink

from fastlog.errors import SinkConflictError, SinkError, SinkUnavailableError
from fastlog.record import Record
from fastlog.sinks import line_file


def test_a_line_is_one_object_with_the_records_names(tmp_path: Path) -> None:
    record = make_record("ä\n語", extra='{"n":12345678901234567890123,"x":[1.5,null]}', idx=4)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply([decoded_of(make_decoded(["x"]).block, [record])])

    (line,) = lines(tmp_path)

    assert list(line) == list(Record._fields)
    assert line["extra"] == {"n": 12345678901234567890123, "x": [1.5, None]}
    assert {**line, "extra": record.extra} == record._asdict()


def test_it_resumes_at_its_cursor_and_rejects_a_block_that_is_written(tmp_path: Path) -> None:
    chain = numbered(4)
    sink = make_sink(tmp_path)
    assert sink.open(NODE) == 0
    sink.apply(chain[:2])
    assert sink.sync() == sink.cursor() == chain[1].block.end
    with pytest.raises(SinkConflictError):
        sink.apply(chain[1:])
    sink.close()

    again = make_sink(tmp_path)
    assert again.open(NODE) == chain[1].block.end
    again.apply(chain[2:])
    assert all_messages(tmp_path) == messages_of(chain)


def test_lines_that_were_not_synced_are_cut_off_and_written_again(tmp_path: Path) -> None:
    chain = numbered(4)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain[:1])
    sink.sync()
    sink.apply(chain[1:3])
    with (tmp_path / "out" / "app.ndjson").open("ab") as file:
        file.write(b'{"half a li')  # as a kill in the middle of a write leaves behind

    again = make_sink(tmp_path)
    assert again.open(NODE) == chain[0].block.end
    again.apply(rest_of(chain, again.cursor()))
    assert all_messages(tmp_path) == messages_of(chain)


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_step_it_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int
) -> None:
    """A step is a system call of writing, syncing, saving or rotating; also half a write is one.

    With a stride, the first step is another one each time.
    """
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
            sink = make_sink(directory, "?rotate_size=2500")
            for decoded in rest_of(chain, sink.open(NODE)):
                sink.apply([decoded])
                if decoded.block.index % 8 == 0:
                    sink.sync()
            sink.sync()
            sink.close()

    length, died = random.randrange(stride), True
    while died:
        directory = tmp_path / str(length)
        died = in_child(lambda d=directory, n=length: run_sink(d, Fuse(n))) == signal.SIGKILL
        in_child(lambda d=directory, n=length: run_sink(d, Fuse(n // 2)))
        run_sink(directory, None)
        assert all_messages(directory) == messages_of(chain), f"killed at step {length}"
        length += stride
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
    sink = make_sink(tmp_path)
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


@pytest.mark.parametrize("call", ["writev", "fdatasync"])
def test_after_a_full_disk_the_file_is_truncated_to_what_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    chain = numbered(3)
    sink = make_sink(tmp_path)
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
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain)
    assert all_messages(tmp_path) == messages_of(chain)
    assert sink.sync() == chain[-1].block.end


def test_another_journal_begins_at_zero_and_truncates_nothing(tmp_path: Path) -> None:
    chain = numbered(2)
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.apply(chain)
    sink.close()

    again = make_sink(tmp_path)
    assert again.open("ff" * 16) == 0
    again.apply(chain[:1])
    assert all_messages(tmp_path) == messages_of(chain) + messages_of(chain[:1])


def test_a_damaged_cursor_is_an_error_with_the_path(tmp_path: Path) -> None:
    sink = make_sink(tmp_path)
    sink.open(NODE)
    sink.close()
    (tmp_path / "data" / "cursors" / "ndjson.json").write_text("{")

    with pytest.raises(SinkError, match=r"ndjson\.json is damaged"):
        make_sink(tmp_path).open(NODE)
