# -*- coding: utf-8 -*-
"""A client that logs over TLS, by the standard handler or by ours. For Python 2.7 and 3.6+.

    log_over_tls.py stock|fastlog PORT CAFILE CLIENT COUNT [CERTFILE [PAUSE]]

Logs COUNT records with the numbers 0, 1, 2 ... of CLIENT, PAUSE seconds apart, and ends at once.
"""

from __future__ import print_function

import logging
import logging.handlers
import ssl
import sys
import time


class TlsHandler(logging.handlers.SocketHandler):
    """As docs/tls.md has it."""

    context = None

    def makeSocket(self, timeout=1):
        plain = logging.handlers.SocketHandler.makeSocket(self, timeout)
        return self.context.wrap_socket(plain, server_hostname="localhost")


def main(kind, port, cafile, client, count, certfile=None, pause="0"):
    if kind == "stock":
        handler = TlsHandler("localhost", int(port))
        handler.context = ssl.create_default_context(cafile=cafile)
        if certfile:
            handler.context.load_cert_chain(certfile)
    else:
        import fastlog_client

        options = {"cafile": cafile}
        if certfile:
            options["certfile"] = certfile
        handler = fastlog_client.SocketHandler(
            "localhost", int(port), ssl=options, close_timeout=30
        )
    logger = logging.getLogger("numbers")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    for number in range(int(count)):
        logger.info(u"number %d", number, extra={"client": client, "number": number})
        time.sleep(float(pause))
    handler.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
