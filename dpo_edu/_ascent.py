"""A policy on its way up ``J = E_x[E_pi r - beta KL(pi || pi_ref)]`` by plain gradient steps."""

import time

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dpo_edu import _checks, _devices, _objective
from dpo_edu._checks import Floats
from dpo_edu._objective import log_probs_of, to_numpy
from dpo_edu._solvers import Recorder


class Ascent:
    """Everything checked, and laid out on one device beside the policy."""

    def __init__(
        self,
        policy: nn.Module,
        ref: ArrayLike | nn.Module,
        reward: ArrayLike,
        beta: float,
        learning_rate: float,
        device: str | torch.device,
        optimum: ArrayLike | None,
    ) -> None:
        self.started = time.perf_counter()
        self.beta, self.rate = _checks.beta(beta), _checks.positive("learning_rate", learning_rate)
        if not isinstance(policy, nn.Module):
            raise _checks.error("policy", "a module with log_probs()", type(policy).__name__)
        start = to_numpy(log_probs_of("policy", policy))
        log_ref = _objective.reference(ref, (start.shape[0], start.shape[1]))
        r = _shaped("reward", _checks.reward(reward), start.shape)
        self.recorder = Recorder(None)
        if optimum is not None:
            p = _shaped("optimum", _checks.policy("optimum", optimum), start.shape)
            self.recorder.optimum = p / p.sum(axis=-1, keepdims=True)
        _checks.supported(np.exp(start), np.exp(log_ref))
        _devices.move(policy, _devices.choose(device))
        like = log_probs_of("policy", policy).detach()
        self.policy, self.reward = policy, torch.tensor(r).to(like)
        self.parameters = [p for p in policy.parameters() if p.requires_grad]
        self.support = torch.tensor(np.isfinite(log_ref), device=like.device)
        self.log_ref = torch.tensor(np.where(np.isfinite(log_ref), log_ref, 0.0)).to(like)

    def log_probs(self) -> Tensor:
        """log pi, ``(X, Y)``; 0 off the support, where pi_ref and pi are both zero."""
        return torch.where(self.support, log_probs_of("policy", self.policy), 0.0)

    def objective(self, log_probs: Tensor) -> Tensor:
        """J by enumeration, averaged over prompts."""
        pi = self.probabilities(log_probs)
        return (pi * self.reward - self.beta * pi * (log_probs - self.log_ref)).sum(dim=-1).mean()

    def probabilities(self, log_probs: Tensor) -> Tensor:
        """pi, ``(X, Y)``; 0 off the support."""
        return torch.where(self.support, log_probs.exp(), 0.0)

    def look(self) -> Tensor:
        """The log-probs before a step, noted with J in the history."""
        log_probs = self.log_probs()
        everywhere = torch.where(self.support, log_probs, -torch.inf)
        self.recorder.add(self.objective(log_probs).detach(), everywhere)
        return log_probs

    def climb(self, surrogate: Tensor) -> None:
        """One plain gradient step up."""
        slopes = torch.autograd.grad(surrogate, self.parameters)
        with torch.no_grad():
            for parameter, slope in zip(self.parameters, slopes, strict=True):
                parameter.add_(self.rate * slope)

    def draw(self, log_probs: Tensor, size: int, rng: np.random.Generator) -> Tensor:
        """Indices of `size` responses drawn for each prompt, ``(X, size)``."""
        below = to_numpy(self.probabilities(log_probs)).cumsum(axis=-1)
        below /= below[:, -1:]  # ends in exactly 1, above every draw
        drawn = (below[:, None, :] <= rng.random((len(below), size, 1))).sum(axis=-1)
        return torch.tensor(drawn, device=log_probs.device)


def _shaped(name: str, value: Floats, shape: tuple[int, ...]) -> Floats:
    value = np.atleast_2d(value)
    if value.shape != shape:
        raise _checks.error(name, f"shape {shape} to fit policy", f"shape {value.shape}")
    return value
