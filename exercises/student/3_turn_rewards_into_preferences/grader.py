"""Assignment 3: what votes say about rewards and policies, and two printed formulas that lie."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logsumexp, ndtr

from dpo_edu import gibbs
from dpo_edu.grading import (
    NOT_YET,
    Case,
    OneOf,
    Task,
    case,
    expression_task,
    function_fault,
    function_task,
    is_blank,
    same,
)
from dpo_edu.symbolic import Z, i, j, k, p, q, r, total, β

Floats = NDArray[np.float64]
Function = Callable[..., Any]


# --- 1 a vote -----------------------------------------------------------------------------------


def _pairs(rng: np.random.Generator) -> list[Case]:
    """Rewards of winners and losers: ordinary ones, equal ones, and some that overflow."""
    ordinary = case(*rng.normal(scale=2, size=(2, 6)))
    table = case(*rng.uniform(0.5, 3, size=(2, 2, 3)))
    shift = rng.normal()
    high, low = np.array([1000.0, 999.0, -1000.0, 2.0]), np.array([999.0, 1000.0, -1001.5, -1000.0])
    equal = np.array([1.5, -1000.0, 0.0, 2.0])
    middle = rng.uniform([5, 9, 15, 25], [6, 12, 20, 30])
    return [
        ordinary,
        table,
        case(equal, equal * [1, 1, 1, 0.5]),
        case(middle, np.zeros(4)),
        case(np.zeros(4), middle),
        case(high + shift, low + shift),
        case(low + shift, high + shift),
    ]


def _chance(winner: Floats, loser: Floats) -> Any:
    return expit(winner - loser)


def _as_typed(winner: Floats, loser: Floats) -> Any:
    return np.exp(winner) / (np.exp(winner) + np.exp(loser))


def _patched(number: float) -> Function:
    """The formula as typed, with a number in place of nan."""
    return lambda winner, loser: np.nan_to_num(_as_typed(winner, loser), nan=number)


vote = function_task(
    "vote",
    truth=_chance,
    cases=_pairs,
    mistakes={
        "exp(1000) overflows and gives nan: only the difference of the rewards counts.": _as_typed,
        "0 or 1 stands in place of nan: keep exp from large numbers, then there is no nan.": OneOf(
            [_patched(0.0), _patched(1.0)]
        ),
        "this is the probability that the other one wins: check the sign of the exponent.": (
            lambda winner, loser: expit(loser - winner)
        ),
        "this is the difference: a probability lies between 0 and 1.": (
            lambda winner, loser: winner - loser
        ),
        "this is a logarithm: the probability is asked for.": (
            lambda winner, loser: log_expit(winner - loser)
        ),
        "these voters never err: the better response should win often, not always.": (
            lambda winner, loser: np.where(winner == loser, 0.5, winner > loser)
        ),
        "the rewards are divided as they are: their exponentials share out the votes.": (
            lambda winner, loser: winner / (winner + loser)
        ),
        "equal rewards are forgotten: there either wins with probability 1/2.": OneOf(
            [
                lambda winner, loser: expit(winner - loser) * (winner != loser),
                lambda winner, loser: np.where(winner == loser, 1.0, expit(winner - loser)),
                lambda winner, loser: np.where(winner == loser, np.nan, expit(winner - loser)),
            ]
        ),
        "a clip or a patched nan makes all large rewards equal: only the difference counts.": OneOf(
            [
                _patched(0.5),
                lambda winner, loser: expit(np.clip(winner, -700, 700) - np.clip(loser, -700, 700)),
                lambda winner, loser: expit(np.clip(winner, -500, 500) - np.clip(loser, -500, 500)),
                lambda winner, loser: expit(np.clip(winner, -100, 100) - np.clip(loser, -100, 100)),
            ]
        ),
        "this is the odds: the probability is odds/(1 + odds).": (
            lambda winner, loser: np.exp(winner - loser)
        ),
        "the minus is in place, the plus is not: the winner stands above, both stand below.": (
            lambda winner, loser: np.exp(winner) / (np.exp(winner) - np.exp(loser))
        ),
        "this depends on one difference squared or its size: who is better decides.": OneOf(
            [
                lambda winner, loser: expit(np.abs(winner - loser)),
                lambda winner, loser: expit((winner - loser) ** 2),
            ]
        ),
        "sigma takes r_w - r_l itself, not twice or half of it.": OneOf(
            [
                lambda winner, loser: expit(2 * (winner - loser)),
                lambda winner, loser: expit((winner - loser) / 2),
            ]
        ),
        "this is tanh, between -1 and 1: sigma lies between 0 and 1.": OneOf(
            [
                lambda winner, loser: np.tanh(winner - loser),
                lambda winner, loser: np.tanh((winner - loser) / 2),
            ]
        ),
        "the exponent has base 2 or 10: e is asked for.": OneOf(
            [
                lambda winner, loser: expit(np.log(2) * (winner - loser)),
                lambda winner, loser: expit(np.log(10) * (winner - loser)),
            ]
        ),
        "the rewards are added: only their difference counts.": (
            lambda winner, loser: expit(winner + loser)
        ),
        "this is the chance under normal errors: here the function is the logistic one.": (
            lambda winner, loser: ndtr(winner - loser)
        ),
        "exp of each reward shares out the votes, not sigma of each.": (
            lambda winner, loser: expit(winner) / (expit(winner) + expit(loser))
        ),
        "below stand the exponentials of both rewards, not 1 and one of them.": (
            lambda winner, loser: np.exp(winner) / (1 + np.exp(loser))
        ),
        "this shares the votes among the pairs: each vote is between two responses.": (
            lambda winner, loser: np.exp(winner - loser - logsumexp(winner - loser))
        ),
        "this is a straight line: sigma bends.": OneOf(
            [
                lambda winner, loser: np.clip(0.5 + (winner - loser) / 4, 0, 1),
                lambda winner, loser: np.clip(0.5 + (winner - loser) / 2, 0, 1),
            ]
        ),
        "the rewards are divided: sigma takes their difference.": (
            lambda winner, loser: expit(winner / loser)
        ),
        "the loser's reward is missing: a good response may meet a better one.": (
            lambda winner, loser: expit(winner)
        ),
    },
)

# --- 2 the reward read off the policy -----------------------------------------------------------


def _star(reward: Floats, ref: Floats, b: float) -> Any:
    weight = np.log(ref) + reward / b
    return np.exp(weight - logsumexp(weight, axis=-1, keepdims=True))


def _optima(rng: np.random.Generator) -> list[Case]:
    """Best policies of rewards with their references, for one prompt and several."""
    tried = []
    for shape, scale, b in [((4,), 1.0, 0.5), ((3, 5), 1.0, 2.0), ((3,), 40.0, 0.3)]:
        ref = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])
        tried.append(case(_star(rng.normal(scale=scale, size=shape), ref, b), ref, beta=b))
    return tried


def _read_off(of: Function) -> Function:
    """of(log pi, log ref, beta), for a function of policies."""

    def reward(policy: Floats, ref: Floats, *, beta: float) -> Any:
        return of(np.log(policy), np.log(ref), beta)

    return reward


def _centred(x: Floats) -> Any:
    return x - x.mean(axis=-1, keepdims=True)


def _but_for_a_constant(answer: Function, fault: str | None, cases: list[Case]) -> str | None:
    """Right differences with a constant that is none of the known ones."""
    if fault is None or not fault.startswith("for "):
        return fault
    truth = [_centred(at.of(gibbs.implicit_reward)) for at in cases]
    found = [_centred(np.asarray(at.of(answer), dtype=np.float64)) for at in cases]
    if all(map(partial(same, tolerance=1e-9), found, truth)):
        return (
            "the differences are right, the constant is not: here log Z is to be 0, so nothing is "
            "added or taken off."
        )
    return fault


reward_of = function_task(
    "reward_of",
    truth=gibbs.implicit_reward,
    cases=_optima,
    then=_but_for_a_constant,
    alone=True,
    mistakes={
        "this logarithm has base 2 or 10: nats are asked for.": OneOf(
            [
                _read_off(lambda p, q, b: b * (p - q) / np.log(2)),
                _read_off(lambda p, q, b: b * (p - q) / np.log(10)),
            ]
        ),
        "log p + log q is the logarithm of a product: a ratio is asked for.": (
            _read_off(lambda p, q, b: b * (p + q))
        ),
        "this is a difference of probabilities: take their logarithms first.": (
            _read_off(lambda p, q, b: b * (np.exp(p) - np.exp(q)))
        ),
        "beta multiplies the whole, not the policy's part only.": OneOf(
            [_read_off(lambda p, q, b: b * p - q), _read_off(lambda p, q, b: p - b * q)]
        ),
        "beta stands inside the logarithm: it multiplies it.": (
            _read_off(lambda p, q, b: np.log(b) + p - q)
        ),
        "weighted by the policy: this is a term of KL, not a reward.": (
            _read_off(lambda p, q, b: b * np.exp(p) * (p - q))
        ),
        "the sign, or a ratio upside down: what the policy prefers to its reference has more "
        "reward.": (_read_off(lambda p, q, b: b * (q - p))),
        "beta is missing: this is in nats, not in reward.": _read_off(lambda p, q, b: p - q),
        "beta divides: the larger it is, the more reward it took to move the policy this far.": (
            _read_off(lambda p, q, b: (p - q) / b)
        ),
        "the reference is missing: what was likely before needs no reward to be likely.": (
            _read_off(lambda p, q, b: b * p)
        ),
        "the logarithm is missing.": _read_off(lambda p, q, b: b * np.exp(p - q)),
        "a logarithm of a ratio is a difference of logarithms, not their ratio.": (
            _read_off(lambda p, q, b: b * p / q)
        ),
        "the differences are right, the constant is not: here log Z is to be 0, not the mean.": (
            _read_off(lambda p, q, b: b * _centred(p - q))
        ),
        "the differences are right, the constant is not: here log Z is to be 0, "
        "not the first reward.": _read_off(lambda p, q, b: b * ((p - q) - (p - q)[..., :1])),
    },
)

# --- 3 Z cancels --------------------------------------------------------------------------------


def _sigma(z: sp.Expr) -> sp.Expr:
    return 1 / (1 + sp.exp(-z))


GAP, REF_GAP = sp.log(p[k] / p[j]), sp.log(q[k] / q[j])
ALONE = _sigma(β * sp.log(p[k] / q[k])), _sigma(β * sp.log(p[j] / q[j]))
cancelled = expression_task(
    "cancelled",
    truth=_sigma(β * (GAP - REF_GAP)),
    mistakes={
        "this is the probability that j wins: is the ratio upside down?": (
            _sigma(-β * (GAP - REF_GAP))
        ),
        "true, but the rewards are still there: put policies in their place.": _sigma(r[k] - r[j]),
        "beta is missing.": _sigma(GAP - REF_GAP),
        "beta divides, and should multiply.": _sigma((GAP - REF_GAP) / β),
        "beta is counted twice.": _sigma(β**2 * (GAP - REF_GAP)),
        "the reference is missing, or stands with the same index in both rewards.": _sigma(β * GAP),
        "the sign of the reference's part.": _sigma(β * (GAP + REF_GAP)),
        "these are probabilities to the first power: P takes them to the power beta, over those of "
        "the reference.": OneOf([p[k] / (p[k] + p[j]), p[k] / p[j], q[k] / (q[k] + q[j])]),
        "this is the odds: the probability is odds/(1 + odds).": (sp.exp(β * (GAP - REF_GAP))),
        "this is the logarithm, or the loss: the probability is asked for.": OneOf(
            [sp.log(_sigma(β * (GAP - REF_GAP))), -sp.log(_sigma(β * (GAP - REF_GAP)))]
        ),
        "the logarithms are missing: rewards are beta log(pi/pi_ref).": OneOf(
            [_sigma(β * (p[k] / q[k] - p[j] / q[j])), _sigma(β * (p[k] - p[j]))]
        ),
        "beta stands outside sigma: it belongs inside.": β * _sigma(GAP - REF_GAP),
        "beta multiplies the policy's part only: the reference's part needs it too.": (
            _sigma(β * GAP - REF_GAP)
        ),
        "beta multiplies one of the two rewards only.": OneOf(
            [
                _sigma(β * sp.log(p[k] / q[k]) - sp.log(p[j] / q[j])),
                _sigma(sp.log(p[k] / q[k]) - β * sp.log(p[j] / q[j])),
            ]
        ),
        "the policy is missing: this knows the reference only.": OneOf(
            [_sigma(-β * REF_GAP), _sigma(β * REF_GAP)]
        ),
        "k and j are any two responses: leave them as letters.": OneOf(
            _sigma(β * (GAP - REF_GAP)).subs({k: a, j: b})
            for a, b in [(1, 2), (2, 1), (1, 0), (0, 1)]
        ),
        "Z is left over: the other response has the same one.": (
            _sigma(β * (GAP - REF_GAP) + β * sp.log(Z))
        ),
        "this is the difference of the rewards: the probability is sigma of it.": (
            β * (GAP - REF_GAP)
        ),
        "the sum runs over all responses: a vote is between two.": (
            (p[k] / q[k]) ** β / total((p[i] / q[i]) ** β)
        ),
        "only one response is in it: a vote is between two.": ALONE[0],
        "sigma is taken of each reward: take it once, of their difference.": OneOf(
            [ALONE[0] - ALONE[1], ALONE[0] / ALONE[1], ALONE[0] / (ALONE[0] + ALONE[1])]
        ),
    },
)

# --- 4 what votes cannot tell -------------------------------------------------------------------


def _ballots(rng: np.random.Generator) -> list[Case]:
    """Rewards with votes in one, two and three islands; some pairs have a single winner."""
    tried = []
    for size, pairs in [
        (7, [(0, 1), (1, 2), (2, 3), (4, 5), (5, 4)]),  # a chain, a pair, a hermit
        (3, [(0, 1), (1, 2), (2, 0)]),  # everything connected: nothing may change
        (6, [(0, 1), (1, 0), (2, 1), (3, 4), (5, 4)]),  # two islands
        (5, [(0, 1), (1, 2)]),  # two hermits
        (4, []),  # nobody was compared
    ]:
        wins, place = np.zeros((size, size)), rng.permutation(size)
        for won, lost in pairs:
            wins[place[won], place[lost]] = rng.integers(1, 6)
        tried.append(case(rng.normal(size=size), wins))
    wins = np.zeros((4, 4))
    wins[[0, 1], [2, 3]] = 2  # two islands alike in rewards and votes
    return [*tried, case(rng.normal(size=2).repeat(2), wins)]


def _reachable(step: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which responses can be walked to, in any number of steps."""
    reach = step | np.eye(len(step), dtype=bool)
    for _ in step:
        reach = reach @ step | reach
    return reach


