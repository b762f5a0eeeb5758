"""Spool folders that another user has planted or damaged."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from fastlog_client.entry import make_entry

VICTIM, ATTACKER = 65533, 65534
SECRET = "root:x:0:0:root:/root:/bin/bash\n" * 4
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")


def make_folder(spool: Path, letter: str) -> Path:
    folder = spool / (letter * 32)
    folder.mkdir()
    (folder / "lock").touch()
    return folder


def make_segment(folder: Path, base: int, number: int) -> None:
    body = pickle.dumps({"number": 666, "sender": "attacker"}, 2)
    (folder / f"{base:016x}.seg").write_bytes(make_entry(number, len(body), body))
