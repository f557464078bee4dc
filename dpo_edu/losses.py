"""DPO and its relatives: pure functions of log-probabilities, one value for each pair.

h_w = log pi(y_w) - log pi_ref(y_w),   s_w = beta h_w,   likewise h_l and s_l of the loser y_l;
h = h_w - h_l,   s = beta h;   l(s) = -log sigma(s),   l'(s) = -sigma(-s),
sigma'(s) = sigma(s) sigma(-s)

Arguments, checks and shapes are those of `dpo_loss`. What a function adds it names, and a number
out of range is a ValueError. `label_smoothing` is e, the chance that a vote is flipped: unless a
function says otherwise the value is the one expected, (1 - e) loss(w, l) + e loss(l, w). All values
and gradients are finite at log-ratios of +-1000, or infinite where the truth is.

What changes the arguments of a loss, not the loss, needs no loss of its own. Log-probabilities
divided by their numbers of tokens make `dpo_loss` what TRL calls ``sigmoid_norm``, and `ipo_loss`
its ``ipo``; `ld_logps` gives the arguments of LD-DPO, `wpo_weight` the weights of WPO. The names
that TRL (the trainer of Hugging Face) has for the losses are in the cards of notebooks
`change_the_loss` and `reward_each_response`.
"""

import math
import operator
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from dpo_edu import _checks


def _tensors(**log_probs: Tensor) -> None:
    """Refuse what would broadcast: a (N, 1) column against (N,) is N^2 pairs nobody asked for."""
    for name, value in log_probs.items():
        if not (isinstance(value, Tensor) and value.is_floating_point()):
            raise _checks.error(name, "a floating-point tensor", type(value).__name__)
    _checks.one_shape(**log_probs)


def _smoothing(value: float) -> float:
    if isinstance(value, bool) or not (isinstance(value, Real) and 0 <= value < 0.5):
        raise _checks.error("label_smoothing", "a number in [0, 0.5)", repr(value))
    return float(value)


def _number(name: str, value: float | Tensor, *, least: float = -math.inf) -> float:
    """A finite number, a constant of the loss: a tensor's graph is cut."""
    try:
        number = float(value.detach() if isinstance(value, Tensor) else operator.pos(value))
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if isinstance(value, bool) or not (math.isfinite(number) and number >= least):
        bound = "" if least == -math.inf else f" >= {least:g}"
        raise _checks.error(name, f"a finite number{bound}", repr(value))
    return number


def _log_ratios(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
) -> tuple[Tensor, Tensor]:
    """h_w and h_l, checked, nats."""
    _tensors(
        chosen_logps=chosen_logps,
        rejected_logps=rejected_logps,
        ref_chosen_logps=ref_chosen_logps,
        ref_rejected_logps=ref_rejected_logps,
    )
    return chosen_logps - ref_chosen_logps, rejected_logps - ref_rejected_logps


def _sigma(x: Tensor) -> Tensor:
    # The derivative of torch.sigmoid, y (1 - y), is 0 as soon as y rounds to 1: at 17 in float32.
    return logsigmoid(x).exp()


def _expected(
    loss: Callable[[Tensor, Tensor], Tensor], winner: Tensor, loser: Tensor, label_smoothing: float
) -> Tensor:
    """The loss expected when the vote is flipped with probability `label_smoothing`."""
    e = _smoothing(label_smoothing)
    if e == 0:
        return loss(winner, loser)
    return (1 - e) * loss(winner, loser) + e * loss(loser, winner)


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
        If `beta` or `label_smoothing` is out of range, an argument is not a floating-point tensor,
        or the shapes differ.

    Source: Rafailov et al. 2023, eq. 7; Mitchell 2023 for e > 0; claims L1, D1-D4.

    >>> import torch
    >>> same = torch.tensor([-1.0, -2.0])
    >>> dpo_loss(same, same, same, same, beta=0.1)
    tensor([0.6931, 0.6931])
    """
    _tensors(
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


def robust_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """DPO undone of label noise: its expectation over flips of probability e is the clean loss.

    ``((1 - e) l(s) - e l(-s)) / (1 - 2e) = l(s) - e s / (1 - 2e)``, unbounded below for e > 0.
    Gradient in s: ``-((1 - e) sigma(-s) + e sigma(s)) / (1 - 2e)``. Gives ``(N,)``, nats.

    Source: Chowdhury et al. 2024 (arXiv 2403.00409).

    >>> here, ref = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0])
    >>> robust_loss(here, ref, ref, ref, beta=1.0, label_smoothing=0.2)
    tensor([-0.0201,  1.6466])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    e, margin = _smoothing(label_smoothing), _checks.beta(beta) * (h_w - h_l)
    return (e * logsigmoid(-margin) - (1 - e) * logsigmoid(margin)) / (1 - 2 * e)


