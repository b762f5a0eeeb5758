"""A shell in a pseudo-terminal, to which a test types."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from conditions import SECONDS

HOME, END = "\x01", "\x05"
"""Ctrl-A and Ctrl-E: to the beginning and the end of the line."""


class TypedShell:
    """A shell in a pseudo-terminal of its own; killed at the end."""

    def __init__(self, words: Sequence[str], environ: Mapping[str, str]) -> None:
        self.output = ""
        """All that it has printed so far."""
        self._read = 0
        self._pid, self._descriptor = pty.fork()
        if not self._pid:
            try:
                os.execvpe(words[0], list(words), dict(environ))
            finally:
                os._exit(127)

    def __enter__(self) -> TypedShell:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._descriptor)
        print(self.output)  # pytest prints it if the test has failed

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def wait(self, pattern: str, seconds: float = SECONDS) -> str:
        """Read until the program has printed this, after what earlier calls have returned.

        Args:
            pattern: A regular expression with a group, whose text is returned.
        """
        deadline = time.monotonic() + seconds
        while not (found := re.compile(pattern).search(self.output, self._read)):
            left = deadline - time.monotonic()
            assert left > 0, f"not printed: {pattern!r}; but {self.output[self._read :]!r}"
            if select.select([self._descriptor], [], [], left)[0]:
                self.output += os.read(self._descriptor, 65536).decode(errors="replace")
        self._read = found.end()
        return found[1]
