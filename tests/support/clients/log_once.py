"""Log one record by fastlog_client of a folder: `log_once.py FOLDER PORT MESSAGE`. Python 2.7 too."""

import logging
import os
import sys

folder, port, message = sys.argv[1:]
sys.path.insert(0, folder)

import fastlog_client  # noqa: E402

assert os.path.abspath(fastlog_client.__file__).startswith(os.path.abspath(folder))
logger = logging.getLogger("installed")
logger.addHandler(fastlog_client.SocketHandler("127.0.0.1", int(port)))
logger.warning(message)
logging.shutdown()
