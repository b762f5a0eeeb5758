"""`fastlog check --retention`: what retention would delete now. Deletes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_type_hints

import msgspec

from fastlog.cli.checks import State, Verdict
from fastlog.cli.counted import counted
from fastlog.cli.erasing import count_in
from fastlog.cli.postgres_checks import postgres_sinks, preview_partitions, preview_rules
from fastlog.config import (
    Config,
    ExpireConfig,
    RetentionConfig,
    format_duration,
    format_size,
    nearest,
)
from fastlog.config.values import read_value
from fastlog.errors import ConfigError, FastlogError
from fastlog.routing import parse_filter
from fastlog.sinks.day_directory import DayDirectory, list_day_files
from fastlog.sinks.day_retention import DayRetention
from fastlog.status.data_directory import find_store, stores_of

_KEYS = RetentionConfig.__struct_fields__
DAYS = "days"
"""A short form of `age`: `days=7` is `age=7d`."""


def preview(config: Config, settings: Sequence[str]) -> list[Verdict]:
    """Return what retention would delete of each `sqlite:` sink, and drop of a `postgresql:` one.

    Args:
        settings: `KEY=VALUE` for each setting that replaces one of the configuration; empty texts
            stand for none.

    Raises:
        ConfigError: A setting is wrong, or there are no day files and no database.
        FastlogError: A database cannot be used.
    """
    retention = _read_settings(config.retention, [text for text in settings if text])
    databases = postgres_sinks(config)
    if stores_of(config) or not databases:
        find_store(config)  # raises the error of a wrong directory
    verdicts: list[Verdict] = []
    for store in stores_of(config):
        verdicts += _preview_day_rules(store.logs, config.expire)
        verdicts += _preview_store(store.sink, store.logs, retention)
    for sink in databases:
        verdicts += preview_rules(sink, config.expire)
        verdicts += preview_partitions(sink, retention)
    return verdicts


def _preview_day_rules(logs: Path, rules: Sequence[ExpireConfig]) -> Iterator[Verdict]:
    """Yield what rules would delete; all but the newest file may be one that they apply to."""
    now = time.time()
    for name in list_day_files(logs)[:-1]:
        for rule in rules:
            if name.end + rule.age >= now:
                continue
            subject, path = f"day file {logs / str(name)}", logs / str(name)
            try:
                number = count_in(path, parse_filter(rule.filter))
            except FastlogError as error:
                yield Verdict(State.WARNING, subject, str(error))
                continue
            if number:
                age = format_duration(rule.age)
                records = counted(number, "record")
                text = f"{records} would be deleted: {rule.filter!r}, older than {age}"
                yield Verdict(State.OK, subject, text)


def _preview_store(sink: str, logs: Path, retention: RetentionConfig) -> Iterator[Verdict]:
    directory = DayDirectory(logs, 0)
    sizes = [directory.size(name) for name in directory.names()]
    deletions = DayRetention(sink, directory, retention).preview()
    gained = 0
    for file, reason in deletions:
        gained += file.size
        text = f"would be deleted: {reason}; {format_size(file.size)}"
        yield Verdict(State.OK, f"day file {file.path}", text)
    limits = (
        f"age {format_duration(retention.age)}, size {format_size(retention.size)}, "
        f"keep_free {format_size(retention.keep_free)}"
    )
    text = (
        f"would delete {len(deletions)} of {len(sizes)} day files, "
        f"{format_size(gained)} of {format_size(sum(sizes))} ({limits})"
    )
    yield Verdict(State.OK, f"retention of sink {sink}", text)


def _read_settings(retention: RetentionConfig, settings: Sequence[str]) -> RetentionConfig:
    kinds = get_type_hints(RetentionConfig, include_extras=True)
    values: dict[str, object] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--retention: expected KEY=VALUE, such as age=7d, got {text!r}")
        if key == DAYS:
            key, value = "age", f"{value} days"
        if key not in _KEYS:
            raise ConfigError(f"--retention has no setting {key!r}{nearest(key, [*_KEYS, DAYS])}")
        try:
            values[key] = read_value(kinds[key], value, textual=True)
        except ConfigError as error:
            raise ConfigError(f"--retention {text!r}: {error}") from None
    return msgspec.structs.replace(retention, **values)
