"""Sinks are found by entry points; a third party needs a class and a line of metadata."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from making import NODE, make_context, make_decoded

from fastlog import sinks
from fastlog.errors import ConfigError
from fastlog.sinks import Sink, make_sink

PLUGIN = '''
from fastlog.sinks import Sink

class ListSink(Sink):
    """Keeps messages in a list; the shortest sink there is."""
    stored = []

    def __init__(self, context):
        super().__init__(context)
        self.at = 0

    def open(self, node):
        return self.at

    def apply(self, blocks):
        for decoded in blocks:
            self.stored += [record.message for record in decoded.records]
            self.at = decoded.block.end

    def cursor(self):
        return self.at

    def sync(self):
        return self.at

    def close(self):
        pass
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution `list-sink` on `sys.path`, as pip would install it."""
    site = tmp_path / "site"
    metadata = site / "list_sink-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "list_sink.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: list-sink\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[{sinks.GROUP}]\n"
        "list = list_sink:ListSink\nmissing = no_such_module:X\nwrong = list_sink:__name__\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "list_sink", raising=False)


@pytest.mark.usefixtures("plugin")
def test_a_third_partys_sink_is_found_by_its_scheme(tmp_path: Path) -> None:
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


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("lisst:", "no sink is called 'lisst'; did you mean 'list'?"),
        ("missing:", "sink 'missing' .* cannot be loaded: No module named 'no_such_module'"),
        ("wrong:", r"is not a fastlog\.sinks\.Sink"),
    ],
)
def test_what_cannot_be_made_is_explained(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        make_sink(make_context(tmp_path, url))


def test_our_own_sinks_are_named_in_the_same_way() -> None:
    project = tomllib.loads((Path(sinks.__file__).parents[2] / "pyproject.toml").read_text())
    points = project["project"]["entry-points"][sinks.GROUP]

    assert set(points) == {"sqlite", "ndjson", "console", "logging"}
    for value in points.values():
        module, _, name = value.partition(":")
        assert issubclass(getattr(import_module(module), name), Sink)
