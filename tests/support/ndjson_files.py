"""Ndjson sinks, and the lines that they have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from builders import make_context

from fastlog.sinks.ndjson import NdjsonSink


def make_sink(tmp_path: Path, options: str = "", **context: object) -> NdjsonSink:
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
