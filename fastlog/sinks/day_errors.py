"""Errors of a day file: those of SQLite and of the schema as those of a sink, with the path."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from fastlog.database import is_damage
from fastlog.errors import DamagedFileError, NewerSchemaError, SinkUnavailableError
from fastlog.sinks.unavailable import unavailable


def check_regular(path: Path) -> None:
    """Reject anything but a regular file before SQLite opens it.

    A FIFO would block, and a link leads out of the directory.

    Raises:
        DamagedFileError: It is something else. The text does not name it.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        what = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link"}
        kind = what.get(stat.S_IFMT(mode), "a special file")
        raise DamagedFileError(f"is {kind}, and not a day file")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate SQLite's errors and the schema's into those of a sink, with the path."""
    try:
        yield
    except NewerSchemaError as error:
        raise NewerSchemaError(f"{path} {error}") from error
    except DamagedFileError as error:
        raise _damaged(path, str(error)) from error
    except sqlite3.OperationalError as error:
        if is_damage(error):
            raise _damaged(path, f"is damaged ({error})") from error
        raise unavailable(path, error) from error
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise _damaged(path, f"is damaged ({error})") from error
        if type(error) is not sqlite3.DatabaseError:  # its subclasses are about the values of a row
            raise
        raise SinkUnavailableError(f"{path}: {error}") from error
    except OSError as error:
        raise unavailable(path, error) from error


def _damaged(path: Path, text: str) -> DamagedFileError:
    error = DamagedFileError(f"{path} {text}")
    error.path = path
    return error
