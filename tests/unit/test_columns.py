"""Blocks as columns: the numbers of combinations, and their bounds."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import pytest
from columns import records_in
from engines import block_of

from fastlog.block import Block
from fastlog.core import Translator
from fastlog.decode import Columns, Decoder
from fastlog.decode.c_engine import BOUNDS, columns, meanings
from fastlog.decode.columns import OWN, OWN_MAX

FULL = 1 << 15
"""Combinations in the translator's table after which it begins again with the next block."""
ROOM = 3 << 14
"""Combinations that it remembers at most, in a block that begins below `FULL`."""


def frames(fields: Iterable[dict[str, Any]]) -> list[bytes]:
    return [pickle.dumps({"msg": "hi", "name": "app", "levelno": 20, "levelname": "INFO"} | each, 1)
            for each in fields]  # fmt: skip


def lines(numbers: Iterable[int]) -> list[bytes]:
    """Return frames of call sites that differ in their line."""
    return frames({"lineno": number} for number in numbers)


def decode(decoder: Decoder, payloads: list[bytes]) -> Columns:
    """Decode a block, check its records against the form `records`, and return the columns."""
    block = block_of(payloads)
    decoded = decoder.decode(block).columns
    assert decoded is not None
    assert records_in(block, decoded) == RECORDS.decode(block).records
    return decoded


RECORDS = Decoder("c")


def test_a_call_site_that_recurs_has_one_number_in_all_blocks() -> None:
    decoder = Decoder("c", "columns")
    first = decode(decoder, lines([1, 2, 1]))
    second = decode(decoder, lines([2, 3, 1]))

    assert first.site == [0, 1, 0]
    assert second.site == [1, 2, 0]
    assert first.sites is second.sites


def test_records_that_are_left_to_python_keep_their_place() -> None:
    odd = frames([{"lineno": 1, "when": 10**400}, {"lineno": 1, "levelno": "20"}])
    json = b'{"msg": "json", "name": "app"}'
    payloads = [odd[0], *lines([1]), json, b"garbage", *lines([2]), odd[1]]

    decoded = decode(Decoder("c", "columns"), payloads)

    assert decoded.idx == [0, 1, 2, 4, 5]
    assert [number >= OWN for number in decoded.site] == [True, False, True, False, True]


def test_numbers_begin_again_in_the_block_after_the_table_is_full() -> None:
    decoder = Decoder("c", "columns")
    before = decode(decoder, lines(range(FULL - 1)))
    filled = decode(decoder, lines(range(FULL - 1, FULL + FULL // 4)))
    after = decode(decoder, lines([0, FULL]))

    assert filled.sites is before.sites
    assert filled.site == list(range(FULL - 1, FULL + FULL // 4))
    assert after.site == [0, 1]
    assert after.sites is not before.sites
    assert before.sites[FULL][6] == FULL  # numbers that were given keep their meaning


def test_a_block_with_more_call_sites_than_the_table_takes_is_decoded() -> None:
    count = ROOM + 5_000
    decoder = Decoder("c", "columns")
    decoded = decode(decoder, lines([*range(count), *range(count)]))

    assert len(set(decoded.site)) < 2 * count  # most are remembered
    assert [decoded.sites[number][6] for number in decoded.site] == [*range(count)] * 2
    assert decode(decoder, lines([1])).site == [0]


def test_combinations_that_python_reads_are_bounded() -> None:
    decoder = Decoder("c", "columns")
    many = frames({"lineno": str(number)} for number in range(OWN_MAX))
    first = decode(decoder, many)
    second = decode(decoder, frames([{"lineno": "1"}]) + lines([5]))

    assert first.site == list(range(OWN, OWN + OWN_MAX))
    assert second.site == [OWN, 0]
    assert second.sites is not first.sites
    assert decode(decoder, lines([5])).site == [0]


def translate(translator: Translator, block: Block, *, end: bool = True) -> Any:
    translator.begin(block.received, block.offset)
    translator.block(block.payload, block.frames)
    return pickle.loads(translator.end().columns) if end else None


def test_numbers_begin_again_after_a_block_that_was_not_ended() -> None:
    """Python has not seen the combinations of that block."""
    translator = Translator(columns(), BOUNDS, meanings(), form="columns")
    translate(translator, block_of(lines([1])))
    translate(translator, block_of(lines([2])), end=False)

    site, new_sites, first, *_ = translate(translator, block_of(lines([3, 1])))

    assert (site, first) == ([0, 1], 0)
    assert [values[6] for values in new_sites] == [3, 1]


def test_an_error_while_python_reads_a_block_does_not_mix_up_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder = Decoder("c", "columns")
    decode(decoder, lines([1]))

    def fail(data: bytes) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("fastlog.decode.c_engine.pickle.loads", fail)
        with pytest.raises(MemoryError):
            decoder.decode(block_of(lines([2])))
    assert decode(decoder, lines([3, 1, 2])).site == [0, 1, 2]


@pytest.mark.parametrize("numbered_by", ["the translator", "Python"])
def test_long_combinations_are_not_kept(numbered_by: str) -> None:
    """A client that sends long names does not make the worker keep them."""
    line: object = 1 if numbered_by == "the translator" else "1"
    decoder = Decoder("c", "columns")
    long = frames({"pathname": f"{n}" + "x" * 500_000, "lineno": line} for n in range(20))
    before = decode(decoder, long)
    after = decode(decoder, lines([5]))

    assert after.sites is not before.sites
