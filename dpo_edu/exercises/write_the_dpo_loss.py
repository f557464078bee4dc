"""Assignment 4: the DPO loss in NumPy and in torch, its gradient by hand, and log pi of a text."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logsumexp
from torch import Tensor
from torch.nn.functional import logsigmoid

from dpo_edu import losses
from dpo_edu.exercises.tasks import (
    NOT_YET,
    Case,
    case,
    function_fault,
    is_blank,
    numbers,
    task,
    task_about,
    value_fault,
)

Floats = NDArray[np.float64]
TorchLoss = Callable[..., Any]


# --- the margin ---------------------------------------------------------------------------------


def _log_probs(rng: np.random.Generator, pairs: int) -> list[Floats]:
    """log pi(y_w), log pi(y_l), and the same of the reference."""
    return list(-rng.gamma(3.0, size=(4, pairs)))


def _of_margin(formula: Callable[[Any, Any, Any, Any, float], Any]) -> Callable[..., Any]:
    """A function called like the student's from a formula in short letters."""

    def margin(
        chosen: Floats, rejected: Floats, ref_chosen: Floats, ref_rejected: Floats, *, beta: float
    ) -> Any:
        return formula(chosen, rejected, ref_chosen, ref_rejected, beta)

    return margin


@task
def margin(answer: Any, rng: np.random.Generator) -> str | None:
    """s = beta (Delta_pi - Delta_ref)."""
    mistakes = [
        ("beta is missing.", _of_margin(lambda w, x, rw, rx, b: (w - x) - (rw - rx))),
        ("beta is counted twice.", _of_margin(lambda w, x, rw, rx, b: b**2 * (w - x - rw + rx))),
        (
            "beta divides here: it must multiply.",
            _of_margin(lambda w, x, rw, rx, b: (w - x - rw + rx) / b),
        ),
        (
            "beta multiplies the policy's part only: the reference's part needs it too.",
            _of_margin(lambda w, x, rw, rx, b: b * (w - x) - (rw - rx)),
        ),
        (
            "the reference is missing: where policy and reference agree, s must be 0.",
            _of_margin(lambda w, x, rw, rx, b: b * (w - x)),
        ),
        (
            "the reference's difference is added: where policy and reference agree, s must be 0.",
            _of_margin(lambda w, x, rw, rx, b: b * (w - x + rw - rx)),
        ),
        (
            "the sign: s grows with the policy's log pi(y_w); is chosen swapped with rejected, or "
            "policy with reference?",
            _of_margin(lambda w, x, rw, rx, b: b * (x - w - rx + rw)),
        ),
        (
            "this is the implicit reward of y_w alone: y_l has one too.",
            _of_margin(lambda w, x, rw, rx, b: b * (w - rw)),
        ),
        (
            "the two implicit rewards are added: a margin is a difference.",
            _of_margin(lambda w, x, rw, rx, b: b * (w - rw + x - rx)),
        ),
        (
            "these are logarithms already: a log-ratio is a difference, not a quotient.",
            _of_margin(lambda w, x, rw, rx, b: b * (w / x - rw / rx)),
        ),
        (
            "one margin for each pair, not their sum.",
            _of_margin(lambda w, x, rw, rx, b: (b * (w - x - rw + rx)).sum()),
        ),
        (
            "one margin for each pair, not their mean.",
            _of_margin(lambda w, x, rw, rx, b: (b * (w - x - rw + rx)).mean()),
        ),
    ]
    cases = [case(*_log_probs(rng, n), beta=b) for n, b in [(2, 0.5), (5, 0.1), (3, 2.0)]]
    # log sigma(s) = -loss, and log-odds bring s back: the package's loss as the other route.
    return function_fault(answer, _margin_from_loss, cases, mistakes, tolerance=1e-8)


