"""dictConfig() repeatedly while there is no server; prints the longest it took.

It continues when its standard input ends: then there is a server.
"""

from __future__ import annotations

import logging
import logging.config
import sys
import time

from attached import attach

[handler] = attach("app")
log = logging.getLogger("app")
longest = 0.0
for turn in range(4):
    for number in range(250):
        log.info("turn %d: %d", turn, number)
    began = time.monotonic()
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    longest = max(longest, time.monotonic() - began)
print(longest, flush=True)
sys.stdin.read()
log.info("there is a server")
assert handler.flush(60)
