"""One alignment problem: a reward, a reference policy, a leash, and how often each prompt comes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from dpo_edu import _checks, gibbs
from dpo_edu._checks import Floats


def _frozen(array: Floats) -> Floats:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False, init=False)
class AlignmentProblem:
    """Maximise ``E_x[E_pi[r] - beta KL(pi || pi_ref)]`` over policies.

    Parameters
    ----------
    reward : array ``(Y,)`` or ``(X, Y)``, reward units.
    ref : reference policy ``(Y,)`` or ``(X, Y)``, probabilities; broadcast against `reward`.
    beta : KL coefficient > 0, reward units per nat.
    prompt_weights : probabilities ``(X,)``; uniform if None.

    Attributes
    ----------
    optimal_policy : array shaped like `reward`, the probabilities pi*.
    log_partition : array ``()`` or ``(X,)``, nats.

    Raises
    ------
    ValueError
        If an argument is not of that form. The arrays are read-only copies.

    Source: Rafailov et al. 2023, eq. 3; claim O1.

    >>> problem = AlignmentProblem([0.0, np.log(3.0)], [0.5, 0.5], beta=1.0)
    >>> problem.optimal_policy.round(12).tolist()
    [0.25, 0.75]
    """

    reward: Floats
    ref: Floats
    beta: float
    prompt_weights: Floats

    def __init__(
        self,
        reward: ArrayLike,
        ref: ArrayLike,
        *,
        beta: float,
        prompt_weights: ArrayLike | None = None,
    ) -> None:
        r, ref_ = _checks.reward(reward), _checks.policy("ref", ref)
        shape = _checks.fits(reward=r, ref=ref_)
        if len(shape) > 2:
            raise _checks.error("reward and ref", "shape (Y,) or (X, Y)", f"shape {shape}")
        prompts = shape[0] if len(shape) == 2 else 1
        given = {
            "reward": _frozen(np.broadcast_to(r, shape)),
            "ref": _frozen(np.broadcast_to(ref_, shape)),
            "beta": _checks.beta(beta),
            "prompt_weights": _frozen(_checks.weights("prompt_weights", prompt_weights, prompts)),
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @cached_property
    def optimal_policy(self) -> Floats:
        """The maximiser pi*, shaped like `reward`: probabilities (claim G4)."""
        return _frozen(gibbs.optimal_policy(self.reward, self.ref, beta=self.beta))

    @cached_property
    def log_partition(self) -> Floats:
        """``log Z`` of each prompt, ``()`` or ``(X,)``, in nats (claim G7)."""
        return _frozen(gibbs.log_partition(self.reward, self.ref, beta=self.beta))
