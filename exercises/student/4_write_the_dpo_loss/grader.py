"""Assignment 4: the DPO loss in NumPy and in torch, its gradient by hand, and log pi of a text."""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logsumexp
from torch import Tensor
from torch.nn.functional import logsigmoid

from dpo_edu import losses
from dpo_edu.grading import (
    NOT_YET,
    Case,
    OneOf,
    Task,
    case,
    function_fault,
    function_task,
    is_blank,
    same,
    value_fault,
)

Floats = NDArray[np.float64]
Function = Callable[..., Any]

# --- 1 the margin -------------------------------------------------------------------------------


def _log_probs(rng: np.random.Generator, pairs: int) -> list[Floats]:
    """log pi(y_w), log pi(y_l), and the same of the reference."""
    return list(-rng.gamma(3.0, size=(4, pairs)))


def _margins(rng: np.random.Generator) -> list[Case]:
    return [case(*_log_probs(rng, n), beta=b) for n, b in [(2, 0.5), (5, 0.1), (3, 2.0)]]


def _margin_from_loss(
    chosen: Floats, rejected: Floats, ref_chosen: Floats, ref_rejected: Floats, *, beta: float
) -> Floats:
    """log sigma(s) is minus the package's loss, and log-odds bring s back: another route."""
    given = [torch.tensor(x) for x in (chosen, rejected, ref_chosen, ref_rejected)]
    loss = losses.dpo_loss(*given, beta=beta).numpy()
    return np.asarray(-np.log(np.expm1(loss)))


margin = function_task(
    "margin",
    truth=_margin_from_loss,
    cases=_margins,
    tolerance=1e-8,
    alone=True,
    mistakes={
        "beta is missing.": lambda w, x, rw, rx, *, beta: (w - x) - (rw - rx),
        "beta is counted twice.": lambda w, x, rw, rx, *, beta: beta**2 * (w - x - rw + rx),
        "beta divides here: it must multiply.": (
            lambda w, x, rw, rx, *, beta: (w - x - rw + rx) / beta
        ),
        "beta multiplies the policy's part only: the reference's part needs it too.": (
            lambda w, x, rw, rx, *, beta: beta * (w - x) - (rw - rx)
        ),
        "the reference is missing: where policy and reference agree, s must be 0.": (
            lambda w, x, rw, rx, *, beta: beta * (w - x)
        ),
        "the reference's difference is added, or each response meets the other's reference: where "
        "policy and reference agree, s must be 0.": (
            lambda w, x, rw, rx, *, beta: beta * (w - x + rw - rx)
        ),
        "the sign: s grows with the policy's log pi(y_w); is chosen swapped with rejected, or "
        "policy with reference?": lambda w, x, rw, rx, *, beta: beta * (x - w - rx + rw),
        "this is the implicit reward of y_w alone: y_l has one too.": (
            lambda w, x, rw, rx, *, beta: beta * (w - rw)
        ),
        "brackets are missing: the reference's chosen is taken off, its rejected is added.": OneOf(
            [
                lambda w, x, rw, rx, *, beta: beta * (w - x - rw - rx),
                lambda w, x, rw, rx, *, beta: beta * (w - x) - rw - rx,
                lambda w, x, rw, rx, *, beta: beta * w - x - (rw - rx),
                lambda w, x, rw, rx, *, beta: beta * w - x - rw + rx,
            ]
        ),
        "these are logarithms, and a margin is made of logarithms: no exp.": OneOf(
            [
                lambda w, x, rw, rx, *, beta: beta * (np.exp(w - x) - np.exp(rw - rx)),
                lambda w, x, rw, rx, *, beta: (
                    beta * (np.exp(w) - np.exp(x) - np.exp(rw) + np.exp(rx))
                ),
                lambda w, x, rw, rx, *, beta: beta * (np.exp(w - rw) - np.exp(x - rx)),
            ]
        ),
        "these are logarithms already: no second logarithm.": (
            lambda w, x, rw, rx, *, beta: beta * (np.log(w / x) - np.log(rw / rx))
        ),
        "this is sigma of the margin or its loss: the margin itself is asked for.": OneOf(
            [
                lambda w, x, rw, rx, *, beta: expit(beta * (w - x - rw + rx)),
                lambda w, x, rw, rx, *, beta: -log_expit(beta * (w - x - rw + rx)),
            ]
        ),
        "a margin may be negative: no absolute value, no maximum.": OneOf(
            [
                lambda w, x, rw, rx, *, beta: np.abs(beta * (w - x - rw + rx)),
                lambda w, x, rw, rx, *, beta: np.maximum(beta * (w - x - rw + rx), 0),
            ]
        ),
        "the policy's part is missing: this is the reference's margin alone.": OneOf(
            [
                lambda w, x, rw, rx, *, beta: beta * (rw - rx),
                lambda w, x, rw, rx, *, beta: -beta * (rw - rx),
            ]
        ),
        "the two implicit rewards are added: a margin is a difference.": (
            lambda w, x, rw, rx, *, beta: beta * (w - rw + x - rx)
        ),
        "these are logarithms already: a log-ratio is a difference, not a quotient.": (
            OneOf(
                [
                    lambda w, x, rw, rx, *, beta: beta * (w / x - rw / rx),
                    lambda w, x, rw, rx, *, beta: beta * (w / rw - x / rx),
                ]
            )
        ),
        "beta is added: it multiplies.": lambda w, x, rw, rx, *, beta: beta + w - x - rw + rx,
        "one margin for each pair, not their sum.": (
            lambda w, x, rw, rx, *, beta: (beta * (w - x - rw + rx)).sum()
        ),
        "one margin for each pair, not their mean.": (
            lambda w, x, rw, rx, *, beta: (beta * (w - x - rw + rx)).mean()
        ),
    },
)