def ipo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Squared distance of the difference of log-ratios from a fixed target.

    ``(h - 1/(2 beta))^2``, in nats squared, ``(N,)``. Gradient in h: ``2 (h - 1/(2 beta))``.

    Source: Azar et al. 2023 (arXiv 2310.12036), eq. 17, whose tau is beta.

    >>> here, ref = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0])
    >>> ipo_loss(here, ref, ref, ref, beta=1.0)
    tensor([0.2500, 2.2500])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    target = 1 / (2 * _checks.beta(beta))
    return _expected(lambda w, v: (w - v - target) ** 2, h_w, h_l, label_smoothing)


def hinge_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The support vector machine's loss on the margin s: nothing once s reaches 1.

    ``max(0, 1 - s)``, ``(N,)``. Gradient in s: -1 below s = 1, else 0 (at s = 1 too).

    Source: Zhao et al. 2023 (SLiC, arXiv 2305.10425); with a reference, Liu et al. 2023 (RSO,
    arXiv 2309.06657).

    >>> here, ref = torch.tensor([-1.5, -3.0]), torch.tensor([-2.0, -2.0])
    >>> hinge_loss(here, ref, ref, ref, beta=1.0)
    tensor([0.5000, 2.0000])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    beta = _checks.beta(beta)
    return _expected(lambda w, v: relu(1 - beta * (w - v)), h_w, h_l, label_smoothing)


def exo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 1e-3,
) -> Tensor:
    """Reverse KL from the policy's own vote to the vote given, softened by e in (0, 0.5).

    ``sigma(s) log(sigma(s)/(1 - e)) + sigma(-s) log(sigma(-s)/e)``, nats, ``(N,)``, which is
    ``KL(Bern(sigma(s)) || Bern(1 - e))``. Gradient in s: ``sigma'(s) (s - log((1 - e)/e))``. Here e
    is no noise to be averaged over: without it the loss would be infinite.

    Raises
    ------
    ValueError
        Also if e is 0.

    Source: Ji et al. 2024 (arXiv 2402.00856), eq. 16.

    >>> here, ref = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0])
    >>> exo_loss(here, ref, ref, ref, beta=1.0, label_smoothing=0.1)
    tensor([0.1141, 1.1295])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    e, margin = _smoothing(label_smoothing), _checks.beta(beta) * (h_w - h_l)
    if e == 0:
        raise _checks.error("label_smoothing", "a number in (0, 0.5)", repr(label_smoothing))
    log_win, log_loss = logsigmoid(margin), logsigmoid(-margin)
    win, loss = log_win.exp(), log_loss.exp()
    return win * (log_win - math.log1p(-e)) + loss * (log_loss - math.log(e))


def discopop_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    tau: float = 0.05,
    label_smoothing: float = 0.0,
) -> Tensor:
    """A blend that a language model wrote: logistic at negative margins, exponential at positive.

    ``(1 - m) l(s) + m exp(-s)`` with ``m = sigma(s/tau)``, tau > 0, ``(N,)``. Gradient in s:
    ``-(1 - m) sigma(-s) - m exp(-s) + sigma'(s/tau) (exp(-s) - l(s))/tau``. It is not convex: for
    tau < (1 - log 2)/3 it rises at s = 0, where training begins.

    Source: Lu et al. 2024 (arXiv 2406.08414), DiscoPOP, eq. 5 as coded in TRL; claim K13.

    >>> here, ref = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0])
    >>> discopop_loss(here, ref, ref, ref, beta=1.0)
    tensor([0.3679, 1.3133])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    beta, tau = _checks.beta(beta), _checks.positive("tau", tau)

    def loss(w: Tensor, v: Tensor) -> Tensor:
        margin = beta * (w - v)
        exponential = (logsigmoid(margin / tau) - margin).exp()
        return exponential - _sigma(-margin / tau) * logsigmoid(margin)

    return _expected(loss, h_w, h_l, label_smoothing)


