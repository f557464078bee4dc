"""Assignment 1: from the Lagrangian to the Gibbs policy, in SymPy and then in floats."""

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.special import softmax

from dpo_edu import gibbs
from dpo_edu.grading import (
    Case,
    OneOf,
    Task,
    case,
    expression_fault,
    expression_task,
    function_task,
)
from dpo_edu.symbolic import Z, i, j, k, lam, n, p, q, r, total, β

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
    "this KL is the other way round: KL(pi || pi_ref) has pi above and in front.": (
        REWARD - β * total(q[i] * sp.log(q[i] / p[i])) + lam * CONSTRAINT
    ),
    "KL is a sum of pi log(pi/pi_ref): where is the weight pi?": (
        REWARD - β * total(sp.log(p[i] / q[i])) + lam * CONSTRAINT
    ),
    "the reference is missing: this is the entropy, not KL.": (
        REWARD - β * total(p[i] * sp.log(p[i])) + lam * CONSTRAINT
    ),
    "these are two responses, the smaller case: add up over all n of them with total(...).": (
        sum(p[y] * (r[y] - β * sp.log(p[y] / q[y]) + lam) for y in (1, 2)) - lam
    ),
    "this is one term of each sum: add up over the responses with total(...).": OneOf(
        [
            p[i] * r[i] - β * p[i] * sp.log(p[i] / q[i]) + lam * (p[i] - 1),
            p[k] * r[k] - β * p[k] * sp.log(p[k] / q[k]) + lam * (p[k] - 1),
        ]
    ),
    "the 1 stands inside the sum: it is taken off once, not n times.": (
        REWARD - β * KL + lam * total(p[i] - 1)
    ),
    "lambda stands alone: it multiplies the constraint.": REWARD - β * KL + lam,
    "the constraint is there, lambda is not.": REWARD - β * KL + CONSTRAINT,
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
        "-beta multiplies the 1 of the product rule as well: its sign is a minus.": (
            r[k] - β * (LOG_RATIO - 1) + lam
        ),
        "check the sign of lambda: here L = J + lambda (sum(pi) - 1).": SLOPE - 2 * lam,
        "lambda is missing: the constraint depends on pi_k too.": SLOPE - lam,
        "beta is missing.": r[k] - (LOG_RATIO + 1) + lam,
        "the reward is missing: pi_k r_k has the derivative r_k.": SLOPE - r[k],
        "differentiate pi_k r_k as well: its derivative is r_k, not pi_k r_k.": (
            SLOPE - r[k] + p[k] * r[k]
        ),
        "differentiate: this is the k-th term itself.": OneOf(
            [
                p[k] * r[k] - β * p[k] * LOG_RATIO + lam * p[k],
                p[k] * r[k] - β * p[k] * LOG_RATIO + lam * (p[k] - 1),
            ]
        ),
        "the log-ratio is upside down: the policy stands above.": (
            r[k] - β * (1 - LOG_RATIO) + lam
        ),
        "the reference is missing in the logarithm.": r[k] - β * (sp.log(p[k]) + 1) + lam,
        "the logarithm is missing: the derivative of pi log(pi/pi_ref) is log(pi/pi_ref) + 1.": (
            r[k] - β * (p[k] / q[k] + 1) + lam
        ),
        "the logarithm of a quotient is not the quotient of two logarithms.": (
            r[k] - β * (sp.log(p[k]) / sp.log(q[k]) + 1) + lam
        ),
        "the derivative of log(pi/pi_ref) by pi is 1/pi, and pi times that is 1.": OneOf(
            [
                r[k] - β * (LOG_RATIO + p[k] / q[k]) + lam,
                r[k] - β * (LOG_RATIO + q[k]) + lam,
                r[k] - β * (LOG_RATIO + 1 / p[k]) + lam,
            ]
        ),
        "only the logarithm is differentiated: by the product rule it also stands there itself.": (
            OneOf([r[k] - β / p[k] + lam, r[k] - β + lam])
        ),
        "lambda (sum(pi) - 1) still stands as it was: differentiate it by pi_k as well.": (
            SLOPE - lam + lam * (total(p[i]) - 1)
        ),
        "this index is that of another response: everything is at k.": OneOf(
            SLOPE.subs(k, other) for other in (i, j, 1, n)
        ),
        "this is the slope of all terms at once: differentiate by one pi_k only.": (
            total(SLOPE.subs(k, i))
        ),
    },
)


