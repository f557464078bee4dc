"""Damped Newton steps for a convex loss of log-probability differences, all prompts at once.

The second derivative of ``sum w l(u_i - u_j)`` is the Laplacian of the comparison graph with
weights ``w l''``. It cannot see a constant added to a component of that graph; the steps leave
those constants alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from dpo_edu import _checks
from dpo_edu._checks import Ints

PairLoss = Callable[[Tensor, Tensor], Tensor]

# After this many steps a runaway difference is near 20 reward units, a probability of 1 - 1e-9.
# Much further on its curvature would drown in the rounding of the others.
RUNAWAY_STEPS = 30
MOST_STEPS = 1000
# On separable votes each step adds log 2 reward units or so: this many go far, but not to the end.
MOST_FEATURE_STEPS = 60
SMALL_STEP = 1e-10


@dataclass(frozen=True)
class ComparisonGraph:
    """Who was compared with whom: flat indices ``x Y + y`` of M pairs, and what they connect."""

    chosen: Ints
    rejected: Ints
    shape: tuple[int, int]

    def labels(self, connection: str) -> Ints:
        """Component ("weak") or strong component ("strong") of each response, ``(X, Y)``."""
        nodes = self.shape[0] * self.shape[1]
        edges = (np.ones(len(self.chosen)), (self.rejected, self.chosen))
        graph = csr_array(edges, shape=(nodes, nodes))
        _, label = connected_components(graph, directed=True, connection=connection)
        return np.asarray(label, dtype=np.int64).reshape(self.shape)

    def separable(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Prompts where some group never lost to responses it met, ``(X,)``: no finite optimum."""
        strong = self.labels("strong").ravel()
        one_way = strong[self.chosen] != strong[self.rejected]
        result = np.zeros(self.shape[0], dtype=bool)
        result[self.chosen[one_way] // self.shape[1]] = True
        return result


def derivatives(pair_loss: PairLoss, chosen: Tensor, rejected: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivative of each pair's loss in its difference, two tensors ``(M,)``.

    Raises ValueError if the loss is not a function of the difference of the two.
    """
    chosen, rejected = chosen.detach().requires_grad_(), rejected.detach().requires_grad_()
    total = pair_loss(chosen, rejected).sum()
    slope, opposite = torch.autograd.grad(
        total, (chosen, rejected), create_graph=True, materialize_grads=True
    )
    if not torch.allclose(slope, -opposite, rtol=1e-4, atol=0):
        got = "one that is not: give steps or learning_rate to train it by gradients"
        raise _checks.error("loss", "a function of the difference of log-probabilities", got)
    if not slope.requires_grad:
        return slope, torch.zeros_like(slope)
    curvature = torch.autograd.grad(slope.sum(), chosen, materialize_grads=True)[0]
    return slope.detach(), curvature.detach()


class NewtonSteps:
    """Newton directions for weighted pairs over ``(X, Y)`` scores; see `direction`."""

    def __init__(self, graph: ComparisonGraph, chosen: Tensor, rejected: Tensor, weight: Tensor):
        self.prompts, self.responses = graph.shape
        self.chosen, self.rejected, self.weight = chosen, rejected, weight
        label = graph.labels("weak")
        _, first = np.unique(label, return_index=True)
        free = np.ones(label.size, dtype=bool)
        # One response of each component is held while solving: the rest of the system is regular.
        free[first] = False
        self.free = torch.tensor(free.reshape(label.shape)).to(weight)
        self.label = torch.tensor(label.ravel(), device=weight.device)
        self.members = torch.bincount(self.label).to(weight)

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
        scaled = -joint * (self.free / scale)[..., None] * (self.free / scale)[..., None, :]
        return scaled + torch.eye(y).to(stiffness), scale

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
