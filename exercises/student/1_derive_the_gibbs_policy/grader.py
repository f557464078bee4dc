"""Assignment 1: from the Lagrangian to the Gibbs policy, in SymPy and then in floats."""

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.special import softmax

from dpo_edu import gibbs
from dpo_edu.grading import Case, Task, case, expression_fault, expression_task, function_task
from dpo_edu.symbolic import Z, i, k, lam, p, q, r, total, β

Floats = NDArray[np.float64]

# --- 1 the Lagrangian ---------------------------------------------------------------------------

REWARD, KL, CONSTRAINT = (
    total(p[i] * r[i]),
    total(p[i] * sp.log(p[i] / q[i])),
    total(p[i]) - 1,
)
LAGRANGIAN = REWARD - β * KL + lam * CONSTRAINT
NOT_THE_LAGRANGIAN = {
    "this is the objective alone: lambda times the constraint is missing.": REWARD - β * KL,
    "the constraint is sum(pi) - 1 = 0: where is the 1?": REWARD - β * KL + lam * total(p[i]),
    "here straying from the reference pays: is a sign wrong, or the ratio upside down?": (
        REWARD + β * KL + lam * CONSTRAINT
    ),
    "beta is missing in front of KL.": REWARD - KL + lam * CONSTRAINT,
    "the reward has no weights: its expectation is the sum of pi_i r_i.": (
        total(r[i]) - β * KL + lam * CONSTRAINT
    ),
    "this KL is weighted by the reference: the expectation is under pi.": (
        REWARD - β * total(q[i] * sp.log(p[i] / q[i])) + lam * CONSTRAINT
    ),
    "the constraint is on pi; the reference sums to 1 by itself.": (
        REWARD - β * KL + lam * (total(q[i]) - 1)
    ),
}


def _with_either_sign(answer: Any, _: np.random.Generator) -> str | None:
    """The objective with its constraint; either sign of lambda will do."""
    if expression_fault(answer, LAGRANGIAN.subs(lam, -lam), {}) is None:
        return None
    return expression_fault(answer, LAGRANGIAN, NOT_THE_LAGRANGIAN)


lagrangian = Task("lagrangian", _with_either_sign, NOT_THE_LAGRANGIAN)

# --- 2 to 5 its slope, its multiplier, the policy, the curvature --------------------------------

LOG_RATIO = sp.log(p[k] / q[k])
SLOPE = r[k] - β * (LOG_RATIO + 1) + lam
slope = expression_task(
    "slope",
    truth=SLOPE,
    mistakes={
        "the product rule: pi log pi has the derivative log pi + 1.": r[k] - β * LOG_RATIO + lam,
        "beta multiplies the 1 as well.": r[k] - β * LOG_RATIO - 1 + lam,
        "check the sign of beta.": r[k] + β * (LOG_RATIO + 1) + lam,
        "check the sign of lambda: here L = J + lambda (sum(pi) - 1).": SLOPE - 2 * lam,
        "lambda is missing: the constraint depends on pi_k too.": SLOPE - lam,
        "beta is missing.": r[k] - (LOG_RATIO + 1) + lam,
        "this is the slope of all terms at once: differentiate by one pi_k only.": (
            total(SLOPE.subs(k, i))
        ),
    },
)

MULTIPLIER = β * (1 - sp.log(Z))
multiplier = expression_task(
    "multiplier",
    truth=MULTIPLIER,
    mistakes={
        "the sign: Z times exp(lambda/beta - 1) is 1, so log Z enters with a minus.": (
            β * (1 + sp.log(Z))
        ),
        "this is -lambda: with L = J + lambda (sum(pi) - 1) the sign is the other one.": (
            -MULTIPLIER
        ),
        "beta multiplies everything: lambda/beta - 1 = -log Z.": 1 - sp.log(Z),
        "the 1 carries a beta as well.": 1 - β * sp.log(Z),
        "the 1 of the product rule is missing.": -β * sp.log(Z),
        "take the logarithm of Z.": β * (1 - Z),
        "this is log Z times beta, the best objective: lambda is not that.": β * sp.log(Z),
    },
)


def _written_out(expression: sp.Expr) -> sp.Expr:
    """Z as its sum: both spellings are right."""
    return expression.subs(Z, total(q[i] * sp.exp(r[i] / β)))


star = expression_task(
    "star",
    truth=q[k] * sp.exp(r[k] / β) / Z,
    through=_written_out,
    mistakes={
        "beta divides the reward: a long leash (small beta) must sharpen.": (
            q[k] * sp.exp(r[k] * β) / Z
        ),
        "beta is missing.": q[k] * sp.exp(r[k]) / Z,
        "the reference is missing.": sp.exp(r[k] / β) / Z,
        "it does not sum to 1: divide by Z.": q[k] * sp.exp(r[k] / β),
        "multiplied by Z instead of divided: it must sum to 1.": q[k] * sp.exp(r[k] / β) * Z,
        "the sign: the better the reward, the more probable.": q[k] * sp.exp(-r[k] / β) / Z,
        "divided by the reference instead of multiplied.": sp.exp(r[k] / β) / (q[k] * Z),
    },
)

curvature = expression_task(
    "curvature",
    truth=-β / p[k],
    mistakes={
        "check the sign: with a plus the stationary point would be a minimum.": β / p[k],
        "beta is missing.": -1 / p[k],
        "this is the first derivative: differentiate once more.": r[k] - β * (LOG_RATIO + 1),
        "this is the slope of the Lagrangian: differentiate once more.": SLOPE,
        "the derivative of log pi is 1/pi.": -β * sp.log(p[k]),
        "one power too many: log pi has the derivative 1/pi.": -β / p[k] ** 2,
        "differentiated by the reference? The policy is what varies.": -β / q[k],
    },
)

# --- 6 the policy in floats ---------------------------------------------------------------------


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


def _of(exponent: Callable[[Any, float], Any]) -> Callable[..., Any]:
    """The softmax of log ref + exponent(reward, beta)."""

    def policy(reward: Floats, ref: Floats, *, beta: float) -> Any:
        z = np.where(ref > 0, np.log(np.where(ref > 0, ref, 1)), -np.inf) + exponent(reward, beta)
        return softmax(z, axis=-1)

    return policy


def _unweighted(reward: Floats, ref: Floats, *, beta: float) -> Any:
    return softmax(reward / beta, axis=-1)


def _log_policy(reward: Floats, ref: Floats, *, beta: float) -> Any:
    return gibbs.log_optimal_policy(reward, ref, beta=beta)


optimal_policy = function_task(
    "optimal_policy",
    truth=gibbs.optimal_policy,
    cases=_problems,
    tolerance=1e-10,
    mistakes={
        "exp overflows or vanishes at rewards of 1000: subtract the largest exponent first.": (
            _naive
        ),
        "beta multiplies the reward: it must divide it.": _of(lambda r, b: r * b),
        "beta is missing: a short leash and a long one give the same policy.": _of(lambda r, b: r),
        "the ranking is upside down: check the sign of the reward.": _of(lambda r, b: -r / b),
        "the reference is missing: equal rewards must give the reference back.": _unweighted,
        "Z is summed over the prompts as well: the last axis holds the responses.": _over_prompts,
        "these are logarithms: the policy is asked for.": _log_policy,
    },
)
