"""What each road to the same policy costs, with seconds, beside
the table of `take_the_road_by_a_reward_model`.

python benchmarks/roads.py
"""

import statistics
from collections.abc import Callable

import numpy as np
import torch

from dpo_edu import gibbs, preferences, rlhf
from dpo_edu.policies import TabularPolicy
from dpo_edu.rlhf import PolicyRun
from dpo_edu.training import TrainingRun, minibatch_dpo, train_dpo

BETA, TARGET, REPEATS = 0.5, 1e-12, 5
REWARD = np.array([[0, 0.6, 1.2, 1.8, 0.9, -0.45], [1.5, -0.3, 0.75, 0.45, 0, 1.35]])
REF = np.array([[0.25, 0.2, 0.15, 0.1, 0.2, 0.1], [0.1, 0.25, 0.15, 0.2, 0.2, 0.1]])

Road = Callable[[TabularPolicy], PolicyRun | TrainingRun]


def roads() -> dict[str, Road]:
    """Every road from 1,000 votes (or the reward fitted to them) to the policy, ready to be run."""
    votes = preferences.sample_pairs(REWARD, REF, size=1000, rng=np.random.default_rng(1))
    fitted = preferences.fit_bradley_terry(preferences.count_wins(votes, REWARD.shape))
    how = {"beta": BETA, "device": "cpu"}
    how |= {"optimum": gibbs.optimal_policy(fitted, REF, beta=BETA)}

    def draws() -> np.random.Generator:
        return np.random.default_rng(0)

    plain = {"learning_rate": 80, "batch_size": 1000, "epochs": 60}
    ppo = {"steps": 500, "batch_size": 16, "epochs": 3, "clip": 0.2, "learning_rate": 5}
    exact = {"steps": 600, "learning_rate": 20}
    reinforce = {"steps": 600, "batch_size": 8, "learning_rate": 20}
    return {
        "DPO, plain steps": lambda p: minibatch_dpo(p, REF, votes, rng=draws(), **plain, **how),
        "DPO, Newton": lambda p: train_dpo(p, REF, votes, **how),
        "exact gradient": lambda p: rlhf.exact_policy_gradient(p, REF, fitted, **exact, **how),
        "REINFORCE": lambda p: rlhf.reinforce(p, REF, fitted, rng=draws(), **reinforce, **how),
        "PPO": lambda p: rlhf.ppo(p, REF, fitted, rng=draws(), **ppo, **how),
    }


def main() -> None:
    """One line a road: steps, gradients, samples and reward calls to KL 1e-12; seconds over DPO's.

    The seconds are those of the policy stage up to the target, medians of five runs.
    """
    torch.set_num_threads(1)
    base = None
    print(f"{'road':17} {'steps':>6} {'gradients':>9} {'samples':>8} {'rewards':>8} {'seconds':>8}")
    for name, road in roads().items():
        runs = [road(TabularPolicy(REF)) for _ in range(REPEATS)]
        kl = runs[0].history.kl
        needed, taken = int(np.argmax(kl <= TARGET)), len(kl) - 1
        seconds = statistics.median(run.seconds for run in runs) * needed / taken
        base = base or seconds
        cost = getattr(runs[0], "cost", rlhf.Cost(taken, 0, 0, taken))
        gradients, samples = (count * needed // taken for count in (cost.gradients, cost.samples))
        rewards = samples or cost.reward_calls
        line = f"{name:17} {needed:6} {gradients:9} {samples:8} {rewards:8}"
        print(f"{line} {f'x {seconds / base:.2g}':>8}", flush=True)


if __name__ == "__main__":
    main()
