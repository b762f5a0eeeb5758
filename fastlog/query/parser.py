"""The parser of the query language: text → tree. `docs/query.md` describes the language.

It is a recursive descent, one function for each rule of the grammar:

    query      = [ or ]
    or         = and { "OR" and }
    and        = not { [ "AND" ] not }
    not        = { "NOT" | "-" } primary
    primary    = "(" or ")" | comparison | value
    comparison = path operator ( value | list | range )
    list       = "(" value { value } ")"
    range      = "[" value "TO" value "]"
    value      = "quoted" | /regex/ | word
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from fastlog.errors import ConfigError
from fastlog.query.fields import PATH
from fastlog.query.moments import TimeContext
from fastlog.query.operands import Operand, check_field, compare, word
from fastlog.query.tree import EVERYTHING, Node, Not, any_of, both

T = TypeVar("T")

MAX_LENGTH: Final = 64 << 10
"""Characters of a query."""
MAX_DEPTH: Final = 50
"""Parentheses inside each other."""

_SPACE: Final = r"\s*"
_COMPARISON: Final = rf"({PATH})(?::|\s*(?:!=|<=|>=|=|<|>))"
_OPERATOR: Final = r"!=|<=|>=|=|<|>"
_KEYWORD: Final = r"(AND|OR|NOT|TO)(?=[\s()\]]|$)"
_LIKE_KEYWORD: Final = r"(and|or|not|And|Or|Not)(?=[\s()]|$)"
_ESCAPABLE: Final = frozenset(' \t\n*"\\()[]/:=<>!-')
"""Characters that a backslash makes literal. Before any other, it stands for itself."""
_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_REGEX: Final = r"/((?:[^/\\]|\\.)*)/"
_END: Final = r"[\s)\]]|$"


class QueryError(ConfigError):
    """A query is wrong."""

    def __init__(self, reason: str, text: str, at: int) -> None:
        super().__init__(f"{reason} (column {at + 1} of {_around(text, at)})")
        self.reason = reason
        self.column = at + 1
        """Where the mistake is in the text, counted from 1."""


def parse(text: str, context: TimeContext) -> Node:
    """Parse a query.

    Args:
        context: What the words of its times refer to.

    Raises:
        QueryError: The text is no query. The error has the column of the mistake.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the query has more than {MAX_LENGTH} characters", text, MAX_LENGTH)
    return _Parser(text, context).query()


