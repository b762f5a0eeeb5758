"""The three sources of settings: file, environment, flags. Each is read into `Setting`s.

A setting keeps its source, so that an error can name the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fastlog.config.locate import KeyPath, line_of
from fastlog.config.tree import SECTIONS
from fastlog.config.values import nearest, shown
from fastlog.errors import ConfigError

DEFAULT_FILE = Path("fastlog.toml")
PREFIX = "FASTLOG_"
NO_SETTINGS = ("FASTLOG_CONFIG", "FASTLOG_PAGER", "FASTLOG_TOKEN")
"""Variables that name the file to read, and the pager and the token of commands."""
TOP_KEYS = ("data_dir", "listen", "sink")
"""The keys outside all tables."""
TABLES = ("redact", "expire")
"""Lists of tables, which only a file can have."""
PATHS = ("web.password_file", "web.certificate", "web.key")
"""Keys of files, which are relative to the file that has the key."""
LISTEN_PATHS = ("certificate", "key", "client_ca", "crl")
"""The same in `[[listen]]`."""
FLAGS = {
    "source.url": "--source",
    "web.url": "--web",
    "web.certificate": "--certificate",
    "web.key": "--key",
}
"""Flags that are not named like their keys."""


class Setting(NamedTuple):
    """A value with its key and its source."""

    section: str
    """The table; "" outside all tables."""
    key: str
    value: object
    source: Source
    textual: bool
    """Whether the value is text because its source has only text: a variable or a flag."""


class Source(NamedTuple):
    """A source of settings, which can name the place of one of them."""

    name: str
    """The file's name, the variable, or the flag."""
    text: str | None = None
    """The file's text; `None` for a variable or a flag."""

    def error(self, path: KeyPath, message: str, value: object = None) -> ConfigError:
        """Return an error that begins with the place of `path`."""
        line = "" if self.text is None else f":{line_of(self.text, path, value)}"
        return ConfigError(f"{self.name}{line}: {message}")


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: `path`, `$FASTLOG_CONFIG`, `./fastlog.toml`, or none."""
    if path is not None:
        return path
    if environ.get("FASTLOG_CONFIG"):
        return Path(environ["FASTLOG_CONFIG"])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def file_settings(file: Path) -> Iterator[Setting]:
    """Yield the settings of a TOML file."""
    import tomllib  # only a file needs it

    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text") from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(file, text, str(error)) from None
    source = Source(str(file), text)
    for name, value in tree.items():
        if name in SECTIONS:
            if not isinstance(value, dict):
                raise source.error([name], f"{name}: expected a table [{name}], got {shown(value)}")
            for key, inner in value.items():
                if f"{name}.{key}" in PATHS and isinstance(inner, str) and inner:
                    inner = str(file.parent / inner)
                yield Setting(name, key, inner, source, textual=False)
        elif name == "data_dir" and isinstance(value, str) and value:
            # relative to the file, so that it does not depend on the current directory
            yield Setting("", name, str(file.parent / value), source, textual=False)
        elif name == "listen" and isinstance(value, list):
            items = [_with_paths(item, file.parent) for item in value]
            yield Setting("", name, items, source, textual=False)
        else:
            yield Setting("", name, value, source, textual=False)


def _with_paths(listen: object, directory: Path) -> object:
    """Return an entry of `listen` with its relative paths made relative to a directory."""
    if not isinstance(listen, dict):
        return listen
    return {
        key: str(directory / value)
        if key in LISTEN_PATHS and isinstance(value, str) and value
        else value
        for key, value in listen.items()
    }


def _syntax_error(file: Path, text: str, message: str) -> ConfigError:
    """Turn `Expected '=' … (at line 3, column 5)` into an error that begins with file and line."""
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message)
    what = found[1] if found else message
    line = found[2] if found and found[2] else text.rstrip().count("\n") + 1
    return ConfigError(f"{file}:{line}: not TOML: {what[:1].lower()}{what[1:]}")


def environ_settings(environ: Mapping[str, str]) -> Iterator[Setting]:
    """Yield the settings of `FASTLOG_*` variables."""
    valid = {f"{PREFIX}{key}".upper(): ("", key) for key in TOP_KEYS}
    for section, struct in SECTIONS.items():
        for key in struct.__struct_fields__:
            valid[f"{PREFIX}{section}_{key}".upper()] = (section, key)
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in NO_SETTINGS:
            continue
        if name not in valid and _is_of_a_service(name, environ[name]):
            continue
        if name not in valid:
            hint = nearest(name, [*valid, *NO_SETTINGS])
            raise ConfigError(f"{name}: there is no such variable{hint}")
        section, key = valid[name]
        value: object = environ[name]
        if key in ("listen", "sink"):
            separator = r"[,\s]+" if key == "listen" else r"\s+"  # a sink's URL may have commas
            value = [part for part in re.split(separator, environ[name]) if part]
        yield Setting(section, key, value, Source(name), textual=True)


_ADDRESS = r"[0-9A-Fa-f.:]+"
_SERVICE = (
    (r"SERVICE_HOST", _ADDRESS),
    (r"SERVICE_PORT(_[A-Z0-9_]+)?", r"\d+"),
    (r"PORT(_\d+_(TCP|UDP|SCTP))?", r"(tcp|udp|sctp)://[][0-9A-Fa-f.:]+"),
    (r"PORT_\d+_(TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
    (r"PORT_\d+_(TCP|UDP|SCTP)_PORT", r"\d+"),
    (r"PORT_\d+_(TCP|UDP|SCTP)_ADDR", _ADDRESS),
    (r"NAME", r"/.+/.+"),
    (r"ENV_.+", r".*"),
)
"""The variables that Kubernetes sets in every pod for a Service named fastlog, or whose name begins
with it, and Docker for a link of that name: patterns of the name after the Service's, and of the
value."""


def _is_of_a_service(name: str, value: str) -> bool:
    return any(
        re.fullmatch(rf"{PREFIX}([A-Z0-9_]+_)?{pattern}", name) and re.fullmatch(values, value)
        for pattern, values in _SERVICE
    )


def flag_settings(flags: Mapping[str, object]) -> Iterator[Setting]:
    """Yield the settings of flags."""
    for name, value in flags.items():
        if value is None or value == ():
            continue
        section, _, key = name.rpartition(".")
        flag = "--" + name.replace("_", "-").replace(".", "-")
        source = Source(FLAGS.get(name, flag))
        given = list(value) if isinstance(value, tuple) else value
        yield Setting(section, key, given, source, textual=True)
