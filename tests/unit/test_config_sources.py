"""The sources of the configuration, their precedence, and the values that they set."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from config_texts import MIB, load_text
from places import ROOT

from fastlog.config import (
    AuthConfig,
    ClientsConfig,
    Config,
    FilesConfig,
    JournalConfig,
    LimitsConfig,
    ListenConfig,
    RetentionConfig,
    SinkConfig,
    from_json,
    load,
    to_json,
)
from fastlog.errors import ConfigError

pytestmark = pytest.mark.usefixtures("working_directory")


def test_without_a_source_the_configuration_has_the_defaults():
    assert load(None, {}, {}) == Config(
        data_dir=Path("fastlog-data"),
        listen=[ListenConfig("tcp://127.0.0.1:9020")],
        sinks=[SinkConfig("sqlite:", "sqlite", "hold")],
        limits=LimitsConfig(max_frame=MIB, connections=10_000, partial_memory=64 * MIB),
        journal=JournalConfig(size=1024 * MIB, segment=64 * MIB, memory=64 * MIB, when_full="drop"),
        retention=RetentionConfig(age=30 * 86400.0, size=10 * 1024 * MIB),
    )


def test_the_example_loads_and_has_the_defaults():
    example = ROOT / "examples" / "fastlog.toml"
    config = load(example, {}, {})
    assert config == Config(data_dir=example.parent / "fastlog-data")


def uncommented_example() -> str:
    """Return the example with every line in use that is commented out there."""
    lines = (ROOT / "examples" / "fastlog.toml").read_text("utf-8").splitlines()
    used = [line[1:] if line.startswith("#") and line[1:2] != " " else line for line in lines]
    assert used != lines
    return "\n".join(used)


def test_every_key_of_the_example_loads_when_uncommented():
    names = [sink.name for sink in load_text(uncommented_example()).sinks]
    assert names == ["sqlite", "audit", "postgresql"]


def test_the_example_has_every_key():
    example = tomllib.loads(uncommented_example())
    example["sinks"] = example.pop("sink")
    sections = {field.name: field.type for field in msgspec.structs.fields(Config)}
    assert set(example) == set(sections)
    assert example.pop("data_dir") == "fastlog-data"
    for name, found in example.items():
        tables = found if isinstance(found, list) else [found]
        [table] = get_args(sections[name]) or [sections[name]]
        known = {field.name for field in msgspec.structs.fields(table)}
        assert {key for each in tables for key in each} == known, name


def test_sizes_and_times_are_read_in_units():
    config = load_text(
        '[journal]\nsize = "2 GiB"\nsegment = 1048576\n[retention]\nage = "12h"\nsize = "10GB"'
    )
    assert config.journal.size == 2 * 1024 * MIB
    assert config.journal.segment == MIB
    assert config.retention == RetentionConfig(age=43200.0, size=10**10)


def test_files_and_sockets_have_a_mode_and_a_group():
    config = load_text(
        '[files]\nmode = "640"\ngroup = "adm"\n'
        '[[listen]]\nurl = "unix:///s"\nmode = "0666"\ngroup = "4"\n'
    )
    assert config.files == FilesConfig("0640", "adm")
    assert config.listen == [ListenConfig("unix:///s", mode="0666", group="4")]
    assert load(None, {"FASTLOG_FILES_MODE": "0660"}, {}).files == FilesConfig("0660", "adm")
    assert from_json(to_json(config)) == config


def test_a_listener_has_its_admission_of_clients():
    config = load_text(
        'auth = {keys = ["web:a:b"]}\nclients = {window = "64 KiB", keepalive = "500 ms"}\n'
        '[[listen]]\nurl = "unix:///run/fastlog"\n'
        '[[listen]]\nurl = "tcp://127.0.0.1:1"\nstock = false\nauth = "required"\n'
    )
    assert config.listen == [
        ListenConfig("unix:///run/fastlog", stock=True, auth="optional"),
        ListenConfig("tcp://127.0.0.1:1", stock=False, auth="required"),
    ]
    assert config.auth == AuthConfig(["web:a:b"])
    assert config.clients == ClientsConfig(window=65536, keepalive=0.5)
    environ = {"FASTLOG_AUTH_KEYS": "web:x,batch:y"}
    assert load(None, environ, {}).auth.keys == ["web:x", "batch:y"]


def test_flags_override_the_environment_which_overrides_the_file():
    text = 'data_dir = "file"\n[limits]\nconnections = 1\nmax_frame = 100'
    environ = {"FASTLOG_DATA_DIR": "environ", "FASTLOG_LIMITS_CONNECTIONS": "2"}
    config = load_text(text, environ, data_dir="flag")
    assert config.data_dir == Path("flag")
    assert config.limits.connections == 2
    assert config.limits.max_frame == 100
    assert load_text(text, environ).data_dir == Path("environ")
    assert load_text(text).data_dir == Path("file")


def test_flags_that_were_not_given_override_nothing():
    config = load_text('listen = ["tcp://127.0.0.1:1"]', None, listen=(), data_dir=None, sink=())
    assert config.listen == [ListenConfig("tcp://127.0.0.1:1")]


def test_the_file_is_that_of_the_flag_or_of_the_variable(working_directory: Path):
    for name in ("fastlog.toml", "variable.toml", "flag.toml"):
        (working_directory / name).write_text(f'data_dir = "/{name}"')
    environ = {"FASTLOG_CONFIG": "variable.toml"}
    assert load(None, {}, {}).data_dir == Path("/fastlog.toml")
    assert load(None, environ, {}).data_dir == Path("/variable.toml")
    assert load(Path("flag.toml"), environ, {}).data_dir == Path("/flag.toml")


def test_a_relative_data_directory_is_relative_to_the_file(working_directory: Path):
    (working_directory / "etc").mkdir()
    (working_directory / "etc" / "fastlog.toml").write_text('data_dir = "data"')
    assert load(Path("etc/fastlog.toml"), {}, {}).data_dir == Path("etc/data")


def test_sinks_are_named_by_their_scheme_and_only_the_first_holds_the_journal():
    config = load_text('sink = ["sqlite:", "ndjson:///a", "ndjson:///b"]')
    assert config.sinks == [
        SinkConfig("sqlite:", "sqlite", "hold"),
        SinkConfig("ndjson:///a", "ndjson", "skip"),
        SinkConfig("ndjson:///b", "ndjson-2", "skip"),
    ]


def test_sinks_may_be_tables():
    text = """
