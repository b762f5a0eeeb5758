"""The peers in `peers/`, and other programs with the same interface: the path of the output file is
an argument, and the program prints its port when it listens."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import build
from bench.output import Counter, LinesFile, Output
from bench.places import PEERS
from bench.servers.base import Server, ServerError


class Program(Server):
    """Any command. `{output}` in it is the output file: a line a record."""

    def __init__(self, name: str, words: Sequence[str | Path], family: str = "other") -> None:
        super().__init__(name, family)
        self._words = words

    def command(self, home: Path) -> Sequence[str | Path]:
        return [str(word).replace("{output}", str(home / "lines")) for word in self._words]

    def port(self, process: subprocess.Popen[str], home: Path) -> int:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise ServerError(f"it prints {line!r} instead of a port.")
        return int(line)

    def output(self, home: Path) -> Output:
        return LinesFile(home / "lines")


class PythonPeer(Program):
    """A server in Python that unpickles, with plain `loads` or with a restricted Unpickler."""

    def __init__(self, name: str, file: str, *flags: str, holds_idle: bool = False) -> None:
        super().__init__(name, [sys.executable, PEERS / file, "{output}", *flags], "python")
        self._needs = ["orjson", *(["uvloop"] if "--uvloop" in flags else [])]
        self.holds_idle = holds_idle

    def missing(self) -> str:
        absent = [name for name in self._needs if importlib.util.find_spec(name) is None]
        return f"{' and '.join(absent)} not installed (pip install .[bench])" if absent else ""


class ReceiveFloor(Program):
    """`peers/recv.c`, which only receives and splits frames."""

    def __init__(self) -> None:
        super().__init__("recv and split in C", [build.program("recv"), "{output}"], "floor")

    def output(self, home: Path) -> Output:
        return Counter(home / "lines")
