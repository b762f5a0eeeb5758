"""What a server does at its start: listeners, the lock, and the service manager's variables."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fastlog.errors import FastlogError
from fastlog.files import Access
from fastlog.server import listeners
from fastlog.server.lock import lock
from fastlog.server.service_manager import ServiceManager


def test_a_missing_directory_of_a_unix_socket_is_named(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/missing/s"
    with pytest.raises(FastlogError) as caught:
        listeners.bind([url])
    assert str(caught.value) == (
        f"cannot listen on {url}: there is no directory {tmp_path}/missing; make it"
    )


def test_a_rebind_that_cannot_set_the_access_leaves_no_new_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (f"unix://{tmp_path}/{name}" for name in ("old", "new"))
    bound = listeners.bind([old])

    def fail(*_: object) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(os, "chown", fail)
    with pytest.raises(FastlogError, match=f"cannot set mode and group of {old}: Operation not"):
        listeners.rebind(bound, [old, new], [Access(0o660, os.getgid()), Access()])
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/old")
    listeners.close(bound)


def test_a_lock_file_with_any_number_names_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastlog.server.lock.ORPHAN_TIMEOUT", 0.0)
    file = tmp_path / "lock"
    file.write_text("9" * 30)
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(FastlogError, match="is in use by process 9"):
            lock(tmp_path, Access())


def test_the_lock_of_a_living_process_is_reported_at_once(tmp_path: Path) -> None:
    program = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        (tmp_path / "lock").write_text(f"{owner.pid}\n")
        with (tmp_path / "lock").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(FastlogError, match=f"is in use by process {owner.pid}"):
                lock(tmp_path, Access())


def test_a_watchdog_interval_of_zero_means_none(tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "none"), "WATCHDOG_USEC": "0"}
    manager = ServiceManager(tmp_path / "status.json", environ)
    manager.ready("")
    assert manager.due() == float("inf")