# --- 2 the loss of a pair, in NumPy -------------------------------------------------------------

FAR = np.array([1000.0, -1000.0, 37.5, -37.5, 0.0])
OVERFLOWS = "exp overflows at margins of 1000: rewrite it so that exp meets no large number."
WARNS = (
    "the values are right, but NumPy warns on the way ({}): exp still meets a large number "
    "somewhere (np.where computes both of its branches)."
)


def _warning(function: Function, at: Case) -> str | None:
    """The sentence for a function that is right but noisy; None if it is quiet."""
    loud: Any = {"over": "warn", "divide": "warn", "invalid": "warn", "under": "ignore"}
    with np.errstate(**loud), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        at.of(function)
    return WARNS.format(heard[0].message) if heard else None


def _levels_off(function: Function) -> bool:
    """Whether the loss stops growing although the policy gets worse and worse."""
    try:
        with np.errstate(all="ignore"):
            bad, worse = (float(np.ravel(function(np.array([s])))[0]) for s in (-900.0, -1000.0))
    except Exception:  # then there is something else to say about it
        return False
    return bool(bad == worse and 1 < bad < np.inf)


def _softplus(s: Floats) -> Any:
    return np.logaddexp(0, -s)


def _near_zero(rng: np.random.Generator) -> list[Case]:
    near = rng.normal(scale=2, size=4)
    middle = rng.uniform([5, 7, 12, 20], [6, 9, 16, 30])
    return [
        case(near),
        case(-2 * near),
        case(np.array([0.0, 1.0, -1.0])),
        case(middle),
        case(-middle),
    ]


def _far_margins(rng: np.random.Generator) -> list[Case]:
    return [case(FAR + rng.normal())]


def _flat_or_noisy(answer: Function, fault: str | None, cases: list[Case]) -> str | None:
    """What hides an overflow is told as such; what is right must be so without a warning."""
    if fault not in (None, NOT_YET) and _levels_off(answer):
        return (
            "it levels off where the policy is most wrong: an epsilon or a clip or a number in "
            "place of inf hides the overflow and ends the learning there."
        )
    return fault or _warning(answer, cases[-1])


pair_loss = function_task(
    "pair_loss",
    truth=_softplus,
    cases=_near_zero,
    far=_far_margins,
    then=_flat_or_noisy,
    alone=True,
    mistakes={
        "a minus is missing: the logarithm of a probability is negative.": lambda s: log_expit(s),
        "the sign of s: a pair that the policy ranks as the vote did (s > 0) must cost little.": (
            lambda s: -log_expit(-s)
        ),
        "this is sigma(s) itself: the loss is minus its logarithm.": lambda s: expit(s),
        "this is 1 - sigma(s), the probability of the other verdict; the loss is a logarithm.": (
            lambda s: expit(-s)
        ),
        "minus a probability: where is the logarithm?": lambda s: -expit(s),
        "this is the hinge max(0, -s): near s = 0 it differs from -log sigma(s).": (
            lambda s: np.maximum(0, -s)
        ),
        "this logarithm has base 2: nats are asked for.": OneOf(
            [lambda s: -log_expit(s) / np.log(2), lambda s: np.logaddexp2(0, -s)]
        ),
        "this logarithm has base 10: nats are asked for.": lambda s: -log_expit(s) / np.log(10),
        "s = 0, where every training starts, is left out: the loss there is log 2.": OneOf(
            [
                lambda s: _softplus(s) * (s != 0),
                lambda s: np.where(s == 0, np.nan, _softplus(s)),
                lambda s: np.where(s == 0, 1.0, _softplus(s)),
            ]
        ),
        "log(1 + x) is missing: near s = 0 this is not the loss.": OneOf(
            [
                lambda s: np.maximum(0, -s) + np.exp(-np.abs(s)),
                lambda s: np.exp(-s),
            ]
        ),
        "-s stands for every s < 0: far below 0 it is nearly the loss, near 0 it is not.": (
            lambda s: np.where(s < 0, -s, _softplus(s))
        ),
        "the part max(0, -s) is missing: where the policy is wrong the loss grows like -s.": (
            lambda s: np.log1p(np.exp(-np.abs(s)))
        ),
        "log(1 + exp(-s)) holds the absolute value of s: in max(0, -s) the sign must stay.": (
            lambda s: np.abs(s) + np.log1p(np.exp(-np.abs(s)))
        ),
        "this is the hinge max(0, 1 - s): the loss is -log sigma(s).": (
            lambda s: np.maximum(0, 1 - s)
        ),
        "this is a square: the loss is -log sigma(s).": OneOf(
            [lambda s: (1 - s) ** 2, lambda s: (1 - expit(s)) ** 2]
        ),
        "this is -s: the loss is -log sigma(s), which is never negative.": lambda s: -s,
        "1 - exp(-s) stands where 1 + exp(-s) belongs: sigma(s) = 1/(1 + exp(-s)).": (
            lambda s: -np.log(1 / (1 - np.exp(-s)))
        ),
        "one loss for each pair, not their mean.": lambda s: -log_expit(s).mean(),
        "one loss for each pair, not their sum.": lambda s: -log_expit(s).sum(),
        OVERFLOWS: OneOf(
            [
                lambda s: np.log1p(np.exp(-s)),
                lambda s: np.log1p(np.exp(s)) - s,
                lambda s: -np.log(np.exp(s) / (1 + np.exp(s))),
                lambda s: -np.log(1 - 1 / (1 + np.exp(s))),
            ]
        ),
    },
)

