"""Log a record over the server's limit: `drop_one.py FOLDER PORT`. Python 2.7 too.

It prints `stats()["client"]` of the handler before and after the record, and after the end, as a
JSON array.
"""

import json
import logging
import sys

folder, port = sys.argv[1:]
sys.path.insert(0, folder)

import fastlog_client  # noqa: E402

handler = fastlog_client.SocketHandler("127.0.0.1", int(port), on_error=lambda *_: None)
names = [handler.stats()["client"]]
handler.emit(logging.makeLogRecord({"msg": "x" * (2 << 20)}))
assert handler.flush(30)
names.append(handler.stats()["client"])
handler.close()
print(json.dumps(names + [handler.stats()["client"]]))
