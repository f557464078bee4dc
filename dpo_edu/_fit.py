"""A policy on its way down the loss of its votes: all checked, votes counted, on one device."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from tqdm.auto import tqdm

from dpo_edu import _checks, _run, losses
from dpo_edu._checks import Floats, Ints
from dpo_edu.preferences import PreferencePairs

Loss = Callable[..., Tensor]


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

    def separable(self) -> NDArray[np.bool_]:
        """Prompts where some group never lost to responses it met, ``(X,)``: no finite optimum."""
        strong = self.labels("strong").ravel()
        one_way = strong[self.chosen] != strong[self.rejected]
        result = np.zeros(self.shape[0], dtype=bool)
        result[self.chosen[one_way] // self.shape[1]] = True
        return result


class Fit:
    """A policy, its reference, its votes, their loss, and the record of what was seen.

    Attributes
    ----------
    log_ref : log pi_ref, ``(X, Y)``.
    graph : the M pairs that were compared, each once.
    chosen, rejected, weight : their flat indices and shares of the votes, ``(M,)`` each.
    lengths : token counts ``(Y,)`` if the loss is of token means.
    """

    def __init__(
        self,
        policy: nn.Module,
        ref: ArrayLike | nn.Module,
        preferences: PreferencePairs | ArrayLike,
        *,
        beta: float,
        device: str | torch.device,
        loss: Loss = losses.dpo_loss,
        label_smoothing: float = 0.0,
        lengths: ArrayLike | None = None,
        optimum: ArrayLike | None = None,
        progress: bool = False,
    ) -> None:
        self.started = time.perf_counter()
        self.policy, self.beta, self.progress = policy, _checks.beta(beta), progress
        self.loss = partial(loss, beta=self.beta, label_smoothing=label_smoothing)
        start, log_ref = _run.at_start(policy, ref)
        shape = (start.shape[0], start.shape[1])
        self.record = _run.Record(optimum, shape)
        chosen, rejected, weight = _count(preferences, shape)
        for name, log_probs in (("ref", log_ref), ("policy", start)):
            _refuse_without_mass(name, log_probs, np.concatenate([chosen, rejected]))
        counts = None if lengths is None else _token_counts(lengths, shape)
        like = _run.move(policy, device)  # all has been checked
        self.parameters = [p for p in policy.parameters() if p.requires_grad]
        self.graph = ComparisonGraph(chosen, rejected, shape)
        self.chosen = torch.tensor(chosen, device=like.device)
        self.rejected = torch.tensor(rejected, device=like.device)
        self.weight = torch.tensor(weight / weight.sum()).to(like)
        self.lengths = None if counts is None else torch.tensor(counts).to(like)
        self.log_ref = torch.tensor(log_ref).to(like)
        self.ref_scores = self.scores(self.log_ref)

    def scores(self, log_probs: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probs, or their means over tokens, of each pair's two responses, ``(M,)`` each."""
        lengths = self.lengths
        flat = (log_probs if lengths is None else log_probs / lengths).reshape(-1)
        return flat.index_select(0, self.chosen), flat.index_select(0, self.rejected)

    def pair_loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """The loss of every pair ``(M,)`` from the scores of its two responses."""
        value = self.loss(chosen, rejected, *self.ref_scores)
        if value.shape != chosen.shape:
            expected = f"one value for each pair, shape {tuple(chosen.shape)}"
            raise _checks.error("loss", expected, f"shape {tuple(value.shape)}")
        return value

    def look(self) -> tuple[Tensor, Tensor]:
        """The log-probs ``(X, Y)`` and the loss per unit of vote weight, noted in the record."""
        log_probs = _run.log_probs_of("policy", self.policy)
        return log_probs, self.note(log_probs, self.scores(log_probs))

    def note(self, log_probs: Tensor, scores: tuple[Tensor, Tensor]) -> Tensor:
        """The loss per unit of vote weight at these scores, noted in the record."""
        loss = self.weight @ self.pair_loss(*scores)
        if not torch.isfinite(loss):
            raise _checks.error("loss", "finite values", f"{loss.item()}")
        self.record.note(loss, log_probs)
        return loss

    def steps(self, most: int) -> "tqdm[int]":
        """As many steps, with a bar if `progress` was asked for."""
        return _run.bar(most, self.progress)

    def runs_away(self) -> NDArray[np.bool_]:
        """Prompts ``(X,)`` where the loss falls for ever: separable votes under such a loss."""
        margin = torch.full((1,), 30 / self.beta).to(self.weight).requires_grad_()
        zero = torch.zeros_like(margin)
        # The loser sinks: a log-probability cannot rise above 0, and a loss may refuse one that is.
        value = self.loss(zero, -margin, zero, zero).sum() + 0 * margin.sum()  # or it has no slope
        (slope,) = torch.autograd.grad(value, margin, materialize_grads=True)
        return np.logical_and(self.graph.separable(), slope.item() < 0)


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
