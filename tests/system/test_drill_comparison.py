"""The comparison of the drill detects every broken promise."""

from __future__ import annotations

from typing import Any

import pytest
from drill_rows import kept_rows, make_row
from hypothesis import given
from hypothesis import strategies as st

from fastlog.drill.comparison import PROMISES, Account, compare_numbers, count_breaches, is_broken


def test_a_complete_store_has_no_faults() -> None:
    assert compare_numbers(3, [1, 2, 3]) == Account(sent=3, stored=3)


def test_a_missing_record_is_counted_if_it_is_declared() -> None:
    account = compare_numbers(6, [1, 2, 6], [range(3, 5)])
    assert account == Account(sent=6, stored=3, counted=2, uncounted=1)


def test_a_missing_last_record_is_detected() -> None:
    assert compare_numbers(3, [1, 2]).uncounted == 1
    assert compare_numbers(1, []).uncounted == 1


def test_a_duplicate_is_detected_when_the_sum_is_right() -> None:
    assert compare_numbers(3, [1, 3, 3]) == Account(sent=3, stored=2, uncounted=1, twice=1)


def test_a_late_duplicate_is_not_out_of_order() -> None:
    assert compare_numbers(3, [1, 2, 3, 1]) == Account(sent=3, stored=3, twice=1)


def test_records_behind_a_later_one_are_out_of_order() -> None:
    assert compare_numbers(5, [1, 4, 2, 3, 5]) == Account(sent=5, stored=5, disordered=2)


def test_a_stored_record_that_is_declared_lost_is_wrong() -> None:
    assert compare_numbers(3, [1, 2, 3], [range(2, 4)]).wrong == 2


def test_a_record_that_was_never_sent_is_wrong_if_stored_or_declared() -> None:
    assert compare_numbers(3, [1, 2, 3, 4]).wrong == 1
    assert compare_numbers(3, [1, 2, 3], [range(4, 6)]).wrong == 2


def test_a_record_that_a_kill_interrupted_may_be_stored_or_not() -> None:
    assert compare_numbers(3, [1, 2, 3, 4], unsure=[4]) == compare_numbers(3, [1, 2, 3], unsure=[4])
    assert compare_numbers(3, [1, 2, 3, 4], unsure=[4]).wrong == 0


def test_folded_losses_account_for_their_count() -> None:
    account = compare_numbers(9, [1, 2, 3], [range(4, 6)])
    assert account.count_folded(4) == account._replace(counted=6, uncounted=0)
    assert account.count_folded(3).uncounted == 1
    assert account.count_folded(5).wrong == 1


@given(st.integers(1, 60), st.sets(st.integers(1, 60)), st.data())
def test_any_fault_in_a_complete_store_is_detected(sent: int, lost: set[int], data: Any) -> None:
    lost = {number for number in lost if number <= sent}
    stored = [number for number in range(1, sent + 1) if number not in lost]
    declared = [range(number, number + 1) for number in lost]
    right = compare_numbers(sent, stored, declared)
    assert right == Account(sent, len(stored), len(lost))
    if not stored:
        return
    at = data.draw(st.integers(0, len(stored) - 1))
    assert compare_numbers(sent, stored[:at] + stored[at + 1 :], declared).uncounted == 1
    assert compare_numbers(sent, [*stored, stored[at]], declared).twice == 1
    assert compare_numbers(sent, stored, [*declared, range(stored[at], stored[at] + 1)]).wrong == 1
    if at:
        assert compare_numbers(
            sent, [stored[at], *stored[:at], *stored[at + 1 :]], declared
        ).disordered


def test_kept_promises_have_no_breaches() -> None:
    rows = kept_rows()
    assert count_breaches(rows) == {promise.text: 0 for promise in PROMISES}
    assert not any(map(is_broken, rows))


@pytest.mark.parametrize(
    ("field", "broken"),
    [
        ("uncounted", {"what was sent is stored, or declared as lost",
                       "nothing is lost by a client that has room for it"}),
        ("counted", {"nothing is lost by a client that has room for it"}),
        ("twice", {"nothing is stored twice"}),
        ("disordered", {"each client's order is kept"}),
        ("wrong", {"nothing is declared as lost that is stored, or was never sent"}),
    ],
)  # fmt: skip
def test_each_fault_breaks_its_promise(field: str, broken: set[str]) -> None:
    rows = kept_rows(account=Account(sent=10, stored=10)._replace(**{field: 2}))
    assert {text for text, count in count_breaches(rows).items() if count} == broken
    assert [is_broken(row) for row in rows] == [True, False]


def test_a_connection_that_did_not_survive_a_reload_breaks_a_promise() -> None:
    rows = kept_rows()
    rows[1].connections = 2
    assert sum(count_breaches(rows).values()) == 1


def test_records_that_a_client_still_has_at_the_end_break_a_promise() -> None:
    assert sum(count_breaches(kept_rows(unsent=1)).values()) == 1


def test_a_client_that_may_lose_records_must_not_duplicate_them() -> None:
    lossy = {"is_fastlog": False, "may_lose": "not acknowledged"}
    lost = make_row(**lossy, account=Account(sent=10, stored=5, uncounted=5, disordered=1))
    assert not is_broken(lost)
    assert is_broken(make_row(**lossy, account=Account(sent=10, stored=10, twice=1)))


def test_a_promise_that_was_not_tested_counts_as_broken() -> None:
    assert all(count_breaches([]).values())
    assert all(count_breaches([make_row(keeps_connection=True)]).values())
