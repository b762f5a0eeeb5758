# -*- coding: utf-8 -*-
"""A client as users have it: the standard SocketHandler, unchanged. For Python 2.7 and 3.6+.

    log_numbers.py HOST PORT CLIENT PAUSE

Logs records with the numbers 0, 1, 2 ... of CLIENT, PAUSE seconds apart, until its standard input
ends. Then prints, in JSON, how many it has logged and from which local ports: one, if it never had
to connect again.
"""

from __future__ import print_function

import json
import logging
import logging.handlers
import sys
import threading
import time


def main(host, port, client, pause):
    handler = logging.handlers.SocketHandler(host, int(port))
    handler.handleError = lambda record: sys.exit("could not send: %r" % record)
    logger = logging.getLogger("numbers")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)

    ended = threading.Event()
    reader = threading.Thread(target=lambda: (sys.stdin.read(), ended.set()))
    reader.daemon = True
    reader.start()

    number, ports = 0, []
    while not ended.is_set():
        logger.info(u"number %d", number, extra={"client": client, "number": number})
        number += 1
        if handler.sock.getsockname()[1] not in ports:
            ports.append(handler.sock.getsockname()[1])
        time.sleep(float(pause))
    handler.close()
    print(json.dumps({"logged": number, "ports": ports}))


if __name__ == "__main__":
    main(*sys.argv[1:])
