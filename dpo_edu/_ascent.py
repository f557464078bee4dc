"""A policy on its way up ``J = E_x[E_pi r - beta KL(pi || pi_ref)]`` by plain gradient steps."""

import time

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from tqdm.auto import tqdm

from dpo_edu import _checks, _run


class Ascent:
    """A policy, its reference, its reward, and the record of what was seen."""

    def __init__(
        self,
        policy: nn.Module,
        ref: ArrayLike | nn.Module,
        reward: ArrayLike,
        beta: float,
        learning_rate: float,
        device: str | torch.device,
        optimum: ArrayLike | None,
        progress: bool,
    ) -> None:
        self.started = time.perf_counter()
        self.policy, self.beta, self.progress = policy, _checks.beta(beta), progress
        self.rate = _checks.positive("learning_rate", learning_rate)
        start, log_ref = _run.at_start(policy, ref)
        r = _run.shaped("reward", _checks.reward(reward), start.shape)
        self.record = _run.Record(optimum, start.shape)
        _checks.supported(np.exp(start), np.exp(log_ref))
        like = _run.move(policy, device)  # all has been checked
        self.parameters = [p for p in policy.parameters() if p.requires_grad]
        self.reward = torch.tensor(r).to(like)
        self.support = torch.tensor(np.isfinite(log_ref), device=like.device)
        self.log_ref = torch.tensor(np.where(np.isfinite(log_ref), log_ref, 0.0)).to(like)

    def log_probs(self) -> Tensor:
        """log pi, ``(X, Y)``; 0 off the support, where pi_ref and pi are both zero."""
        return torch.where(self.support, _run.log_probs_of("policy", self.policy), 0.0)

    def everywhere(self, log_probs: Tensor) -> Tensor:
        """log pi, ``(X, Y)``, as it is: minus infinity off the support."""
        return torch.where(self.support, log_probs, -torch.inf)

    def objective(self, log_probs: Tensor) -> Tensor:
        """J by enumeration, averaged over prompts."""
        pi = self.probabilities(log_probs)
        return (pi * self.reward - self.beta * pi * (log_probs - self.log_ref)).sum(dim=-1).mean()

    def probabilities(self, log_probs: Tensor) -> Tensor:
        """pi, ``(X, Y)``; 0 off the support."""
        return torch.where(self.support, log_probs.exp(), 0.0)

    def look(self) -> Tensor:
        """The log-probs before a step, noted with J in the record."""
        log_probs = self.log_probs()
        self.record.note(self.objective(log_probs), self.everywhere(log_probs))
        return log_probs

    def steps(self, most: int) -> "tqdm[int]":
        """As many steps, with a bar if `progress` was asked for."""
        return _run.bar(most, self.progress)

    def climb(self, surrogate: Tensor) -> None:
        """One plain gradient step up."""
        slopes = torch.autograd.grad(surrogate, self.parameters)
        with torch.no_grad():
            for parameter, slope in zip(self.parameters, slopes, strict=True):
                parameter.add_(self.rate * slope)

    def draw(self, log_probs: Tensor, size: int, rng: np.random.Generator) -> Tensor:
        """Indices of `size` responses drawn for each prompt, ``(X, size)``."""
        below = _run.to_numpy(self.probabilities(log_probs)).cumsum(axis=-1)
        below /= below[:, -1:]  # ends in exactly 1, above every draw
        drawn = (below[:, None, :] <= rng.random((len(below), size, 1))).sum(axis=-1)
        return torch.tensor(drawn, device=log_probs.device)
