"""What goes wrong between a command and the API of a web server."""

from __future__ import annotations

from fastlog.errors import ConfigError, FastlogError


class ApiError(FastlogError):
    """The server does not give the answer. Trying again later may help."""


class UnreachableApiError(ApiError):
    """There is no connection to the server, or no more."""


class UnusableApiError(ConfigError):
    """The server refuses the request: trying again does not help."""


class NothingThereError(UnusableApiError):
    """The server has no record of this id."""


def reason_of(error: Exception) -> str:
    """Return why a connection failed, for an error."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
