"""The page on the query language: each example finds the records that it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import command_for
from day_files import START_NAME, make_record, write_day
from places import ROOT
from searches import messages

PAGE = (ROOT / "docs" / "query.md").read_text("utf-8")
EXAMPLES = [
    (query.replace("\\|", "|"), [] if found == "none" else list(map(int, found.split(", "))))
    for query, found in re.findall(
        r"^\| `(.+)` \| (none|\d(?:, \d)*) \|$", PAGE, flags=re.MULTILINE
    )
]
MISTAKES = re.findall(r"^\$ fastlog query (.*)\n(fastlog query: .*)$", PAGE, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    [block] = re.findall(r"^```json\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    directory = tmp_path_factory.mktemp("page") / "logs"
    records: list[dict[str, Any]] = [json.loads(line) for line in block.splitlines()]
    write_day(
        directory / START_NAME,
        [
            make_record(
                record.pop("#"), exc_text=record.pop("exc_text", None),
                extra=json.dumps(record.pop("extra"), separators=(",", ":")), **record,
            )
            for record in records
        ],
    )  # fmt: skip
    return directory


def number(message: str) -> int:
    ordered = ["started", "slow", "query", "Disk", "GET"]
    return 1 + ordered.index(message.split()[0])


@pytest.mark.parametrize(("query", "expected"), EXAMPLES)
def test_an_example_finds_the_records_that_it_says(logs: Path, query: str, expected: list[int]):
    assert list(map(number, messages(logs, query))) == expected


def test_the_page_has_examples_of_all_kinds():
    assert len(EXAMPLES) > 50
    assert len(MISTAKES) == 4


@pytest.mark.parametrize(("arguments", "line"), MISTAKES)
def test_a_mistake_gives_the_line_that_the_page_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, line: str
):
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", arguments)]
    (tmp_path / "fastlog-data").mkdir()
    result = command_for(tmp_path, capsys)("query", *words)
    assert (result.code, result.out, result.err) == (2, "", f"{line}\n")
