"""Assignment 2: the price of every policy, and what becomes of it when Z or beta goes astray."""

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.special import logsumexp, rel_entr, softmax

from dpo_edu import symbolic
from dpo_edu.grading import (
    Case,
    OneOf,
    case,
    expression_task,
    function_task,
)
from dpo_edu.symbolic import Z, i, p, q, r, total, β

Floats = NDArray[np.float64]
Function = Callable[..., Any]


# --- 1 the objective ----------------------------------------------------------------------------


def _policies(rng: np.random.Generator) -> list[Case]:
    """Policies with their problems: one prompt, several, zeros in the policy and the reference."""
    one = case(rng.dirichlet(np.ones(4)), rng.normal(size=4), rng.dirichlet(np.ones(4)), beta=0.5)
    policies, refs = rng.dirichlet(np.ones(5), size=(2, 3))
    policies[0], policies[1, :2] = [0, 0, 1, 0, 0], 0
    policies[1] /= policies[1].sum()
    many = case(policies, rng.normal(size=(3, 5)), refs, beta=2.0)
    gone = np.array([0.5, 0.5, 0.0])
    half = case(rng.permutation([0.2, 0.8]), rng.normal(size=2), np.full(2, 0.5), beta=3.0)
    zero = case(np.array([0.3, 0.7, 0.0]), rng.normal(size=3), gone, beta=0.7)
    return [one, many, half, zero]


def _objective(policy: Floats, reward: Floats, ref: Floats, *, beta: float) -> Any:
    return (policy * reward).sum(axis=-1) - beta * rel_entr(policy, ref).sum(axis=-1)


def _variant(gain: Function, price: Function, beta_is: Function = lambda b: b) -> Function:
    """E[r] - beta KL with other ideas of the two terms and of beta."""

    def value(policy: Floats, reward: Floats, ref: Floats, *, beta: float) -> Any:
        return gain(policy, reward) - beta_is(beta) * price(policy, ref)

    return value


def _mean(policy: Floats, reward: Floats) -> Any:
    return (policy * reward).sum(axis=-1)


def _kl(policy: Floats, ref: Floats) -> Any:
    return rel_entr(policy, ref).sum(axis=-1)


EPSILONS = [10.0**-place for place in range(2, 9)]  # smaller ones make no difference


def _with(epsilon: float, where: Function) -> Function:
    """The objective with an epsilon against log 0."""
    return _variant(_mean, lambda p, q: (p * where(p, q, epsilon)).sum(axis=-1))


OVER_PROMPTS = "summed over the prompts: the responses are on the last axis."


def _one_over_prompts(_: Function, fault: str | None, __: list[Case]) -> str | None:
    """What to say where one term has a number for each prompt and the other for each response."""
    shapes = ("shapes (3,) (5,)", "shapes (5,) (3,)")
    return OVER_PROMPTS if fault and any(said in fault for said in shapes) else fault


