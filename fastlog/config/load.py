"""Load the configuration from a file, the environment and flags.

The last value of a key wins. Every value is checked, even if a later one replaces it.
"""

from __future__ import annotations

import grp
import re
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from fastlog.config import urls
from fastlog.config.locate import KeyPath
from fastlog.config.rules import NO_CHECKS, Checks, check_rules, read_route, read_rules
from fastlog.config.source_sink import source_sink
from fastlog.config.sources import (
    TABLES,
    TOP_KEYS,
    Setting,
    Source,
    environ_settings,
    file_settings,
    find_file,
    flag_settings,
)
from fastlog.config.tables import read_field
from fastlog.config.tree import SECRETS, SECTIONS, Config, ListenConfig, SinkConfig
from fastlog.config.units import format_size
from fastlog.config.values import nearest, read_value, shown
from fastlog.errors import ConfigError, FastlogError
from fastlog.files import group_id

SHORTEST_TOKEN = 16
"""Characters of a bearer token, which are not to be guessed."""
_ONLY_FOR = {
    **dict.fromkeys(("mode", "group"), ("unix:", "a Unix socket")),
    **dict.fromkeys(("certificate", "key", "client_ca", "crl", "identity"), ("tls:", "tls://")),
}
"""Keys of `[[listen]]` that are for one kind of listener: how its URL begins, and what it is."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)


def load(
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    checks: Checks = NO_CHECKS,
) -> Config:
    """Read, merge and check the configuration.

    Args:
        path: the value of `--config`.
        environ: the environment, of which only `FASTLOG_*` is used.
        flags: by key: `data_dir`, `listen`, `sink`, or `section.key`. `None` and an empty tuple
            mean that the flag was not given.
        checks: for what is written in a language of its own.

    Raises:
        ConfigError: one line with the place, what was expected, and the nearest valid name.
    """
    file = find_file(path, environ)
    settings = list(file_settings(file)) if file is not None else []
    settings += environ_settings(environ)
    settings += flag_settings(flags)
    return _build(settings, checks)


def _build(settings: list[Setting], checks: Checks) -> Config:
    top: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    origin: dict[tuple[str, str], Setting] = {}
    for setting in settings:
        origin[setting.section, setting.key] = setting
        if setting.section:
            struct = SECTIONS[setting.section]
            sections[setting.section][setting.key] = _read(struct, setting)
        elif setting.key == "data_dir":
            top["data_dir"] = _read(Config, setting)
        elif setting.key == "listen":
            top["listen"] = _read_listeners(setting)
        elif setting.key == "sink":
            top["sinks"] = _read_sinks(setting, checks)
        elif setting.key in TABLES:
            top[setting.key] = read_rules(setting, checks)
        else:
            hint = _suggest_key(setting.key, [*TOP_KEYS, *TABLES, *SECTIONS])
            raise setting.source.error([setting.key], f"there is no key {setting.key!r}{hint}")
    top |= {name: SECTIONS[name](**values) for name, values in sections.items()}
    config = Config(**top)
    _check_together(config, origin)
    return config


def _suggest_key(key: str, valid: Iterable[str]) -> str:
    """Return a hint: the tables that have this key, or the nearest valid one here."""
    tables = [f"[{name}]" for name, struct in SECTIONS.items() if key in struct.__struct_fields__]
    if tables:
        return f"; it is a key of {' and of '.join(tables)}"
    return nearest(key, valid)


def _read(struct: type[Struct], setting: Setting) -> Any:
    section, key = setting.section, setting.key
    path = [section, key] if section else [key]
    if key not in struct.__struct_fields__:
        hint = _suggest_key(key, struct.__struct_fields__)
        raise setting.source.error(path, f"[{section}] has no key {key!r}{hint}")
    annotation = typing.get_type_hints(struct, include_extras=True)[key]
    try:
        return read_value(annotation, setting.value, textual=setting.textual)
    except ConfigError as error:
        message = f"{'.'.join(path)}: {error}"
        raise setting.source.error(path, message, setting.value) from None


def _items(setting: Setting, allowed: tuple[str, ...]) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yield the entries of `listen` or `sink`, each as a path and a table."""
    key, value, source = setting.key, setting.value, setting.source
    if isinstance(value, str):
        value = [value]
    if isinstance(value, dict):
        message = f"{key}: expected URLs, or tables that begin with [[{key}]], got one table"
        raise source.error([key], message)
    if not isinstance(value, list) or not value:
        raise source.error([key], f"{key}: expected a list of URLs, got {shown(value)}")
    for at, item in enumerate(value):
        path: list[str | int] = [key, at]
        if isinstance(item, str):
            yield path, {"url": item}
            continue
        if not isinstance(item, dict):
            raise source.error(path, f"{key}: expected a URL or a table, got {shown(item)}")
        for name in item:
            if name not in allowed:
                message = f"[[{key}]] has no key {name!r}{nearest(name, allowed)}"
                raise source.error([*path, name], message, name)
        if "url" not in item:
            raise source.error(path, f"[[{key}]] needs a url")
        yield path, item


