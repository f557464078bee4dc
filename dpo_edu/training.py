"""Training by DPO: votes or their population in, a `TrainingRun` out.

Votes enter as counts, so a full-batch step costs the same for a hundred votes and for a billion,
and the population loss is the same code with real-valued counts.
"""

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn
from torch.nn.functional import logsigmoid
from torch.optim.lr_scheduler import OneCycleLR

from dpo_edu import _checks, _newton, _pull_back, _run, losses
from dpo_edu._checks import Floats
from dpo_edu._fit import Fit, Loss
from dpo_edu.policies import TabularPolicy
from dpo_edu.preferences import PreferencePairs

# The schedule for everything that is not convex, before the last steps.
STEPS = 1000
LEARNING_RATE = 0.01
# Largest gradient, in units of beta, that is called a minimum.
SMALL_GRADIENT = 1e-7


class Descent(NamedTuple):
    """What was seen before each step and, last, at the end.

    Attributes
    ----------
    loss : the mean loss per unit of vote weight, nats, ``(steps + 1,)``.
    kl : KL(pi* || pi_theta) averaged over prompts, nats, ``(steps + 1,)``; None without `optimum`.
    """

    loss: Floats
    kl: Floats | None


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """What a training run left behind.

    Attributes
    ----------
    log_probs : log pi(y|x) at the end, ``(X, Y)`` float64, nats.
    history : the losses, and the divergences from the optimum if it was given.
    seconds : wall time.
    device : where the policy was trained, and lies now.
    converged : whether the run ended at a minimum: for Newton the last step moved no reward by more
        than 1e-10, otherwise the gradient's norm is at most 1e-7 beta. Never on separable votes,
        whose loss has no minimum.
    """

    log_probs: Floats
    history: Descent
    seconds: float
    device: str
    converged: bool


def _report(fit: Fit, converged: bool | None) -> TrainingRun:
    """Look at the trained policy once more; `converged` None means: judge by the gradient."""
    log_probs, loss = fit.look()
    if converged is None:
        slopes = torch.autograd.grad(loss, fit.parameters, materialize_grads=True)
        norm = torch.stack([slope.norm() for slope in slopes]).norm().item()
        converged = norm <= SMALL_GRADIENT * fit.beta and not fit.runs_away().any()
    return TrainingRun(
        log_probs=_run.to_numpy(log_probs),
        history=Descent(*fit.record.curves()),
        seconds=time.perf_counter() - fit.started,
        device=str(log_probs.device),
        converged=bool(converged),
    )


