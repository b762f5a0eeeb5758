"""`fastlog tail -f`, `stats --watch`, and the end of their reader, while no record arrives."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from commands import DEADLINE
from day_files import make_record, write_day

pytestmark = pytest.mark.usefixtures("nothing_configured")

TAIL = [sys.executable, "-m", "fastlog", "tail", "-f", "-n", "1", "--json"]


def started(output: int, words: list[str] = TAIL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdout=output, stderr=subprocess.PIPE)


def has_ended_quietly(process: subprocess.Popen[bytes]) -> bool:
    try:
        _, messages = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert messages == b""
    return process.returncode == 0


def test_tail_ends_when_its_pipe_is_closed(data: Path):
    reader, writer = os.pipe()
    with started(writer) as process:
        os.close(writer)
        assert b"message 9" in os.read(reader, 4096)
        os.close(reader)
        assert has_ended_quietly(process)


def test_stats_ends_when_its_pipe_is_closed(data: Path):
    reader, writer = os.pipe()
    words = [sys.executable, "-m", "fastlog", "stats", "--json", "--watch", "80000"]
    with started(writer, words) as process:
        os.close(writer)
        assert b'"records":10' in os.read(reader, 65536)
        os.close(reader)
        assert has_ended_quietly(process)


def test_tail_ends_when_its_socket_is_closed(data: Path):
    reader, writer = socket.socketpair()
    with started(writer.fileno()) as process:
        writer.close()
        assert b"message 9" in reader.recv(4096)
        reader.close()
        assert has_ended_quietly(process)


@pytest.mark.parametrize("kind", ["file", "pipe", "terminal"])
def test_tail_continues_while_its_output_is_open(kind: str, data: Path, tmp_path: Path):
    """It still runs after many of its waits, and then prints what arrives."""
    if kind == "file":
        writer = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
        reader = os.open(tmp_path / "out", os.O_RDONLY)
    else:
        reader, writer = os.pipe() if kind == "pipe" else pty.openpty()
    with started(writer) as process:
        os.close(writer)
        try:
            output = b""
            for number in range(10, 20):
                write_day(data / "logs" / "2026-11-24.db", [make_record(number)])
                while b"message %d" % number not in output:
                    output += os.read(reader, 4096)
            assert process.poll() is None
        finally:
            process.kill()
            os.close(reader)
