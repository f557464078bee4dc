"""From rewards to votes and back: Bradley-Terry, sampling, counting, maximum likelihood.

    P(i beats j) = sigma(r_i - r_j)

Votes are counts: a win array ``(X, Y, Y)`` holds how often the row beat the column. Real-valued
counts are legal everywhere (a tie may be half a win each way; a population is the array of
probabilities).

A vote may be a tie. Ties are counted in an array of their own, in which each stands twice, at
``[i, j]`` and ``[j, i]``; Rao-Kupper and Davidson say how probable they are.

A vote on K responses is a ranking, best first. Plackett and Luce choose the best by the softmax of
the rewards, then the best of the rest, and so on; pairs are the case K = 2."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import (
    NegativeCycleError,
    connected_components,
    floyd_warshall,
    laplacian,
)
from scipy.special import expit, log_expit

from dpo_edu import _checks
from dpo_edu._checks import Floats, Ints


@dataclass(frozen=True, eq=False)
class PreferencePairs:
    """N votes: at `prompt`, response `chosen` was preferred to response `rejected`.

    Parameters
    ----------
    prompt, chosen, rejected : int arrays ``(N,)``, indices >= 0, N >= 1.

    Raises
    ------
    ValueError
        If the arrays differ in length, are empty, hold no whole numbers >= 0, or a vote compares a
        response with itself.

    Source: the data set D of source A, part 4.

    >>> len(PreferencePairs(prompt=[0, 0], chosen=[1, 2], rejected=[0, 1]))
    2
    """

    prompt: Ints
    chosen: Ints
    rejected: Ints

    def __post_init__(self) -> None:
        for name in ("prompt", "chosen", "rejected"):
            value = np.asarray(getattr(self, name))
            if value.size == 0:
                raise _checks.error(name, "at least one vote", "none")
            if value.ndim != 1 or value.dtype.kind not in "iu" or (value < 0).any():
                raise _checks.error(name, "whole numbers >= 0, shape (N,)", f"{value!r:.60}")
            object.__setattr__(self, name, value.astype(np.int64))
        lengths = (len(self.prompt), len(self.chosen), len(self.rejected))
        if len(set(lengths)) > 1:
            got = f"lengths {lengths}"
            raise _checks.error("prompt, chosen, rejected", "one common length N", got)
        if (self.chosen == self.rejected).any():
            at = int(np.argmax(self.chosen == self.rejected))
            raise _checks.error("rejected", "a response other than chosen", f"both equal at {at}")

    def __len__(self) -> int:
        """Number of votes N."""
        return len(self.prompt)


def preference_matrix(reward: ArrayLike) -> Floats:
    """Bradley-Terry probabilities ``P[i, j] = sigma(r_i - r_j)`` that the row beats the column.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.

    Returns
    -------
    array ``(..., Y, Y)``, probabilities; ``P + P^T = 1``, 1/2 on the diagonal.

    Raises
    ------
    ValueError
        If a reward is not finite.

    Source: Bradley and Terry 1952; claim P1.

    >>> preference_matrix([0.0, np.log(3.0)])[1].round(12).tolist()
    [0.75, 0.5]
    """
    r = _checks.reward(reward)
    return np.asarray(expit(r[..., :, None] - r[..., None, :]), dtype=np.float64)


def pair_distribution(behaviour: ArrayLike, prompt_weights: ArrayLike | None = None) -> Floats:
    """How often each ordered pair of distinct responses is put to the vote.

    Two independent draws from `behaviour`, conditioned on being different:
    ``mu[x, i, j] = w_x b_i b_j / (1 - sum_k b_k^2)`` for ``i != j``, zero on the diagonal.

    Parameters
    ----------
    behaviour : the sampling policy ``(Y,)`` or ``(X, Y)``, probabilities.
    prompt_weights : probabilities ``(X,)``; uniform if None.

    Returns
    -------
    array ``(X, Y, Y)``, probabilities summing to 1 over everything.

    Raises
    ------
    ValueError
        If an argument is not of that form, or one response has all the mass.

    Source: the sampling law of claim T3.

    >>> pair_distribution([0.5, 0.5]).tolist()
    [[[0.0, 0.5], [0.5, 0.0]]]
    """
    b = np.atleast_2d(_checks.policy("behaviour", behaviour))
    if b.ndim != 2:
        raise _checks.error("behaviour", "shape (Y,) or (X, Y)", f"shape {b.shape}")
    weights = _checks.weights("prompt_weights", prompt_weights, len(b))
    joint = b[:, :, None] * b[:, None, :] * (1 - np.eye(b.shape[-1]))
    total = joint.sum(axis=(-2, -1), keepdims=True)
    if not (total > 0).all():
        raise _checks.error("behaviour", "mass on two responses or more", "all mass on one")
    return np.asarray(weights[:, None, None] * joint / total, dtype=np.float64)


def expected_wins(
    reward: ArrayLike, behaviour: ArrayLike, *, prompt_weights: ArrayLike | None = None
) -> Floats:
    """The population of votes: the probability of each (winner, loser) in one vote.

    ``(mu[x, i, j] + mu[x, j, i]) sigma(r_i - r_j)`` with mu from `pair_distribution`.

    Parameters
    ----------
    reward : array ``(Y,)`` or ``(X, Y)``, reward units.
    behaviour : the sampling policy ``(Y,)`` or ``(X, Y)``, probabilities.
    prompt_weights : probabilities ``(X,)``; uniform if None.

    Returns
    -------
    array ``(X, Y, Y)``, probabilities summing to 1: a win array for `training.train_dpo`.

    Raises
    ------
    ValueError
        If an argument is not of that form.

    Source: the population loss of claim L4.

    >>> expected_wins([0.0, np.log(3.0)], [0.5, 0.5]).round(12).tolist()
    [[[0.0, 0.25], [0.75, 0.0]]]
    """
    r, b = (
        np.atleast_2d(_checks.reward(reward)),
        np.atleast_2d(_checks.policy("behaviour", behaviour)),
    )
    shape = _checks.fits(reward=r, behaviour=b)
    mu = pair_distribution(np.broadcast_to(b, shape), prompt_weights)
    return np.asarray((mu + mu.swapaxes(-1, -2)) * preference_matrix(r), dtype=np.float64)


def sample_pairs(
    reward: ArrayLike,
    behaviour: ArrayLike,
    *,
    size: int,
    rng: np.random.Generator,
    prompt_weights: ArrayLike | None = None,
) -> PreferencePairs:
    """Draw votes: a prompt, two different responses from `behaviour`, a Bradley-Terry verdict.

    Parameters
    ----------
    reward : array ``(Y,)`` or ``(X, Y)``, reward units.
    behaviour : the sampling policy ``(Y,)`` or ``(X, Y)``, probabilities.
    size : number of votes N >= 1.
    rng : a ``numpy.random.Generator``.
    prompt_weights : probabilities ``(X,)``; uniform if None.

    Returns
    -------
    PreferencePairs of length N.

    Raises
    ------
    ValueError
        If an argument is not of that form.

    Source: claim T3.

    >>> pairs = sample_pairs([0.0, 1.0], [0.5, 0.5], size=100, rng=np.random.default_rng(0))
    >>> len(pairs), count_wins(pairs, (1, 2)).sum()
    (100, np.float64(100.0))
    """
    law = expected_wins(reward, behaviour, prompt_weights=prompt_weights)
    n = _checks.positive_int("size", size)
    if not isinstance(rng, np.random.Generator):
        raise _checks.error("rng", "a numpy.random.Generator", type(rng).__name__)
    cumulative = np.cumsum(law)
    # Scaled by the last entry, not by 1: rounding must not let a draw fall past the end.
    flat = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    return PreferencePairs(*np.unravel_index(flat, law.shape))


def count_wins(pairs: PreferencePairs, shape: tuple[int, int]) -> Floats:
    """Count the votes: how often the row beat the column at each prompt.

    Parameters
    ----------
    pairs : PreferencePairs of length N.
    shape : ``(X, Y)``, the numbers of prompts and responses.

    Returns
    -------
    array ``(X, Y, Y)`` of counts summing to N.

    Raises
    ------
    ValueError
        If a prompt or a response lies outside `shape`.

    Source: the sufficient statistic of the Bradley-Terry model (Ford 1957).

    >>> count_wins(PreferencePairs([0, 0], [1, 1], [0, 0]), (1, 2)).tolist()
    [[[0.0, 0.0], [2.0, 0.0]]]
    """
    if len(shape) != 2:
        raise _checks.error("shape", "(X, Y)", repr(shape))
    prompts, responses = (_checks.positive_int("shape", side) for side in shape)
    top = max(pairs.chosen.max(), pairs.rejected.max())
    if pairs.prompt.max() >= prompts or top >= responses:
        got = f"prompt {pairs.prompt.max()} and response {top}"
        raise _checks.error("pairs", f"prompts < {prompts} and responses < {responses}", got)
    index = (pairs.prompt * responses + pairs.chosen) * responses + pairs.rejected
    counts = np.bincount(index, minlength=prompts * responses**2)
    return counts.reshape(prompts, responses, responses).astype(np.float64)


def log_likelihood(reward: ArrayLike, wins: ArrayLike) -> Floats:
    """Bradley-Terry log-likelihood ``sum_ij wins[i, j] log sigma(r_i - r_j)``.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.
    wins : counts ``(..., Y, Y)``.

    Returns
    -------
    array ``(...)``, nats.

    Raises
    ------
    ValueError
        If an argument is not of that form.

    Source: claim L1.

    >>> bool(np.isclose(log_likelihood([0.0, 0.0], [[0, 1], [2, 0]]), 3 * np.log(0.5)))
    True
    """
    r, w = _checks.reward(reward), _checks.wins(wins)
    _checks.fits(reward=r, wins=w[..., 0])
    log_p = log_expit(r[..., :, None] - r[..., None, :])
    return np.asarray((w * log_p).sum(axis=(-2, -1)), dtype=np.float64)


def components(wins: ArrayLike, *, strong: bool = False) -> list[list[int]]:
    """Components of one prompt's comparison graph, or with `strong` of its win graph.

    Within a component rewards can be compared. A finite maximum-likelihood estimate exists only if
    the win graph is strongly connected: no group of responses that never loses to the rest.

    Parameters
    ----------
    wins : counts ``(Y, Y)``.
    strong : follow wins in their direction only.

    Returns
    -------
    lists of response indices, each sorted, in the order of their first member.

    Raises
    ------
    ValueError
        If `wins` is not of that form.

    Source: Ford 1957; claim L4.

    >>> components([[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    [[0, 1], [2]]
    """
    w = _checks.wins(wins)
    if w.ndim != 2:
        raise _checks.error("wins", "shape (Y, Y)", f"shape {w.shape}")
    _, label = connected_components(w > 0, directed=True, connection="strong" if strong else "weak")
    groups = [np.flatnonzero(label == k).tolist() for k in range(label.max() + 1)]
    return sorted(groups)


def _refuse_without_estimate(wins: Floats, name: str) -> None:
    """Say why one prompt's votes have no finite maximum-likelihood rewards, if they have none."""
    parts = components(wins)
    if len(parts) > 1:
        got = " and ".join(f"{part}" for part in parts[:6]) + (" ..." if len(parts) > 6 else "")
        raise _checks.error(name, "a connected comparison graph", f"components {got}")
    groups = components(wins, strong=True)
    if len(groups) > 1:
        unbeaten = next(g for g in groups if not np.delete(wins, g, axis=0)[:, g].any())
        expected = "votes in which every group of responses loses at least once to the rest"
        got = f"responses {unbeaten} that never lost to the others: no finite estimate exists"
        raise _checks.error(name, expected, got)


def fit_bradley_terry(wins: ArrayLike) -> Floats:
    """Maximum-likelihood Bradley-Terry rewards.

    Solves "expected wins = observed wins", ``sum_j n_ij sigma(r_i - r_j) = sum_j wins_ij``, by
    Newton steps shortened by ``log(1 + d)/d``, where d is the largest change a step makes to a
    reward difference: for the logistic likelihood this damping always increases the likelihood (Sun
    and Tran-Dinh 2019), so no line search is needed.

    Parameters
    ----------
    wins : counts ``(..., Y, Y)``, row beat column; each leading index is fitted on its own.

    Returns
    -------
    array ``(..., Y)``, reward units, each row summing to 0.

    Raises
    ------
    ValueError
        If a comparison graph is disconnected (naming the components) or the votes are separable
        (naming the responses that never lost): no finite estimate exists.
    ArithmeticError
        If the counts span so many orders of magnitude that float64 cannot resolve the estimate.

    Source: Ford 1957 (existence), Zermelo 1929 (the equations); claim V1.

    >>> fit_bradley_terry([[0, 1], [3, 0]]).round(6).tolist()
    [-0.549306, 0.549306]
    """
    w = _checks.wins(wins)
    flat = w.reshape(-1, *w.shape[-2:])
    # Where every response beat every other the win graph is surely strongly connected.
    complete = (flat + np.eye(w.shape[-1]) > 0).all(axis=(-2, -1))
    for x in np.flatnonzero(~complete):
        _refuse_without_estimate(flat[x], f"wins at index {x}" if len(flat) > 1 else "wins")
    if flat.shape[-1] == 1 or len(flat) == 0:
        return np.zeros(w.shape[:-1])
    largest = flat.max(axis=(-2, -1), keepdims=True)
    found = _newton(_votes(flat / largest), flat.shape[:-1], "fit_bradley_terry")
    return found.reshape(w.shape[:-1])


# At rewards (B, Y), pair by pair (B, Y, Y): wins times the chance of a loss, and the variance.
PairByPair = Callable[[Floats], tuple[Floats, Floats]]


def _votes(wins: Floats) -> PairByPair:
    count = wins + wins.swapaxes(-1, -2)

    def pair_by_pair(reward: Floats) -> tuple[Floats, Floats]:
        p = preference_matrix(reward)
        # Observed minus expected wins, pair by pair: the difference of the sums would lose digits.
        surprise = wins * p.swapaxes(-1, -2)
        return surprise, count * p * p.swapaxes(-1, -2)

    return pair_by_pair


def _newton(pair_by_pair: PairByPair, shape: tuple[int, ...], name: str) -> Floats:
    """Damped Newton on rewards of shape ``(B, Y)`` from zero."""
    unresolved = f"{name}: the counts differ too much for float64 to resolve"
    eye, gauge = np.eye(shape[-1]), 1.0 / shape[-1]
    reward, last = np.zeros(shape), np.inf
    for _ in range(2000):  # about 1.5 for each nat of the largest reward difference
        surprise, weight = pair_by_pair(reward)
        slope = (surprise - surprise.swapaxes(-1, -2)).sum(axis=-1)
        information = eye * weight.sum(axis=-1)[..., None] - weight
        # The all-ones direction moves no difference; any curvature there makes the system regular.
        curvature = information + gauge * np.trace(information, axis1=-2, axis2=-1)[..., None, None]
        try:
            step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        except np.linalg.LinAlgError:
            raise ArithmeticError(unresolved) from None
        change = np.ptp(step, axis=-1, keepdims=True)
        reward += step * np.where(change > 0, np.log1p(change) / np.where(change > 0, change, 1), 1)
        reward -= reward.mean(axis=-1, keepdims=True)
        # Under 1e-6 a step squares the error; one that is no smaller than the last is rounding.
        if change.max() <= 1e-12 or last <= change.max() < 1e-6:
            break
        last = change.max()
    if not change.max() < 1e-6:
        raise ArithmeticError(unresolved)
    return reward


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

    Raises
    ------
    ValueError
        If an argument is not of that form.

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

    Raises
    ------
    ValueError
        If an argument is not of that form.

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
    if not isinstance(rng, np.random.Generator):
        raise _checks.error("rng", "a numpy.random.Generator", type(rng).__name__)
    impressions = r[shown] + rng.gumbel(size=(n, len(shown)))
    return np.asarray(shown[np.argsort(-impressions, axis=-1)], dtype=np.int64)


def fit_plackett_luce(
    rankings: ArrayLike, responses: int, *, counts: ArrayLike | None = None
) -> Floats:
    """Maximum-likelihood rewards for rankings of one prompt's responses.

    The damped Newton steps of `fit_bradley_terry`; its bound on the third derivative holds for a
    choice among many too. With K = 2 the rewards are the same.

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
        If an argument is not of that form, or no finite estimate exists: some group of responses
        was never ranked with, or never below, the rest.
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
    _refuse_without_estimate(wins, "rankings")

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

    return np.asarray(_newton(pair_by_pair, (1, y), "fit_plackett_luce")[0])


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

    Raises
    ------
    ValueError
        If an argument is not of that form.

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

    Raises
    ------
    ValueError
        If an argument is not of that form.

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
    that is ``eta = 0`` and the rewards of `fit_bradley_terry`.

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
    return _fit_with_ties(wins, ties, _rao_kupper_likelihood, 0.0, "fit_rao_kupper")


def fit_davidson(wins: ArrayLike, ties: ArrayLike) -> FitWithTies:
    """Maximum-likelihood rewards and tie prevalence of the Davidson model.

    An exponential family: at the maximum every response has as many wins and half-ties as
    expected, and there are as many ties. Found by Newton steps on the rewards and log nu, halved as
    long as they would lower the likelihood. Where there are no ties ``nu = 0`` and the rewards are
    those of `fit_bradley_terry`.

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
    fit = _fit_with_ties(wins, ties, _davidson_likelihood, -np.inf, "fit_davidson")
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


def _refuse_without_estimate_of_ties(wins: Floats, ties: Floats, name: str) -> None:
    """Say why one prompt's votes have no finite estimate with ties, if they have none."""
    _refuse_without_estimate(wins + ties, name)
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


def _fit_with_ties(
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
        _refuse_without_estimate_of_ties(won, tied, f"wins and ties{at}")
        largest = max(won.max(), tied.max()) or 1.0
        if tied.any():
            climb = likelihood(won / largest, tied / largest)
            # Either model's tie parameter if all were equals.
            odds = tied.sum() / won.sum()
            start = np.log1p(odds) if lowest == 0 else np.log(odds)
            reward[x], tie[x], information = _newton_with_ties(climb, y, start, lowest, name)
        else:
            reward[x] = fit_bradley_terry(won)
            weight = _votes(won / largest)(reward[x])[1]
            information = _information(weight, np.zeros(y), 1.0)
        regular, rest = _regular(information)
        covariance[x] = (np.linalg.inv(regular) - rest) / largest
        if not tied.any():
            covariance[x, y, :] = covariance[x, :, y] = np.nan
    shape = w.shape[:-2]
    return FitWithTies(
        reward.reshape(*shape, y), tie.reshape(shape), covariance.reshape(*shape, y + 1, y + 1)
    )


def _regular(information: Floats) -> tuple[Floats, Floats]:
    """With curvature along the all-ones direction of the rewards; and the inverse of that alone."""
    ones = np.zeros_like(information)
    ones[:-1, :-1] = 1 / (len(information) - 1)
    size = np.trace(information)
    return information + size * ones, ones / size


def _newton_with_ties(
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
        # As in `_newton`: near the maximum a step squares the error until it is rounding.
        if size <= 1e-12 or last <= size < 1e-6:
            break
        last = size
    regular = _regular(information)[0]
    scale = np.sqrt(np.diagonal(regular))
    if not size < 1e-6 or np.linalg.cond(regular / scale[:, None] / scale) > 1e12:
        raise ArithmeticError(unresolved)
    return reward, tie, information