objective = function_task(
    "objective",
    truth=_objective,
    cases=_policies,
    then=_one_over_prompts,
    alone=True,
    mistakes={
        "0 log 0 comes out as nan: where the policy is 0 the term is 0.": (
            _variant(_mean, lambda p, q: (p * np.log(p / q)).sum(axis=-1))
        ),
        "nan becomes 0 after the sum: one policy of 0 takes away the other terms too.": OneOf(
            [
                _variant(_mean, lambda p, q: np.nan_to_num((p * np.log(p / q)).sum(axis=-1))),
                lambda p, r, q, *, beta: np.nan_to_num(
                    _mean(p, r) - beta * (p * np.log(p / q)).sum(axis=-1)
                ),
            ]
        ),
        "terms of KL may be negative, only their sum may not: leave them as they are.": OneOf(
            [
                _variant(_mean, lambda p, q: np.maximum(rel_entr(p, q), 0).sum(axis=-1)),
                _variant(_mean, lambda p, q: np.abs(rel_entr(p, q)).sum(axis=-1)),
            ]
        ),
        "here straying from the reference pays: is a sign wrong, or the ratio upside down?": (
            _variant(_mean, _kl, lambda b: -b)
        ),
        "beta is missing in front of KL.": _variant(_mean, _kl, lambda b: 1),
        "beta divides KL: the dearer it is to stray, the larger the price must be.": (
            _variant(_mean, _kl, lambda b: 1 / b)
        ),
        "this is KL(ref || pi): the expectation of the log-ratio is under the policy.": (
            _variant(_mean, lambda p, q: _kl(q, p))
        ),
        "no epsilon in the logarithm: where the policy is 0 the term is 0.": OneOf(
            _with(epsilon, where)
            for epsilon in EPSILONS
            for where in (
                lambda p, q, e: np.log((p + e) / (q + e)),
                lambda p, q, e: np.log(p / (q + e) + e),
                lambda p, q, e: np.log(p + e) - np.log(q),
            )
        ),
        "this logarithm has base 2 or 10: nats are asked for.": OneOf(
            _variant(_mean, _kl, lambda b, base=base: b / np.log(base)) for base in (2, 10)
        ),
        "the weight pi in front of the logarithm is missing.": (
            _variant(_mean, lambda p, q: np.log(p / q).sum(axis=-1))
        ),
        "this is the expected reward alone: where is KL?": _variant(
            _mean, lambda p, q: 0 * _kl(p, q)
        ),
        "this is KL and its price alone: where is the reward?": OneOf(
            [
                _variant(lambda p, r: 0 * _mean(p, r), _kl),
                _variant(lambda p, r: 0 * _mean(p, r), _kl, lambda b: -b),
            ]
        ),
        "the reference is missing: KL compares with it.": (
            _variant(_mean, lambda p, q: rel_entr(p, np.ones_like(p)).sum(axis=-1))
        ),
        "this is one term for each response: sum over the last axis.": (
            _variant(lambda p, r: p * r, rel_entr)
        ),
        OVER_PROMPTS: (
            _variant(lambda p, r: (p * r).sum(axis=0), lambda p, q: rel_entr(p, q).sum(axis=0))
        ),
        "beta multiplies the reward as well: only KL has it.": (
            lambda policy, reward, ref, *, beta: beta * (_mean(policy, reward) - _kl(policy, ref))
        ),
        "beta stands at the reward: it belongs at KL.": (
            lambda policy, reward, ref, *, beta: beta * _mean(policy, reward) - _kl(policy, ref)
        ),
        "the rewards are weighted by the reference: their expectation is under the policy.": (
            lambda policy, reward, ref, *, beta: _mean(ref, reward) - beta * _kl(policy, ref)
        ),
        "the rewards have no weights: their expectation is under the policy.": (
            _variant(lambda p, r: r.mean(axis=-1), _kl)
        ),
        "a mean over responses where a sum belongs: the weights are in the policy already.": (
            OneOf(
                [
                    _variant(
                        lambda p, r: (p * r).mean(axis=-1),
                        lambda p, q: rel_entr(p, q).mean(axis=-1),
                    ),
                    _variant(lambda p, r: (p * r).mean(axis=-1), _kl),
                    _variant(_mean, lambda p, q: rel_entr(p, q).mean(axis=-1)),
                ]
            )
        ),
        "one number for each prompt is asked for: sum over the last axis only.": (
            _variant(lambda p, r: (p * r).sum(), lambda p, q: rel_entr(p, q).sum())
        ),
    },
)

# --- 2 the projection ---------------------------------------------------------------------------

PARTITION = total(q[i] * sp.exp(r[i] / β))
STAR = q[i] * sp.exp(r[i] / β) / Z


def _divergence(first: sp.Expr, second: sp.Expr) -> sp.Expr:
    return total(first * sp.log(first / second))


def _written_out(expression: sp.Expr) -> sp.Expr:
    """Z as its sum: both spellings are right."""
    return expression.subs(Z, PARTITION)


