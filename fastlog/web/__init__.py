"""The web server: a page, and a JSON API over the store under `/api/v1`.

It needs the extra `web` (Starlette and Uvicorn). It only reads: when it fails or is flooded,
receiving and storing are not affected.
"""

from __future__ import annotations
