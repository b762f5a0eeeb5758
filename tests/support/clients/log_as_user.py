# -*- coding: utf-8 -*-
"""A program that logs numbered records through our handler, as another user. Python 2.7, 3.6+.

    log_as_user.py CLIENT_DIRECTORY UID PORT SPOOL COUNT WAY

It prints what was reported, one a line, and then `handler.stats()` as JSON. WAY is `dies`: by
os._exit, with everything in the spool and little sent; or so many reports to wait for.
"""

from __future__ import print_function

import json
import logging
import os
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])
import fastlog_client

u"x".encode("idna").decode("utf-8")  # the interpreter's files may be for another user only


def main(uid, port, spool, count, way):
    os.setgid(uid)
    os.setuid(uid)
    os.umask(0)
    reports = []
    handler = fastlog_client.SocketHandler(
        "127.0.0.1",
        port,
        spool=spool,
        close_timeout=20,
        on_error=lambda text, error: reports.append("%s: %r" % (text, error)),
    )
    logger = logging.getLogger("app")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    for number in range(count):
        logger.info("number %d", number, extra={"number": number, "sender": os.getpid()})
    if way == "dies":
        os._exit(0)
    flushed = handler.flush(20)
    deadline = time.time() + 30
    while len(reports) < int(way) and time.time() < deadline:
        time.sleep(0.01)
    names = [thread.name for thread in threading.enumerate()]
    handler.close()
    for report in reports:
        print(report.replace("\n", " "))
    print(json.dumps(dict(handler.stats(), flushed=flushed, threads=names)))


if __name__ == "__main__":
    main(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), sys.argv[6])
