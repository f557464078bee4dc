"""Markov chains over tokens: pi* and divergences exact where no one can list the responses.

A response has T tokens out of V. The reference writes each with a probability that depends on the
place t and on the token before, and the reward is a sum over these steps:

    log pi_ref(y) = sum_t log ref[t, y_(t-1), y_t],    r(y) = sum_t reward[t, y_(t-1), y_t]

Then one pass over the T places replaces a sum over V^T responses. Tables are ``(T, V, V)``: place,
token before, token. Every response begins after token 0, so at place 0 only row 0 is in use.

An argument that is not as documented, or does not fit the others, is a ValueError.
"""

import numpy as np
from numpy.typing import ArrayLike

from dpo_edu import _checks, distributions, gibbs
from dpo_edu._checks import Floats, Ints

START = 0  # the token that stands before every response


def _square(name: str, table: Floats) -> Floats:
    """A table ``(T, V, V)``, or an error."""
    if table.ndim != 3 or table.shape[1] != table.shape[2] or not table.size:
        raise _checks.error(name, "shape (T, V, V)", f"shape {table.shape}")
    return table


def _chain(name: str, value: ArrayLike) -> Floats:
    """Probabilities ``(T, V, V)``, each row summing to 1."""
    return _square(name, _checks.policy(name, value))


def _written(responses: ArrayLike, places: int, tokens: int) -> Ints:
    """Responses ``(N, T)`` of whole numbers 0 .. V - 1."""
    y = np.asarray(responses)
    whole = y.dtype.kind in "iu" and y.ndim == 2 and y.shape[1] == places
    if not whole or (y.size and not 0 <= y.min() <= y.max() < tokens):
        raise _checks.error(
            "responses",
            f"whole numbers 0 .. {tokens - 1} of shape (N, {places})",
            f"{y.dtype} of shape {y.shape}",
        )
    return y.astype(np.int64)


def steps(responses: ArrayLike, *, tokens: int) -> Ints:
    """Where each step of a response stands in a flattened table: ``(t V + y_(t-1)) V + y_t``.

    Parameters
    ----------
    responses : whole numbers 0 .. V - 1, ``(N, T)``.
    tokens : how many there are, V.

    Returns
    -------
    array ``(N, T)`` of whole numbers, places in ``table.reshape(-1)``.

    Source: claim C1.

    >>> steps([[1, 0]], tokens=2).tolist()
    [[1, 6]]
    """
    size = _checks.positive_int("tokens", tokens)
    length = np.shape(responses)[-1] if np.ndim(responses) else 0
    y = _written(responses, length, size)
    before = np.pad(y[:, :-1], ((0, 0), (1, 0)), constant_values=START)
    return (np.arange(length) * size + before) * size + y


def score(table: ArrayLike, responses: ArrayLike) -> Floats:
    """The sum of a table's entries along each response, ``sum_t table[t, y_(t-1), y_t]``.

    Parameters
    ----------
    table : numbers ``(T, V, V)``: rewards, or log-probabilities (minus infinity is legal).
    responses : whole numbers 0 .. V - 1, ``(N, T)``.

    Returns
    -------
    array ``(N,)`` in the unit of `table`: the reward of each response, or its log-probability.

    Source: claim C1.

    >>> score([[[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [5.0, 7.0]]], [[1, 0], [1, 1]]).tolist()
    [6.0, 8.0]
    """
    numbers = _square("table", _checks.array("table", table))
    if not (numbers < np.inf).all():  # nor is NaN
        raise _checks.error("table", "numbers below infinity", numbers[~(numbers < np.inf)][0])
    y = _written(responses, len(numbers), numbers.shape[-1])
    at = steps(y, tokens=numbers.shape[-1])
    return np.asarray(numbers.reshape(-1)[at].sum(axis=1), dtype=np.float64)


def soft_values(reward: ArrayLike, ref: ArrayLike, *, beta: float) -> Floats:
    """Soft values by backward recursion: what all that may follow is worth.

        V_T(s) = 0,    V_t(s) = beta log sum_a ref[t, s, a] exp((reward[t, s, a] + V_(t+1)(a))/beta)

    Each step is the log-partition function of one token, with ``Q = r + V`` as its reward.

    Parameters
    ----------
    reward : array ``(T, V, V)``, reward units.
    ref : the reference, probabilities ``(T, V, V)``.
    beta : KL coefficient > 0, reward units per nat.

    Returns
    -------
    array ``(T + 1, V)``, reward units; ``[0, 0]`` is ``beta log Z`` of all V^T responses.

    Source: Rafailov et al. 2024 (arXiv 2404.12358), sec. 4; claim C1.

    >>> soft_values([[[0.0, np.log(3.0)]] * 2], [[[0.5, 0.5]] * 2], beta=1.0).round(6).tolist()
    [[0.693147, 0.693147], [0.0, 0.0]]
    """
    r, chain = _square("reward", _checks.reward(reward)), _chain("ref", ref)
    _checks.one_shape(reward=r, ref=chain)
    values = np.zeros((len(r) + 1, r.shape[-1]))
    for t in reversed(range(len(r))):
        values[t] = beta * gibbs.log_partition(r[t] + values[t + 1], chain[t], beta=beta)
    return values


