"""Handlers of fastlog_client that are attached before a framework starts, and one that notes.

    python SCRIPT {PORT:SPOOL ...} WITNESS    (a handler for each port; an empty SPOOL: memory)

The witness writes a line for each record that reached it. It is attached to the same logger as our
handlers, so a framework that detaches one detaches all.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import fastlog_client

PLACES = [place.partition(":")[::2] for place in sys.argv[1:-1]]
_WITNESS = os.open(sys.argv[-1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
SCRATCH = Path(sys.argv[-1]).parent


class Witness(logging.Handler):
    """A handler that notes the records; `close` does not stop it."""

    def emit(self, record: logging.LogRecord) -> None:
        line = json.dumps([record.name, record.levelno, record.getMessage()])
        os.write(_WITNESS, line.encode() + b"\n")


def attach(name: str = "") -> list[fastlog_client.SocketHandler]:
    """Attach all to this logger, and log a first record. Return those of fastlog_client."""
    handlers = [
        fastlog_client.SocketHandler("127.0.0.1", int(port), spool=spool or None)
        for port, spool in PLACES
    ]
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    for handler in handlers:
        logger.addHandler(handler)
    logger.addHandler(Witness())
    logging.getLogger(name or "app").info("before the framework")
    return handlers
