"""The loss of a policy on votes: everything checked, votes counted, laid out on one device."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from dpo_edu import _checks, _devices, _newton, distributions
from dpo_edu._checks import Floats, Ints
from dpo_edu.preferences import PreferencePairs

Loss = Callable[..., Tensor]


def _score_pairs(
    log_probs: Tensor, lengths: Tensor | None, chosen: Tensor, rejected: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-probs, or with `lengths` their means over tokens, of both responses of every pair."""
    flat = (log_probs if lengths is None else log_probs / lengths).reshape(-1)
    return flat.index_select(0, chosen), flat.index_select(0, rejected)


@dataclass(frozen=True)
class Objective:
    """The mean loss over weighted pairs as a function of the policy's ``(X, Y)`` log-probs."""

    chosen: Tensor
    rejected: Tensor
    weight: Tensor
    ref_log_probs: Tensor
    ref_pairs: tuple[Tensor, Tensor]
    lengths: Tensor | None
    loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    graph: _newton.ComparisonGraph
    beta: float

    def pair_loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """The loss of every pair ``(M,)`` from the scores of its two responses."""
        value = self.loss(chosen, rejected, *self.ref_pairs)
        if value.shape != chosen.shape:
            expected = f"one value for each pair, shape {tuple(chosen.shape)}"
            raise _checks.error("loss", expected, f"shape {tuple(value.shape)}")
        return value

    def pairs(self, log_probs: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the chosen and of the rejected response of every pair, ``(M,)`` each."""
        return _score_pairs(log_probs, self.lengths, self.chosen, self.rejected)

    def mean_loss(self, log_probs: Tensor) -> Tensor:
        """The loss per unit of vote weight, a scalar."""
        mean = self.weight @ self.pair_loss(*self.pairs(log_probs))
        if not torch.isfinite(mean):
            raise _checks.error("loss", "finite values", f"{mean.item()}")
        return mean

    def runs_away(self) -> NDArray[np.bool_]:
        """Prompts ``(X,)`` where the loss falls for ever: separable votes under such a loss."""
        margin = torch.full((1,), 30 / self.beta).to(self.weight).requires_grad_()
        zero = torch.zeros_like(margin)
        # The loser sinks: a log-probability above 0 is none, and a loss may refuse it.
        value = self.loss(zero, -margin, zero, zero).sum()
        (slope,) = torch.autograd.grad(value, margin, materialize_grads=True)
        return np.logical_and(self.graph.separable(), slope.item() < 0)


def to_numpy(tensor: Tensor) -> Floats:
    """A tensor as a float64 array."""
    return tensor.detach().cpu().numpy().astype(np.float64)


def log_probs_of(name: str, policy: nn.Module) -> Tensor:
    """A policy's ``(X, Y)`` log-probs, or an error if it is no policy."""
    method = getattr(policy, "log_probs", None)
    if not callable(method):
        raise _checks.error(name, "a module with log_probs()", type(policy).__name__)
    result: Tensor = method()
    if result.ndim != 2 or result.isnan().any():
        got = f"shape {tuple(result.shape)}" if result.ndim != 2 else "nan"
        raise _checks.error(name, "log_probs() of shape (X, Y) without nan", got)
    return result


def reference(ref: ArrayLike | nn.Module, shape: tuple[int, int]) -> Floats:
    """log pi_ref ``(X, Y)``, computed once."""
    if isinstance(ref, nn.Module):
        with torch.no_grad():
            log_ref = to_numpy(log_probs_of("ref", ref))
    else:
        log_ref = np.atleast_2d(distributions.log_of(_checks.policy("ref", ref)))
    if log_ref.shape != shape:
        raise _checks.error("ref", f"shape {shape} to fit policy", f"shape {log_ref.shape}")
    return log_ref


def _count(preferences: PreferencePairs | ArrayLike, shape: tuple[int, int]) -> tuple[Ints, ...]:
    """Each compared pair once: flat indices of winner and loser, and the weight of its votes."""
    prompts, responses = shape
    if isinstance(preferences, PreferencePairs):
        x, i, j = preferences.prompt, preferences.chosen, preferences.rejected
        if x.max() >= prompts or max(i.max(), j.max()) >= responses:
            got = f"prompt {x.max()} and response {max(i.max(), j.max())}"
            expected = f"prompts < {prompts} and responses < {responses}"
            raise _checks.error("preferences", expected, got)
        index, weight = np.unique((x * responses + i) * responses + j, return_counts=True)
    else:
        wins = _checks.wins(preferences, "preferences")
        wins = wins[None] if wins.ndim == 2 else wins
        if wins.shape != (prompts, responses, responses):
            expected = f"shape {(prompts, responses, responses)} to fit policy"
            raise _checks.error("preferences", expected, f"shape {wins.shape}")
        index = np.flatnonzero(wins)
        weight = wins.reshape(-1)[index]
        if len(index) == 0:
            raise _checks.error("preferences", "at least one vote", "none")
    prompt, pair = np.divmod(index, responses**2)
    return prompt * responses + pair // responses, prompt * responses + pair % responses, weight


def _refuse_without_mass(name: str, log_probs: Floats, compared: Ints) -> None:
    empty = compared[np.isneginf(log_probs.reshape(-1)[compared])]
    if len(empty):
        x, y = divmod(int(empty[0]), log_probs.shape[1])
        got = f"a vote on response {y} of prompt {x}, which has none"
        raise _checks.error("preferences", f"votes on responses to which {name} gives mass", got)


def _token_counts(lengths: ArrayLike, shape: tuple[int, int]) -> Floats:
    counts = _checks.finite("lengths", lengths)
    if counts.shape != (shape[1],) or not (counts > 0).all():
        expected = f"{shape[1]} token counts > 0, one for each response"
        raise _checks.error("lengths", expected, f"shape {counts.shape}, smallest {counts.min()}")
    return counts


def prepare(
    policy: nn.Module,
    ref: ArrayLike | nn.Module,
    preferences: PreferencePairs | ArrayLike,
    *,
    beta: float,
    device: torch.device,
    loss: Loss,
    label_smoothing: float,
    lengths: ArrayLike | None,
) -> Objective:
    """Check everything, move the policy to its device, and lay the votes out beside it."""
    beta = _checks.beta(beta)
    if not isinstance(policy, nn.Module):
        raise _checks.error("policy", "a module with log_probs()", type(policy).__name__)
    with torch.no_grad():
        start = to_numpy(log_probs_of("policy", policy))
    shape = (start.shape[0], start.shape[1])
    log_ref = reference(ref, shape)
    chosen, rejected, weight = _count(preferences, shape)
    for name, log_probs in (("ref", log_ref), ("policy", start)):
        _refuse_without_mass(name, log_probs, np.concatenate([chosen, rejected]))
    counts = None if lengths is None else _token_counts(lengths, shape)
    _devices.move(policy, device)
    like = log_probs_of("policy", policy).detach()

    def smoothed(*log_probs: Tensor) -> Tensor:
        return loss(*log_probs, beta=beta, label_smoothing=label_smoothing)

    pair = (torch.tensor(chosen, device=device), torch.tensor(rejected, device=device))
    ref_log_probs = torch.tensor(log_ref).to(like)
    token_counts = None if counts is None else torch.tensor(counts).to(like)
    return Objective(
        chosen=pair[0],
        rejected=pair[1],
        weight=torch.tensor(weight / weight.sum()).to(like),
        ref_log_probs=ref_log_probs,
        ref_pairs=_score_pairs(ref_log_probs, token_counts, *pair),
        lengths=token_counts,
        loss=smoothed,
        graph=_newton.ComparisonGraph(chosen, rejected, shape),
        beta=beta,
    )
