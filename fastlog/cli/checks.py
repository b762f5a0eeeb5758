"""Checks of what a server needs. They change nothing, and do not disturb a running server.

A sink class may have a method `check()`, which raises an error if the sink would not work, and
changes nothing. It may return a text: a warning. The sinks of fastlog without one are checked here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from fastlog.cli.counted import counted
from fastlog.config import (
    CertificateFiles,
    Config,
    SinkConfig,
    format_size,
    is_tls,
    parent_fault,
)
from fastlog.config.urls import public_url
from fastlog.errors import ConfigError, FastlogError
from fastlog.files import Access
from fastlog.ledger import DAMAGED, LedgerError, check_whole
from fastlog.search import examine
from fastlog.server.lock import mode_warning
from fastlog.sinks import SinkContext, load_sink

MIN_FREE = 64 << 20
"""Bytes of free disk space below which any disk is nearly full."""
MAX_FREE = 1 << 30
"""Bytes of free disk space from which on no disk is nearly full."""
FREE_PART = 20
"""Between the two, a disk is nearly full if less than one part in this many is free."""

_LOAD_LOGGING = """
import logging.config, sys, tomllib
try:
    with open(sys.argv[1], "rb") as file:
        logging.config.dictConfig({"version": 1, **tomllib.load(file)})
except Exception as error:
    sys.exit(f"{error} ({error.__cause__})" if error.__cause__ else str(error))
"""


class State(Enum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


class Verdict(NamedTuple):
    """The result of a check."""

    state: State
    subject: str
    text: str


def existing_parent(path: Path) -> Path:
    """Return the path, or the nearest directory above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def check_directory(path: Path) -> Verdict:
    """Check that the data directory can be written to, or made."""
    subject = f"data directory {path}"
    reason = _unwritable(path)
    if reason:
        return Verdict(State.FAILED, subject, reason)
    return _check_space(subject, path, "writable" if path.exists() else "will be made")


def check_modes(config: Config) -> list[Verdict]:
    """Warn of each directory of the server that gives more access than configured."""
    access = Access.of(config.files.mode, config.files.group)
    root = config.data_dir
    try:
        directories = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
        warnings = [text for path in directories if (text := mode_warning(path, access))]
    except OSError:
        return []  # it does not exist, or `check_directory` has reported the error
    return [Verdict(State.WARNING, "mode", text) for text in warnings]


def check_listener(url: str, *, running: bool) -> Verdict:
    """Check that the address is free, or in use by the server of this data directory."""
    parts = urlsplit(url)
    try:
        if parts.scheme == "unix":
            return _check_unix(url, Path(parts.path), running=running)
        _bind(parts)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _in_use(url, running=running)
        return Verdict(State.FAILED, f"listen {url}", error.strerror or str(error))
    return Verdict(State.OK, f"listen {url}", "free")


def check_certificate(files: CertificateFiles) -> list[Verdict]:
    """Check that a certificate and what belongs to it can be used, and for how long."""
    try:
        remarks = files.remarks()
    except ConfigError as error:
        return [Verdict(State.FAILED, files.where, str(error))]
    if not remarks:
        return [Verdict(State.OK, files.where, f"certificate {files.certificate} is valid")]
    return [Verdict(State.WARNING, files.where, remark) for remark in remarks]


def check_certificates_in_use(config: Config) -> Iterator[Verdict]:
    """Warn of each certificate that was replaced, while the server uses the old one."""
    from fastlog.tls.report import describe, read_report  # few commands need ssl

    in_use = {each.url: each for each in read_report(config.data_dir)}
    with contextlib.suppress(ConfigError):  # `check_certificate` reports it
        for each in describe(listen for listen in config.listen if is_tls(listen.url)):
            used = in_use.get(each.url, each)
            if used.certificate_end != each.certificate_end:
                end = datetime.fromtimestamp(used.certificate_end, UTC)
                text = (
                    f"the server still uses a certificate that expires at {end:%Y-%m-%d %H:%M} "
                    "UTC, and not that of the file; reload it"
                )
                yield Verdict(State.WARNING, f"listen {each.url}", text)


def check_sink(sink: SinkConfig, config: Config) -> Verdict:
    """Check that the sink can be made and would work."""
    subject = f"sink {sink.name}"
    context = SinkContext(sink.name, urlsplit(sink.url), config.data_dir, config.retention)
    if fault := parent_fault(sink.url, config.data_dir):
        return Verdict(State.FAILED, subject, fault)
    try:
        made = load_sink(context)
        own: Callable[[], object] | None = getattr(made, "check", None)
        if own is not None:
            warning = own()
            if isinstance(warning, str) and warning:
                return Verdict(State.WARNING, subject, f"{public_url(sink.url)}: {warning}")
            return Verdict(State.OK, subject, public_url(sink.url))
        return _SINK_CHECKS.get(context.url.scheme, _check_loadable)(subject, context)
    except OSError as error:
        return Verdict(State.FAILED, subject, f"{public_url(sink.url)}: {error.strerror or error}")
    except FastlogError as error:
        return Verdict(State.FAILED, subject, str(error))
    except Exception as error:  # a third party's class may fail in any way
        what = f"{type(error).__name__}: {error}"
        return Verdict(State.FAILED, subject, f"{public_url(sink.url)}: {what}")


