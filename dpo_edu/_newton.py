"""Damped Newton steps for a convex loss of log-probability differences, all prompts at once.

The second derivative of ``sum w l(u_i - u_j)`` is the Laplacian of the comparison graph with
weights ``w l''``. It cannot see a constant added to a component of that graph; the steps leave
those constants alone.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dpo_edu import _checks, _run
from dpo_edu._fit import Fit
from dpo_edu.policies import LogLinearPolicy, TabularPolicy

PairLoss = Callable[[Tensor, Tensor], Tensor]

# After this many steps a runaway difference is near 20 reward units, a probability of 1 - 1e-9.
# Much further on its curvature would drown in the rounding of the others.
RUNAWAY_STEPS = 30
MOST_STEPS = 1000
# On separable votes each step adds log 2 reward units or so: this many go far, but not to the end.
MOST_FEATURE_STEPS = 60
SMALL_STEP = 1e-10


def solve(fit: Fit) -> bool | None:
    """Newton steps until one moves no reward by 1e-10; whether that happened.

    None where there is no such road: for a policy whose loss is not convex, or a loss flat
    somewhere.
    """
    if isinstance(fit.policy, TabularPolicy):
        return _solve_table(fit, fit.policy)
    if isinstance(fit.policy, LogLinearPolicy) and fit.lengths is None:
        return _solve_features(fit, fit.policy)
    return None


def _solve_table(fit: Fit, policy: TabularPolicy) -> bool | None:
    steps = NewtonSteps(fit)
    runaway = torch.tensor(fit.runs_away()).to(policy.theta.device)[:, None]
    for k in fit.steps(MOST_STEPS):
        log_probs, scores, slope, curvature = _model(fit)
        direction = steps.direction(slope, curvature)
        if direction is None:
            return None
        if k >= RUNAWAY_STEPS:
            direction = torch.where(runaway, 0.0, direction)
        move = direction * damping(direction, fit.beta)
        with torch.no_grad():
            policy.theta.add_(_in_theta(move, log_probs, fit.lengths))
        if fit.beta * direction.abs().max() < _smallest_step(fit.beta, scores):
            return not bool(runaway.any())
    return False


def _solve_features(fit: Fit, policy: LogLinearPolicy) -> bool | None:
    """The partition function cancels in each pair, so the loss is convex in theta.

    The step of least norm leaves alone what the votes do not determine.
    """
    each = policy.features.expand(*policy.log_ref.shape, -1).flatten(end_dim=1)
    contrast = each[fit.chosen] - each[fit.rejected]
    for _ in fit.steps(MOST_FEATURE_STEPS):
        _, scores, slope, curvature = _model(fit)
        if not curvature.any():
            return None
        hessian = contrast.T @ ((fit.weight * curvature)[:, None] * contrast)
        inverse = torch.linalg.pinv(hessian, rtol=1e-13, hermitian=True)
        direction = -inverse @ (contrast.T @ (fit.weight * slope))
        change = fit.beta * (contrast @ direction).abs().max()
        with torch.no_grad():
            policy.theta.add_(direction * (torch.log1p(change) / change if change > 0 else 1.0))
        if change < _smallest_step(fit.beta, scores):
            return True
    return False


def _model(fit: Fit) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor, Tensor]:
    """The log-probs ``(X, Y)`` and scores; slope and curvature there of each pair's loss ``(M,)``.

    They are noted in the record.
    """
    with torch.no_grad():
        log_probs = _run.log_probs_of("policy", fit.policy)
        scores = fit.scores(log_probs)
        fit.note(log_probs, scores)
    return log_probs, scores, *derivatives(fit.pair_loss, *scores)


def derivatives(pair_loss: PairLoss, chosen: Tensor, rejected: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivative of each pair's loss in its difference, two tensors ``(M,)``.

    Raises ValueError if the loss is not a function of the difference of the two.
    """
    chosen, rejected = chosen.detach().requires_grad_(), rejected.detach().requires_grad_()
    total = pair_loss(chosen, rejected).sum()
    slope, opposite = torch.autograd.grad(
        total, (chosen, rejected), create_graph=True, materialize_grads=True
    )
    opposed = torch.equal(slope, -opposite)  # as they mostly are, to the bit
    if not (opposed or torch.allclose(slope, -opposite, rtol=1e-4, atol=0)):
        got = "one that is not: give steps or learning_rate to train it by gradients"
        raise _checks.error("loss", "a function of the difference of log-probabilities", got)
    if not slope.requires_grad:
        return slope, torch.zeros_like(slope)
    curvature = torch.autograd.grad(slope.sum(), chosen, materialize_grads=True)[0]
    return slope.detach(), curvature.detach()


