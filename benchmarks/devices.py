"""Train the same policies on every device of this machine; say how near pi* they end and how fast.

python benchmarks/devices.py
"""

import numpy as np
import torch

from dpo_edu import gibbs, preferences
from dpo_edu.policies import TabularPolicy, TinyTransformer
from dpo_edu.sequences import SequenceSpace
from dpo_edu.training import TrainingRun, train_dpo

BETA = 0.5


def trained(kind: str, size: int, device: str) -> TrainingRun:
    """A population fit of one policy over `size` responses on one device."""
    rng = np.random.default_rng(size)
    reward, ref = rng.normal(size=size), rng.dirichlet(np.full(size, 2.0))
    population = preferences.expected_wins(reward, ref)
    optimum = gibbs.optimal_policy(reward, ref, beta=BETA)
    vocabulary = round(size**0.25)
    space = SequenceSpace(vocabulary, 4)
    policy = TabularPolicy(ref) if kind == "table" else TinyTransformer(space)
    return train_dpo(policy, ref, population, beta=BETA, device=device, optimum=optimum)


def main() -> None:
    """One line for each policy: divergence on each device, and the ratio of the times."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if "cuda" in devices:
        print(torch.cuda.get_device_name(), "torch", torch.__version__)
        trained("table", 16, "cuda")  # the first use of a device is slow: leave it out
    for kind, size in (("table", 256), ("transformer", 256), ("transformer", 4096)):
        runs = {device: trained(kind, size, device) for device in devices}
        line = ", ".join(
            f"{device} KL(pi* || pi_theta) = {run.history.kl[-1]:.1e}"
            for device, run in runs.items()
            if run.history.kl is not None
        )
        apart = np.abs(np.exp(runs[devices[-1]].log_probs) - np.exp(runs["cpu"].log_probs)).max()
        ratio = runs["cpu"].seconds / runs[devices[-1]].seconds
        print(
            f"{kind} over {size} responses: {line}; policies apart {apart:.1e};"
            f" time cpu / {devices[-1]} = {ratio:.2g}",
            flush=True,
        )


if __name__ == "__main__":
    main()
