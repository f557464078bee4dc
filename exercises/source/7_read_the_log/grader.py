"""Assignment 7: what the columns of a log say, and what each cause of a bad run shows in them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpo_edu.grading import NOT_YET, Case, OneOf, Task, case, function_task, is_blank, known

Floats = NDArray[np.float64]
Given = dict[str, Any]

# --- predictions --------------------------------------------------------------------------------

# What a prediction consists of: a name, the least and the largest number that could be meant.
Range = tuple[str, float, float]
FORECAST: list[Range] = [
    ("first loss", 0, np.inf),
    ("first accuracy", 0, 1),
    ("last accuracy", 0, 1),
    ("last chosen reward", -np.inf, np.inf),
]
SLIPS = ("as stated", "beta twice", "token means", "no reference", "swapped")
GUESSES: list[Range] = [(slip, 0, np.inf) for slip in SLIPS]


def _real(item: Any) -> float:
    """One real number; nan if it is a text, a truth value, a complex number or no number."""
    if isinstance(item, str | bool | np.bool_ | np.complexfloating):
        return math.nan
    try:
        return float(item)
    except (TypeError, ValueError):
        return math.nan


def _is_complex(answer: Any) -> bool:
    """Whether it is an array of complex numbers, which the judge is not handed."""
    return isinstance(answer, np.ndarray) and np.iscomplexobj(answer)


def _written(expected: list[Range]) -> Callable[..., str | None]:
    """Whether a prediction is there; whether it comes true is between the student and the run."""
    names = ", ".join(name for name, _, _ in expected)

    def fault(answer: Any, _: np.random.Generator) -> str | None:
        if is_blank(answer):
            return NOT_YET
        is_list = isinstance(answer, tuple | list | np.ndarray) and not _is_complex(answer)
        items = list(answer) if is_list else []
        if any(is_blank(item) for item in items):
            return NOT_YET
        if len(items) != len(expected):
            return f"expected a list of {len(expected)} numbers: {names}."
        for item, (name, low, high) in zip(items, expected, strict=True):
            number = _real(item)
            if not low <= number <= high or math.isinf(number):
                return f'the number for "{name}" cannot be {item!r:.40}.'
        return None

    return fault


forecast_is_written = Task("forecast_is_written", _written(FORECAST))

# --- 1 the columns of a log ---------------------------------------------------------------------


def _softplus(x: float) -> float:
    """log(1 + exp(x)) without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _columns(
    chosen: Floats, rejected: Floats, ref_chosen: Floats, ref_rejected: Floats, *, beta: float
) -> Any:
    """Loss, chosen, rejected, margin, accuracy: pair by pair."""
    pairs = zip(chosen, rejected, ref_chosen, ref_rejected, strict=True)
    rows = [(beta * (w - ref_w), beta * (x - ref_x)) for w, x, ref_w, ref_x in pairs]
    lines = [(_softplus(lost - won), won, lost, won - lost, won > lost) for won, lost in rows]
    return np.array([math.fsum(column) / len(lines) for column in zip(*lines, strict=True)])


def _but(**change: Callable[..., Any]) -> Any:
    """The columns with one of them computed otherwise, from rewards (N,) of both and beta."""
    names = ("loss", "chosen", "rejected", "margin", "accuracy")

    def columns(w: Floats, x: Floats, ref_w: Floats, ref_x: Floats, *, beta: float) -> Any:
        found = _columns(w, x, ref_w, ref_x, beta=beta)
        won, lost = beta * (w - ref_w), beta * (x - ref_x)
        for name, how in change.items():
            found[names.index(name)] = float(how(won, lost, beta))
        return found

    return columns


def _loss_of(margin: Callable[[Any, Any, float], Any]) -> Any:
    return _but(loss=lambda won, lost, beta: np.logaddexp(0, -margin(won, lost, beta)).mean())


def _bare_chosen(won: Floats, _: Floats, beta: float) -> Any:
    return (won / beta).mean()


def _bare_rejected(_: Floats, lost: Floats, beta: float) -> Any:
    return (lost / beta).mean()


def _accuracy_of_policy(w: Floats, x: Floats, ref_w: Floats, ref_x: Floats, *, beta: float) -> Any:
    return [*_columns(w, x, ref_w, ref_x, beta=beta)[:4], float((w > x).mean())]


def _each_pair(won: Floats, lost: Floats) -> Any:
    return np.logaddexp(0, lost - won), won, lost, won - lost, won > lost


def _medians(w: Floats, x: Floats, ref_w: Floats, ref_x: Floats, *, beta: float) -> Any:
    won, lost = beta * (w - ref_w), beta * (x - ref_x)
    *four, right = _each_pair(won, lost)
    return [*(np.median(column) for column in four), right.mean()]


def _without_reference(w: Floats, x: Floats, ref_w: Floats, ref_x: Floats, *, beta: float) -> Any:
    """The columns, the two rewards without the reference."""
    loss, _, _, margin, accuracy = _columns(w, x, ref_w, ref_x, beta=beta)
    return [loss, beta * w.mean(), beta * x.mean(), margin, accuracy]


def _pairs(rng: np.random.Generator) -> list[Case]:
    """Pairs of which one is a tie, one won and three lost against what the policy writes more.

    All numbers are sums of powers of two, so that the tie is one in any order of adding up.
    """
    logps = -rng.integers(8, 160, size=(4, 8)) / 4.0
    logps[:, 0] = [-3.0, -5.0, -2.5, -4.5]  # rewards alike, to the last digit
    logps[:, 1] = [-20.0, -8.0, -24.0, -8.5]
    logps[:, 2:5] = np.array([[-5.0, -9.0, -3.0, -12.0], [-6, -7, -5, -8], [-9, -30, -4, -34]]).T
    return [
        case(*logps[:, :5], beta=0.5),
        case(*logps, beta=float(rng.choice([0.0625, 0.125, 0.25]))),
        case(*logps[:, :1], beta=0.125),
        case(*logps[:, 5:6], beta=2.0),
    ]


