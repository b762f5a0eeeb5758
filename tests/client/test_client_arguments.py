"""Wrong arguments of handlers: one error at once, which says what to write; none at exit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import fastlog_client as client
import pytest
from client_handlers import end
from interpreters import environment, interpreters
from places import CLIENT

VERSIONS = interpreters()

ADDRESSES: list[tuple[tuple[Any, ...], str]] = [
    (("127.0.0.1",), "port is missing for host '127.0.0.1': write ('127.0.0.1', 9020) (a host"),
    (("logs.local",), "port is missing for host 'logs.local': write ('logs.local', 9020) (a host"),
    (("logs.local:9021",), "is missing for host 'logs.local:9021': write ('logs.local', 9021)"),
    (("[::1]:9021",), "port is missing for host '[::1]:9021': write ('::1', 9021)"),
    (("fastlog.sock",), "without a port is the path of a Unix socket, such as '/run/fastlog.sock'"),
    (("tcp://h:9021",), "host must be no URL, got 'tcp://h:9021': write ('h', 9021)"),
    (("tls://h:9021",), "host must be no URL, got 'tls://h:9021': write ('h', 9021, ssl=True)"),
    (("tpc://127.0.0.1",), "host must be no URL, got 'tpc://127.0.0.1': write ('127.0.0.1', 9020)"),
    (("http://logs/", 9020), "host must be no URL, got 'http://logs/': write ('logs', 9020)"),
    (("unix:///run/s",), "host must be no URL, got 'unix:///run/s': write ('/run/s')"),
    (("127.0.0.1:9020", 9020), "host must be '127.0.0.1', without port or brackets"),
    (("[::1]", 9020), "host must be '::1', without port or brackets, got '[::1]'"),
    (("/run/s", 9020), "a Unix path takes no port: /run/s"),
    (("/run/" + 120 * "s",), "a Unix path has at most 107 bytes: /run/sss"),
    (("127.0.0.1", "http"), "port must be a number from 1 to 65535, got 'http'"),
    (("127.0.0.1", ""), "port must be a number from 1 to 65535, got ''"),
    (("127.0.0.1", 0), "port must be a number from 1 to 65535, got 0"),
    (("127.0.0.1", 65536), "port must be a number from 1 to 65535, got 65536"),
    (("127.0.0.1", 9020.0), "port must be a number from 1 to 65535, got 9020.0"),
    (("127.0.0.1", True), "port must be a number from 1 to 65535, got True"),
    ((None, 9020), "host must be a name, an address or a path, got None"),
    (("", 9020), "host must be a name, an address or a path, got ''"),
    (("",), "host must be a name, an address or a path, got ''"),
    (("a b", 9020), "host must be a name, an address or a path, got 'a b'"),
    (("a..b", 9020), "host must be a name or an address, got 'a..b'"),
    (((),), "host must be a name, an address or a path, got ()"),
]  # fmt: skip

OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"max_bytes": "64MB"}, "max_bytes must be a number, at least 1, got '64MB'"),
    ({"max_bytes": 0}, "max_bytes must be a number, at least 1, got 0"),
    ({"spool_max_bytes": None}, "spool_max_bytes must be a number, at least 1, got None"),
    ({"close_timeout": "1"}, "close_timeout must be a number, at least 0, got '1'"),
    ({"block_timeout": -1}, "block_timeout must be a number, at least 0, got -1"),
    ({"connect_timeout": 0}, "connect_timeout must be a number, at least 0.001, got 0"),
    ({"retry_interval": float("nan")}, "retry_interval must be a number, at least 0, got nan"),
    ({"on_error": "print"}, "on_error must be a function, got 'print'"),
    ({"wall_clock": None}, "wall_clock must be a function, got None"),
    ({"spool": 3}, "spool must be the path of a directory, got 3"),
    ({"spool": ""}, "spool must be the path of a directory, got ''"),
    ({"spool": []}, "spool must be the path of a directory, got []"),
    ({"spool_fsync": "false"}, "spool_fsync must be True or False, got 'false'"),
    ({"key": 7}, "key must be id:secret"),
    ({"key": "hush"}, "key must be id:secret"),
    (
        {"when_full": "drop"},
        "when_full must be one of drop_newest, drop_oldest, block, spool, got 'drop'",
    ),
    ({"ssl": "yes"}, "ssl must be True, a dictionary or an SSLContext, got 'yes'"),
    ({"ssl": {"ca": "x"}}, "ssl has no key 'ca'; it may have cafile, certfile, keyfile,"),
    ({"ssl": {"server_hostname": 3}}, "ssl['server_hostname'] must be text, got 3"),
    ({"ssl": {"keyfile": "x"}}, "ssl['keyfile'] needs a certfile"),
    ({"when_full": "spool"}, "when_full='spool' needs a directory: spool='/path'"),
]


@pytest.mark.parametrize("kind", [client.SocketHandler, client.ReconnectingSocketHandler])
@pytest.mark.parametrize(("arguments", "message"), ADDRESSES)
def test_a_wrong_address_is_one_error(kind: Any, arguments: tuple[Any, ...], message: str):
    with pytest.raises(ValueError) as caught:
        kind(*arguments)
    assert message in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_a_wrong_option_is_one_error(options: dict[str, Any], message: str):
    with pytest.raises(ValueError) as caught:
        client.SocketHandler("127.0.0.1", 9020, **options)
    assert message in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.__context__ is None


def test_tls_needs_files_that_exist_and_no_unix_socket(tmp_path: Path):
    with pytest.raises(ValueError, match="ssl is for a host and a port, not for a Unix socket"):
        client.SocketHandler("/run/s", ssl=True)
    with pytest.raises(FileNotFoundError):
        client.SocketHandler("h", 9021, ssl={"cafile": str(tmp_path / "none.pem")})


@pytest.mark.parametrize("timeout", ["1", 0, -1])
def test_a_wrong_timeout_of_the_reconnecting_handler_is_one_error(timeout: Any):
    with pytest.raises(ValueError, match=r"timeout must be a number, at least 0\.001, got"):
        client.ReconnectingSocketHandler("127.0.0.1", 9020, timeout)


def test_a_timeout_that_is_set_later_is_checked_too():
    handler: Any = client.SocketHandler("127.0.0.1", 9020)
    with pytest.raises(ValueError, match="close_timeout must be a number"):
        handler.close_timeout = "5"
    assert handler.close_timeout == 5.0
    end(handler)


@pytest.mark.parametrize("kind", [client.SocketHandler, client.ReconnectingSocketHandler])
def test_a_port_may_be_digits_and_a_path_may_be_relative_or_abstract(kind: Any):
    handler = kind("127.0.0.1", "9020")
    assert (handler.port, handler.address) == (9020, ("127.0.0.1", 9020))
    for path in ("/run/fastlog.sock", "./fastlog.sock", "\0fastlog"):
        assert kind(path).address == path


# ---- in programs, on each interpreter ------------------------------------------------------

PROGRAM = """
import json, logging, logging.config, sys
import fastlog_client
kind, arguments, options, how = json.loads(sys.argv[1])
logging.raiseExceptions = True
def make():
    if how == "dictConfig":
        options.update(zip(["host", "port"], arguments))
        options["class"] = "fastlog_client." + kind
        handlers = {"handlers": {"fastlog": options}, "root": {"handlers": ["fastlog"]}}
        logging.config.dictConfig(dict(handlers, version=1))
    else:
        logging.getLogger().addHandler(getattr(fastlog_client, kind)(*arguments, **options))
