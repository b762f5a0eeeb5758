"""The errors of fastlog: one tree, so that `except FastlogError` catches all of them.

The text of each is one line that says what failed, where, and what to do. A command prints it
unchanged.
"""

from __future__ import annotations

from pathlib import Path


class FastlogError(Exception):
    """The base class of all errors that fastlog raises deliberately."""


class ConfigError(FastlogError):
    """The configuration, a flag or a `FASTLOG_*` variable is wrong. Commands exit with 2."""


class FrameError(FastlogError):
    """A byte stream cannot be split further: a frame over the limit, or an end inside a frame."""


class LoopError(FastlogError):
    """An operation of the event loop failed; the text has the reason of the system."""


class JournalError(FastlogError):
    """The journal cannot be opened, read or written."""


class JournalDamagedError(JournalError):
    """Bytes of the journal that were durable cannot be read."""


class JournalGoneError(JournalDamagedError):
    """The journal's files were removed, moved or replaced; the server must stop."""


class SinkError(FastlogError):
    """A sink rejected a block, though it can be reached."""


class SinkUnavailableError(SinkError):
    """A sink is unavailable (disk full, locked, network); its records stay in the journal."""


class DamagedFileError(SinkUnavailableError):
    """A file of a store is not what fastlog wrote: it is damaged, or another kind of file."""

    path: Path | None = None
    """The file, if the text names it."""


class NewerSchemaError(SinkUnavailableError):
    """A newer fastlog made a store, in a format that this one does not know."""


class SinkConflictError(SinkError):
    """The cursor differs from the one that this worker wrote: another worker uses the same sink."""


class RejectedError(FastlogError):
    """A frame is not a record. The text is the reason that the ledger stores."""


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra of the server, for the text of an error."""
    return f"run: pip install 'fastlog-server[{extra}]' (in a checkout: '.[{extra}]')"


def describe(error: Exception) -> str:
    """Return the text of an error for the log; that of an unexpected one begins with its type."""
    return str(error) if isinstance(error, FastlogError) else f"{type(error).__name__}: {error}"
