"""The numbers that symbols get where two expressions are compared, and where they are compared."""

import pytest
import sympy as sp

from dpo_edu import symbolic
from dpo_edu.symbolic import Point, at_numbers, miss, n, p, q, r, total

SEEDS = range(60)


def numbers(**assumptions):
    """What symbols with these assumptions stand for."""
    names = ("x", "gamma", "delta")
    symbols = [sp.Symbol(name, **assumptions) for name in names]
    return [Point(3, seed).value(symbol) for seed in SEEDS for symbol in symbols]


def test_numbers_have_the_signs_that_their_symbols_have():
    assert min(numbers(positive=True)) > 0 and min(numbers(nonnegative=True)) > 0
    assert max(numbers(negative=True)) < 0
    either = numbers(real=True)
    assert min(either) < 0 < max(either)


def test_numbers_are_varied_rationals_and_never_one():
    for found in (numbers(positive=True), numbers(real=True)):
        assert all(x.is_Rational and x not in (0, 1, -1) for x in found)
        assert len(set(map(abs, found))) == 29
        assert sorted(set(map(abs, found)))[::28] == [sp.Rational(1, 11), sp.Rational(29, 11)]


def test_rewards_are_sevenths_from_minus_fifteen_to_fifteen():
    found = {Point(9, seed).value(r[y]) * 7 for seed in SEEDS for y in range(1, 10)}
    assert found == set(range(-15, 16))


@pytest.mark.parametrize("family", [p, q])
def test_a_policy_is_nine_weights_at_most_over_their_sum(family):
    for seed in SEEDS:
        row = [Point(5, seed).value(family[y]) for y in range(1, 6)]
        assert sum(row) == 1 and min(row) > 0
        assert max(row) <= 9 * min(row)
        assert len(set(row)) > 1
    free = {at_numbers(family[y], 5, seed) * 7 for seed in SEEDS for y in range(1, 6)}
    assert free == set(range(1, 10))


def test_without_a_seed_the_numbers_are_those_of_seed_zero_for_three_responses():
    assert at_numbers(total(r[symbolic.i])) == at_numbers(r[1] + r[2] + r[3], size=3, seed=0)
    assert at_numbers(r[1]) != at_numbers(r[1], seed=1)


def test_indices_stand_for_the_last_responses_that_no_literal_index_names():
    j, k, m = symbolic.j, symbolic.k, sp.Symbol("m", integer=True, positive=True)
    point = Point(6)
    assert point.value(p[k]) == point.value(p[6])
    assert point.value(p[k] + 10 * p[j]) == point.value(p[6] + 10 * p[5])
    assert point.value(p[k] + 10 * p[j] + 100 * p[6]) == point.value(p[5] + 10 * p[4] + 100 * p[6])
    assert point.value(p[m] + 10 * p[j]) == point.value(p[4] + 10 * p[5])
    assert 1 <= point.value(m) <= 6
    for bad in (0, 7):
        with pytest.raises(ValueError, match=rf"expected an index in 1..6, got {bad}"):
            point.value(p[bad])
    assert point.value(p[1] + p[6]) > 0


def sizes_tried(monkeypatch, found, expected):
    """For how many responses `miss` looks at the difference, and what it finds."""
    tried, value = [], Point.value

    def watched(self, expression):
        tried.append((self.size, self.seed))
        return value(self, expression)

    monkeypatch.setattr(Point, "value", watched)
    result = miss(found, expected)
    monkeypatch.undo()
    return [size for size, seed in tried if size == seed], result


def test_expressions_that_agree_are_compared_at_four_sizes(monkeypatch):
    assert sizes_tried(monkeypatch, r[1] + 1, 1 + r[1]) == ([2, 3, 4, 5], None)
    sizes, found = sizes_tried(monkeypatch, (n - 2) * (n - 3) * (n - 4), sp.Integer(0))
    assert sizes == [2, 3, 4, 5] and found == (6.0, "n = 5")


def test_sizes_without_the_named_responses_are_passed_over(monkeypatch):
    assert sizes_tried(monkeypatch, r[7] + 1, 1 + r[7])[1] is None
    assert miss(r[9], r[8])[0] != 0
    with pytest.raises(ValueError, match="expected an index in 1..9, got 10"):
        miss(r[10], r[9])


def test_a_billionth_is_not_a_miss_and_a_little_more_is():
    tiny = sp.Rational(1, 10**9)
    assert miss(r[1] + tiny, r[1]) is None
    assert miss(r[1] + tiny * sp.Rational(101, 100), r[1])[0] == pytest.approx(1.01e-9)
    assert miss(r[1], r[1] + 3)[0] == pytest.approx(-3)
    with pytest.raises(ValueError, match="expected a real number at"):
        miss(r[1] + sp.I * sp.Rational(1, 10**15), r[1])


def test_numbers_given_by_the_caller_are_used():
    x = sp.Symbol("x", real=True)
    assert miss(x, sp.Integer(0), at={x: sp.Integer(0)}) is None
    assert miss(x, sp.Integer(0), at={x: sp.Integer(2)}) == (2.0, "x = 2")


def test_an_index_is_positive_where_its_sum_begins_above_zero_and_only_there():
    m = sp.Symbol("m", integer=True)
    for first, proved in ((2, True), (1, True), (0, False), (-1, False)):
        assert symbolic.is_zero(sp.Sum(sp.sign(m) - 1, (m, first, n))) is proved


def test_terms_that_cancel_in_a_thousand_digits_are_not_a_miss_whatever_their_size():
    for size in (sp.Integer(1), sp.Integer(10) ** 1500):
        left, right = size * sp.sqrt(2) + size * sp.sqrt(3), size * sp.sqrt(5 + 2 * sp.sqrt(6))
        assert miss(left, right) is None


def test_deltas_between_indices_and_numbers_are_plain_and_those_of_formulas_are_not():
    i, k, delta = symbolic.i, symbolic.k, sp.KroneckerDelta
    for plain in (delta(i, k), delta(1, k)):
        assert symbolic.is_plain(total(p[i] * plain))
    for odd in (delta(2 * i, k), delta(i, k + 1)):
        assert not symbolic.is_plain(total(p[i] * odd))
