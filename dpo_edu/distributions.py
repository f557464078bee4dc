"""Distributions over responses: log-softmax, KL divergence, total variation, entropy, expectation.

Natural logarithms throughout; the last axis holds the responses.

An argument that is not as documented, or does not fit the others, is a ValueError.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from dpo_edu import _checks
from dpo_edu._checks import Floats


def log_of(p: Floats) -> Floats:
    """Natural logarithm in which log 0 is minus infinity, without a warning.

    >>> log_of(np.array([1.0, 0.0])).tolist()
    [0.0, -inf]
    """
    with np.errstate(divide="ignore"):
        return np.log(p)


def top_and_rest(log_weights: Floats) -> tuple[Floats, Floats]:
    """The largest log-weight, and what ``log sum_y exp(log_weight)`` has above it; axes kept.

    The largest weight is left out of the sum and comes back as the 1 in log1p, so that nothing is
    lost where the others are tiny.

    >>> top, rest = top_and_rest(np.array([7.0, -50.0]))
    >>> print(f"{top[0]} + {rest[0]:.3e}")
    7.0 + 1.759e-25
    """
    largest = log_weights.argmax(axis=-1)[..., None]
    top = np.take_along_axis(log_weights, largest, axis=-1)
    weights = log_weights - top
    np.exp(weights, out=weights)
    np.put_along_axis(weights, largest, 0.0, axis=-1)
    return top, np.log1p(weights.sum(axis=-1, keepdims=True))


def log_softmax(logits: ArrayLike) -> Floats:
    """Log-probabilities proportional to ``exp(logits)``.

    ``log_softmax(z)_y = z_y - log sum_k exp(z_k)``, the sum taken after subtracting ``max z`` so
    that it cannot overflow.

    Parameters
    ----------
    logits : array ``(..., Y)``, nats. Minus infinity is legal and gives probability zero.

    Returns
    -------
    array ``(..., Y)``, nats.

    Raises
    ------
    ValueError
        If a logit is NaN or +infinity, or a row has no finite logit.

    Source: the softmax of claim G4 with a uniform reference.

    >>> np.exp(log_softmax([0.0, np.log(3.0)])).round(12).tolist()
    [0.25, 0.75]
    """
    z = _checks.array("logits", logits)
    if not np.isfinite(z.max(axis=-1)).all():  # a NaN is the largest of its row
        raise _checks.error("logits", "finite numbers or -inf, one finite in each row", "others")
    top, rest = top_and_rest(z)
    return (z - top) - rest


def divergence_terms(p: Floats, log_p: Floats, log_q: Floats) -> Floats:
    """The terms ``p log(p/q) - p + q`` of a KL divergence, each of them >= 0, from logarithms.

    Their sum is the KL divergence of two distributions (both sum to 1), and no rounding can make it
    negative. It stays exact where q has underflowed and only `log_q` is left. Arrays ``(..., Y)``,
    nats.

    >>> p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    >>> bool(np.isclose(divergence_terms(p, np.log(p), np.log(q)).sum(), kl_divergence(p, q)))
    True
    """
    with np.errstate(invalid="ignore"):
        return _terms(p, np.exp(log_q), log_p - log_q)


def _terms(p: Floats, q: Floats, log_ratio: Floats) -> Floats:
    """With ``d = log(p/q)`` a term is ``p (d + exp(-d) - 1)``.

    Near ``d = 0`` its series ``p d^2/2 (1 - d/3 + d^2/12)`` keeps digits the difference would lose.
    """
    d = np.where(p > 0, log_ratio, 0.0)
    near = np.abs(d) < 1e-3
    s = np.where(near, d, 0.0)
    series = p * s * s / 2 * (1 - s / 3 + s * s / 12 - s * s * s / 60)
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.where(np.abs(d) < 1, p * (d + np.expm1(-d)), p * d + (q - p))
    return np.where(p > 0, np.where(near, series, far), q)


def kl_divergence(p: ArrayLike, q: ArrayLike) -> Floats:
    """Kullback-Leibler divergence ``KL(p || q) = sum_y p(y) log(p(y)/q(y))``.

    Summed as ``sum_y [p log(p/q) - p + q]``, which is the same for rows that sum to 1, is never
    negative and resolves divergences far below the rounding of 1.

    Parameters
    ----------
    p, q : probabilities ``(..., Y)``.

    Returns
    -------
    array ``(...)``, nats; infinite where ``q = 0 < p``.

    Source: claims O2 and G11.

    >>> float(kl_divergence([0.5, 0.5], [0.25, 0.75]).round(6))
    0.143841
    """
    p_, q_ = _checks.policy("p", p), _checks.policy("q", q)
    _checks.fits(p=p_, q=q_)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # log1p keeps the digits of the ratio where p and q nearly agree.
        near = np.log1p((p_ - q_) / q_)
        log_ratio = np.where(np.abs(p_ - q_) < q_ / 2, near, log_of(p_) - log_of(q_))
    terms = _terms(p_, q_, log_ratio)
    return np.asarray(terms.sum(axis=-1), dtype=np.float64)


def total_variation(p: ArrayLike, q: ArrayLike) -> Floats:
    """Total variation distance ``1/2 sum_y |p(y) - q(y)|``.

    Parameters
    ----------
    p, q : probabilities ``(..., Y)``.

    Returns
    -------
    array ``(...)``, a probability: the largest difference the two give to one event.

    Source: Levin and Peres, Markov Chains and Mixing Times, ch. 4.

    >>> float(total_variation([1.0, 0.0], [0.75, 0.25]))
    0.25
    """
    p_, q_ = _checks.policy("p", p), _checks.policy("q", q)
    _checks.fits(p=p_, q=q_)
    return np.asarray(np.abs(p_ - q_).sum(axis=-1) / 2, dtype=np.float64)


def entropy(p: ArrayLike) -> Floats:
    """Shannon entropy ``-sum_y p(y) log p(y)``, with ``0 log 0 = 0``.

    Parameters
    ----------
    p : probabilities ``(..., Y)``.

    Returns
    -------
    array ``(...)``, nats.

    Source: Cover and Thomas, Elements of Information Theory, eq. 2.1.

    >>> bool(np.isclose(entropy([0.25] * 4), np.log(4)))
    True
    """
    p_ = _checks.policy("p", p)
    return np.asarray(-xlogy(p_, p_).sum(axis=-1) + 0.0, dtype=np.float64)


def expectation(p: ArrayLike, values: ArrayLike) -> Floats:
    """Expected value ``E_p[f] = sum_y p(y) f(y)``.

    Parameters
    ----------
    p : probabilities ``(..., Y)``.
    values : array ``(..., Y)``, any unit.

    Returns
    -------
    array ``(...)`` in the unit of `values`.

    Source: the inner expectation of claim O1.

    >>> float(expectation([0.25, 0.75], [0.0, 4.0]))
    3.0
    """
    p_, f = _checks.policy("p", p), _checks.finite("values", values)
    _checks.fits(p=p_, values=f)
    return np.asarray((p_ * f).sum(axis=-1), dtype=np.float64)
