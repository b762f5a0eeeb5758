"""The two programs: their version and help, and the start of the server."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from commands import Run

from fastlog.cli import fastlog
from fastlog.cli.command import run
from fastlog.cli.serve import server
from fastlog.config import Config
from fastlog.version import __version__

pytestmark = pytest.mark.usefixtures("nothing_configured")


def test_both_programs_print_the_version(capsys: pytest.CaptureFixture[str]):
    assert run(fastlog, "fastlog", ["--version"]) == 0
    assert run(server, "fastlog-server", ["--version"]) == 0
    assert capsys.readouterr().out == f"fastlog {__version__}\nfastlog-server {__version__}\n"


def test_without_a_command_the_help_is_shown(command: Run):
    result = command()
    assert result.code == 2
    assert "Commands:" in result.err


def test_the_server_is_started_with_the_configuration(monkeypatch: pytest.MonkeyPatch):
    configs: list[Config] = []

    def serve(config: Config) -> int:
        configs.append(config)
        return 7

    replacement = ModuleType("fastlog.server")
    vars(replacement).update(vars(SimpleNamespace(serve=serve)))
    monkeypatch.setitem(sys.modules, "fastlog.server", replacement)
    args = ["--data-dir", "d", "--listen", "tcp://127.0.0.1:0", "--sink", "console:"]
    assert run(server, "fastlog-server", args) == 7
    assert configs[0].data_dir == Path("d")
    assert [configs[0].listen[0].url, configs[0].sinks[0].url] == ["tcp://127.0.0.1:0", "console:"]


def test_a_mistake_in_a_flag_of_the_server_is_one_line(capsys: pytest.CaptureFixture[str]):
    assert run(server, "fastlog-server", ["--listen", "udp://x:1"]) == 2
    message = "--listen: listen: expected tcp://host:port, tls://host:port or unix:///path, got 'udp://x:1'"
    assert capsys.readouterr().err == f"fastlog-server: {message}\n"