def _written_out(expression: sp.Expr) -> sp.Expr:
    """Z as its sum: both spellings are right."""
    return expression.subs(Z, total(q[i] * sp.exp(r[i] / β)))


MULTIPLIER = β * (1 - sp.log(Z))
multiplier = expression_task(
    "multiplier",
    truth=MULTIPLIER,
    through=_written_out,
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
        "beta divides: solve lambda/beta - 1 = -log Z for lambda.": (1 - sp.log(Z)) / β,
        "this is exp(lambda/beta - 1): solve it for lambda.": 1 / Z,
        "the logarithm of 1/Z is not 1 over the logarithm of Z.": β * (1 + 1 / sp.log(Z)),
        "this Z is the 2 of a smaller case: leave it a symbol.": OneOf(
            [β * (1 - sp.log(2)), 2 * (1 - sp.log(2))]
        ),
        "-log Z is lambda/beta - 1: take the 1 over, and multiply by beta.": OneOf(
            [
                -sp.log(Z),
                sp.log(Z) - 1,
                -β * (1 + sp.log(Z)),
                β * (sp.log(Z) - 1) + 2 * β * sp.log(Z),
            ]
        ),
        "the 1 has lost its beta: multiply both terms.": 1 + β * sp.log(Z),
        "this is log Z times beta, the best objective: lambda is not that.": β * sp.log(Z),
    },
)


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
        "this index is that of another response: everything is at k.": OneOf(
            (q[other] * sp.exp(r[other] / β) / Z) for other in (i, j, 1, n)
        ),
        "exp is missing: the reward stands in an exponent.": q[k] * r[k] / (β * Z),
        "Z stands inside the exponential: it divides the whole.": OneOf(
            [q[k] * sp.exp(r[k] / β / Z), q[k] * sp.exp(r[k] / (β * sp.log(Z)))]
        ),
        "log Z divides: by Z itself it must be divided.": q[k] * sp.exp(r[k] / β) / sp.log(Z),
        "this is its logarithm: the policy is asked for.": sp.log(q[k]) + r[k] / β - sp.log(Z),
        "beta divides the exponential: it divides the reward in the exponent.": (
            q[k] * sp.exp(r[k]) / (β * Z)
        ),
        "beta divides the policy as well: it stands in the exponent only.": (
            q[k] * sp.exp(r[k] / β) / (β * Z)
        ),
        "the reference stands outside the exponential.": OneOf(
            [sp.exp(q[k] * r[k] / β) / Z, sp.exp((q[k] + r[k]) / β) / Z]
        ),
        "the 1 of lambda/beta - 1 cancels against that of the multiplier: no e is left.": OneOf(
            [q[k] * sp.exp(r[k] / β - 1) / Z, q[k] * sp.exp(r[k] / β + 1) / Z]
        ),
    },
)

WEIGHT = q[k] * sp.exp(r[k] / β)
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
        "beta divides: it multiplies KL, so it multiplies here.": -1 / (β * p[k]),
        "this index is that of another response: everything is at k.": OneOf(
            (-β / p[other]) for other in (i, j, 1, n)
        ),
        "the reference is a constant factor in the logarithm: it falls out.": OneOf(
            [-β * q[k] / p[k], -β / (p[k] * q[k]), -β / (p[k] / q[k])]
        ),
        "upside down: log pi has the derivative 1/pi.": -β * p[k],
        "the reward is linear in pi: it has no second derivative.": r[k] - β / p[k],
        "differentiated once too often.": β / p[k] ** 2,
        "the second derivative by one probability has one term: no sum.": -β * total(1 / p[i]),
        "log pi has the derivative 1/pi: where is pi?": -β,
        "0 would be a plane: pi log pi is curved.": sp.S.Zero,
        "this is its sign alone: the second derivative itself is asked for.": OneOf(
            [sp.S.NegativeOne, sp.sign(-β / p[k])]
        ),
        "this is the second derivative at pi* alone: pi may be any policy.": OneOf(
            [-β * Z / WEIGHT, -β * total(q[i] * sp.exp(r[i] / β)) / WEIGHT]
        ),
    },
)

