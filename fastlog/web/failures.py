"""Failures: what the API answers when it cannot do what was asked."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from fastlog.web.answers import json_answer


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