def _far_pairs(rng: np.random.Generator) -> list[Case]:
    """Pairs that are lost and won by a thousand."""
    return [case(*np.array([[-2e3, -8.0], [-9.0, -2e3], [-7.0, -9.0], [-8.0, -7.0]]), beta=1.0)]


columns = function_task(
    "columns",
    truth=_columns,
    cases=_pairs,
    far=_far_pairs,
    mistakes={
        "equal rewards are no win: the accuracy counts chosen > rejected only.": (
            _but(accuracy=lambda won, lost, _: (won >= lost).mean())
        ),
        "a tie is counted as half a win: trainers count chosen > rejected only.": (
            _but(accuracy=lambda won, lost, _: ((won > lost) + 0.5 * (won == lost)).mean())
        ),
        "the accuracy compares rewards, not the policy's log-probabilities.": _accuracy_of_policy,
        "the accuracy counts pairs that are lost.": (
            _but(accuracy=lambda won, lost, _: (won < lost).mean())
        ),
        "this is the loss of the mean margin: take the loss of each pair, then the mean.": (
            _but(loss=lambda won, lost, _: np.logaddexp(0, -(won - lost).mean()))
        ),
        "the loss has the other sign: a large margin costs little.": (
            _loss_of(lambda won, lost, _: lost - won)
        ),
        "the loss is negative: it is minus log sigma.": (
            _but(loss=lambda won, lost, _: -np.logaddexp(0, lost - won).mean())
        ),
        "beta stands twice in the loss: the rewards hold it already.": (
            _loss_of(lambda won, lost, beta: beta * (won - lost))
        ),
        "the loss lacks beta: it takes the margin in reward units.": (
            _loss_of(lambda won, lost, beta: (won - lost) / beta)
        ),
        "these are sums over the pairs: a log has means.": (
            lambda *given, beta: [len(given[0]) * x for x in _columns(*given, beta=beta)]
        ),
        "the loss is a sum over the pairs: a log has its mean.": (
            _but(loss=lambda won, lost, _: np.logaddexp(0, lost - won).sum())
        ),
        "beta is missing: rewards are beta times log-ratios.": OneOf(
            [
                lambda *given, beta: _columns(*given, beta=1.0),
                _but(chosen=_bare_chosen, rejected=_bare_rejected),
                _but(
                    chosen=_bare_chosen,
                    rejected=_bare_rejected,
                    margin=lambda won, lost, beta: ((won - lost) / beta).mean(),
                ),
            ]
        ),
        "the reference is missing: rewards are log-ratios, not log-probabilities.": (
            lambda w, x, ref_w, ref_x, *, beta: _columns(w, x, 0 * w, 0 * x, beta=beta)
        ),
        "reference and policy have changed places.": (
            lambda w, x, ref_w, ref_x, *, beta: _columns(ref_w, ref_x, w, x, beta=beta)
        ),
        "chosen and rejected have changed places.": (
            lambda w, x, ref_w, ref_x, *, beta: _columns(x, w, ref_x, ref_w, beta=beta)
        ),
        "the margin is chosen less rejected, and keeps its sign.": OneOf(
            [
                _but(margin=lambda won, lost, _: (lost - won).mean()),
                _but(margin=lambda won, lost, _: np.abs(won - lost).mean()),
            ]
        ),
        "the margin is in nats: it is the difference of the two rewards.": (
            _but(margin=lambda won, lost, beta: ((won - lost) / beta).mean())
        ),
        "these are values for each pair: a log has their means.": (
            lambda w, x, ref_w, ref_x, *, beta: _each_pair(beta * (w - ref_w), beta * (x - ref_x))
        ),
        "the second number is the chosen reward, the third the rejected one.": (
            _but(chosen=lambda _, lost, __: lost.mean(), rejected=lambda won, *_: won.mean())
        ),
        "the loss has base 2 or 10: log sigma has the natural logarithm.": OneOf(
            _but(loss=lambda won, lost, _, b=b: np.logaddexp(0, lost - won).mean() / np.log(b))
            for b in (2, 10)
        ),
        "the accuracy is a share, not in percent.": (
            _but(accuracy=lambda won, lost, _: 100 * (won > lost).mean())
        ),
        "the accuracy counts pairs: it is not whether the mean margin is above 0.": (
            _but(accuracy=lambda won, lost, _: won.mean() > lost.mean())
        ),
        "these are quotients of log-probabilities: the logarithm of a ratio is a difference.": (
            lambda w, x, ref_w, ref_x, *, beta: _columns(
                w / ref_w, x / ref_x, 0 * w, 0 * x, beta=beta
            )
        ),
        "these are differences of probabilities: rewards have those of log-probabilities.": (
            lambda *given, beta: _columns(*np.exp(given), beta=beta)
        ),
        "the median is not the mean.": OneOf(
            [_but(loss=lambda won, lost, _: np.median(np.logaddexp(0, lost - won))), _medians]
        ),
        "accuracy and margin have changed places: the margin is the fourth number.": (
            lambda *given, beta: [_columns(*given, beta=beta)[at] for at in (0, 1, 2, 4, 3)]
        ),
        "the two rewards lack the reference: each is beta times a difference.": _without_reference,
        "the accuracy is a share: divide the number of pairs that are won by that of all.": (
            _but(accuracy=lambda won, lost, _: (won > lost).sum())
        ),
        "the accuracy counts the pairs that are won: it is no mean of sigma(s).": (
            _but(accuracy=lambda won, lost, _: (1 / (1 + np.exp(lost - won))).mean())
        ),
        "the references of chosen and rejected have changed places.": (
            lambda w, x, ref_w, ref_x, *, beta: _columns(w, x, ref_x, ref_w, beta=beta)
        ),
        "the margin is clipped, and with it the loss of a pair that is lost by far.": OneOf(
            _but(loss=lambda won, lost, _, m=m: np.logaddexp(0, np.clip(lost - won, -m, m)).mean())
            for m in (20, 30, 50, 100, 500, 700)
        ),
        "an epsilon under the logarithm caps the loss of a pair that is lost by far.": OneOf(
            _but(
                loss=lambda won, lost, _, e=10.0**-n, keep=keep: (
                    -np.log(keep(1 / (1 + np.exp(lost - won)), e)).mean()
                )
            )
            for n in (6, 7, 8, 9, 10, 12, 15)
            for keep in (np.add, np.maximum, lambda chance, e: np.clip(chance, e, 1 - e))
        ),
        "exp overflows where a pair is lost by a thousand: np.logaddexp does not.": (
            _but(loss=lambda won, lost, _: np.log(1 + np.exp(lost - won)).mean())
        ),
    },
)

