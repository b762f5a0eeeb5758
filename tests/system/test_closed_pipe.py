"""A shell pipeline that follows the records of a server to which nobody sends any more."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from servers import FASTLOG, Server

DEADLINE = 60.0


def test_tail_ends_with_the_last_command_of_its_pipeline(tmp_path: Path):
    with Server(tmp_path) as server:
        subprocess.run([FASTLOG, "send", "--url", server.urls()[0], "hello"], check=True)
        server.wait_stored(1)
        line = f"'{FASTLOG}' tail -f --data-dir '{server.data}' | head -1"
        with subprocess.Popen(
            ["sh", "-c", line],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        ) as shell:  # fmt: skip
            try:
                output, messages = shell.communicate(timeout=DEADLINE)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
        assert (shell.returncode, messages) == (0, "")
        assert output.rstrip().endswith("hello")
