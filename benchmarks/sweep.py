"""A sweep of trainings, on one machine or many: beta x votes x loss x seed.

python benchmarks/sweep.py [--workers 2 | --scheduler ADDRESS] [--seeds 20] [--store build/sweep]

Each run draws a thousand samples of votes on six responses, trains a table on each, and returns
how far they end from the optimum; what is printed are means over seeds.
"""

import argparse
import contextlib
import time

import numpy as np

from dpo_edu import distributions, gibbs, losses, preferences, sweeps
from dpo_edu.training import fit_table

SAMPLES = 1000
LOSSES = {"dpo": losses.dpo_loss, "ipo": losses.ipo_loss}


def distance(beta: float, votes: int, loss: str, seed: int) -> float:
    """Mean KL(pi* || pi) in nats of SAMPLES tables, each trained on as many votes of its own."""
    problem, draws = np.random.default_rng(1), np.random.default_rng([seed, votes])
    reward, ref = problem.normal(size=6), problem.dirichlet(np.full(6, 3.0))
    law = preferences.expected_wins(reward, ref)
    wins = draws.multinomial(votes, law.ravel(), size=SAMPLES).reshape(-1, 6, 6)
    fitted = fit_table(np.tile(ref, (SAMPLES, 1)), wins, beta=beta, loss=LOSSES[loss])
    star = gibbs.optimal_policy(reward, ref, beta=beta)
    return float(distributions.kl_divergence(star, np.exp(fitted.log_probs)).mean())


def main() -> None:
    """Run the sweep and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=1, help="processes on this machine")
    parser.add_argument("--scheduler", help="address of a dask scheduler, whose workers compute")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--store", help="folder that keeps finished runs")
    options = parser.parse_args()
    betas, sizes = [0.1, 0.5, 2.0], [1000, 10_000, 100_000]
    cells = sweeps.grid(beta=betas, votes=sizes, loss=[*LOSSES], seed=range(options.seeds))
    with contextlib.ExitStack() as stack:
        client = None
        if options.scheduler:
            from dask.distributed import Client

            client = stack.enter_context(Client(options.scheduler))
        start = time.perf_counter()
        found = sweeps.run(
            distance, cells, workers=options.workers, client=client, store=options.store,
            progress=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    means = np.reshape(found, (3, 3, 2, options.seeds)).mean(axis=-1)
    for beta, rows in zip(betas, means, strict=True):
        for votes, (dpo, ipo) in zip(sizes, rows, strict=True):
            print(f"beta {beta:3}, {votes:7,} votes: KL(pi* || pi) DPO {dpo:.2e}, IPO {ipo:.2e}")
    print(f"{len(cells)} runs, {seconds:.1f} s, {seconds / len(cells) * 1e3:.0f} ms each")


if __name__ == "__main__":
    main()