[[sink]]
url = "ndjson:///a"
when_full = "skip"
[[sink]]
url = "sqlite:"
name = "ndjson"
when_full = "hold"
"""
    assert load_text(text).sinks == [
        SinkConfig("ndjson:///a", "ndjson-2", "skip"),
        SinkConfig("sqlite:", "ndjson", "hold"),
    ]


def test_variables_list_listeners_and_sinks():
    environ = {
        "FASTLOG_LISTEN": "tcp://127.0.0.1:1, unix:///run/fastlog.sock tcp://[::1]:0",
        "FASTLOG_SINK": "sqlite: ndjson:///a,b",
    }
    config = load(None, environ, {})
    assert [listen.url for listen in config.listen] == [
        "tcp://127.0.0.1:1",
        "unix:///run/fastlog.sock",
        "tcp://[::1]:0",
    ]
    assert [sink.url for sink in config.sinks] == ["sqlite:", "ndjson:///a,b"]


@pytest.mark.parametrize(
    "url", ["tcp://127.0.0.1:0", "tcp://[::1]:9020", "tcp://localhost:65535", "unix:///run/a.sock"]
)
def test_a_listener_may_be(url: str):
    assert load_text("", None, listen=(url,)).listen == [ListenConfig(url)]


def test_json_encodes_the_whole_tree():
    config = load_text('data_dir = "/ü"\nsink = ["sqlite:", "ndjson:///a"]\n[log]\nlevel = "DEBUG"')
    assert from_json(to_json(config)) == config


@pytest.mark.parametrize("service", ["FASTLOG", "FASTLOG_SERVER"])
def test_the_variables_of_a_service_of_that_name_are_ignored(service: str) -> None:
    links = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "9020",
        "SERVICE_PORT_LOGS": "9020",
        "PORT": "tcp://10.0.0.1:9020",
        "PORT_9020_TCP": "tcp://[fd00::1]:9020",
        "PORT_9020_TCP_PROTO": "tcp",
        "PORT_9020_TCP_PORT": "9020",
        "PORT_9020_TCP_ADDR": "fd00::1",
        "PORT_53_UDP": "udp://10.0.0.1:53",
        "NAME": "/app/fastlog",
        "ENV_LANG": "C.UTF-8",
    }
    environ = {f"{service}_{name}": value for name, value in links.items()}
    assert load(None, environ, {}) == load(None, {}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("FASTLOG_PORT", "9020"), ("FASTLOG_SERVICE_HOST", "no address"), ("FASTLOG_NAME", "web")],
)
def test_a_variable_that_only_resembles_those_of_a_service_is_an_error(
    name: str, value: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name}: there is no such variable"):
        load(None, {name: value}, {})
