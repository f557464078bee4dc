"""Train on every device of this machine: how near pi* a policy ends, how fast a step is.

python -m benchmarks.devices [--tokens 10] [--longest 6] [--steps 3000]

First the same small policies on each device, in float64: they must end at the same place. Then a
transformer over tokens^length responses, in float32, for each length up to the longest: steps a
second, and the arithmetic of its matrix products a second beside one large product on that device,
which is its ceiling. At last a transformer over the longest responses is trained to pi*.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.growth import BETA, reference, ring, step_of
from dpo_edu import distributions, gibbs, preferences, training
from dpo_edu._checks import Floats
from dpo_edu._fit import Fit
from dpo_edu.policies import TabularPolicy, TinyTransformer
from dpo_edu.preferences import PreferencePairs
from dpo_edu.sequences import SequenceSpace
from tools.bench import race

SIZE = {"layers": 2, "width": 64, "heads": 2}
ENOUGH = 1e-6  # nats


def trained(kind: str, size: int, device: str) -> training.TrainingRun:
    """A population fit of one policy over `size` responses on one device."""
    rng = np.random.default_rng(size)
    reward, ref = rng.normal(size=size), rng.dirichlet(np.full(size, 2.0))
    population = preferences.expected_wins(reward, ref)
    optimum = gibbs.optimal_policy(reward, ref, beta=BETA)
    vocabulary = round(size**0.25)
    space = SequenceSpace(vocabulary, 4)
    policy = TabularPolicy(ref) if kind == "table" else TinyTransformer(space)
    return training.train_dpo(policy, ref, population, beta=BETA, device=device, optimum=optimum)


def agreement(devices: list[str]) -> None:
    """One line for each policy: divergence on each device, and the ratio of the times."""
    for device in devices[1:]:
        trained("table", 16, device)  # the first use of a device is slow: leave it out
    for kind, size in (("table", 256), ("transformer", 256), ("transformer", 625)):
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


def sparse(size: int) -> PreferencePairs:
    """Each response beside six others, both ways: a ring of them all, and two rings shuffled."""
    rng, rings = np.random.default_rng(0), [np.arange(size)]
    rings += [rng.permutation(size) for _ in range(2)]
    one, other = np.hstack(rings), np.hstack([np.roll(ring, 1) for ring in rings])
    ends = np.hstack([one, other]), np.hstack([other, one])
    return PreferencePairs(np.zeros(len(ends[0]), int), *ends)


def population_fit(space: SequenceSpace, device: str) -> tuple[Fit, Floats]:
    """A fit in float32 to the votes that infinitely many voters cast on sparse pairs, and pi*.

    The reward is beta times the log-ratio of two networks, so a network can hold it, and pi* is the
    other network.
    """
    policy, goal = (TinyTransformer(space, **SIZE, seed=seed).float() for seed in (1, 2))
    ref, optimum = reference(policy), reference(goal)
    fit = Fit(policy, ref, sparse(space.size), beta=BETA, device=device)
    reward = BETA * torch.tensor(np.log(optimum / ref)).flatten().to(fit.weight)
    wins = torch.sigmoid(reward[fit.chosen] - reward[fit.rejected])
    fit.weight = wins / wins.sum()
    return fit, optimum


def seconds_of(run: Callable[[], object], device: str) -> float:
    """The median time of a run."""

    def done() -> None:
        run()
        if device == "cuda":
            torch.cuda.synchronize()

    return statistics.median(race({"run": done})["run"])


def ceiling(device: str) -> float:
    """Operations a second of one large product in float32, as a step computes its products."""
    size = 8192 if device == "cuda" else 1024
    a = torch.randn(size, size, device=device)
    return 2 * size**3 / seconds_of(lambda: a @ a, device)


def speed(space: SequenceSpace, device: str, most: float) -> None:
    """One line: steps a second over a space, and what share of the ceiling its products reach."""
    policy, votes = TinyTransformer(space, **SIZE).float(), ring(np.zeros((1, space.size)))
    step = step_of(policy, votes, device)
    with FlopCounterMode(display=False) as counter:
        step()
    seconds = seconds_of(step, device)
    rate = counter.get_total_flops() / seconds
    print(
        f"{space.size} responses on {device}: {1 / seconds:.3g} steps a second,"
        f" {rate / 1e9:.3g} GFLOP/s, {rate / most:.0%} of the ceiling",
        flush=True,
    )


def arrival(space: SequenceSpace, device: str, steps: int) -> None:
    """One line: KL(pi* || pi_theta) after training on the population, beside where it began."""
    fit, optimum = population_fit(space, device)
    begin = time.perf_counter()
    fit.progress = True
    training._anneal(fit, steps, 3e-3)
    kl = [
        float(distributions.kl_divergence(optimum, policy).item())
        for policy in (fit.log_ref.double().exp().cpu().numpy(), reference(fit.policy))
    ]
    print(
        f"{space.size} responses on {device}: KL(pi* || pi) from {kl[0]:.2g} to {kl[1]:.1e} nats"
        f" ({'within' if kl[1] <= ENOUGH else 'beyond'} {ENOUGH:.0e}) in {steps} steps and"
        f" {time.perf_counter() - begin:.0f} s",
        flush=True,
    )


def main() -> None:
    """What each device does."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--longest", type=int, default=6, help="tokens of a response")
    parser.add_argument("--steps", type=int, default=3000, help="of the training to pi*")
    chosen = parser.parse_args()
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    names = [platform.machine(), *([torch.cuda.get_device_name()] if len(devices) > 1 else [])]
    print(f"{date.today()}, {' and '.join(names)}, torch {torch.__version__}", flush=True)
    agreement(devices)
    for device in devices:
        most = ceiling(device)
        print(f"ceiling of {device}: {most / 1e9:.3g} GFLOP/s", flush=True)
        for length in range(2, chosen.longest + 1):
            speed(SequenceSpace(chosen.tokens, length), device, most)
    arrival(SequenceSpace(chosen.tokens, chosen.longest), devices[-1], chosen.steps)


if __name__ == "__main__":
    main()
