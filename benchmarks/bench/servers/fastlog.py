"""fastlog-server with default settings."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.output import DayFiles, LinesFile, Output
from bench.servers.base import Server, ServerError

PROGRAMS = Path(sys.executable).parent

CONFIG = """\
# Where a sink falls behind, the generator waits as it does for every other server. By default
# fastlog would go on reading and, with a full journal, drop and count.
[journal]
when_full = "pause"

[decode]
engine = "{engine}"
"""


class FastlogServer(Server):
    """With one sink; journal, syncs and ledger are as they come.

    Args:
        programs: the folder with the `fastlog-server` to start; this interpreter's by default.
    """

    def __init__(self, name: str, sink: str, engine: str = "c", programs: Path = PROGRAMS) -> None:
        super().__init__(name, "fastlog")
        self._sink, self._engine, self._programs = sink, engine, programs
        self.holds_idle = engine == "c"

    def command(self, home: Path) -> Sequence[str | Path]:
        config = home / "fastlog.toml"
        config.write_text(CONFIG.format(engine=self._engine))
        url = "sqlite:" if self._sink == "sqlite" else f"ndjson://{home}/lines"
        return [
            self._programs / "fastlog-server", "--config", config,
            "--listen", "tcp://127.0.0.1:0", "--data-dir", home / "data", "--sink", url,
        ]  # fmt: skip

    def port(self, process: subprocess.Popen[str], home: Path) -> int:
        assert process.stdout is not None
        url = process.stdout.readline().partition(" listening on ")[2].partition(";")[0]
        if not url:
            raise ServerError("it prints no URL.")
        return int(url.rpartition(":")[2])

    def output(self, home: Path) -> Output:
        return DayFiles(home / "data") if self._sink == "sqlite" else LinesFile(home / "lines")
