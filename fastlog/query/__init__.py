"""The query language: parser, tree, and the evaluator over one record.

    tree = parse("level>=warning logger:app.db -timeout", TimeContext(time.time()))
    is_wanted = compile_query(tree)
    is_wanted((*record, node))

Nothing here reads a store; `fastlog.search` does.
"""

from __future__ import annotations

from fastlog.query.evaluate import compile_query
from fastlog.query.fields import COLUMNS, column, resolve
from fastlog.query.moments import Moment, TimeContext, parse_moment, parse_zone
from fastlog.query.operands import parse_level
from fastlog.query.parser import QueryError, parse
from fastlog.query.tree import EVERYTHING, Node, any_of, between, both, equals

__all__ = [
    "COLUMNS",
    "EVERYTHING",
    "Moment",
    "Node",
    "QueryError",
    "TimeContext",
    "any_of",
    "between",
    "both",
    "column",
    "compile_query",
    "equals",
    "parse",
    "parse_level",
    "parse_moment",
    "parse_zone",
    "resolve",
]