def train_dpo(
    policy: nn.Module,
    ref: ArrayLike | nn.Module,
    preferences: PreferencePairs | ArrayLike,
    *,
    beta: float,
    device: str | torch.device = "auto",
    loss: Loss = losses.dpo_loss,
    label_smoothing: float = 0.0,
    lengths: ArrayLike | None = None,
    optimum: ArrayLike | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    progress: bool = False,
) -> TrainingRun:
    """Minimise the mean DPO loss per unit of vote weight, in place.

    ``sum_x,i,j w[x, i, j] l(s_xij) / sum w`` with w the counts, or the population's
    ``mu(i, j) P(i beats j)``. With its defaults it converges: a `TabularPolicy` or
    `LogLinearPolicy`, whose loss is convex, by damped Newton steps; any other policy by full-batch
    AdamW under a one-cycle rate and then, if responses times weights are at most 2^26, by damped
    Gauss-Newton steps.

    Parameters
    ----------
    policy : a module whose ``log_probs()`` is ``(X, Y)``. Trained in place; afterwards it lies on
        `device`, in float32 if that is MPS.
    ref : the reference, probabilities ``(X, Y)`` or ``(Y,)``, or a policy; its log-probs are
        computed once.
    preferences : PreferencePairs, or a win array ``(X, Y, Y)`` or ``(Y, Y)`` of real counts >= 0,
        row beat column.
    beta : KL coefficient > 0, reward units per nat.
    device : "auto" (CUDA if there is one, else the CPU; the environment variable DPO_EDU_DEVICE
        replaces it), "cpu", "cuda" or "mps".
    loss : a function with the signature of `losses.dpo_loss`, one value for each pair. Newton needs
        it to be convex in the difference of the log-probs and to depend on them in no other way;
        where the loss has no curvature (a hinge) AdamW takes over.
    label_smoothing : passed on to `loss` (`losses.exo_loss` wants one above 0).
    lengths : token counts ``(Y,)``: divides the log-probs of policy and reference before the loss
        (the token mean, which has another optimum: claim T2).
    optimum : pi* ``(X, Y)``, probabilities, to follow KL(pi* || pi_theta) in the history.
    steps, learning_rate : of AdamW, by default 1,000 and 0.01; naming either chooses it alone,
        for every policy.
    progress : show a bar if it takes more than two seconds.

    Returns
    -------
    TrainingRun

    Raises
    ------
    ValueError
        If an argument is not of that form, shapes do not fit, a vote names a response to which
        `ref` or `policy` gives no mass, or the loss is not finite.

    Notes
    -----
    What the votes do not determine stays where it was: a constant for each component of a prompt's
    comparison graph. On separable votes the best policy is at infinity; the run stops on the way,
    near 20 reward units with Newton, and says ``converged = False``.

    Source: Rafailov et al. 2023, eq. 7; claims L1, L4, T1, T3.

    >>> policy = TabularPolicy([0.5, 0.5])
    >>> run = train_dpo(policy, [0.5, 0.5], [[0, 1], [3, 0]], beta=1.0, device="cpu")
    >>> np.exp(run.log_probs).round(12).tolist(), run.converged
    ([[0.25, 0.75]], True)
    """
    most = _checks.positive_int("steps", STEPS if steps is None else steps)
    rate = LEARNING_RATE if learning_rate is None else learning_rate
    rate = _checks.positive("learning_rate", rate)
    fit = Fit(
        policy,
        ref,
        preferences,
        beta=beta,
        device=device,
        loss=loss,
        label_smoothing=label_smoothing,
        lengths=lengths,
        optimum=optimum,
        progress=progress,
    )
    by_newton = steps is None and learning_rate is None
    converged = _newton.solve(fit) if by_newton else None
    if converged is None:
        _anneal(fit, most, rate)
        if by_newton:
            _pull_back.finish(fit, SMALL_GRADIENT * beta / 1000)
    return _report(fit, converged)


def _anneal(fit: Fit, steps: int, learning_rate: float) -> None:
    """Full-batch AdamW, its rate rising for a tenth of the steps and falling to zero after."""
    # No weight decay: it would move the optimum. The usual eps of 1e-8 would not be small beside
    # gradients of the order of beta^2; the rate ends near zero, so that the last steps settle.
    optimiser = torch.optim.AdamW(
        fit.parameters,
        lr=learning_rate,
        eps=1e-16,
        weight_decay=0.0,
        fused=True,
    )
    schedule = OneCycleLR(
        optimiser,
        max_lr=learning_rate,
        total_steps=steps,
        pct_start=0.1,
        cycle_momentum=False,
        final_div_factor=1e6,
    )
    for _ in fit.steps(steps):
        _, loss = fit.look()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    optimiser.zero_grad()


def fit_table(
    ref: ArrayLike,
    preferences: PreferencePairs | ArrayLike,
    *,
    beta: float,
    device: str | torch.device = "cpu",
    loss: Loss = losses.dpo_loss,
    label_smoothing: float = 0.0,
    lengths: ArrayLike | None = None,
    optimum: ArrayLike | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
) -> TrainingRun:
    """`train_dpo` of a new `TabularPolicy` that starts at the reference.

    What it learns is in the run: ``log_probs``. It is trained on the CPU unless another device is
    named, since a table is small and its digits then do not depend on the machine.

    Parameters
    ----------
    ref : the reference, probabilities ``(X, Y)`` or ``(Y,)``.
    preferences, beta, device, loss, label_smoothing, lengths, optimum, steps, learning_rate : as
        for `train_dpo`.

    Returns
    -------
    TrainingRun

    Raises
    ------
    ValueError
        As for `train_dpo`.

    Source: Rafailov et al. 2023, eq. 7; claims L4, T3.

    >>> np.exp(fit_table([0.5, 0.5], [[0, 1], [3, 0]], beta=1.0).log_probs).round(12).tolist()
    [[0.25, 0.75]]
    """
    return train_dpo(
        TabularPolicy(ref),
        ref,
        preferences,
        beta=beta,
        device=device,
        loss=loss,
        label_smoothing=label_smoothing,
        lengths=lengths,
        optimum=optimum,
        steps=steps,
        learning_rate=learning_rate,
    )


