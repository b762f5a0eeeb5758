"""Queries beside plain Python that says the same of one record, for comparisons.

A question is the text of a query and a predicate. The predicates do not use the query language.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from day_files import START
from hypothesis import strategies as st

from fastlog.record import Record

DAY_START = START - START % 86_400
MISSING = object()


def compact_json(value: Any) -> str:
    """Return a value as a store writes it: floats in shortest digits, text not reduced to ASCII."""
    return msgspec.json.encode(value).decode()


LEVELS = st.sampled_from([(10, "DEBUG"), (20, "INFO"), (40, "ERROR"), (40, "E"), (25, None)])
NO_LEVEL = st.just((None, None))
NAMES = st.sampled_from(["app", "app.db", "app.db.pool", "apple", "web", "", None])
HOSTS = st.sampled_from(["127.0.0.1", "127.0.0.12", "unix"])
TEXTS = st.sampled_from(
    ["", "one", "ONE two", "two\none", "\N{KELVIN SIGN}", "three one", 'say "hi"', "a\\b", "ß"]
)
TIMES = st.one_of(
    st.integers(0, 9).map(lambda minute: DAY_START + 60.0 * minute),
    st.floats(0, 600).map(lambda second: DAY_START + second),
    st.sampled_from([0.0, DAY_START - 86_400.5, DAY_START + 3 * 86_400, 4e9]),
)
_SCALARS = st.sampled_from(
    [
        *(77, 77.0, "77", 770, -1, 0, -0.0, 0.1, 1e300, True, False, None),
        *("", "one", "x y", 'say "hi"', "é"),
        *(2**63 - 1, 2**63, -(2**63), 2**53 + 1, 12345678901234567890123),
    ]
)
_VALUES = st.one_of(
    _SCALARS,
    st.lists(_SCALARS, max_size=2),
    st.dictionaries(st.sampled_from(["b", "c", "user"]), _SCALARS, max_size=2),
)
EXTRAS = st.dictionaries(
    st.sampled_from(["user", "a", "a.b", "odd name", "!notes", "naïve", "b"]), _VALUES, max_size=3
).map(compact_json)


def fields_of_records() -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for the fields of records that queries are tried on."""
    return st.builds(
        lambda level, **fields: {"levelno": level[0], "levelname": level[1], **fields},
        LEVELS | NO_LEVEL,
        created=TIMES,
        name=NAMES,
        host=HOSTS,
        message=TEXTS,
        exc_text=st.none() | TEXTS,
        lineno=st.sampled_from([1, 2, 2**63 - 1, None]),
        extra=EXTRAS,
    )


class Question(NamedTuple):
    """The text of a query, and what it means."""

    text: str
    is_wanted: Callable[[Record], bool]


def _texts(record: Record) -> list[str]:
    every = (record.message, record.exc_text, record.stack_info, record.extra)
    return [text for text in every if text is not None]


