"""Running drills: what they need in their environment, and what they leave behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from places import CLIENT


@pytest.fixture
def with_client(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Let started programs import fastlog_client; return their environment."""
    path = os.pathsep.join([str(CLIENT), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    return {**os.environ, "PYTHONPATH": path}


def left_behind(place: Path) -> list[str]:
    """Return what a drill has not removed of a directory: files, and processes that use it."""
    found = [str(path) for path in place.iterdir()]
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (
                str(place) in str((entry / "cwd").readlink())
                or str(place) in (entry / "cmdline").read_text()
            ):
                found.append(entry.name)
        except OSError:
            continue
    return found
