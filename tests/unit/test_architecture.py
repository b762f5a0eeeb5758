"""The rules of the house: which part may import which, and who may touch what."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from places import ROOT

PACKAGE = ROOT / "fastlog"

LAYERS = [
    {"__main__"},
    {"cli"},
    {"drill"},
    {"server", "query"},
    {"worker", "receiver"},
    {"child"},
    {"sinks"},
    {"decode", "journal", "ledger", "terminal"},
    {"protocol"},
    {"block", "config"},
    {"record", "core", "files"},
    {"errors", "eventlog", "version", "clock"},
    {"bounded_counter"},
]
"""From the top down. A part imports from below, and from beside it only within its own folder."""

FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """`fastlog.journal.reader` is of the part `journal`."""
    return module.split(".")[1] if "." in module else "__init__"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            paths = [ROOT / Path(*name.split(".")) for name in submodules]
            if node.module == "fastlog" and any(p.with_suffix(".py").exists() for p in paths):
                found |= submodules
            else:
                found.add(node.module)
    return found


def level(part: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if part in layer)


def test_every_part_has_its_place_in_the_house() -> None:
    parts = {part_of(module_of(path)) for path in FILES} - {"__init__"}
    assert parts == set().union(*LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    own = part_of(module_of(path))
    if own == "__init__":
        return  # the public names
    for name in imports(path):
        if name.startswith("fastlog.") and (other := part_of(name)) not in (own, "_core"):
            assert level(own) < level(other), f"{path.name} of {own} imports {name}"


def test_only_core_sees_the_c_module() -> None:
    users = [p for p in FILES if any(name.endswith("_core") for name in imports(p))]
    assert {path.relative_to(PACKAGE).parts[0] for path in users} == {"core"}


UNPICKLERS = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}


def test_only_one_file_knows_an_unpickler_and_reads_only_what_our_translator_wrote() -> None:
    users = [path for path in FILES if imports(path) & UNPICKLERS]
    assert [path.relative_to(PACKAGE).as_posix() for path in users] == ["decode/plain.py"]
    tree = ast.parse(users[0].read_text(encoding="utf-8"))
    uses = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and "pickle" in ast.unparse(node.func)
    ]
    assert [ast.unparse(node) for node in uses] == ["pickle.loads(translation.rows)"]
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "pickle"]
    assert len(names) == 1


PURE = sorted(
    path
    for folder in ("framer", "protocol", "translate")
    for path in (ROOT / "csrc" / folder).glob("*.[ch]")
)


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_pure_c_files_know_no_operating_system(path: Path) -> None:
    headers = set(re.findall(r"#include <(.+)>", path.read_text()))
    assert headers <= {"stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "string.h", "arm_acle.h"}


def test_nothing_that_is_committed_names_one_machine() -> None:
    """No path of one machine, no address of a package registry, in what is committed."""
    wrong = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/|pypi\.org|files\.pythonhosted")
    for path in [p for p in ROOT.rglob("*") if p.suffix in {".py", ".c", ".h", ".md", ".toml"}]:
        if not any(part.startswith((".", "build")) for part in path.relative_to(ROOT).parts):
            assert not wrong.search(path.read_text(encoding="utf-8")), path