def _count(told: NDArray[np.bool_]) -> int:
    """How many islands there are."""
    return len(np.unique(told, axis=0))


def _votes_fault(other: Any, reward: Floats, wins: Floats) -> str | None:
    """What is wrong with other rewards that should give the same votes."""
    try:
        found = np.asarray(other, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != reward.shape or not np.isfinite(found).all():
        return f"expected finite rewards of shape {reward.shape}, got {other!s:.80}."
    arrows = wins > 0
    compared, told = arrows | arrows.T, _reachable(arrows | arrows.T)
    # Wide enough for the rounding of shifts up to 1e8, and too narrow for a chance coincidence.
    moved = abs(_differences(found) - _differences(reward)) > 1e-7
    if abs(found).max() > 1e8 and (moved & compared).any():
        return "the numbers are so large that the digits of the rewards are lost: move by less."
    if (moved & compared).any():
        sums = _differences(found) + _differences(reward)
        if (abs(sums)[moved & compared] < 1e-9).all() and not _stretched(found, reward):
            return "the differences in an island have changed their sign: now its losers win."
        return _broken(found, reward, arrows, moved)
    if not (~told & ~moved).any():
        return None
    if (found == reward).all():
        return "these are the rewards that went in."
    return _unmoved(moved, told, reward)


def _unmoved(moved: NDArray[np.bool_], told: NDArray[np.bool_], reward: Floats) -> str:
    """Which difference should have changed and did not."""
    a, b = np.argwhere(~told & ~moved)[0]
    if np.array_equal(np.sort(reward[told[a]]), np.sort(reward[told[b]])):
        return (
            f"the islands of responses {a} and {b} have the same rewards, and move by the same "
            "number: it must depend on which island it is."
        )
    if not moved.any():
        return "one number for all changes no difference: which responses can move on their own?"
    hermits = told.sum(axis=1) == 1
    if hermits[a] and hermits[b]:
        return (
            f"responses {a} and {b} were never compared, and their difference is as it was: "
            "each is an island of its own."
        )
    return (
        f"with {len(told)} responses in {_count(told)} islands: no chain of comparisons links "
        f"responses {a} and {b}, and yet their difference is as it was."
    )


def _stretched(other: Floats, reward: Floats) -> float:
    """The factor by which all differences have grown; 0 if they have no common one."""
    centred = _centred(reward)
    slope = float(centred @ _centred(other) / (centred @ centred))
    return slope if abs(_centred(other) - slope * centred).max() < 1e-9 else 0.0


def _broken(
    other: Floats, reward: Floats, arrows: NDArray[np.bool_], moved: NDArray[np.bool_]
) -> str:
    """Why the votes on a compared pair would no longer be the same."""
    if slope := _stretched(other, reward):
        if slope < 0:
            return "the ranking is upside down: now the losers win."
        return (
            "differences are stretched or shrunk: votes tell their size too, "
            "since a larger one is voted for more often."
        )
    one_way = _reachable(arrows)
    if (moved == ~(one_way & one_way.T)).all():
        return (
            "a pair with a single winner was compared as well: "
            "follow the comparisons, whoever won them."
        )
    a, b = np.argwhere(moved & (arrows | arrows.T))[0]
    before, after = expit(reward[a] - reward[b]), expit(other[a] - other[b])
    return (
        f"responses {a} and {b} were compared, but moved by different numbers: the probability "
        f"that {a} wins is now {after:.4f} instead of {before:.4f}."
    )


def _other_fault(answer: Any, rng: np.random.Generator) -> str | None:
    """Other rewards with the same votes: many are right, so the result is judged, not compared."""
    if not callable(answer):
        return function_fault(answer, _zero, [])
    faults: list[str] = []

    @wraps(answer)
    def judged(reward: Floats, wins: Floats) -> float | None:
        before = reward.copy(), wins.copy()
        other = answer(reward, wins)
        if is_blank(other):
            return None
        faults.extend(filter(None, [_votes_fault(other, *before)]))
        return 0.0

    return function_fault(judged, _zero, _ballots(rng)) or next(iter(faults), None)


def _zero(reward: Floats, wins: Floats) -> float:
    return 0.0


other_reward = Task("other_reward", _other_fault)

# --- 5 and 6 the printed formulas ---------------------------------------------------------------

# As functions of h[a, b], the log-ratio log(pi*/pi_ref) of a minus that of b, and beta.
PRINTED: dict[str, Function] = {
    "A": lambda h, b: b * h,
    "B": lambda h, b: expit(-b * h),
    "C": lambda h, b: -log_expit(b * b * h),
    "D": lambda h, b: -b * expit(-b * h),
}
# As functions of d[a, b], the reward of a minus that of b, and beta.
TRUE: dict[str, Function] = {
    "A": lambda d, b: d,
    "B": lambda d, b: expit(d),
    "C": lambda d, b: -log_expit(d),
    "D": lambda d, b: -b * expit(-d),
}
WRONG = {"B", "C"}


def _differences(x: Floats) -> Any:
    return x[:, None] - x


def _witness_fault(label: str, witness: Any) -> str | None:
    """Why a problem does not show that a printed formula is wrong."""
    if not isinstance(witness, tuple | list) or len(witness) != 3:
        return "expected three things: reward, ref, beta."
    reward, ref, b = witness
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            h = gibbs.log_optimal_policy(reward, ref, beta=b) - np.log(np.asarray(ref, float))
    except ValueError as error:
        return f"{error}."
    d = np.asarray(reward, dtype=float)
    if d.ndim != 1 or np.shape(ref) != d.shape or not np.isfinite(h).all():
        return "expected one prompt: as many rewards as references, all references above 0."
    if abs(d).max() > 100 or not 0.01 <= b <= 100:
        return (
            "stay within rewards of ±100 and beta from 0.01 to 100, where rounding plays no part."
        )
    miss = abs(PRINTED[label](_differences(h), b) - TRUE[label](_differences(d), b)).max()
    return None if miss >= 0.1 else _too_small(miss, d, b)


def _too_small(miss: float, reward: Floats, b: float) -> str:
    """Why a printed formula is right at these numbers, or nearly so."""
    if miss >= 1e-9:
        return f"at your numbers it is off by {miss:.2g} at most: make it 0.1 or more."
    if len(reward) == 1:
        return "a single response has no pair: take two or more."
    if np.ptp(reward) == 0:
        return "with equal rewards every vote is a coin flip: too easy to get right."
    if b == 1:
        return "beta = 1 hides whatever is wrong about beta: take another."
    return "at your numbers the printed formula gives what it should: this is no proof."


def _refuted_fault(answer: Any, _: np.random.Generator) -> str | None:
    """Which formulas are wrong, each with the numbers that prove it."""
    if is_blank(answer):
        return NOT_YET
    if not isinstance(answer, dict):
        return f"expected a dictionary {{label: (reward, ref, beta)}}, got {type(answer).__name__}."
    strange = [label for label in answer if label not in PRINTED]
    if strange:
        return f"the labels are 'A', 'B', 'C' and 'D'; what is {strange[0]!r}?"
    for label, witness in answer.items():
        fault = _witness_fault(label, witness)
        if fault is not None:
            return f"{label}: {fault}"
    if set(answer) != WRONG:
        return f"what is there is right, but two of the four are wrong: found {len(answer)}."
    return None


refuted = Task("refuted", _refuted_fault)


def _of(formula: Function) -> Function:
    """A formula in h and beta as a function of policies."""

    def values(policy: Floats, ref: Floats, *, beta: float) -> Any:
        return formula(_differences(np.log(policy / ref)), beta)

    return values


def _without_ref(formula: Function) -> Function:
    def values(policy: Floats, ref: Floats, *, beta: float) -> Any:
        return formula(_differences(np.log(policy)), beta)

    return values


REPAIRED = {"B": lambda h, b: expit(b * h), "C": lambda h, b: -log_expit(b * h)}
STILL_WRONG: dict[str, dict[str, Function]] = {
    "B": {
        "still upside down: what the policy prefers to its reference should win more often.": (
            _of(PRINTED["B"])
        ),
        "now beta is missing.": _of(lambda h, b: expit(h)),
        "now beta is counted twice.": _of(lambda h, b: expit(b * b * h)),
        "this is the difference of the rewards: where is sigma?": _of(lambda h, b: b * h),
        "now the reference is missing.": _without_ref(REPAIRED["B"]),
    },
    "C": {
        "as printed: which quantity in it holds a beta already?": _of(PRINTED["C"]),
        "now beta has gone altogether: one of the two must stay.": _of(lambda h, b: -log_expit(h)),
        "a loss is never negative: the logarithm of a probability needs a minus.": (
            _of(lambda h, b: log_expit(b * h))
        ),
        "this is the loss of the opposite vote.": _of(lambda h, b: -log_expit(-b * h)),
        "this is the probability of the vote, not its loss.": _of(REPAIRED["B"]),
        "a beta was taken out once too often: now it divides.": _of(lambda h, b: -log_expit(h / b)),
        "beta stands in front of the loss: it belongs inside sigma.": (
            _of(lambda h, b: -b * log_expit(h))
        ),
        "the loss has lost its reference.": _without_ref(REPAIRED["C"]),
        "a factor 2 makes it right at beta = 1/2 only: which quantity in it holds a beta?": (
            _of(lambda h, b: -log_expit(2 * b * b * h))
        ),
        "this is the mean loss over both outcomes, an entropy: here a beat b.": (
            _of(lambda h, b: -expit(b * h) * log_expit(b * h) - expit(-b * h) * log_expit(-b * h))
        ),
    },
}


def _policies(rng: np.random.Generator) -> list[Case]:
    return [
        case(_star(rng.normal(size=size), ref, b), ref, beta=b)
        for size, b in [(3, 0.4), (5, 2.5)]
        for ref in [rng.dirichlet(np.full(size, 3.0))]
    ]


def _repaired_fault(answer: Any, rng: np.random.Generator) -> str | None:
    """The two wrong formulas, put right."""
    if is_blank(answer):
        return NOT_YET
    if not isinstance(answer, dict):
        return f"expected a dictionary {{label: function}}, got {type(answer).__name__}."
    tried = _policies(rng)
    for label in sorted(map(str, answer)):
        if label not in WRONG:
            return f"{label}: nothing to repair there: it is right, or not one of the four."
        fault = function_fault(answer[label], _of(REPAIRED[label]), tried, STILL_WRONG[label])
        if fault is not None:
            return fault if fault == NOT_YET else f"{label}: {fault}"
    missing = len(WRONG - set(answer))
    return f"{missing} of the two wrong formulas not repaired yet." if missing else None


repaired = Task(
    "repaired",
    _repaired_fault,
    mistakes={
        f"{label}: {sentence}": {label: wrong}
        for label, mistakes in STILL_WRONG.items()
        for sentence, wrong in mistakes.items()
    },
)
