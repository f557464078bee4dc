"""How the cost of a step grows: with votes, responses, prompts, length and width of a network.

Each size is timed in turn with the others; the exponent is the slope of a line through the logs of
the medians. Nothing here needs an array of pairs of responses or of pairs of prefixes.
"""

import io
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from matplotlib import pyplot as plt
from PIL import Image
from scipy.special import expit

from dpo_edu import chains, plots
from dpo_edu._checks import Floats
from dpo_edu._fit import Fit
from dpo_edu.policies import TabularPolicy, TinyTransformer
from dpo_edu.preferences import PreferencePairs
from dpo_edu.sequences import SequenceSpace
from dpo_edu.training import train_dpo
from tools import notebooks
from tools.bench import FOUND, Row, race

BETA = 0.5
GIB = 2**20  # of kilobytes, in which Linux counts
MANY = SequenceSpace(10, 6)  # a million responses
MANY_STEPS, MANY_RATE = 20, 1e-3


def ring(reward: Floats, votes: int = 0) -> PreferencePairs:
    """Votes between neighbours on a ring of responses, each pair at least once: sparse, connected.

    `reward` is ``(X, Y)``, and the votes are of Bradley and Terry.
    """
    rng, responses = np.random.default_rng(0), reward.shape[1]
    at = np.concatenate([np.arange(reward.size), rng.integers(reward.size, size=votes)])
    x, y = np.divmod(at, responses)
    other = (y + 1) % responses
    won = rng.random(len(at)) < expit(reward[x, y] - reward[x, other])
    return PreferencePairs(x, np.where(won, y, other), np.where(won, other, y))


def reference(policy: TabularPolicy | TinyTransformer) -> Floats:
    """The policy's probabilities ``(X, Y)`` in float64, rounded nowhere but in the log-probs."""
    ref: Floats = policy.log_probs().detach().double().softmax(dim=1).cpu().numpy()
    return ref


def step_of(
    policy: TabularPolicy | TinyTransformer, votes: PreferencePairs, device: str = "cpu"
) -> Callable[[], None]:
    """One full-batch step of AdamW from the policy as it is."""
    fit = Fit(policy, reference(policy), votes, beta=BETA, device=device)
    adam = torch.optim.AdamW(fit.parameters, lr=1e-4, weight_decay=0.0, fused=True)

    def step() -> None:
        _, loss = fit.look()
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()

    return step


def table(prompts: int, responses: int, votes: int = 0) -> Callable[[], None]:
    """A step of a table."""
    ref = np.full((prompts, responses), 1 / responses)
    return step_of(TabularPolicy(ref), ring(np.zeros((prompts, responses)), votes))


def network(length: int, width: int) -> Callable[[], None]:
    """A step of a transformer over four tokens."""
    space = SequenceSpace(4, length)
    return step_of(TinyTransformer(space, width=width), ring(np.zeros((1, space.size))))


FAMILIES: dict[str, tuple[dict[int, Callable[[], Callable[[], None]]], str]] = {
    "votes, a table": ({10**n: partial(table, 1, 1000, 10**n) for n in (4, 5, 6, 7)}, "<= 0.05"),
    "responses, a table": ({10**n: partial(table, 1, 10**n) for n in (4, 5, 6)}, "<= 1.2"),
    "prompts, a table": ({10**n: partial(table, 10**n, 100) for n in (2, 3, 4)}, "<= 1.2"),
    "responses, a network": ({4**n: partial(network, n, 32) for n in (6, 7, 8)}, "<= 1.2"),
    "width of a network": ({n: partial(network, 5, n) for n in (64, 128, 256, 512)}, "<= 2.1"),
}


def medians(makers: dict[int, Callable[[], Callable[[], None]]]) -> dict[int, float]:
    """The median seconds of a step of each size, taken in turn."""
    taken = race({str(size): make() for size, make in makers.items()}, rounds=7)
    return {int(size): statistics.median(seconds) for size, seconds in taken.items()}


def exponent(seconds: dict[int, float]) -> float:
    """The slope of a line through the logs of sizes and seconds."""
    return float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])


def many(space: SequenceSpace = MANY, steps: int = MANY_STEPS) -> Floats:
    """The losses in float32 before each step towards another network, and after the last.

    The schedule has one step more, the last, which stands still.
    """
    policy, goal = (TinyTransformer(space, seed=seed).float() for seed in (1, 2))
    ref = reference(policy)
    votes = ring(BETA * np.log(reference(goal) / ref))
    options = {"beta": BETA, "device": "cpu", "steps": steps + 1, "learning_rate": MANY_RATE}
    return train_dpo(policy, ref, votes, **options).history.loss[:-1]


def chain(places: int = 32, tokens: int = 27) -> tuple[float, float]:
    """Seconds for pi* of a chain, and the error of KL(pi* || pi_ref) = E[r]/beta - log Z, nats."""
    rng, shape = np.random.default_rng(0), (places, tokens, tokens)
    ref, reward = rng.dirichlet(np.ones(tokens), shape[:2]), rng.normal(size=shape)
    start = time.perf_counter()
    star = chains.optimal_chain(reward, ref, beta=BETA)
    seconds = time.perf_counter() - start
    mean = (chains.occupancy(star)[:, :, None] * star * reward).sum()
    log_z = chains.soft_values(reward, ref, beta=BETA)[0, 0] / BETA
    return seconds, abs(float(chains.kl_divergence(star, ref) - mean / BETA + log_z))


def draw(curves: dict[str, dict[int, float]]) -> Image.Image:
    """Milliseconds against size, each family with its exponent."""
    plots.use_style()
    fig, ax = plt.subplots(figsize=(7, 4.2), dpi=100)
    for (name, curve), role in zip(curves.items(), plots.INK, strict=False):
        label = f"{name}: {exponent(curve):.2f}"
        ax.loglog(
            curve.keys(),
            np.array(list(curve.values())) * 1e3,
            "o-",
            color=plots.INK[role],
            label=label,
        )
    ax.set(
        xlabel="how many",
        ylabel="a step, ms",
        title="A step costs the same for any number of votes",
    )
    ax.legend(title="exponent", frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    with io.BytesIO() as buffer:
        fig.savefig(buffer, format="png", bbox_inches="tight")
        plt.close(fig)
        return Image.open(buffer).convert("RGB")


def measure() -> list[Row]:
    """A million responses first, whose memory is the most; then the families and the chain."""
    start = time.perf_counter()
    loss = many()
    each = (time.perf_counter() - start) / MANY_STEPS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB
    curves = {}
    for name, (makers, _) in FAMILIES.items():
        print(name, flush=True)
        curves[name] = medians(makers)
    plt.switch_backend("agg")
    picture = draw(curves).quantize(32, dither=Image.Dither.NONE)
    with io.BytesIO() as buffer:
        picture.save(buffer, "PNG", optimize=True)
        notebooks.save(FOUND / "growth.png", buffer.getvalue())
    seconds, wrong = chain()
    return [
        *(
            Row(f"exponent of {name}", exponent(curves[name]), "", goal)
            for name, (_, goal) in FAMILIES.items()
        ),
        Row(
            "a million responses: steps of 20 at which the loss did not fall",
            float((np.diff(loss) >= 0).sum()),
            "",
            "<= 0",
        ),
        Row("a million responses: peak memory", peak, "GiB", "<= 24"),
        Row("a million responses: a step", each, "s"),
        Row("27^32 responses: error of KL = E[r]/β - log Z", wrong, "nats", "<= 1e-10"),
        Row("27^32 responses: their optimal policy", seconds * 1e3, "ms"),
    ]
