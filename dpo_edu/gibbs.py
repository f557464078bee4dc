"""The policy that maximises ``E_pi[r] - beta KL(pi || pi_ref)``, and what follows from it.

    pi*(y) = pi_ref(y) exp(r(y)/beta) / Z,    Z = sum_y pi_ref(y) exp(r(y)/beta)

Exponents are ``(r - max r)/beta``, the maximum taken over the support of pi_ref, so that none
overflows; where weights underflow it goes on in logarithms, so that no result is lost.

An argument that is not as documented, or does not fit the others, is a ValueError.
"""

from collections.abc import Callable, Iterator
from types import EllipsisType

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from dpo_edu import _checks, distributions
from dpo_edu._checks import Floats

BLOCK = 2**16  # responses at once, so that what is worked out about them stays in the cache
UNDERFLOW = -700  # an exponential below exp of this has lost digits
LOST = 1e-200  # a sum of weights below this may have lost terms to underflow


def _inputs(reward: ArrayLike, ref: ArrayLike, beta: float) -> tuple[Floats, Floats, float]:
    r, ref_ = _checks.reward(reward), _checks.policy("ref", ref)
    _checks.fits(reward=r, ref=ref_)
    return r, ref_, _checks.beta(beta)


def _on_support(
    reward: ArrayLike, ref: ArrayLike, beta: float
) -> tuple[Floats, Floats, Floats, float]:
    """The inputs, the reward as large as both and -inf off the support, and its maximum."""
    r, (ref_, lowest) = _checks.reward(reward), _checks.policy_and_lowest("ref", ref)
    shape = _checks.fits(reward=r, ref=ref_)
    if lowest == 0:
        r = np.where(ref_ > 0, r, -np.inf)
    elif r.shape != shape:
        r = np.broadcast_to(r, shape)
    return r, r.max(axis=-1, keepdims=True), ref_, _checks.beta(beta)


def _exponents(reward: Floats, best: Floats, beta: float, out: Floats | None = None) -> Floats:
    """``(r - max r)/beta``, at most 0, in a new array unless one is given."""
    with np.errstate(over="ignore"):
        exponent = np.subtract(reward, best, out=out)
        exponent /= beta
    return exponent


def _blocks(x: Floats) -> Iterator[tuple[EllipsisType, slice]]:
    return (np.s_[..., start : start + BLOCK] for start in range(0, x.shape[-1], BLOCK))


def _mean(f: Callable[[Floats, Floats], object], x: Floats, ref: Floats) -> Floats:
    """``sum_y pi_ref(y) f(x(y))``, axes kept; ``f(x, out)`` writes what it finds into `out`."""
    room, sums = np.empty(x[..., :BLOCK].shape), []
    for block in _blocks(x):
        terms = room[..., : x[block].shape[-1]]
        f(x[block], terms)
        terms *= ref[block]
        sums.append(terms.sum(axis=-1, keepdims=True))
    return np.asarray(sums[0] if len(sums) == 1 else np.sum(sums, axis=0), dtype=np.float64)


def _log_mean(mean: Floats, exponents: Callable[[], Floats], ref: Floats) -> Floats:
    """``log sum_y pi_ref(y) exp(exponent)`` from the sum, or by logarithms where it lost terms."""
    if mean.min(initial=1.0) > LOST:
        return np.asarray(np.log(mean), dtype=np.float64)
    top, rest = distributions.top_and_rest(distributions.log_of(ref) + exponents())
    return np.where(mean > LOST, distributions.log_of(mean), top + rest)


def _log_partition_near_one(reward: Floats, ref: Floats, beta: float) -> Floats:
    """log Z where it is near 0, so that `best/beta` and the rest would cancel and lose its digits.

    ``Z - 1 = (sum ref - 1) + sum ref (exp(r/beta) - 1)``. The first bracket is summed exactly:
    `high` holds multiples of 2^-52, whose sum needs no rounding.
    """
    high = (ref + 1.0) - 1.0
    excess = high.sum(axis=-1) - 1.0
    excess = excess + np.subtract(ref, high, out=high).sum(axis=-1)
    # In rows that are not near one exponents overflow, and the logarithm may be of 0 or below.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        mean = _mean(lambda r, out: np.expm1(np.divide(r, beta, out=out), out=out), reward, ref)
        return np.asarray(np.log1p(excess + mean[..., 0]), dtype=np.float64)


