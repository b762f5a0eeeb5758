# -*- coding: utf-8 -*-
"""A client as users have it: the standard SocketHandler, unchanged. For Python 2.7 and 3.6+.

    log_everything.py tcp HOST PORT | unix PATH

Logs a record for each shape that this Python can send, some texts, and tracebacks; and prints what
it has logged: for each record, in JSON, the attributes that must be found in the store.
"""

from __future__ import print_function

import json
import logging
import logging.handlers
import sys
import threading

import make_pickles

FIELDS = (
    "created levelno levelname name pathname filename module lineno funcName process processName"
    " thread threadName taskName exc_text stack_info"
).split()

TEXTS = [
    u"plain", u"d\xe9j\xe0 vu", u"журнал", u"日志服务器", u"سجل", u"\U0001f4dc\U0001f600",
    u"two\nlines", u"x" * 5000,
]


class Witness(logging.Handler):
    """A handler that notes each record as the SocketHandler after it will send it."""

    def emit(self, record):
        if record.exc_info:
            record.exc_text = self.formatter.formatException(record.exc_info)
        seen = dict((name, getattr(record, name, None)) for name in FIELDS)
        seen["message"] = record.getMessage()
        seen["shape"] = getattr(record, "shape", None)
        print(json.dumps(seen))


def main(kind, host, port=None):
    handler = logging.handlers.SocketHandler(host, int(port) if port else None)
    handler.handleError = lambda record: sys.exit("could not send: %r" % record)
    witness = Witness()
    witness.setFormatter(logging.Formatter())
    logger = logging.getLogger("app.db")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(witness)
    logger.addHandler(handler)

    for text in TEXTS:
        logger.info(u"%s", text)
    for level in (5, 10, 20, 30, 40, 50):
        logger.log(level, u"level %d of %s", level, u"all")
    for name, value in sorted(make_pickles.shapes().items()):
        try:
            make_pickles.socket_dumps(value, 1)
        except Exception:
            continue  # this Python's own handler cannot send it
        logger.warning(u"shape %s", name, extra={"shape": name, "x": value})
    try:
        raise ValueError(u"журнал")
    except ValueError:
        logger.exception(u"a traceback")
    if sys.version_info[0] >= 3:
        logger.error("a stack", stack_info=True)
    thread = threading.Thread(target=logger.info, args=(u"from a thread",), name=u"worker-1")
    thread.start()
    thread.join()
    logging.getLogger(u"app.db.журнал").error(u"a logger's name in another script")
    handler.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