def check_source(url: str) -> Iterator[Verdict]:
    """Check that the cluster of a source can be reached, and how safe its stream is."""
    subject = f"source {public_url(url)}"
    try:
        from fastlog.jetstream.examination import examine  # imports nats-py

        warnings = examine(url)
    except ImportError as error:
        yield Verdict(State.FAILED, subject, str(error))
        return
    except FastlogError as error:
        yield Verdict(State.FAILED, subject, str(error))
        return
    yield Verdict(State.OK, subject, "can be reached")
    for text in warnings:
        yield Verdict(State.WARNING, subject, text)


def check_ledger(data_dir: Path) -> Verdict:
    """Check that the ledger, if it exists, is sound and of a known version."""
    path = data_dir / "ledger.db"
    subject = f"ledger {path}"
    if not path.exists():
        return Verdict(State.OK, subject, "nothing was rejected or lost yet")
    try:
        check_whole(path)
    except LedgerError as error:
        return Verdict(State.FAILED, subject, str(error))
    except sqlite3.OperationalError as error:  # it is locked, or we have no permission
        return Verdict(State.WARNING, subject, f"cannot be read now: {error}")
    aside = path.with_name(path.name + DAMAGED)
    if aside.exists():
        text = f"sound; {aside.name} is an earlier, damaged ledger: inspect it, then delete it"
        return Verdict(State.FAILED, subject, text)
    return Verdict(State.OK, subject, "sound")


def day_directories(config: Config) -> list[Path]:
    """Return the existing directories of all `sqlite:` sinks."""
    urls = [urlsplit(sink.url) for sink in config.sinks]
    paths = [_day_directory(url, config.data_dir) for url in urls if url.scheme == "sqlite"]
    return [path for path in dict.fromkeys(paths) if path.is_dir()]


def check_day_files(logs: Path, *, deep: bool) -> list[Verdict]:
    """Check the day files: a verdict for each damaged file, and one for all others."""
    verdicts: list[Verdict] = []
    sound = 0
    for file in examine(logs, deep=deep):
        subject = f"day file {file.path}"
        if file.set_aside:
            advice = '; `sqlite3 FILE ".recover"` may save its records; delete it afterwards'
            verdicts.append(Verdict(State.FAILED, subject, file.trouble + advice))
        elif file.trouble:
            verdicts.append(Verdict(State.FAILED, subject, file.trouble))
        else:
            sound += 1
    if sound:
        text = "pages, chunks and counts are sound" if deep else "no damage found; --deep reads all"
        verdicts.append(Verdict(State.OK, f"{counted(sound, 'day file')} in {logs}", text))
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


def _check_unix(url: str, path: Path, *, running: bool) -> Verdict:
    subject = f"listen {url}"
    if not path.exists():
        reason = _unwritable(path.parent, make=False)
        return Verdict(State.FAILED if reason else State.OK, subject, reason or "free")
    if not stat.S_ISSOCK(path.stat().st_mode):
        return Verdict(State.FAILED, subject, f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return Verdict(
                State.OK, subject, "free; the socket file is left from a server that was killed"
            )
    return _in_use(url, running=running)


def _in_use(url: str, *, running: bool) -> Verdict:
    if running:
        return Verdict(State.OK, f"listen {url}", "in use; a server runs in this data directory")
    return Verdict(State.FAILED, f"listen {url}", "in use by another program")


def _check_sqlite(subject: str, context: SinkContext) -> Verdict:
    logs = _day_directory(context.url, context.data_dir)
    reason = _unwritable(logs)
    return (
        Verdict(State.FAILED, subject, reason) if reason else _check_space(subject, logs, str(logs))
    )


def _check_ndjson(subject: str, context: SinkContext) -> Verdict:
    file = Path(context.url.path)
    reason = _unwritable(file.parent)
    if not reason and file.exists() and not (file.is_file() and os.access(file, os.W_OK)):
        reason = f"{file} is not a file that can be written to"
    return (
        Verdict(State.FAILED, subject, reason) if reason else _check_space(subject, file, str(file))
    )


def _check_logging(subject: str, context: SinkContext) -> Verdict:
    """Check in a separate process: `dictConfig` changes the whole interpreter."""
    file = Path(context.url.path)
    command = [sys.executable, "-c", _LOAD_LOGGING, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 our own program
    if done.returncode == 0:
        return Verdict(State.OK, subject, f"{file} is accepted by dictConfig")
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return Verdict(State.FAILED, subject, f"{file}: {last}")


def _check_loadable(subject: str, context: SinkContext) -> Verdict:
    return Verdict(State.OK, subject, f"{context.url.geturl()} can be loaded")


_SINK_CHECKS: dict[str, Callable[[str, SinkContext], Verdict]] = {
    "sqlite": _check_sqlite,
    "ndjson": _check_ndjson,
    "logging": _check_logging,
}


def _unwritable(directory: Path, *, make: bool = True) -> str:
    """Return why no file can be made in the directory; "" if one can."""
    if not make and not directory.exists():
        return f"{directory} does not exist"
    existing = existing_parent(directory)
    if not existing.is_dir():
        return f"{existing} is not a directory"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} is not writable"
    return ""


def _check_space(subject: str, path: Path, text: str) -> Verdict:
    disk = shutil.disk_usage(existing_parent(path))
    free = format_size(disk.free)
    if disk.free < max(MIN_FREE, min(disk.total // FREE_PART, MAX_FREE)):
        text = f"{text}; the disk is nearly full: {free} of {format_size(disk.total)} are free"
        return Verdict(State.FAILED, subject, text)
    return Verdict(State.OK, subject, f"{text}; {free} are free")
