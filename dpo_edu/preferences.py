"""From rewards to votes and back: Bradley-Terry, sampling, counting, maximum likelihood.

    P(i beats j) = sigma(r_i - r_j)

Votes are counts: a win array ``(X, Y, Y)`` holds how often the row beat the column. Real-valued
counts are legal everywhere (a tie may be half a win each way; a population is the array of
probabilities).

An argument that is not as documented, or does not fit the others, is a ValueError.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit

from dpo_edu import _checks, _estimate
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
        If the arrays differ in length, are empty, hold other than whole numbers >= 0, or a vote
        compares a response with itself.

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
        If one response has all the mass.

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

    Source: claim T3.

    >>> pairs = sample_pairs([0.0, 1.0], [0.5, 0.5], size=100, rng=np.random.default_rng(0))
    >>> len(pairs), count_wins(pairs, (1, 2)).sum()
    (100, np.float64(100.0))
    """
    law = expected_wins(reward, behaviour, prompt_weights=prompt_weights)
    n = _checks.positive_int("size", size)
    _checks.generator(rng)
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

    Source: Ford 1957; claim L4.

    >>> components([[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    [[0, 1], [2]]
    """
    w = _checks.wins(wins)
    if w.ndim != 2:
        raise _checks.error("wins", "shape (Y, Y)", f"shape {w.shape}")
    return _estimate.components(w, strong=strong)


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
        _estimate.refuse_without_estimate(
            flat[x], f"wins at index {x}" if len(flat) > 1 else "wins"
        )
    if flat.shape[-1] == 1 or len(flat) == 0:
        return np.zeros(w.shape[:-1])
    largest = flat.max(axis=(-2, -1), keepdims=True)
    share = flat / largest
    found = _estimate.newton(_votes(share), _guess(share), "fit_bradley_terry")
    return found.reshape(w.shape[:-1])


def _guess(wins: Floats) -> Floats:
    """Rewards ``(B, Y)`` as if each response had met the others' mean: near, and never far out."""
    with np.errstate(divide="ignore"):
        odds = np.log(wins.sum(axis=-1)) - np.log(wins.sum(axis=-2))
    # Far out the curvature would be lost; that the steps find the way from 3 is proved.
    return np.asarray(np.clip((1 - 1 / wins.shape[-1]) * odds, -3.0, 3.0))


def _votes(wins: Floats) -> _estimate.PairByPair:
    count = wins + wins.swapaxes(-1, -2)

    def pair_by_pair(reward: Floats) -> tuple[Floats, Floats]:
        loss = reward[..., :, None] - reward[..., None, :]
        with np.errstate(over="ignore"):  # sigma of minus the difference; far out it is 0
            np.exp(loss, out=loss)
        loss += 1
        np.reciprocal(loss, out=loss)
        # Observed minus expected wins, pair by pair: the difference of the sums would lose digits.
        surprise = wins * loss
        weight = loss * loss.swapaxes(-1, -2)
        weight *= count
        return surprise, weight

    return pair_by_pair
