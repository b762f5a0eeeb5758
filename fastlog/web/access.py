"""Access: who may use the API. A password or a token is needed if one is configured."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from fastlog.config import WebConfig
from fastlog.web.failures import RequestError
from fastlog.web.passwords import is_password, read_password_file

COOKIE: Final = "fastlog_session"
CSRF_HEADER: Final = "X-Fastlog"
"""A page of another site cannot send it without a permission that this server never gives."""
LIFETIME: Final = 7 * 86_400
"""Seconds that a login lasts."""
SESSIONS: Final = 10_000
"""Logins that are kept; of more, the oldest end."""
FREE_ATTEMPTS: Final = 5
"""Wrong passwords of one host, or a hundredth of those of all hosts, that cost no waiting."""
LONGEST_WAIT: Final = 300.0
HOSTS: Final = 10_000
"""Hosts whose attempts are counted."""


class Access:
    """Sessions, tokens and attempts to log in.

    Args:
        password: The line of the password file; "" for none.
        tokens: Bearer tokens.
    """

    def __init__(self, password: str, tokens: list[str]) -> None:
        self._password = password
        self._tokens = [hashlib.sha256(token.encode()).digest() for token in tokens]
        self._sessions: OrderedDict[bytes, float] = OrderedDict()
        self._attempts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @classmethod
    def of(cls, config: WebConfig) -> Access:
        """Return the access that is configured.

        Raises:
            ConfigError: The password file is wrong.
        """
        path = config.password_file
        tokens = [token.partition(":")[2] for token in config.tokens]
        return cls(read_password_file(Path(path)) if path else "", tokens)

    @property
    def is_needed(self) -> bool:
        """Whether a request needs a session or a token."""
        return bool(self._password or self._tokens)

    @property
    def has_password(self) -> bool:
        """Whether one can log in."""
        return bool(self._password)

    def is_allowed(self, connection: HTTPConnection) -> bool:
        """Return whether a request has what it needs."""
        return not self.is_needed or self.has_token(connection) or self.has_session(connection)

    def has_token(self, connection: HTTPConnection) -> bool:
        """Return whether a request has one of the tokens."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        digest = hashlib.sha256(token.strip().encode()).digest()
        return any(hmac.compare_digest(digest, each) for each in self._tokens)

    def has_session(self, connection: HTTPConnection) -> bool:
        """Return whether a request is of somebody who has logged in."""
        ends = self._sessions.get(_key(connection.cookies.get(COOKIE, "")))
        return ends is not None and time.time() < ends

    def begin_attempt(self, host: str) -> None:
        """Count an attempt to log in, before the password is checked.

        Raises:
            RequestError: There were too many wrong ones.
        """
        now = time.monotonic()
        for key, free in ((host, FREE_ATTEMPTS), ("", 100 * FREE_ATTEMPTS)):
            number, last = self._attempts.get(key, (0, now))
            wait = min(LONGEST_WAIT, 2.0 ** min(20, number - free)) if number >= free else 0.0
            if now < last + wait:
                seconds = int(last + wait - now) + 1
                raise RequestError(
                    f"too many wrong passwords; try again in {seconds} s",
                    429,
                    headers={"Retry-After": str(seconds)},
                )
        for key in (host, ""):
            number, last = self._attempts.pop(key, (0, now))
            number = 0 if now > last + 2 * LONGEST_WAIT else number
            self._attempts[key] = (number + 1, now)
        while len(self._attempts) > HOSTS:
            self._attempts.popitem(last=False)

    def check(self, password: str) -> bool:
        """Return whether a password is right. Takes a tenth of a second."""
        return self.has_password and is_password(password, self._password)

    def log_in(self, host: str) -> str:
        """Begin a session after the right password, and return its cookie."""
        number, last = self._attempts.get("", (0, 0.0))
        own, _ = self._attempts.pop(host, (0, 0.0))
        self._attempts[""] = (max(0, number - own), last)
        token = secrets.token_urlsafe(32)
        self._sessions[_key(token)] = time.time() + LIFETIME
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return token

    def log_out(self, connection: HTTPConnection) -> None:
        """End the session of a request."""
        self._sessions.pop(_key(connection.cookies.get(COOKIE, "")), None)


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def is_known_host(header: str, names: frozenset[str]) -> bool:
    """Return whether the Host of a request is an address, or a name of this server.

    A page of another site that lets its own name point to this server sends its own name
    (DNS rebinding).
    """
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether only programs of this machine can connect to an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
