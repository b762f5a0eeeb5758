"""Command lines with a query among their words, such as `fastlog query level:error -timeout`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import click

from fastlog.cli.command import Command


class QueryCommand(Command):
    """A command that takes `-term` as a part of a query, which excludes the term.

    A word is an option if it is one: `-n`, `-n5`, `-fn`. What may be a mistyped long option is an
    error.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(self._with_terms(ctx, args)))

    def _with_terms(self, ctx: click.Context, args: list[str]) -> Iterator[str]:
        """Yield the words, with a space before each that begins as an option and is none.

        The query does not change by that, and click then takes the word for an argument.
        """
        options = [each for each in self.params if isinstance(each, click.Option)]
        valued = {name for each in options if not each.is_flag for name in each.opts}
        flags = {name for each in options if each.is_flag for name in each.opts}
        flags |= set(ctx.help_option_names)
        words = iter(args)
        for word in words:
            if word == "--":
                yield from (word, *words)
            elif _is_short(word) and not _matches(word, flags, valued):
                if f"-{word}" in valued | flags:
                    raise click.UsageError(
                        f"there is no option {word!r}; did you mean '-{word}'?"
                        f" (The records without this word: 'NOT {word[1:]}'.)",
                        ctx,
                    )
                yield f" {word}"
            else:
                yield word
                if word in valued:
                    yield from islice(words, 1)


def _is_short(word: str) -> bool:
    return re.match(r"-[^-\d].", word) is not None  # one letter alone is a mistyped option


def _matches(word: str, flags: set[str], valued: set[str]) -> bool:
    """Return whether a word has short options only: flags, then perhaps one with a number."""
    letters = ["".join(name[1] for name in names if len(name) == 2) for names in (flags, valued)]
    alone, last = (f"[{re.escape(some)}]" if some else "(?!)" for some in letters)
    return re.fullmatch(rf"-(?:{alone}+|{alone}*{last}\d*)", word, re.ASCII) is not None