class NewtonSteps:
    """Newton directions for weighted pairs over ``(X, Y)`` scores; see `direction`."""

    def __init__(self, fit: Fit) -> None:
        self.prompts, self.responses = fit.graph.shape
        self.chosen, self.rejected, self.weight = fit.chosen, fit.rejected, fit.weight
        label = fit.graph.labels("weak")
        _, first = np.unique(label, return_index=True)
        free = np.ones(label.size, dtype=bool)
        # One response of each component is held while solving: the rest of the system is regular.
        free[first] = False
        self.free = torch.tensor(free.reshape(label.shape)).to(fit.weight)
        self.label = torch.tensor(label.ravel(), device=fit.weight.device)
        self.members = torch.bincount(self.label).to(fit.weight)

    def direction(self, slope: Tensor, curvature: Tensor) -> Tensor | None:
        """The minimum-norm step ``-H^+ g`` to the quadratic model's minimum, ``(X, Y)``.

        `slope` and `curvature` are the pairs' derivatives. None if the model has no minimum.
        """
        g = torch.zeros_like(self.free).view(-1)
        g = g.index_add(0, self.chosen, self.weight * slope)
        g = g.index_add(0, self.rejected, -self.weight * slope).view_as(self.free) * self.free
        scaled, scale = self._scaled_hessian(self.weight * curvature)
        factor, failed = torch.linalg.cholesky_ex(scaled)
        if failed.any():
            return None
        step = -torch.cholesky_solve((g / scale)[..., None], factor)[..., 0] / scale
        return self._centre(step * self.free)

    def _scaled_hessian(self, stiffness: Tensor) -> tuple[Tensor, Tensor]:
        """The Laplacian without the held responses, its diagonal scaled to 1, and that scale.

        The scaling makes the factorisation indifferent to counts of very different size.
        """
        y = self.responses
        index = self.chosen * y + self.rejected % y
        joint = torch.zeros(self.prompts * y * y).to(stiffness).index_add(0, index, stiffness)
        joint = joint.view(self.prompts, y, y)
        joint = joint + joint.transpose(-1, -2)
        scale = torch.where(self.free > 0, joint.sum(dim=-1), 1.0).sqrt()
        each = self.free / scale
        joint.mul_(-each[..., None]).mul_(each[..., None, :])
        joint.diagonal(dim1=-2, dim2=-1).add_(1.0)
        return joint, scale

    def _centre(self, step: Tensor) -> Tensor:
        """Subtract from a step its mean over each component."""
        flat = step.reshape(-1)
        sums = torch.zeros_like(self.members).index_add(0, self.label, flat)
        return (flat - (sums / self.members)[self.label]).view_as(step)


def damping(direction: Tensor, beta: float) -> Tensor:
    """How far to go along a direction, ``(X, 1)``: ``log(1 + d)/d``, d its largest reward change.

    For losses with ``|l'''| <= l''``, such as -log sigma, the loss then falls at every step, from
    any start, without a line search (Sun and Tran-Dinh 2019).
    """
    change = beta * (direction.amax(dim=-1, keepdim=True) - direction.amin(dim=-1, keepdim=True))
    return torch.where(change > 0, torch.log1p(change) / change, 1.0)


def _smallest_step(beta: float, scores: tuple[Tensor, Tensor]) -> float:
    """1e-10 reward units, or what the rounding of the scores allows if that is more."""
    largest = max(score.abs().max().item() for score in scores)
    rounding = 8 * torch.finfo(scores[0].dtype).eps * beta * largest
    return max(SMALL_STEP, rounding)


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
