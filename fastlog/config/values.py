"""Read one value from TOML or text, and check its type and range."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import Meta

from fastlog.config.units import (
    MAX_SIZE,
    SIZE_NAMES,
    TIME_NAMES,
    format_size,
    parse_duration,
    parse_size,
)
from fastlog.errors import ConfigError


def closest(word: str, valid: Iterable[str], least: float = 0.55) -> str | None:
    """Return the valid word that is most similar to a word, in any case; None if none is similar.

    Args:
        least: The similarity from which on words are similar, from 0 to 1: 1 for equal words.
    """
    import difflib  # only mistakes need it

    folded = {each.casefold(): each for each in valid}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=least)
    return folded[close[0]] if close else None


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return `; did you mean 'size'?`, or the list of valid words if none of them is near."""
    words = sorted(valid)
    if (close := closest(word, words)) is not None:
        return f"; did you mean {close!r}?"
    return f"; there are {', '.join(words)}" if words else ""


def correct_units(text: str, parse: Callable[[str], object]) -> str:
    """Return `; did you mean '30 days'?` for a size or a time with a mistyped unit, or "".

    Args:
        parse: `parse_size` or `parse_duration`.
    """
    names = SIZE_NAMES if parse is parse_size else TIME_NAMES
    near = re.sub(r"[A-Za-z]+", lambda word: closest(word[0], names) or word[0], text)
    try:
        parse(near)
    except ValueError:
        return ""
    return f"; did you mean {near!r}?"


def read_value(annotation: object, value: object, *, textual: bool) -> Any:
    """Convert a value to the type of its field.

    Args:
        annotation: the field's type in `tree.py`, with its `Meta`.
        value: a value of TOML, or text.
        textual: whether it is text because it is from a variable or a flag.

    Raises:
        ConfigError: `expected …, got …`, without the place, which the caller adds.
    """
    kind, meta = annotation, Meta()
    if get_origin(annotation) is Annotated:
        kind, meta = get_args(annotation)
    if get_origin(kind) is Literal:
        return _read_choice(get_args(kind), value)
    if kind is Path:
        return _read_path(value)
    if kind is str:
        bits = (meta.extra or {}).get("bits")
        return _read_text(value) if bits is None else _read_mode(value, bits)
    if kind is bool:
        return _read_flag(value)
    if get_origin(kind) is list:
        return _read_texts(value, textual=textual)
    unit = (meta.extra or {}).get("unit")
    number = _read_number(unit, value, textual=textual)
    _check_range(meta, unit, number, value)
    return number


def _read_choice(choices: tuple[str, ...], value: object) -> str:
    if isinstance(value, str) and value in choices:
        return value
    if isinstance(value, str) and len(choices) > 2:
        raise ConfigError(f"there is no {value!r}{nearest(value, choices)}")
    raise ConfigError(f"expected {' or '.join(map(repr, choices))}, got {shown(value)}")


def _read_path(value: object) -> Path:
    if isinstance(value, Path) or (isinstance(value, str) and value and "\0" not in value):
        return Path(value)
    raise ConfigError(f"expected a path, got {shown(value)}")


def _read_text(value: object) -> str:
    if isinstance(value, str) and value:
        return _without_nul(value)
    raise ConfigError(f"expected text, got {shown(value)}")


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ConfigError("expected text without a NUL character")
    return text


def _read_mode(value: object, bits: int) -> str:
    """Read octal digits in a string. As a number, TOML's `640` would differ from `0o640`."""
    if not (isinstance(value, str) and re.fullmatch("0?[0-7]{3}", value)):
        raise ConfigError(f'expected a mode such as "0640", in quotes, got {shown(value)}')
    mode = int(value, 8)
    if mode & 0o600 != 0o600:
        raise ConfigError(f"expected a mode that lets the server read and write, got {value!r}")
    if mode & ~bits:
        raise ConfigError(f"expected no more than {bits:04o}, got {value!r}")
    return f"{mode:04o}"


def _read_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ConfigError(f"expected true or false, got {shown(value)}")


def _read_texts(value: object, *, textual: bool) -> list[str]:
    if textual and isinstance(value, str):
        value = [part for part in value.split(",") if part]
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        return list(map(_without_nul, value))
    raise ConfigError(f"expected a list of texts, got {shown(value)}")


def _read_number(unit: str | None, value: object, *, textual: bool) -> int | float:
    number = isinstance(value, int) and not isinstance(value, bool)
    if unit == "time":
        try:
            if number or (isinstance(value, float) and math.isfinite(value)):
                return float(value)  # type: ignore[arg-type]
            if isinstance(value, str):
                return parse_duration(value)
        except (ValueError, OverflowError):
            pass
        hint = correct_units(value, parse_duration) if isinstance(value, str) else ""
        raise ConfigError(f'expected a time such as 3600 or "30 days", got {shown(value)}{hint}')
    if number:
        return int(value)  # type: ignore[call-overload,no-any-return]
    if isinstance(value, str) and (unit == "size" or textual):
        try:
            return parse_size(value) if unit == "size" else int(value)
        except ValueError:
            pass
    if unit == "size":
        hint = correct_units(value, parse_size) if isinstance(value, str) else ""
        raise ConfigError(f'expected a size such as 1048576 or "64 MiB", got {shown(value)}{hint}')
    raise ConfigError(f"expected an integer, got {shown(value)}")


def _check_range(meta: Meta, unit: str | None, number: int | float, value: object) -> None:
    most = MAX_SIZE if unit == "size" and meta.le is None else meta.le
    bounds = (
        (meta.ge, "at least", meta.ge is not None and not number >= meta.ge),
        (meta.gt, "more than", meta.gt is not None and not number > meta.gt),
        (most, "at most", most is not None and not number <= most),
    )
    for bound, words, broken in bounds:
        if bound is not None and broken:
            size = f" ({format_size(bound)})" if unit == "size" and bound % 1024 == 0 else ""
            raise ConfigError(f"expected {words} {bound}{size}, got {shown(value)}")


def shown(value: object) -> str:
    """Format a wrong value for an error: short, on one line."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, types.NoneType):
        return "nothing"
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
