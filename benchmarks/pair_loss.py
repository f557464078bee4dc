"""The loss of a pair and its gradient, beside the formula written with torch alone."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dpo_edu import losses
from tools.bench import Row, race, ratio

BETA = 0.1
SIZES = {1_000: 2_000, 10_000: 800, 100_000: 100, 1_000_000: 15}  # pairs, rounds
WHY = "The checks take about 4 µs at any size, more where larger arrays have emptied the cache."


def pairs(size: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Log-probabilities of winners and losers under policy and reference."""
    generator = torch.Generator().manual_seed(16)
    logps = [torch.randn(size, generator=generator, dtype=dtype) - 20 for _ in range(4)]
    return [logps[0].requires_grad_(), logps[1].requires_grad_(), *logps[2:]]


def bare(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> Tensor:
    """The loss as one writes it without a check."""
    return -logsigmoid(BETA * ((chosen - rejected) - (ref_chosen - ref_rejected)))


def ours(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> Tensor:
    """The package's loss."""
    return losses.dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta=BETA)


def gradients(loss: Tensor, logps: list[Tensor]) -> tuple[Tensor, ...]:
    """Of the mean loss, in the log-probabilities of winners and losers."""
    return torch.autograd.grad(loss.mean(), logps[:2])


def row(size: int, rounds: int) -> Row:
    """Time of value and gradient as a multiple of the bare formula's."""
    print(f"  {size:,} pairs", flush=True)
    logps = pairs(size)
    contestants = {f.__name__: lambda f=f: gradients(f(*logps), logps) for f in (ours, bare)}
    taken = race(contestants, rounds=rounds, warm=5)
    goal = "<= 1.15" if size < 10_000 else "<= 1.05"
    what = f"value and gradient over the bare formula's, {size:,} pairs"
    return Row(what, ratio(taken, "ours", "bare"), "×", goal, WHY)


def measure() -> list[Row]:
    """What the checks of the loss cost, from a thousand to a million pairs."""
    torch.set_num_threads(1)
    return [row(size, rounds) for size, rounds in SIZES.items()]
