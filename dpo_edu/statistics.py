"""How much votes can tell: Fisher information, the Cramer-Rao bound, goodness of fit.

At a finite number n of votes maximum likelihood misses the bound by terms of order 1/n, which
`second_order` predicts.

Rewards are identified only up to a constant, so information matrices are singular along the
all-ones direction and covariances are those of rewards centred by their plain mean.

An argument that is not as documented, or does not fit the others, is a ValueError.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, xlogy

from dpo_edu import _checks, preferences
from dpo_edu._checks import Floats, Ints
from dpo_edu.problems import AlignmentProblem


def fisher_information(reward: ArrayLike, comparisons: ArrayLike) -> Floats:
    """Expected information about the rewards in Bradley-Terry votes.

    ``I = sum_{i<j} n_ij p_ij p_ji (e_i - e_j)(e_i - e_j)^T`` with ``p_ij = sigma(r_i - r_j)``: the
    Laplacian of the comparison graph, weighted by the variance of each vote.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.
    comparisons : symmetric array ``(..., Y, Y)``: how often i met j (``wins + wins^T``), or the
        probability of that in one vote.

    Returns
    -------
    array ``(..., Y, Y)``, reward units to the power -2; its rows sum to 0.

    Raises
    ------
    ValueError
        If `comparisons` is not symmetric.

    Source: Hunter 2004; claim T3.

    >>> fisher_information([0.0, 0.0], [[0, 4], [4, 0]]).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    r, n = _checks.reward(reward), _checks.wins(comparisons, "comparisons")
    _checks.fits(reward=r, comparisons=n[..., 0])
    if not np.allclose(n, n.swapaxes(-1, -2), rtol=1e-9, atol=0):
        raise _checks.error("comparisons", "a symmetric array (i met j)", "an asymmetric one")
    p = preferences.preference_matrix(r)
    weight = n * p * p.swapaxes(-1, -2)
    return np.asarray(np.eye(r.shape[-1]) * weight.sum(axis=-1)[..., None] - weight)


def _connected(name: str, comparisons: Floats) -> None:
    flat = comparisons.reshape(-1, *comparisons.shape[-2:])
    incomplete = (flat + np.eye(flat.shape[-1]) == 0).any(axis=(-2, -1))
    for x in np.flatnonzero(incomplete):
        parts = preferences.components(flat[x])
        if len(parts) > 1:
            got = f"components {' and '.join(map(str, parts[:6]))} at prompt {x}"
            raise _checks.error(name, "a connected comparison graph", got)


def cramer_rao_bound(
    problem: AlignmentProblem | ArrayLike,
    behaviour: ArrayLike,
    *,
    size: int,
    prompt_weights: ArrayLike | None = None,
) -> Floats:
    """Smallest covariance an unbiased estimate of the centred rewards can have from `size` votes.

    The pseudo-inverse of `size` times the information of one vote, under the sampling law of
    `preferences.sample_pairs`. The reference policy and beta have no part in it.

    Parameters
    ----------
    problem : rewards ``(Y,)`` or ``(X, Y)``, reward units, or an AlignmentProblem with such.
    behaviour : the sampling policy, probabilities ``(Y,)`` or ``(X, Y)``.
    size : number of votes N >= 1, all prompts together.
    prompt_weights : probabilities ``(X,)``; uniform if None. An AlignmentProblem has its own.

    Returns
    -------
    array ``(Y, Y)`` or ``(X, Y, Y)``, reward units squared; its rows sum to 0.

    Raises
    ------
    ValueError
        If a comparison graph is disconnected (naming the components): differences across
        components cannot be estimated at all.

    Source: Rao 1945, Cramer 1946; claim T3.

    >>> cramer_rao_bound([0.0, 0.0], [0.5, 0.5], size=4).round(12).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    n = _checks.positive_int("size", size)
    r, weights = _asked(problem, prompt_weights)
    reward = np.atleast_2d(r)
    b = _checks.policy("behaviour", behaviour)
    if _checks.fits(behaviour=b, reward=reward) != reward.shape:
        raise _checks.error("behaviour", f"shape {r.shape}", f"shape {b.shape}")
    mu = preferences.pair_distribution(np.broadcast_to(b, reward.shape), weights)
    comparisons = 2 * mu  # which of the two came first does not matter
    _connected("behaviour", comparisons)
    bound = covariance(reward, n * comparisons)
    return bound.reshape(*r.shape, r.shape[-1])


def _asked(
    problem: AlignmentProblem | ArrayLike, prompt_weights: ArrayLike | None
) -> tuple[Floats, ArrayLike | None]:
    """The rewards that votes are about, ``(Y,)`` or ``(X, Y)``, and how often each prompt comes."""
    if isinstance(problem, AlignmentProblem):
        if prompt_weights is not None:
            raise _checks.error(
                "prompt_weights", "none beside a problem, which has its own", "some"
            )
        return problem.reward, problem.prompt_weights
    reward = _checks.reward(problem, "problem")
    if reward.ndim > 2:
        raise _checks.error("problem", "rewards (Y,) or (X, Y)", f"shape {reward.shape}")
    return reward, prompt_weights


def covariance(reward: ArrayLike, comparisons: ArrayLike) -> Floats:
    """Large-sample covariance of centred maximum-likelihood rewards: the inverse information.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.
    comparisons : symmetric array ``(..., Y, Y)``: how often i met j.

    Returns
    -------
    array ``(..., Y, Y)``, reward units squared; its rows sum to 0.

    Raises
    ------
    ValueError
        If a comparison graph is disconnected.

    Source: claim T3.

    >>> covariance([0.0, 0.0], [[0, 4], [4, 0]]).round(12).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    information = fisher_information(reward, comparisons)
    _connected("comparisons", np.asarray(comparisons, dtype=np.float64))
    # Adding and removing the mean direction inverts exactly on the rest.
    y = information.shape[-1]
    mean = np.full((y, y), 1.0 / y)
    size = np.trace(information, axis1=-2, axis2=-1)[..., None, None]
    size = np.where(size > 0, size, 1.0)
    return np.asarray(np.linalg.inv(information + size * mean) - mean / size)


