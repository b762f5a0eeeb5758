# -*- coding: utf-8 -*-
"""A fastlog client that logs numbered records until its stdin ends. For Python 2.7 and 3.6+.

    log_for_ever.py CLIENT_DIRECTORY PORT NAME PAUSE_MS [SPOOL]

Prints a line with the number of records that emit() has taken, ten times a second; and at the end,
after close(), one JSON object: the number and the handler's stats.
"""

from __future__ import print_function

import json
import logging
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])
import fastlog_client


def main(port, name, pause, spool=None):
    handler = fastlog_client.SocketHandler(
        "127.0.0.1", int(port), spool=spool, close_timeout=30.0, on_error=lambda text, error: None
    )
    logger = logging.getLogger("app")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    ended = threading.Event()

    def wait_for_end():
        sys.stdin.read()
        ended.set()

    watcher = threading.Thread(target=wait_for_end)
    watcher.daemon = True
    watcher.start()
    number, printed_at = 0, 0.0
    while not ended.is_set():
        number += 1
        logger.info("number %d", number, extra={"client": name, "number": number})
        if time.time() - printed_at > 0.1:
            printed_at = time.time()
            print(number)
            sys.stdout.flush()
        time.sleep(float(pause) / 1000)
    handler.flush()
    handler.close()
    print(json.dumps({"sent": number, "stats": handler.stats()}))


if __name__ == "__main__":
    main(*sys.argv[2:])
