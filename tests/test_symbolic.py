"""The general-n algebra proves what is true for particular n, and nothing that is false."""

import pytest
import sympy as sp

from dpo_edu import symbolic
from dpo_edu.symbolic import Z, beta, i, j, k, lam, n, p, q, r, total


def concrete(expression, size):
    """The expression for `size` responses, sums written out."""
    return sp.sympify(expression).subs(n, size).doit()


def test_objective_for_two_responses_is_the_sum_written_out_by_hand():
    by_hand = sum(p[m] * r[m] - beta * p[m] * sp.log(p[m] / q[m]) for m in (1, 2))
    assert sp.simplify(concrete(symbolic.objective(), 2) - by_hand) == 0


@pytest.mark.parametrize("size", [1, 2, 5])
def test_derivative_of_the_general_sum_is_the_derivative_for_each_n(size):
    general = symbolic.derivative(symbolic.lagrangian(), p[k])
    for member in range(1, size + 1):
        particular = sp.diff(concrete(symbolic.lagrangian(), size), p[member])
        assert sp.simplify(general.subs(k, member) - particular) == 0


def test_derivative_refuses_the_summation_index():
    with pytest.raises(ValueError, match="an index other than the summed i"):
        symbolic.derivative(symbolic.objective(), p[i])


def test_second_derivative_is_diagonal():
    slope = symbolic.derivative(symbolic.objective(), p[k])
    assert symbolic.derivative(slope, p[j]) == -beta * sp.KroneckerDelta(j, k) / p[k]


def test_merged_keeps_what_is_no_sum():
    assert symbolic.merged(2 * total(p[i]) + lam) == 2 * p[i] + lam


@pytest.mark.parametrize(
    "identity",
    [
        total(p[i]) - total(p[i]),
        total(sp.log(p[i] * q[i])) - total(sp.log(p[i])) - total(sp.log(q[i])),
        beta * total(p[i]) - total(beta * p[i]),
        sp.log(sp.exp(r[i])) - r[i],
    ],
)
def test_true_identities_are_proved_and_hold_in_numbers(identity):
    assert symbolic.is_zero(identity)
    assert abs(sp.N(symbolic.at_numbers(identity.subs(i, 1)))) < 1e-12


@pytest.mark.parametrize(
    "falsehood",
    [
        total(p[i]) - total(q[i]),
        total(p[i]) - p[i],
        total(p[i]) - 1,
        total(sp.Integer(1)) - 1,
        total(p[i]) * total(q[i]) - total(p[i] * q[i]),
        total(p[i]) ** 2 - total(p[i] ** 2),
        p[i] * total(q[i]) - total(p[i] * q[i]),
        sp.Integer(1),
    ],
)
def test_falsehoods_are_not_proved(falsehood):
    assert not symbolic.is_zero(falsehood)


def test_differs_sees_a_missing_beta_and_not_a_rewriting():
    assert symbolic.differs(sp.exp(r[k] / beta), sp.exp(r[k]))
    assert not symbolic.differs(sp.exp(r[k] + lam), sp.exp(r[k]) * sp.exp(lam))
    assert symbolic.differs(total(p[i]), total(q[i]))


def test_sample_numbers_differ_by_symbol_and_index_and_do_not_sum_to_one():
    values = [symbolic.at_numbers(s) for s in (p[1], p[2], q[1], r[1], beta, Z, lam)]
    assert len(set(values)) == len(values)
    assert symbolic.at_numbers(total(p[i])) != 1
