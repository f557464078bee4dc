"""The DPO loss: a pure function of log-probabilities, one value for each pair.

s = beta [(log pi(y_w) - log pi(y_l)) - (log pi_ref(y_w) - log pi_ref(y_l))],    l = -log sigma(s)
"""

from numbers import Real

from torch import Tensor
from torch.nn.functional import logsigmoid

from dpo_edu import _checks


def _same_shape(**log_probs: Tensor) -> None:
    """Refuse what would broadcast: a (N, 1) column against (N,) is N^2 pairs nobody asked for."""
    for name, value in log_probs.items():
        if not (isinstance(value, Tensor) and value.is_floating_point()):
            raise _checks.error(name, "a floating-point tensor", type(value).__name__)
    shapes = {name: tuple(value.shape) for name, value in log_probs.items()}
    if len(set(shapes.values())) > 1:
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise _checks.error("log-probabilities", "one shape (N,) for all four", got)


def _smoothing(value: float) -> float:
    if isinstance(value, bool) or not (isinstance(value, Real) and 0 <= value < 0.5):
        raise _checks.error("label_smoothing", "a number in [0, 0.5)", repr(value))
    return float(value)


def dpo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Negative log-likelihood of each vote when the policy defines the rewards.

    ``l = -(1 - e) log sigma(s) - e log sigma(-s)`` with
    ``s = beta [(log pi(y_w) - log pi(y_l)) - (log pi_ref(y_w) - log pi_ref(y_l))]``;
    e = 0 is DPO, e > 0 (votes flipped with probability e) is cDPO. The gradient with respect to
    ``log pi(y_w)`` is ``-beta sigma(-s)`` when e = 0.

    Parameters
    ----------
    chosen_logps, rejected_logps : log pi of the preferred and the other response, tensors ``(N,)``,
        nats. A sequence's log-probability is the sum over its tokens.
    ref_chosen_logps, ref_rejected_logps : the same under the reference policy.
    beta : KL coefficient > 0, reward units per nat.
    label_smoothing : e in [0, 0.5).

    Returns
    -------
    tensor ``(N,)``, nats; log 2 where policy and reference agree.

    Raises
    ------
    ValueError
        If `beta` or `label_smoothing` is out of range, an argument is no floating-point tensor, or
        the shapes differ.

    Source: Rafailov et al. 2023, eq. 7; Mitchell 2023 for e > 0; claims L1, D1-D4.

    >>> import torch
    >>> same = torch.tensor([-1.0, -2.0])
    >>> dpo_loss(same, same, same, same, beta=0.1)
    tensor([0.6931, 0.6931])
    """
    _same_shape(
        chosen_logps=chosen_logps,
        rejected_logps=rejected_logps,
        ref_chosen_logps=ref_chosen_logps,
        ref_rejected_logps=ref_rejected_logps,
    )
    beta, e = _checks.beta(beta), _smoothing(label_smoothing)
    s = beta * ((chosen_logps - rejected_logps) - (ref_chosen_logps - ref_rejected_logps))
    # logsigmoid is min(s, 0) - log1p(exp(-|s|)): exact at both ends. Softplus is linear beyond 20.
    if e == 0:
        return -logsigmoid(s)
    return -(1 - e) * logsigmoid(s) - e * logsigmoid(-s)
