"""Find the store of a data directory, and read its status and its lock."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from fastlog.config import Config
from fastlog.errors import ConfigError, FastlogError
from fastlog.sinks.day_directory import list_day_files

FRESH = 5.0
"""Age in seconds above which a status is stale: a receiver that runs writes one each second."""
_MARKS = ("lock", "journal", "positions", "status.json", "ledger.db")
"""A data directory has at least one of these, or day files."""


class Status(msgspec.Struct):
    """The status of the receiver: `status.json`."""

    at: float
    durable: int = 0
    durable_received: float | None = None
    """When the newest durable block was received, in seconds since the epoch; `None`: unknown."""
    oldest: int = 0
    index: int = 0
    size: int = 0
    limit: int = 0
    connections: int = 0
    clients: int = 0
    """Connections that use the fastlog protocol."""
    throttled: int = 0
    """Connections that are throttled now."""
    throttlings: int = 0
    """How often a connection was throttled since the start."""
    lag: float = 0.0
    """Seconds that the slowest sink needs to store its backlog."""
    repeated: int = 0
    """Records that clients of the fastlog protocol sent again, and that were skipped."""
    accepted: int = 0
    """Connections since the start."""
    frames: int = 0
    bytes: int = 0
    """Received, of all connections."""
    blocks: int = 0
    """Appended to the journal."""
    acks: int = 0
    """Acknowledgements sent to clients of the fastlog protocol."""
    reloads: int = 0
    dropped: int = 0
    rejected: dict[str, int] = {}
    recent_dropped: int = 0
    """Records dropped in the last `recent_seconds`."""
    recent_rejected: int = 0
    """What the receiver rejected in the last `recent_seconds`."""
    recent_seconds: float = 300.0
    failure: str | None = None
    """Why the journal cannot be written now; `None`: it can."""
    sinks: dict[str, str] | None = None
    """The URLs of the server's sinks by name, without options; `None`: an older server wrote it."""

    @property
    def fill(self) -> float:
        """How full the journal is: 1.0 at its limit."""
        return self.size / self.limit if self.limit else 0.0

    def is_fresh(self) -> bool:
        """Return whether a running receiver has written this status."""
        return abs(time.time() - self.at) < FRESH


class Store(NamedTuple):
    """The day files that commands search."""

    sink: str
    """The name of the sink that writes them; "" if no sink of the configuration does."""
    logs: Path
    """Their directory, which may not exist yet."""


def find_store(config: Config) -> Store:
    """Return the day files of the first `sqlite:` sink.

    Raises:
        ConfigError: The data directory is none, or its server stores elsewhere.
    """
    data_dir = config.data_dir
    stores = stores_of(config)
    store = stores[0] if stores else Store("", data_dir / "logs")
    sinks = _sinks_of_server(data_dir)
    if not stores and sinks is None and data_dir.is_dir():
        raise ConfigError(
            "the configuration has no sqlite: sink, so there are no records to search; add one"
        )
    if store.logs == data_dir / "logs" or not store.logs.is_dir():
        _require_data_directory(data_dir)
    if sinks is None:
        return store
    used = _stores(sinks, data_dir)
    if not used:
        raise ConfigError(
            f"the server of {data_dir} has no sqlite: sink, so there are no records to search; "
            f"its sinks: {', '.join(sinks.values())}{_hint(sinks)}"
        )
    for one in used:
        if one.logs.resolve() == store.logs.resolve():
            return one
    raise ConfigError(
        f"the server of {data_dir} stores in {used[0].logs}, not in {store.logs}; name its "
        f"configuration with --config, or set FASTLOG_SINK=sqlite://{used[0].logs.absolute()}"
    )


def logs_directory(config: Config) -> Path:
    """Return the directory of the day files to search.

    Raises:
        ConfigError: as `find_store` does.
    """
    return find_store(config).logs


def stores_of(config: Config) -> list[Store]:
    """Return the day files of each `sqlite:` sink of the configuration."""
    return _stores({sink.name: sink.url for sink in config.sinks}, config.data_dir)


def _stores(sinks: Mapping[str, str], data_dir: Path) -> list[Store]:
    urls = ((name, urlsplit(url)) for name, url in sinks.items())
    return [
        Store(name, Path(url.path) if url.path else data_dir / "logs")
        for name, url in urls
        if url.scheme == "sqlite"
    ]


def _hint(sinks: Mapping[str, str]) -> str:
    """Return how to search a database of these sinks, whose URLs are without user and options."""
    is_any = any(url.startswith("postgres") for url in sinks.values())
    return "; name the database with --store, or the configuration with --config" if is_any else ""


def _sinks_of_server(data_dir: Path) -> dict[str, str] | None:
    """Return the URLs of the server's sinks by name; None if they are not known."""
    try:
        status = read_status(data_dir)
    except FastlogError:  # a damaged status hinders no search; `fastlog check` reports it
        return None
    return None if status is None else status.sinks


def _require_data_directory(path: Path) -> None:
    """Raise an error that helps to find the data directory if this is none."""
    if not path.exists():
        raise ConfigError(f"the data directory {path} does not exist; name it with --data-dir")
    if not path.is_dir():
        raise ConfigError(f"{path} is not a directory; name the data directory with --data-dir")
    if is_data_directory(path):
        return
    within = path / Config().data_dir
    if list_day_files(path):
        hint = f"it holds day files itself: did you mean --data-dir {path.absolute().parent}?"
    elif is_data_directory(within):
        hint = f"did you mean --data-dir {within}?"
    else:
        hint = "name the server's directory with --data-dir"
    raise ConfigError(f"{path} is no data directory, as no server has run in it; {hint}")


def is_data_directory(path: Path) -> bool:
    """Return whether the directory holds data of a server."""
    logs = path / "logs"
    has_days = logs.is_dir() and bool(list_day_files(logs))
    return has_days or any((path / name).exists() for name in _MARKS)


def read_status(data_dir: Path) -> Status | None:
    """Return the last status; `None` if no receiver has run in this directory.

    Raises:
        FastlogError: It is damaged, or cannot be read.
    """
    path, failure = data_dir / "status.json", ""
    for _ in range(3):  # on a full disk it is written in place, and may be read in between
        try:
            return msgspec.json.decode(path.read_bytes(), type=Status)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise FastlogError(f"{path} cannot be read: {error.strerror}") from None
        except msgspec.MsgspecError as error:
            failure = str(error)
    raise FastlogError(f"{path}: {failure}")


def is_running(data_dir: Path) -> bool:
    """Return whether a supervisor holds the lock of the data directory."""
    try:
        with (data_dir / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    return False


def boot_of(data_dir: Path) -> float | None:
    """Return when a server last took the lock of the data directory, in seconds since the epoch."""
    try:
        return (data_dir / "lock").stat().st_mtime
    except OSError:
        return None
