"""Parameters: what a request may say in its query string, checked and documented from one table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from starlette.datastructures import QueryParams

from fastlog.config import nearest
from fastlog.web.failures import RequestError

MAX_TEXT = 65_536
"""Characters of the longest value: those of the longest query."""


class Parameter(NamedTuple):
    """A parameter of a request."""

    name: str
    kind: Literal["text", "integer", "seconds"]
    about: str
    default: Any = None
    least: float = 0
    most: float = math.inf
    choices: tuple[str, ...] = ()

    def read(self, text: str) -> Any:
        """Return the value that a text means.

        Raises:
            RequestError: It means none.
        """
        if "\0" in text or len(text) > MAX_TEXT:
            raise RequestError(f"{self.name}: expected at most {MAX_TEXT} characters without NUL")
        if self.kind == "text":
            if self.choices and text not in self.choices:
                raise RequestError(
                    f"{self.name}: expected {' or '.join(self.choices)}, got {text[:80]!r}"
                )
            return text
        is_integer = self.kind == "integer"
        pattern = r"-?\d{1,15}" if is_integer else r"-?\d{1,15}(\.\d{1,20})?"
        value = float(text) if re.fullmatch(pattern, text, re.ASCII) else math.nan
        if not self.least <= value <= self.most:
            what = "an integer" if is_integer else "a number"
            raise RequestError(
                f"{self.name}: expected {what} from {self.least:.15g} to {self.most:.15g},"
                f" got {text[:80]!r}"
            )
        return int(value) if is_integer else value

    def schema(self) -> dict[str, Any]:
        """Return the parameter as OpenAPI describes it."""
        schema: dict[str, Any] = {"type": "string"}
        if self.kind == "text" and self.choices:
            schema["enum"] = list(self.choices)
        if self.kind != "text":
            schema = {
                "type": "integer" if self.kind == "integer" else "number",
                "minimum": self.least,
            }
            if self.most < math.inf:
                schema["maximum"] = self.most
        if self.default is not None:
            schema["default"] = self.default
        return {"name": self.name, "in": "query", "description": self.about, "schema": schema}


QUERY = Parameter("q", "text", "A query; see the query language. Empty: all records.", "")
ZONE = Parameter(
    "tz", "text", "The IANA zone of the times in the query (default: that of the server)."
)
DEADLINE = Parameter(
    "deadline", "seconds", "Seconds after which the search ends with what it has.", 2.0, 0.1, 10
)
TEXT_LIMIT = Parameter(
    "max_text",
    "integer",
    "Characters of the longest text; of longer ones the rest is left out, and `abbreviated` has"
    " their lengths. 0: all texts are whole.",
    0,
    0,
    1_000_000,
)


def read_parameters(given: QueryParams, known: Iterable[Parameter]) -> dict[str, Any]:
    """Return the value of each known parameter: as given, or its default.

    Raises:
        RequestError: One is unknown, occurs twice, or has a wrong value.
    """
    by_name: Mapping[str, Parameter] = {each.name: each for each in known}
    values = {name: each.default for name, each in by_name.items()}
    seen: set[str] = set()
    for name, text in given.multi_items():
        if name not in by_name:
            raise RequestError(f"there is no parameter {name[:80]!r}{nearest(name[:80], by_name)}")
        if name in seen:
            raise RequestError(f"{name}: expected once")
        seen.add(name)
        values[name] = by_name[name].read(text)
    return values