def _margin_from_loss(
    chosen: Floats, rejected: Floats, ref_chosen: Floats, ref_rejected: Floats, *, beta: float
) -> Floats:
    """The log-odds of sigma(s) that belong to the package's loss."""
    given = [torch.tensor(x) for x in (chosen, rejected, ref_chosen, ref_rejected)]
    loss = losses.dpo_loss(*given, beta=beta).numpy()
    return np.asarray(-np.log(np.expm1(loss)))


# --- the loss of a pair, in NumPy ---------------------------------------------------------------

FAR = np.array([1000.0, -1000.0, 37.5, -37.5, 0.0])
OVERFLOWS = "exp overflows at margins of 1000: rewrite it so that exp meets no large number."
WARNS = (
    "the values are right, but NumPy warns on the way ({}): exp still meets a large number "
    "somewhere (np.where computes both of its branches)."
)


def _warning(function: Callable[..., Any], at: Case) -> str | None:
    """The sentence for a function that is right but noisy; None if it is quiet."""
    loud: Any = {"over": "warn", "divide": "warn", "invalid": "warn", "under": "ignore"}
    with np.errstate(**loud), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        at.of(function)
    return WARNS.format(heard[0].message) if heard else None


def _levels_off(function: Callable[..., Any]) -> bool:
    """Whether the loss stops growing although the policy gets worse and worse."""
    try:
        with np.errstate(all="ignore"):
            found = numbers(function(np.array([-900.0, -1000.0])))
    except Exception:  # then there is something else to say about it
        return False
    return found is not None and len(found) == 2 and found[0] == found[1] and 1 < found[0] < np.inf


@task
def pair_loss(answer: Any, rng: np.random.Generator) -> str | None:
    """-log sigma(s), for any s."""
    mistakes = [
        ("a minus is missing: the logarithm of a probability is negative.", log_expit),
        (
            "the sign of s: a pair that the policy ranks as the vote did (s > 0) must cost little.",
            lambda s: -log_expit(-s),
        ),
        ("this is sigma(s) itself: the loss is minus its logarithm.", expit),
        (
            "this is 1 - sigma(s), the probability of the other verdict; the loss is a logarithm.",
            lambda s: expit(-s),
        ),
        ("minus a probability: where is the logarithm?", lambda s: -expit(s)),
        (
            "this is the hinge max(0, -s): near s = 0 it differs from -log sigma(s).",
            lambda s: np.maximum(0, -s),
        ),
        ("this logarithm has base 2: nats are asked for.", lambda s: -log_expit(s) / np.log(2)),
        ("this logarithm has base 10: nats are asked for.", lambda s: -log_expit(s) / np.log(10)),
        ("one loss for each pair, not their mean.", lambda s: -log_expit(s).mean()),
        ("one loss for each pair, not their sum.", lambda s: -log_expit(s).sum()),
        (OVERFLOWS, lambda s: np.log1p(np.exp(-s))),
        (OVERFLOWS, lambda s: np.log1p(np.exp(s)) - s),
        (OVERFLOWS, lambda s: -np.log(np.exp(s) / (1 + np.exp(s)))),
        (OVERFLOWS, lambda s: -np.log(1 - 1 / (1 + np.exp(s)))),
    ]
    near, far = case(rng.normal(scale=2, size=4)), case(FAR + rng.normal())

    def truth(s: Floats) -> Floats:
        return np.logaddexp(0, -s)

    fault = function_fault(answer, truth, [near, case(-2 * near.arguments[0])], mistakes)
    fault = fault or function_fault(answer, truth, [near, far], mistakes)
    if fault not in (None, NOT_YET) and callable(answer) and _levels_off(answer):
        return (
            "it levels off where the policy is most wrong: an epsilon or a clip hides the overflow "
            "and ends the learning there."
        )
    return fault or _warning(answer, far)


# --- landmarks ----------------------------------------------------------------------------------


