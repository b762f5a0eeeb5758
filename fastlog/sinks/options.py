"""The options of a sink: the query part of its URL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import SplitResult, parse_qsl

from fastlog.config import parse_duration, parse_size
from fastlog.config.values import correct_units, nearest
from fastlog.errors import ConfigError

T = TypeVar("T")


class Options:
    """The options of one URL, read by their types.

    Raises:
        ConfigError: From every method; the text names the option and the URL's scheme.
    """

    def __init__(self, url: SplitResult, known: Sequence[str]) -> None:
        self._scheme = url.scheme
        self._values: dict[str, str] = {}
        for name, value in parse_qsl(url.query, keep_blank_values=True):
            if name not in known:
                raise ConfigError(f"{url.scheme}: no option {name!r}{nearest(name, known)}")
            if name in self._values:
                raise ConfigError(f"{url.scheme}: option {name!r} is given twice")
            self._values[name] = value

    def size(self, name: str) -> int | None:
        """Return bytes, at least 1; None when the option is not given."""
        return self._read(name, parse_size, "a size such as 100MiB")

    def duration(self, name: str) -> float | None:
        """Return seconds, above 0; None when the option is not given."""
        return self._read(name, parse_duration, "a time such as 1d")

    def count(self, name: str) -> int | None:
        """Return a number, at least 1; None when the option is not given."""
        return self._read(name, int, "a number")

    def text(self, name: str) -> str | None:
        """Return a text, not empty; None when the option is not given."""
        return self._read(name, str, "a text")

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return one of the choices; the first when the option is not given."""
        value = self._values.get(name, choices[0])
        if value not in choices:
            expected = " or ".join(choices)
            raise ConfigError(f"{self._scheme}: {name} is {expected}, not {value!r}")
        return value

    def _read(self, name: str, parse: Callable[[str], T], expected: str) -> T | None:
        text = self._values.get(name)
        if text is None:
            return None
        try:
            value = parse(text)
        except ValueError:
            value = None
        if not value or (not isinstance(value, str) and value < 0):  # type: ignore[operator]
            hint = correct_units(text, parse) if parse in (parse_size, parse_duration) else ""
            raise ConfigError(f"{self._scheme}: {name} is {expected}, not {text!r}{hint}")
        return value
