"""The last steps of a network whose responses can be listed: a table's Newton steps, pulled back.

Near the minimum the loss is convex in the log-probs, and those are nearly linear in the weights,
``log pi(theta + d) = log pi + J d``. With slope g and Hessian H of the loss in the log-probs a step
solves ``(H J J^T + mu) y = -g, d = J^T y``: least squares damped by mu (Levenberg, Marquardt), in
as many unknowns as there are responses, not weights.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dpo_edu import _newton, _run
from dpo_edu._fit import Fit
from dpo_edu.policies import TinyTransformer

MOST_ENTRIES = 2**26  # of J: half a gigabyte
MOST_STEPS = 60
MOST_TRIES = 14  # values of mu for one step
MU = 1e-3  # at first; a step that goes down divides it by ten, a try that does not makes it sixfold
CHUNK = 64  # rows of J at a time


class _Seen(NamedTuple):
    """The loss about the present weights."""

    pairs: Tensor  # the loss of each pair, (M,)
    slope: Tensor  # in the log-probs, (X Y,)
    curvature: Tensor  # of each pair's loss in its difference, (M,)
    left: float  # twice what a table could still gain by a Newton step, nats


def finish(fit: Fit, small: float) -> None:
    """Go on until the gradient's norm is `small`, no step goes down, or there were enough."""
    if not _suits(fit):
        return
    steps, mu = _newton.NewtonSteps(fit), MU
    seen = _look(fit, steps)
    for _ in fit.steps(MOST_STEPS):
        jacobian = _jacobian(fit)
        if seen is None or (jacobian.T @ seen.slope).norm() <= small:
            return
        with torch.no_grad():
            fit.look()
        hessian = _hessian(fit, seen.curvature)
        kernel = hessian @ (jacobian @ jacobian.T)
        start = [weight.detach().clone() for weight in fit.parameters]
        for _ in range(MOST_TRIES):
            damped = kernel + mu * torch.eye(len(kernel)).to(kernel)
            _move(fit, start, jacobian.T @ torch.linalg.solve(damped, -seen.slope))
            new = _look(fit, steps)
            if new is not None and _lower(fit, new, seen):
                seen, mu = new, mu / 10
                break
            mu *= 6
        else:
            _move(fit, start, torch.zeros_like(jacobian[0]))
            return


def _suits(fit: Fit) -> bool:
    """Whether J fits into memory, and the loss has a minimum that float64 can come near to."""
    weights = sum(weight.numel() for weight in fit.parameters)
    exact = all(weight.dtype == torch.float64 for weight in fit.parameters)
    return exact and fit.log_ref.numel() * weights <= MOST_ENTRIES and not fit.runs_away().any()


def _look(fit: Fit, steps: _newton.NewtonSteps) -> _Seen | None:
    """What the loss is here; None if it is not finite, or no convex function of differences."""
    with torch.no_grad():
        log_probs = _run.log_probs_of("policy", fit.policy)
        scores = fit.scores(log_probs)
        pairs = fit.pair_loss(*scores)
    if not torch.isfinite(pairs).all():
        return None
    try:
        slope, curvature = _newton.derivatives(fit.pair_loss, *scores)
    except ValueError:  # not of differences
        return None
    curvature = curvature.clamp(min=0)
    if (step := steps.direction(slope, curvature)) is None:
        return None
    pull = torch.zeros_like(log_probs).view(-1)
    pull = pull.index_add(0, fit.chosen, fit.weight * slope)
    pull = pull.index_add(0, fit.rejected, -fit.weight * slope)
    return _Seen(pairs, pull * _per_score(fit), curvature, -float(pull @ step.view(-1)))


def _lower(fit: Fit, new: _Seen, old: _Seen) -> bool:
    """Whether the loss fell; where rounding hides that, whether a table could gain less."""
    fall = float(fit.weight @ (old.pairs - new.pairs))
    rounding = 4 * torch.finfo(torch.float64).eps * float(fit.weight @ old.pairs.abs())
    return new.left < old.left if abs(fall) <= rounding else fall > 0


def _hessian(fit: Fit, curvature: Tensor) -> Tensor:
    """Of the loss in the log-probs, ``(X Y, X Y)``: a Laplacian."""
    size = fit.log_ref.numel()
    stiff = torch.zeros(size, size).to(fit.weight)
    stiff.index_put_((fit.chosen, fit.rejected), fit.weight * curvature, accumulate=True)
    stiff = stiff + stiff.T
    scale = _per_score(fit)
    return scale[:, None] * (torch.diag(stiff.sum(dim=1)) - stiff) * scale


def _per_score(fit: Fit) -> Tensor:
    """Slope of each score in its log-prob, ``(X Y,)``: 1, or one over the length."""
    ones = torch.ones_like(fit.log_ref)
    return (ones if fit.lengths is None else ones / fit.lengths).view(-1)


def _jacobian(fit: Fit) -> Tensor:
    """Of the log-probs in the weights, ``(X Y, weights)``."""
    if type(fit.policy) is TinyTransformer:
        return fit.policy.jacobian()
    log_probs = _run.log_probs_of("policy", fit.policy).view(-1)
    rows = []
    for ones in torch.split(torch.eye(len(log_probs)).to(log_probs), CHUNK):
        slopes = torch.autograd.grad(
            log_probs, fit.parameters, ones, retain_graph=True, is_grads_batched=True,
            materialize_grads=True,
        )  # fmt: skip
        rows.append(torch.cat([slope.flatten(start_dim=1) for slope in slopes], dim=1))
    return torch.cat(rows)


def _move(fit: Fit, start: list[Tensor], step: Tensor) -> None:
    """Put the weights where a step from `start` leads."""
    parts = torch.split(step, [weight.numel() for weight in start])
    with torch.no_grad():
        for weight, begun, part in zip(fit.parameters, start, parts, strict=True):
            weight.copy_(begun + part.view_as(begun))
