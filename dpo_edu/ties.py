"""Votes that may end in a tie: Rao and Kupper's model, Davidson's, and maximum likelihood.

Ties are counted in an array of their own, ``(X, Y, Y)`` beside that of wins, in which each stands
twice, at ``[i, j]`` and ``[j, i]``.

An argument that is not as documented, or does not fit the others, is a ValueError.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import NegativeCycleError, floyd_warshall, laplacian
from scipy.special import expit, log_expit

from dpo_edu import _checks, _estimate, preferences
from dpo_edu._checks import Floats


def _tie_parameter(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """Numbers >= 0, one for each prompt, with two axes more for the pairs."""
    found = np.asarray(value, dtype=np.float64)
    if not np.isfinite(found).all() or (found < 0).any():
        raise _checks.error(name, "finite numbers >= 0", f"{value!r:.60}")
    try:
        return np.broadcast_to(found, shape)[..., None, None]
    except ValueError:
        raise _checks.error(name, f"a number or shape {shape}", f"shape {found.shape}") from None


def rao_kupper(reward: ArrayLike, threshold: ArrayLike) -> tuple[Floats, Floats]:
    """Votes with ties: a lead counts only if it is larger than a threshold.

    ``P(i beats j) = sigma(r_i - r_j - eta)``, and a tie is the rest. At ``eta = 0`` there are no
    ties and the model is Bradley-Terry.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.
    threshold : eta >= 0, a number or an array ``(...)``, reward units; ``exp(eta)`` is the theta of
        the source.

    Returns
    -------
    two arrays ``(..., Y, Y)``, probabilities: that the row beats the column, and that they tie.

    Source: Rao and Kupper 1967; claim V3.

    >>> win, tie = rao_kupper([0.0, 0.0], np.log(3.0))
    >>> win[0, 1].round(12), tie[0, 1].round(12)
    (np.float64(0.25), np.float64(0.5))
    """
    r = _checks.reward(reward)
    eta = _tie_parameter("threshold", threshold, r.shape[:-1])
    lead = r[..., :, None] - r[..., None, :]
    tie = -np.expm1(-2 * eta) * expit(eta + np.abs(lead)) * expit(eta - np.abs(lead))
    return np.asarray(expit(lead - eta)), np.asarray(tie)


def davidson(reward: ArrayLike, prevalence: ArrayLike) -> tuple[Floats, Floats]:
    """Votes with ties: a tie is a third candidate, as strong as the geometric mean of the two.

    ``P(i beats j) : P(j beats i) : P(tie) = e^(r_i) : e^(r_j) : nu e^((r_i + r_j)/2)``. At
    ``nu = 0`` there are no ties and the model is Bradley-Terry.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.
    prevalence : nu >= 0, a number or an array ``(...)``: between equals, ties for each win of
        one side.

    Returns
    -------
    two arrays ``(..., Y, Y)``, probabilities: that the row beats the column, and that they tie.

    Source: Davidson 1970; claim V3.

    >>> win, tie = davidson([0.0, 0.0], 2.0)
    >>> win[0, 1].round(12), tie[0, 1].round(12)
    (np.float64(0.25), np.float64(0.5))
    """
    r = _checks.reward(reward)
    nu = _tie_parameter("prevalence", prevalence, r.shape[:-1])
    lead = r[..., :, None] - r[..., None, :]
    # Divided by the larger of the two strengths, so that nothing overflows.
    worse, between = np.exp(-np.abs(lead)), nu * np.exp(-np.abs(lead) / 2)
    total = 1 + worse + between
    return np.asarray(np.where(lead >= 0, 1, worse) / total), np.asarray(between / total)


class FitWithTies(NamedTuple):
    """Rewards and a tie parameter estimated together, and how sure they are.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units, each row summing to 0.
    tie : array ``(...)``, the tie parameter.
    covariance : array ``(..., Y + 1, Y + 1)``, the inverse of the observed information; the last
        row and column are those of `tie`, NaN where there was no tie.

    Source: `fit_rao_kupper` and `fit_davidson`.

    >>> fit = fit_davidson([[0, 1], [4, 0]], [[0, 4], [4, 0]])
    >>> np.sqrt(np.diagonal(fit.covariance)).round(2).tolist()
    [0.56, 0.56, 1.5]
    """

    reward: Floats
    tie: Floats
    covariance: Floats


def fit_rao_kupper(wins: ArrayLike, ties: ArrayLike) -> FitWithTies:
    """Maximum-likelihood rewards and threshold of the Rao-Kupper model.

    A tie says that neither side was ahead by the threshold. So, with m = wins + ties, the
    log-likelihood is ``sum_ij m_ij log sigma(r_i - r_j - eta) + T log(e^(2 eta) - 1)``, T ties
    together: Bradley-Terry with a handicap, a tie being a whole win for either. It is concave, and
    Newton steps, halved as long as they would lower it, find its maximum. Where there are no ties
    that is ``eta = 0`` and the rewards of `preferences.fit_bradley_terry`.

    Parameters
    ----------
    wins : counts ``(..., Y, Y)``, row beat column; each leading index is fitted on its own.
    ties : symmetric counts ``(..., Y, Y)``; each tie stands twice.

    Returns
    -------
    FitWithTies, its `tie` being the threshold eta, reward units.

    Raises
    ------
    ValueError
        If `ties` does not fit `wins` or is not symmetric, or no finite estimate exists: the
        comparison graph is disconnected, a group of responses never lost and never tied to the
        rest, or in no round trip from each response to one that it beat or tied are there more
        wins than ties.
    ArithmeticError
        If the counts span so many orders of magnitude that float64 cannot resolve the estimate.

    Source: Rao and Kupper 1967; claim V3.

    >>> fit = fit_rao_kupper([[0, 1], [1, 0]], [[0, 2], [2, 0]])
    >>> fit.reward.tolist(), float(np.exp(fit.tie).round(12))
    ([0.0, 0.0], 3.0)
    """
    return _fit(wins, ties, _rao_kupper_likelihood, 0.0, "fit_rao_kupper")


def fit_davidson(wins: ArrayLike, ties: ArrayLike) -> FitWithTies:
    """Maximum-likelihood rewards and tie prevalence of the Davidson model.

    An exponential family: at the maximum every response has as many wins and half-ties as
    expected, and there are as many ties. Found by Newton steps on the rewards and log nu, halved as
    long as they would lower the likelihood. Where there are no ties ``nu = 0`` and the rewards are
    those of `preferences.fit_bradley_terry`.

    Parameters
    ----------
    wins : counts ``(..., Y, Y)``, row beat column; each leading index is fitted on its own.
    ties : symmetric counts ``(..., Y, Y)``; each tie stands twice.

    Returns
    -------
    FitWithTies, its `tie` being nu: between equals, ties for each win of one side.

    Raises
    ------
    ValueError
        As for `fit_rao_kupper`.
    ArithmeticError
        As for `fit_rao_kupper`.

    Source: Davidson 1970; claim V3.

    >>> fit = fit_davidson([[0, 1], [4, 0]], [[0, 4], [4, 0]])
    >>> np.exp(np.diff(fit.reward)).round(12), float(fit.tie.round(12))
    (array([4.]), 2.0)
    """
    fit = _fit(wins, ties, _davidson_likelihood, -np.inf, "fit_davidson")
    nu = np.exp(fit.tie)
    scale = np.concatenate([np.ones_like(fit.reward), nu[..., None]], axis=-1)
    covariance = fit.covariance * scale[..., :, None] * scale[..., None, :]
    return FitWithTies(fit.reward, nu, covariance)


# At rewards (Y,) and a tie parameter: log-likelihood, slope (Y + 1,), information (Y + 1, Y + 1).
LikelihoodWithTies = Callable[[Floats, float], tuple[float, Floats, Floats]]


def _information(weight: Floats, cross: Floats, corner: float) -> Floats:
    """The Laplacian of pair weights, bordered by what the tie parameter has to do with it."""
    rewards = laplacian(weight)
    return np.block([[rewards, cross[:, None]], [cross[None, :], np.array([[corner]])]])


def _rao_kupper_likelihood(wins: Floats, ties: Floats) -> LikelihoodWithTies:
    not_lost, tied = wins + ties, ties.sum() / 2

    def at(reward: Floats, eta: float) -> tuple[float, Floats, Floats]:
        lead = reward[:, None] - reward - eta
        surprise = not_lost * expit(-lead)
        weight = surprise * expit(lead)
        rest = -np.expm1(-2 * eta)
        value = (not_lost * log_expit(lead)).sum() + tied * (2 * eta + np.log(rest))
        slope = np.append((surprise - surprise.T).sum(axis=-1), 2 * tied / rest - surprise.sum())
        corner = weight.sum() + tied * 4 * np.exp(-2 * eta) / rest**2
        return (
            value,
            slope,
            _information(weight + weight.T, (weight.T - weight).sum(axis=-1), corner),
        )

    return at


def _davidson_likelihood(wins: Floats, ties: Floats) -> LikelihoodWithTies:
    count = wins + wins.T + ties

    def at(reward: Floats, log_nu: float) -> tuple[float, Floats, Floats]:
        half = (reward[:, None] - reward) / 2
        total = np.logaddexp(np.logaddexp(half, -half), log_nu)
        p, t = np.exp(half - total), np.exp(log_nu - total)
        value = (wins * (half - total)).sum() + (ties * (log_nu - total)).sum() / 2
        # Observed less expected wins and half-ties, pair by pair, in the chance of the opposite.
        surprise = wins * (p.T + t / 2) + ties * p.T / 2
        excess = ties * (p + p.T) - (wins + wins.T) * t
        slope = np.append((surprise - surprise.T).sum(axis=-1), excess.sum() / 2)
        cross = (count * t * (p.T - p)).sum(axis=-1) / 2
        corner = (count * t * (p + p.T)).sum() / 2
        return value, slope, _information(count * (p * p.T + t * (p + p.T) / 4), cross, corner)

    return at


def _refuse_without_estimate(wins: Floats, ties: Floats, name: str) -> None:
    """Say why one prompt's votes have no finite estimate with ties, if they have none."""
    _estimate.refuse_without_estimate(wins + ties, name)
    if not ties.any():
        return
    # Rewards a with a_i - a_j >= 1 for a win, |a_i - a_j| <= 1 for a tie: more of them, for ever.
    # They exist unless a round trip of wins (length -1) and ties (length 1) has negative length.
    try:
        floyd_warshall(np.where(wins > 0, -1.0, np.where(ties > 0, 1.0, 0.0)))
    except NegativeCycleError:
        return
    expected = "a round trip, to a response beaten or tied at each step, with more wins than ties"
    raise _checks.error(name, expected, "none: no finite estimate exists")


