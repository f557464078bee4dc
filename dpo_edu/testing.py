"""For other people's test suites and trainers: a first step, two losses, a dump of every pair.

Needs NumPy alone: tensors may come from any library that converts to arrays. `DumpPairs` goes with
TRL's DPOTrainer, and asks nothing of it that is imported here.
"""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dpo_edu import _checks, findings

PAIR = ("chosen", "rejected")
TENSORS = ("input_ids", "attention_mask", "completion_mask")


def assert_first_step(
    loss: ArrayLike, *, name: str = "sigmoid", beta: float = 0.1, bound: float = 1e-3
) -> None:
    """Raise AssertionError unless the loss before the first step is its constant.

    ``log 2`` for DPO (`name` "sigmoid"), 1 for "hinge", ``1/(4 beta^2)`` for "ipo" (claim H1).

    Parameters
    ----------
    loss : the mean loss, or one value for each pair, nats.
    name : the loss as TRL calls it.
    beta : KL coefficient, which some constants hold.
    bound : largest relative distance that passes; 1e-3 is less than a bfloat16 reference moves.

    >>> assert_first_step(0.6931472)
    >>> assert_first_step(1.0)
    Traceback (most recent call last):
    AssertionError: the first loss is 1, expected 0.6931 for sigmoid: 1 is what hinge begins with
    """
    value = float(np.mean(_checks.array("loss", np.atleast_1d(np.asarray(loss, dtype=float)))))
    expected = findings.first_loss(name, beta)
    if not abs(value - expected) <= bound * expected:
        hint = findings.whose_constant(value, beta)
        raise AssertionError(
            f"the first loss is {value:.4g}, expected {expected:.4g} for {name}: {hint}"
        )


def assert_losses_agree(
    first: Callable[..., Any], second: Callable[..., Any], *, beta: float, bound: float = 1e-6
) -> None:
    """Raise AssertionError unless two implementations of a loss agree on 200 pairs.

    The pairs are long and short, near and far. Both losses are called as
    ``loss(chosen, rejected, ref_chosen, ref_rejected, beta=beta)`` with sums of log-probabilities,
    float64 arrays ``(200,)``, nats, and give one value for each pair. Where they differ the message
    says whether a reference dropped, a sign or beta twice explains it.

    >>> loss = lambda w, v, rw, rv, *, beta: np.logaddexp(0, -beta * ((w - rw) - (v - rv)))
    >>> assert_losses_agree(loss, lambda *a, beta: loss(*a, beta=beta**2), beta=0.1)
    Traceback (most recent call last):
    AssertionError: the losses differ by ... on pair ...: the second is the first with beta twice
    """
    beta = _checks.beta(beta)
    rng = np.random.default_rng(0)
    sums = -rng.gamma(2.0, [[2.0], [2.0], [2.0], [2.0]], (4, 200)) * np.tile([1, 3, 10, 40], 50)
    mine, theirs = (np.asarray(f(*sums, beta=beta), dtype=float) for f in (first, second))
    if mine.shape != (200,) or theirs.shape != (200,):
        raise AssertionError(f"expected two losses (200,), got {mine.shape} and {theirs.shape}")
    gaps = np.abs(mine - theirs) / np.maximum(1, np.abs(mine))
    if not (worst := float(gaps.max())) <= bound:
        w, v, rw, rv = sums
        slips = {
            "with beta twice": first(*sums, beta=beta**2),
            "without beta": first(*sums, beta=1.0),
            "without the reference": first(w, v, 0 * rw, 0 * rv, beta=beta),
            "with chosen and rejected swapped": first(v, w, rv, rw, beta=beta),
            "with the ratio upside down": first(rw, rv, w, v, beta=beta),
        }
        same = [slip for slip, x in slips.items() if np.allclose(x, theirs, rtol=1e-6, atol=1e-9)]
        why = f"the second is the first {same[0]}" if same else "no usual slip explains it"
        raise AssertionError(f"the losses differ by {worst:.3g} on pair {gaps.argmax()}: {why}")


def _end_tokens(trainer: Any) -> set[int]:
    """The tokenizer's end token, and those at which the model stops, as at the end of a turn."""
    tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
    more = getattr(getattr(trainer.model, "generation_config", None), "eos_token_id", None)
    return {tokenizer.eos_token_id, *np.ravel([] if more is None else more).tolist()}


class DumpPairs:
    """Write every pair that TRL's DPOTrainer scores to a file for ``dpo-edu audit --pairs``.

    Say ``DumpPairs(trainer, "pairs.jsonl")`` before ``trainer.train()``. A line holds one pair and
    step: split, hashes of prompt and pair, the four sums of log-probabilities (the reference's from
    the rewards that TRL logs), numbers of tokens, whether an end token is the last or the last but
    one (a chat template may add a new line), and the mean loss of its batch. For one process.
    Nothing of the training changes.
    """

    def __init__(self, trainer: Any, path: str | Path) -> None:
        self.trainer, self.path, self.batch = trainer, Path(path), 0
        self.path.write_text("")
        self.gathered: list[Any] = []
        self.ends = _end_tokens(trainer)
        compute, accelerator = trainer.compute_loss, trainer.accelerator
        gather = accelerator.gather

        def watched(tensor: Any) -> Any:
            self.gathered.append(tensor.detach().float().cpu().numpy())
            return gather(tensor)

        def compute_loss(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            accelerator.gather = watched
            try:
                result = compute(model, inputs, *args, **kwargs)
            finally:
                accelerator.gather = gather
            loss = result[0] if isinstance(result, tuple) else result
            self.write(inputs, float(loss.detach()), "train" if model.training else "eval")
            return result

        trainer.compute_loss = compute_loss

    def write(self, inputs: Any, loss: float, split: str) -> None:
        """A line for each pair of a batch, whose first half are the chosen responses."""
        ids, real, said = (inputs[name].cpu().numpy() for name in TENSORS)
        # The last six things that TRL gathers: two rewards, accuracies, margins, two log-probs.
        rewards, logps = self.gathered[-6:-4], self.gathered[-2:]
        half, self.batch = len(ids) // 2, self.batch + 1
        self.gathered.clear()
        with self.path.open("a") as file:
            for i in range(half):
                row = {"step": self.trainer.state.global_step, "split": split, "batch": self.batch}
                asked = ids[i][(real[i] > 0) & (said[i] == 0)]
                answers = [ids[j][said[j] > 0] for j in (i, i + half)]
                texts = asked.tobytes(), np.hstack([asked, -1, *answers]).tobytes()
                row |= {"prompt": zlib.crc32(texts[0]), "id": zlib.crc32(texts[1])}
                row |= {"same": np.array_equal(*answers), "loss": loss}
                for name, answer, reward, logp in zip(PAIR, answers, rewards, logps, strict=True):
                    row |= {f"{name}_logps": float(logp[i])}
                    row |= {f"ref_{name}_logps": float(logp[i] - reward[i] / self.trainer.beta)}
                    ended = bool(self.ends.intersection(answer[-2:].tolist()))
                    row |= {f"{name}_tokens": len(answer), f"{name}_ended": ended}
                file.write(json.dumps(row) + "\n")
