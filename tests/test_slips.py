"""One change makes it right: the sentence names that change, and nothing is said without one."""

import pytest
import sympy as sp

from dpo_edu._slips import one_slip
from dpo_edu.symbolic import Z, i, j, k, lam, objective, p, q, r, total, β

LAGRANGIAN = objective() + lam * (total(p[i]) - 1)
SLOPE = r[k] - β * (sp.log(p[k] / q[k]) + 1) + lam
STAR = q[k] * sp.exp(r[k] / β) / Z


def written_out(expression: sp.Expr) -> sp.Expr:
    return expression.subs(Z, total(q[i] * sp.exp(r[i] / β)))


@pytest.mark.parametrize(
    ("wrong", "truth", "sentence"),
    [
        (-STAR, STAR, "the sign."),
        (SLOPE - 2 * lam, SLOPE, "one sign: that of -lambda."),
        (β + sp.log(Z), β * (1 + sp.log(Z)), "beta at log(Z): it is missing."),
        (sp.log(Z) / β, β * sp.log(Z), "beta at log(Z)/beta: it divides, and should multiply."),
        (β * sp.log(Z), sp.log(Z) / β, "beta at beta*log(Z): it multiplies, and should divide."),
        (SLOPE + p[k], SLOPE, "the term pi[k]: it does not belong here."),
        (SLOPE - lam, SLOPE, "a term that is missing, one with lambda."),
        (q[k] * sp.exp(r[k] / β - Z), STAR, "a logarithm: that of Z is needed."),
        (STAR * Z, STAR, "Z at exp(r[k]/beta)*pi_ref[k]: it must divide."),
        (STAR * Z**2, STAR, "Z: it is upside down."),
        (sp.log(q[j] / p[k]), sp.log(p[k] / q[j]), "the sign."),
        (objective() + lam * total(p[i]) - 1, LAGRANGIAN, "lambda at -1: it must multiply."),
        (p[k] * sp.exp(r[k] / β) / Z, STAR, "pi[k]: another one belongs in its place."),
        (total(r[i] + lam), r[k] + lam, "the sums: of each, only the term with k belongs here."),
        (1 / STAR + Z, STAR + Z, "it is upside down."),
        (sp.log(p[k] - q[k]), sp.log(p[k] / q[k]), "the logarithm of a ratio is asked for."),
        (sp.log(1 - Z), sp.log(1 / Z), "the logarithm of a ratio is asked for."),
        (total(p[i] + lam), total(p[i]) + lam, "lambda stands inside a sum: it is counted n times"),
        (
            total(q[i] * sp.log(p[i] / q[i])),
            total(p[i] * sp.log(p[i] / q[i])),
            "pi_ref[i]: another one belongs in its place.",
        ),
        (
            total(q[i] * r[i] * sp.log(p[i] / q[i])),
            total(p[i] * sp.log(p[i] / q[i])),
            "the weight of log(pi[i]/pi_ref[i]): it is pi[i].",
        ),
    ],
)
def test_the_first_sentence_names_the_change(wrong: sp.Expr, truth: sp.Expr, sentence: str) -> None:
    assert sentence in next(one_slip(wrong, truth, written_out))


@pytest.mark.parametrize(
    ("wrong", "truth"),
    [
        (r[k] ** 2, STAR),
        (q[k] * sp.exp(-β * r[k]), STAR),  # two changes: the sign, and beta
        (sp.Symbol("z") * q[k], STAR),
        (p[k, k], STAR),
        (sp.zoo, STAR),
    ],
)
def test_without_one_change_nothing_is_said(wrong: sp.Expr, truth: sp.Expr) -> None:
    assert list(one_slip(wrong, truth, written_out)) == []


def test_a_substitution_counts_as_in_the_task() -> None:
    partition = total(q[i] * sp.exp(r[i] / β))
    wrong = q[k] * sp.exp(-r[k] / β) / partition
    assert "r[k]" in next(one_slip(wrong, STAR, written_out))
    assert list(one_slip(wrong, STAR, lambda same: same)) == []
