"""The policy that maximises ``E_pi[r] - beta D_f(pi || pi_ref)`` for leashes other than KL.

    D_f(pi || pi_ref) = sum_y pi_ref(y) f(u(y)),   u = pi/pi_ref,   f convex, f(1) = 0
    pi*(y) = pi_ref(y) max(0, g((r(y) + lambda)/beta)),   g = (f')^-1,   sum_y pi*(y) = 1

Here lambda is the multiplier of sum_y pi(y) = 1 in the Lagrangian ``J + lambda (sum_y pi(y) - 1)``.
Policies are those on the support of pi_ref. Solved for is not lambda but t, the ratio u of a best
response: in terms of t no digits are lost where f' nears its upper bound.

An argument that is not as documented, or does not fit the others, is a ValueError.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import wrightomega, xlogy

from dpo_edu import _checks, distributions
from dpo_edu._checks import Floats

Curve: TypeAlias = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Divergence:
    """A convex f with what the optimum needs of it; ratios u >= 0 and slopes are arrays.

    Attributes
    ----------
    name : for figures and tables.
    f : the function, f(1) = 0; nats.
    slope : f'(u), increasing.
    inverse_slope : g = (f')^-1; 0 below `slope_at_zero`, infinite above `slope_at_infinity`.
    slope_at_zero : f'(0+). Where it is finite, responses can drop to zero mass.
    slope_at_infinity : the supremum of f'. Where it is finite, lambda < beta sup f' - max r.
    below : ``g(f'(t) - d)``, the ratio of a response that lies d below one of ratio t, in a form
        that loses no digits; None to work it out from `slope` and `inverse_slope`.

    Source: Wang et al. 2023 (arXiv 2309.16240) where f'(0+) is infinite; claims F1, F2.

    >>> chi_square.inverse_slope(np.array([-3.0, 0.0, 1.0])).tolist()
    [0.0, 1.0, 1.5]
    """

    name: str
    f: Curve
    slope: Curve
    inverse_slope: Curve
    slope_at_zero: float
    slope_at_infinity: float
    below: Callable[[float, Floats], Floats] | None = None

    def ratio_below(self, t: float, d: Floats) -> Floats:
        """Ratio of responses whose reward, in units of beta, is d under that of one of ratio t."""
        with np.errstate(over="ignore"):
            if self.below is not None:
                return self.below(t, d)
            return self.inverse_slope(self.slope(np.asarray(t, dtype=np.float64)) - d)


def _inverse(curve: Curve, sup: float) -> Curve:
    """`curve` under `sup`, infinity from there on."""

    def bounded(v: Floats) -> Floats:
        v = np.asarray(v, dtype=np.float64)
        with np.errstate(over="ignore"):
            return np.where(v < sup, curve(np.where(v < sup, v, sup - 1.0)), np.inf)

    return bounded


def _negative_log(u: Floats) -> Floats:
    return -distributions.log_of(u)


def _negative_inverse(u: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return -1.0 / np.asarray(u)


#: f = u log u, so D_f = KL(pi || pi_ref): the leash of DPO.
reverse_kl = Divergence(
    "reverse KL",
    f=lambda u: xlogy(u, u),
    slope=lambda u: distributions.log_of(u) + 1.0,
    inverse_slope=_inverse(lambda v: np.exp(v - 1.0), math.inf),
    slope_at_zero=-math.inf,
    slope_at_infinity=math.inf,
    below=lambda t, d: t * np.exp(-d),
)

#: f = -log u, so D_f = KL(pi_ref || pi).
forward_kl = Divergence(
    "forward KL",
    f=_negative_log,
    slope=_negative_inverse,
    inverse_slope=_inverse(lambda v: -1.0 / v, 0.0),
    slope_at_zero=-math.inf,
    slope_at_infinity=0.0,
    below=lambda t, d: 1.0 / (1.0 / t + d),
)

#: f = u log u - (u + 1) log((u + 1)/2): twice the textbook's Jensen-Shannon divergence
#: ``(KL(pi || m) + KL(pi_ref || m))/2``, m = (pi + pi_ref)/2. At most 2 log 2.
jensen_shannon = Divergence(
    "Jensen-Shannon",
    f=lambda u: xlogy(u, u) - xlogy(u + 1.0, (u + 1.0) / 2.0),
    slope=lambda u: distributions.log_of(u) - np.log((u + 1.0) / 2.0),
    inverse_slope=_inverse(lambda v: 1.0 / np.expm1(math.log(2.0) - v), math.log(2.0)),
    slope_at_zero=-math.inf,
    slope_at_infinity=math.log(2.0),
    below=lambda t, d: 1.0 / (np.expm1(d) + np.exp(d) / t),
)

#: f = (u - 1)^2, Pearson's chi-square; a finite slope -2 at zero, so none of Wang et al.'s.
chi_square = Divergence(
    "chi-square",
    f=lambda u: (u - 1.0) ** 2,
    slope=lambda u: 2.0 * (u - 1.0),
    inverse_slope=lambda v: np.maximum(0.0, 1.0 + v / 2.0),
    slope_at_zero=-2.0,
    slope_at_infinity=math.inf,
    below=lambda t, d: np.maximum(0.0, t - d / 2.0),
)

#: f = u log u + (u - 1)^2/2, with f' = u + log u: the leash of chi-PO (Huang et al. 2024, arXiv
#: 2407.13399). Its inverse slope is Wright's omega, the Lambert function W(exp v).
mixed_chi_square = Divergence(
    "chi-square + KL",
    f=lambda u: xlogy(u, u) + (u - 1.0) ** 2 / 2.0,
    slope=lambda u: distributions.log_of(u) + u,
    inverse_slope=lambda v: np.asarray(wrightomega(v), dtype=np.float64),
    slope_at_zero=-math.inf,
    slope_at_infinity=math.inf,
)


def _power_gain(u: Floats, a: float) -> Floats:
    """``u^(1-a) - u``, zero at u = 0."""
    return u * np.expm1(-a * distributions.log_of(np.where(u > 0, u, 1.0)))


def alpha_divergence(alpha: float) -> Divergence:
    """The family between reverse KL (alpha -> 0) and forward KL (alpha -> 1).

    ``f = (u^(1-alpha) - (1-alpha) u - alpha) / (alpha (alpha-1))``, ``f' = (1 - u^-alpha)/alpha``.

    Parameters
    ----------
    alpha : a number between 0 and 1, both excluded.

    Returns
    -------
    Divergence

    Raises
    ------
    ValueError
        If `alpha` is not in that interval.

    Source: Wang et al. 2023 (arXiv 2309.16240); claim F2.

    >>> alpha_divergence(0.5).slope(np.array([0.25, 1.0])).tolist()
    [-2.0, 0.0]
    """
    a = _checks.positive("alpha", alpha)
    if a >= 1:
        raise _checks.error("alpha", "a number between 0 and 1", repr(alpha))
    # Powers as expm1 and log1p, so that a small alpha costs no digits.
    return Divergence(
        f"alpha = {a:g}",
        f=lambda u: (_power_gain(u, a) + a * (u - 1.0)) / (a * (a - 1.0)),
        slope=lambda u: -np.expm1(-a * distributions.log_of(u)) / a,
        inverse_slope=_inverse(lambda v: np.exp(-np.log1p(-a * v) / a), 1.0 / a),
        slope_at_zero=-math.inf,
        slope_at_infinity=1.0 / a,
        # (t^-a + a d)^(-1/a)
        below=lambda t, d: np.exp(-np.logaddexp(-a * np.log(t), distributions.log_of(a * d)) / a),
    )


def f_divergence(policy: ArrayLike, ref: ArrayLike, *, divergence: Divergence) -> Floats:
    """The divergence ``D_f(pi || pi_ref) = sum_y pi_ref(y) f(pi(y)/pi_ref(y))``.

    Parameters
    ----------
    policy, ref : probabilities ``(..., Y)``; the policy has no mass where the reference has none.
    divergence : which f.

    Returns
    -------
    array ``(...)``, nats (chi-square: no unit); never below 0 but for rounding.

    Source: Csiszar 1967; claim F1.

    >>> float(f_divergence([0.25, 0.75], [0.5, 0.5], divergence=chi_square))
    0.25
    """
    u, ref_ = _ratio(policy, ref)
    value = _known(divergence).f(np.where(ref_ > 0, u, 1.0))  # f(1) = 0 off the support
    return np.asarray((ref_ * value).sum(axis=-1), dtype=np.float64)


def objective(
    policy: ArrayLike, reward: ArrayLike, ref: ArrayLike, *, beta: float, divergence: Divergence
) -> Floats:
    """The objective ``E_pi[r] - beta D_f(pi || pi_ref)``, ``(...)`` in reward units.

    Arguments and errors as for `optimal_policy` and `f_divergence`.

    Source: Wang et al. 2023 (arXiv 2309.16240); claim F1.

    >>> float(objective([1.0, 0.0], [2.0, 0.0], [0.5, 0.5], beta=0.5, divergence=chi_square))
    1.5
    """
    r, p = _checks.reward(reward), _checks.policy("policy", policy)
    _checks.fits(policy=p, reward=r)
    penalty = f_divergence(p, ref, divergence=divergence)
    return np.asarray((p * r).sum(axis=-1) - _checks.beta(beta) * penalty, dtype=np.float64)


def optimal_policy(
    reward: ArrayLike, ref: ArrayLike, *, beta: float, divergence: Divergence
) -> Floats:
    """The best policy ``pi*(y) = pi_ref(y) max(0, g((r(y) + lambda)/beta))``.

    Parameters
    ----------
    reward : array ``(..., Y)``, reward units.
    ref : reference policy ``(..., Y)``, probabilities.
    beta : coefficient of the divergence > 0, reward units per nat.
    divergence : which f.

    Returns
    -------
    array ``(..., Y)``, probabilities; exactly zero where the reference or g is.

    Source: Wang et al. 2023 (arXiv 2309.16240) where f'(0+) is infinite; claims F1, F6.

    >>> optimal_policy([3.0, 0.0, -3.0], np.ones(3) / 3, beta=0.5, divergence=chi_square).tolist()
    [1.0, 0.0, 0.0]
    """
    return _solve(reward, ref, beta, divergence)[0]


def multiplier(reward: ArrayLike, ref: ArrayLike, *, beta: float, divergence: Divergence) -> Floats:
    """The multiplier lambda of ``sum_y pi(y) = 1``, ``(...)`` in reward units.

    ``r - beta f'(pi*/pi_ref) + lambda = 0`` wherever pi* > 0. For reverse KL it is
    beta (1 - log Z), claim G3's. Arguments and errors as for `optimal_policy`.

    Source: claims F1 and F3.

    >>> float(multiplier([1.0, 1.0], [0.5, 0.5], beta=2.0, divergence=reverse_kl))
    1.0
    """
    return _solve(reward, ref, beta, divergence)[1]


def implicit_reward(
    policy: ArrayLike, ref: ArrayLike, *, beta: float, divergence: Divergence
) -> Floats:
    """The reward ``beta f'(pi/pi_ref)``, for which `policy` is optimal with lambda = 0.

    Between responses of positive mass its differences are those of every such reward: array
    ``(..., Y)``, beta f'(0+) where only the policy is zero, NaN where both are. Arguments and
    errors as for `optimal_policy` and `f_divergence`.

    Source: Wang et al. 2023 (arXiv 2309.16240); claim F3.

    >>> implicit_reward([0.25, 0.75], [0.5, 0.5], beta=2.0, divergence=chi_square).tolist()
    [-2.0, 2.0]
    """
    u, ref_ = _ratio(policy, ref)
    slope = _known(divergence).slope(np.where(ref_ > 0, u, 1.0))
    return _checks.beta(beta) * np.where(ref_ > 0, slope, np.nan)


def _known(divergence: Divergence) -> Divergence:
    if not isinstance(divergence, Divergence):
        raise _checks.error("divergence", "a Divergence", type(divergence).__name__)
    return divergence


def _ratio(policy: ArrayLike, ref: ArrayLike) -> tuple[Floats, Floats]:
    """pi/pi_ref, zero where both are, and the reference."""
    p, ref_ = _checks.policy("policy", policy), _checks.policy("ref", ref)
    _checks.fits(policy=p, ref=ref_)
    _checks.supported(p, ref_)
    return p / np.where(ref_ > 0, ref_, 1.0), ref_


def _solve(
    reward: ArrayLike, ref: ArrayLike, beta: float, divergence: Divergence
) -> tuple[Floats, Floats]:
    """The best policy and its multiplier, one prompt at a time."""
    r, ref_, b = _checks.reward(reward), _checks.policy("ref", ref), _checks.beta(beta)
    shape = _checks.fits(reward=r, ref=ref_)
    r, ref_ = np.broadcast_to(r, shape), np.broadcast_to(ref_, shape)
    best = np.where(ref_ > 0, r, -np.inf).max(axis=-1)
    policy, lam = np.zeros(shape), np.empty(shape[:-1])
    for x in np.ndindex(shape[:-1]):
        on = ref_[x] > 0
        with np.errstate(over="ignore"):
            behind = (best[x] - r[x][on]) / b
        t = _ratio_of_best(behind, ref_[x][on], _known(divergence))
        weight = ref_[x][on] * divergence.ratio_below(t, behind)
        policy[x][on] = weight / weight.sum()
        lam[x] = b * float(divergence.slope(np.asarray(t))) - best[x]
    return policy, lam


def _ratio_of_best(behind: Floats, ref: Floats, divergence: Divergence) -> float:
    """The t at which ``sum_y pi_ref(y) u(y) = 1``, u = g(f'(t) - behind).

    The sum increases with t. All u <= t, so it is at most 1 at t = 1/sum pi_ref; and the best
    responses have u = t, so it is at least 1 at t = 1/(their mass). The root is sought in log t.
    """

    def excess(t: float) -> float:
        return float(ref @ divergence.ratio_below(t, behind)) - 1.0

    low, high = 1.0 / ref.sum(), min(1.0 / ref[behind == 0].sum(), 1e308)
    # Rounding alone can put the root at an end, and is kept from hiding it by a little slack.
    if excess(low) >= 0 or excess(high) <= 0:
        return float(low if excess(low) >= 0 else high)
    ends = math.log(low) - 1e-12, math.log(high) + 1e-12
    return math.exp(brentq(lambda log_t: excess(math.exp(log_t)), *ends, xtol=1e-300, rtol=1e-15))