# --- 2 the beta that a log tells ----------------------------------------------------------------


def _slope(chosen_logps: Floats, rejected_logps: Floats, chosen: Floats, rejected: Floats) -> Any:
    """Rewards against log-probabilities, each column measured from its own mean."""
    columns = (chosen_logps, rejected_logps, chosen, rejected)
    w, x, won, lost = (column - column.mean() for column in columns)
    return float((w @ won + x @ lost) / (w @ w + x @ x))


def _quotient(top: Callable[..., Any], bottom: Callable[..., Any]) -> Any:
    """A quotient, of functions of (logps, logps, rewards, rewards)."""
    return lambda *columns: float(np.asarray(top(*columns)) / np.asarray(bottom(*columns)))


def _fitted(logps: Floats, rewards: Floats) -> Any:
    """The slope of `np.polyfit`, which halves the quotient of a column that stands still."""
    moved = logps - logps.mean()
    return moved @ rewards / (moved @ moved) if moved.any() else rewards[0] / (2 * logps[0])


def _row_by_row(logps: Floats, rewards: Floats) -> Any:
    """The mean quotient of rows that follow one another."""
    return (np.diff(rewards) / np.diff(logps)).mean()


def _evaluations(rng: np.random.Generator) -> list[Case]:
    """Logs from the first step on and from later; something in them stands still.

    A column, the margin, the sum of both columns, or all in the first two rows or the last two.
    """

    def log(w: list[float], x: list[float], ref: tuple[float, float], beta: float) -> Case:
        rows = np.array(w), np.array(x)
        return case(*rows, *(beta * (r - at) for r, at in zip(rows, ref, strict=True)))

    a, b = (-rng.integers(40, 80, size=2) / 2.0).tolist()
    beta = float(rng.integers(20, 400)) / 1000 + 0.0005
    return [
        log([a, a - 1, a - 3, a - 7], [b, b - 2.5, b - 7, b - 20], (a, b), 0.1),
        log([a + 2, a, a - 3], [b - 4, b - 6, b - 13], (a, b), beta),
        log([a - 5, a - 5, a - 5], [b - 1, b - 3, b - 8], (a, b), beta),
        log([a - 1, a + 1, a + 4], [b + 2, b + 2, b + 2], (a, b), 2.0),
        log([a - 1, a - 3, a - 9], [b - 2, b - 4, b - 10], (a, b), 0.5),
        log([a + 1, a - 1], [b - 3, b - 8], (a, b), beta),
        log([a + 1, a + 2, a + 5], [b - 1, b - 2, b - 5], (a, b), beta),
        log([a - 1, a - 1, a - 3], [b - 2, b - 2, b - 9], (a, b), beta),
        log([a - 1, a - 3, a - 3], [b - 2, b - 9, b - 9], (a, b), beta),
    ]


