"""Failures: what the API answers when it cannot do what was asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from fastlog.web.answers import json_answer

log = logging.getLogger(__name__)

SILENCE: Final = 60.0
"""Seconds in which a failure that lasts is logged once, however often pages ask."""
_REMEMBERED: Final = 100


class RequestError(Exception):
    """A request that is answered with an error.

    Args:
        message: One line that says what is wrong.
        status: The HTTP status.
        column: The place in the query, from 1; None if it is not about a place.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        *,
        column: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.column, self.headers = status, column, dict(headers or {})

    def answer(self) -> Response:
        """Return the answer."""
        return failure(str(self), self.status, column=self.column, headers=self.headers)


def failure(
    message: str,
    status: int,
    *,
    column: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an answer with an error."""
    body = {"error": {"message": message, "column": column}}
    return json_answer(body, status, headers)


class FailureLog:
    """Logs failures of the store, each once a minute: a page asks again and again."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def error(self, text: str) -> None:
        """Log a failure."""
        now = time.monotonic()
        if now < self._logged.get(text, -SILENCE) + SILENCE:
            return
        if len(self._logged) >= _REMEMBERED:
            self._logged.clear()
        self._logged[text] = now
        log.error("%s", text)