class SecondOrder(NamedTuple):
    """What n votes add, to order 1/n, to the large-sample law of maximum-likelihood rewards.

    Attributes
    ----------
    bias : ``lim n E[r^ - r]`` of the centred rewards ``(Y,)``, reward units.
    excess : c in ``E[(r^ - r)^T n I (r^ - r)] / (Y - 1) = 1 + c/n + O(1/n^2)``, a pure number; I is
        the information of one vote.
    """

    bias: Floats
    excess: float


def second_order(reward: ArrayLike, comparisons: ArrayLike) -> SecondOrder:
    """Bias and excess over the bound of maximum-likelihood rewards: their coefficients of 1/n.

    The pairs are drawn at random, as by `preferences.sample_pairs`. The estimate is a function of
    the frequencies of the possible votes. Where these depart from
    their law p by u, it moves by ``d_1 + d_2 + d_3``, terms of degree 1, 2 and 3 in u that follow
    from the likelihood equation. The departure of n votes has mean 0, covariance
    ``sum_a p_a u_a u_a^T / n`` with ``u_a = e_a - p``, third moments of the same form over n^2, and
    to leading order the fourth moments of a Gaussian. So the mean of a form f in u is, for degree
    2, ``sum_a p_a f(u_a) / n``; for degree 3 the same sum over n^2; and for degree 4
    ``sum_ab p_a p_b [f(u_a + u_b) + f(u_a - u_b) - 2 f(u_a) - 2 f(u_b)] / (4 n^2)``.

    Parameters
    ----------
    reward : array ``(Y,)``, reward units, Y >= 2.
    comparisons : symmetric array ``(Y, Y)``: how often i meets j, as a share of the votes; a common
        factor does not matter.

    Returns
    -------
    SecondOrder

    Raises
    ------
    ValueError
        If the comparison graph is disconnected.

    Notes
    -----
    Samples without a finite estimate are left out: their probability falls exponentially with n
    (`chance_of_no_estimate`).

    Source: Cox and Snell 1968 for the bias; claim T3.

    >>> bias, excess = second_order([0.0, 0.0], [[0, 1], [1, 0]])
    >>> bias.tolist(), round(excess, 12)
    ([0.0, 0.0], 2.0)
    """
    r, met = _checks.reward(reward), _checks.wins(comparisons, "comparisons")
    if r.ndim != 1 or len(r) < 2 or met.shape != (len(r), len(r)):
        got = f"{r.shape} and {met.shape}"
        raise _checks.error("reward and comparisons", "shapes (Y,) and (Y, Y), Y >= 2", got)
    _connected("comparisons", met)
    share = 2 * met / met.sum()
    information = fisher_information(r, share)
    winner, loser = np.nonzero(share)
    p = (share * preferences.preference_matrix(r))[winner, loser]

    def inner(a: Floats, b: Floats) -> Floats:
        return np.asarray(np.einsum("...i,ij,...j->...", a, information, b))

    def moves(u: Floats) -> tuple[Floats, Floats, Floats]:
        return _moves(r, covariance(r, share), winner, loser, p, u)

    def quartic(u: Floats) -> Floats:
        first, second, third = moves(u)
        return inner(second, second) + 2 * inner(first, third)

    u = np.eye(len(p)) - p
    first, second, _ = moves(u)
    alone = quartic(u)
    pairs = quartic(u[:, None] + u) + quartic(u[:, None] - u) - 2 * (alone[:, None] + alone)
    excess = (p @ (2 * inner(first, second)) + p @ pairs @ p / 4) / (len(r) - 1)
    return SecondOrder(bias=p @ second, excess=float(excess))


