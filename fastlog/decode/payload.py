"""JSON objects as payload: bounded in depth, exact about numbers, the same at any call depth."""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import Any, Final

from fastlog.decode.nodes import Node, integer_of_digits, pairs_node
from fastlog.errors import RejectedError

NESTING = 200
"""Arrays and objects inside each other. (The normal form cuts far earlier; this bound is for the
parser, which recurses, and would fail at a depth that depends on who called it.)"""
NUMBER_LENGTH = 400

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[\[{]|[\]}]")


def read_json(data: bytes) -> Node:
    """Read one JSON object; of equal keys the last counts.

    Raises:
        RejectedError: the bytes are not JSON, or nested too deep.
    """
    if data.count(b"[") + data.count(b"{") > NESTING:
        _check_nesting(data)
    try:
        value = _DECODER.decode(str(data, "utf-8"))
    except UnicodeDecodeError:
        raise RejectedError("malformed JSON: text is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise RejectedError(f"malformed JSON: {error.msg}") from None
    return value  # type: ignore[no-any-return]


def _check_nesting(data: bytes) -> None:
    depth = 0
    for bracket in _BRACKETS.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > NESTING:
            raise RejectedError("malformed JSON: nested too deep")


def _float(text: str) -> float | str:
    return float(text) if len(text) <= NUMBER_LENGTH else text


def _pairs(pairs: list[tuple[str, Any]]) -> Node:
    return pairs_node(list(chain.from_iterable(pairs)))


_DECODER: Final = json.JSONDecoder(
    parse_int=integer_of_digits, parse_float=_float, object_pairs_hook=_pairs
)


def quick_record(frame: bytes, **place: Any) -> None:
    return None
