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

from dpo_edu import _checks, _devices, _objective, _solvers, losses
from dpo_edu._checks import Floats
from dpo_edu._objective import Loss, Objective, log_probs_of, to_numpy
from dpo_edu._solvers import Recorder
from dpo_edu.policies import LogLinearPolicy, TabularPolicy
from dpo_edu.preferences import PreferencePairs

# Largest gradient, in units of beta, that is called a minimum.
SMALL_GRADIENT = 1e-7


class History(NamedTuple):
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
    history: History
    seconds: float
    device: str
    converged: bool


def _optimum(optimum: ArrayLike, shape: tuple[int, int]) -> Floats:
    p = np.atleast_2d(_checks.policy("optimum", optimum))
    if p.shape != shape:
        raise _checks.error("optimum", f"shape {shape} to fit policy", f"shape {p.shape}")
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def _finish(
    policy: nn.Module,
    objective: Objective,
    recorder: Recorder,
    started: float,
    converged: bool | None,
) -> TrainingRun:
    """Look at the trained policy once more; `converged` None means: judge by the gradient."""
    log_probs = log_probs_of("policy", policy)
    loss = objective.mean_loss(log_probs)
    recorder.add(loss, log_probs)
    if converged is None:
        parameters = [p for p in policy.parameters() if p.requires_grad]
        slopes = torch.autograd.grad(loss, parameters, materialize_grads=True)
        norm = torch.stack([slope.norm() for slope in slopes]).norm().item()
        converged = norm <= SMALL_GRADIENT * objective.beta and not objective.runs_away().any()
    return TrainingRun(
        log_probs=to_numpy(log_probs),
        history=History(
            np.array(recorder.losses), np.array(recorder.kls) if recorder.kls else None
        ),
        seconds=time.perf_counter() - started,
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
    `LogLinearPolicy`, whose loss is convex, by damped Newton steps, any other policy by full-batch
    AdamW under a one-cycle rate.

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
    steps, learning_rate : of AdamW, by default 2,000 and 0.01; naming either chooses it for
        every policy.
    progress : show a bar on stderr if it takes more than two seconds.

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
    started = time.perf_counter()
    most = _checks.positive_int("steps", _solvers.STEPS if steps is None else steps)
    rate = _solvers.LEARNING_RATE if learning_rate is None else learning_rate
    rate = _checks.positive("learning_rate", rate)
    objective = _objective.prepare(
        policy,
        ref,
        preferences,
        beta=beta,
        device=_devices.choose(device),
        loss=loss,
        label_smoothing=label_smoothing,
        lengths=lengths,
    )
    recorder = Recorder(None if optimum is None else _optimum(optimum, objective.graph.shape))
    converged: bool | None = None
    by_newton = steps is None and learning_rate is None
    if by_newton and isinstance(policy, TabularPolicy):
        converged = _solvers.newton_run(policy, objective, recorder, progress)
    elif by_newton and isinstance(policy, LogLinearPolicy) and lengths is None:
        converged = _solvers.newton_in_features(policy, objective, recorder, progress)
    if converged is None:
        _solvers.annealed_run(policy, objective, recorder, most, rate, progress)
    return _finish(policy, objective, recorder, started, converged)


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
    started = time.perf_counter()
    eta = _checks.positive("learning_rate", learning_rate)
    size, epochs = (
        _checks.positive_int("batch_size", batch_size),
        _checks.positive_int("epochs", epochs),
    )
    if not isinstance(pairs, PreferencePairs):
        raise _checks.error("pairs", "PreferencePairs", type(pairs).__name__)
    if not isinstance(rng, np.random.Generator):
        raise _checks.error("rng", "a numpy.random.Generator", type(rng).__name__)
    objective = _objective.prepare(
        policy,
        ref,
        pairs,
        beta=beta,
        device=_devices.choose(device),
        loss=losses.dpo_loss,
        label_smoothing=0.0,
        lengths=None,
    )
    recorder = Recorder(None if optimum is None else _optimum(optimum, objective.graph.shape))
    log_ref, phi = objective.ref_log_probs, [p for p in policy.parameters() if p.requires_grad]
    votes = torch.tensor(np.stack([pairs.prompt, pairs.chosen, pairs.rejected])).to(log_ref.device)
    for _ in _solvers.bar(epochs, progress):
        order = torch.tensor(rng.permutation(len(pairs)))
        for start in range(0, len(pairs), size):
            x, y_w, y_l = votes[:, order[start : start + size]]
            log_pi = log_probs_of("policy", policy)
            lp_w, lp_l = log_pi[x, y_w], log_pi[x, y_l]
            lp_ref_w, lp_ref_l = log_ref[x, y_w], log_ref[x, y_l]
            s = beta * ((lp_w - lp_l) - (lp_ref_w - lp_ref_l))
            loss = -logsigmoid(s).mean()
            recorder.add(loss, log_pi)
            with torch.no_grad():
                for parameter, slope in zip(phi, torch.autograd.grad(loss, phi), strict=True):
                    parameter.sub_(eta * slope)
    return _finish(policy, objective, recorder, started, None)
