"""Read one table of a list such as `[[sink]]`: its keys, and the value of each."""

from __future__ import annotations

import typing
from typing import Any

from msgspec import Struct

from fastlog.config.locate import KeyPath
from fastlog.config.sources import Setting
from fastlog.config.values import nearest, read_value
from fastlog.errors import ConfigError


def read_field(
    setting: Setting, path: KeyPath, struct: type[Struct], item: dict[str, Any], name: str
) -> Any:
    """Return the checked value of a key of a table.

    Args:
        setting: The list.
        path: Of the table, for errors.
        struct: What the table becomes.
        item: The table.
        name: The key.

    Raises:
        ConfigError: The value is wrong.
    """
    annotation = typing.get_type_hints(struct, include_extras=True)[name]
    try:
        return read_value(annotation, item[name], textual=setting.textual)
    except ConfigError as error:
        message = f"{setting.key}.{name}: {error}"
        raise setting.source.error([*path, name], message, item[name]) from None


def check_names(setting: Setting, path: KeyPath, item: dict[str, Any], allowed: list[str]) -> None:
    """Check that a table has no other keys than these.

    Raises:
        ConfigError: It has one.
    """
    for name in item:
        if name not in allowed:
            message = f"[[{setting.key}]] has no key {name!r}{nearest(name, allowed)}"
            raise setting.source.error([*path, name], message, name)
