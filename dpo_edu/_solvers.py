"""The ways to the minimum: damped Newton steps where the loss is convex, else annealed AdamW."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from tqdm.auto import tqdm

from dpo_edu import _newton, distributions
from dpo_edu._checks import Floats
from dpo_edu._objective import Objective, log_probs_of, to_numpy
from dpo_edu.policies import LogLinearPolicy, TabularPolicy

# The schedule for everything that is not convex. With it the 256 sequences of four tokens are
# fitted to KL < 1e-17 nats from sixteen seeds of sixteen (rewards of unit spread, beta = 0.5); at
# twice the rate one of five seeds was still in a burst when the rate had fallen.
STEPS = 2000
LEARNING_RATE = 0.01
PROGRESS_DELAY = 2.0


@dataclass
class Recorder:
    """Collects losses during training, and divergences from an optimum ``(X, Y)`` if given."""

    optimum: Floats | None
    losses: list[float] = field(default_factory=list)
    kls: list[float] = field(default_factory=list)

    def add(self, loss: Tensor, log_probs: Tensor) -> None:
        """Note the loss and KL(pi* || pi_theta), averaged over prompts."""
        self.losses.append(loss.item())
        if self.optimum is not None:
            log_p, log_q = distributions.log_of(self.optimum), to_numpy(log_probs)
            terms = distributions.divergence_terms(self.optimum, log_p, log_q)
            self.kls.append(float(terms.sum(axis=-1).mean()))


def bar(steps: int, progress: bool) -> "tqdm[int]":
    """Steps, with a bar on stderr if asked for and if they last more than two seconds."""
    form = "{l_bar}{bar}| {n_fmt}/{total_fmt}"
    return tqdm(range(steps), disable=not progress, delay=PROGRESS_DELAY, bar_format=form)


def newton_run(
    policy: TabularPolicy, objective: Objective, recorder: Recorder, progress: bool
) -> bool | None:
    """Damped Newton steps on a table until one moves no reward by 1e-10; whether that happened.

    None if it had to give up because the loss is flat somewhere.
    """
    steps = _newton.NewtonSteps(
        objective.graph, objective.chosen, objective.rejected, objective.weight
    )
    runaway = torch.tensor(objective.runs_away()).to(policy.theta.device)[:, None]
    for k in bar(_newton.MOST_STEPS, progress):
        log_probs = policy.log_probs().detach()
        recorder.add(objective.mean_loss(log_probs), log_probs)
        slope, curvature = _newton.derivatives(objective.pair_loss, *objective.pairs(log_probs))
        direction = steps.direction(slope, curvature)
        if direction is None:
            return None
        if k >= _newton.RUNAWAY_STEPS:
            direction = torch.where(runaway, 0.0, direction)
        move = direction * _newton.damping(direction, objective.beta)
        with torch.no_grad():
            policy.theta.add_(_in_theta(move, log_probs, objective.lengths))
        if objective.beta * direction.abs().max() < _smallest_step(objective, log_probs):
            return not bool(runaway.any())
    return False


def newton_in_features(
    policy: LogLinearPolicy, objective: Objective, recorder: Recorder, progress: bool
) -> bool | None:
    """Damped Newton steps for shared features; whether one moved no reward difference by 1e-10.

    The partition function cancels in each pair, so the loss is convex in theta. The step of least
    norm leaves alone what the votes do not determine. None if the loss has no curvature.
    """
    each = policy.features.expand(*policy.log_ref.shape, -1).flatten(end_dim=1)
    contrast = each[objective.chosen] - each[objective.rejected]
    for _ in bar(_newton.MOST_FEATURE_STEPS, progress):
        log_probs = policy.log_probs().detach()
        recorder.add(objective.mean_loss(log_probs), log_probs)
        slope, curvature = _newton.derivatives(objective.pair_loss, *objective.pairs(log_probs))
        if not curvature.any():
            return None
        hessian = contrast.T @ ((objective.weight * curvature)[:, None] * contrast)
        inverse = torch.linalg.pinv(hessian, rtol=1e-13, hermitian=True)
        direction = -inverse @ (contrast.T @ (objective.weight * slope))
        change = objective.beta * (contrast @ direction).abs().max()
        with torch.no_grad():
            policy.theta.add_(direction * (torch.log1p(change) / change if change > 0 else 1.0))
        if change < _smallest_step(objective, log_probs):
            return True
    return False


def _smallest_step(objective: Objective, log_probs: Tensor) -> float:
    """1e-10 reward units, or what the rounding of the log-probs allows if that is more."""
    largest = torch.cat(objective.pairs(log_probs)).abs().max().item()
    rounding = 8 * torch.finfo(log_probs.dtype).eps * objective.beta * largest
    return max(_newton.SMALL_STEP, rounding)


def _in_theta(move: Tensor, log_probs: Tensor, lengths: Tensor | None) -> Tensor:
    """The change of theta that changes the scores by `move`, up to a constant for each prompt.

    With scores log pi / length that constant c matters: ``sum_y pi(y) exp(length (move + c)) = 1``.
    """
    if lengths is None:
        return move
    c = torch.zeros_like(move[:, :1])
    for _ in range(60):
        grown = log_probs + lengths * (move + c)
        total = grown.logsumexp(dim=-1, keepdim=True)
        # Newton for c; the slope of `total` is the mean length, never under the shortest.
        c = c - total / ((grown - total).exp() * lengths).sum(dim=-1, keepdim=True)
    return lengths * (move + c)


def annealed_run(
    policy: nn.Module,
    objective: Objective,
    recorder: Recorder,
    steps: int,
    learning_rate: float,
    progress: bool,
) -> None:
    """Full-batch AdamW, its rate rising for a tenth of the steps and falling to zero after."""
    parameters = [p for p in policy.parameters() if p.requires_grad]
    # No weight decay: it would move the optimum. The usual eps of 1e-8 would not be small beside
    # gradients of the order of beta^2; the rate ends near zero, so that the last steps settle.
    optimiser = torch.optim.AdamW(
        parameters,
        lr=learning_rate,
        eps=1e-16,
        weight_decay=0.0,
        fused=True,
    )
    schedule = OneCycleLR(
        optimiser,
        max_lr=learning_rate,
        total_steps=steps,
        pct_start=0.1,
        cycle_momentum=False,
        final_div_factor=1e6,
    )
    for _ in bar(steps, progress):
        log_probs = log_probs_of("policy", policy)
        loss = objective.mean_loss(log_probs)
        recorder.add(loss, log_probs)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    optimiser.zero_grad()
