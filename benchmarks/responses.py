"""The optimal policy and log Z over many responses, beside the bare formulas and SciPy."""

import tracemalloc
from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from dpo_edu import gibbs
from dpo_edu._checks import Floats
from tools.bench import Row, race, ratio

BETA = 0.3
SIZES = {10_000: 400, 100_000: 100, 1_000_000: 20, 10_000_000: 9}  # responses, rounds
CHECKS = (
    "Finite rewards, and a reference nowhere negative that sums to 1, are three more passes over"
    " the arguments, and a call takes some 12 µs more at any size."
)


def problem(size: int) -> tuple[Floats, Floats]:
    """Normal rewards, and a reference that gives mass to every response."""
    rng = np.random.default_rng(16)
    reward, ref = rng.normal(size=size), rng.exponential(size=size)
    return reward, ref / ref.sum()


def bare_policy(reward: Floats, ref: Floats, beta: float) -> Floats:
    """The optimal policy in one array, unchecked; it underflows sooner than ours."""
    weights = reward - reward.max(axis=-1, keepdims=True)
    weights /= beta
    np.exp(weights, out=weights)
    weights *= ref
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def bare_log_partition(reward: Floats, ref: Floats, beta: float) -> Floats:
    """Log Z in one array, unchecked; it loses its digits where Z is near 1."""
    best = reward.max(axis=-1, keepdims=True)
    weights = reward - best
    weights /= beta
    np.exp(weights, out=weights)
    weights *= ref
    return np.asarray(best[..., 0] / beta + np.log(weights.sum(axis=-1)), dtype=np.float64)


def arrays_at_once(run: Callable[[], object], size: int) -> float:
    """The most memory that a call asks for at once, its result with it, in arrays of its input."""
    tracemalloc.start()
    run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / (8 * size)


def rows(size: int, rounds: int) -> list[Row]:
    """What is measured over so many responses."""
    reward, ref = problem(size)
    ours = {
        "optimal_policy": lambda: gibbs.optimal_policy(reward, ref, beta=BETA),
        "log_partition": lambda: gibbs.log_partition(reward, ref, beta=BETA),
    }
    bare = {
        "bare policy": lambda: bare_policy(reward, ref, BETA),
        "bare log Z": lambda: bare_log_partition(reward, ref, BETA),
    }
    known = {
        "exp": lambda: np.exp(reward),
        "logsumexp": lambda: logsumexp(reward / BETA, b=ref),
    }
    print(f"  {size:,} responses", flush=True)
    # SciPy's arrays empty the cache, so that who comes after it pays: a race of its own.
    beside_bare, beside_known = race(ours | bare, rounds=rounds), race(ours | known, rounds=9)

    def over_bare(one: str, other: str, goal: str, why: str) -> Row:
        what = f"`{one}` over the bare formula, {size:,}"
        return Row(what, ratio(beside_bare, one, other), "×", goal, why)

    def over_known(one: str, other: str, said: str) -> Row:
        return Row(f"`{one}` over {said}, {size:,}", ratio(beside_known, one, other), "×")

    return [
        over_bare("optimal_policy", "bare policy", "<= 2", CHECKS),
        over_bare("log_partition", "bare log Z", "<= 1.5", CHECKS),
        over_known("optimal_policy", "exp", "`np.exp`"),
        over_known("log_partition", "exp", "`np.exp`"),
        over_known("log_partition", "logsumexp", "SciPy's `logsumexp`"),
        *(
            Row(f"`{name}`'s memory, {size:,}", arrays_at_once(run, size), "arrays", "<= 2.05")
            for name, run in ours.items()
        ),
    ]


def measure() -> list[Row]:
    """Ratios of time and peaks of memory, from ten thousand to ten million responses."""
    return [row for size, rounds in SIZES.items() for row in rows(size, rounds)]
