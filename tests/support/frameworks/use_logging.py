"""All functions of `logging` that close handlers which stay attached."""

from __future__ import annotations

import logging
import logging.config

from attached import SCRATCH, attach

INI = """
[loggers]
keys = root
[handlers]
keys = null
[formatters]
keys =
[logger_root]
handlers = null
[handler_null]
class = NullHandler
args = ()
"""

handlers = attach("app")
log = logging.getLogger("app")
ini = SCRATCH / "logging.ini"
ini.write_text(INI)
for turn in range(5):
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    for number in range(20):
        log.info("turn %d: dictConfig %d", turn, number)
    logging.config.fileConfig(ini, disable_existing_loggers=False)
    for number in range(20):
        log.info("turn %d: fileConfig %d", turn, number)
    logging.shutdown()
    for number in range(20):
        log.info("turn %d: shutdown %d", turn, number)
    for handler in handlers * 2:
        handler.close()
    for number in range(20):
        log.info("turn %d: close %d", turn, number)