def _has_text(text: str) -> Callable[[Record], bool]:
    """Return whether a text is in one of a record's, by lower case: the same for those here."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]

    def test(record: Record) -> bool:
        found = any(text.lower() in each.lower() for each in _texts(record))
        return found or escaped.lower() in record.extra.lower()

    return test


def _extra(record: Record, *path: Any) -> Any:
    value = json.loads(record.extra)
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return MISSING
        if isinstance(step, int) and isinstance(value, str) and len(value) == 1:
            return MISSING
    return value


def _nested(record: Record) -> Any:
    inner = _extra(record, "a")
    if isinstance(inner, dict) and "b" in inner:
        return inner["b"]
    return _extra(record, "a.b")


def _first(record: Record) -> Any:
    value = _extra(record, "a")
    return value[0] if isinstance(value, list) and value else MISSING


def _equals(get: Callable[[Record], Any], text: str, number: Any) -> Callable[[Record], bool]:
    def test(record: Record) -> bool:
        value = get(record)
        if value is MISSING:
            return False
        if isinstance(value, str):
            return value == text
        if value is None or isinstance(value, bool):
            return json.dumps(value) == text
        if isinstance(value, int | float):
            return number is not None and value == number
        return compact_json(value) == text

    return test


def _number(get: Callable[[Record], Any], test: Callable[[Any], bool]) -> Callable[[Record], bool]:
    def compare(record: Record) -> bool:
        value = get(record)
        return isinstance(value, int | float) and not isinstance(value, bool) and test(value)

    return compare


def _user(record: Record) -> Any:
    return _extra(record, "user")


def _level(record: Record, name: str, number: int) -> bool:
    return record.levelno == number or (record.levelname or "").lower() == name


def _below(record: Record, logger: str) -> bool:
    return record.name is not None and f"{record.name}.".startswith(f"{logger}.")


_TERMS = [
    *(Question(text, _has_text(text)) for text in ("one", "k", "nowhere", "77", "user")),
    *(
        Question(json.dumps(text, ensure_ascii=False), _has_text(text))
        for text in ("TWO", 'say "hi"', "a\\b", "ß")
    ),
    Question("message:one", lambda r: "one" in r.message.lower()),
    Question("message:*one", lambda r: r.message.lower().endswith("one")),
    Question("message:/^one/", lambda r: r.message.startswith("one")),
    Question("traceback:ONE", lambda r: "one" in (r.exc_text or "").lower()),
    Question("traceback:*", lambda r: r.exc_text is not None),
    Question("message:/(?s)two.*one/", lambda r: "two" in r.message and "one" in r.message[4:]),
    Question("level:error", lambda r: _level(r, "error", 40)),
    Question("level:25", lambda r: r.levelno == 25),
    Question("level:e*", lambda r: (r.levelname or "").lower().startswith("e")),
    Question("level>=info", lambda r: r.levelno is not None and r.levelno >= 20),
    Question("level:(debug info)", lambda r: _level(r, "debug", 10) or _level(r, "info", 20)),
    Question("levelname:*", lambda r: r.levelname is not None),
    Question("logger:app", lambda r: _below(r, "app")),
    Question("logger:app.*", lambda r: (r.name or "").startswith("app.")),
    Question("logger!=app", lambda r: not _below(r, "app")),
    Question("name:app", lambda r: r.name == "app"),
    Question("name>app.db", lambda r: r.name is not None and r.name > "app.db"),
    Question('name:""', lambda r: r.name == ""),
    Question("host:127.0.0.1*", lambda r: r.host.startswith("127.0.0.1")),
    Question("host:unix", lambda r: r.host == "unix"),
    Question("host:/0.1$/", lambda r: r.host.endswith("0.1")),
    Question("lineno:2", lambda r: r.lineno == 2),
    Question("lineno!=2", lambda r: r.lineno != 2),
    Question("lineno>2", lambda r: r.lineno is not None and r.lineno > 2),
    Question("lineno:[1 TO 2]", lambda r: r.lineno in (1, 2)),
    Question(f"lineno:{2**63 - 1}", lambda r: r.lineno == 2**63 - 1),
    Question("user=77", _equals(_user, "77", 77)),
    Question("extra.user:77.0", _equals(_user, "77.0", 77.0)),
    Question("user!=77", lambda r: not _equals(_user, "77", 77)(r)),
    Question('user:""', _equals(_user, "", None)),
    Question("user:true", _equals(_user, "true", None)),
    Question("user:null", _equals(_user, "null", None)),
    Question('user:"x y"', _equals(_user, "x y", None)),
    Question("user:0", _equals(_user, "0", 0)),
    Question("user:é", _equals(_user, "é", None)),
    Question("user:*", lambda r: _user(r) is not MISSING),
    Question("user>1", _number(_user, lambda value: value > 1)),
    Question("user<=0.1", _number(_user, lambda value: value <= 0.1)),
    Question(f"user:{2**63}", _equals(_user, str(2**63), 2**63)),
    Question(f"user>{2**53}", _number(_user, lambda value: value > 2**53)),
    Question(f"user:{2**53 + 1}", _equals(_user, str(2**53 + 1), 2**53 + 1)),
    Question('user>="o"', lambda r: isinstance(_user(r), str) and _user(r) >= "o"),
    Question("extra.a.b=77", _equals(_nested, "77", 77)),
    Question("a.b:*", lambda r: _nested(r) is not MISSING),
    Question("extra.a[0]:77", _equals(_first, "77", 77)),
    Question('extra."odd name":one', _equals(lambda r: _extra(r, "odd name"), "one", None)),
    Question("naïve:77", _equals(lambda r: _extra(r, "naïve"), "77", 77)),
    Question("has:note", lambda r: _extra(r, "!notes") is not MISSING),
    Question("extra:*", lambda r: r.extra != "{}"),
    Question('extra:"user"', lambda r: "user" in r.extra.lower()),
    Question(f"created>={DAY_START + 120}", lambda r: r.created >= DAY_START + 120),
    Question(f"created<{DAY_START + 300}", lambda r: r.created < DAY_START + 300),
    Question(f"created>{DAY_START + 60}", lambda r: r.created > DAY_START + 60),
    Question(f"received<={START}", lambda r: r.received <= START),
]


def _joined(operator: str, parts: list[Question]) -> Question:
    decide = any if operator == " OR " else all
    text = operator.join(part.text for part in parts)
    return Question(f"({text})", lambda record: decide(each.is_wanted(record) for each in parts))


def _negated(sign: str, question: Question) -> Question:
    return Question(f"{sign}{question.text}", lambda record: not question.is_wanted(record))


def _combined(questions: st.SearchStrategy[Question]) -> st.SearchStrategy[Question]:
    operators = st.sampled_from([" ", " AND ", " OR "])
    return st.one_of(
        st.builds(_joined, operators, st.lists(questions, min_size=2, max_size=3)),
        st.builds(_negated, st.sampled_from(["-", "NOT "]), questions),
    )


QUESTIONS = st.recursive(st.sampled_from(_TERMS), _combined, max_leaves=6) | st.just(
    Question("", lambda record: True)
)
