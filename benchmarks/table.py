"""A table by Newton's method beside choix, Adam and L-BFGS, and many tables beside one.

The package finds the optimal table in two ways: it fits the reward and applies the closed form, or
it trains the table by DPO. Goals are on the first; the second is reported.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import choix
import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from dpo_edu import distributions, gibbs, losses, preferences
from dpo_edu._checks import Floats
from dpo_edu.policies import TabularPolicy
from dpo_edu.training import fit_table
from tools.bench import Row, race, ratio

BETA, NEAR, VOTES = 0.5, 1e-10, 5000
RATES = (0.3, 0.1, 0.03, 0.01)  # of Adam; the best counts
MOST_STEPS = 20_000


@dataclass(frozen=True)
class Problem:
    """Random rewards, a reference, the population's votes on pairs from it, and pi*."""

    ref: Floats
    law: Floats
    optimum: Floats

    def distance(self, log_probs: Floats) -> float:
        """KL(pi* || pi), nats, of a policy's log-probs ``(K,)``."""
        return float(distributions.kl_divergence(self.optimum, np.exp(log_probs)))

    def by_reward(self) -> Floats:
        """log pi, ``(K,)``: the reward fitted to the votes, then the closed form."""
        fitted = preferences.fit_bradley_terry(self.law)[0]
        return gibbs.log_optimal_policy(fitted, self.ref, beta=BETA)

    def by_dpo(self) -> Floats:
        """log pi, ``(K,)``: a table trained by DPO."""
        return fit_table(self.ref, self.law, beta=BETA).log_probs[0]


def problem(size: int) -> Problem:
    """K standard normal rewards, a Dirichlet(2, ..., 2) reference."""
    rng = np.random.default_rng(size)
    reward, ref = rng.normal(size=size), rng.dirichlet(np.full(size, 2.0))
    star = gibbs.optimal_policy(reward, ref, beta=BETA)
    return Problem(ref, preferences.expected_wins(reward, ref), star)


def votes_on(size: int) -> preferences.PreferencePairs:
    """VOTES votes between uniformly drawn responses with standard normal rewards."""
    rng = np.random.default_rng(size)
    reward, uniform = rng.normal(size=size), np.full(size, 1 / size)
    return preferences.sample_pairs(reward, uniform, size=VOTES, rng=rng)


def fit(pairs: preferences.PreferencePairs, size: int) -> Floats:
    """Rewards ``(K,)`` by the package, counting included."""
    return preferences.fit_bradley_terry(preferences.count_wins(pairs, (1, size)))[0]


# --- the peers ----------------------------------------------------------------------------------


def by_choix(pairs: preferences.PreferencePairs, size: int) -> Floats:
    """Rewards ``(K,)`` by choix, to where its steps end: its usual 1e-8 leaves errors of 1e-9."""
    votes = np.column_stack([pairs.chosen, pairs.rejected])
    found = choix.ilsr_pairwise(size, votes, alpha=0, tol=1e-12)
    return np.asarray(found - found.mean())


def by_adam(
    task: Problem, rate: float, steps: int, watch: Callable[[Floats], bool] | None = None
) -> int:
    """As many full-batch steps, or until `watch` is content with the log-probs; how many."""
    policy = TabularPolicy(task.ref)
    chosen, rejected = (torch.tensor(side) for side in np.nonzero(task.law[0]))
    weight = torch.tensor(task.law[0])[chosen, rejected]
    ref = policy.log_ref[0]
    optimiser = torch.optim.Adam(policy.parameters(), lr=rate, eps=1e-16)
    for step in range(steps):
        log_probs = policy.log_probs()[0]
        if watch and watch(log_probs.detach().numpy()):
            return step
        each = losses.dpo_loss(
            log_probs[chosen], log_probs[rejected], ref[chosen], ref[rejected], beta=BETA
        )
        optimiser.zero_grad()
        torch.autograd.backward(weight @ each)
        optimiser.step()
    return steps


def steps_of_adam(task: Problem) -> tuple[int, float]:
    """The fewest steps that bring Adam within NEAR of pi*, and the learning rate that does it."""
    best = (MOST_STEPS, RATES[-1])
    for rate in RATES:
        steps = by_adam(task, rate, best[0], lambda found: task.distance(found) <= NEAR)
        if steps < best[0]:
            best = (steps, rate)
    return best


def by_lbfgs(task: Problem, steps: int, watch: Callable[[Floats], None] | None = None) -> None:
    """As many of SciPy's L-BFGS iterations on DPO's loss; `watch` sees the log-probs."""
    weight, log_ref = task.law[0], np.log(task.ref)

    def loss(theta: Floats) -> tuple[float, Floats]:
        margin = BETA * (theta[:, None] - theta)
        pull = BETA * weight * expit(-margin)
        return -float((weight * log_expit(margin)).sum()), pull.sum(axis=0) - pull.sum(axis=1)

    def seen(theta: Floats) -> None:
        if watch:
            watch(log_ref + theta - np.logaddexp.reduce(log_ref + theta))

    most = {"maxiter": steps, "maxfun": 10 * steps, "ftol": 0, "gtol": 0}
    minimize(loss, np.zeros(len(log_ref)), jac=True, method="L-BFGS-B", callback=seen, options=most)