class _Parser:
    def __init__(self, text: str, context: TimeContext) -> None:
        self._text, self._context = text, context
        self._at = 0
        self._depth = 0
        self._is_in_range = False

    def query(self) -> Node:
        self._skip_space()
        if self._is_at_end():
            return EVERYTHING
        tree = self._or()
        if not self._is_at_end():
            self._fail('")" without "("; write "\\)" for the character')
        return tree

    def _or(self) -> Node:
        parts = [self._and()]
        while self._take_keyword("OR"):
            parts.append(self._and())
        return any_of(parts)

    def _and(self) -> Node:
        parts = [self._not()]
        while not self._is_at_end() and not self._next_is(")") and not self._sees_keyword("OR"):
            self._take_keyword("AND")
            parts.append(self._not())
        return both(*parts)

    def _not(self) -> Node:
        is_negated = False
        while True:
            if self._take_keyword("NOT"):
                is_negated = not is_negated
            elif self._next_is("-"):
                self._at += 1
                if self._is_at_end() or self._text[self._at].isspace():
                    self._fail('expected a term directly after "-"; write "\\-" for the character')
                is_negated = not is_negated
            else:
                break
        node = self._primary()
        return Not(node) if is_negated else node

    def _primary(self) -> Node:
        if self._is_at_end():
            self._fail("expected a term, and the query ends")
        if self._next_is("("):
            return self._group()
        if match := self._match(_KEYWORD, self._at):
            self._fail(f'expected a term, got {match[1]}; quote the word: "{match[1]}"')
        if match := self._match(_LIKE_KEYWORD, self._at):
            self._fail(
                f'write {match[1].upper()} for the operator, or quote the word: "{match[1]}"'
            )
        if match := self._match(_COMPARISON, self._at):
            return self._comparison(match)
        operand = self._value(may_be_regex=False)
        return self._checked(operand.at, lambda: word(operand))

    def _group(self) -> Node:
        start = self._at
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"more than {MAX_DEPTH} parentheses inside each other")
        self._at += 1
        self._skip_space()
        if self._next_is(")"):
            self._fail("there is nothing between the parentheses", start)
        node = self._or()
        if not self._next_is(")"):
            self._fail('this "(" is not closed', start)
        self._at += 1
        self._depth -= 1
        self._skip_space()
        return node

    def _comparison(self, match: re.Match[str]) -> Node:
        start, name = self._at, match[1]
        operator = match[0][len(name) :].strip()
        self._checked(start, lambda: check_field(name))
        self._at = match.end()
        if operator != ":":
            self._skip_space()
        if self._is_at_end() or self._text[self._at].isspace() or self._next_is(")"):
            self._fail(
                f'expected a value after "{name}{operator}"; {name}:* asks whether it is there,'
                f' and quotes make a text of it: "{name}{operator}"'
            )

        def leaf(operand: Operand, operator: str = operator) -> Node:
            return self._checked(
                operand.at, lambda: compare(name, operator, operand, self._context)
            )

        is_equal = operator in (":", "=", "!=")
        if is_equal and self._next_is("("):
            parts = self._list(lambda operand: leaf(operand, "="))
            return Not(any_of(parts)) if operator == "!=" else any_of(parts)
        if is_equal and self._next_is("["):
            node = self._range(leaf)
            return Not(node) if operator == "!=" else node
        return leaf(self._value())

    def _list(self, leaf: Callable[[Operand], Node]) -> list[Node]:
        start = self._at
        self._at += 1
        self._skip_space()
        parts: list[Node] = []
        while not self._next_is(")"):
            if self._is_at_end():
                self._fail('this "(" is not closed', start)
            if self._sees_keyword("OR"):
                self._take_keyword("OR")
                continue
            if match := self._match(_KEYWORD, self._at):
                self._fail(f'expected a value, got {match[1]}; quote the word: "{match[1]}"')
            parts.append(leaf(self._value()))
        if not parts:
            self._fail("there is nothing between the parentheses", start)
        self._at += 1
        self._skip_space()
        return parts

    def _range(self, leaf: Callable[[Operand, str], Node]) -> Node:
        """Parse `[10 TO 20]`. `*` at one end leaves it open."""
        start = self._at
        self._at += 1
        self._skip_space()
        self._is_in_range = True
        first = self._value()
        if not self._take_keyword("TO"):
            self._fail("expected a range such as [10 TO 20]; quote a text with [", start)
        last = self._value()
        self._is_in_range = False
        if not self._next_is("]"):
            self._fail('this "[" is not closed', start)
        self._at += 1
        self._skip_space()
        ends = [(first, ">="), (last, "<=")]
        parts = [leaf(end, operator) for end, operator in ends if end.parts != ("", "")]
        if not parts:
            self._fail("one end of the range must be a value", start)
        return both(*parts)

    def _value(self, *, may_be_regex: bool = True) -> Operand:
        """Parse a value, and skip the space after it.

        Args:
            may_be_regex: Whether a slash begins a regular expression. It begins a path elsewhere.
        """
        if self._is_at_end():
            self._fail("expected a value, and the query ends")
        if self._next_is('"'):
            operand = self._quoted()
        elif self._next_is("/") and may_be_regex:
            operand = self._regex()
        else:
            operand = self._word()
        self._skip_space()
        return operand

    def _quoted(self) -> Operand:
        start = self._at
        match = self._match(_QUOTED, start)
        if match is None:
            self._fail("this quote is not closed")
        self._at = match.end()
        self._require_end("after the quotes")
        text = re.sub(r'\\(["\\])', r"\1", match[1])
        return Operand(start, text, (text,), is_quoted=True)

    def _regex(self) -> Operand:
        start = self._at
        match = self._match(_REGEX, start)
        if match is None or not self._match(_END, match.end()):
            self._fail(
                'expected /regex/ with "\\/" for each slash in it, and (?i) at its start to ignore'
                ' case; quote a path: "/srv/app"'
            )
        self._at = match.end()
        pattern = match[1].replace("\\/", "/")
        return Operand(start, pattern, (pattern,), is_regex=True)

    def _word(self) -> Operand:
        """Parse a word, in which `*` is a wildcard."""
        start, text = self._at, self._text
        parts, part = [], ""
        while self._at < len(text):
            char = text[self._at]
            if char == "\\" and text[self._at + 1 : self._at + 2] in _ESCAPABLE:
                self._at += 1
                part += text[self._at]
            elif char == "*":
                parts.append(part)
                part = ""
            elif char.isspace() or char == ")" or (char == "]" and self._is_in_range):
                break
            elif char in '("':
                self._fail(f"put the whole text in quotes, or write \\{char}")
            elif self._at == start and self._match(_OPERATOR, self._at):
                self._fail(
                    f"expected a field before {char}, as in lineno{char}10; or quote the text"
                )
            else:
                part += char
            self._at += 1
        if self._at == start:
            self._fail(f'unexpected "{text[start]}"; put the text in quotes')
        parts.append(part)
        return Operand(start, "*".join(parts), tuple(parts))

    def _checked(self, at: int, make: Callable[[], T]) -> T:
        """Return what `make` returns; add the position to its error."""
        try:
            return make()
        except ConfigError as error:
            raise QueryError(str(error), self._text, at) from None

    def _match(self, pattern: str, at: int) -> re.Match[str] | None:
        return re.compile(pattern, re.DOTALL).match(self._text, at)

    def _require_end(self, where: str) -> None:
        if not self._match(_END, self._at):
            self._fail(f"expected a space {where}")

    def _take_keyword(self, keyword: str) -> bool:
        if not self._sees_keyword(keyword):
            return False
        self._at += len(keyword)
        self._skip_space()
        return True

    def _sees_keyword(self, keyword: str) -> bool:
        match = self._match(_KEYWORD, self._at)
        return match is not None and match[1] == keyword

    def _next_is(self, char: str) -> bool:
        return self._text.startswith(char, self._at)

    def _is_at_end(self) -> bool:
        return self._at >= len(self._text)

    def _skip_space(self) -> None:
        match = self._match(_SPACE, self._at)
        assert match is not None
        self._at = match.end()

    def _fail(self, reason: str, at: int | None = None) -> NoReturn:
        raise QueryError(reason, self._text, self._at if at is None else at)


def _around(text: str, at: int) -> str:
    """Return the text, or that part of a long one which has the position, in quotes."""
    begin = max(0, at - 40)
    part = text[begin : at + 40]
    return f"'{'…' if begin else ''}{part}{'…' if at + 40 < len(text) else ''}'"