# --- 6 the policy in floats ---------------------------------------------------------------------


def _problems(rng: np.random.Generator) -> list[Case]:
    """Rewards and references of several shapes and scales.

    Large rewards also where the reference is zero and the others are far below 0, and prompts at
    levels a thousand apart.
    """
    gone, halves = np.array([0.25, 0.0, 0.75]), np.full((2, 2), 0.5)
    one = case(rng.normal(size=4), rng.dirichlet(np.ones(4)), beta=0.5)
    many = case(rng.normal(size=(3, 5)), rng.dirichlet(np.ones(5), size=3), beta=2.0)
    large = case(np.array([1000.0, 999.0, -1000.0]) + rng.normal(), np.full(3, 1 / 3), beta=0.7)
    tiny = case(np.array([-1000.0, -1001.0]) + rng.normal(), np.array([0.3, 0.7]), beta=1.0)
    zero = case(np.array([1.0, 2.0, 3.0]) * rng.uniform(1, 2), np.array([0.5, 0.5, 0.0]), beta=1.0)
    without = case(np.array([1.0, 1000.0, 0.5]) * rng.uniform(0.5, 1), gone, beta=0.6)
    levels = case(np.array([[1000.0, 999.0], [0.0, 1.0]]) + rng.normal(), halves, beta=1.0)
    deep = np.array([[-1000.0, -999.0], [0.0, 1000.0], [-1000.0, 1000.0]])
    depths = case(deep, np.array([[0.4, 0.6], [1, 0], [1, 0]]), beta=0.5)
    return [one, many, large, tiny, zero, without, levels, depths]


def _naive(reward: Floats, ref: Floats, *, beta: float) -> Any:
    weight = ref * np.exp(reward / beta)
    return weight / weight.sum(axis=-1, keepdims=True)


def _less(best: Callable[[Floats, Floats], Any], *, everywhere: bool = False) -> Callable[..., Any]:
    """Exponents less a maximum; `everywhere` also where the reference is zero."""

    def policy(reward: Floats, ref: Floats, *, beta: float) -> Any:
        inside = (ref > 0) | everywhere
        weight = ref * np.exp(np.where(inside, (reward - best(reward, ref)) / beta, 0))
        return weight / weight.sum(axis=-1, keepdims=True)

    return policy


def _of_row(reward: Floats, ref: Floats) -> Any:
    return reward.max(axis=-1, keepdims=True)


def _of_supported(reward: Floats, ref: Floats) -> Any:
    return np.where(ref > 0, reward, -np.inf).max(axis=-1, keepdims=True)


def _with_zeros(reward: Floats, ref: Floats) -> Any:
    return (reward * (ref > 0)).max(axis=-1, keepdims=True)


def _over_prompts(best: Callable[[Floats, Floats], Any]) -> Callable[..., Any]:
    """All responses of all prompts are made to sum to 1."""

    def policy(reward: Floats, ref: Floats, *, beta: float) -> Any:
        weight = ref * np.exp(np.where(ref > 0, (reward - best(reward, ref)) / beta, 0))
        return weight / weight.sum()

    return policy


def _over_first(weight: Floats) -> Any:
    return weight / weight.sum(axis=0, keepdims=True)


def _on_support(reward: Floats, ref: Floats, *, beta: float) -> Any:
    return softmax(np.where(ref > 0, reward / beta, -np.inf), axis=-1)


def _of(exponent: Callable[[Any, float], Any]) -> Callable[..., Any]:
    """The softmax of log ref + exponent(reward, beta)."""

    def policy(reward: Floats, ref: Floats, *, beta: float) -> Any:
        z = np.where(ref > 0, np.log(np.where(ref > 0, ref, 1)), -np.inf) + exponent(reward, beta)
        return softmax(z, axis=-1)

    return policy


