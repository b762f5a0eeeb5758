"""Connections to PostgreSQL: what a URL says, how to connect, and what an error says.

This file imports psycopg, which takes a while: import it only where a URL is PostgreSQL's.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode

from fastlog.config.urls import public_url
from fastlog.config.values import nearest
from fastlog.errors import ConfigError, SinkUnavailableError, how_to_install

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
except ImportError as error:
    raise ImportError(f"{error}; {how_to_install('postgres')}") from error

__all__ = [
    "CHANNEL",
    "LOCK_SECONDS",
    "STATEMENT_SECONDS",
    "Connection",
    "Target",
    "connect",
    "describe_lock",
    "is_missing",
    "is_rejection",
    "is_without_partition",
    "local_settings",
    "name_process",
    "one_line",
    "own_timeouts",
    "own_transaction",
    "parse_url",
    "psycopg",  # imported here only, for the error that says how to install it
    "unavailable",
]

# Its warnings are about errors that follow the one that it raises, which is reported in one line.
logging.getLogger("psycopg").setLevel(logging.ERROR)

Connection = psycopg.Connection[tuple[Any, ...]]

MIN_SERVER: Final = 150_000
"""The oldest version that the tests run, as libpq numbers it."""
SCHEMA: Final = "fastlog"
CHANNEL: Final = "fastlog"
"""What a transaction of the sink notifies, so that `tail` need not poll."""
LOCK_SECONDS: Final = 5
"""Seconds that a statement of the sink waits for a lock."""
STATEMENT_SECONDS: Final = 60
"""Seconds of a statement of the sink."""
OWN_OPTIONS: Final = ("schema", "trigrams")
"""The options of a URL that libpq does not get."""
_DEFAULTS: Final[dict[str, str]] = {
    "connect_timeout": "5",
    # A peer that has gone silently is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "application_name": "fastlog",
    "client_encoding": "utf8",
}
_PREFIX: Final = re.compile(r"\A(connection failed|connection is bad|consuming input failed): ")
_EACH_HOST: Final = re.compile(r"^- host: .*?, hostaddr: \S+: ", re.MULTILINE)
_SENTENCE: Final = re.compile(r"\n\t?(?=[A-Z]|connection to server)")
_SPURIOUS: Final = re.compile(
    r"\n\tThis probably means the server terminated abnormally\s+"
    r"before or while processing the request\."
)
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}", re.ASCII)


class Target(NamedTuple):
    """What a URL names: a schema of a database."""

    parameters: dict[str, str]
    """For libpq."""
    schema: str
    """It needs no quotes in SQL."""
    trigrams: bool
    """Whether closed partitions get indexes of trigrams."""
    label: str
    """The URL without secrets, for messages."""


def parse_url(url: SplitResult) -> Target:
    """Return what a `postgresql:` URL names.

    Raises:
        ConfigError: It is wrong; the text gives the reason.
    """
    own: dict[str, str] = {}
    rest: list[tuple[str, str]] = []
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        if name not in OWN_OPTIONS:
            rest.append((name, value))
        elif name in own:
            raise ConfigError(f"{url.scheme}: option {name!r} is given twice")
        else:
            own[name] = value
    schema = own.get("schema", SCHEMA)
    if not _NAME.fullmatch(schema) or schema.startswith("pg_"):
        raise ConfigError(
            f"{url.scheme}: schema is a name of lower-case letters, digits and _, not {schema!r}"
        )
    trigrams = own.get("trigrams", "no")
    if trigrams not in ("no", "yes"):
        raise ConfigError(f"{url.scheme}: trigrams is no or yes, not {trigrams!r}")
    place = f"{url.scheme}://{url.netloc}{url.path}"  # `geturl` leaves out slashes before a path
    label = public_url(place)
    try:
        given = conninfo_to_dict(f"{place}?{urlencode(rest)}")
    except psycopg.ProgrammingError as error:
        known = (*OWN_OPTIONS, *(name for name, _ in rest if name in _DEFAULTS))
        hint = "".join(nearest(name, known) for name, _ in rest[:1])
        raise ConfigError(f"{label}: {one_line(error)}{hint}") from None
    parameters = {**_DEFAULTS, **{name: str(value) for name, value in given.items()}}
    if "," in parameters.get("host", ""):  # of several servers, the one that can be written to
        parameters.setdefault("target_session_attrs", "read-write")
    return Target(parameters, schema, trigrams == "yes", label)


def connect(target: Target) -> Connection:
    """Connect in autocommit mode, and without prepared statements: pgbouncer may be between.

    Raises:
        SinkUnavailableError: That is not possible now.
        ConfigError: The server or the database is unfit.
    """
    with unavailable(target):
        connection = psycopg.connect(
            **target.parameters,  # type: ignore[arg-type]
            autocommit=True,
            prepare_threshold=None,
        )
        # Times near the years 1 and 9999 are none of Python's in some zones. pgbouncer keeps this
        # setting for each client.
        connection.execute("SET TimeZone TO 'UTC'")
    version = connection.info.server_version
    encoding = connection.info.parameter_status("server_encoding")
    unfit = ""
    if version < MIN_SERVER:
        unfit = f"it is PostgreSQL {version // 10_000}; use {MIN_SERVER // 10_000} or later"
    elif encoding not in ("UTF8", None):
        unfit = f"the encoding of the database is {encoding}; make one with ENCODING 'UTF8'"
    if unfit:
        connection.close()
        raise ConfigError(f"{target.label}: {unfit}")
    return connection


@contextmanager
def unavailable(target: Target) -> Iterator[None]:
    """Turn errors of PostgreSQL into one line that names the database.

    Raises:
        SinkUnavailableError: The body raised an error of psycopg.
    """
    try:
        yield
    except psycopg.Error as error:
        raise SinkUnavailableError(f"{target.label}: {one_line(error)}") from error


def one_line(error: psycopg.Error) -> str:
    """Return what an error says, in one line."""
    diagnosis = error.diag
    if diagnosis.message_primary is None:
        return _one_line_of_libpq(str(error)) or type(error).__name__
    parts: Sequence[str | None] = (diagnosis.message_primary, diagnosis.message_detail)
    return "; ".join(" ".join(part.split()) for part in parts if part)


def _one_line_of_libpq(text: str) -> str:
    """Return an error of libpq in one line, without what psycopg puts before and after it.

    libpq adds a sentence, in lines that begin with a tab. psycopg repeats the error of the last
    host before those of all hosts.
    """
    _, several, of_hosts = text.partition("All failures were:\n")
    errors = _EACH_HOST.split(of_hosts)[1:] if several else [text]
    sentences: list[str] = []
    for error in errors:
        plain = _PREFIX.sub("", _SPURIOUS.sub("", error))
        sentences += (" ".join(each.split()) for each in _SENTENCE.split(plain))
    return "; ".join(dict.fromkeys(each.rstrip(".") for each in sentences if each))


def is_missing(error: psycopg.Error) -> bool:
    """Return whether a table or a schema is missing, or is not as it was made."""
    names = psycopg.errors
    return isinstance(
        error,
        names.UndefinedTable
        | names.InvalidSchemaName
        | names.UndefinedColumn
        | names.UndefinedObject,
    )


def is_without_partition(error: psycopg.Error) -> bool:
    """Return whether there is no partition for a row. Other violated checks have a name."""
    return isinstance(error, psycopg.errors.CheckViolation) and error.diag.constraint_name is None


def is_rejection(error: psycopg.Error) -> bool:
    """Return whether the database will never take the data: a check, a trigger, a wrong value."""
    return isinstance(error, psycopg.DataError | psycopg.IntegrityError) or (
        error.sqlstate or ""
    ).startswith("P0")


def local_settings(**settings: str) -> str:
    """Return SQL that sets values until the end of the transaction.

    `SET LOCAL` would need a statement each, and a `SET` of the session would reach other clients
    behind pgbouncer.
    """
    return ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())


def own_timeouts(connection: Connection, seconds: int, **settings: str) -> str:
    """Return SQL that makes the timeouts of a transaction independent of those of the role.

    Args:
        seconds: Of a statement, and between two; 0 for no limit.
        settings: What else to set, or to set otherwise.
    """
    timeouts = {
        "lock_timeout": f"{LOCK_SECONDS}s",
        "statement_timeout": f"{seconds}s",
        "idle_in_transaction_session_timeout": f"{seconds}s",
    }
    if connection.info.server_version >= 170_000:
        timeouts["transaction_timeout"] = "0"
    return local_settings(**{**timeouts, **settings})


@contextmanager
def own_transaction(
    connection: Connection,
    seconds: int,
    *,
    also: str = "",
    is_trial: bool = False,
    **settings: str,
) -> Iterator[None]:
    """Run the body in a transaction that the timeouts of the role do not end.

    BEGIN and the settings are one message: if they were two, the role's
    `idle_in_transaction_session_timeout` could end the connection between them.

    Args:
        connection: In autocommit mode.
        seconds: As in `own_timeouts`; and so are `settings`.
        also: An expression that is evaluated at the beginning.
        is_trial: Roll back at the end.
    """
    expressions = own_timeouts(connection, seconds, **settings) + (also and f", {also}")
    try:
        connection.execute(f"BEGIN; SELECT {expressions}")
        yield
    except BaseException:
        with suppress(psycopg.Error):
            connection.rollback()
        raise
    if is_trial:
        connection.rollback()
    else:
        connection.commit()


def describe_lock(connection: Connection, target: Target) -> str:
    """Return text that names a process with a lock on a table, to be put after an error.

    Returns:
        "" if none does, or if it is not known.
    """
    try:
        row = connection.execute(
            "SELECT relname, pid, usename, application_name"
            " FROM pg_locks JOIN pg_class c ON c.oid = relation"
            " JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN pg_stat_activity USING (pid)"
            " WHERE nspname = %s AND granted AND pid <> pg_backend_pid() AND mode IN"
            " ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND relkind IN ('r', 'p') ORDER BY mode, relname LIMIT 1",
            (target.schema,),
        ).fetchone()
    except psycopg.Error:
        return ""
    if row is None:
        return ""
    name, *process = row
    return f"; process {name_process(*process)} has a lock on {target.schema}.{name}"


def name_process(pid: int, user: str | None, application: str | None) -> str:
    """Return a process of the server for a message."""
    of = ", ".join(each for each in (user and f"user {user}", application) if each)
    return f"{pid} ({of})" if of else str(pid)
