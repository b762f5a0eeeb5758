"""The whole public interface of `fastlog_client`, for a type checker. Nothing of it is run."""

from __future__ import annotations

import logging
import socket
import time

import fastlog_client
from fastlog_client import ReconnectingSocketHandler, SocketHandler


class JsonHandler(SocketHandler):
    def makePickle(self, record: logging.LogRecord) -> bytes:  # noqa: N802 - logging's name
        return super().makePickle(record)


def report(text: str, error: BaseException | None) -> None:
    print(text, error)


def use_socket_handler() -> list[object]:
    handler = SocketHandler(
        "127.0.0.1",
        9020,
        key="id:secret",
        max_bytes=1 << 20,
        when_full="block",
        block_timeout=0.5,
        spool="/var/spool/app",
        spool_max_bytes=1 << 30,
        spool_fsync=True,
        connect_timeout=5.0,
        close_timeout=5.0,
        retry_interval=30.0,
        on_error=report,
        wall_clock=time.time,
        ssl={"cafile": "/etc/ssl/ca.pem", "server_hostname": "logs.example"},
    )
    logging.getLogger().addHandler(JsonHandler("/run/fastlog/socket"))
    handler.retryStart, handler.retryFactor, handler.retryMax = 0.01, 2.0, 1.0
    handler.retryTime = None
    handler.close_timeout = 2.0
    handler.handle(logging.makeLogRecord({}))
    handler.emit(logging.makeLogRecord({}))
    is_empty: bool = handler.flush() and handler.flush(timeout=1.0)
    retry_time: float | None = handler.retryTime
    stats = handler.stats()
    numbers: int = stats["emitted"] + stats["acked"] + stats["pending"] + stats["pending_bytes"]
    numbers += stats["gaps"] + stats["sent_batches"] + stats["resent_records"] + stats["left"]
    numbers += stats["reconnects"] + stats["new_ids"] + stats["spool_bytes"]
    dropped: dict[str, int] = stats["dropped"]
    names: list[str | None] = [stats["client"], stats["server"], stats["last_error"]]
    names.append(fastlog_client.__version__)
    is_connected: bool = stats["connected"]
    address: str | tuple[str, int] = handler.address
    handler.close()
    return [is_empty, retry_time, numbers, dropped, names, is_connected, address, handler.host]


def use_reconnecting_handler() -> list[object]:
    handler = ReconnectingSocketHandler("127.0.0.1", 9020, timeout=1.0)
    handler.createSocket()
    connection: socket.socket = handler.makeSocket(timeout=1.0)
    handler.send(handler.makePickle(logging.makeLogRecord({})))
    handler.retryTime = None
    retry_time: float | None = handler.retryTime
    timeout: float = handler.timeout
    return [connection, retry_time, timeout]
