"""Bulk search: no entry of a chunk is missed that matches by itself."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from queries import parsed

from fastlog.errors import ConfigError
from fastlog.query import COLUMNS, Node, any_of, both, compile_query
from fastlog.query.expressions import compile_regex
from fastlog.query.fields import resolve
from fastlog.query.operands import phrase, regex
from fastlog.query.tree import Compares, Operator
from fastlog.search import candidates as bulk
from fastlog.search.bulk import bulk_expressions
from fastlog.search.candidates import candidates
from fastlog.search.number_patterns import number_pattern

LETTERS = "ab1 .\nkK\N{KELVIN SIGN}sS\N{LATIN SMALL LETTER LONG S}ßẞé\N{EURO SIGN}😀"
TEXTS = st.text(LETTERS, max_size=6)
ENTRIES = st.lists(st.tuples(TEXTS, st.none() | TEXTS), min_size=1, max_size=8)
"""Message and traceback of each entry."""

_WORDS = (
    r"a b k \x{17F} ß é 1 . \n \d \w \W \s \S [^a] [a-k] \pL \PL \x{212A} \C"
    r" ^ $ \A \z \b \B \\ \x00 \. \\A [\\A] \Qa\E \Q\A\E \Q.\E"
)
_ATOMS = st.sampled_from([" ", "", "[^ -~]", *_WORDS.split()])
_FLAGS = st.sampled_from(["i", "s", "m", "U", "is", "ms", "-s", "-m", "i-m"])


def _combined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    often = st.sampled_from(["*", "+", "?", "*?", "{2}", "{0,2}"])
    return (
        st.builds("{}{}".format, parts, parts)
        | st.builds("({}|{})".format, parts, parts)
        | st.builds("(?{}:{})".format, _FLAGS, parts)
        | st.builds("(?{}){}".format, _FLAGS, parts)
        | st.builds("(?:{}){}".format, parts, often)
    )


PATTERNS = st.recursive(_ATOMS, _combined, max_leaves=6)


def chunk(entries: list[tuple[str, str | None]]) -> bytes:
    """Return the text of a chunk, as `fastlog.sinks.day_chunks` describes it."""
    return "".join(f"\0\n{text}\n{trace or ''}\n\n{{}}\n" for text, trace in entries).encode()


def row(message: str, exc_text: str | None) -> list[object]:
    texts = {"message": message, "exc_text": exc_text, "extra": "{}"}
    return [texts.get(name) for name in COLUMNS]


def missed(query: Node, entries: list[tuple[str, str | None]]) -> set[int]:
    """Return the entries that match by themselves and are no candidates."""
    is_wanted = compile_query(query)
    expected = {number for number, texts in enumerate(entries) if is_wanted(row(*texts))}
    bulk_of = bulk_expressions(query)
    return expected - {*candidates(chunk(entries), bulk_of)} if bulk_of else set()


@settings(deadline=None, max_examples=1000)
@given(PATTERNS, ENTRIES, st.sampled_from([1, 3, 256]), st.sampled_from([1, 20, 4096]))
@example(r"\Aa\z", [("b", None), ("a", "")], 256, 4096)
@example("(?s)a.*b", [("a", None), ("ab", None), ("b", None)], 256, 1)
@example(r"^$", [("", None)], 256, 4096)
def test_no_entry_that_a_pattern_matches_is_missed(
    pattern: str, entries: list[tuple[str, str | None]], dense: int, window: int
):
    assume(pattern)
    try:
        compile_regex(pattern)
    except ConfigError:
        assume(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "DENSE", dense)
        patch.setattr(bulk, "WINDOW", window)
        patch.setattr(bulk, "LONG_WINDOW", 2 * window)
        assert missed(regex(pattern), entries) == set()


@settings(deadline=None)
@given(st.lists(TEXTS.filter(bool), min_size=1, max_size=2), ENTRIES)
def test_no_entry_with_a_text_is_missed(texts: list[str], entries: list[tuple[str, str | None]]):
    assert missed(both(*map(phrase, texts)), entries) == set()
    assert missed(any_of(map(phrase, texts)), entries) == set()


def numbers(query: Node, *texts: str) -> list[int]:
    return list(candidates(chunk([(text, None) for text in texts]), bulk_expressions(query)))


def test_only_entries_that_match_are_candidates():
    texts = ("one", "two", "one and two", "", "three")
    assert numbers(regex("^o"), *texts) == [0, 2]
    assert numbers(regex(r"\Aone\z"), *texts) == [0]
    assert numbers(both(phrase("ONE"), phrase("two")), *texts) == [2]
    assert numbers(regex("(?s)two.*three"), *texts, "two, then\nthree") == [1, 2, 5]


def test_a_pattern_that_matches_nearly_everywhere_leaves_all_to_the_rows(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(bulk, "DENSE", 2)
    texts = ("aaa", "a", "ab", "b", "")
    assert numbers(regex("a"), *texts) == [0, 1, 2, 3, 4]
    assert numbers(both(regex("a"), regex("b")), *texts) == [2, 3]


@pytest.mark.parametrize("pattern", [r"\Qa.b\E", "(?-m:^a$)", "a(?i-s)b"])
def test_a_pattern_that_has_no_certain_bulk_form_is_not_used(pattern: str):
    compile_regex(pattern)
    assert bulk_expressions(regex(pattern)) == []


def test_a_match_over_many_entries_does_not_make_the_search_quadratic():
    """Without windows, each of 20,000 matches would read all of the rest: some 5 GB."""
    text = chunk([("a" * 20, None)] * 20_000)
    expression = CountedExpression()
    assert len(list(bulk._entries(text, expression))) == 20_000
    assert expression.bytes < 20_000 * 2 * bulk.WINDOW + len(text)


def test_a_search_of_a_chunk_ends_soon_when_it_must_stop():
    text = chunk([("b" * 200, None)] * 20_000)
    expression = CountedExpression()
    answers = iter([False, False])
    assert list(bulk._entries(text, expression, lambda: next(answers, True))) == []
    assert 0 < expression.bytes < 3 * bulk.LONG_WINDOW < len(text)


class CountedExpression:
    """`(?s)a.*`, and how many bytes it was given to search."""

    def __init__(self) -> None:
        self._expression = compile_regex("(?s)a.*")
        self.bytes = 0

    def search(self, text: bytes, pos: int, endpos: int):  # type: ignore[no-untyped-def]
        self.bytes += endpos - pos
        return self._expression.search(text, pos, endpos)


@pytest.mark.parametrize(
    ("query", "extra", "is_candidate"),
    [
        ("user=77", '{"user":77}', True), ("user=77", '{"user":"77"}', True),
        ("user=77", '{"user":77.0}', True), ("user=77", '{"user": 77}', True),
        ("user=77", '{"user":770}', False), ("user=77", '{"other":77}', False),
        ("user=-7", '{"user":-7}', True), ("user=77.0", '{"user":77}', True),
        ("user=1.5", '{"user":1.5}', True), ("user=+77", '{"user":77}', True),
        ("user=1e3", '{"user":1000}', True), ("user=0", '{"user":-0.0}', True),
        ("user=1", '{"user":1.0}', True), ("user=true", '{"user":true}', True),
        ("user=true", '{"user":"true"}', True), ('user="x y"', '{"user":"x y"}', True),
        ('user="x y"', '{"user":"x yz"}', False), ('user=a\\"b', '{"user":"a\\"b"}', True),
        ('user="[1]"', '{"user":[1]}', True), ("user=é", '{"user":"\\u00e9"}', True),
        ("user>7", '{"user":77}', True), ("user>7", '{"other":77}', False),
        ("user>7", '{"user":7}', False), ("user>7", '{"user":-8}', False),
        ("user>=70", '{"user":69}', False), ("user<70", '{"user":70}', False),
        ("user<=70", '{"user": 70.0}', True), ("user<-7", '{"user":-7}', False),
        ("user>7", '{"user":"8"}', False), ("user>b", '{"user":"c"}', True),
        ("user>b", '{"user":9}', False), ("extra.a[0]>7", '{"a":[8]}', True),
        ("user:*", '{"user":77}', True), ("user:*", '{"other":77}', False),
        ("a.b=77", '{"a":{"b":77}}', True), ("a.b=77", '{"a.b":77}', True),
        ("a.b=77", '{"a":77}', False), ("extra.a[0]=77", '{"a":[77]}', True),
        ("extra.a[0].b=77", '{"a":[{"b":77}]}', True),
        ("has:note", '{"!notes":["x"]}', True), ("has:note", '{"notes":["x"]}', False),
        ("one OR user=77", '{"user":77}', True), ("one OR user=77", '{"user":78}', False),
        (r'say OR "\"hi\""', '{"user":"\\"hi\\""}', True),
    ],
)  # fmt: skip
def test_a_query_is_a_text_that_an_entry_must_have(query: str, extra: str, is_candidate: bool):
    [expression] = bulk_expressions(parsed(query))
    text = f"\0\nmessage\n\n\n{extra}\n".encode()
    assert (list(candidates(text, [expression])) == [0]) == is_candidate


BOUNDS = st.integers(-(10**17), 10**17) | st.floats(-1e17, 1e17) | st.integers(-1200, 1200)
NUMBERS = BOUNDS | st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from(["<", "<=", ">", ">="]),
    BOUNDS,
    st.lists(NUMBERS, max_size=6),
    st.sampled_from(["", ".0", "0", ".99999999999999999999", ".00000000000000000001"]),
)
@example(">=", 1000, [999], ".99999999999999999999")
@example("<", 0, [-0.0], "")
@example(">=", -0.0, [-0.0], "")
def test_no_number_that_compares_in_a_way_is_missed(
    operator: Operator, bound: float, numbers: list[float], behind: str
):
    """The texts of numbers have more digits than a float holds, too."""
    wanted = compile_query(Compares(resolve("user"), operator, bound))
    near = [bound, bound + 1, bound - 1, bound + 0.5, *numbers]
    texts = [json.dumps(number) for number in near]
    texts += [text + behind for text in texts if re.fullmatch(r"-?[1-9]\d*", text)]
    extras = [f'{{"user":{text}}}' for text in texts]
    expression = compile_regex(rf'"user":\s*{number_pattern(operator, bound)}')
    row: list[object] = [None] * len(COLUMNS)
    for extra in extras:
        row[COLUMNS.index("extra")] = extra
        data = extra.encode()
        assert not wanted(row) or expression.search(data, 0, len(data)), extra


@pytest.mark.parametrize(
    "query", ["user!=77", "extra.é=77", "lineno=77", "one OR lineno=77", "-one", "user:/x/"]
)
def test_a_query_without_a_certain_text_is_not_searched_in_bulk(query: str):
    assert bulk_expressions(parsed(query)) == []