def nca_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Noise contrast: each reward against the reference's own samples, the winner's once more.

    ``l(s_w) + l(-s_w)/2 + l(-s_l)/2``, nats, ``(N,)``. Gradient: ``3 sigma(s_w)/2 - 1`` in s_w,
    ``sigma(s_l)/2`` in s_l.

    Source: Chen et al. 2024 (arXiv 2402.05369), pairwise NCA.

    >>> here, ref = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0])
    >>> nca_loss(here, ref, ref, ref, beta=1.0)
    tensor([1.3165, 1.8165])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    beta = _checks.beta(beta)

    def loss(w: Tensor, v: Tensor) -> Tensor:
        return -logsigmoid(w) - logsigmoid(-w) / 2 - logsigmoid(-v) / 2

    return _expected(loss, beta * h_w, beta * h_l, label_smoothing)


def bco_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    reward_shift: float | Tensor = 0.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """A binary classifier: winners' rewards above a shift d, losers' below it.

    ``l(s_w - d) + l(d - s_l)``, nats, ``(N,)``, d = `reward_shift` in reward units (the paper takes
    a running mean of rewards). Gradient: ``-sigma(d - s_w)`` in s_w, ``sigma(s_l - d)`` in s_l.
    The paper's weights, a density ratio of the prompts with good and with bad responses, are left
    out: both responses of a pair answer one prompt.

    Source: Jung et al. 2024 (arXiv 2404.04656), on pairs and without density-ratio weights.

    >>> here, ref = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0])
    >>> bco_loss(here, ref, ref, ref, beta=1.0)
    tensor([1.0064, 2.0064])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    beta, shift = _checks.beta(beta), _number("reward_shift", reward_shift)

    def loss(w: Tensor, v: Tensor) -> Tensor:
        return -logsigmoid(w - shift) - logsigmoid(shift - v)

    return _expected(loss, beta * h_w, beta * h_l, label_smoothing)


def sppo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Self-play on hard votes: each log-ratio is drawn to a fixed height.

    ``(h_w - 1/(2 beta))^2 + (h_l + 1/(2 beta))^2``, nats squared, ``(N,)``. Gradient:
    ``2 (h_w - 1/(2 beta))`` in h_w, ``2 (h_l + 1/(2 beta))`` in h_l.

    Source: Wu et al. 2024 (arXiv 2405.00675), with votes for probabilities and eta = 1/beta.

    >>> here, ref = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0])
    >>> sppo_loss(here, ref, ref, ref, beta=1.0)
    tensor([0.5000, 2.5000])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    target = 1 / (2 * _checks.beta(beta))
    return _expected(lambda w, v: (w - target) ** 2 + (v + target) ** 2, h_w, h_l, label_smoothing)


def apo_zero_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Anchored: winners up from the reference, losers down from it.

    ``sigma(-s_w) + sigma(s_l)``, in [0, 2], ``(N,)``. Gradient: ``-sigma'(s_w)`` in s_w,
    ``sigma'(s_l)`` in s_l.

    Source: D'Oosterlinck et al. 2024 (arXiv 2408.06266), APO-zero, eq. 7.

    >>> here, ref = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0])
    >>> apo_zero_loss(here, ref, ref, ref, beta=1.0)
    tensor([0.7689, 1.2311])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    beta = _checks.beta(beta)
    return _expected(lambda w, v: _sigma(-w) + _sigma(v), beta * h_w, beta * h_l, label_smoothing)


def apo_down_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Anchored: the winner down from the reference too, the loser further below it.

    ``sigma(s_w) + sigma(s_l - s_w)``, in [0, 2], ``(N,)``. Gradient: ``sigma'(s_w) - sigma'(s)`` in
    s_w, ``sigma'(s)`` in s_l.

    Source: D'Oosterlinck et al. 2024 (arXiv 2408.06266), APO-down, eq. 8.

    >>> here, ref = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0])
    >>> apo_down_loss(here, ref, ref, ref, beta=1.0)
    tensor([1., 1.])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    beta = _checks.beta(beta)
    return _expected(
        lambda w, v: _sigma(w) + _sigma(v - w), beta * h_w, beta * h_l, label_smoothing
    )


def kto_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    *,
    beta: float,
    kl: float | Tensor = 0.0,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Prospect theory: gains and losses are felt from a point z0, and saturate.

    ``D sigma(beta z0 - s_w) + U sigma(s_l - beta z0)``, in [0, D + U], ``(N,)``, with z0 = `kl`
    >= 0 in nats, a constant to the gradient, weights D, U > 0. The paper takes KL(pi || pi_ref)
    averaged over prompts and estimates it on each batch; with one prompt it is that prompt's KL.
    Gradient: ``-D sigma'(s_w - beta z0)`` in s_w, ``U sigma'(s_l - beta z0)`` in s_l. The paper's
    loss takes votes one by one; this is the sum over the two of a pair.

    Source: Ethayarajh et al. 2024 (arXiv 2402.01306).

    >>> here, ref = torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0])
    >>> kto_loss(here, ref, ref, ref, beta=1.0, kl=1.0)
    tensor([0.7689, 1.1497])
    """
    h_w, h_l = _log_ratios(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps)
    beta = _checks.beta(beta)
    zero = beta * _number("kl", kl, least=0)
    desirable = _checks.positive("desirable_weight", desirable_weight)
    undesirable = _checks.positive("undesirable_weight", undesirable_weight)

    def loss(w: Tensor, v: Tensor) -> Tensor:
        return desirable * _sigma(zero - w) + undesirable * _sigma(v - zero)

    return _expected(loss, beta * h_w, beta * h_l, label_smoothing)


