"""The table of rules that are broken on purpose: each of its entries still fits the code."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from mutants import Mutant, read_mutants
from places import ROOT

MUTANTS = read_mutants(ROOT / "tests" / "mutants.toml")


@cache
def functions_of(path: Path) -> frozenset[str]:
    """Return the names of the test functions of a file."""
    body = ast.parse(path.read_text("utf-8")).body
    return frozenset(
        node.name
        for node in body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_each_mutant_breaks_another_rule():
    rules = [mutant.rule for mutant in MUTANTS]
    assert sorted(set(rules)) == sorted(rules)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_the_text_that_a_mutant_replaces_occurs_once_in_its_file(mutant: Mutant):
    assert (ROOT / mutant.file).read_text("utf-8").count(mutant.replace) == 1
    assert mutant.by != mutant.replace


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_the_tests_that_a_mutant_names_exist(mutant: Mutant):
    assert mutant.tests
    for test in mutant.tests:
        path, _, name = test.partition("::")
        functions = functions_of(ROOT / path)
        assert functions
        assert not name or name.partition("[")[0] in functions
