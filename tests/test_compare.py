"""When numbers agree, miss or keep an order: at the boundary, and one rounding beyond it."""

import math

import numpy as np
import pytest

from dpo_edu import _compare

UP = 1 + 2.0**-52


@pytest.mark.parametrize(
    ("found", "limits", "agree"),
    [
        ([1.0, 2.5], {"bound": 0.0}, False),
        ([1.0, 2.0], {"bound": 0.0}, True),
        ([1.0625, 2.0], {"bound": 0.0625}, True),
        ([1.0625 * UP, 2.0], {"bound": 0.0625}, False),
        ([1.0, 1.875], {"relative": 0.0625}, True),
        ([1.0, 1.875 / UP], {"relative": 0.0625}, False),
        ([1.0 + 2e-12, 2.0], {}, False),
        ([1.0 + 9e-13, 2.0], {}, True),
    ],
)
def test_what_misses_by_the_bound_agrees_and_one_rounding_more_does_not(found, limits, agree):
    limits = {"bound": None, "relative": None} | limits
    assert _compare.agreement(found, [1.0, 2.0], **limits)[0] is agree


def test_the_worst_entry_and_the_limit_are_told():
    arguments = {"bound": None, "relative": 0.1}
    held, text, worst = _compare.agreement([1.0, -4.2, 0.0], [1.0, -4.0, 0.0], **arguments)
    assert (held, text, worst) == (True, "|found - expected| <= 0.1 |expected|", "0.05 relative")
    assert _compare.agreement([0.25], 0.0, 0.1, None) == (
        *(False, "|found - expected| <= 0.1", "0.25"),
    )
    assert _compare.agreement([0.0], 0, 0, None) == (True, "found = expected", "0")


@pytest.mark.parametrize("limit", [0.0, 0.1])
def test_a_limit_may_be_nothing_or_a_tenth(limit):
    assert _compare.agreement(1.0, 1.0, limit, None)[0]
    assert _compare.agreement(1.0, 1.0, None, limit)[0]


@pytest.mark.parametrize("limit", [0.1 * UP, -5e-324, math.nan, math.inf, True, "0"])
def test_a_limit_beyond_a_tenth_is_refused(limit):
    with pytest.raises(ValueError, match=r"bound: expected a number in \[0, 0.1\], got"):
        _compare.agreement(1.0, 1.0, limit, None)
    with pytest.raises(ValueError, match=r"relative: expected a number in \[0, 0.1\], got"):
        _compare.agreement(1.0, 1.0, None, limit)


def test_both_limits_at_once_are_refused():
    with pytest.raises(ValueError, match="bound: expected a bound or a relative one, got both"):
        _compare.agreement(1.0, 1.0, 0.0, 0.0)


def test_a_bound_that_hides_an_expected_value_is_refused():
    with pytest.raises(ValueError, match=r"other than 0 \(such as 0.02\), got 0.05"):
        _compare.agreement([1.0, 0.0, 0.0], [1.0, 0.04, -0.02], 0.05, None)
    with pytest.raises(ValueError, match="such as 0.0625"):
        _compare.agreement(0.0625, 0.0625, 0.0625, None)
    assert _compare.agreement([0.0, 0.0625 * UP], [0.0, 0.0625 * UP], 0.0625, None)[0]


@pytest.mark.parametrize(("by", "misses"), [(0.5, True), (0.5 * UP, False)])
def test_a_miss_is_by_at_least_so_much_at_the_worst_entry(by, misses):
    assert _compare.miss([1.0, 2.0, 4.0], [1.0, 2.5, 4.25], by) == (misses, 0.5)


@pytest.mark.parametrize(
    ("limits", "reach"), [((None, None), 1e-12), ((0.25, None), 0.25), ((None, 0.0625), 0.25)]
)
def test_what_agreement_lets_pass_is_what_a_miss_must_exceed(limits, reach):
    assert _compare.reach([1.0, -4.0, 2.0], *limits) == reach


def test_a_miss_of_less_than_a_billionth_of_the_largest_is_rounding():
    least = 1e-9 * 256
    assert _compare.miss([0.0, 0.0], [256.0, -100.0], least) == (True, 256.0)
    for by in (least / UP, math.inf, math.nan, True):
        with pytest.raises(ValueError, match="by: expected a finite number >= 2.56e-07, got"):
            _compare.miss([0.0, 0.0], [256.0, -100.0], by)
    with pytest.raises(ValueError, match="by: expected a finite number >= 1e-09, got"):
        _compare.miss(0.0, 0.5, 0.9e-9)


def test_a_miss_is_more_than_the_rounding_of_the_largest_number_on_either_side():
    coarse, zero = np.array([1e6, 0.0], dtype=np.float32), np.zeros(2, dtype=np.float32)
    for found, expected in ((coarse, zero), (zero, coarse)):
        with pytest.raises(ValueError, match="by: expected a finite number >= 7.63, got 7.5"):
            _compare.miss(found, expected, 7.5)
        assert _compare.miss(found, expected, 7.75) == (True, 1e6)


@pytest.mark.parametrize(
    ("left", "relation", "right", "held", "gap"),
    [
        ([1.0, 2.0], "<", [2.0, 2.25], True, 0.25),
        ([1.0, 2.0], "<", [2.0, 2.0], False, 0.0),
        ([1.0, 2.0], "<=", [2.0, 2.0], True, 0.0),
        ([1.0, 2.0], "<=", [2.0, 1.5], False, -0.5),
        (3.0, ">", [2.0, 2.5], True, 0.5),
        (3.0, ">", [2.0, 3.0], False, 0.0),
        (3.0, ">=", [3.0, 3.0], True, 0.0),
        (3.0, ">=", 4.0, False, -1.0),
    ],
)
def test_an_order_must_hold_at_every_entry(left, relation, right, held, gap):
    assert _compare.margin(left, relation, right) == (held, gap)


def test_a_strict_order_wants_more_than_rounding():
    assert not _compare.margin(1.0, "<", 1.0 * UP)[0]
    assert not _compare.margin(-1e9, ">", -1e9 * UP)[0]
    assert not _compare.margin(1.0, "<", 1.0 + 9e-13)[0]
    assert _compare.margin(1.0, "<", 1.0 + 1.1e-12)[0]
    assert _compare.margin(1.0, "<=", 1.0 * UP)[0]
    assert not _compare.margin(1.0 * UP, "<=", 1.0)[0]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0.0, "with equality"),
        (0.99e-9, "by less than 1e-09"),
        (1e-9, "by 1e-09 or more"),
        (0.3, "by 0.3 or more"),
        (0.299, "by 0.2 or more"),
        (9.99, "by 9 or more"),
        (250.0, "by 2e+02 or more"),
    ],
)
def test_a_margin_is_rounded_down(number, said):
    assert _compare.at_least(number) == said


@pytest.mark.parametrize("value", [2**53, -(2**53), np.array([1, 2**60])])
def test_whole_numbers_that_float64_cannot_count_are_refused(value):
    with pytest.raises(ValueError, match=r"found: expected whole numbers below 2\^53, got larger"):
        _compare.miss(value, 0.0, 1.0)
    assert _compare.miss(2**53 - 1, 0, 1e9)[1] == 2**53 - 1