def simpo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    *,
    beta: float,
    gamma: float = 0.5,
    label_smoothing: float = 0.0,
) -> Tensor:
    """DPO without a reference, on means over tokens, with a margin to clear.

    ``l(u)``, nats, ``(N,)``, with ``u = beta (chosen - rejected) - gamma``, where the arguments are
    log-probabilities divided by the responses' lengths, nats a token, and gamma >= 0 is in reward
    units. Gradient in the chosen mean: ``-beta sigma(-u)``.

    Source: Meng et al. 2024 (arXiv 2405.14734).

    >>> simpo_loss(torch.tensor([-1.0]), torch.tensor([-2.0]), beta=2.0)
    tensor([0.2014])
    """
    _tensors(chosen_logps=chosen_logps, rejected_logps=rejected_logps)
    beta, gamma = _checks.beta(beta), _number("gamma", gamma, least=0)
    return _expected(
        lambda w, v: -logsigmoid(beta * (w - v) - gamma),
        chosen_logps,
        rejected_logps,
        label_smoothing,
    )


def sft_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Supervised fine-tuning on the winners: their negative log-likelihood, nothing else.

    ``-log pi(y_w)``, nats, ``(N,)``. Neither the loser, nor a reference, nor beta enters; loser and
    beta are arguments so that it can stand where another loss stands. Gradient in log pi(y_w): -1.

    Source: Ouyang et al. 2022 (arXiv 2203.02155), step 1, here with winners as demonstrations;
    claim K18.

    >>> sft_loss(torch.tensor([-1.0]), torch.tensor([-2.0]), beta=0.1)
    tensor([1.])
    """
    _tensors(chosen_logps=chosen_logps, rejected_logps=rejected_logps)
    _checks.beta(beta)
    return _expected(lambda w, _: -w, chosen_logps, rejected_logps, label_smoothing)


def orpo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Likelihood of the winner, and its odds against the loser's; no reference.

    ``-log pi_w + beta l(z)``, nats, ``(N,)``, with z the log of the odds ratio,
    ``z = log(pi_w/(1 - pi_w)) - log(pi_l/(1 - pi_l))`` and beta the paper's lambda. Gradient:
    ``-1 - beta sigma(-z)/(1 - pi_w)`` in log pi_w, ``beta sigma(-z)/(1 - pi_l)`` in log pi_l.
    The paper's log-probabilities are means over tokens. Infinite where pi_l = 1, undefined (nan)
    where both are 1.

    Raises
    ------
    ValueError
        Also if a log-probability is above 0.

    Source: Hong et al. 2024 (arXiv 2403.07691).

    >>> orpo_loss(torch.tensor([-1.0]), torch.tensor([-2.0]), beta=0.1)
    tensor([1.0238])
    """
    logps = {"chosen_logps": chosen_logps, "rejected_logps": rejected_logps}
    _tensors(**logps)
    beta = _checks.beta(beta)
    for name, value in logps.items():
        if (value > 0).any():
            raise _checks.error(name, "log-probabilities <= 0", f"{value.max().item()}")

    def loss(w: Tensor, v: Tensor) -> Tensor:
        return -w + beta * _odds_loss(w, v)

    return _expected(loss, chosen_logps, rejected_logps, label_smoothing)


