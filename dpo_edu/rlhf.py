"""The road DPO replaces: a reward model from votes, then a policy optimised against it.

    J(pi) = E_x[E_pi r - beta KL(pi || pi_ref)],   grad J = E[(r - beta log pi/pi_ref) grad log pi]

The second equation is exact: the derivative of the logarithm inside the KL contributes
``beta E_pi[grad log pi] = 0``. A response is one action, so a sequence is a bandit's arm. The
tabular reward model is `preferences.fit_bradley_terry`; here is the one that shares features.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import expit
from torch import Tensor, nn

from dpo_edu import _checks, _run
from dpo_edu._ascent import Ascent
from dpo_edu._checks import Floats


class Climb(NamedTuple):
    """What was seen before each step and, last, at the end.

    Attributes
    ----------
    objective : J averaged over prompts, by enumeration, reward units, ``(steps + 1,)``.
    kl : KL(pi* || pi_theta) averaged over prompts, nats, ``(steps + 1,)``; None without `optimum`.
    """

    objective: Floats
    kl: Floats | None


class Cost(NamedTuple):
    """What the policy stage asked for. Looking at the history is free.

    Attributes
    ----------
    steps : batches, or full gradient steps.
    samples : responses drawn from the policy.
    reward_calls : rewards looked up, one for each response scored.
    gradients : backward passes.
    """

    steps: int
    samples: int
    reward_calls: int
    gradients: int


@dataclass(frozen=True, eq=False)
class PolicyRun:
    """What optimising a policy against a reward left behind.

    Attributes
    ----------
    log_probs : log pi(y|x) at the end, ``(X, Y)`` float64, nats.
    history : J, and the divergences from the optimum if it was given.
    cost : what it took.
    seconds : wall time.
    device : where the policy was trained, and lies now.
    """

    log_probs: Floats
    history: Climb
    cost: Cost
    seconds: float
    device: str


def fit_linear_reward(features: ArrayLike, wins: ArrayLike) -> Floats:
    """Maximum-likelihood Bradley-Terry weights of a reward ``r(x, y) = features[x, y] . w``.

    Damped Newton steps of least norm from w = 0: what the votes do not determine stays zero. With
    one feature for each response this is `preferences.fit_bradley_terry`.

    Parameters
    ----------
    features : array ``(Y, K)``, the same for every prompt, or ``(X, Y, K)``; no unit.
    wins : counts ``(Y, Y)`` or ``(X, Y, Y)``, row beat column.

    Returns
    -------
    array ``(K,)``, reward units.

    Raises
    ------
    ValueError
        If an argument is not of that form, there are no votes, or no finite estimate exists.

    Source: Rafailov et al. 2023, eq. 2; claim M1.

    >>> fit_linear_reward([[0.0], [1.0]], [[0, 1], [3, 0]]).round(6).tolist()
    [1.098612]
    """
    f, w = _checks.finite("features", features), _checks.wins(wins)
    w = w.reshape(-1, *w.shape[-2:])
    if f.ndim not in (2, 3) or f.shape[-2] != w.shape[-1] or f.shape[:-2] not in ((), (len(w),)):
        expected = f"shape ({w.shape[-1]}, K) or ({len(w)}, {w.shape[-1]}, K) to fit wins"
        raise _checks.error("features", expected, f"shape {f.shape}")
    if not w.any():
        raise _checks.error("wins", "at least one vote", "none")
    x, i, j = np.nonzero(w)
    each = np.broadcast_to(f, (*w.shape[:2], f.shape[-1]))
    contrast, count = each[x, i] - each[x, j], w[x, i, j] / w.max()
    weights = np.zeros(f.shape[-1])
    for _ in range(60):  # on separable votes each step adds log 2 or so, for ever
        lose = expit(-contrast @ weights)
        information = contrast.T @ ((count * lose * (1 - lose))[:, None] * contrast)
        step = np.linalg.pinv(information, rcond=1e-13, hermitian=True) @ (
            contrast.T @ (count * lose)
        )
        change = np.abs(contrast @ step).max()
        weights += step * (np.log1p(change) / change if change > 0 else 1.0)
        if change < 1e-10:
            return weights
    got = "votes that some direction of the features separates: no finite estimate exists"
    raise _checks.error("wins", "votes with a maximum-likelihood estimate", got)


def penalised_reward(
    log_probs: Tensor, ref_log_probs: Tensor, reward: Tensor, *, beta: float
) -> Tensor:
    """``r - beta log(pi/pi_ref)``: what a drawn response earns once the leash is paid.

    At pi* it is ``beta log Z`` for every response.

    Parameters
    ----------
    log_probs, ref_log_probs, reward : tensors of one shape ``(..., Y)``, nats and reward units.
    beta : KL coefficient > 0, reward units per nat.

    Returns
    -------
    tensor ``(..., Y)``, reward units.

    Raises
    ------
    ValueError
        If the shapes differ or `beta` is not of that form.

    Source: Ziegler et al. 2019; claim M4.

    >>> zero = torch.zeros(2)
    >>> penalised_reward(zero, zero, torch.tensor([1.0, 2.0]), beta=0.5)
    tensor([1., 2.])
    """
    _checks.one_shape(log_probs=log_probs, ref_log_probs=ref_log_probs, reward=reward)
    return reward - _checks.beta(beta) * (log_probs - ref_log_probs)


def leave_one_out(values: Tensor) -> Tensor:
    """Each value minus the mean of the others of its row.

    The baseline does not depend on the draw it is subtracted from, so the gradient stays unbiased.

    Parameters
    ----------
    values : what B >= 2 responses drawn for each prompt earned, ``(X, B)``, reward units.

    Returns
    -------
    tensor ``(X, B)``: the advantages, each row summing to 0.

    Raises
    ------
    ValueError
        If `values` has another shape.

    Source: Kool et al. 2019; claim M4.

    >>> leave_one_out(torch.tensor([[1.0, 2.0, 6.0]]))
    tensor([[-3.0000, -1.5000,  4.5000]])
    """
    if values.ndim != 2 or values.shape[1] < 2:
        raise _checks.error("values", "shape (X, B) with B >= 2", f"shape {tuple(values.shape)}")
    size = values.shape[1]
    return (values - values.mean(dim=1, keepdim=True)) * (size / (size - 1))


def clipped_surrogate(
    log_probs: Tensor, old_log_probs: Tensor, advantage: Tensor, *, clip: float
) -> Tensor:
    """PPO's ``min(u A, clamp(u, 1 - clip, 1 + clip) A)`` with ``u = pi/pi_old``, to be maximised.

    Its gradient is that of ``u A``, and zero once u has left the range in the direction A asks for.

    Parameters
    ----------
    log_probs, old_log_probs, advantage : tensors of one shape, nats and reward units.
    clip : how far u may move from 1, in (0, 1).

    Returns
    -------
    tensor of that shape, reward units.

    Raises
    ------
    ValueError
        If the shapes differ or `clip` is out of range.

    Source: Schulman et al. 2017, the clipped surrogate objective.

    >>> old = torch.zeros(2)
    >>> clipped_surrogate(old + 1.0, old, torch.tensor([1.0, -1.0]), clip=0.2)
    tensor([ 1.2000, -2.7183])
    """
    _checks.one_shape(log_probs=log_probs, old_log_probs=old_log_probs, advantage=advantage)
    width = _clip(clip)
    ratio = (log_probs - old_log_probs).exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - width, 1 + width) * advantage)


def _clip(value: float) -> float:
    width = _checks.positive("clip", value)
    if width >= 1:
        raise _checks.error("clip", "a number in (0, 1)", repr(value))
    return width


def exact_policy_gradient(
    policy: nn.Module,
    ref: ArrayLike | nn.Module,
    reward: ArrayLike,
    *,
    beta: float,
    steps: int,
    learning_rate: float,
    device: str | torch.device = "auto",
    optimum: ArrayLike | None = None,
    progress: bool = False,
) -> PolicyRun:
    """Plain gradient ascent on J, every response enumerated: what sampling methods estimate.

    Parameters
    ----------
    policy : a module whose ``log_probs()`` is ``(X, Y)``; trained in place.
    ref : the reference, probabilities ``(X, Y)`` or ``(Y,)``, or a policy.
    reward : array ``(X, Y)`` or ``(Y,)``, reward units: the true reward or a fitted one.
    beta : KL coefficient > 0, reward units per nat.
    steps : whole number >= 1.
    learning_rate : > 0. Near pi* a table settles if it is under ``2 X / (beta max pi*)``.
    device, optimum, progress : as for `training.train_dpo`.

    Returns
    -------
    PolicyRun

    Raises
    ------
    ValueError
        If an argument is not of that form, shapes do not fit, or the policy has mass where `ref`
        has none.

    Source: Rafailov et al. 2023, eq. 3; claim M1.

    >>> from dpo_edu.policies import TabularPolicy
    >>> run = exact_policy_gradient(TabularPolicy([0.5, 0.5]), [0.5, 0.5], [0.0, np.log(3)],
    ...     beta=1.0, steps=200, learning_rate=2.0, device="cpu")
    >>> np.exp(run.log_probs).round(12).tolist(), run.cost.gradients
    ([[0.25, 0.75]], 200)
    """
    many = _checks.positive_int("steps", steps)
    ascent = Ascent(policy, ref, reward, beta, learning_rate, device, optimum, progress)
    for _ in ascent.steps(many):
        ascent.climb(ascent.objective(ascent.look()))
    return _report(ascent, Cost(many, 0, ascent.reward.numel(), many))


def reinforce(
    policy: nn.Module,
    ref: ArrayLike | nn.Module,
    reward: ArrayLike,
    *,
    beta: float,
    steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
    baseline: bool = True,
    device: str | torch.device = "auto",
    optimum: ArrayLike | None = None,
    progress: bool = False,
) -> PolicyRun:
    """Ascent along sampled gradients ``mean of A grad log pi(y|x)``, y drawn from the policy.

    A is ``r - beta log(pi/pi_ref)``, with `baseline` minus its mean over the other responses drawn
    for the same prompt. Both have the mean grad J; near pi* only the first is still noisy there.

    Parameters
    ----------
    policy, ref, reward, beta, steps, learning_rate, device, optimum, progress : as for
        `exact_policy_gradient`.
    batch_size : responses drawn for each prompt in each step, >= 1, with `baseline` >= 2.
    rng : a ``numpy.random.Generator``, which draws them.
    baseline : whether to subtract it.

    Returns
    -------
    PolicyRun

    Raises
    ------
    ValueError
        As for `exact_policy_gradient`.

    Source: Williams 1992; Kool et al. 2019 for the baseline; claim M4.

    >>> from dpo_edu.policies import TabularPolicy
    >>> run = reinforce(TabularPolicy([0.5, 0.5]), [0.5, 0.5], [0.0, np.log(3)], beta=1.0,
    ...     steps=400, batch_size=8, learning_rate=1.0, rng=np.random.default_rng(0), device="cpu")
    >>> np.exp(run.log_probs).round(9).tolist(), run.cost.samples
    ([[0.25, 0.75]], 3200)
    """
    ascent = Ascent(policy, ref, reward, beta, learning_rate, device, optimum, progress)

    def surrogate(log_probs: Tensor, old: Tensor, advantage: Tensor) -> Tensor:
        return advantage * log_probs

    return _sampled(ascent, surrogate, steps, batch_size, 1, rng, baseline)


def ppo(
    policy: nn.Module,
    ref: ArrayLike | nn.Module,
    reward: ArrayLike,
    *,
    beta: float,
    steps: int,
    batch_size: int,
    epochs: int,
    clip: float,
    learning_rate: float,
    rng: np.random.Generator,
    baseline: bool = True,
    device: str | torch.device = "auto",
    optimum: ArrayLike | None = None,
    progress: bool = False,
) -> PolicyRun:
    """REINFORCE that uses each batch `epochs` times, held back by `clipped_surrogate`.

    The advantages are worked out once for each batch, from the policy that drew it, the KL penalty
    inside; they are not divided by their spread. The first epoch's gradient is REINFORCE's.

    Parameters
    ----------
    policy, ref, reward, beta, steps, batch_size, learning_rate, rng : as for `reinforce`; `steps`
        counts batches.
    baseline, device, optimum, progress : as for `reinforce`.
    epochs : gradient steps on each batch, >= 1.
    clip : how far the probability ratio may move from 1, in (0, 1).

    Returns
    -------
    PolicyRun

    Raises
    ------
    ValueError
        As for `reinforce`.

    Source: Schulman et al. 2017; Ziegler et al. 2019 for the KL in the reward.

    >>> from dpo_edu.policies import TabularPolicy
    >>> run = ppo(TabularPolicy([0.5, 0.5]), [0.5, 0.5], [0.0, np.log(3)], beta=1.0, steps=150,
    ...     batch_size=8, epochs=4, clip=0.2, learning_rate=1.0, rng=np.random.default_rng(0),
    ...     device="cpu")
    >>> np.exp(run.log_probs).round(9).tolist(), run.cost.gradients
    ([[0.25, 0.75]], 600)
    """
    ascent = Ascent(policy, ref, reward, beta, learning_rate, device, optimum, progress)
    width = _clip(clip)

    def surrogate(log_probs: Tensor, old: Tensor, advantage: Tensor) -> Tensor:
        return clipped_surrogate(log_probs, old, advantage, clip=width)

    return _sampled(ascent, surrogate, steps, batch_size, epochs, rng, baseline)


def _sampled(
    ascent: Ascent,
    surrogate: Callable[[Tensor, Tensor, Tensor], Tensor],
    steps: int,
    batch_size: int,
    epochs: int,
    rng: np.random.Generator,
    baseline: bool,
) -> PolicyRun:
    """Draw a batch, score it once, climb its surrogate `epochs` times; and again."""
    _checks.generator(rng)
    many, size = (
        _checks.positive_int("steps", steps),
        _checks.positive_int("batch_size", batch_size),
    )
    epochs = _checks.positive_int("epochs", epochs)
    if baseline and size < 2:
        raise _checks.error("batch_size", "2 or more, to leave one out of the baseline", str(size))
    for _ in ascent.steps(many):
        old = ascent.look().detach()
        drawn = ascent.draw(old, size, rng)
        earned = penalised_reward(old, ascent.log_ref, ascent.reward, beta=ascent.beta)
        advantage = earned.gather(1, drawn)
        advantage = leave_one_out(advantage) if baseline else advantage
        for _ in range(epochs):
            log_probs = ascent.log_probs().gather(1, drawn)
            ascent.climb(surrogate(log_probs, old.gather(1, drawn), advantage).mean())
    samples = many * drawn.numel()
    return _report(ascent, Cost(many, samples, samples, many * epochs))


def _report(ascent: Ascent, cost: Cost) -> PolicyRun:
    """Look once more, and say what was reached and what it took."""
    log_probs = ascent.look()
    return PolicyRun(
        log_probs=_run.to_numpy(ascent.everywhere(log_probs)),
        history=Climb(*ascent.record.curves()),
        cost=cost,
        seconds=time.perf_counter() - ascent.started,
        device=str(log_probs.device),
    )