TOP, PRICE = β * sp.log(Z), β * _divergence(p[i], STAR)
completed = expression_task(
    "completed",
    truth=TOP - PRICE,
    through=_written_out,
    mistakes={
        "this is equal to J, but holds even for numbers that do not add up to 1: "
        "use that the policy does, so that log Z stands alone.": symbolic.objective(),
        "the distance is subtracted: the farther from pi*, the smaller J.": TOP + PRICE,
        "the distance is from pi*, not from the reference.": TOP - β * _divergence(p[i], q[i]),
        "the distance has lost its beta.": TOP - PRICE / β,
        "the constant has lost its beta.": TOP / β - PRICE,
        "the divergence is the other way round: its weights are the policy's.": (
            TOP - β * _divergence(STAR, p[i])
        ),
        "the denominator is not pi* yet: divide it by Z.": TOP - PRICE.subs(Z, 1),
        "beta divides the reward in pi*.": (
            TOP - β * _divergence(p[i], q[i] * sp.exp(r[i] * β) / Z)
        ),
        "this is -J/beta, which source B minimises: J itself is asked for.": (PRICE - TOP) / β,
        "where is the constant?": -PRICE,
        "this is the constant: where is the distance?": TOP,
        "log Z, not Z, is the constant.": OneOf([β * Z - PRICE, Z - PRICE]),
        "the weight pi in front of the logarithm is missing.": TOP - β * total(sp.log(p[i] / STAR)),
        "a sum is missing: total(...) adds up over the responses.": (
            TOP - β * p[i] * sp.log(p[i] / STAR)
        ),
        "the sign of the constant: J(pi*) = beta log Z.": -TOP - PRICE,
        "beta is missing in the exponent of pi*.": (
            TOP - β * _divergence(p[i], q[i] * sp.exp(r[i]) / Z)
        ),
        "the reference is missing in pi*.": TOP - β * _divergence(p[i], sp.exp(r[i] / β) / Z),
        "the distance is a square: KL is asked for, the sum of pi log(pi/pi*).": OneOf(
            [
                TOP - β * total((p[i] - STAR) ** 2),
                TOP - total((p[i] - STAR) ** 2),
                TOP - β * total((p[i] - STAR) ** 2 / STAR),
                TOP - β * total((p[i] - STAR) ** 2 / STAR) / 2,
            ]
        ),
        "the logarithm stands outside the sum: KL is a mean of logarithms.": (
            TOP - β * sp.log(total(p[i] * p[i] / STAR))
        ),
        "Z is counted twice: star is divided by it already.": (
            TOP - β * _divergence(p[i], STAR / Z)
        ),
    },
)

# --- 3 the gap ----------------------------------------------------------------------------------


def _log_star(reward: Floats, ref: Floats, b: float) -> Any:
    with np.errstate(divide="ignore"):
        weight = np.log(ref) + reward / b
    return weight - logsumexp(weight, axis=-1, keepdims=True)


def _star(reward: Floats, ref: Floats, b: float) -> Any:
    return np.exp(_log_star(reward, ref, b))


def _naive_star(reward: Floats, ref: Floats, b: float) -> Any:
    weight = ref * np.exp(reward / b)
    return weight / weight.sum(axis=-1, keepdims=True)


def _terms(policy: Floats, log_other: Any) -> Any:
    """The terms of KL(policy || other), from the other's logarithm."""
    inside = np.where(policy > 0, policy, 1)
    return np.where(policy > 0, policy * (np.log(inside) - log_other), 0)


def _best_minus_reached(policy: Floats, reward: Floats, ref: Floats, *, beta: float) -> Any:
    best = beta * logsumexp(reward / beta, b=ref, axis=-1)
    return best - _objective(policy, reward, ref, beta=beta)


def _price(price: Function, factor: Function = lambda b: b) -> Function:
    """factor(beta) times a price of (policy, reward, ref, beta)."""

    def gap(policy: Floats, reward: Floats, ref: Floats, *, beta: float) -> Any:
        return factor(beta) * price(policy, reward, ref, beta)

    return gap


def _distance(policy: Floats, reward: Floats, ref: Floats, b: float) -> Any:
    return _terms(policy, _log_star(reward, ref, b)).sum(axis=-1)


def _less_the_best(best: Function) -> Function:
    """J(pi*) by exponents less a maximum, minus J."""

    def gap(policy: Floats, reward: Floats, ref: Floats, *, beta: float) -> Any:
        top = best(reward, ref)
        log_z = np.log((ref * np.exp((reward - top) / beta)).sum(axis=-1))
        summit = np.squeeze(top, axis=-1) if np.ndim(top) == reward.ndim else top
        return summit + beta * log_z - _objective(policy, reward, ref, beta=beta)

    return gap


