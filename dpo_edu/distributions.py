"""Distributions over responses: log-softmax, KL divergence, total variation, entropy, expectation.

Natural logarithms throughout; the last axis holds the responses.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, xlogy

from dpo_edu import _checks
from dpo_edu._checks import Floats


def log_of(p: Floats) -> Floats:
    """Natural logarithm in which log 0 is minus infinity, without a warning.

    >>> log_of(np.array([1.0, 0.0])).tolist()
    [0.0, -inf]
    """
    with np.errstate(divide="ignore"):
        return np.log(p)


def log_softmax(logits: ArrayLike) -> Floats:
    """Log-probabilities proportional to ``exp(logits)``.

    ``log_softmax(z)_y = z_y - log sum_k exp(z_k)``, the sum taken after subtracting ``max z`` so that
    it cannot overflow.

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
    if np.isnan(z).any() or not np.isfinite(z.max(axis=-1)).all():
        raise _checks.error("logits", "finite numbers or -inf, one finite in each row", "others")
    return np.asarray(z - logsumexp(z, axis=-1, keepdims=True), dtype=np.float64)


def divergence_terms(p: Floats, log_p: Floats, log_q: Floats) -> Floats:
    """The terms ``p log(p/q) - p + q`` of a KL divergence, each of them >= 0.

    Their sum is the KL divergence of two distributions (both sum to 1), and no rounding can make it
    negative. With ``d = log p - log q`` a term is ``p (d + exp(-d) - 1)``; near ``d = 0`` its series
    ``p d^2/2 (1 - d/3 + d^2/12)`` keeps the digits that the difference would lose.
    """
    q = np.exp(log_q)
    with np.errstate(invalid="ignore"):
        d = np.where(p > 0, log_p - log_q, 0.0)
    near = np.abs(d) < 1e-3
    series = p * d * d / 2 * (1 - d / 3 + d * d / 12 - d * d * d / 60)
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

    Raises
    ------
    ValueError
        If a row is no distribution or the shapes do not fit.

    Source: claims O2 and G11.

    >>> float(kl_divergence([0.5, 0.5], [0.25, 0.75]).round(6))
    0.143841
    """
    p_, q_ = _checks.policy("p", p), _checks.policy("q", q)
    _checks.fits(p=p_, q=q_)
    terms = divergence_terms(p_, log_of(p_), log_of(q_))
    return np.asarray(terms.sum(axis=-1), dtype=np.float64)


def total_variation(p: ArrayLike, q: ArrayLike) -> Floats:
    """Total variation distance ``1/2 sum_y |p(y) - q(y)|``.

    Parameters
    ----------
    p, q : probabilities ``(..., Y)``.

    Returns
    -------
    array ``(...)``, a probability: the largest difference the two give to one event.

    Raises
    ------
    ValueError
        If a row is no distribution or the shapes do not fit.

    Source: Levin and Peres, Markov Chains and Mixing Times, Prop. 4.2.

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

    Raises
    ------
    ValueError
        If a row is no distribution.

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

    Raises
    ------
    ValueError
        If a row of `p` is no distribution, a value is not finite, or the shapes do not fit.

    Source: the inner expectation of claim O1.

    >>> float(expectation([0.25, 0.75], [0.0, 4.0]))
    3.0
    """
    p_, f = _checks.policy("p", p), _checks.finite("values", values)
    _checks.fits(p=p_, values=f)
    return np.asarray((p_ * f).sum(axis=-1), dtype=np.float64)
