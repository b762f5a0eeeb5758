"""Patterns of numbers: what JSON has where a number is less or greater than another.

A pattern matches at the start of each such number, and of some others: those with an exponent, and
some that differ from the wanted ones only after the point. JSON writes no zero before a number.
"""

from __future__ import annotations

import math
from typing import Final

from fastlog.query.tree import Operator

_ANY: Final = r"-?\d"
_WITH_EXPONENT: Final = r"-?\d+(?:\.\d+)?[eE]"
_DIGITS: Final = 15
"""Digits before the point up to which a float holds each integer, and the parts of some."""
_MIRRORED: Final[dict[Operator, Operator]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def number_pattern(operator: Operator, bound: float) -> str:
    """Return a pattern of the numbers for which `number operator bound` is true."""
    if not abs(bound) < 10**_DIGITS:  # also if it is no number
        return _ANY
    if bound < 0 or (bound == 0 and operator in ("<", ">=")):
        # The same about the numbers without their signs.
        one, other = _magnitudes(_MIRRORED[operator], -bound), "-?0" if bound == 0 else ""
        signed = [f"-{one}", other, r"\d" if operator in (">", ">=") else ""]
    else:
        signed = [_magnitudes(operator, bound), "-" if operator in ("<", "<=") else ""]
        signed.append("-0" if bound == 0 else "")
    return f"(?:{'|'.join(filter(None, [*signed, _WITH_EXPONENT]))})"


def _magnitudes(operator: Operator, bound: float) -> str:
    """Return a pattern of the numbers without a sign for which the comparison is true.

    A number with many digits behind the point is read as the nearest float, which may be the bound
    though the digits before the point are fewer.
    """
    below, above = math.floor(bound), math.ceil(bound)
    if operator == "<":
        return rf"{_at_most(above - 1)}\b"
    if operator == "<=":
        return rf"{_at_most(below)}\b"
    whole = below + 1 if operator == ">" else above
    return rf"(?:{_at_least(whole)}|{_at_least(whole - 1)}\d*\.)"


def _at_least(least: int) -> str:
    """Return a pattern of the first digits of an integer that is not less."""
    if least <= 0:
        return r"\d"
    digits = str(least)
    longer = rf"[1-9]\d{{{len(digits)}}}"
    return f"(?:{'|'.join([longer, digits, *_other_digits(digits, '9')])})"


def _at_most(most: int) -> str:
    """Return a pattern of an integer that is not greater, to be followed by `\\b`."""
    if most < 0:
        return r"[^\s\S]"
    digits = str(most)
    shorter = [rf"\d{{1,{len(digits) - 1}}}"] if len(digits) > 1 else []
    return f"(?:{'|'.join([*shorter, digits, *_other_digits(digits, '0')])})"


def _other_digits(digits: str, last: str) -> list[str]:
    """Return patterns of the integers as long as another, up to that of this digit everywhere."""
    step = 1 if last == "9" else -1
    return [
        rf"{digits[:at]}[{min(int(digit) + step, int(last))}-{max(int(digit) + step, int(last))}]"
        rf"\d{{{len(digits) - at - 1}}}"
        for at, digit in enumerate(digits)
        if digit != last
    ]