def _beside_problems(rng: np.random.Generator) -> list[Case]:
    """The policies of task 1, the best policy itself, and rewards of 1000."""
    reward, ref = rng.normal(size=4), rng.dirichlet(np.ones(4))
    best = case(_star(reward, ref, 0.4), reward, ref, beta=0.4)
    far = np.array([1000.0, 999.0, -1000.0]) + rng.normal()
    large = case(rng.dirichlet(np.full(3, 5.0)), far, np.full(3, 1 / 3), beta=0.7)
    low = case(
        rng.dirichlet(np.full(3, 5.0)), rng.normal(size=3) - 1000, ref[1:] / ref[1:].sum(), beta=1.0
    )
    without = case(
        np.array([1.0, 0.0]), np.array([-1000.0, 1000.0]), np.array([1.0, 0.0]), beta=1.0
    )
    pair = rng.dirichlet(np.ones(2), size=(2, 2))
    levels = np.array([[1000.0, 999.0], [0.0, 1.0]]) + rng.normal()
    return [*_policies(rng), best, large, low, without, case(pair[0], levels, pair[1], beta=1.0)]


gap = function_task(
    "gap",
    truth=_best_minus_reached,
    cases=_beside_problems,
    then=_one_over_prompts,
    alone=True,
    mistakes={
        "exp(r/beta) overflows at rewards of 1000: stay in logarithms, as logsumexp does.": OneOf(
            [
                _price(lambda p, r, q, b: rel_entr(p, _naive_star(r, q, b)).sum(axis=-1)),
                _price(
                    lambda p, r, q, b: (
                        np.log((q * np.exp(r / b)).sum(axis=-1)) - _objective(p, r, q, beta=b) / b
                    )
                ),
            ]
        ),
        "it is infinite where pi* underflows to 0: "
        "do not take the logarithm of pi*, write log pi* down.": (
            _price(lambda p, r, q, b: rel_entr(p, _star(r, q, b)).sum(axis=-1))
        ),
        "0 log 0 comes out as nan: where the policy is 0 the term is 0.": (
            _price(lambda p, r, q, b: (p * (np.log(p) - _log_star(r, q, b))).sum(axis=-1))
        ),
        "two things at once: a policy of 0 gives nan, and a pi* that underflows gives inf.": (
            _price(lambda p, r, q, b: (p * np.log(p / _star(r, q, b))).sum(axis=-1))
        ),
        "it is negative: J(pi*) comes first.": _price(_distance, lambda b: -b),
        "the divergence is in nats: which factor makes it reward?": _price(_distance, lambda b: 1),
        "beta divides the divergence, and should multiply it.": _price(_distance, lambda b: 1 / b),
        "the divergence is the other way round: its weights are the policy's.": (
            _price(lambda p, r, q, b: rel_entr(_star(r, q, b), p).sum(axis=-1))
        ),
        "this is the distance from the reference: the best policy must come out at 0.": (
            _price(lambda p, r, q, b: _kl(p, q))
        ),
        "this is J(pi*) - J(ref): what does the policy in question reach?": (
            lambda p, r, q, *, beta: _best_minus_reached(q, r, q, beta=beta)
        ),
        "the maximum is taken over responses that the reference does not have: exp of the others "
        "underflows, and Z with them.": OneOf(
            _less_the_best(best)
            for best in (
                lambda r, q: r.max(axis=-1, keepdims=True),
                lambda r, q: (r * (q > 0)).max(axis=-1, keepdims=True),
            )
        ),
        "one maximum for all prompts: another prompt may lie a thousand below it; each row needs "
        "its own.": _less_the_best(lambda r, q: r.max()),
        "the reference is missing in Z: its weights are pi_ref exp(r/beta).": OneOf(
            lambda p, r, q, *, beta, weight=weight: (
                beta * logsumexp(r / beta, b=weight(q), axis=-1) - _objective(p, r, q, beta=beta)
            )
            for weight in (np.ones_like, lambda q: np.full(q.shape, 1 / q.shape[-1]))
        ),
        "pi_ref stands in an exponent without its logarithm: it multiplies exp(r/beta).": (
            lambda p, r, q, *, beta: (
                beta * logsumexp(r / beta + q, axis=-1) - _objective(p, r, q, beta=beta)
            )
        ),
        "beta is missing in pi*: the reward is divided by it.": OneOf(
            [
                _price(lambda p, r, q, b: _terms(p, _log_star(r, q, 1.0)).sum(axis=-1)),
                lambda p, r, q, *, beta: (
                    beta * logsumexp(r, b=q, axis=-1) - _objective(p, r, q, beta=beta)
                ),
            ]
        ),
        "beta multiplies the reward in pi*: it must divide.": OneOf(
            [
                _price(lambda p, r, q, b: _terms(p, _log_star(r, q, 1 / b)).sum(axis=-1)),
                lambda p, r, q, *, beta: (
                    beta * logsumexp(beta * r, b=q, axis=-1) - _objective(p, r, q, beta=beta)
                ),
            ]
        ),
        "log Z is in nats: J(pi*) is beta log Z.": (
            lambda p, r, q, *, beta: (
                logsumexp(r / beta, b=q, axis=-1) - _objective(p, r, q, beta=beta)
            )
        ),
        "in the J that is reached straying pays: there KL has a minus.": (
            lambda p, r, q, *, beta: (
                beta * logsumexp(r / beta, b=q, axis=-1) - _mean(p, r) - beta * _kl(p, q)
            )
        ),
        "the J that is reached is its expected reward alone: its price of KL is missing.": (
            lambda p, r, q, *, beta: beta * logsumexp(r / beta, b=q, axis=-1) - _mean(p, r)
        ),
        "these are rewards alone: J(pi*) and J each have a price of KL.": (
            lambda p, r, q, *, beta: r.max(axis=-1) - _mean(p, r)
        ),
        "the KL of the policy is a sum over the responses, not their mean.": (
            lambda p, r, q, *, beta: (
                beta * logsumexp(r / beta, b=q, axis=-1)
                - _mean(p, r)
                + beta * rel_entr(p, q).mean(axis=-1)
            )
        ),
        "this is J(pi*) alone: take off what the policy reaches.": (
            lambda p, r, q, *, beta: beta * logsumexp(r / beta, b=q, axis=-1)
        ),
        "this is the difference of expected rewards: the prices of KL are missing.": (
            lambda p, r, q, *, beta: _mean(_star(r, q, beta) - p, r)
        ),
        "the largest reward is not J(pi*): getting there costs KL.": (
            lambda p, r, q, *, beta: r.max(axis=-1) - _objective(p, r, q, beta=beta)
        ),
        "a mean over responses where a sum belongs.": (
            _price(lambda p, r, q, b: _terms(p, _log_star(r, q, b)).mean(axis=-1))
        ),
        "one number for each prompt is asked for: sum over the last axis only.": (
            _price(lambda p, r, q, b: _terms(p, _log_star(r, q, b)).sum())
        ),
    },
)