@task_about(0.2, lambda rng: float(rng.choice([0.1, 0.3, 0.4, 0.6, 0.7, 0.8])))
def landmarks(answer: Any, _: np.random.Generator, beta: float) -> str | None:
    """The loss and the weight at the reference, and the weight's two limits."""
    if is_blank(answer):
        return NOT_YET
    if not isinstance(answer, tuple | list | np.ndarray) or len(answer) != 4:
        return "expected four numbers: (loss at the reference, weight there, s to +inf, s to -inf)."
    if any(is_blank(part) for part in answer):
        return NOT_YET
    without_beta = "beta is missing: the weight is beta sigma(-s)."
    parts: list[tuple[str, float, list[tuple[str, float]]]] = [
        (
            "loss at the reference",
            float(np.log(2)),
            [
                ("the policy does not obey the votes yet: what is sigma(0)?", 0.0),
                ("this is sigma(0): the loss is minus its logarithm.", 0.5),
                ("the sign: a loss is minus the logarithm of a probability.", -float(np.log(2))),
                ("this is the logarithm to base 10.", float(np.log10(2))),
                ("this is the logarithm to base 2.", 1.0),
                ("the loss itself has no factor beta: s is 0 for every beta.", beta * np.log(2)),
            ],
        ),
        (
            "weight at the reference",
            beta / 2,
            [
                (without_beta, 0.5),
                ("full weight only goes to a vote that the policy contradicts.", beta),
                ("sigma is not zero at zero.", 0.0),
                ("this is beta sigma(0) sigma(0), the curvature's shape.", beta / 4),
            ],
        ),
        (
            "weight as s goes to +inf",
            0.0,
            [
                ("that is the other end: here the policy obeys the vote already.", beta),
                ("that is the other end, and beta is missing.", 1.0),
                ("that is the weight at s = 0.", beta / 2),
            ],
        ),
        (
            "weight as s goes to -inf",
            beta,
            [
                (without_beta, 1.0),
                ("that is the other end: here the policy contradicts the vote.", 0.0),
                ("that is the weight at s = 0.", beta / 2),
                ("sigma is at most 1, so the weight is bounded.", float("inf")),
            ],
        ),
    ]
    for found, (name, truth, mistakes) in zip(answer, parts, strict=True):
        # Three digits are enough, and the nearest mistake is more than 0.01 away.
        fault = value_fault(found, truth, mistakes, tolerance=1e-3)
        if fault is not None:
            return f"{name}: {fault}"
    return None


# --- the gradient by hand -----------------------------------------------------------------------


def _by_autograd(s: Floats, *, beta: float) -> tuple[Floats, Floats]:
    """The gradient of the package's loss at log-probabilities that have these margins."""
    chosen = torch.tensor(s / beta, requires_grad=True)
    rejected = torch.zeros_like(chosen, requires_grad=True)
    nil = torch.zeros_like(rejected)
    total = losses.dpo_loss(chosen, rejected, nil, nil, beta=beta).sum()
    up, down = torch.autograd.grad(total, (chosen, rejected))
    return up.numpy(), down.numpy()


def _both(weight: Callable[[Any, float], Any]) -> Callable[..., Any]:
    """The pair (-weight, +weight)."""

    def gradient(s: Floats, *, beta: float) -> Any:
        return -weight(s, beta), weight(s, beta)

    return gradient


def _equal_signs(sign: int) -> Callable[..., Any]:
    def gradient(s: Floats, *, beta: float) -> Any:
        return sign * beta * expit(-s), sign * beta * expit(-s)

    return gradient


def _one_only(s: Floats, *, beta: float) -> Any:
    return -beta * expit(-s)