# --- 3 landmarks --------------------------------------------------------------------------------

NAMES = (
    "loss at the reference",
    "weight at the reference",
    "weight as s goes to +inf",
    "weight as s goes to -inf",
)
PUBLISHED = 0.3  # beta
AT_BETA = "this is taken at s = beta: the ratio is 1 there, and s holds its logarithm."
WITHOUT_BETA = "beta is missing: the weight is beta sigma(-s)."


def _landmarks(beta: float) -> tuple[float, ...]:
    """The loss and the weight at the reference, and the weight's two limits."""
    return float(np.log(2)), beta / 2, 0.0, beta


def _mistaken_at_the_reference(beta: float) -> tuple[dict[str, float], ...]:
    """What is mistaken for the loss and for the weight."""
    return (
        {
            "the policy does not obey the votes yet: what is sigma(0)?": 0.0,
            "this is sigma(0): the loss is minus its logarithm.": 0.5,
            "the sign: a loss is minus the logarithm of a probability.": -float(np.log(2)),
            "this is the logarithm to base 10.": float(np.log10(2)),
            "this is the logarithm to base 2.": 1.0,
            "the loss itself has no factor beta: s is 0 for every beta.": beta * float(np.log(2)),
            AT_BETA: float(np.log1p(np.exp(-beta))),
        },
        {
            WITHOUT_BETA: 0.5,
            "full weight only goes to a vote that the policy contradicts.": beta,
            "sigma is not zero at zero.": 0.0,
            "this is beta sigma(0) sigma(0), the curvature's shape.": beta / 4,
            "the weight has a positive sign: it says how hard a vote pulls.": -beta / 2,
            "beta divides, and should multiply.": 1 / (2 * beta),
            "this is the loss times beta: the weight holds sigma, no logarithm.": (
                beta * float(np.log(2))
            ),
            AT_BETA: beta * float(expit(-beta)),
        },
    )


def _mistaken_at_the_ends(beta: float) -> tuple[dict[str, float], ...]:
    """What is mistaken for the weight as s goes to +inf and to -inf."""
    return (
        {
            "that is the other end: here the policy obeys the vote already.": beta,
            "that is the other end, and beta is missing.": 1.0,
            "that is the weight at s = 0.": beta / 2,
            "sigma is at least 0 and at most 1, so the weight is bounded.": float("inf"),
        },
        {
            WITHOUT_BETA: 1.0,
            "that is the other end: here the policy contradicts the vote.": 0.0,
            "that is the weight at s = 0.": beta / 2,
            "sigma is at most 1, so the weight is bounded.": float("inf"),
            "the weight has a positive sign: it says how hard a vote pulls.": -beta,
            "beta divides, and should multiply.": 1 / beta,
        },
    )


def _mistaken(beta: float) -> tuple[dict[str, float], ...]:
    return *_mistaken_at_the_reference(beta), *_mistaken_at_the_ends(beta)


LECTURES = 0.1


def _landmark_of(beta: float, name: str) -> float:
    return _landmarks(beta)[NAMES.index(name)]


def _one_wrong(beta: float) -> dict[str, tuple[float, ...]]:
    """Answers in which one of the four numbers is mistaken."""
    truth = _landmarks(beta)
    return {
        f"{NAMES[place]}: {sentence}": (*truth[:place], wrong, *truth[place + 1 :])
        for place, mistakes in enumerate(_mistaken(beta))
        for sentence, wrong in mistakes.items()
    }