# --- 4 the missing response ---------------------------------------------------------------------


def _tables(rng: np.random.Generator) -> list[Case]:
    """Six tables in which another response is missing each time, with another probability.

    Printed to four digits; the probabilities are so far apart that rounding hides nothing.
    """
    tables = []
    chances = [0.34, 0.25, 0.18, 0.12, 0.07, 0.04]
    for missing, chance in zip(rng.permutation(6), chances, strict=True):
        others = rng.permutation([other for other in chances if other != chance])
        star = np.insert(others, missing, chance)
        b, reward, ref, ends = rng.choice([0.25, 0.5, 2.0]), star, star, {-1}
        while len(ends) < 6:  # the largest and smallest of all three at six places
            ref = rng.dirichlet(np.full(6, 1.5))
            reward = b * np.log(star / ref) + rng.normal()
            ends = {int(at(x)) for x in (star, reward, ref) for at in (np.argmax, np.argmin)}
        printed = (star / (1 - star[missing])).round(4)
        tables.append(case(printed, reward, ref, beta=float(b)))
    return tables


def _by_trying(printed: Floats, reward: Floats, ref: Floats, *, beta: float) -> Any:
    weight = ref * np.exp(reward / beta)
    misses = [abs(printed - weight / np.delete(weight, m).sum()).max() for m in range(len(ref))]
    return np.argmin(misses)


