"""Assignment 1: from the Lagrangian to the Gibbs policy, in SymPy and then in floats."""

from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.special import softmax

from dpo_edu import gibbs
from dpo_edu.exercises.tasks import Case, case, expression_fault, function_fault, task
from dpo_edu.symbolic import Z, beta, i, k, lam, p, q, r, total

Floats = NDArray[np.float64]

REWARD, KL, CONSTRAINT = (
    total(p[i] * r[i]),
    total(p[i] * sp.log(p[i] / q[i])),
    total(p[i]) - 1,
)
LOG_RATIO = sp.log(p[k] / q[k])


@task
def lagrangian(answer: Any, _: np.random.Generator) -> str | None:
    """The objective with its constraint; either sign of lambda will do."""
    mistakes = [
        (
            "this is the objective alone: lambda times the constraint is missing.",
            REWARD - beta * KL,
        ),
        (
            "the constraint is sum(pi) - 1 = 0: where is the 1?",
            REWARD - beta * KL + lam * total(p[i]),
        ),
        (
            "here straying from the reference pays: is a sign wrong, or the ratio upside down?",
            REWARD + beta * KL + lam * CONSTRAINT,
        ),
        ("beta is missing in front of KL.", REWARD - KL + lam * CONSTRAINT),
        (
            "the reward has no weights: its expectation is the sum of pi_i r_i.",
            total(r[i]) - beta * KL + lam * CONSTRAINT,
        ),
        (
            "this KL is weighted by the reference: the expectation is under pi.",
            REWARD - beta * total(q[i] * sp.log(p[i] / q[i])) + lam * CONSTRAINT,
        ),
        (
            "the constraint is on pi; the reference sums to 1 by itself.",
            REWARD - beta * KL + lam * (total(q[i]) - 1),
        ),
    ]
    other_sign = expression_fault(answer, REWARD - beta * KL - lam * CONSTRAINT)
    truth = REWARD - beta * KL + lam * CONSTRAINT
    return other_sign and expression_fault(answer, truth, mistakes)


@task
def slope(answer: Any, _: np.random.Generator) -> str | None:
    """dL/dpi_k."""
    truth = r[k] - beta * (LOG_RATIO + 1) + lam
    mistakes = [
        (
            "the product rule: pi log pi has the derivative log pi + 1.",
            r[k] - beta * LOG_RATIO + lam,
        ),
        ("beta multiplies the 1 as well.", r[k] - beta * LOG_RATIO - 1 + lam),
        ("check the sign of beta.", r[k] + beta * (LOG_RATIO + 1) + lam),
        ("check the sign of lambda: here L = J + lambda (sum(pi) - 1).", truth - 2 * lam),
        ("lambda is missing: the constraint depends on pi_k too.", truth - lam),
        ("beta is missing.", r[k] - (LOG_RATIO + 1) + lam),
        (
            "this is the slope of all terms at once: differentiate by one pi_k only.",
            total(truth.subs(k, i)),
        ),
    ]
    return expression_fault(answer, truth, mistakes)


@task
def multiplier(answer: Any, _: np.random.Generator) -> str | None:
    """The lambda for which the probabilities sum to 1."""
    truth = beta * (1 - sp.log(Z))
    mistakes = [
        (
            "the sign: Z times exp(lambda/beta - 1) is 1, so log Z enters with a minus.",
            beta * (1 + sp.log(Z)),
        ),
        ("this is -lambda: with L = J + lambda (sum(pi) - 1) the sign is the other one.", -truth),
        ("beta multiplies everything: lambda/beta - 1 = -log Z.", 1 - sp.log(Z)),
        ("the 1 carries a beta as well.", 1 - beta * sp.log(Z)),
        ("the 1 of the product rule is missing.", -beta * sp.log(Z)),
        ("take the logarithm of Z.", beta * (1 - Z)),
        ("this is log Z times beta, the best objective: lambda is not that.", beta * sp.log(Z)),
    ]
    return expression_fault(answer, truth, mistakes)


