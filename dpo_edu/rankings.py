"""Votes on more than two: rankings, best first, as Plackett and Luce have them.

    P(tau) = prod_k exp(r_tau(k)) / sum_{j >= k} exp(r_tau(j))

The best is chosen by the softmax of the rewards, then the best of the rest, and so on; rankings of
K = 2 responses are the votes of `preferences`.

An argument that is not as documented, or does not fit the others, is a ValueError.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_expit

from dpo_edu import _checks, _estimate
from dpo_edu._checks import Floats, Ints


def _rankings(name: str, value: ArrayLike, responses: int) -> Ints:
    """Rankings ``(..., K)``, best first: K >= 2 different responses below `responses`."""
    expected = "whole numbers >= 0, shape (..., K) with K >= 2"
    try:
        found = np.asarray(value)
    except ValueError:
        raise _checks.error(name, expected, "rows of different lengths") from None
    if found.size == 0:
        raise _checks.error(name, "at least one ranking", "none")
    if found.ndim == 0 or found.shape[-1] < 2 or found.dtype.kind not in "iu" or (found < 0).any():
        raise _checks.error(name, expected, f"{found!r:.60}")
    if found.max() >= responses:
        raise _checks.error(name, f"responses < {responses}", f"response {found.max()}")
    ordered = np.sort(found, axis=-1)
    if (twice := ordered[..., 1:] == ordered[..., :-1]).any():
        got = f"response {ordered[..., 1:][twice][0]} twice"
        raise _checks.error(name, "different responses in a ranking", got)
    return found.astype(np.int64)


def _log_rest(score: Floats) -> Floats:
    """``log sum_{j >= k} exp(score_j)`` at each place k: all that is left to choose from."""
    return np.asarray(np.logaddexp.accumulate(score[..., ::-1], axis=-1)[..., ::-1])


def ranking_log_probability(reward: ArrayLike, rankings: ArrayLike) -> Floats:
    """Plackett-Luce: log-probability that K responses are ranked just so.

    ``log P(tau) = sum_k [r_tau(k) - log sum_{j >= k} exp(r_tau(j))]``, where tau(1) is the best.
    Each term is a Bradley-Terry vote of tau(k) against all that follow it together.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units; for rankings at N prompts, ``reward[prompt]``.
    rankings : ints ``(..., K)``, different responses, best first, 2 <= K <= Y.

    Returns
    -------
    array ``(...)``, nats.

    Source: Luce 1959, Plackett 1975; Rafailov et al. 2023, appendix A.3; claims P5 and P6.

    >>> np.exp(ranking_log_probability([0.0, 0.0, np.log(2.0)], [[2, 0, 1], [0, 1, 2]])).round(12)
    array([0.25      , 0.08333333])
    """
    r = _checks.reward(reward)
    places = _rankings("rankings", rankings, r.shape[-1])
    try:
        shape = np.broadcast_shapes(r.shape[:-1], places.shape[:-1])
    except ValueError:
        got = f"reward {r.shape} and rankings {places.shape}"
        raise _checks.error("reward and rankings", "shapes that fit", got) from None
    r = np.broadcast_to(r, (*shape, r.shape[-1]))
    score = np.take_along_axis(r, np.broadcast_to(places, (*shape, places.shape[-1])), axis=-1)
    return np.asarray(log_expit(score[..., :-1] - _log_rest(score)[..., 1:]).sum(axis=-1))


def sample_rankings(
    reward: ArrayLike, *, size: int, rng: np.random.Generator, among: ArrayLike | None = None
) -> Ints:
    """Draw Plackett-Luce rankings: responses in the order of reward plus Gumbel noise.

    Parameters
    ----------
    reward : array ``(Y,)``, reward units.
    size : number of rankings N >= 1.
    rng : a ``numpy.random.Generator``.
    among : ints ``(K,)``, the responses that are ranked; all if None.

    Returns
    -------
    ints ``(N, K)``, best first.

    Source: Yellott 1977 (the noise); claim P5.

    >>> sample_rankings([1000.0, 0.0, 9e9], size=1, rng=np.random.default_rng(0)).tolist()
    [[2, 0, 1]]
    """
    r = _checks.reward(reward)
    if r.ndim != 1:
        raise _checks.error("reward", "shape (Y,)", f"shape {r.shape}")
    shown = _rankings("among", np.arange(len(r)) if among is None else among, len(r))
    if shown.ndim != 1:
        raise _checks.error("among", "shape (K,)", f"shape {shown.shape}")
    n = _checks.positive_int("size", size)
    _checks.generator(rng)
    impressions = r[shown] + rng.gumbel(size=(n, len(shown)))
    return np.asarray(shown[np.argsort(-impressions, axis=-1)], dtype=np.int64)


def fit_plackett_luce(
    rankings: ArrayLike, responses: int, *, counts: ArrayLike | None = None
) -> Floats:
    """Maximum-likelihood rewards for rankings of one prompt's responses.

    The damped Newton steps of `preferences.fit_bradley_terry`, whose bound on the third derivative
    holds for a choice among many too. With K = 2 the rewards are the same.

    Parameters
    ----------
    rankings : ints ``(N, K)``, different responses, best first; all may rank other responses.
    responses : the number Y of responses.
    counts : how often each ranking was given, ``(N,)``, >= 0; once if None. A population is the
        array of probabilities.

    Returns
    -------
    array ``(Y,)``, reward units, summing to 0.

    Raises
    ------
    ValueError
        If no finite estimate exists: some group of responses was never ranked with, or never
        below, the rest.
    ArithmeticError
        If the counts span so many orders of magnitude that float64 cannot resolve the estimate.

    Source: Hunter 2004 (existence: Assumption 1); claim P6.

    >>> fit_plackett_luce([[0, 1, 2], [2, 0, 1], [1, 2, 0]], 3).round(12).tolist()
    [0.0, 0.0, 0.0]
    """
    y = _checks.positive_int("responses", responses)
    places = _rankings("rankings", rankings, y)
    if places.ndim != 2:
        raise _checks.error("rankings", "shape (N, K)", f"shape {places.shape}")
    times = np.ones(len(places)) if counts is None else _checks.finite("counts", counts)
    if times.shape != (len(places),) or (times < 0).any() or not times.any():
        got = f"shape {times.shape}, smallest {times.min()}, largest {times.max()}"
        raise _checks.error("counts", f"shape ({len(places)},), none < 0, one > 0", got)
    kinds, which = np.unique(places[times > 0], axis=0, return_inverse=True)
    weights = np.bincount(which.ravel(), times[times > 0] / times.max())
    later = np.triu(np.ones((kinds.shape[1],) * 2, dtype=bool), 1)
    above, below = np.nonzero(later)
    wins = np.zeros((y, y))
    wins[kinds[:, above], kinds[:, below]] = 1.0
    _estimate.refuse_without_estimate(wins, "rankings")

    def by_responses(by_places: Floats) -> Floats:
        """Add up, weighted, what was found by places in the rankings, ``(N, K, K)``."""
        found = np.zeros((y, y))
        weighted = weights[:, None, None] * by_places
        np.add.at(found, (kinds[:, :, None], kinds[:, None, :]), weighted)
        return found

    def pair_by_pair(reward: Floats) -> tuple[Floats, Floats]:
        score = reward[0, kinds]
        logs = score[:, None, :] - _log_rest(score)[:, :, None]
        chance = np.exp(np.where(later.T, -np.inf, logs))  # (N, K, K): at place k, of what follows
        variance = np.einsum("nki,nkj->nij", chance, chance) * (later | later.T)
        return by_responses(chance * later)[None], by_responses(variance)[None]

    return np.asarray(_estimate.newton(pair_by_pair, np.zeros((1, y)), "fit_plackett_luce")[0])