def _none_found(_: Function, fault: str | None, __: list[Case]) -> str | None:
    """What to say of an answer that raises because it finds no entry."""
    none = ("with size 0)", "not in list)", "StopIteration")
    if not fault or not fault.startswith("it raises") or not any(said in fault for said in none):
        return fault
    error = fault.split()[2]
    return (
        f"it raises {error}: no entry meets its condition; if that is an equality, rounding to "
        "four digits spoils it."
    )


missing_response = function_task(
    "missing_response",
    truth=_by_trying,
    cases=_tables,
    tolerance=1e-6,
    then=_none_found,
    mistakes={
        "this is the largest entry, which is also the one nearest to the sum: all are too large by "
        "the same factor, so their size does not betray the missing one.": (
            lambda printed, reward, ref, *, beta: np.argmax(printed)
        ),
        "this is the smallest entry: the entries are what they are, only Z is too small.": (
            lambda printed, reward, ref, *, beta: np.argmin(printed)
        ),
        "this is the least likely response of the reference: "
        "a natural one to forget, but the table may have forgotten another.": (
            lambda printed, reward, ref, *, beta: np.argmin(ref)
        ),
        "this is the response with the lowest reward, whatever the table says.": (
            lambda printed, reward, ref, *, beta: np.argmin(reward)
        ),
        "this is 0 whatever the table: if it looks for an entry equal to the excess, four printed "
        "digits spoil that; take the nearest.": (
            lambda printed, *given, beta: np.argmax(printed == printed.sum() - 1)
        ),
        "it finds an entry only where one equals the excess: rounding to four digits spoils that; "
        "take the nearest.": OneOf(
            [
                lambda printed, *given, beta: np.argmax(np.isclose(printed, printed.sum() - 1)),
                lambda printed, *given, beta: np.argmax(printed.sum() - printed == 1),
            ]
        ),
        "the excess is an entry of the printed table, not of the true policy or its weights.": (
            OneOf(
                [
                    lambda printed, reward, ref, *, beta: np.argmin(
                        np.abs(_star(reward, ref, beta) - (printed.sum() - 1))
                    ),
                    lambda printed, reward, ref, *, beta: np.argmin(
                        np.abs(ref * np.exp(reward / beta) - (printed.sum() - 1))
                    ),
                ]
            )
        ),
        "1 - 1/sum is the probability that the missing one should have; in the printed table it "
        "stands with sum - 1.": (
            lambda printed, *given, beta: np.argmin(np.abs(printed - (1 - 1 / printed.sum())))
        ),
        "this is the response with the largest reward, whatever the table says.": (
            lambda printed, reward, ref, *, beta: np.argmax(reward)
        ),
        "this is the most likely response of the reference, whatever the table says.": (
            lambda printed, reward, ref, *, beta: np.argmax(ref)
        ),
        "this is its place in the sorted table: at which index does it stand in the one given?": (
            lambda printed, *given, beta: np.argmin(np.abs(np.sort(printed) - (printed.sum() - 1)))
        ),
        "this is the index from the end: count from 0 at the front.": (
            lambda *given, beta: _by_trying(*given, beta=beta) - len(given[0])
        ),
        "responses are counted from 0.": lambda *given, beta: 1 + _by_trying(*given, beta=beta),
        "this is its entry in the table: at which index does it stand?": (
            lambda printed, *given, beta: printed[_by_trying(printed, *given, beta=beta)]
        ),
        "this is what the entries sum to: which response makes it exceed 1?": (
            lambda printed, reward, ref, *, beta: printed.sum()
        ),
    },
)

# --- 5 and 6 beta in the wrong place ------------------------------------------------------------


def _summit(factor: Any, exponent: Any, weight: Any = q[i]) -> sp.Expr:
    """The form of the largest objective: factor log sum(weight exp(exponent))."""
    return factor * sp.log(total(weight * sp.exp(exponent)))


