"""Trials of what a server needs; none of them disturbs one that runs.

A sink class may have a method `check()` that raises an error with the reason why it would not
work, without changing anything; those of fastlog that have none are tried here from outside.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from fastlog.config import Config, SinkConfig, format_size
from fastlog.errors import FastlogError
from fastlog.files import Access
from fastlog.ledger import DAMAGED, LedgerError, check_whole
from fastlog.query import examine
from fastlog.server.datadir import too_wide
from fastlog.sinks import SinkContext, make_sink

ENOUGH = 64 << 20
"""Bytes of free disk below which a trial warns."""

_LOAD_LOGGING = """
import logging.config, sys, tomllib
try:
    with open(sys.argv[1], "rb") as file:
        logging.config.dictConfig({"version": 1, **tomllib.load(file)})
except Exception as error:
    sys.exit(f"{error} ({error.__cause__})" if error.__cause__ else str(error))
"""


class State(Enum):
    """How a trial ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


class Verdict(NamedTuple):
    """What a trial found."""

    state: State
    subject: str
    text: str


def existing_parent(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def try_directory(path: Path) -> Verdict:
    """Whether the data directory can be written to, or made."""
    subject = f"data directory {path}"
    reason = _unwritable(path)
    if reason:
        return Verdict(State.FAILED, subject, reason)
    return _room(subject, path, "writable" if path.exists() else "will be made")


def try_modes(config: Config) -> list[Verdict]:
    """A warning for each directory of the server that lets others in."""
    access = Access.of(config.files.mode, config.files.group)
    root = config.data_dir
    try:
        found = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
        wide = [text for path in found if (text := too_wide(path, access))]
    except OSError:
        return []  # there is none yet, or the trial before has said what is wrong
    return [Verdict(State.WARNING, "mode", text) for text in wide]


def try_listen(url: str, *, running: bool) -> Verdict:
    """Whether the address is free, or used by the server of this data directory."""
    parts = urlsplit(url)
    try:
        if parts.scheme == "unix":
            return _try_unix(url, Path(parts.path), running=running)
        _bind(parts)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _in_use(url, running=running)
        return Verdict(State.FAILED, f"listen {url}", error.strerror or str(error))
    return Verdict(State.OK, f"listen {url}", "free")


def try_sink(sink: SinkConfig, config: Config) -> Verdict:
    """Whether the sink can be made and would work."""
    subject = f"sink {sink.name}"
    context = SinkContext(sink.name, urlsplit(sink.url), config.data_dir, config.retention)
    try:
        made = make_sink(context)
        own: Callable[[], object] | None = getattr(made, "check", None)
        if own is not None:
            own()
            return Verdict(State.OK, subject, sink.url)
        return _TRIALS.get(context.url.scheme, _try_nothing)(subject, context)
    except OSError as error:
        return Verdict(State.FAILED, subject, f"{sink.url}: {error.strerror or error}")
    except FastlogError as error:
        return Verdict(State.FAILED, subject, str(error))
    except Exception as error:  # a third party's class may fail in any way
        return Verdict(State.FAILED, subject, f"{sink.url}: {type(error).__name__}: {error}")


def try_ledger(data_dir: Path) -> Verdict:
    """Whether the ledger, if there is one, is sound and of a version that this fastlog knows."""
    path = data_dir / "ledger.db"
    subject = f"ledger {path}"
    if not path.exists():
        return Verdict(State.OK, subject, "nothing was rejected or lost yet")
    try:
        check_whole(path)
    except LedgerError as error:
        return Verdict(State.FAILED, subject, str(error))
    except sqlite3.OperationalError as error:  # it is locked, or not ours to read
        return Verdict(State.WARNING, subject, f"cannot be read now: {error}")
    aside = path.with_name(path.name + DAMAGED)
    if aside.exists():
        text = f"sound; {aside.name} beside it is a damaged one: look at it, then remove it"
        return Verdict(State.WARNING, subject, text)
    return Verdict(State.OK, subject, "sound")


def day_directories(config: Config) -> list[Path]:
    """The directories of all `sqlite:` sinks that exist."""
    urls = [urlsplit(sink.url) for sink in config.sinks]
    found = [_day_directory(url, config.data_dir) for url in urls if url.scheme == "sqlite"]
    return [path for path in dict.fromkeys(found) if path.is_dir()]


def try_day_files(logs: Path, *, deep: bool) -> list[Verdict]:
    """Whether the day files are whole: those that are not, and a line for those that are."""
    verdicts: list[Verdict] = []
    whole = 0
    for file in examine(logs, deep=deep):
        subject = f"day file {file.path}"
        if file.set_aside:
            advice = '; `sqlite3 FILE ".recover"` may save what is in it; delete it afterwards'
            verdicts.append(Verdict(State.WARNING, subject, file.trouble + advice))
        elif file.trouble:
            verdicts.append(Verdict(State.FAILED, subject, file.trouble))
        else:
            whole += 1
    if whole:
        text = "all pages are sound" if deep else "no damage at first sight; --deep reads all"
        verdicts.append(Verdict(State.OK, f"{whole} day files in {logs}", text))
    return verdicts


def _day_directory(url: SplitResult, data_dir: Path) -> Path:
    return Path(url.path) if url.path else data_dir / "logs"


def _bind(parts: SplitResult) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        parts.hostname, parts.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)