def _landmarks_fault(answer: Any, _: np.random.Generator, beta: float) -> str | None:
    """What is wrong with the first of the four numbers that is wrong."""
    if is_blank(answer):
        return NOT_YET
    if not isinstance(answer, tuple | list | np.ndarray) or len(answer) != 4:
        return "expected four numbers: (loss at the reference, weight there, s to +inf, s to -inf)."
    if any(is_blank(part) for part in answer):
        return NOT_YET
    rows = zip(NAMES, answer, _landmarks(beta), _mistaken(beta), strict=True)
    for name, found, truth, mistakes in rows:
        # Three digits are enough, and the nearest mistake is more than 0.002 away.
        fault = value_fault(found, truth, mistakes, tolerance=1e-3)
        if fault is not None and same(found, _landmark_of(LECTURES, name), 1e-3):
            fault = f"beta is {beta} here, not {LECTURES} as in the lecture."
        if fault is not None:
            return f"{name}: {fault}"
    return None


def _leash(rng: np.random.Generator) -> float:
    return float(rng.choice([0.1, 0.3, 0.4, 0.6, 0.7, 0.8]))


landmarks = Task("landmarks", _landmarks_fault, _one_wrong(PUBLISHED), _leash, PUBLISHED)

# --- 4 the gradient by hand ---------------------------------------------------------------------


def _by_autograd(s: Floats, *, beta: float) -> tuple[Floats, Floats]:
    """The gradient of the package's loss at log-probabilities that have these margins."""
    chosen = torch.tensor(s / beta, requires_grad=True)
    rejected = torch.zeros_like(chosen, requires_grad=True)
    nil = torch.zeros_like(rejected)
    total = losses.dpo_loss(chosen, rejected, nil, nil, beta=beta).sum()
    up, down = torch.autograd.grad(total, (chosen, rejected))
    return up.numpy(), down.numpy()


def _both(weight: Callable[[Any, float], Any]) -> Function:
    """The pair (-weight, +weight)."""

    def gradient(s: Floats, *, beta: float) -> Any:
        return -weight(s, beta), weight(s, beta)

    return gradient


def _but_at_zero(share: float) -> Callable[[Any, float], Any]:
    """The weight with another share of beta at s = 0."""
    return lambda s, b: np.where(s == 0, share * b, b * expit(-s))


def _margins_near_zero(rng: np.random.Generator) -> list[Case]:
    sizes = [(3, 0.5), (4, 0.1), (3, 3.0)]
    tried = [case(rng.normal(scale=2, size=n), beta=b) for n, b in sizes]
    middle = rng.uniform([5, 7, 12], [6, 9, 16])
    more = [np.array([0.0, 1.0, -1.0]), middle, -middle]
    return [*tried, *(case(s, beta=0.7) for s in more)]


def _margins_far_out(rng: np.random.Generator) -> list[Case]:
    return [case(FAR + rng.normal(), beta=0.3)]


def _noisy(answer: Function, fault: str | None, cases: list[Case]) -> str | None:
    return fault or _warning(answer, cases[-1])


gradient = function_task(
    "gradient",
    truth=_by_autograd,
    cases=_margins_near_zero,
    far=_margins_far_out,
    then=_noisy,
    alone=True,
    mistakes={
        "both signs are the wrong way round: does the loss grow or fall as log pi(y_w) rises?": (
            _both(lambda s, b: -b * expit(-s))
        ),
        "log pi(y_l) enters s with a minus: the second sign is wrong. (Are both one array, changed "
        "in place?)": (lambda s, *, beta: (-beta * expit(-s), -beta * expit(-s))),
        "log pi(y_w) enters s with a plus: the first sign is wrong.": (
            lambda s, *, beta: (beta * expit(-s), beta * expit(-s))
        ),
        "beta is missing: the inner derivative of s.": _both(lambda s, b: expit(-s)),
        "beta is counted twice.": _both(lambda s, b: b**2 * expit(-s)),
        "s holds beta already: sigma takes s itself.": _both(lambda s, b: b * expit(-b * s)),
        "this weight is largest where the policy already obeys the vote: sigma of what?": (
            _both(lambda s, b: b * expit(s))
        ),
        "this is the derivative of sigma: the loss is the logarithm of it.": (
            _both(lambda s, b: b * expit(s) * expit(-s))
        ),
        "s = 0, where every training starts, is left out: the weight there is beta/2.": OneOf(
            _both(_but_at_zero(share)) for share in (0.0, 1.0, np.nan)
        ),
        "this is the loss: its derivative has sigma and no logarithm.": OneOf(
            [
                _both(lambda s, b: b * _softplus(s)),
                _both(lambda s, b: _softplus(s)),
            ]
        ),
        "beta divides, and should multiply.": _both(lambda s, b: expit(-s) / b),
        "both log-probabilities move s, in opposite directions: none has derivative 0.": (
            lambda s, *, beta: (-beta * expit(-s), 0 * s)
        ),
        "the weights of a vote's two responses are equal and opposite: sigma(-s) in both.": (
            lambda s, *, beta: (-beta * expit(-s), beta * expit(s))
        ),
        "divided by the number of pairs: each pair has its own gradient.": (
            _both(lambda s, b: b * expit(-s) / s.size)
        ),
        "two derivatives are asked for, and this is one.": lambda s, *, beta: -beta * expit(-s),
        OVERFLOWS: OneOf(
            [
                _both(lambda s, b: b * np.exp(-s) / (1 + np.exp(-s))),
                _both(lambda s, b: b * (1 - np.exp(s) / (1 + np.exp(s)))),
            ]
        ),
    },
)

