"""The errors of fastlog: one tree, so that `except FastlogError` catches all that is ours.

The text of each is one line that says what, where, and what to do; a command prints it as it is.
"""

from __future__ import annotations

from pathlib import Path


class FastlogError(Exception):
    """The root of every error that fastlog raises on purpose."""


class ConfigError(FastlogError):
    """The configuration, a flag or a `FASTLOG_*` variable is wrong. Commands exit with 2."""


class FrameError(FastlogError):
    """A byte stream cannot be split further: a frame over the limit, or an end inside a frame."""


class LoopError(FastlogError):
    """The event loop could not do what was asked, with the reason that the system gave."""


class JournalError(FastlogError):
    """The journal cannot be opened, read or written."""


class JournalDamagedError(JournalError):
    """Bytes of the journal that were durable once are not readable now."""


class JournalGoneError(JournalDamagedError):
    """The journal's files are not where they were; the server must not go on."""


class SinkError(FastlogError):
    """A sink rejected a block, though it can be reached."""


class SinkUnavailableError(SinkError):
    """A sink cannot be reached now (disk full, locked, network); what it was given still waits."""


class DamagedFileError(SinkUnavailableError):
    """A file of a store cannot be what fastlog wrote: damaged, or something else by that name."""

    path: Path | None = None
    """The file, where the text names it."""


class NewerSchemaError(SinkUnavailableError):
    """A newer fastlog made a store, in a form that this one does not know."""


class SinkConflictError(SinkError):
    """The cursor is not where this worker left it: another worker writes to the same sink."""


class RejectedError(FastlogError):
    """A frame is not a record. The text is the reason, as it goes into the ledger."""