def _try_unix(url: str, path: Path, *, running: bool) -> Verdict:
    subject = f"listen {url}"
    if not path.exists():
        reason = _unwritable(path.parent, make=False)
        return Verdict(State.FAILED if reason else State.OK, subject, reason or "free")
    if not stat.S_ISSOCK(path.stat().st_mode):
        return Verdict(State.FAILED, subject, f"{path} is there and is no socket")
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            return Verdict(State.OK, subject, "free; a dead server left its socket")
    return _in_use(url, running=running)


def _in_use(url: str, *, running: bool) -> Verdict:
    if running:
        return Verdict(State.OK, f"listen {url}", "in use; a server runs in this data directory")
    return Verdict(State.FAILED, f"listen {url}", "in use by another program")


def _try_sqlite(subject: str, context: SinkContext) -> Verdict:
    logs = _day_directory(context.url, context.data_dir)
    reason = _unwritable(logs)
    return Verdict(State.FAILED, subject, reason) if reason else _room(subject, logs, str(logs))


def _try_ndjson(subject: str, context: SinkContext) -> Verdict:
    file = Path(context.url.path)
    reason = _unwritable(file.parent)
    if not reason and file.exists() and not (file.is_file() and os.access(file, os.W_OK)):
        reason = f"{file} is not a file that can be written to"
    return Verdict(State.FAILED, subject, reason) if reason else _room(subject, file, str(file))


def _try_logging(subject: str, context: SinkContext) -> Verdict:
    """In a process of its own: `dictConfig` changes the whole interpreter."""
    file = Path(context.url.path)
    command = [sys.executable, "-c", _LOAD_LOGGING, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 our own program
    if done.returncode == 0:
        return Verdict(State.OK, subject, f"{file} is accepted by dictConfig")
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return Verdict(State.FAILED, subject, f"{file}: {last}")


def _try_nothing(subject: str, context: SinkContext) -> Verdict:
    return Verdict(State.OK, subject, f"{context.url.geturl()} can be loaded")


_TRIALS: dict[str, Callable[[str, SinkContext], Verdict]] = {
    "sqlite": _try_sqlite,
    "ndjson": _try_ndjson,
    "logging": _try_logging,
}


def _unwritable(directory: Path, *, make: bool = True) -> str:
    """Why nothing can be made in the directory, or "" when it can."""
    if not make and not directory.exists():
        return f"{directory} does not exist"
    there = existing_parent(directory)
    if not there.is_dir():
        return f"{there} is not a directory"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} is not writable"
    return ""


def _room(subject: str, path: Path, text: str) -> Verdict:
    free = shutil.disk_usage(existing_parent(path)).free
    state = State.OK if free >= ENOUGH else State.WARNING
    return Verdict(state, subject, f"{text}; {format_size(free)} are free")
