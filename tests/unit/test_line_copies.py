"""Copies of the files of an `ndjson:` sink, made while it rotates them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders import NODE, make_context, numbered

from fastlog.errors import FastlogError
from fastlog.sinks.ndjson import NdjsonSink
from fastlog.transfer import line_copies
from fastlog.transfer.line_copies import copy_lines


class Lines:
    """A sink with a small file, and its blocks."""

    def __init__(self, home: Path) -> None:
        self.home, self.path = home, home / "app.ndjson"
        context = make_context(home, f"ndjson://{self.path}?rotate_size=3KiB")
        self.name, self.sink = context.name, NdjsonSink(context)
        self.sink.open(NODE)
        self.blocks = numbered(60)
        self._rest = iter(self.blocks)

    def store(self, *_: object) -> bool:
        for block in (next(self._rest, None), next(self._rest, None)):
            if block is not None:
                self.sink.apply([block])
                self.sink.sync()
        return False

    def copy(self, reuse: Any, step: Any) -> line_copies.LineCopies:
        folder = self.home / "copies"
        return copy_lines(self.path, self.home, self.name, NODE, folder, reuse, step)

    def expected(self, offset: int) -> list[str]:
        blocks = [block for block in self.blocks if block.block.offset < offset]
        return [record.message for block in blocks for record in block.records]


def messages(copies: line_copies.LineCopies) -> list[str]:
    *rotated, last = sorted(copies.sources, key=lambda path: (path.suffix == ".ndjson", path))
    return [
        json.loads(line)["message"]
        for path in (*rotated, last)
        for line in path.read_text().splitlines()
    ]


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    return Lines(tmp_path)


def test_files_that_are_rotated_meanwhile_are_copied_once(lines: Lines) -> None:
    for _ in range(12):
        lines.store()
    copies = lines.copy(lines.store, lines.store)
    assert len(copies.sources) > 2
    assert messages(copies) == lines.expected(copies.offset)


@pytest.mark.parametrize("moment", ["_rotated", "identity_of"])
def test_a_rotation_between_two_looks_is_noticed(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    for _ in range(12):
        lines.store()
    look, left = getattr(line_copies, moment), 3

    def rotating(*args: Any) -> Any:
        nonlocal left
        left -= 1
        for _ in range(4 * (left >= 0)):
            lines.store()
        return look(*args)

    monkeypatch.setattr(line_copies, moment, rotating)
    monkeypatch.setattr(line_copies, "_PAUSE", 0.0)
    copies = lines.copy(lambda *_: False, lambda _: None)
    assert messages(copies) == lines.expected(copies.offset)


def test_another_file_in_its_place_is_an_error(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_copies, "_PAUSE", 0.0)
    lines.store()
    lines.path.rename(lines.home / "moved")
    lines.path.write_text("another\n")
    with pytest.raises(FastlogError, match="is not the file that the sink"):
        lines.copy(lambda *_: False, lambda _: None)