def _moves(
    r: Floats, inverse: Floats, winner: Ints, loser: Ints, p: Floats, u: Floats
) -> tuple[Floats, Floats, Floats]:
    """The terms of degree 1, 2 and 3 in u of how far the estimate moves from p to p + u.

    ``sum_a (p + u)_a x_a sigma(-x_a . (r + d)) = 0`` solved degree by degree for d, where x_a is
    ``e_winner - e_loser``.
    """
    x = np.eye(len(r))[winner] - np.eye(len(r))[loser]
    s = expit(x @ r)
    slope = s * (1 - s)
    curve, third = slope * (1 - 2 * s), slope * (1 - 6 * slope)
    d1 = (u * (1 - s)) @ x @ inverse
    a = d1 @ x.T
    d2 = -(u * slope * a + p * curve * a**2 / 2) @ x @ inverse
    b = d2 @ x.T
    d3 = -(u * (slope * b + curve * a**2 / 2) + p * (curve * a * b + third * a**3 / 6))
    return d1, d2, d3 @ x @ inverse


def standard_errors(covariance_matrix: ArrayLike, baseline: int) -> Floats:
    """Standard errors of the reward differences ``r_i - r_baseline``.

    Parameters
    ----------
    covariance_matrix : array ``(..., Y, Y)``, reward units squared.
    baseline : index of the response all others are compared with.

    Returns
    -------
    array ``(..., Y)``, reward units; zero at the baseline.

    Raises
    ------
    ValueError
        If `covariance_matrix` is not square or `baseline` lies outside it.

    Source: Agresti, Categorical Data Analysis, 2nd ed., sec. 10.6.

    >>> standard_errors([[0.25, -0.25], [-0.25, 0.25]], baseline=0).tolist()
    [0.0, 1.0]
    """
    c = _checks.finite("covariance_matrix", covariance_matrix)
    if c.ndim < 2 or c.shape[-1] != c.shape[-2]:
        raise _checks.error("covariance_matrix", "shape (..., Y, Y)", f"shape {c.shape}")
    if not isinstance(baseline, (int, np.integer)) or not 0 <= baseline < c.shape[-1]:
        raise _checks.error("baseline", f"an index below {c.shape[-1]}", repr(baseline))
    own = np.diagonal(c, axis1=-2, axis2=-1)
    variance = own + own[..., [baseline]] - 2 * c[..., baseline, :]
    variance[..., baseline] = 0.0
    return np.sqrt(variance)


def deviance(reward: ArrayLike, wins: ArrayLike) -> Floats:
    """Goodness of fit ``G^2 = 2 sum_ij wins_ij log(wins_ij / expected_ij)``.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.
    wins : counts ``(..., Y, Y)``.

    Returns
    -------
    array ``(...)``; for a fitted model with every pair compared, close to a chi-square of
    ``(Y-1)(Y-2)/2`` degrees of freedom.

    Source: Agresti, Categorical Data Analysis, 2nd ed., sec. 10.6.

    >>> float(deviance([0.0, np.log(3.0)], [[0, 1], [3, 0]]).round(12))
    0.0
    """
    w = _checks.wins(wins)
    count = w + w.swapaxes(-1, -2)
    saturated = (xlogy(w, w) - xlogy(w, np.where(count > 0, count, 1.0))).sum(axis=(-2, -1))
    return np.asarray(2 * (saturated - preferences.log_likelihood(reward, w)))


def chance_of_no_estimate(reward: ArrayLike, behaviour: ArrayLike, *, size: int) -> float:
    """Union bound on the probability that `size` votes on one prompt have no finite estimate.

    None exists if and only if some group S of responses never loses to the rest, which has
    probability ``(1 - P(one vote is a win of the rest over S))^size``; the bound sums this over the
    groups.

    Parameters
    ----------
    reward : array ``(Y,)``, reward units, Y <= 20.
    behaviour : the sampling policy ``(Y,)``, probabilities.
    size : number of votes N >= 1.

    Returns
    -------
    a bound on the probability; above 1 it says nothing.

    Source: Ford 1957; claim L4.

    >>> round(chance_of_no_estimate([0.0, 0.0], [0.5, 0.5], size=3), 12)
    0.25
    """
    n = _checks.positive_int("size", size)
    law = preferences.expected_wins(reward, behaviour)
    if law.shape[0] != 1 or law.shape[-1] > 20:
        raise _checks.error("reward", "shape (Y,) with Y <= 20", f"{law.shape[:2]}")
    everyone = range(law.shape[-1])
    groups = (s for k in everyone[1:] for s in combinations(everyone, k))
    return float(sum((1 - np.delete(law[0], s, axis=0)[:, s].sum()) ** n for s in groups))
