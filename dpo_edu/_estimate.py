"""When counts have finite maximum-likelihood rewards, and the Newton steps that find them.

The common part of votes on pairs and rankings: both likelihoods see only differences of rewards,
and their derivatives are sums over pairs.
"""

import contextlib
from collections.abc import Callable

import numpy as np
from scipy import linalg
from scipy.sparse.csgraph import connected_components

from dpo_edu import _checks
from dpo_edu._checks import Floats

# At rewards (B, Y), pair by pair (B, Y, Y): wins times the chance of a loss, and the variance.
PairByPair = Callable[[Floats], tuple[Floats, Floats]]
LARGE = 64  # responses from which Cholesky's factors, half the work, pay


def components(wins: Floats, *, strong: bool = False) -> list[list[int]]:
    """Components of a graph ``(Y, Y)`` in the order of their first member; see `preferences`."""
    _, label = connected_components(wins > 0, connection="strong" if strong else "weak")
    groups = [np.flatnonzero(label == k).tolist() for k in range(label.max() + 1)]
    return sorted(groups)


def refuse_without_estimate(wins: Floats, name: str) -> None:
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


def _solved(matrices: Floats, right: Floats) -> Floats:
    """``(B, Y)`` from positive definite ``(B, Y, Y)``; one that is large by Cholesky's factors."""
    if len(matrices) == 1 and right.shape[-1] >= LARGE:
        with contextlib.suppress(np.linalg.LinAlgError):  # rounding: no longer positive
            factors = linalg.cho_factor(matrices[0], check_finite=False)
            return np.asarray(linalg.cho_solve(factors, right[0], check_finite=False))[None]
    return np.asarray(np.linalg.solve(matrices, right[..., None])[..., 0], dtype=np.float64)


def newton(pair_by_pair: PairByPair, start: Floats, name: str) -> Floats:
    """Damped Newton on rewards ``(B, Y)``; where it starts changes only how many steps it takes."""
    unresolved = f"{name}: the counts differ too much for float64 to resolve"
    diagonal, gauge = np.arange(start.shape[-1]), 1.0 / start.shape[-1]
    reward, last = np.asarray(start - start.mean(axis=-1, keepdims=True)), np.inf
    for _ in range(2000):  # about 1.5 for each nat of the largest reward difference
        surprise, weight = pair_by_pair(reward)
        slope = (surprise - surprise.swapaxes(-1, -2)).sum(axis=-1)
        stiffness = weight.sum(axis=-1)
        # The all-ones direction moves no difference; any curvature there makes the system regular.
        total = stiffness.sum(axis=-1)[..., None, None]
        curvature = np.subtract(gauge * total, weight, out=weight)
        curvature[..., diagonal, diagonal] += stiffness
        try:
            step = _solved(curvature, slope)
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