@task
def gradient(answer: Any, rng: np.random.Generator) -> str | None:
    """The loss's derivatives by log pi(y_w) and log pi(y_l)."""
    mistakes = [
        (
            "both signs are the wrong way round: does the loss grow or fall as log pi(y_w) rises?",
            _both(lambda s, b: -b * expit(-s)),
        ),
        ("log pi(y_l) enters s with a minus: the second sign is wrong.", _equal_signs(-1)),
        ("log pi(y_w) enters s with a plus: the first sign is wrong.", _equal_signs(1)),
        ("beta is missing: the inner derivative of s.", _both(lambda s, b: expit(-s))),
        ("beta is counted twice.", _both(lambda s, b: b**2 * expit(-s))),
        ("s holds beta already: sigma takes s itself.", _both(lambda s, b: b * expit(-b * s))),
        (
            "this weight is largest where the policy already obeys the vote: sigma of what?",
            _both(lambda s, b: b * expit(s)),
        ),
        (
            "this is the derivative of sigma: the loss is the logarithm of it.",
            _both(lambda s, b: b * expit(s) * expit(-s)),
        ),
        (
            "divided by the number of pairs: each pair has its own gradient.",
            _both(lambda s, b: b * expit(-s) / s.size),
        ),
        ("two derivatives are asked for, and this is one.", _one_only),
        (OVERFLOWS, _both(lambda s, b: b * np.exp(-s) / (1 + np.exp(-s)))),
        (OVERFLOWS, _both(lambda s, b: b * (1 - np.exp(s) / (1 + np.exp(s))))),
    ]
    near = [case(rng.normal(scale=2, size=n), beta=b) for n, b in [(3, 0.5), (4, 0.1), (3, 3.0)]]
    far = case(FAR + rng.normal(), beta=0.3)
    fault = function_fault(answer, _by_autograd, near, mistakes)
    fault = fault or function_fault(answer, _by_autograd, [*near, far], mistakes)
    return fault or _warning(answer, far)


# --- the loss in torch --------------------------------------------------------------------------


def _untensored(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, Tensor) else value


def _traced(loss: TorchLoss) -> Callable[..., Any]:
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


def _of_loss(formula: Callable[[Any, Any, Any, Any, float], Any]) -> Callable[..., Any]:
    """A mistaken loss in short letters, differentiated like the student's."""

    def loss(w: Tensor, x: Tensor, rw: Tensor, rx: Tensor, *, beta: float) -> Any:
        return formula(w, x, rw, rx, beta)

    return _traced(loss)


def _cut(w: Any, x: Any) -> Callable[..., Any]:
    """The right loss with a part of its gradient cut off: factors 0 or 1 for each side."""

    def loss(*given: Floats, beta: float) -> Any:
        values, up, down = _hand_made(*given, beta=beta)
        return values, w * up, x * down

    return loss