def log_partition(reward: ArrayLike, ref: ArrayLike, *, beta: float) -> Floats:
    """Log partition function ``log Z = log sum_y pi_ref(y) exp(r(y)/beta)``.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.
    ref : reference policy ``(..., Y)``, probabilities.
    beta : KL coefficient > 0, reward units per nat.

    Returns
    -------
    array ``(...)``, nats. ``beta * log Z`` is the best attainable objective (claim G7).

    Source: Rafailov et al. 2023, eq. 4; claims G4, G7.

    >>> bool(np.isclose(log_partition([0.0, np.log(3.0)], [0.5, 0.5], beta=1.0), np.log(2.0)))
    True
    """
    r, best, ref_, b = _on_support(reward, ref, beta)

    def weights(r: Floats, out: Floats) -> None:
        np.exp(_exponents(r, best, b, out), out=out)

    mean = _mean(weights, r, ref_)
    log_z = (best / b + _log_mean(mean, lambda: _exponents(r, best, b), ref_))[..., 0]
    near_one = (np.abs(log_z) < 0.5) & (best[..., 0] < 700 * b)  # expm1 overflows at 709
    if near_one.any():
        log_z = np.where(near_one, _log_partition_near_one(r, ref_, b), log_z)
    return np.asarray(log_z, dtype=np.float64)


def log_optimal_policy(reward: ArrayLike, ref: ArrayLike, *, beta: float) -> Floats:
    """Logarithm of the optimal policy, ``log pi* = log pi_ref + r/beta - log Z``.

    It does not underflow: a response of probability 1e-5000 still has its logarithm.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.
    ref : reference policy ``(..., Y)``, probabilities.
    beta : KL coefficient > 0, reward units per nat.

    Returns
    -------
    array ``(..., Y)``, nats; minus infinity where the reference is zero.

    Source: Rafailov et al. 2023, eq. 4; claim G4.

    >>> float(log_optimal_policy([0.0, -1e4], [0.5, 0.5], beta=1.0)[1])
    -10000.0
    """
    r, best, ref_, b = _on_support(reward, ref, beta)
    log_weight = distributions.log_of(ref_) + _exponents(r, best, b)
    top, rest = distributions.top_and_rest(log_weight)
    return (log_weight - top) - rest


def optimal_policy(reward: ArrayLike, ref: ArrayLike, *, beta: float) -> Floats:
    """The optimal policy ``pi*(y) = pi_ref(y) exp(r(y)/beta) / Z``.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.
    ref : reference policy ``(..., Y)``, probabilities.
    beta : KL coefficient > 0, reward units per nat.

    Returns
    -------
    array ``(..., Y)``, probabilities.

    Source: Rafailov et al. 2023, eq. 4; claim G4.

    >>> optimal_policy([0.0, np.log(3.0)], [0.5, 0.5], beta=1.0).round(12).tolist()
    [0.25, 0.75]
    """
    r, best, ref_, b = _on_support(reward, ref, beta)
    policy = _exponents(r, best, b)
    if policy.min(initial=0.0) > UNDERFLOW:  # then the weights, once had, are kept
        mean = _mean(lambda part, out: np.copyto(out, np.exp(part, out=part)), policy, ref_)
        if mean.min(initial=1.0) > LOST:
            for block in _blocks(policy):
                part = policy[block]
                part /= mean
                part *= ref_[block]
            return policy
        policy = _exponents(r, best, b)
    log_mean = _log_mean(_mean(np.exp, policy, ref_), lambda: policy, ref_)
    if log_mean.min(initial=0.0) < UNDERFLOW:  # the ratio to the reference may overflow
        return np.exp(log_optimal_policy(reward, ref_, beta=b))
    for block in _blocks(policy):
        part = policy[block]
        part -= log_mean
        np.exp(part, out=part)
        part *= ref_[block]
    return policy


