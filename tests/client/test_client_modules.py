"""The modules of `fastlog_client`: their imports go one way, and nothing else is needed."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import fastlog_client
import pytest

PACKAGE = Path(fastlog_client.__file__).parent
ORDER = re.findall(r"^    (\w+)  +\S", fastlog_client.__doc__ or "", re.MULTILINE)
OF_PYTHON_2 = {"cPickle", "cStringIO", "thread"}


def test_the_list_of_modules_is_complete():
    assert sorted(ORDER) == sorted({path.stem for path in PACKAGE.glob("*.py")} - {"__init__"})


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_modules_above_it_and_the_standard_library(module: str):
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    names = {name.name for node in imports for name in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {name.removeprefix("fastlog_client.") for name in names if "fastlog_client" in name}
    assert own <= set(ORDER[: ORDER.index(module)])
    others = {name.partition(".")[0] for name in names if "fastlog_client" not in name}
    assert others <= sys.stdlib_module_names | OF_PYTHON_2
