import logging
from collections.abc import Callable
from ssl import SSLContext
from typing import Literal, TypedDict, type_check_only

@type_check_only
class Stats(TypedDict):
    """What `SocketHandler.stats` returns."""

    emitted: int
    acked: int
    pending: int
    pending_bytes: int
    dropped: dict[str, int]
    gaps: int
    sent_batches: int
    resent_records: int
    reconnects: int
    new_ids: int
    connected: bool
    client: str | None
    server: str | None
    last_error: str | None
    spool_bytes: int
    left: int

@type_check_only
class TlsOptions(TypedDict, total=False):
    """The `ssl` argument of `SocketHandler`, as a dictionary."""

    cafile: str
    certfile: str
    keyfile: str
    server_hostname: str
    ciphers: str

class SocketHandler(logging.Handler):
    host: str
    port: int | None
    address: str | tuple[str, int]
    closeOnError: bool
    retryStart: float
    retryFactor: float
    retryMax: float
    def __init__(
        self,
        host: str,
        port: int | None = None,
        key: str | None = None,
        max_bytes: int = ...,
        when_full: Literal["drop_newest", "drop_oldest", "block", "spool"] = "drop_newest",
        block_timeout: float = 1.0,
        spool: str | None = None,
        spool_max_bytes: int = ...,
        spool_fsync: bool = False,
        connect_timeout: float = 5.0,
        close_timeout: float = 5.0,
        retry_interval: float = 30.0,
        on_error: Callable[[str, BaseException | None], object] | None = None,
        wall_clock: Callable[[], float] = ...,
        ssl: bool | TlsOptions | SSLContext | None = None,
    ) -> None: ...
    @property
    def retryTime(self) -> float | None: ...
    @retryTime.setter
    def retryTime(self, moment: float | None) -> None: ...
    @property
    def close_timeout(self) -> float: ...
    @close_timeout.setter
    def close_timeout(self, seconds: float) -> None: ...
    def makePickle(self, record: logging.LogRecord) -> bytes: ...
    def flush(self, timeout: float | None = None) -> bool: ...  # type: ignore[override]
    def close(self) -> None: ...
    def stats(self) -> Stats: ...