def objective(policy: ArrayLike, reward: ArrayLike, ref: ArrayLike, *, beta: float) -> Floats:
    """The objective ``J(pi) = E_pi[r] - beta KL(pi || pi_ref)``.

    Written out as the sum it is, without the partition function, so that it can contradict the
    other formulas of this module.

    Parameters
    ----------
    policy, ref : probabilities ``(..., Y)``; the policy has no mass where the reference has none.
    reward : array ``(..., Y)``, reward units.
    beta : KL coefficient > 0, reward units per nat.

    Returns
    -------
    array ``(...)``, reward units.

    Source: Rafailov et al. 2023, eq. 3, for one prompt; claims O1 and O4.

    >>> float(objective([0.5, 0.5], [0.0, 1.0], [0.5, 0.5], beta=2.0))
    0.5
    """
    r, ref_, b = _inputs(reward, ref, beta)
    p = _checks.policy("policy", policy)
    _checks.fits(policy=p, reward=r, ref=ref_)
    _checks.supported(p, ref_)
    log_ratio = xlogy(p, p) - p * np.where(ref_ > 0, distributions.log_of(ref_), 0.0)
    return np.asarray((p * r).sum(axis=-1) - b * log_ratio.sum(axis=-1), dtype=np.float64)


def optimality_gap(policy: ArrayLike, reward: ArrayLike, ref: ArrayLike, *, beta: float) -> Floats:
    """What a policy leaves on the table: ``J(pi*) - J(pi) = beta KL(pi || pi*)``.

    Worked out in logarithms and term by term, so it is never negative and stays exact where pi* has
    underflowed.

    Parameters
    ----------
    policy, ref : probabilities ``(..., Y)``; the policy has no mass where the reference has none.
    reward : array ``(..., Y)``, reward units.
    beta : KL coefficient > 0, reward units per nat.

    Returns
    -------
    array ``(...)``, reward units.

    Source: claim G7.

    >>> float(optimality_gap([0.25, 0.75], [0.0, np.log(3.0)], [0.5, 0.5], beta=1.0).round(12))
    0.0
    """
    p = _checks.policy("policy", policy)
    r, ref_, b = _inputs(reward, ref, beta)
    _checks.fits(policy=p, reward=r, ref=ref_)
    _checks.supported(p, ref_)
    log_star = log_optimal_policy(r, ref_, beta=b)
    terms = distributions.divergence_terms(p, distributions.log_of(p), log_star)
    return np.asarray(b * terms.sum(axis=-1), dtype=np.float64)


def implicit_reward(policy: ArrayLike, ref: ArrayLike, *, beta: float) -> Floats:
    """The reward that a policy and its reference define: ``r̂ = beta log(pi/pi_ref)``.

    Of all rewards for which `policy` is optimal it is the one with ``log Z = 0``.

    Parameters
    ----------
    policy, ref : probabilities ``(..., Y)``; the policy has no mass where the reference has none.
    beta : KL coefficient > 0, reward units per nat.

    Returns
    -------
    array ``(..., Y)``, reward units; minus infinity where only the policy is zero, NaN where both
    are (no reward is defined off the support).

    Source: Rafailov et al. 2023, eq. 5; claims R1, R5.

    >>> implicit_reward([0.25, 0.75], [0.5, 0.5], beta=2.0).round(6).tolist()
    [-1.386294, 0.81093]
    """
    p, ref_ = _checks.policy("policy", policy), _checks.policy("ref", ref)
    _checks.fits(policy=p, ref=ref_)
    _checks.supported(p, ref_)
    with np.errstate(invalid="ignore"):
        return _checks.beta(beta) * (distributions.log_of(p) - distributions.log_of(ref_))