def minibatch_dpo(
    policy: nn.Module,
    ref: ArrayLike | nn.Module,
    pairs: PreferencePairs,
    *,
    beta: float,
    learning_rate: float,
    batch_size: int,
    epochs: int,
    rng: np.random.Generator,
    device: str | torch.device = "auto",
    optimum: ArrayLike | None = None,
    progress: bool = False,
) -> TrainingRun:
    """The loop of source A's pseudocode as written: plain gradient steps on shuffled minibatches.

    Minibatches do not let it settle: at a fixed learning rate it hovers about the minimum of the
    loss on all votes, at a distance that shrinks with the rate. With all votes in each batch a
    table converges to the minimum, if there is one, from every start if ``eta < 2 / (beta^2 L)``,
    L the largest eigenvalue of `statistics.fisher_information` per vote at equal rewards. With
    lambda those at the minimum, it has no rest there if ``eta > 2 / (beta^2 lambda_max)``; up to
    ``eta = 2 / (beta^2 (lambda_2 + lambda_max))`` the error shrinks in the end by the factor
    ``1 - eta beta^2 lambda_2`` a step.

    Parameters
    ----------
    policy, ref, beta, device, optimum, progress : as for `train_dpo`.
    pairs : the votes D, PreferencePairs of length N.
    learning_rate : eta > 0.
    batch_size, epochs : whole numbers >= 1.
    rng : a ``numpy.random.Generator``, which shuffles the votes.

    Returns
    -------
    TrainingRun; before each step its history holds the loss of the minibatch, at the end that of
    all votes.

    Raises
    ------
    ValueError
        As for `train_dpo`.

    Source: source A, pseudocode; claim T1.

    >>> votes = PreferencePairs([0, 0, 0], [1, 1, 0], [0, 0, 1])
    >>> policy, rng = TabularPolicy([0.5, 0.5]), np.random.default_rng(0)
    >>> run = minibatch_dpo(policy, [0.5, 0.5], votes, beta=1.0, learning_rate=0.1, batch_size=2,
    ...     epochs=500, rng=rng, device="cpu")
    >>> bool(abs(np.exp(run.log_probs[0, 1]) - 2 / 3) < 0.05)
    True
    """
    eta = _checks.positive("learning_rate", learning_rate)
    size, epochs = (
        _checks.positive_int("batch_size", batch_size),
        _checks.positive_int("epochs", epochs),
    )
    if not isinstance(pairs, PreferencePairs):
        raise _checks.error("pairs", "PreferencePairs", type(pairs).__name__)
    _checks.generator(rng)
    fit = Fit(
        policy,
        ref,
        pairs,
        beta=beta,
        device=device,
        optimum=optimum,
        progress=progress,
    )
    log_ref, phi = fit.log_ref, fit.parameters
    votes = torch.tensor(np.stack([pairs.prompt, pairs.chosen, pairs.rejected])).to(log_ref.device)
    for _ in fit.steps(epochs):
        order = torch.tensor(rng.permutation(len(pairs)))
        for start in range(0, len(pairs), size):
            x, y_w, y_l = votes[:, order[start : start + size]]
            log_pi = _run.log_probs_of("policy", policy)
            lp_w, lp_l = log_pi[x, y_w], log_pi[x, y_l]
            lp_ref_w, lp_ref_l = log_ref[x, y_w], log_ref[x, y_l]
            s = beta * ((lp_w - lp_l) - (lp_ref_w - lp_ref_l))
            loss = -logsigmoid(s).mean()
            fit.record.note(loss, log_pi)
            with torch.no_grad():
                for parameter, slope in zip(phi, torch.autograd.grad(loss, phi), strict=True):
                    parameter.sub_(eta * slope)
    return _report(fit, None)
