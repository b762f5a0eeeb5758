"""JSON schemas of what the API answers, for its description in OpenAPI."""

from __future__ import annotations

from typing import Any, Final

from fastlog.query import COLUMNS
from fastlog.query.fields import NUMBERS, TIMES

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NULLABLE_TEXT: Final[Schema] = {"type": ["string", "null"]}
INTEGER: Final[Schema] = {"type": "integer"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}


def list_of(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def obj(**properties: Schema) -> Schema:
    """Return the schema of an object that has all these properties."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _column(name: str) -> Schema:
    if name == "extra":
        return {"type": "object"}
    if name in TIMES:
        return NUMBER
    if name in NUMBERS:
        return {"type": ["integer", "null"]}
    return NULLABLE_TEXT


RECORD: Final = obj(**{name: _column(name) for name in COLUMNS}, time=NULLABLE_TEXT, id=TEXT)
RECORD["properties"]["abbreviated"] = {
    "type": "object",
    "additionalProperties": COUNT,
    "description": "The lengths of the texts that `max_text` has cut.",
}
UNREAD: Final = list_of(TEXT)
"""What was left out: day files that cannot be read."""
ERROR: Final = obj(error=obj(message=TEXT, column={"type": ["integer", "null"]}))
