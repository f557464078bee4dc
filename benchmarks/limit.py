"""How near DPO comes to the least error that votes allow, and how near Adam does in the same votes.

The instance is that of the notebook `reach_the_statistical_limit`; the bound is Cramer and Rao's.
"""

import numpy as np
import torch

from dpo_edu import gibbs, losses, preferences, statistics
from dpo_edu._checks import Floats
from dpo_edu.policies import TabularPolicy
from dpo_edu.training import fit_table
from tools.bench import Row

BETA, VOTES, SAMPLES = 0.5, 5000, 20_000
ADAM_SAMPLES, BATCH, RATE = 400, 64, 0.01
TRUTH, UNIFORM = np.array([-0.75, -0.25, 0.25, 0.75]), np.full(4, 0.25)


def samples(size: int) -> Floats:
    """The counts of as many samples of VOTES votes, ``(size, 4, 4)``."""
    law = preferences.expected_wins(TRUTH, UNIFORM).ravel()
    counts = np.random.default_rng([7, VOTES]).multinomial(VOTES, law, size=size)
    return counts.reshape(-1, 4, 4).astype(float)


def statistic(policies: Floats) -> float:
    """Mean squared error of the rewards that policies ``(size, 4)`` imply, over the bound's."""
    error = gibbs.implicit_reward(policies, UNIFORM, beta=BETA) - TRUTH
    error -= error.mean(axis=1, keepdims=True)
    bound = statistics.cramer_rao_bound(TRUTH, UNIFORM, size=VOTES)
    return float(np.einsum("bi,ij,bj->b", error, np.linalg.pinv(bound), error).mean() / 3)


def votes_of(wins: Floats, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Winners and losers of every sample's votes in a random order, ``(size, VOTES)`` each."""
    kinds = [rng.permutation(np.repeat(np.arange(16), w.ravel().astype(int))) for w in wins]
    winner, loser = np.divmod(np.array(kinds), 4)
    return torch.tensor(winner), torch.tensor(loser)


def by_adam(wins: Floats, epochs: int) -> Floats:
    """Policies ``(size, 4)`` after Adam on shuffled minibatches: one table for each sample."""
    rng = np.random.default_rng(1)
    winner, loser = votes_of(wins, rng)
    policy = TabularPolicy(np.tile(UNIFORM, (len(wins), 1)))
    optimiser = torch.optim.Adam(policy.parameters(), lr=RATE)
    for _ in range(epochs):
        order = torch.tensor(rng.permutation(VOTES))
        for batch in torch.split(order, BATCH):
            chosen, rejected = (
                policy.log_probs().gather(1, kind[:, batch]) for kind in (winner, loser)
            )
            ref = torch.full_like(chosen, np.log(0.25)).detach()
            loss = losses.dpo_loss(chosen, rejected, ref, ref, beta=BETA)
            optimiser.zero_grad()
            torch.autograd.backward(loss.mean(dim=1).sum())  # the tables do not see each other
            optimiser.step()
    return policy.log_probs().detach().exp().numpy()


def measure() -> list[Row]:
    """The statistic of DPO at its minimum and of Adam, and DPO beside the fitted reward's pi*."""
    wins = samples(SAMPLES)
    trained = np.exp(fit_table(np.tile(UNIFORM, (SAMPLES, 1)), wins, beta=BETA).log_probs)
    fitted = gibbs.optimal_policy(preferences.fit_bradley_terry(wins), UNIFORM, beta=BETA)
    apart = float(np.abs(trained - fitted).max())
    rows = [
        Row("squared error over the bound, DPO", statistic(trained), "", ">= 0.97 <= 1.03"),
        Row("largest difference, DPO and π* of the fitted reward", apart, "", "<= 1e-12"),
    ]
    for epochs in (1, 100):
        print(f"  Adam, epochs: {epochs}", flush=True)
        found = statistic(by_adam(wins[:ADAM_SAMPLES], epochs))
        rows.append(Row(f"squared error over the bound, Adam, epochs: {epochs}", found))
    return rows