@task
def dpo_loss(answer: Any, rng: np.random.Generator) -> str | None:
    """The loss in torch; autograd must find the gradient by hand."""
    mistakes = [
        (
            "the values are right, but no gradient comes back: detach(), item(), numpy(), "
            "no_grad() and torch.tensor() cut the graph.",
            _cut(0, 0),
        ),
        (
            "no gradient reaches log pi(y_w): only the reference is a constant.",
            _cut(0, 1),
        ),
        (
            "no gradient reaches log pi(y_l): only the reference is a constant.",
            _cut(1, 0),
        ),
        (
            "one loss for each pair, not their mean: whoever trains decides how to average.",
            _of_loss(lambda w, x, rw, rx, b: -logsigmoid(b * (w - x - rw + rx)).mean()),
        ),
        (
            "one loss for each pair, not their sum.",
            _of_loss(lambda w, x, rw, rx, b: -logsigmoid(b * (w - x - rw + rx)).sum()),
        ),
        (
            "a minus is missing: this grows as the policy learns to obey the votes.",
            _of_loss(lambda w, x, rw, rx, b: logsigmoid(b * (w - x - rw + rx))),
        ),
        (
            "chosen and rejected are swapped: this loss pulls log pi(y_l) up.",
            _of_loss(lambda w, x, rw, rx, b: -logsigmoid(-b * (w - x - rw + rx))),
        ),
        ("beta is missing.", _of_loss(lambda w, x, rw, rx, b: -logsigmoid(w - x - rw + rx))),
        (
            "beta is counted twice.",
            _of_loss(lambda w, x, rw, rx, b: -logsigmoid(b**2 * (w - x - rw + rx))),
        ),
        (
            "beta stands in front of the loss: it belongs inside sigma.",
            _of_loss(lambda w, x, rw, rx, b: -b * logsigmoid(w - x - rw + rx)),
        ),
        (
            "the reference is missing: where policy and reference agree the loss must be the same "
            "for all pairs.",
            _of_loss(lambda w, x, rw, rx, b: -logsigmoid(b * (w - x))),
        ),
        (
            "the reference's difference is added: it must be taken off.",
            _of_loss(lambda w, x, rw, rx, b: -logsigmoid(b * (w - x + rw - rx))),
        ),
        (
            "this is 1 - sigma(s): the loss is a logarithm.",
            _of_loss(lambda w, x, rw, rx, b: torch.sigmoid(-b * (w - x - rw + rx))),
        ),
        (
            "at margins of 1000 sigma is 0 or exp is infinite, and the gradient is lost: torch has "
            "a function for log sigma.",
            _of_loss(lambda w, x, rw, rx, b: -torch.sigmoid(b * (w - x - rw + rx)).log()),
        ),
    ]
    near = [case(*_log_probs(rng, n), beta=b) for n, b in [(2, 0.5), (4, 0.1), (3, 2.0)]]
    least = np.array([-2100.0, -100.0, -3.0]) + rng.normal()
    far = case(least, least[[1, 0, 2]], np.full(3, -50.0), np.full(3, -51.0), beta=0.5)
    if is_blank(answer) or not callable(answer):
        return function_fault(answer, _hand_made, near)
    traced = _traced(answer)
    # float32 is right too, and so is torch's softplus, linear beyond 20: an error of 2e-9.
    for cases in (near, [*near, far]):
        fault = function_fault(traced, _hand_made, cases, mistakes, tolerance=1e-5)
        if fault is not None:
            break
    if fault is not None and "detach().numpy()" in fault:
        return "NumPy passes no gradient on, and detach() cuts it off: use torch's functions."
    return _in_parts(traced, cases) if fault is not None and fault.startswith("for ") else fault


def _part(function: Callable[..., Any], number: int) -> Callable[..., Any]:
    def part(*given: Floats, beta: float) -> Any:
        return function(*given, beta=beta)[number]

    return part


def _in_parts(traced: Callable[..., Any], cases: list[Case]) -> str | None:
    """Where an unknown mistake shows first: in the loss or in one of its derivatives."""
    for number, name in enumerate(("the loss", "its derivative by log pi(y_w)", "by log pi(y_l)")):

        def truth(
            chosen: Floats,
            rejected: Floats,
            ref_chosen: Floats,
            ref_rejected: Floats,
            *,
            beta: float,
            number: int = number,
        ) -> Any:
            return _part(_hand_made, number)(chosen, rejected, ref_chosen, ref_rejected, beta=beta)

        fault = function_fault(_part(traced, number), truth, cases, tolerance=1e-5)
        if fault is not None:
            return f"{name}: {fault}"
    return None


# --- the log-probability of a text --------------------------------------------------------------


def _texts(
    rng: np.random.Generator,
    rows: int,
    length: int,
    words: int,
    scale: float = 1.0,
    level: float = 0.0,
) -> Case:
    """Logits, tokens and the mask of the response, between a prompt and padding of any length."""
    prompt = rng.integers(1, 3, size=rows)
    end = rng.integers(prompt + 1, length + 1)
    end[0], end[-1] = length - 1, prompt[-1] + 2  # some padding; a response of two tokens
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


