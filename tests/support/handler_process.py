"""The fastlog handler in a process of another interpreter, which logs numbered records."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

from interpreters import environment
from places import CLIENT, SUPPORT


class HandlerProcess:
    """The fastlog handler in a process of another interpreter."""

    def __init__(
        self, port: int, name: str, python: Path | str, pause: float = 5, spool: Path | None = None
    ) -> None:
        """Start it; it pauses for so many milliseconds after each record."""
        self.name, self.sent = name, 0
        arguments = [str(CLIENT), str(port), name, str(pause), *([str(spool)] if spool else [])]
        self.process = subprocess.Popen(
            [python, SUPPORT / "clients" / "log_for_ever.py", *arguments],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ended: dict[str, Any] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self._ended = json.loads(line)
            else:
                self.sent = int(line)

    def stop(self) -> dict[str, Any]:
        """Let the process end by itself, and return its stats."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self._reader.join(30)
        self.sent = self._ended["sent"]
        return dict(self._ended["stats"])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(30)