def _fit(
    wins: ArrayLike,
    ties: ArrayLike,
    likelihood: Callable[[Floats, Floats], LikelihoodWithTies],
    lowest: float,
    name: str,
) -> FitWithTies:
    """Each prompt's estimate; `lowest` is the tie parameter where there are no ties."""
    w, t = _checks.wins(wins), _checks.wins(ties, "ties")
    if t.shape != w.shape:
        raise _checks.error("ties", f"shape {w.shape}", f"shape {t.shape}")
    if (t != t.swapaxes(-1, -2)).any():
        raise _checks.error("ties", "a symmetric array", "an asymmetric one")
    y = w.shape[-1]
    flat_wins, flat_ties = w.reshape(-1, y, y), t.reshape(-1, y, y)
    reward, tie = np.zeros((len(flat_wins), y)), np.full(len(flat_wins), lowest)
    covariance = np.zeros((len(flat_wins), y + 1, y + 1))
    for x, (won, tied) in enumerate(zip(flat_wins, flat_ties, strict=True)):
        at = f" at index {x}" if w.ndim > 2 else ""
        _refuse_without_estimate(won, tied, f"wins and ties{at}")
        largest = max(won.max(), tied.max()) or 1.0
        found = _estimate_of_one(won / largest, tied / largest, likelihood, lowest, name)
        reward[x], tie[x], information = found
        regular, rest = _regular(information)
        covariance[x] = (np.linalg.inv(regular) - rest) / largest
        if not tied.any():
            covariance[x, y, :] = covariance[x, :, y] = np.nan
    shape = w.shape[:-2]
    return FitWithTies(
        reward.reshape(*shape, y), tie.reshape(shape), covariance.reshape(*shape, y + 1, y + 1)
    )