def _odds_loss(winner: Tensor, loser: Tensor) -> Tensor:
    """``l(z)`` of the log odds ratio z of two log-probabilities."""
    behind = loser > winner
    more, less = torch.where(behind, loser, winner), torch.where(behind, winner, loser)
    # 1 - pi as 0 - x, not -x: where it is zero the slope of its logarithm must be plus infinity.
    rest_more, rest_less = 0 - torch.expm1(more), 0 - torch.expm1(less)
    # The larger odds divide, so nothing overflows; rest_more divides nothing, so pi_w may be 1.
    odds_ratio = (less - more).exp() * rest_more / rest_less
    overtaken = more - less - torch.where(behind, rest_more, 1).log() + rest_less.log()
    return odds_ratio.log1p() + torch.where(behind, overtaken, 0)


# --- what changes the arguments, not the loss -----------------------------------------------------


def ld_logps(token_logps: Tensor, shared: Tensor, *, alpha: float) -> Tensor:
    """Log-probabilities of which the tokens beyond the shorter response count only alpha.

    ``sum_(t <= shared) log pi(y_t) + alpha sum_(t > shared) log pi(y_t)``, nats, ``(N,)``. LD-DPO
    is `dpo_loss` of these, for winner and loser, policy and reference alike.

    Parameters
    ----------
    token_logps : log-probabilities of the tokens of N responses, ``(N, T)``, nats, 0 behind the end
        of a response.
    shared : the number of tokens of the shorter response of each pair, ``(N,)``.
    alpha : in [0, 1]; 1 is the sum over all tokens, 0 forgets what only the longer one has.

    Source: Liu et al. 2024 (arXiv 2409.06411), LD-DPO, as coded in TRL; claim K15.

    >>> ld_logps(torch.tensor([[-1.0, -2.0, -4.0]]), torch.tensor([1]), alpha=0.5)
    tensor([-4.])
    """
    _tensors(token_logps=token_logps)
    if not (isinstance(shared, Tensor) and shared.shape == token_logps.shape[:1]):
        raise _checks.error("shared", "a tensor (N,) beside token_logps (N, T)", repr(shared))
    if not 0 <= (share := _number("alpha", alpha)) <= 1:
        raise _checks.error("alpha", "a number in [0, 1]", repr(alpha))
    place = torch.arange(token_logps.shape[1], device=token_logps.device)
    return torch.where(place < shared[:, None], token_logps, share * token_logps).sum(1)


def wpo_weight(token_logps: Tensor, next_logps: Tensor, lengths: Tensor) -> Tensor:
    """How likely the policy itself is to write a response: the weight that WPO gives it.

    ``exp(mean_t [log pi(y_t) - log sum_v pi(v)^2])``, ``(N,)``, a constant to the gradient; v runs
    over the vocabulary behind the same prefix. The loss of a pair, whichever it is, is multiplied
    by the weights of both responses.

    Parameters
    ----------
    token_logps : log-probabilities of the tokens of N responses, ``(N, T)``, nats.
    next_logps : log-probabilities of all V tokens at the same places, ``(N, T, V)``, nats.
    lengths : numbers of tokens >= 1, ``(N,)``; what stands behind them is ignored.

    Source: Zhou et al. 2024 (arXiv 2406.11827), WPO, eq. 2 as coded in TRL; claim K16.

    >>> even = torch.full((1, 2, 4), 0.25).log()
    >>> wpo_weight(even[..., 0], even, torch.tensor([2]))
    tensor([1.])
    """
    _tensors(token_logps=token_logps, next_logps=next_logps[..., 0])
    if not (isinstance(lengths, Tensor) and lengths.shape == token_logps.shape[:1]):
        raise _checks.error("lengths", "a tensor (N,) beside token_logps (N, T)", repr(lengths))
    there = torch.arange(token_logps.shape[1], device=token_logps.device) < lengths[:, None]
    surplus = token_logps - (2 * next_logps).logsumexp(-1)
    return (torch.where(there, surplus, 0).sum(1) / lengths).exp().detach()
