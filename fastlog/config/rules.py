"""Read what is not stored: `filter`, `fields` and `without` of a sink, `[[redact]]`, `[[expire]]`.

Queries, expressions and names of fields are checked by functions that the caller of `load` gives,
because the query language is above the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import fields

from fastlog.config.locate import KeyPath
from fastlog.config.sources import Setting
from fastlog.config.tables import check_names, read_field
from fastlog.config.tree import Config, ExpireConfig, RedactConfig, SinkConfig
from fastlog.config.values import shown
from fastlog.errors import ConfigError

Checks = Mapping[str, Callable[[str], object]]
"""For each kind of text (`filter`, `pattern`, `field`, `stored`), a function that raises
`ConfigError` if it is wrong. `stored` is a field that a sink may lack."""
NO_CHECKS: Final[Checks] = MappingProxyType({})

EXPIRING: Final = ("sqlite", "postgresql", "postgres")
"""The schemes of the sinks that can delete single records by age."""

_RULES: Final[dict[str, type[RedactConfig | ExpireConfig]]] = {
    "redact": RedactConfig,
    "expire": ExpireConfig,
}


def read_route(
    setting: Setting, path: KeyPath, item: dict[str, Any], checks: Checks
) -> dict[str, Any]:
    """Return which records a sink stores, and which of their fields: arguments of `SinkConfig`.

    Raises:
        ConfigError: One of them is wrong.
    """
    names = [name for name in ("filter", "fields", "without") if name in item]
    found: dict[str, Any] = {
        name: read_field(setting, path, SinkConfig, item, name) for name in names
    }
    if found.get("fields") and found.get("without"):
        message = "sink.without: fields says which fields are stored; leave one of them out"
        raise setting.source.error([*path, "without"], message)
    _check(setting, path, "filter", found, checks, "filter")
    for name in ("fields", "without"):
        _check(setting, path, name, found, checks, "stored" if name == "without" else "field")
    return found


def read_rules(setting: Setting, checks: Checks) -> list[Any]:
    """Return the rules of `[[redact]]` or `[[expire]]`.

    Raises:
        ConfigError: One of them is wrong.
    """
    key, struct = setting.key, _RULES[setting.key]
    if not isinstance(setting.value, list) or not all(
        isinstance(each, dict) for each in setting.value
    ):
        message = f"{key}: expected tables that begin with [[{key}]], got {shown(setting.value)}"
        raise setting.source.error([key], message)
    rules: list[Any] = []
    for at, item in enumerate(setting.value):
        path: KeyPath = [key, at]
        check_names(setting, path, item, list(struct.__struct_fields__))
        found = {name: read_field(setting, path, struct, item, name) for name in item}
        for each in fields(struct):
            if each.required and each.name not in found:
                raise setting.source.error(path, f"[[{key}]] needs {each.name}")
        if key == "redact":
            _check_redact(setting, path, found, checks)
        _check(setting, path, "filter", found, checks, "filter")
        rules.append(struct(**found))
    return rules


def _check_redact(setting: Setting, path: KeyPath, found: dict[str, Any], checks: Checks) -> None:
    if ("field" in found) == ("pattern" in found):
        message = "[[redact]] needs a field or a pattern, and not both"
        raise setting.source.error(path, message)
    if "field" in found and "fields" in found:
        message = "redact.fields: only valid beside a pattern; one rule redacts one field"
        raise setting.source.error([*path, "fields"], message)
    _check(setting, path, "field", found, checks, "stored")
    _check(setting, path, "fields", found, checks, "stored")
    _check(setting, path, "pattern", found, checks, "pattern")


def _check(
    setting: Setting, path: KeyPath, name: str, found: dict[str, Any], checks: Checks, kind: str
) -> None:
    """Check a text, or each text of a list."""
    if name not in found or (check := checks.get(kind)) is None:
        return
    value = found[name]
    for text in value if isinstance(value, list) else [value]:
        try:
            check(text)
        except ConfigError as error:
            message = f"{setting.key}.{name}: {error}"
            raise setting.source.error([*path, name], message, text) from None


def check_rules(config: Config, expire: Setting | None) -> None:
    """Check that a sink can do what `[[expire]]` says.

    Raises:
        ConfigError: None can.
    """
    if expire is None or not config.expire:
        return
    if not any(sink.url.partition(":")[0].lower() in EXPIRING for sink in config.sinks):
        message = (
            "expire: no sink can delete single records; a sqlite: or postgresql: sink can, an"
            " ndjson: file is rotated as a whole (its option keep)"
        )
        raise expire.source.error(["expire"], message)