# --- 5 the loss in torch ------------------------------------------------------------------------


def _untensored(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, Tensor) else value


def _traced(loss: Function) -> Function:
    """A torch loss as a NumPy function: its values, and what autograd makes of their sum."""

    def traced(
        chosen: Floats, rejected: Floats, ref_chosen: Floats, ref_rejected: Floats, *, beta: float
    ) -> Any:
        w, x = (torch.tensor(a, requires_grad=True) for a in (chosen, rejected))
        # These share memory with the arrays, so that a change in place is seen.
        values = loss(w, x, *map(torch.from_numpy, (ref_chosen, ref_rejected)), beta=beta)
        if is_blank(values):
            return values
        if not (isinstance(values, Tensor) and values.requires_grad):
            return _untensored(values), np.zeros_like(chosen), np.zeros_like(rejected)
        slopes = torch.autograd.grad(values.sum(), (w, x), materialize_grads=True)
        return tuple(t.detach().numpy() for t in (values, *slopes))  # zeros may ask for gradients

    return traced


def _hand_made(
    chosen: Floats, rejected: Floats, ref_chosen: Floats, ref_rejected: Floats, *, beta: float
) -> tuple[Floats, Floats, Floats]:
    """The loss in NumPy with its gradient by hand."""
    s = beta * ((chosen - rejected) - (ref_chosen - ref_rejected))
    return np.logaddexp(0, -s), -beta * expit(-s), beta * expit(-s)


def _margin_of(w: Tensor, x: Tensor, rw: Tensor, rx: Tensor, b: float) -> Tensor:
    return b * (w - x - rw + rx)


def _of(formula: Function) -> Function:
    """A loss that is a formula in the margin."""

    def loss(w: Tensor, x: Tensor, rw: Tensor, rx: Tensor, *, beta: float) -> Any:
        return formula(_margin_of(w, x, rw, rx, beta))

    return loss


def _cut(of_chosen: Function, of_rejected: Function) -> Function:
    """The right loss of log-probabilities that were cut off autograd's graph."""

    def loss(w: Tensor, x: Tensor, rw: Tensor, rx: Tensor, *, beta: float) -> Any:
        return -logsigmoid(_margin_of(of_chosen(w), of_rejected(x), rw, rx, beta))

    return loss


def _pairs(rng: np.random.Generator) -> list[Case]:
    tried = [case(*_log_probs(rng, n), beta=b) for n, b in [(2, 0.5), (4, 0.1), (3, 2.0)]]
    chosen, rejected, *_ = _log_probs(rng, 3)
    start = case(chosen, rejected, chosen.copy(), rejected.copy(), beta=0.5)  # s = 0 exactly
    middle = rng.uniform([5, 8, 15], [6, 10, 18])
    level = np.full(3, -40.0)
    return [
        *tried,
        start,
        *(case(level + s, level, level, level, beta=1.0) for s in (middle, -middle)),
    ]


def _far_pairs(rng: np.random.Generator) -> list[Case]:
    least = np.array([-2100.0, -100.0, -3.0]) + rng.normal()
    return [case(least, least[[1, 0, 2]], np.full(3, -50.0), np.full(3, -51.0), beta=0.5)]


def _part(number: int) -> Function:
    """Looks at one of the values that a loss and its gradient are."""

    def through(function: Function) -> Function:
        @wraps(function)
        def part(*given: Floats, beta: float) -> Any:
            return function(*given, beta=beta)[number]

        return part

    return through


def _of_the_margin(loss: Function) -> Function:
    """A torch loss as a NumPy function of the margin."""

    def of(s: Floats) -> Any:
        w, nil = torch.tensor(s), torch.zeros(s.shape, dtype=torch.float64)
        return _untensored(loss(w, nil, nil, nil, beta=1.0))

    return of


def _in_parts(answer: Function, fault: str | None, cases: list[Case]) -> str | None:
    """Where an unknown mistake shows first: in the loss or in one of its derivatives."""
    if fault is not None and "detach().numpy()" in fault:
        return "NumPy passes no gradient on, and detach() cuts it off: use torch's functions."
    if fault is None or not fault.startswith(("for ", "close")):
        return fault
    if _levels_off(_of_the_margin(answer)):
        return (
            "an epsilon or a clamp hides log 0: the loss levels off where the policy is most "
            "wrong, and its gradient ends there."
        )
    for number, name in enumerate(("the loss", "its derivative by log pi(y_w)", "by log pi(y_l)")):
        part, answered = _part(number), _traced(answer)
        truth = part(_hand_made)
        fault = function_fault(answered, truth, cases, tolerance=TOLERANCE, through=part)
        if fault is not None:
            return f"{name}: {fault}"
    return None


# float32 is right too, and so is torch's softplus, linear beyond 20: an error of 2e-9.
TOLERANCE = 1e-5

