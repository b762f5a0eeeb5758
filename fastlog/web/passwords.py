"""Passwords: hashed with scrypt, as one line of text."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from pathlib import Path
from typing import Final

from fastlog.errors import ConfigError

_N, _R, _P = 1 << 15, 8, 1
"""32 MiB of memory and about a tenth of a second for each attempt."""
_MEMORY: Final = 64 << 20
_FORM: Final = re.compile(r"scrypt:(\d{1,8}):(\d{1,3}):(\d{1,3}):([\w+/=]+):([\w+/=]+)", re.ASCII)


def hash_password(password: str) -> str:
    """Return the line for a password, with a new salt."""
    salt = os.urandom(16)
    digest = _derive(password, salt, _N, _R, _P)
    return f"scrypt:{_N}:{_R}:{_P}:{_text(salt)}:{_text(digest)}"


def is_password(password: str, line: str) -> bool:
    """Return whether a line was made of this password. Takes a tenth of a second."""
    match = _FORM.fullmatch(line)
    if match is None:
        return False
    n, r, p = (int(match[at]) for at in (1, 2, 3))
    salt, digest = (base64.b64decode(match[at]) for at in (4, 5))
    return hmac.compare_digest(_derive(password, salt, n, r, p), digest)


def read_password_file(path: Path) -> str:
    """Return the line of a password file.

    Raises:
        ConfigError: It cannot be read, others may read it, or it has no such line.
    """
    try:
        mode, lines = path.stat().st_mode, path.read_text("utf-8").split()
    except OSError as error:
        raise ConfigError(f"web.password_file: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        lines = []
    if mode & 0o007:
        raise ConfigError(f"web.password_file: all users can read {path}; run chmod 600 {path}")
    if len(lines) != 1 or not is_line(lines[0]):
        raise ConfigError(
            f"web.password_file: {path} is none; make it with fastlog web --make-password > {path}"
        )
    return lines[0]


def is_line(text: str) -> bool:
    """Return whether a text is a line that `is_password` can check."""
    match = _FORM.fullmatch(text)
    if match is None:
        return False
    try:
        _derive("", base64.b64decode(match[4]), *(int(match[at]) for at in (1, 2, 3)))
    except ValueError:
        return False
    return True


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
