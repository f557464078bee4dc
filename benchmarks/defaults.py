"""Twenty random problems for a transformer, each trained by `train_dpo` as it comes.

From two to six tokens, length two to five, with and without an end token, at most 1,024 responses;
beta from 0.1 to 2 and normal rewards of scale 0.3 to 3, both even in the logarithm.
"""

import itertools
from typing import NamedTuple

import numpy as np
import torch

from dpo_edu import gibbs, preferences
from dpo_edu.policies import TinyTransformer
from dpo_edu.sequences import SequenceSpace
from dpo_edu.training import STEPS, train_dpo
from tools.bench import Row

PROBLEMS, MOST, ENOUGH = 20, 1024, 1e-12


class Ended(NamedTuple):
    """How a training ended."""

    responses: int
    kl: float  # KL(pi* || pi), nats
    by_adamw: float  # the same where AdamW ended
    converged: bool
    seconds: float

    @property
    def arrived(self) -> bool:
        """Whether it is where it should be, and says so."""
        return self.converged and self.kl <= ENOUGH


def spaces() -> list[SequenceSpace]:
    """Every space of these sizes that is small enough."""
    sizes = itertools.product(range(2, 7), range(2, 6), (False, True))
    every = [SequenceSpace(tokens, length, end_token=end) for tokens, length, end in sizes]
    return [space for space in every if space.size <= MOST]


def trained(seed: int) -> Ended:
    """Draw a problem and train a network of another draw than the reference, from all pairs."""
    rng = np.random.default_rng(seed)
    possible = spaces()
    space = possible[rng.integers(len(possible))]
    beta, scale = np.exp(rng.uniform(np.log([0.1, 0.3]), np.log([2.0, 3.0])))
    reward, even = rng.normal(scale=scale, size=space.size), np.full(space.size, 1 / space.size)
    reference, policy = (TinyTransformer(space, seed=2 * seed + k) for k in (1, 2))
    ref = reference.log_probs().detach().exp().numpy()
    votes = preferences.expected_wins(reward, even)
    goal = gibbs.optimal_policy(reward, ref[0], beta=beta)
    run = train_dpo(policy, ref, votes, beta=float(beta), optimum=goal, device="cpu")
    kl = run.history.kl
    return Ended(space.size, float(kl[-1]), float(kl[STEPS]), run.converged, run.seconds)


def measure() -> list[Row]:
    """One after the other on one thread; those that do not arrive have rows of their own."""
    torch.set_num_threads(1)
    found = []
    for seed in range(PROBLEMS):
        found.append(trained(seed))
        size, kl, before, _, seconds = found[-1]
        text = f"{size} responses, {before:.0e} nats by AdamW, {kl:.0e} at the end, {seconds:.0f} s"
        print(f"  {seed + 1}/{PROBLEMS}: {text}", flush=True)
    late = [each for each in found if not each.arrived]
    longest = max(found, key=lambda each: each.seconds)
    what = f"of {PROBLEMS} random problems, within 10⁻¹² nats and `converged`"
    return [
        Row(what, PROBLEMS - len(late), "", f">= {PROBLEMS - 1}"),
        Row("of these, within 10⁻¹² nats by AdamW alone", sum(x.by_adamw <= ENOUGH for x in found)),
        *(Row(f"not so: {each.responses} responses, KL", each.kl, "nats") for each in late),
        Row("the largest KL(π* ‖ π) where AdamW ended", max(x.by_adamw for x in found), "nats"),
        Row("the largest KL(π* ‖ π) at the end", max(x.kl for x in found), "nats"),
        Row(f"the longest training, of {longest.responses} responses", longest.seconds, "s"),
    ]