dpo_loss = function_task(
    "dpo_loss",
    truth=_hand_made,
    cases=_pairs,
    far=_far_pairs,
    tolerance=TOLERANCE,
    through=_traced,
    then=_in_parts,
    alone=True,
    mistakes={
        "the values are right, but no gradient comes back: detach(), item(), numpy(), "
        "no_grad() and torch.tensor() cut the graph.": _cut(Tensor.detach, Tensor.detach),
        "no gradient reaches log pi(y_w): only the reference is a constant.": (
            _cut(Tensor.detach, Tensor.double)
        ),
        "no gradient reaches log pi(y_l): only the reference is a constant.": (
            _cut(Tensor.double, Tensor.detach)
        ),
        "the values are right, but at s = 0, where every training starts, the formula has a kink: "
        "autograd takes its slope from one side: torch has a function for log sigma.": OneOf(
            [
                _of(lambda s: torch.relu(-s) + torch.log1p(torch.exp(-s.abs()))),
                _of(lambda s: (-s).clamp(min=0) + torch.log1p(torch.exp(-s.abs()))),
            ]
        ),
        "the values are right, the gradient is nan: torch.where differentiates both branches, "
        "and 0 times infinity is nan.": OneOf(
            [
                _of(
                    lambda s: torch.where(
                        s > 0, torch.log1p(torch.exp(-s)), torch.log1p(torch.exp(s)) - s
                    )
                ),
                _of(lambda s: torch.where(s > -30, torch.log1p(torch.exp(-s)), -s)),
            ]
        ),
        "brackets are missing: the reference's chosen is taken off, its rejected is added.": (
            lambda w, x, rw, rx, *, beta: -logsigmoid(beta * (w - x - rw - rx))
        ),
        "this is the hinge max(0, -s) or max(0, 1 - s): the loss is -log sigma(s).": OneOf(
            [
                _of(lambda s: torch.relu(-s)),
                _of(lambda s: torch.relu(1 - s)),
            ]
        ),
        "this is the margin itself: the loss is -log sigma of it.": OneOf(
            [_of(lambda s: s), _of(lambda s: -s)]
        ),
        "the inputs are logarithms, and a margin is made of logarithms: no exp.": (
            lambda w, x, rw, rx, *, beta: (
                -logsigmoid(beta * (w.exp() - x.exp() - rw.exp() + rx.exp()))
            )
        ),
        "this is log(1 + sigma(s)): the loss is -log sigma(s).": (
            _of(lambda s: -torch.log1p(torch.sigmoid(s)))
        ),
        "this is the loss with label smoothing: no vote counts as flipped here.": OneOf(
            _of(lambda s, e=e: -(1 - e) * logsigmoid(s) - e * logsigmoid(-s))
            for e in (0.01, 0.05, 0.1, 0.2, 0.3)
        ),
        "this is IPO's square, not -log sigma.": OneOf(
            [
                lambda w, x, rw, rx, *, beta: (w - x - rw + rx - 1 / (2 * beta)) ** 2,
                _of(lambda s: (s - 1) ** 2),
            ]
        ),
        "one loss for each pair, not their mean: whoever trains decides how to average.": (
            _of(lambda s: -logsigmoid(s).mean())
        ),
        "one loss for each pair, not their sum.": _of(lambda s: -logsigmoid(s).sum()),
        "a minus is missing: this grows as the policy learns to obey the votes.": _of(logsigmoid),
        "chosen and rejected are swapped: this loss pulls log pi(y_l) up.": (
            _of(lambda s: -logsigmoid(-s))
        ),
        "beta is missing.": lambda w, x, rw, rx, *, beta: -logsigmoid(w - x - rw + rx),
        "beta is counted twice.": (
            lambda w, x, rw, rx, *, beta: -logsigmoid(beta**2 * (w - x - rw + rx))
        ),
        "beta stands in front of the loss: it belongs inside sigma.": (
            lambda w, x, rw, rx, *, beta: -beta * logsigmoid(w - x - rw + rx)
        ),
        "the loss is multiplied by beta, which belongs inside sigma only.": (
            lambda w, x, rw, rx, *, beta: -beta * logsigmoid(_margin_of(w, x, rw, rx, beta))
        ),
        "the loss is divided by beta: softplus with a beta of its own does that.": (
            lambda w, x, rw, rx, *, beta: -logsigmoid(_margin_of(w, x, rw, rx, beta)) / beta
        ),
        "this is a softmax over the pairs: each vote has its own sigma.": (
            _of(lambda s: -s.log_softmax(0))
        ),
        "the reference is missing: where policy and reference agree the loss must be the same "
        "for all pairs.": lambda w, x, rw, rx, *, beta: -logsigmoid(beta * (w - x)),
        "the reference's difference is added: it must be taken off.": (
            lambda w, x, rw, rx, *, beta: -logsigmoid(beta * (w - x + rw - rx))
        ),
        "this is 1 - sigma(s): the loss is a logarithm.": _of(lambda s: torch.sigmoid(-s)),
        "at margins of 1000 sigma is 0 or exp is infinite, and the gradient is lost: torch has "
        "a function for log sigma.": OneOf(
            [
                _of(lambda s: -torch.sigmoid(s).log()),
                _of(lambda s: torch.log1p(torch.exp(-s))),
                _of(lambda s: torch.log(1 + torch.exp(-s))),
            ]
        ),
    },
)