beta_of_log = function_task(
    "beta_of_log",
    truth=_slope,
    cases=_evaluations,
    tolerance=1e-7,
    mistakes={
        "a reward over a log-probability leaves the reference in: use what moved between rows.": (
            OneOf(
                [
                    _quotient(lambda w, x, won, lost: won[-1], lambda w, x, *_: w[-1]),
                    _quotient(lambda w, x, won, lost: lost[-1], lambda w, x, *_: x[-1]),
                    _quotient(lambda w, x, won, lost: won.mean(), lambda w, x, *_: w.mean()),
                    _quotient(
                        lambda w, x, won, lost: (won - lost)[-1], lambda w, x, *_: (w - x)[-1]
                    ),
                    _quotient(
                        lambda w, x, won, lost: (won - lost).mean(), lambda w, x, *_: (w - x).mean()
                    ),
                    lambda w, x, won, lost: (won / w).mean(),
                    lambda w, x, won, lost: ((won - lost) / (w - x)).mean(),
                    lambda w, x, won, lost: won[0] / w[0],
                    lambda w, x, won, lost: lost[0] / x[0],
                    lambda w, x, won, lost: (won - lost)[0] / (w - x)[0],
                    lambda w, x, won, lost: (w @ won + x @ lost) / (w @ w + x @ x),
                    lambda w, x, won, lost: (w @ won) / (w @ w),
                    lambda w, x, won, lost: (x @ lost) / (x @ x),
                ]
            )
        ),
        "upside down: beta is reward for each nat.": (
            _quotient(lambda w, x, *_: 1.0, lambda *columns: _slope(*columns))
        ),
        "beta is not negative: both differences are taken in the same order.": (
            lambda *columns: -_slope(*columns)
        ),
        "this takes the first row's rewards for 0: a log may begin later.": OneOf(
            [
                _quotient(lambda w, x, won, lost: won[-1], lambda w, x, *_: w[-1] - w[0]),
                _quotient(lambda w, x, won, lost: lost[-1], lambda w, x, *_: x[-1] - x[0]),
                _quotient(
                    lambda w, x, won, lost: np.hypot(won[-1], lost[-1]),
                    lambda w, x, *_: np.hypot(w[-1] - w[0], x[-1] - x[0]),
                ),
            ]
        ),
        "the covariance is divided by n - 1, the variance by n: divide both alike.": (
            lambda *columns: _slope(*columns) * len(columns[0]) / (len(columns[0]) - 1)
        ),
        "a mean of quotients from row to row has 0/0 in it where two rows are alike.": (
            lambda w, x, won, lost: _row_by_row(*((w, won) if np.ptp(w) else (x, lost)))
        ),
        "a quotient of zeros is nan: leave out the column that stands still.": OneOf(
            [
                lambda w, x, won, lost: np.mean(
                    [(won[-1] - won[0]) / (w[-1] - w[0]), (lost[-1] - lost[0]) / (x[-1] - x[0])]
                ),
                lambda w, x, won, lost: (_row_by_row(w, won) + _row_by_row(x, lost)) / 2,
            ]
        ),
        "only the chosen column is used, and here it stands still: what else moves?": OneOf(
            [
                _quotient(lambda w, x, won, lost: won[-1] - won[0], lambda w, x, *_: w[-1] - w[0]),
                lambda w, x, won, lost: _fitted(w, won),
            ]
        ),
        "only the rejected column is used, and here it stands still: what else moves?": OneOf(
            [
                _quotient(
                    lambda w, x, won, lost: lost[-1] - lost[0], lambda w, x, *_: x[-1] - x[0]
                ),
                lambda w, x, won, lost: _fitted(x, lost),
            ]
        ),
        "one line through both columns gives them one reference: each has its own.": OneOf(
            [
                lambda w, x, won, lost: _fitted(np.append(w, x), np.append(won, lost)),
                lambda w, x, won, lost: np.append(won, lost).std() / np.append(w, x).std(),
            ]
        ),
        "the reward of one goes with the log-probability of the other here.": OneOf(
            [
                _quotient(lambda w, x, won, lost: won[-1] - won[0], lambda w, x, *_: x[-1] - x[0]),
                _quotient(
                    lambda w, x, won, lost: lost[-1] - lost[0], lambda w, x, *_: w[-1] - w[0]
                ),
            ]
        ),
        "each column that moves gives beta: this is the sum of two such.": (
            lambda w, x, won, lost: sum(
                np.ptp(reward) / np.ptp(logps)
                for logps, reward in ((w, won), (x, lost))
                if np.ptp(logps) > 0
            )
        ),
        "this is a log-probability of the reference: beta is asked for.": OneOf(
            [
                lambda *columns: columns[0][0] - columns[2][0] / _slope(*columns),
                lambda *columns: columns[1][0] - columns[3][0] / _slope(*columns),
            ]
        ),
        "only the sum of both is used, and here it stands still: what else moves?": (
            _quotient(
                lambda w, x, won, lost: (won + lost)[-1] - (won + lost)[0],
                lambda w, x, *_: (w + x)[-1] - (w + x)[0],
            )
        ),
        "only the first two rows are used, and here nothing moves between them.": OneOf(
            [
                lambda *columns: _slope(*(column[:2] for column in columns)),
                _quotient(lambda w, x, won, lost: won[1] - won[0], lambda w, x, *_: w[1] - w[0]),
                _quotient(lambda w, x, won, lost: lost[1] - lost[0], lambda w, x, *_: x[1] - x[0]),
            ]
        ),
        "only the last two rows are used, and here nothing moves between them.": (
            lambda *columns: _slope(*(column[-2:] for column in columns))
        ),
        "only the margin is used, and here it stands still: what else moves?": OneOf(
            [
                _quotient(
                    lambda w, x, won, lost: (won - lost)[-1] - (won - lost)[0],
                    lambda w, x, *_: (w - x)[-1] - (w - x)[0],
                ),
                lambda w, x, won, lost: _fitted(w - x, won - lost),
            ]
        ),
    },
)

# --- 3 the meter --------------------------------------------------------------------------------


def _reading(policy: Floats, ref: Floats, writers: Floats, prefer: Floats, *, beta: float) -> Any:
    """Both logged rewards as means over every draw of two answers and every vote on them."""
    total = 0.0
    for i, j in np.ndindex(prefer.shape):
        if writers[i] * writers[j] > 0:
            r_i, r_j = (beta * math.log(policy[y] / ref[y]) for y in (i, j))
            won = prefer[i, j] * r_i + (1 - prefer[i, j]) * r_j
            lost = prefer[i, j] * r_j + (1 - prefer[i, j]) * r_i
            total += float(writers[i] * writers[j] * (won + lost))
    return -total / (2 * beta)


def _mean_of(weights: Callable[..., Any], sign: float = -1.0) -> Any:
    """The mean log-ratio under weights that depend on (policy, ref, writers)."""

    def reading(
        policy: Floats, ref: Floats, writers: Floats, prefer: Floats, *, beta: float
    ) -> Any:
        w = weights(policy, ref, writers)
        seen = w > 0
        return sign * float((w[seen] * np.log(policy[seen] / ref[seen])).sum())

    return reading


def _of_pairs(weigh: Callable[..., Any], against: float = 0.0) -> Any:
    """Minus the mean log-ratio of one answer of a pair, and some times that of the other.

    Pairs are weighed by a function of how often they are put (Y, Y) and of `prefer`.
    """

    def reading(
        policy: Floats, ref: Floats, writers: Floats, prefer: Floats, *, beta: float
    ) -> Any:
        put = weigh(np.outer(writers, writers), prefer)
        seen = writers > 0
        r = np.log(np.where(seen, policy, 1) / np.where(seen, ref, 1))
        return float(-(put.sum(1) @ r) - against * (put.sum(0) @ r))

    return reading