def _read_listeners(setting: Setting) -> list[ListenConfig]:
    listeners: list[ListenConfig] = []
    for path, item in _items(setting, ListenConfig.__struct_fields__):
        url = read_field(setting, path, ListenConfig, item, "url")
        try:
            urls.check_listen(url)
            if not url.endswith(":0") and any(url == listener.url for listener in listeners):
                raise ConfigError(f"{url!r} is listed twice")
        except ConfigError as error:
            raise setting.source.error(path, f"listen: {error}", url) from None
        given = {name: read_field(setting, path, ListenConfig, item, name) for name in item}
        for name in given:
            kind = _ONLY_FOR.get(name)
            if kind is not None and not url.startswith(kind[0]):
                message = f"listen.{name}: only valid for {kind[1]}, not for {url!r}"
                raise setting.source.error([*path, name], message, item[name])
        _check_tls(setting, path, ListenConfig(**given))
        if "group" in given:
            _check_group(setting, [*path, "group"], "listen.group", given["group"])
        listeners.append(ListenConfig(**given))
    return listeners


def _check_tls(setting: Setting, path: KeyPath, listen: ListenConfig) -> None:
    if urls.is_tls(listen.url) and not listen.certificate:
        message = f"listen: {listen.url!r} needs a certificate, the path of a PEM file"
        raise setting.source.error(path, message, listen.url)
    if listen.identity == "certificate" and not listen.client_ca:
        message = 'listen.identity: "certificate" needs client_ca, which says whose are valid'
        raise setting.source.error([*path, "identity"], message, listen.identity)
    if listen.crl and not listen.client_ca:
        message = "listen.crl: the revocation lists are those of client_ca, which is missing"
        raise setting.source.error([*path, "crl"], message, listen.crl)


def _read_sinks(setting: Setting, checks: Checks) -> list[SinkConfig]:
    items = list(_items(setting, SinkConfig.__struct_fields__))
    given = {item["name"] for _, item in items if isinstance(item.get("name"), str)}
    sinks: list[SinkConfig] = []
    for path, item in items:
        url = read_field(setting, path, SinkConfig, item, "url")
        try:
            urls.check_sink(url)
        except ConfigError as error:
            raise setting.source.error(path, f"sink: {error}", url) from None
        names = {sink.name for sink in sinks}
        if "name" in item:
            name = read_field(setting, path, SinkConfig, item, "name")
            _check_name(setting, [*path, "name"], name, names)
        else:
            name = _free_name(url.partition(":")[0].lower().replace("+", "-"), names | given)
        when_full = "skip" if sinks else "hold"
        if "when_full" in item:
            when_full = read_field(setting, path, SinkConfig, item, "when_full")
        route = read_route(setting, path, item, checks)
        sinks.append(SinkConfig(url, name, typing.cast(typing.Any, when_full), **route))
    if items and all(sink.when_full == "skip" for sink in sinks):
        expected = "sink.when_full: at least one sink must have 'hold', or records may be lost"
        raise setting.source.error(items[0][0], expected)
    return sinks


def _check_name(setting: Setting, path: KeyPath, name: str, names: set[str]) -> None:
    if not _NAME.fullmatch(name):  # also used as a file name
        expected = "expected letters, digits, '_', '-' and '.', at most 64"
        raise setting.source.error(path, f"sink.name: {expected}, got {shown(name)}", name)
    if name in names:
        raise setting.source.error(path, f"sink.name: two sinks are named {name!r}")


def _free_name(scheme: str, names: set[str]) -> str:
    name, count = scheme, 1
    while name in names:
        count += 1
        name = f"{scheme}-{count}"
    return name


