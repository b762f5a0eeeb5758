"""The configuration: accepted values, precedence of sources, and error lines."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
    parse_duration,
    parse_size,
    to_json,
)
from fastlog.config.locate import line_of
from fastlog.config.units import format_duration, format_size
from fastlog.errors import ConfigError

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load_text(text: str, environ: dict[str, str] | None = None, **flags: object) -> Config:
    Path("fastlog.toml").write_text(text, "utf-8")
    return load(None, environ or {}, flags)


def mistake(text: str, environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(text, environ, **flags)
    message = str(caught.value)
    assert "\n" not in message
    return message


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


def test_every_key_of_the_example_loads_when_uncommented():
    text = (ROOT / "examples" / "fastlog.toml").read_text("utf-8")
    lines = [
        line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line
        for line in text.splitlines()
    ]
    assert lines != text.splitlines()
    names = [sink.name for sink in load_text("\n".join(lines)).sinks]
    assert names == ["sqlite", "audit"]


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('auth = {keys = "web:x"}', "auth.keys: expected a list of texts, got 'web:x'"),
        ("auth = {keys = [1]}", "auth.keys: expected a list of texts, got a list"),
        ('auth = {keys = ["hush"]}', "auth.keys: expected ID:SECRET, the id being letters"),
        ('auth = {keys = ["a:x", "b:y", "a:x"]}', "auth.keys: 'a' has the same secret twice"),
        ('auth = {keys = ["a:x", "a:y", "b:y"]}', "auth.keys: 'a' and 'b' have the same secret"),
        ('auth = {keys = ["a:x", "a:y", "a:z"]}', "auth.keys: 'a' has more than 2 secrets"),
        (
            '[[listen]]\nurl = "unix:///s"\nauth = "required"',
            "auth.keys: a listener has auth = 'required', but no key",
        ),
        ('[[listen]]\nurl = "unix:///s"\nauth = "yes"', "expected 'optional' or 'required'"),
        ('[[listen]]\nurl = "unix:///s"\nstock = "no"', "expected true or false, got 'no'"),
    ],
)
def test_an_error_of_authentication_does_not_contain_the_secret(text: str, expected: str):
    error = mistake(text)
    assert expected in error
    assert "hush" not in error


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


def test_an_error_in_a_value_that_a_flag_overrides_is_reported():
    assert mistake("data_dir = 3", None, data_dir="right").startswith("fastlog.toml:1: data_dir:")


def test_the_file_is_that_of_the_flag_or_of_the_variable(directory: Path):
    for name in ("fastlog.toml", "variable.toml", "flag.toml"):
        (directory / name).write_text(f'data_dir = "/{name}"')
    environ = {"FASTLOG_CONFIG": "variable.toml"}
    assert load(None, {}, {}).data_dir == Path("/fastlog.toml")
    assert load(None, environ, {}).data_dir == Path("/variable.toml")
    assert load(Path("flag.toml"), environ, {}).data_dir == Path("/flag.toml")


def test_a_relative_data_directory_is_relative_to_the_file(directory: Path):
    (directory / "etc").mkdir()
    (directory / "etc" / "fastlog.toml").write_text('data_dir = "data"')
    assert load(Path("etc/fastlog.toml"), {}, {}).data_dir == Path("etc/data")


def test_a_file_that_was_named_and_is_missing_is_an_error():
    with pytest.raises(ConfigError, match=r"^no\.toml: cannot be read: No such file"):
        load(Path("no.toml"), {}, {})


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
    ("text", "message"),
    [
        (
            "\n[journal]\nsise = 1",
            "fastlog.toml:3: [journal] has no key 'sise'; did you mean 'size'?",
        ),
        ("journel = 1", "fastlog.toml:1: there is no key 'journel'; did you mean 'journal'?"),
        (
            "# a comment\n\n[limits]\n\nconnections = 'many'",
            "fastlog.toml:5: limits.connections: expected an integer, got 'many'",
        ),
        (
            "[limits]\nconnections = true",
            "fastlog.toml:2: limits.connections: expected an integer, got true",
        ),
        (
            "[limits]\nmax_frame = '16 MiB'",
            "fastlog.toml:2: limits.max_frame: expected at most 16777215, got '16 MiB'",
        ),
        (
            "limits.max_frame = 0",
            "fastlog.toml:1: limits.max_frame: expected at least 1, got 0",
        ),
        (
            "[journal]\nsize = 'huge'",
            "fastlog.toml:2: journal.size: "
            "expected a size such as 1048576 or \"64 MiB\", got 'huge'",
        ),
        (
            "[journal]\nsize = '100 MiB'",
            "fastlog.toml:2: journal.size: expected at least two segments (128 MiB), got 100 MiB",
        ),
        (
            "[journal]\nsegment = '1 GiB'",
            "fastlog.toml:2: journal.size: expected at least two segments (2 GiB), got 1 GiB",
        ),
        (
            "[[sink]]\nurl = 'console:'\nwhen_full = 'skip'",
            "fastlog.toml:1: sink.when_full: at least one sink must have 'hold', or records may be "
            "lost",
        ),
        (
            "[journal]\nwhen_full = 'stop'",
            "fastlog.toml:2: journal.when_full: expected 'drop' or 'pause', got 'stop'",
        ),
        (
            "[retention]\nage = '3 fortnights'",
            "fastlog.toml:2: retention.age: "
            "expected a time such as 3600 or \"30 days\", got '3 fortnights'",
        ),
        (
            "[retention]\nage = inf",
            'fastlog.toml:2: retention.age: expected a time such as 3600 or "30 days", got inf',
        ),
        (
            "[log]\nlevel = 'debug'",
            "fastlog.toml:2: log.level: there is no 'debug'; did you mean 'DEBUG'?",
        ),
        ("limits = 3", "fastlog.toml:1: limits: expected a table [limits], got 3"),
        (
            "[limits\nmax_frame = 1",
            "fastlog.toml:1: not TOML: expected ']' at the end of a table declaration",
        ),
        ("a = 1\nb = [1", "fastlog.toml:2: not TOML: unclosed array"),
        ("listen = []", "fastlog.toml:1: listen: expected a list of URLs, got a list"),
        ("listen = [3]", "fastlog.toml:1: listen: expected a URL or a table, got 3"),
        (
            "listen = [\n  'tcp://127.0.0.1:1',\n  'tls://127.0.0.1:2',\n]",
            "fastlog.toml:3: listen: tls:// is not supported yet; "
            "use tcp:// or unix:// instead of 'tls://127.0.0.1:2'",
        ),
        (
            "[[sink]]\nurl = 'sqlite:'\n\n[[sink]]\nurl = 'ndjson:///a'\nname = 'sqlite'\n"
            "[[sink]]\nurl = 'ndjson:///b'\nname = 'sqlite'",
            "fastlog.toml:9: sink.name: two sinks are named 'sqlite'",
        ),
        ("[[sink]]\nname = 'x'", "fastlog.toml:1: [[sink]] needs a url"),
        *(
            (
                f"[files]\nmode = {mode}",
                'fastlog.toml:2: files.mode: expected a mode such as "0640", in quotes, got '
                + shown,
            )
            for mode, shown in (("0o640", "416"), ("640", "640"), ("'u=rw'", "'u=rw'"))
        ),
        (
            "[files]\nmode = '0440'",
            "fastlog.toml:2: files.mode: expected a mode that lets the server read and write, "
            "got '0440'",
        ),
        (
            "[files]\nmode = '0666'",
            "fastlog.toml:2: files.mode: expected no more than 0664, got '0666'",
        ),
        (
            "[files]\ngroup = 'amd'",
            "fastlog.toml:2: files.group: there is no group 'amd'; did you mean 'adm'?",
        ),
        (
            "[[listen]]\nurl = 'unix:///s'\ngroup = 'nonesuch-0'",
            "fastlog.toml:3: listen.group: there is no group 'nonesuch-0'",
        ),
        (
            "[[listen]]\nurl = 'tcp://127.0.0.1:1'\nmode = '0660'",
            "fastlog.toml:3: listen.mode: only valid for a Unix socket, not for 'tcp://127.0.0.1:1'",
        ),
        (
            "[[sink]]\nurl = 'sqlite:'\nname = '../x'",
            "fastlog.toml:3: sink.name: expected letters, digits, '_', '-' and '.', at most 64, "
            "got '../x'",
        ),
        (
            "[[sink]]\nurl = 'sqlite:'\nwhen_ful = 'hold'",
            "fastlog.toml:3: [[sink]] has no key 'when_ful'; did you mean 'when_full'?",
        ),
        (
            "sink = ['/var/log/x']",
            "fastlog.toml:1: sink: "
            "expected a URL such as sqlite: or ndjson:///path, got '/var/log/x'",
        ),
    ],
)
def test_an_error_in_the_file_has_its_line(text: str, message: str):
    assert mistake(text) == message


def test_a_file_that_is_not_text_is_an_error():
    Path("fastlog.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"^fastlog\.toml: is not UTF-8 text$"):
        load(None, {}, {})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "FASTLOG_LIMIT_MAX_FRAME",
            "1",
            "FASTLOG_LIMIT_MAX_FRAME: there is no such variable; "
            "did you mean 'FASTLOG_LIMITS_MAX_FRAME'?",
        ),
        (
            "FASTLOG_LIMITS_CONNECTIONS",
            "many",
            "FASTLOG_LIMITS_CONNECTIONS: limits.connections: expected an integer, got 'many'",
        ),
        ("FASTLOG_LISTEN", "", "FASTLOG_LISTEN: listen: expected a list of URLs, got a list"),
        ("FASTLOG_DATA_DIR", "", "FASTLOG_DATA_DIR: data_dir: expected a path, got ''"),
    ],
)
def test_an_error_in_a_variable_has_its_name(name: str, value: str, message: str):
    assert mistake("", {name: value}) == message


def test_an_error_in_a_flag_has_its_name():
    assert mistake("", None, listen=("tcp://host",)) == (
        "--listen: listen: expected a port in 'tcp://host', such as tcp://host:9020"
    )


@pytest.mark.parametrize(
    "url", ["tcp://127.0.0.1:0", "tcp://[::1]:9020", "tcp://localhost:65535", "unix:///run/a.sock"]
)
def test_a_listener_may_be(url: str):
    assert load_text("", None, listen=(url,)).listen == [ListenConfig(url)]


@pytest.mark.parametrize(
    "url",
    [
        "tcp://:9020", "tcp://host:65536", "tcp://host:x", "tcp://host:1/path", "tcp://a@host:1",
        "tcp://[::1:9020", "unix://path", "unix://host/path", "udp://host:1", "9020", "", "/a",
        "unix:///" + "x" * 107,
    ],
)  # fmt: skip
def test_a_listener_may_not_be(url: str):
    assert mistake("", None, listen=(url,)).startswith("--listen: listen")


def test_an_address_is_listed_once_unless_its_port_is_0():
    twice = ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1")
    assert (
        mistake("", None, listen=twice) == "--listen: listen: 'tcp://127.0.0.1:1' is listed twice"
    )
    free = ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
    assert len(load_text("", None, listen=free).listen) == 2


def test_json_encodes_the_whole_tree():
    config = load_text('data_dir = "/ü"\nsink = ["sqlite:", "ndjson:///a"]\n[log]\nlevel = "DEBUG"')
    assert from_json(to_json(config)) == config


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("64 MiB", 64 * MIB),
        ("10GB", 10**10),
        ("1.5k", 1536),
        ("7 bytes", 7),
        ("1_000", 1000),
    ],
)
def test_a_size_is_read(text: str, size: int):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30 days", 2592000.0),
        ("12h", 43200.0),
        ("1h30m", 5400.0),
        ("90", 90.0),
        ("1.5 min", 90.0),
        ("250ms", 0.25),
    ],
)
def test_a_time_is_read(text: str, seconds: float):
    assert parse_duration(text) == seconds


@settings(deadline=None)
@given(st.text(max_size=12))
def test_any_text_parses_or_raises_value_error(text: str):
    for parse in (parse_size, parse_duration):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0


@settings(deadline=None)
@given(st.integers(0, 2**50))
def test_a_formatted_size_is_parsed_to_nearly_the_same(size: int):
    assert parse_size(format_size(size)) == pytest.approx(size, rel=1e-2)


@settings(deadline=None)
@given(st.floats(0.01, 1e9))
def test_a_formatted_time_is_parsed_to_nearly_the_same(seconds: float):
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-2)


TRICKY = '''
# [limits] here is a comment
text = """
[limits]
key = 1
"""
dotted.key = 1
inline = { a = 1, b = [
  "one",
  "two",
] }
[[sink]]
url = "a"
[[sink]] # second

url = "b"
"quoted key" = 2
[limits]
key = 3
'''


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("text",), None, 3),
        (("dotted", "key"), None, 7),
        (("inline",), None, 8),
        (("inline", "b", 1), "two", 10),
        (("sink", 0, "url"), None, 13),
        (("sink", 1), None, 14),
        (("sink", 1, "url"), None, 16),
        (("sink", 1, "quoted key"), None, 17),
        (("limits",), None, 18),
        (("limits", "key"), None, 19),
        (("nothing",), None, 1),
    ],
)
def test_a_key_is_found_on_its_line(path: tuple[str | int, ...], value: str | None, line: int):
    assert line_of(TRICKY, path, value) == line


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, min_size=1), st.data())
def test_a_key_is_found_on_its_line_in_any_surroundings(keys: list[str], data: st.DataObject):
    lines: list[str] = []
    at: dict[str, int] = {}
    for key in keys:
        lines += data.draw(st.lists(st.sampled_from(["", "# a = 1", "  "]), max_size=3))
        lines.append(f"{key} = 1")
        at[key] = len(lines)
    text = "\n".join(lines)
    assert set(tomllib.loads(text)) == set(keys)
    assert {key: line_of(text, [key]) for key in keys} == at