def optimal_chain(reward: ArrayLike, ref: ArrayLike, *, beta: float) -> Floats:
    """The optimal policy, itself a chain: ``ref[t, s, a] exp((Q_t(s, a) - V_t(s))/beta)``.

    Its response probabilities are ``pi_ref(y) exp(r(y)/beta) / Z``, none of which is worked out.

    Parameters
    ----------
    reward, ref, beta : as for `soft_values`; arrays ``(T, V, V)``.

    Returns
    -------
    array ``(T, V, V)``, probabilities.

    Source: Rafailov et al. 2024 (arXiv 2404.12358), sec. 4; claim C1.

    >>> optimal_chain([[[0.0, np.log(3.0)]] * 2], [[[0.5, 0.5]] * 2], beta=1.0).round(6).tolist()
    [[[0.25, 0.75], [0.25, 0.75]]]
    """
    values = soft_values(reward, ref, beta=beta)
    q = np.asarray(reward, dtype=np.float64) + values[1:, None, :]
    return gibbs.optimal_policy(q, ref, beta=beta)


def occupancy(chain: ArrayLike) -> Floats:
    """How often a token stands before place t, by forward recursion.

    ``o_0 = (1, 0, ..., 0)`` and ``o_(t+1)(a) = sum_s o_t(s) chain[t, s, a]``.

    Parameters
    ----------
    chain : probabilities ``(T, V, V)``.

    Returns
    -------
    array ``(T, V)``, probabilities.

    Source: claim C3.

    >>> occupancy([[[0.25, 0.75], [0.5, 0.5]]] * 2).tolist()
    [[1.0, 0.0], [0.25, 0.75]]
    """
    p = _chain("chain", chain)
    before = np.zeros(p.shape[:2])
    before[0, START] = 1.0
    for t in range(len(p) - 1):
        before[t + 1] = before[t] @ p[t]
    return before


def kl_divergence(p: ArrayLike, q: ArrayLike) -> Floats:
    """KL(p || q) of two chains over all V^T responses: that of each row, as often as it is met.

    ``KL = sum_t sum_s o_t(s) KL(p[t, s] || q[t, s])`` with o the occupancy of p.

    Parameters
    ----------
    p, q : probabilities ``(T, V, V)``.

    Returns
    -------
    array ``()``, nats; infinite where q has no mass on a step that p takes.

    Source: the chain rule, Cover and Thomas, Elements of Information Theory, th. 2.5.3; claim C3.

    >>> half, skew = [[[0.5, 0.5]] * 2] * 3, [[[0.25, 0.75]] * 2] * 3
    >>> float(kl_divergence(half, skew).round(6))
    0.431523
    """
    first, second = _chain("p", p), _chain("q", q)
    _checks.one_shape(p=first, q=second)
    met = occupancy(first)
    each = np.where(met > 0, distributions.kl_divergence(first, second), 0.0)
    return np.asarray((met * each).sum(), dtype=np.float64)


def sample(chain: ArrayLike, size: int, *, rng: np.random.Generator) -> Ints:
    """Responses drawn from a chain, token after token.

    Parameters
    ----------
    chain : probabilities ``(T, V, V)``.
    size : how many, N >= 1.
    rng : a ``numpy.random.Generator``.

    Returns
    -------
    array ``(N, T)`` of whole numbers 0 .. V - 1.

    Source: claim C4.

    >>> sample([[[0.0, 1.0], [1.0, 0.0]]] * 3, 1, rng=np.random.default_rng(0)).tolist()
    [[1, 0, 1]]
    """
    p = _chain("chain", chain)
    _checks.generator(rng)
    y = np.empty((_checks.positive_int("size", size), len(p)), dtype=np.int64)
    before = np.full(len(y), START)
    for t, rows in enumerate(np.cumsum(p, axis=-1)):
        # Row s, from 0 to 1, is laid at s .. s + 1: one search in one sorted list serves all rows.
        ends = rows / rows[:, -1:] + np.arange(len(rows))[:, None]
        place = np.minimum(before + rng.random(len(y)), np.nextafter(before + 1.0, 0.0))
        y[:, t] = np.searchsorted(ends.ravel(), place, side="right") - before * len(rows)
        before = y[:, t]
    return y
