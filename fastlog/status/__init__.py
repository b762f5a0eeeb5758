"""What the files of a data directory tell about its server: store, sinks, losses, receiver.

`fastlog stats`, `fastlog check` and the web server show it. Everything here only reads.
"""

from __future__ import annotations
