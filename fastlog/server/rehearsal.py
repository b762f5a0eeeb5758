"""The rehearsal: test before a reload that the installed code can run.

The supervisor starts a process with its own command line. That process imports all modules that
will run, reads the configuration, makes every sink, reads the state that the supervisor would pass
to its successor, and prints a plan. If it fails, nothing has changed.
"""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from fastlog.config import Config, check_places
from fastlog.errors import FastlogError
from fastlog.server.installed_source import check_source
from fastlog.server.installed_web import check_installed
from fastlog.server.plan import Plan, make_plan, read_plan
from fastlog.server.service import Service
from fastlog.server.spawn import describe, memory_file, read_file, reap, spawn
from fastlog.server.state import command_line, pack, unpack
from fastlog.sinks import SinkContext, make_sink

PATIENCE = 10.0
"""Seconds that a rehearsal may take."""
RUNS = (
    "fastlog.server.supervisor",
    "fastlog.receiver.__main__",
    "fastlog.worker.__main__",
    "fastlog.tls.__main__",
)
"""The programs that will run; importing them imports all that they use."""


class ReloadError(FastlogError):
    """A reload failed and changed nothing; the text says why."""


def rehearse(read_config: Callable[[], Config], state_fd: int) -> int:
    """Rehearse, in the new process: print the plan as the last line.

    Raises:
        FastlogError: The configuration is wrong, or the state of the old supervisor is unreadable.
    """
    state = unpack(read_file(state_fd))
    for module in RUNS:
        importlib.import_module(module)
    config = read_config()
    if config.web.url:
        check_installed()
        importlib.import_module("fastlog.web.__main__")
    if config.source.url:
        check_source(config)
        importlib.import_module("fastlog.source.__main__")
    check_places(msgspec.structs.replace(config, data_dir=Path(state.data_dir)))
    for sink in config.sinks:
        make_sink(
            SinkContext(sink.name, urlsplit(sink.url), Path(state.data_dir), config.retention)
        )
    print(f"\n{make_plan(config, data_dir=state.data_dir).text}")
    return 0


def request_plan(service: Service, *, final: bool = False) -> Plan:
    """Run a rehearsal of the installed code, in the old supervisor.

    Args:
        final: Whether the state is the one that the successor gets, with a plan that the new code
            has made.

    Returns:
        The plan.

    Raises:
        ReloadError: The installed code cannot run.
    """
    state = memory_file("fastlog-state", pack(service, final=final))
    out, err = memory_file("fastlog-rehearsal"), memory_file("fastlog-rehearsal")
    try:
        pid, ended = spawn([*command_line(), f"--rehearse-fd={state}"], [state], {1: out, 2: err})
        try:
            status = _await(service, pid, ended)
        finally:
            os.close(ended)
    finally:
        os.close(state)
        output, errors = read_file(out), read_file(err)
    if status:
        raise ReloadError(_last_line(errors) or f"the new code {describe(status)}")
    try:
        return read_plan(_last_line(output))
    except msgspec.ValidationError as error:
        raise ReloadError(f"the old code cannot follow the new one's plan: {error}") from None
    except msgspec.DecodeError:
        raise ReloadError(f"the new code has no plan, but {_last_line(output)[:80]!r}") from None


def _await(service: Service, pid: int, ended: int) -> int:
    status: int | None = None

    def has_ended() -> bool:
        nonlocal status
        status = reap(pid) if status is None else status
        return status is not None

    watch = service.watch
    try:
        with watch.also_polling(ended):
            in_time = watch.wait_until(lambda: has_ended() or watch.stopping, PATIENCE)
    finally:
        if not has_ended():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if watch.stopping:
        raise ReloadError("a stop was requested")
    if not in_time:
        raise ReloadError(f"the new code was not ready to run after {PATIENCE:.0f} s")
    assert status is not None
    return status


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