@task
def star(answer: Any, _: np.random.Generator) -> str | None:
    """The Gibbs policy, pi*_k, with Z for the sum."""
    truth = q[k] * sp.exp(r[k] / beta) / Z
    spelled_out = truth.subs(Z, total(q[i] * sp.exp(r[i] / beta)))
    mistakes = [
        (
            "beta divides the reward: a long leash (small beta) must sharpen.",
            q[k] * sp.exp(r[k] * beta) / Z,
        ),
        ("beta is missing.", q[k] * sp.exp(r[k]) / Z),
        ("the reference is missing.", sp.exp(r[k] / beta) / Z),
        ("it does not sum to 1: divide by Z.", q[k] * sp.exp(r[k] / beta)),
        ("multiplied by Z instead of divided: it must sum to 1.", q[k] * sp.exp(r[k] / beta) * Z),
        ("the sign: the better the reward, the more probable.", q[k] * sp.exp(-r[k] / beta) / Z),
        ("divided by the reference instead of multiplied.", sp.exp(r[k] / beta) / (q[k] * Z)),
    ]
    return expression_fault(answer, spelled_out) and expression_fault(answer, truth, mistakes)


@task
def curvature(answer: Any, _: np.random.Generator) -> str | None:
    """The diagonal entry of the Hessian of J, whose sign makes the point a maximum."""
    mistakes = [
        ("check the sign: with a plus the stationary point would be a minimum.", beta / p[k]),
        ("beta is missing.", -1 / p[k]),
        ("this is the first derivative: differentiate once more.", r[k] - beta * (LOG_RATIO + 1)),
        (
            "this is the slope of the Lagrangian: differentiate once more.",
            r[k] - beta * (LOG_RATIO + 1) + lam,
        ),
        ("the derivative of log pi is 1/pi.", -beta * sp.log(p[k])),
        ("one power too many: log pi has the derivative 1/pi.", -beta / p[k] ** 2),
        ("differentiated by the reference? The policy is what varies.", -beta / q[k]),
    ]
    return expression_fault(answer, -beta / p[k], mistakes)


def _problems(rng: np.random.Generator) -> list[Case]:
    """Rewards and references of several shapes and scales."""
    one = case(rng.normal(size=4), rng.dirichlet(np.ones(4)), beta=0.5)
    many = case(rng.normal(size=(3, 5)), rng.dirichlet(np.ones(5), size=3), beta=2.0)
    large = case(np.array([1000.0, 999.0, -1000.0]) + rng.normal(), np.full(3, 1 / 3), beta=0.7)
    tiny = case(np.array([-1000.0, -1001.0]) + rng.normal(), np.array([0.3, 0.7]), beta=1.0)
    zero = case(np.array([1.0, 2.0, 3.0]) * rng.uniform(1, 2), np.array([0.5, 0.5, 0.0]), beta=1.0)
    return [one, many, large, tiny, zero]


def _naive(reward: Floats, ref: Floats, *, beta: float) -> Any:
    weight = ref * np.exp(reward / beta)
    return weight / weight.sum(axis=-1, keepdims=True)


def _over_prompts(reward: Floats, ref: Floats, *, beta: float) -> Any:
    weight = np.exp(np.log(np.where(ref > 0, ref, 1e-300)) + (reward - reward.max()) / beta)
    return np.where(ref > 0, weight, 0) / np.where(ref > 0, weight, 0).sum()


def _of(exponent: Any) -> Any:
    """The softmax of log ref + exponent(reward, beta)."""

    def policy(reward: Floats, ref: Floats, *, beta: float) -> Any:
        z = np.where(ref > 0, np.log(np.where(ref > 0, ref, 1)), -np.inf) + exponent(reward, beta)
        return softmax(z, axis=-1)

    return policy


def _unweighted(reward: Floats, ref: Floats, *, beta: float) -> Any:
    return softmax(reward / beta, axis=-1)


def _log_policy(reward: Floats, ref: Floats, *, beta: float) -> Any:
    return gibbs.log_optimal_policy(reward, ref, beta=beta)


@task
def optimal_policy(answer: Any, rng: np.random.Generator) -> str | None:
    """pi* in floats, without overflow."""
    mistakes = [
        (
            "exp overflows or vanishes at rewards of 1000: subtract the largest exponent first.",
            _naive,
        ),
        ("beta multiplies the reward: it must divide it.", _of(lambda r, b: r * b)),
        (
            "beta is missing: a short leash and a long one give the same policy.",
            _of(lambda r, b: r),
        ),
        ("the ranking is upside down: check the sign of the reward.", _of(lambda r, b: -r / b)),
        ("the reference is missing: equal rewards must give the reference back.", _unweighted),
        ("Z is summed over the prompts as well: the last axis holds the responses.", _over_prompts),
        ("these are logarithms: the policy is asked for.", _log_policy),
    ]
    truth = gibbs.optimal_policy
    return function_fault(answer, truth, _problems(rng), mistakes, tolerance=1e-10)
