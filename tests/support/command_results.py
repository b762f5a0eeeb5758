"""The results of command lines, and the status of a receiver that commands read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

DEADLINE = 20.0


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]

STATUS = {
    "at": 0.0, "durable": 5000, "oldest": 0, "index": 100, "size": 5000, "limit": 1 << 30,
    "connections": 3, "accepted": 7, "frames": 100, "dropped": 2, "rejected": {"http": 4},
    "failure": None,
}  # fmt: skip
