"""Type and message of an exception are found in the text that Python prints of it."""

from __future__ import annotations

import json
import multiprocessing.pool
import traceback
from collections.abc import Callable

import pytest

from fastlog.sinks.otlp.exceptions import NOTHING, parse

CHAIN = (
    "Traceback (most recent call last):\n  ...\nValueError: a\n\n"
    "During handling of the above exception, another exception occurred:\n\n"
)


class Outer:
    class InnerError(Exception):
        pass


def logged(work: Callable[[], object]) -> str:
    """Return the traceback of what `work` raises, as `logging.Formatter` makes it."""
    try:
        work()
    except BaseException as error:
        return "".join(traceback.format_exception(error)).removesuffix("\n")
    raise AssertionError("nothing was raised")


def raise_(error: BaseException) -> None:
    raise error


def in_handler() -> None:
    try:
        raise KeyError("first")
    except KeyError:
        raise ValueError("second")  # noqa: B904 - this is what is tested


def from_cause() -> None:
    try:
        raise KeyError("first")
    except KeyError as error:
        raise ValueError("second") from error


def with_note() -> None:
    error = ValueError("no")
    error.add_note("a note")
    error.add_note("another\nof two lines")
    raise error


def group() -> ExceptionGroup[Exception]:
    return ExceptionGroup("several\nlines", [ValueError("a"), ExceptionGroup("in", [KeyError(1)])])


def group_from_cause() -> None:
    try:
        in_handler()
    except ValueError as error:
        raise group() from error


def cause_is_group() -> None:
    try:
        raise group()
    except ExceptionGroup as error:
        raise RuntimeError("all failed") from error


def local() -> None:
    class LocalError(Exception):
        pass

    raise LocalError("x")


@pytest.mark.parametrize(
    ("work", "kind", "message"),
    [
        (lambda: 1 / 0, "ZeroDivisionError", "division by zero"),
        (lambda: raise_(ValueError()), "ValueError", None),
        (
            lambda: raise_(ValueError("a: b\n\n  c\nTypeError: d")),
            "ValueError",
            "a: b\n\n  c\nTypeError: d",
        ),
        (lambda: raise_(ValueError("\nsecond line")), "ValueError", "\nsecond line"),
        (lambda: raise_(SystemExit(3)), "SystemExit", "3"),
        (lambda: raise_(Outer.InnerError("x")), f"{__name__}.Outer.InnerError", "x"),
        (local, f"{__name__}.local.<locals>.LocalError", "x"),
        (lambda: compile("x = (", "f.py", "exec"), "SyntaxError", "'(' was never closed"),
        (in_handler, "ValueError", "second"),
        (from_cause, "ValueError", "second"),
        (with_note, "ValueError", "no\na note\nanother\nof two lines"),
        (lambda: raise_(group()), "ExceptionGroup", "several\nlines (2 sub-exceptions)"),
        (group_from_cause, "ExceptionGroup", "several\nlines (2 sub-exceptions)"),
        (cause_is_group, "RuntimeError", "all failed"),
        (
            lambda: raise_(ValueError(logged(from_cause))),  # a traceback as a message
            "ValueError",
            ...,
        ),
        (
            lambda: raise_(
                ValueError(
                    "x\n\nDuring handling of the above exception, another exception occurred:\n\n?!"
                )
            ),
            "ValueError",
            "x\n\nDuring handling of the above exception, another exception occurred:\n\n?!",
        ),
    ],
)
def test_what_python_prints(work: Callable[[], object], kind: str, message: str | None) -> None:
    found = parse(logged(work))
    assert found.type == kind
    assert message is ... or found.message == message


def test_recursion_whose_frames_are_left_out() -> None:
    def recurse() -> None:
        recurse()

    found = parse(logged(recurse))
    assert found.type == "RecursionError"
    assert str(found.message).startswith("maximum recursion depth exceeded")


def test_the_error_of_another_process() -> None:
    remote = multiprocessing.pool.ExceptionWithTraceback(ValueError("far"), None)
    text = logged(lambda: raise_(remote.exc))
    assert parse(text) == ("ValueError", "far")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NOTHING),
        ("\n", NOTHING),
        ("ValueError: no", ("ValueError", "no")),
        ("ValueError", ("ValueError", None)),
        (CHAIN + "b.Error: without frames", ("b.Error", "without frames")),
        (CHAIN + "b.Error\na note", ("b.Error", "a note")),
        (CHAIN + "it: no", ("it", "no")),  # imitates an exception
        (CHAIN + "an odd text", ("ValueError", CHAIN.partition(": ")[2] + "an odd text")),
        ("something went wrong", NOTHING),
        ("Traceback (most recent call last):", NOTHING),
        ('Traceback (most recent call last):\n  File "a"', NOTHING),
        ('Traceback (most recent call last):\n  File "a"\nwhat is this?', (None, "what is this?")),
        ("Traceback (most recent call last):\n  ...\nÄrger: nein", ("Ärger", "nein")),
        ("[1, 2", NOTHING),
        ("[]", NOTHING),
        (
            json.dumps([{"exc_type": "ValueError", "exc_value": "no", "frames": []}, {}]),
            ("ValueError", "no"),
        ),
        (json.dumps({"exc_type": "KeyError", "exc_value": None}), ("KeyError", None)),
    ],
)
def test_other_texts(text: str, expected: tuple[str | None, str | None]) -> None:
    assert parse(text) == expected