# --- 6 the log-probability of a text ------------------------------------------------------------


def _texts(
    rng: np.random.Generator,
    rows: int,
    length: int,
    words: int,
    scale: float = 1.0,
    level: float = 0.0,
) -> Case:
    """Logits, tokens and the mask of the response, between a prompt and padding of any length.

    The first row has some padding, the last one a response of two tokens; of three and more rows
    the second has a long prompt, and its response ends at the last place.
    """
    prompt = rng.integers(1, 3, size=rows)
    end = rng.integers(prompt + 1, length + 1)
    end[0], end[-1] = length - 1, prompt[-1] + 2
    if rows > 2:
        prompt[1], end[1] = length - 3, length
    place = np.arange(length)
    mask = (place >= prompt[:, None]) & (place < end[:, None])
    tokens = np.where(place < end[:, None], rng.integers(0, words, size=(rows, length)), 0)
    logits = rng.normal(level, scale, size=(rows, length, words))
    return case(torch.tensor(logits), torch.tensor(tokens), torch.tensor(mask))


def _token_by_token(logits: Tensor, tokens: Tensor, mask: Tensor) -> Floats:
    """The chain rule spelled out: one token at a time, each scored by the place before it."""
    scores, words, inside = logits.numpy(), tokens.numpy(), mask.numpy()
    total = np.zeros(len(words))
    for n, t in np.argwhere(inside):
        before = scores[n, t - 1]
        total[n] += before[words[n, t]] - logsumexp(before)
    return total


def _picked(scores: Tensor, tokens: Tensor) -> Tensor:
    """The score of the token at each place."""
    return scores.gather(-1, tokens[..., None])[..., 0]


def _shifted(logits: Tensor, tokens: Tensor) -> Tensor:
    """log pi of the second token and of those after it."""
    return _picked(logits[:, :-1].log_softmax(-1), tokens[:, 1:])


def _inside(scores: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask[:, 1:], scores, 0.0).sum(-1)


def _exp_and_log(logits: Tensor) -> Tensor:
    return logits - logits.exp().sum(-1, keepdim=True).log()