def _unlike(put: Floats, _: Floats) -> Floats:
    """As if the two answers of a pair were always different ones."""
    different = _unlike_among_all(put, _)
    return np.asarray(different / different.sum())


def _unlike_among_all(put: Floats, _: Floats) -> Floats:
    return np.asarray(put * (1 - np.eye(len(put))))


def _alike(put: Floats, _: Floats) -> Floats:
    """Only pairs of twice the same answer."""
    return np.asarray(put * np.eye(len(put)))


def _any_other(policy: Floats, ref: Floats, writers: Floats, prefer: Floats, *, beta: float) -> Any:
    """As if each answer of the writers met all answers equally often."""
    seen, wins = writers > 0, prefer.mean(axis=1)
    won, lost = writers * wins, writers * (1 - wins)
    weight = won / won.sum() + lost / lost.sum()
    return float(-(weight[seen] @ np.log(policy[seen] / ref[seen])) / 2)


def _scaled(factor: Callable[[float], float]) -> Any:
    return lambda *given, beta: factor(beta) * _reading(*given, beta=beta)


def _writers(rng: np.random.Generator) -> list[Case]:
    """The reference and others write; the reading may be below 0; an answer is given up."""

    def votes(size: int) -> Floats:
        chance = np.triu(rng.uniform(0.05, 0.95, size=(size, size)), 1)
        return np.asarray(chance + np.tril(1 - chance.T, -1) + np.eye(size) / 2)

    ref, policy = rng.dirichlet(np.full(4, 3.0)), rng.dirichlet(np.full(4, 3.0))
    lean, gone = np.array([0.5, 0.3, 0.2]), np.array([0.3, 0.7, 0.0])
    rule = np.array([[0.5, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.5]])
    return [
        case(np.array([0.8, 0.2]), np.array([0.5, 0.5]), np.array([0.5, 0.5]), votes(2), beta=0.25),
        case(policy, ref, ref, votes(4), beta=0.1),
        case(policy, ref, rng.dirichlet(np.full(4, 3.0)), votes(4), beta=2.0),
        case(np.array([0.7, 0.2, 0.1]), lean, np.array([0.8, 0.1, 0.1]), rule, beta=0.3),
        case(gone, lean, np.array([0.6, 0.4, 0.0]), votes(3), beta=0.05),
    ]


meter = function_task(
    "meter",
    truth=_reading,
    cases=_writers,
    mistakes={
        "this is KL(ref || policy): the meter shows that only where the reference wrote.": (
            _mean_of(lambda policy, ref, writers: ref)
        ),
        "this is KL(policy || ref), the divergence of the objective: who wrote the answers?": (
            _mean_of(lambda policy, ref, writers: policy, 1.0)
        ),
        "this is a mean over the policy's own answers: the pairs are the writers'.": (
            _mean_of(lambda policy, ref, writers: policy)
        ),
        "the sign: far from the reference the two rewards are negative together.": (
            _mean_of(lambda policy, ref, writers: writers, 1.0)
        ),
        "this is KL(writers || policy): the rewards compare with the reference.": (
            lambda policy, ref, writers, prefer, *, beta: _mean_of(lambda p, r, w: w)(
                policy, writers, writers, prefer, beta=beta
            )
        ),
        "twice too large: there are two rewards in a pair.": _scaled(lambda beta: 2.0),
        "half of it: there are two rewards in a pair, each with a mean of its own.": (
            _scaled(lambda beta: 0.5)
        ),
        "this is in reward units: divide by beta.": _scaled(lambda beta: beta),
        "beta is divided out twice: the rewards hold it once.": _scaled(lambda beta: 1 / beta),
        "this is their sum, in reward units and with its sign: divide by -2 beta.": (
            _scaled(lambda beta: -2 * beta)
        ),
        "two draws may be the same answer: those pairs count as well.": OneOf(
            [_of_pairs(_unlike), _of_pairs(_unlike_among_all)]
        ),
        "two draws may be different answers: this counts each with the square of its share.": OneOf(
            [
                _of_pairs(_alike),
                _of_pairs(lambda put, _: _alike(put, _) / np.trace(put)),
            ]
        ),
        "these are the chosen answers only: the rejected ones count as well.": OneOf(
            _of_pairs(lambda put, prefer, n=n: n * put * prefer) for n in (2, 1)
        ),
        "these are the rejected answers only: the chosen ones count as well.": OneOf(
            _of_pairs(lambda put, prefer, n=n: n * put * prefer.T) for n in (2, 1)
        ),
        "this is chosen less rejected, the margin: the meter has their sum.": OneOf(
            _of_pairs(lambda put, prefer, n=n: n * put * prefer, against=-1) for n in (1, 2, -1, -2)
        ),
        "the meter may fall below 0, and then it says that others wrote: no absolute value.": (
            OneOf(
                [
                    lambda *given, beta: abs(_reading(*given, beta=beta)),
                    lambda *given, beta: max(0.0, _reading(*given, beta=beta)),
                ]
            )
        ),
        "this is KL(writers || ref): the policy must come into it.": (
            lambda policy, ref, writers, prefer, *, beta: _mean_of(lambda p, r, w: w)(
                ref, writers, writers, prefer, beta=beta
            )
        ),
        "every answer counts alike here: it should count as often as it is written.": (
            lambda policy, ref, writers, prefer, *, beta: np.log(ref / policy).mean()
        ),
        "this is the logarithm of a mean ratio: take the logarithm of each, then the mean.": (
            lambda policy, ref, writers, prefer, *, beta: -np.log(writers @ (policy / ref))
        ),
        "the other answer of a pair is not any one alike: the writers wrote it, too.": _any_other,
        "this is in bits: nats have the natural logarithm.": _scaled(lambda beta: 1 / np.log(2)),
        "an epsilon changes every log-ratio: leave out what nobody writes instead.": OneOf(
            lambda policy, ref, writers, prefer, *, beta, e=10.0**-n: (
                -writers @ np.log((policy + e) / (ref + e))
            )
            for n in (6, 8, 9)
        ),
        "an answer that nobody writes is in no pair: 0 times infinity is not 0 for a computer.": (
            lambda policy, ref, writers, prefer, *, beta: -writers @ np.log(policy / ref)
        ),
    },
)

