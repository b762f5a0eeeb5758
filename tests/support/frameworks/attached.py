"""A fastlog_client handler that is attached before a framework starts, and one that notes.

    python SCRIPT PORT SPOOL WITNESS    (an empty SPOOL: memory)

The witness writes a line for each record that reached it. It is attached to the same logger as our
handler, so a framework that detaches one detaches both.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import fastlog_client

PORT, SPOOL = int(sys.argv[1]), sys.argv[2]
_WITNESS = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
SCRATCH = Path(sys.argv[3]).parent


class Witness(logging.Handler):
    """A handler that notes the records; `close` does not stop it."""

    def emit(self, record: logging.LogRecord) -> None:
        line = json.dumps([record.name, record.levelno, record.getMessage()])
        os.write(_WITNESS, line.encode() + b"\n")


def attach(name: str = "") -> fastlog_client.SocketHandler:
    """Attach both to this logger, and log a first record."""
    handler = fastlog_client.SocketHandler("127.0.0.1", PORT, spool=SPOOL or None)
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    logger.addHandler(Witness())
    logging.getLogger(name or "app").info("before the framework")
    return handler