if how == "caught":
    try:
        make()
    except (ValueError, TypeError) as error:
        print(error)
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger().error("the program continues")
else:
    make()
"""

WRONG: list[tuple[str, list[Any], dict[str, Any], str]] = [
    ("SocketHandler", ["127.0.0.1"], {}, "port is missing for host "),
    ("SocketHandler", ["tcp://127.0.0.1:9020"], {}, "host must be no URL, got "),
    ("SocketHandler", ["127.0.0.1", "http"], {}, "port must be a number from 1 to 65535, got "),
    ("SocketHandler", ["a..b", 9020], {}, "host must be a name or an address, got "),
    ("SocketHandler", ["127.0.0.1", 9020], {"spol": "/x"}, "unexpected keyword argument 'spol'"),
    ("SocketHandler", ["127.0.0.1", 9020], {"close_timeout": "1"}, "timeout must be a number"),
    ("SocketHandler", ["127.0.0.1", 9020], {"on_error": 3}, "on_error must be a function, got 3"),
    ("SocketHandler", ["127.0.0.1", 9020], {"spool": []}, "spool must be the path of a directory"),
    ("SocketHandler", [], {}, "__init__() "),
    ("ReconnectingSocketHandler", ["127.0.0.1"], {}, "port is missing for host "),
    ("ReconnectingSocketHandler", ["127.0.0.1", "x"], {}, "port must be a number from 1 to 65535"),
    ("ReconnectingSocketHandler", ["127.0.0.1", 9020], {"timeout": "1"}, "must be a number"),
]  # fmt: skip


FORKS = """
import json, logging, logging.config, os, sys
import fastlog_client
cases = json.loads(sys.argv[1])
for at, case in enumerate(cases):
    if not os.fork():
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open("%d.%s" % (at, name), os.O_WRONLY | os.O_CREAT, 0o600), number)
        break
    with open("%d.status" % at, "w") as file:
        file.write(str(os.wait()[1] >> 8))
else:
    os._exit(0)
sys.argv[1] = json.dumps(case)
exec(compile(sys.argv[2], "<program>", "exec"))
"""
"""Runs a program once for each case. It ends as usual, but an interpreter starts only once."""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("how", ["raised", "caught", "dictConfig"])
def test_a_program_ends_with_that_error_alone(version: str, how: str, tmp_path: Path):
    cases = [[kind, arguments, options, how] for kind, arguments, options, _ in WRONG]
    env = environment(PYTHONPATH=str(CLIENT))
    command = [VERSIONS[version], "-c", FORKS, json.dumps(cases), PROGRAM]
    subprocess.run(command, env=env, cwd=tmp_path, check=True, timeout=60)
    for at, (*_, message) in enumerate(WRONG):
        status, out, err = (
            (tmp_path / f"{at}.{name}").read_text() for name in ("status", "out", "err")
        )
        check_end(how, version, message, int(status), out, err)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_program_that_is_started_for_it_ends_with_that_error_alone(version: str, tmp_path: Path):
    kind, arguments, options, message = WRONG[0]
    done = subprocess.run(
        [VERSIONS[version], "-c", PROGRAM, json.dumps([kind, arguments, options, "raised"])],
        env=environment(PYTHONPATH=str(CLIENT)),
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    check_end("raised", version, message, done.returncode, done.stdout, done.stderr)


def check_end(how: str, version: str, message: str, status: int, out: str, err: str) -> None:
    if how == "caught":
        assert (status, err) == (0, "")
        assert message in out
        return
    assert (status, out) == (1, "")
    # dictConfig itself adds an error of its own, which names the handler.
    allowed = 2 if how == "dictConfig" and version != "2.7" else 1
    assert 1 <= err.count("Traceback (most recent call last)") <= allowed, err
    assert message in err
    assert "exit" not in err