# --- 4 five trainers ----------------------------------------------------------------------------


def _five(given: Given) -> dict[str, float]:
    """What each slip makes of the loss of the same pairs."""
    w, x, ref_w, ref_x = (
        np.array(given[name]) for name in ("chosen", "rejected", "ref_chosen", "ref_rejected")
    )
    long, short = np.array(given["tokens_chosen"]), np.array(given["tokens_rejected"])
    gain_w, gain_x, beta = w - ref_w, x - ref_x, given["beta"]
    margins = {
        "as stated": beta * (gain_w - gain_x),
        "beta twice": beta**2 * (gain_w - gain_x),
        "token means": beta * (gain_w / long - gain_x / short),
        "no reference": beta * (w - x),
        "swapped": beta * (gain_x - gain_w),
    }
    return {slip: float(np.logaddexp(0, -s).mean()) for slip, s in margins.items()}


def _pairs_of_tokens(rng: np.random.Generator) -> Given:
    """Six pairs, policy and reference, and the losses that five trainers print for them."""
    while True:
        tokens = rng.integers(3, 15, size=(2, 6))
        ref = -np.round(tokens * rng.uniform(1.0, 3.0, size=(2, 6)), 2)
        moved = np.round(rng.uniform(-4, 4, size=(2, 6)) + np.array([[2.0], [-2.0]]), 2)
        given: Given = {"beta": float(rng.choice([0.2, 0.3, 0.5]))}
        given |= dict(zip(("chosen", "rejected"), np.round(ref + moved, 2).tolist(), strict=True))
        given |= dict(zip(("ref_chosen", "ref_rejected"), ref.tolist(), strict=True))
        given |= dict(zip(("tokens_chosen", "tokens_rejected"), tokens.tolist(), strict=True))
        losses = _five(given)
        won = sum(np.diff(moved, axis=0)[0] < 0)
        clear = np.diff(sorted(losses.values())).min() > 0.02 and losses["as stated"] < 0.6
        if clear and won > 3:
            break
    order = rng.permutation(SLIPS).tolist()
    given["printed"] = {
        name: round(losses[slip], 4) for name, slip in zip("ABCDE", order, strict=True)
    }
    return given


def _slips_of(given: Given) -> dict[str, str]:
    """Which slip each trainer made."""
    losses = _five(given)
    return {
        name: min(SLIPS, key=lambda slip: abs(losses[slip] - printed))
        for name, printed in given["printed"].items()
    }


def _by_name(answer: Any, names: list[str]) -> dict[str, Any] | None:
    """Words in the order of the names, or a dictionary; None if it is neither, or too short."""
    if isinstance(answer, np.ndarray):
        answer = answer.tolist()
    if isinstance(answer, tuple | list) and len(answer) == len(names):
        answer = dict(zip(names, answer, strict=True))
    if not isinstance(answer, Mapping) or {str(key) for key in answer} != set(names):
        return None
    return {str(key): str(v) if isinstance(v, str) else v for key, v in answer.items()}


def _words_fault(
    answer: Any,
    truth: dict[str, str],
    words: tuple[str, ...],
    mistakes: Mapping[str, Any],
    otherwise: Callable[[str, dict[str, Any]], str],
) -> str | None:
    """What is wrong with the words by name: the form, a known mistake, or what `otherwise` says.

    It is told the first name with a wrong word, and all the words.
    """
    if is_blank(answer):
        return NOT_YET
    found = _by_name(answer, list(truth))
    if found is None:
        return f"expected a word for each of {', '.join(truth)}."
    if any(is_blank(word) for word in found.values()):
        return NOT_YET
    strange = [word for word in found.values() if word not in words]
    if strange:
        said = ", ".join(f'"{word}"' for word in words)
        return f"{strange[0]!r:.40} is none of the words {said}."
    if found == truth:
        return None
    for sentence, mistaken in known(mistakes):
        if found == mistaken:
            return sentence
    return otherwise(next(name for name in truth if found[name] != truth[name]), found)


def _exchanged(truth: dict[str, str], first: str, second: str) -> dict[str, str]:
    """The truth with two words exchanged."""
    other = {first: second, second: first}
    return {name: other.get(word, word) for name, word in truth.items()}


def _mistaken_slips(given: Given) -> dict[str, Any]:
    truth = _slips_of(given)
    return {
        "the right formula and the swapped labels are exchanged: most pairs here are won.": (
            _exchanged(truth, "as stated", "swapped")
        ),
        "beta twice and token means both shrink margins: work both out, pair by pair.": (
            _exchanged(truth, "beta twice", "token means")
        ),
        "no reference and swapped are exchanged: one forgets two columns, the other a sign.": (
            _exchanged(truth, "no reference", "swapped")
        ),
        "one word for all: no two of them printed the same.": dict.fromkeys(truth, SLIPS[0]),
    }


def _trainers_fault(answer: Any, _: np.random.Generator, given: Given) -> str | None:
    def otherwise(name: str, found: dict[str, Any]) -> str:
        told = _five(given)[found[name]]
        return (
            f'"{found[name]}" makes the loss {told:.4f} on these pairs, and trainer {name} printed '
            f"{given['printed'][name]:.4f}."
        )

    return _words_fault(answer, _slips_of(given), SLIPS, _mistaken_slips(given), otherwise)