def _check_together(config: Config, origin: Mapping[tuple[str, str], Setting]) -> None:
    """Check values that depend on each other."""
    journal, limits = config.journal, config.limits
    rules = (
        ("journal", "size", "segment", journal.size, 2 * journal.segment, "two segments"),
        ("limits", "partial_memory", "max_frame", limits.partial_memory, limits.max_frame, ""),
        ("journal", "memory", "max_frame", journal.memory, limits.max_frame, ""),
    )
    for section, key, other, value, least, words in rules:
        if value >= least:
            continue
        needed = words or "limits.max_frame"
        message = (
            f"{section}.{key}: expected at least {needed} ({format_size(least)}), "
            f"got {format_size(value)}"
        )
        other_section = "limits" if other == "max_frame" else section
        setting = origin.get((section, key)) or origin[other_section, other]
        path = [setting.section, setting.key]
        raise setting.source.error(path, message)
    if (group := origin.get(("files", "group"))) is not None:
        _check_group(group, ["files", "group"], "files.group", config.files.group)
    check_rules(config, origin.get(("", "expire")))
    _check_keys(config, origin.get(("auth", "keys")))
    _check_web(config, origin)
    if config.source.url:
        _check_source(config, origin)


def _check_source(config: Config, origin: Mapping[tuple[str, str], Setting]) -> None:
    """Check the source: its blocks go into one sink, which stores each of them once."""
    key = "url"
    try:
        urls.check_source(config.source.url)
        key = "sink" if config.source.sink else "url"
        source_sink(config)
    except ConfigError as error:
        source = origin["source", key].source
        raise source.error(["source", key], f"source.{key}: {error}") from None


def _check_group(setting: Setting, path: KeyPath, name: str, group: str) -> None:
    try:
        group_id(group)
    except FastlogError as error:
        near = nearest(group, (each.gr_name for each in grp.getgrall()))
        hint = near if "did you mean" in near else ""  # without the list of all groups
        raise setting.source.error(path, f"{name}: {error}{hint}", group) from None


def _check_keys(config: Config, setting: Setting | None) -> None:
    """Check the keys. No error contains a secret, not even of a wrong key."""
    owners: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for key in config.auth.keys:
        assert setting is not None
        name, _, secret = key.partition(":")
        counts[name] += 1
        if not (_NAME.fullmatch(name) and secret):
            wrong = "expected ID:SECRET, the id being letters, digits, '_', '-' and '.'"
        elif owners.setdefault(secret, name) != name:
            wrong = f"{owners[secret]!r} and {name!r} have the same secret; give each its own"
        elif counts[name] > sum(owner == name for owner in owners.values()):
            wrong = f"{name!r} has the same secret twice"
        elif counts[name] > SECRETS:
            wrong = f"{name!r} has more than {SECRETS} secrets: the old one and the new"
        else:
            continue
        raise setting.source.error(["auth", "keys"], f"auth.keys: {wrong}")
    needs_keys = any(
        listen.auth == "required" and listen.identity == "key" for listen in config.listen
    )
    if needs_keys and not counts:
        where = setting.source if setting else Source("the configuration")
        text = "auth.keys: a listener has auth = 'required', but no key is configured"
        raise where.error(["auth", "keys"], text)


def _check_web(config: Config, origin: Mapping[tuple[str, str], Setting]) -> None:
    """Check the web server. No error contains a token."""
    if config.web.url:
        setting = origin["web", "url"]
        try:
            urls.check_web(config.web.url)
        except ConfigError as error:
            message = f"web.url: {error}"
            raise setting.source.error(["web", "url"], message, setting.value) from None
    for key in ("certificate", "key"):
        if getattr(config.web, key) and not config.web.url.startswith("https:"):
            message = f"web.{key}: only valid for an https:// url, not for {config.web.url!r}"
            raise origin["web", key].source.error(["web", key], message)
    if config.web.url.startswith("https:") and not config.web.certificate:
        needed = "web.certificate (--certificate), the path of a PEM file"
        message = f"web.url: {config.web.url!r} needs {needed}"
        raise origin["web", "url"].source.error(["web", "url"], message)
    for token in config.web.tokens:
        name, _, secret = token.partition(":")
        if not (_NAME.fullmatch(name) and len(secret) >= SHORTEST_TOKEN and secret.isascii()):
            message = (
                "web.tokens: expected NAME:TOKEN, the name being letters, digits, '_', '-' and '.',"
                f" the token {SHORTEST_TOKEN} ASCII characters at least"
            )
            raise origin["web", "tokens"].source.error(["web", "tokens"], message)
