# -*- coding: utf-8 -*-
"""Logs a record for each line that it reads, through ReconnectingSocketHandler. Python 2.7, 3.6+.

    keep_reconnecting.py CLIENT_DIRECTORY HOST [PORT]

Says `failed` for a record that reached handleError, and `done` when emit() has returned. The line
is the record's message; the line `traceback` is logged with one.
"""

from __future__ import print_function

import logging
import sys

sys.path.insert(0, sys.argv[1])
import fastlog_client


def say(text):
    print(text)
    sys.stdout.flush()


class Following(logging.Handler):
    """A handler that checks that the handler before it has not changed the record."""

    def emit(self, record):
        if record.getMessage() == "traceback":
            assert record.exc_info[0] is ZeroDivisionError
            assert record.exc_text is None
            assert record.__dict__ == self.before
        else:
            assert record.exc_info is None


class Preceding(logging.Handler):
    def emit(self, record):
        following.before = dict(record.__dict__)


following = Following()


def main(host, port=None):
    handler = fastlog_client.ReconnectingSocketHandler(host, port and int(port))
    handler.handleError = lambda record: say("failed")
    logger = logging.getLogger("app")
    for each in (Preceding(), handler, following):
        logger.addHandler(each)
    for line in iter(sys.stdin.readline, ""):
        if line.strip() == "traceback":
            try:
                1 / 0
            except ZeroDivisionError:
                logger.exception("%s", "traceback")
        elif line.strip() == "lock":
            logger.warning("lock", extra={"lock": open(__file__)})
        else:
            logger.warning("%s", line.strip())
        say("done")


if __name__ == "__main__":
    main(*sys.argv[2:])