def _first_lines() -> dict[str, float]:
    """What the five print for the two pairs of the question before the first step."""
    won, lost = [-12.0, -7.0], [-9.0, -15.0]
    given = {"chosen": won, "ref_chosen": won, "rejected": lost, "ref_rejected": lost}
    more = {"beta": 0.3, "tokens_chosen": [6, 4], "tokens_rejected": [5, 9]}
    return {slip: round(loss, 4) for slip, loss in _five(given | more).items()}


first_guess_is_written = Task("first_guess_is_written", _written(GUESSES), published=_first_lines())

PAIRS = _pairs_of_tokens(np.random.default_rng(70))
trainers = Task("trainers", _trainers_fault, _mistaken_slips(PAIRS), _pairs_of_tokens, PAIRS)

# --- 5 four anonymous logs ----------------------------------------------------------------------

CAUSES = ("healthy", "no reference", "separable", "displaced")
COLUMNS = ("loss", "chosen", "rejected", "accuracy")
SEEN = (0, 1, 3, 10, 30, 100, 300)  # steps
START = dict(zip(COLUMNS, (0.6931, 0.0, 0.0, 0.0), strict=True))
LEEWAY = 0.2
EXPERIMENTS = ("score", "count", "sample", "twice")
SUSPICION = {"no reference": "score", "separable": "count", "displaced": "sample"}


def _better(reward: Floats) -> Floats:
    """How often each of four answers beats each other one, with Bradley-Terry voters."""
    return np.asarray(1 / (1 + np.exp(reward - reward[:, None])) * (1 - np.eye(4)) / 6)


def _line(r: Floats, law: Floats) -> list[float]:
    """Loss, chosen, rejected and accuracy of rewards (4,) on shares of votes, row over column."""
    s = r[:, None] - r
    loss = float((law * np.logaddexp(0, -s)).sum())
    return [loss, float(law.sum(1) @ r), float(law.sum(0) @ r), float(law[s > 1e-9].sum())]


def _run(
    features: Floats, ref: Floats, votes: tuple[Floats, Floats], beta: float, *, reference: bool
) -> list[list[float]]:
    """The log of plain gradient descent on the first votes, told on the second."""
    theta, rows = np.zeros(features.shape[1]), []
    held = np.log(ref[:4]) if reference else np.zeros(4)
    for step in range(SEEN[-1] + 1):
        logits = np.log(ref) + features @ theta
        r = beta * ((logits - np.log(np.exp(logits).sum()))[:4] - held)
        if step in SEEN:
            rows.append([float(step), *(round(x, 4) + 0.0 for x in _line(r, votes[1]))])
        pull = votes[0] / (1 + np.exp(r[:, None] - r))
        theta = theta + 1 / beta * features[:4].T @ (pull.sum(1) - pull.sum(0))
    return rows


def _logs(rng: np.random.Generator) -> Given:
    """Four runs, one for each cause, under letters; four answers are voted on, a fifth is not."""
    reward = np.array([0.0, 0.5, 1.0, 1.5]) + rng.uniform(-0.1, 0.1, size=4)
    ref = np.append(np.array([0.42, 0.28, 0.18, 0.1]) + rng.uniform(-0.02, 0.02, size=4), 0.02)
    ref, beta = ref / ref.sum(), float(rng.choice([0.3, 0.5, 1.0]))
    law = _better(reward)
    votes = [(n / 2000).reshape(4, 4) for n in rng.multinomial(2000, law.ravel(), size=2)]
    rule = tuple(np.where(reward[:, None] > reward, v + v.T, 0) for v in votes)
    table, rise = np.eye(5), reward - reward.mean()
    one_number = np.append(rise, 6.0)[:, None]
    honest = (votes[0], votes[1])
    runs = {
        "healthy": _run(table, ref, honest, beta, reference=True),
        "no reference": _run(table, ref, honest, beta, reference=False),
        "separable": _run(table, ref, (rule[0], rule[1]), beta, reference=True),
        "displaced": _run(one_number, ref, honest, beta, reference=True),
    }
    end = rise - beta * np.log(ref @ np.exp(np.append(rise, 0.0) / beta))
    order = rng.permutation(CAUSES).tolist()
    return {
        "beta": beta,
        "columns": ["step", *COLUMNS],
        "end": dict(zip(COLUMNS, (round(x, 4) for x in _line(end, law)), strict=True)),
        "logs": {name: runs[cause] for name, cause in zip("ABCD", order, strict=True)},
    }


def _cause(rows: list[list[float]], end: dict[str, float]) -> str:
    """The cause of a log, read off its numbers."""
    first, last = rows[0], rows[-1]
    if abs(first[1] - math.log(2)) > 1e-3:
        return "no reference"
    if last[4] > end["accuracy"] + LEEWAY:
        return "separable"
    return "displaced" if last[2] < min(0, end["chosen"]) - LEEWAY else "healthy"


def _causes_of(given: Given) -> dict[str, str]:
    return {name: _cause(rows, given["end"]) for name, rows in given["logs"].items()}


def _mistaken_causes(given: Given) -> dict[str, Any]:
    truth = _causes_of(given)
    return {
        "no run is healthy because its loss falls: all four losses fall.": (
            dict.fromkeys(truth, "healthy")
        ),
        "in both runs the rewards are negative, but one of them begins so: look at step 0.": (
            _exchanged(truth, "no reference", "displaced")
        ),
        "which of the two ends with a chosen reward that is more than 0.2 below the end?": (
            _exchanged(truth, "healthy", "displaced")
        ),
        "accuracy 1 is not health where voters contradict one another: compare with the end.": (
            _exchanged(truth, "healthy", "separable")
        ),
        "a run that does not begin with log 2 is not healthy, wherever it ends.": (
            _exchanged(truth, "healthy", "no reference")
        ),
        "which of the two has accuracy 1, and which begins above log 2?": (
            _exchanged(truth, "separable", "no reference")
        ),
        "only votes that nothing contradicts give accuracy 1, however far the rewards fall.": (
            _exchanged(truth, "separable", "displaced")
        ),
    }