repaired = expression_task(
    "repaired",
    truth=_summit(β, r[i] / β),
    mistakes={
        "nothing is repaired: this is what was printed.": _summit(1 / β, β * r[i]),
        "the exponent is repaired; the factor outside has the unit of a reward too.": (
            _summit(1 / β, r[i] / β)
        ),
        "the factor outside is repaired; an exponent has no unit, and this one has.": (
            _summit(β, β * r[i])
        ),
        "beta outside is gone: a logarithm alone is no reward.": _summit(1, r[i] / β),
        "beta in the exponent is gone: r alone has a unit.": _summit(β, r[i]),
        "both betas are gone: this is right for beta = 1 only.": _summit(1, r[i]),
        "the reference has got lost.": _summit(β, r[i] / β, 1),
        "this is Z and its factor: where is the logarithm?": β * PARTITION,
        "right as far as it goes: write Z out, its exponent is in question.": β * sp.log(Z),
        "beta outside has changed its sign.": _summit(-β, r[i] / β),
        "the exponent has changed its sign.": _summit(β, -r[i] / β),
        "the logarithm stands inside the sum: it is one of the whole sum.": OneOf(
            [
                β * total(sp.log(q[i] * sp.exp(r[i] / β))),
                β * total(q[i] * sp.log(sp.exp(r[i] / β))),
            ]
        ),
        "a sum is missing: Z adds up over the responses.": β * sp.log(q[i] * sp.exp(r[i] / β)),
        "the reference stands outside the exponential.": _summit(β, q[i] * r[i] / β, 1),
        "beta stands inside the logarithm: it multiplies it.": sp.log(β * PARTITION),
        "this is the multiplier lambda of exercise 1: J(pi*) is asked for.": (
            β * (1 - sp.log(PARTITION))
        ),
        "beta divides the whole exponential: it divides the reward in the exponent.": (
            _summit(β, r[i], q[i] / β)
        ),
    },
)


def _leashes(rng: np.random.Generator) -> list[Case]:
    """Problems with short leashes, long ones, and beta = 1, where nothing is lost."""
    one = case(rng.normal(size=4), rng.dirichlet(np.ones(4)), beta=0.4)
    many = case(rng.normal(size=(3, 5)), rng.dirichlet(np.ones(5), size=3), beta=2.5)
    same = case(rng.normal(size=3), rng.dirichlet(np.ones(3)), beta=1.0)
    return [one, many, same]


def _swapped(reward: Floats, ref: Floats, b: float) -> Any:
    return softmax(np.log(ref) + b * reward, axis=-1)


def _over_z(reward: Floats, ref: Floats, b: float) -> Any:
    """The swapped weights, divided by the wrong sum."""
    z = (ref * np.exp(reward / b)).sum(axis=-1, keepdims=True)
    return ref * np.exp(b * reward) / z


def _loss(reward: Floats, ref: Floats, *, beta: float) -> Any:
    return beta * rel_entr(_swapped(reward, ref, beta), _star(reward, ref, beta)).sum(axis=-1)


def _between(first: Function, second: Function, b_first: Function, b_second: Function) -> Function:
    """J of a first policy minus J of a second, each with its own idea of beta in J."""

    def difference(reward: Floats, ref: Floats, *, beta: float) -> Any:
        one = _objective(first(reward, ref, beta), reward, ref, beta=b_first(beta))
        return one - _objective(second(reward, ref, beta), reward, ref, beta=b_second(beta))

    return difference


def _right(b: float) -> float:
    return b


def _inverse(b: float) -> float:
    return 1 / b


