"""Sinks are found by entry points; one of another project needs a class and a line of metadata."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from builders import NODE, make_context, make_decoded
from conditions import wait_for
from places import ROOT
from plugins import install
from servers import Server

from fastlog import sinks
from fastlog.errors import ConfigError
from fastlog.journal import read_positions
from fastlog.sinks import Sink, make_sink

DOCUMENT = ROOT / "docs" / "sinks.md"


def documented(language: str) -> str:
    """Return the example in this language of the document's last chapter."""
    chapter = DOCUMENT.read_text("utf-8").partition("## Writing one's own")[2]
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", chapter, flags=re.M | re.S)
    return str(found)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a distribution on `sys.path`, as pip would install it."""
    site = tmp_path / "site"
    install(
        site,
        {"list": documented("python")},
        points={
            "list": "list_sink:ListSink",
            "missing": "no_such_module:X",
            "wrong": "list_sink:__name__",
        },
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "list_sink", raising=False)


@pytest.mark.usefixtures("plugin")
def test_a_sink_of_another_project_is_found_by_its_scheme(tmp_path: Path) -> None:
    sink = make_sink(make_context(tmp_path, "list:anything", name="mine"))
    decoded = make_decoded(["hello"])

    assert sink.context.name == "mine"
    assert sink.open(NODE) == 0
    sink.apply([decoded])
    sink.tick()
    assert sink.offending(decoded) == {}
    assert sink.sync() == sink.cursor() == decoded.block.end
    assert type(sink).stored == ["hello"]
    sink.close()


def test_a_sink_of_another_project_gets_what_a_server_receives(tmp_path: Path) -> None:
    keeping = """

class KeepingSink(ListSink):
    def sync(self):
        with open(self.context.url.path, "w") as file:
            file.write(" ".join(self.stored))
        return super().sync()
"""
    site, kept = tmp_path / "site", tmp_path / "kept"
    install(
        site, {"list": documented("python") + keeping}, points={"list": "list_sink:KeepingSink"}
    )
    urls = [f"list://{kept}"]
    with Server(tmp_path, sinks=urls, env={"PYTHONPATH": str(site)}) as server:
        frames = [b'{"msg":"%d"}' % n for n in range(100)]
        server.connect(b"".join(struct.pack(">L", len(f)) + f for f in frames)).close()
        wait_for(lambda: kept.exists() and len(kept.read_text().split()) == 100, "all are kept")
        assert server.stop() == 0
    assert kept.read_text().split() == [str(n) for n in range(100)]
    assert read_positions(server.data)["list"].index == 100


def test_a_sink_that_cannot_work_ends_the_start_of_the_server_with_one_line(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path, sinks=["sqlite:", "logging:///no/such.toml"])
    done = subprocess.run(server.command(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        "fastlog-server: sink logging: cannot read /no/such.toml: No such file or directory"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("lisst:", "no kind of sink is called 'lisst'; did you mean 'list'?"),
        ("missing:", ".* cannot be loaded: No module named 'no_such_module'"),
        ("wrong:", r"is not a fastlog\.sinks\.Sink"),
    ],
)
def test_a_sink_that_cannot_be_made_is_explained(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        make_sink(make_context(tmp_path, url))


def test_the_sinks_of_fastlog_have_entry_points_too() -> None:
    project = tomllib.loads((Path(sinks.__file__).parents[2] / "pyproject.toml").read_text())
    points = project["project"]["entry-points"][sinks.GROUP]

    names = "sqlite ndjson console logging postgresql postgres nats otlp+http otlp+https"
    assert set(points) == set(names.split())
    for value in points.values():
        module, _, name = value.partition(":")
        assert issubclass(getattr(import_module(module), name), Sink)