def _estimate_of_one(
    wins: Floats,
    ties: Floats,
    likelihood: Callable[[Floats, Floats], LikelihoodWithTies],
    lowest: float,
    name: str,
) -> tuple[Floats, float, Floats]:
    """Rewards, tie parameter and information for one prompt's counts, none above 1."""
    if ties.any():
        # Either model's tie parameter if all were equals.
        odds = ties.sum() / wins.sum()
        start = np.log1p(odds) if lowest == 0 else np.log(odds)
        return _newton(likelihood(wins, ties), len(wins), start, lowest, name)
    reward = preferences.fit_bradley_terry(wins)
    p = preferences.preference_matrix(reward)
    weight = (wins + wins.T) * p * p.T
    return reward, lowest, _information(weight, np.zeros(len(wins)), 1.0)


def _regular(information: Floats) -> tuple[Floats, Floats]:
    """With curvature along the all-ones direction of the rewards; and the inverse of that alone."""
    ones = np.zeros_like(information)
    ones[:-1, :-1] = 1 / (len(information) - 1)
    size = np.trace(information)
    return information + size * ones, ones / size


def _newton(
    likelihood: LikelihoodWithTies, responses: int, tie: float, lowest: float, name: str
) -> tuple[Floats, float, Floats]:
    """Newton from equal rewards; steps that would leave the domain or go down are halved."""
    unresolved = f"{name}: the counts differ too much for float64 to resolve"
    reward, last = np.zeros(responses), np.inf
    value, slope, information = likelihood(reward, tie)
    for _ in range(500):
        try:
            step = np.linalg.solve(_regular(information)[0], slope)
        except np.linalg.LinAlgError:
            raise ArithmeticError(unresolved) from None
        step[:-1] -= step[:-1].mean()
        size, length = np.abs(step).max(), 1.0
        least = value - 1e-12 * abs(value)  # less than this is down, whatever the rounding
        while tie + length * step[-1] <= lowest or not (
            (new := likelihood(reward + length * step[:-1], tie + length * step[-1]))[0] >= least
        ):
            length /= 2
        reward, tie = reward + length * step[:-1], tie + length * step[-1]
        value, slope, information = new
        # As in `_estimate.newton`: near the maximum a step squares the error until it is rounding.
        if size <= 1e-12 or last <= size < 1e-6:
            break
        last = size
    regular = _regular(information)[0]
    scale = np.sqrt(np.diagonal(regular))
    if not size < 1e-6 or np.linalg.cond(regular / scale[:, None] / scale) > 1e12:
        raise ArithmeticError(unresolved)
    return reward, tie, information
