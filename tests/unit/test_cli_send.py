"""`fastlog send`: one record to a listener of the configuration."""

from __future__ import annotations

import pickle
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from commands import DEADLINE, Result, Run

pytestmark = pytest.mark.usefixtures("nothing_configured")


def receive(listener: socket.socket) -> dict[str, Any]:
    listener.settimeout(DEADLINE)
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:
        (length,) = struct.unpack(">L", stream.read(4))
        fields = pickle.loads(stream.read(length))
        assert stream.read() == b""
    return dict(fields)


def test_send_sends_one_record_as_the_stock_handler_does(command: Run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        sent = command("send", "--url", url, "--level", "error", "--logger", "a.b", "100% ü")
        fields = receive(listener)
    assert sent == Result(0, f"sent to {url}\n", "")
    assert (fields["msg"], fields["levelno"], fields["name"]) == ("100% ü", 40, "a.b")


def test_send_uses_the_first_listener_of_the_configuration(command: Run, tmp_path: Path):
    path = tmp_path / "s"
    (tmp_path / "fastlog.toml").write_text(f'listen = ["unix://{path}", "tcp://127.0.0.1:1"]')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert command("send", "hello").code == 0
        assert receive(listener)["msg"] == "hello"


def test_send_uses_a_listener_that_admits_stock_clients(command: Run, tmp_path: Path):
    closed = '[[listen]]\nurl = "tcp://127.0.0.1:1"\nstock = false\n'
    path = tmp_path / "s"
    (tmp_path / "fastlog.toml").write_text(f'{closed}[[listen]]\nurl = "unix://{path}"')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert command("send", "hello").code == 0
        assert receive(listener)["msg"] == "hello"
    (tmp_path / "fastlog.toml").write_text(closed)
    rejected = command("send", "hello")
    assert rejected.code == 1
    assert rejected.err.startswith("fastlog send: all listeners of the configuration reject stock")


def test_send_reports_that_no_server_listens(command: Run, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    reason = f"cannot send to {url}: Connection refused; is fastlog-server running there?"
    rejected = command("send", "--url", url, "x")
    assert rejected == Result(1, "", f"fastlog send: {reason}\n")
    missing = command("send", "--url", f"unix://{tmp_path}/none", "x")
    assert missing.code == 1
    assert command("send", "--url", "tcp://h", "x").code == 2