@task
def sequence_log_probs(answer: Any, rng: np.random.Generator) -> str | None:
    """log pi(y|x) of each response: the sum over its tokens."""
    mistakes = [
        (
            "this is the mean over the tokens: the chain rule adds logarithms up, and the mean has "
            "another optimum.",
            lambda z, y, m: (_shifted(z, y) * m[:, 1:]).sum(-1) / m.sum(-1),
        ),
        (
            "prompt and padding are counted too: only places where the mask is True belong to y.",
            lambda z, y, m: _shifted(z, y).sum(-1),
        ),
        (
            "off by one: logits[n, t] come from reading token t, so they score the token after it.",
            lambda z, y, m: (_picked(z.log_softmax(-1), y) * m).sum(-1),
        ),
        (
            "shifted the wrong way: logits at a place score the token after it, not before it.",
            _next_place,
        ),
        (
            "the mask is off by one: it speaks of tokens, so it must be shifted with them.",
            lambda z, y, m: (_shifted(z, y) * m[:, :-1]).sum(-1),
        ),
        (
            "the first token of each response is missing: the last place of the prompt scores it.",
            lambda z, y, m: (_shifted(z, y) * (m[:, 1:] & m[:, :-1])).sum(-1),
        ),
        (
            "logits are no log-probabilities yet: they must be normalised over the vocabulary.",
            lambda z, y, m: (_picked(z[:, :-1], y[:, 1:]) * m[:, 1:]).sum(-1),
        ),
        (
            "normalised over the places: the vocabulary is the last axis.",
            lambda z, y, m: (_picked(z[:, :-1].log_softmax(1), y[:, 1:]) * m[:, 1:]).sum(-1),
        ),
        (
            "these are probabilities added up: logarithms add, probabilities multiply.",
            lambda z, y, m: (_shifted(z, y).exp() * m[:, 1:]).sum(-1),
        ),
        (
            "this is the probability: its logarithm is asked for.",
            lambda z, y, m: (_shifted(z, y) * m[:, 1:]).sum(-1).exp(),
        ),
        (
            "the sign: a log-probability is negative (cross_entropy gives minus it).",
            lambda z, y, m: -(_shifted(z, y) * m[:, 1:]).sum(-1),
        ),
        (
            "this scores the likeliest token at each place, not the one that stands there.",
            _likeliest,
        ),
        (
            "one number for each row: the rows are different responses.",
            lambda z, y, m: (_shifted(z, y) * m[:, 1:]).sum(),
        ),
        (
            "softmax underflows to 0 at large logits, and its logarithm is -inf: torch has "
            "log_softmax.",
            lambda z, y, m: _inside(_picked(z[:, :-1].softmax(-1).log(), y[:, 1:]), m),
        ),
        (
            "softmax underflows to 0 at large logits, and the mask's 0 times log 0 is nan: torch "
            "has log_softmax.",
            lambda z, y, m: (_picked(z[:, :-1].softmax(-1).log(), y[:, 1:]) * m[:, 1:]).sum(-1),
        ),
        (
            "exp overflows at large logits: torch has log_softmax.",
            lambda z, y, m: _inside(_picked(_exp_and_log(z[:, :-1]), y[:, 1:]), m),
        ),
        (
            "exp overflows at large logits: torch has log_softmax.",
            lambda z, y, m: (_picked(_exp_and_log(z[:, :-1]), y[:, 1:]) * m[:, 1:]).sum(-1),
        ),
    ]
    near = [_texts(rng, 1, 4, 2), _texts(rng, 3, 6, 5), _texts(rng, 4, 8, 3, scale=2.0)]
    far = [_texts(rng, 6, 9, 4, scale=2000.0), _texts(rng, 2, 6, 4, level=1000.0)]
    if is_blank(answer) or not callable(answer):
        return function_fault(answer, _token_by_token, near)

    def in_numpy(logits: Tensor, tokens: Tensor, mask: Tensor) -> Any:
        return _untensored(answer(logits, tokens, mask))

    fault = function_fault(in_numpy, _token_by_token, near, mistakes, tolerance=1e-5)
    return fault or function_fault(
        in_numpy, _token_by_token, [*near, *far], mistakes, tolerance=1e-5
    )