def _likeliest(logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    return (logits[:, :-1].log_softmax(-1).amax(-1) * mask[:, 1:]).sum(-1)


def _next_place(logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    return (_picked(logits[:, 1:].log_softmax(-1), tokens[:, :-1]) * mask[:, :-1]).sum(-1)


def _place(mask: Tensor) -> Tensor:
    return torch.arange(mask.shape[1]).expand(mask.shape)


def _first_and_last(mask: Tensor) -> tuple[Tensor, Tensor]:
    first = torch.where(mask, _place(mask), mask.shape[1]).amin(-1, keepdim=True)
    return first, torch.where(mask, _place(mask), -1).amax(-1, keepdim=True)


def _without_last(mask: Tensor) -> Tensor:
    return mask & (_place(mask) < _first_and_last(mask)[1])


def _with_prompt(mask: Tensor) -> Tensor:
    return _place(mask) <= _first_and_last(mask)[1]


def _with_padding(mask: Tensor) -> Tensor:
    return _place(mask) >= _first_and_last(mask)[0]


def _a_few_texts(rng: np.random.Generator) -> list[Case]:
    return [_texts(rng, 1, 4, 2), _texts(rng, 3, 6, 5), _texts(rng, 4, 8, 3, scale=2.0)]


def _large_logits(rng: np.random.Generator) -> list[Case]:
    return [_texts(rng, 6, 9, 4, scale=2000.0), _texts(rng, 2, 6, 4, level=1000.0)]


def _in_numpy(answer: Function) -> Function:
    def function(logits: Tensor, tokens: Tensor, mask: Tensor) -> Any:
        return _untensored(answer(logits, tokens, mask))

    return function


RAGGED = "responses differ in length: what the mask picks out is no table with a row for each."


def _ragged(answer: Function, fault: str | None, cases: list[Case]) -> str | None:
    """What torch says of a reshape into rows of equal length."""
    return RAGGED if fault and ", -1]' is invalid for input of size" in fault else fault


sequence_log_probs = function_task(
    "sequence_log_probs",
    truth=_token_by_token,
    cases=_a_few_texts,
    far=_large_logits,
    tolerance=1e-5,
    through=_in_numpy,
    then=_ragged,
    alone=True,
    mistakes={
        RAGGED: lambda z, y, m: _shifted(z, y)[m[:, 1:]].reshape(len(y), -1).sum(-1),
        "this is the mean over the tokens: the chain rule adds logarithms up, and the mean has "
        "another optimum.": lambda z, y, m: (_shifted(z, y) * m[:, 1:]).sum(-1) / m.sum(-1),
        "prompt and padding are counted too: only places where the mask is True belong to y.": (
            lambda z, y, m: _shifted(z, y).sum(-1)
        ),
        "off by one: logits[n, t] come from reading token t, so they score the token after it.": (
            lambda z, y, m: (_picked(z.log_softmax(-1), y) * m).sum(-1)
        ),
        "shifted the wrong way: logits at a place score the token after it, not before it.": (
            _next_place
        ),
        "the mask is off by one: it speaks of tokens, so it must be shifted with them.": OneOf(
            [
                lambda z, y, m: (_shifted(z, y) * m[:, :-1]).sum(-1),
                lambda z, y, m: (_picked(z.log_softmax(-1), y.roll(-1, 1)) * m).sum(-1),
            ]
        ),
        "logarithms are multiplied: probabilities multiply, logarithms add.": (
            lambda z, y, m: torch.where(m[:, 1:], _shifted(z, y), 1.0).prod(-1)
        ),
        "the mask multiplies the logits: places outside then count as if all words were equally "
        "likely; mask the log-probabilities.": (
            lambda z, y, m: _shifted(z * m.roll(-1, 1)[..., None], y).sum(-1)
        ),
        "the first token of each response is missing: the last place of the prompt scores it.": (
            lambda z, y, m: (_shifted(z, y) * (m[:, 1:] & m[:, :-1])).sum(-1)
        ),
        "logits are no log-probabilities yet: they must be normalised over the vocabulary.": (
            lambda z, y, m: (_picked(z[:, :-1], y[:, 1:]) * m[:, 1:]).sum(-1)
        ),
        "normalised over the places: the vocabulary is the last axis.": (
            lambda z, y, m: (_picked(z[:, :-1].log_softmax(1), y[:, 1:]) * m[:, 1:]).sum(-1)
        ),
        "these are probabilities added up: logarithms add, probabilities multiply.": (
            lambda z, y, m: (_shifted(z, y).exp() * m[:, 1:]).sum(-1)
        ),
        "this is the probability: its logarithm is asked for.": (
            lambda z, y, m: (_shifted(z, y) * m[:, 1:]).sum(-1).exp()
        ),
        "the last token of the response is dropped: the mask says where it ends.": OneOf(
            [
                lambda z, y, m: (_shifted(z, y) * _without_last(m)[:, 1:]).sum(-1),
                lambda z, y, m: (_shifted(z, y)[:, :-1] * m[:, 1:-1]).sum(-1),
            ]
        ),
        "the prompt is counted too: only places where the mask is True belong to y.": (
            lambda z, y, m: (_shifted(z, y) * _with_prompt(m)[:, 1:]).sum(-1)
        ),
        "padding is counted too: only places where the mask is True belong to y.": (
            lambda z, y, m: (_shifted(z, y) * _with_padding(m)[:, 1:]).sum(-1)
        ),
        "the mask is upside down: True is the response.": (
            lambda z, y, m: (_shifted(z, y) * ~m[:, 1:]).sum(-1)
        ),
        "this is the mean over all places: the chain rule adds logarithms up.": OneOf(
            [
                lambda z, y, m: (_shifted(z, y) * m[:, 1:]).mean(-1),
                lambda z, y, m: (_shifted(z, y) * m[:, 1:]).sum(-1) / m.shape[-1],
            ]
        ),
        "divided by the root of the length: the chain rule adds logarithms up.": (
            lambda z, y, m: (_shifted(z, y) * m[:, 1:]).sum(-1) / m.sum(-1).sqrt()
        ),
        "this sums over all words of the vocabulary: pick the token that stands there.": (
            lambda z, y, m: (z[:, :-1].log_softmax(-1).sum(-1) * m[:, 1:]).sum(-1)
        ),
        "each row is cut at its length, or one cut for all: prompts have different lengths.": (
            lambda z, y, m: _shifted(z, y)[:, int(m[0].int().argmax()) - 1 :].sum(-1)
        ),
        "the sign: a log-probability is negative (cross_entropy gives minus it).": (
            lambda z, y, m: -(_shifted(z, y) * m[:, 1:]).sum(-1)
        ),
        "this scores the likeliest token at each place, not the one that stands there.": (
            _likeliest
        ),
        "one number for each row: the rows are different responses.": (
            lambda z, y, m: (_shifted(z, y) * m[:, 1:]).sum()
        ),
        "softmax underflows to 0 at large logits, and its logarithm is -inf: torch has "
        "log_softmax.": (
            lambda z, y, m: _inside(_picked(z[:, :-1].softmax(-1).log(), y[:, 1:]), m)
        ),
        "softmax underflows to 0 at large logits, and the mask's 0 times log 0 is nan: torch "
        "has log_softmax.": (
            lambda z, y, m: (_picked(z[:, :-1].softmax(-1).log(), y[:, 1:]) * m[:, 1:]).sum(-1)
        ),
        "exp overflows at large logits: torch has log_softmax.": OneOf(
            [
                lambda z, y, m: _inside(_picked(_exp_and_log(z[:, :-1]), y[:, 1:]), m),
                lambda z, y, m: (_picked(_exp_and_log(z[:, :-1]), y[:, 1:]) * m[:, 1:]).sum(-1),
            ]
        ),
    },
)