def _standardised(epsilon: float, ddof: int) -> Callable[..., Any]:
    """The rewards of each prompt less their mean, through their standard deviation."""

    def policy(reward: Floats, ref: Floats, *, beta: float) -> Any:
        spread = reward.std(axis=-1, ddof=ddof, keepdims=True) + epsilon
        return _naive((reward - reward.mean(axis=-1, keepdims=True)) / spread, ref, beta=beta)

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
    alone=True,
    mistakes={
        "exp overflows or vanishes at rewards of 1000: subtract the largest exponent first.": (
            _naive
        ),
        "beta multiplies the reward: it must divide it.": _of(lambda r, b: r * b),
        "beta is missing: a short leash and a long one give the same policy.": _of(lambda r, b: r),
        "the ranking is upside down: check the sign of the reward.": _of(lambda r, b: -r / b),
        "the reference is missing: equal rewards must give the reference back.": _unweighted,
        "Z is summed over the prompts as well: the last axis holds the responses.": OneOf(
            _over_prompts(best)
            for best in (lambda r, q: r.max(), lambda r, q: 0 * r, _of_row, _of_supported)
        ),
        "nan where a response without reference has by far the largest reward: take the maximum "
        "over the others, and exp only of them.": OneOf(
            [_less(_of_row), _less(_of_row, everywhere=True), _less(_of_supported, everywhere=True)]
        ),
        "a response without reference counts as 0 in the maximum: the others may lie a thousand "
        "below.": _less(_with_zeros),
        "the largest reward is taken off r/beta: before the division, or divided as well.": (
            lambda r, q, *, beta: _less(lambda r, q: beta * _of_supported(r, q))(r, q, beta=beta)
        ),
        "a small number stands in place of a reference of 0: however small, a large reward makes "
        "up for it.": OneOf(
            lambda r, q, *, beta, e=10.0**-place, of=of: softmax(
                np.log(of(q, e)) + r / beta, axis=-1
            )
            for place in (*range(2, 17), 30, 100, 300)
            for of in (np.add, np.maximum)
        ),
        "divided by their standard deviation, rewards of 1 and of 1000 count the same.": OneOf(
            _standardised(epsilon, ddof) for epsilon in (0, 1e-8, 1e-6, 1e-4) for ddof in (0, 1)
        ),
        "one maximum for all prompts: another prompt may lie a thousand below it; each row needs "
        "its own.": OneOf(
            _less(best, everywhere=everywhere)
            for everywhere in (True, False)
            for best in (
                lambda r, q: r.max(),
                lambda r, q: np.where(q > 0, r, -np.inf).max(),
            )
        ),
        "summed over the prompts: the responses are on the last axis.": (
            lambda r, q, *, beta: _over_first(
                q * np.exp(np.where(q > 0, (r - _of_supported(r, q)) / beta, 0))
            )
        ),
        "a clip makes all large rewards equal: subtract the largest exponent instead.": OneOf(
            [
                lambda r, q, *, beta: _naive(np.clip(r / beta, -700, 700), q, beta=1.0),
                lambda r, q, *, beta: _naive(np.clip(r / beta, -500, 500), q, beta=1.0),
                lambda r, q, *, beta: _naive(np.clip(r / beta, -100, 100), q, beta=1.0),
            ]
        ),
        "the reference only says where the policy is zero: it must also multiply.": _on_support,
        "it does not sum to 1: divide by the sum over the responses.": OneOf(
            [
                lambda r, q, *, beta: q * np.exp(r / beta),
                lambda r, q, *, beta: (
                    q * np.exp(np.where(q > 0, (r - _of_supported(r, q)) / beta, 0))
                ),
            ]
        ),
        "this is the best response alone: the policy must stay near the reference.": OneOf(
            [
                lambda r, q, *, beta: 1.0 * (r == _of_row(r, q)),
                lambda r, q, *, beta: 1.0 * ((r == _of_supported(r, q)) & (q > 0)),
            ]
        ),
        "divided by the reference instead of multiplied.": (
            lambda r, q, *, beta: softmax(r / beta - np.log(q), axis=-1)
        ),
        "these are logarithms: the policy is asked for.": _log_policy,
        "these are logits: the policy is their softmax.": OneOf(
            [lambda r, q, *, beta: np.log(q) + r / beta, lambda r, q, *, beta: r / beta]
        ),
    },
)