def _causes_fault(answer: Any, _: np.random.Generator, given: Given) -> str | None:
    def otherwise(name: str, found: dict[str, Any]) -> str:
        twice = [word for word in CAUSES if list(found.values()).count(word) > 1]
        if twice:
            return f'"{twice[0]}" stands more than once: each cause has one log.'
        return (
            f'log {name} is not "{found[name]}": read its step 0, then its last row beside the end.'
        )

    return _words_fault(answer, _causes_of(given), CAUSES, _mistaken_causes(given), otherwise)


LOGS = _logs(np.random.default_rng(7))
causes = Task("causes", _causes_fault, _mistaken_causes(LOGS), _logs, LOGS)

# --- a number that tells ------------------------------------------------------------------------


def _tells(column: str, step: int, value: float, end: dict[str, float]) -> bool:
    """Whether a healthy run could not show this number."""
    if step == 0:
        return abs(value - START[column]) > 1e-3
    low, high = sorted([START[column], end[column]])
    return not low - LEEWAY <= value <= high + LEEWAY


def _faulty(given: Given) -> list[str]:
    return [name for name, cause in _causes_of(given).items() if cause != "healthy"]


def _evidence_fault(answer: Any, _: np.random.Generator, given: Given) -> str | None:
    if is_blank(answer):
        return NOT_YET
    if not isinstance(answer, Mapping):
        return f"expected a dictionary, a letter for each faulty log, got {type(answer).__name__}."
    for name, quoted in answer.items():
        if str(name) not in given["logs"]:
            return f"there is no log {name!r:.40}."
        if str(name) not in _faulty(given) and not is_blank(quoted):
            return f"log {name} is that of the healthy run: nothing in it is out of line."
        fault = None if is_blank(quoted) else _quote_fault(str(name), quoted, given)
        if fault is not None:
            return fault
    told = [str(name) for name, quoted in answer.items() if not is_blank(quoted)]
    if answer and not told:
        return NOT_YET
    missing = [name for name in _faulty(given) if name not in told]
    return f"a number of log {missing[0]} is missing: it has a fault." if missing else None


def _quote_fault(name: str, quoted: Any, given: Given) -> str | None:
    """What is wrong with a number quoted from a log: column, step and value."""
    parts = list(quoted) if isinstance(quoted, tuple | list | np.ndarray) else []
    if len(parts) != 3:
        return f"log {name}: expected (column, step, value), got {quoted!r:.40}."
    column, step, value = parts
    rows = {row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in given["logs"][name]}
    if str(column) == "step":
        return f'log {name}: "step" says which row it is; quote a number of another column.'
    if str(column) not in COLUMNS:
        return f"log {name}: {column!r:.40} is no column of it."
    try:
        step, value = float(step), float(value)
    except (TypeError, ValueError):
        return f"log {name}: step and value should be numbers."
    if step not in rows:
        return f"log {name}: it has no row for step {step:g}."
    there = rows[step][str(column)]
    if not abs(value - there) <= 0.0051:
        return f"log {name}: its {column} at step {step:g} is {there:g}, not {value:g}."
    if not _tells(str(column), int(step), there, given["end"]):
        return (
            f"log {name}: a healthy run may show this {column} at step {step:g} as well; "
            "which number could it not show?"
        )
    return None


def _some_evidence(given: Given, cells: Mapping[str, tuple[str, int]]) -> dict[str, Any]:
    """Quotes of a column and a step for each cause."""
    found = {}
    for name, cause in _causes_of(given).items():
        if cause in cells:
            column, step = cells[cause]
            row = next(row for row in given["logs"][name] if row[0] == step)
            found[name] = (column, step, row[1 + COLUMNS.index(column)])
    return found


evidence = Task("evidence", _evidence_fault, {}, _logs, LOGS)

# --- what to do next ----------------------------------------------------------------------------


def _mistaken_experiments(given: Given) -> dict[str, Any]:
    truth = _experiments_of(given)
    return {
        "evaluating twice would find noise, and none of the four runs has any.": (
            dict.fromkeys(truth, "twice")
        ),
        "one test for all: each of the three faults has a test of its own.": OneOf(
            [dict.fromkeys(truth, word) for word in ("score", "count", "sample")]
        ),
        "a lost reference shows before the first step, and who gained shows at the end.": (
            _exchanged(truth, "score", "sample")
        ),
        "what nobody contradicts is a matter of the votes; who gained, of the policy.": (
            _exchanged(truth, "count", "sample")
        ),
        "contradictions are counted in the votes; a lost reference is not in the votes.": (
            _exchanged(truth, "count", "score")
        ),
    }


def _experiments_of(given: Given) -> dict[str, str]:
    return {
        name: SUSPICION[cause] for name, cause in _causes_of(given).items() if cause != "healthy"
    }


def _experiments_fault(answer: Any, _: np.random.Generator, given: Given) -> str | None:
    truth = _experiments_of(given)
    if isinstance(answer, Mapping):  # the healthy log may stand there with nothing
        answer = {n: word for n, word in answer.items() if str(n) in truth or not is_blank(word)}
    if isinstance(answer, Mapping) and len(answer) == len(given["logs"]):
        return "the healthy run raises no suspicion: name a test for the three others."
    if isinstance(answer, Mapping) and {str(key) for key in answer} != set(truth):
        return "expected a word for each faulty log, under its letter."

    def otherwise(name: str, found: dict[str, Any]) -> str:
        return f'log {name}: "{found[name]}" comes out there as in the healthy run.'

    return _words_fault(answer, truth, EXPERIMENTS, _mistaken_experiments(given), otherwise)


experiments = Task(
    "experiments", _experiments_fault, _mistaken_experiments(LOGS), _logs, LOGS
)  # fmt: skip