def steps_of_lbfgs(task: Problem) -> int:
    """The iterations that bring L-BFGS within NEAR of pi*."""
    far: list[bool] = []
    by_lbfgs(task, 400, lambda found: far.append(task.distance(found) > NEAR))
    return far.index(False) + 1


# --- the rows -----------------------------------------------------------------------------------

Runs = dict[str, tuple[Callable[[], object], int]]  # what to run, how many times in a round


def seconds(runs: Runs, rounds: int = 9) -> dict[str, list[float]]:
    """Seconds of one run of each contestant in each round."""

    def repeated(run: Callable[[], object], times: int) -> Callable[[], object]:
        return lambda: [run() for _ in range(times)]

    taken = race({name: repeated(*run) for name, run in runs.items()}, rounds=rounds)
    return {name: [s / times for s in taken[name]] for name, (_, times) in runs.items()}


def over(taken: dict[str, list[float]], one: str, other: str, size: int, goal: str = "") -> Row:
    """How many times as long the one takes as the other at K = size."""
    return Row(f"{one} over {other}, K = {size:,}", ratio(taken, one, other), "×", goal)


def beside_choix() -> list[Row]:
    """Rewards from votes, K = 5 to 50: how far apart, and the ratios of the times."""
    rows, apart = [], 0.0
    for size in (5, 10, 20, 50):
        pairs, uniform = votes_on(size), np.full(size, 1 / size)
        wins = preferences.count_wins(pairs, (1, size))[0]
        apart = max(apart, float(np.abs(by_choix(pairs, size) - fit(pairs, size)).max()))
        runs: Runs = {
            "choix": (partial(by_choix, pairs, size), 1),
            "choix on counts": (partial(choix.ilsr_pairwise_dense, wins, alpha=0, tol=1e-12), 20),
            "the fit": (partial(fit, pairs, size), 20),
            "DPO's table": (partial(fit_table, uniform, pairs, beta=BETA), 5),
        }
        taken = seconds(runs)
        rows += [
            over(taken, "choix", "the fit", size, ">= 10"),
            over(taken, "choix", "DPO's table", size),
            over(taken, "choix on counts", "the fit", size),
        ]
    return [Row("largest difference from choix, reward units", apart, "", "<= 1e-10"), *rows]


def beside_adam() -> list[Row]:
    """To KL 1e-10 by Adam at its best rate, and by us."""
    rows = []
    for size in (4, 16, 64):
        task = problem(size)
        steps, rate = steps_of_adam(task)
        print(f"  K = {size}: Adam needs {steps} steps at rate {rate}", flush=True)
        runs: Runs = {
            "Adam": (partial(by_adam, task, rate, steps), 1),
            "the fit": (task.by_reward, 20),
            "DPO's table": (task.by_dpo, 5),
        }
        taken = seconds(runs)
        rows += [
            over(taken, "Adam", "the fit", size, ">= 100"),
            over(taken, "Adam", "DPO's table", size),
        ]
    return rows


def beside_lbfgs() -> list[Row]:
    """A thousand responses: to KL 1e-10 by L-BFGS, and by us."""
    task = problem(1000)
    steps = steps_of_lbfgs(task)
    print(f"  K = 1,000: L-BFGS needs {steps} steps", flush=True)
    runs: Runs = {
        "L-BFGS": (partial(by_lbfgs, task, steps), 1),
        "the fit": (task.by_reward, 1),
        "DPO's table": (task.by_dpo, 1),
    }
    taken = seconds(runs, rounds=5)
    why = (
        f"Both look at a million pairs in every step; the fit takes 7 instead of {steps}, but half"
        " of its time are the Cholesky factors of 1,000 × 1,000 matrices."
    )
    return [
        replace(over(taken, "L-BFGS", "the fit", 1000, ">= 20"), why=why),
        over(taken, "L-BFGS", "DPO's table", 1000),
        Row("the fit, K = 1,000", median(taken["the fit"]) * 1e3, "ms"),
    ]


def many() -> list[Row]:
    """20,000 tables of four responses at once: the time of each, and what one alone takes."""
    size, ref = 20_000, np.full(4, 0.25)
    law = preferences.expected_wins([-0.75, -0.25, 0.25, 0.75], ref).ravel()
    wins = np.random.default_rng(7).multinomial(VOTES, law, size=size).reshape(-1, 4, 4)
    runs: Runs = {
        "one fit": (partial(preferences.fit_bradley_terry, wins[0]), 20),
        "fits": (partial(preferences.fit_bradley_terry, wins), 1),
        "one table": (partial(fit_table, ref, wins[0], beta=BETA), 5),
        "tables": (partial(fit_table, np.tile(ref, (size, 1)), wins, beta=BETA), 1),
    }
    taken = seconds(runs)
    rows = []
    for one, all_ in (("one fit", "fits"), ("one table", "tables")):
        gain = size * ratio(taken, one, all_)
        each = median(taken[all_]) / size * 1e6
        rows.append(Row(f"{one} alone over each of 20,000, K = 4", gain, "×", ">= 10"))
        rows.append(Row(f"each of 20,000 {all_}, K = 4", each, "µs"))
    return rows


def measure() -> list[Row]:
    """Differences, ratios of times, and microseconds of one table among many."""
    return [*beside_choix(), *beside_adam(), *beside_lbfgs(), *many()]