swap_loss = function_task(
    "swap_loss",
    truth=_loss,
    cases=_leashes,
    mistakes={
        "J has beta swapped as well: only the policy makes the mistake, J keeps its beta.": (
            _between(_star, _swapped, _inverse, _inverse)
        ),
        "it is the other way round: the policy has beta swapped, J keeps it.": (
            _between(_swapped, _star, _inverse, _inverse)
        ),
        "each policy is measured with a beta of its own: J has one beta for both.": (
            _between(_star, _swapped, _right, _inverse)
        ),
        "the sign: a loss is J(pi*) minus the rest.": _between(_swapped, _star, _right, _right),
        "0 for every beta: beta must be swapped in the policy, and must not be swapped in J.": (
            lambda reward, ref, *, beta: np.zeros(reward.shape[:-1])
        ),
        "this is the divergence in nats: which factor makes it reward?": (
            lambda reward, ref, *, beta: _loss(reward, ref, beta=beta) / beta
        ),
        "the divergence is the other way round: its weights are the swapped policy's.": (
            lambda reward, ref, *, beta: (
                beta * _kl(_star(reward, ref, beta), _swapped(reward, ref, beta))
            )
        ),
        "W is missing: the swapped policy must sum to 1.": OneOf(
            [
                lambda reward, ref, *, beta: (
                    _objective(_star(reward, ref, beta), reward, ref, beta=beta)
                    - _objective(ref * np.exp(beta * reward), reward, ref, beta=beta)
                ),
                lambda reward, ref, *, beta: (
                    beta
                    * rel_entr(ref * np.exp(beta * reward), _star(reward, ref, beta)).sum(axis=-1)
                ),
            ]
        ),
        "the swapped policy is divided by the Z of pi*: its own sum is W.": OneOf(
            [
                lambda reward, ref, *, beta: (
                    _objective(_star(reward, ref, beta), reward, ref, beta=beta)
                    - _objective(_over_z(reward, ref, beta), reward, ref, beta=beta)
                ),
                lambda reward, ref, *, beta: (
                    beta
                    * rel_entr(_over_z(reward, ref, beta), _star(reward, ref, beta)).sum(axis=-1)
                ),
            ]
        ),
        "beta multiplies the reward in J as well: only the policy has it.": OneOf(
            [
                lambda reward, ref, *, beta: _best_minus_reached(
                    _swapped(reward, ref, beta), beta * reward, ref, beta=beta
                ),
                lambda reward, ref, *, beta: (
                    _objective(_star(reward, ref, beta), beta * reward, ref, beta=beta)
                    - _objective(_swapped(reward, ref, beta), beta * reward, ref, beta=beta)
                ),
            ]
        ),
        "this is the J that the swapped policy reaches: how much less is it than J(pi*)?": (
            lambda reward, ref, *, beta: _objective(
                _swapped(reward, ref, beta), reward, ref, beta=beta
            )
        ),
        "the two J are added: a loss is their difference.": (
            lambda reward, ref, *, beta: (
                _objective(_star(reward, ref, beta), reward, ref, beta=beta)
                + _objective(_swapped(reward, ref, beta), reward, ref, beta=beta)
            )
        ),
        "this is J(pi*): how much less does the swapped policy reach?": (
            lambda reward, ref, *, beta: _objective(
                _star(reward, ref, beta), reward, ref, beta=beta
            )
        ),
        "the reference is missing in the swapped policy.": (
            _between(_star, lambda r, q, b: softmax(b * r, axis=-1), _right, _right)
        ),
        "beta has gone from the swapped policy: there it multiplies.": (
            _between(_star, lambda r, q, b: _star(r, q, 1.0), _right, _right)
        ),
        "this is the loss in expected reward: J also has the price of KL.": (
            lambda reward, ref, *, beta: _mean(
                _star(reward, ref, beta) - _swapped(reward, ref, beta), reward
            )
        ),
        "this is the distance of the probabilities: what does it cost in J?": OneOf(
            [
                lambda reward, ref, *, beta: np.abs(
                    _star(reward, ref, beta) - _swapped(reward, ref, beta)
                ).sum(axis=-1),
            ]
        ),
        "the factor is the swapped beta: J keeps its own.": OneOf(
            [lambda reward, ref, *, beta: _loss(reward, ref, beta=beta) / beta**2]
        ),
        "this is what the reference loses: where is the swapped policy?": (
            _between(_star, lambda r, q, b: q, _right, _right)
        ),
        "one number for each prompt is asked for: sum over the last axis only.": (
            lambda reward, ref, *, beta: _loss(reward, ref, beta=beta).sum()
        ),
    },
)
