"""Assignment 6: no optimum, no connection, and a chosen response that falls."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, softmax

from dpo_edu import gibbs, preferences
from dpo_edu.grading import Case, OneOf, case, function_task, is_blank
from dpo_edu.policies import TabularPolicy
from dpo_edu.training import train_dpo

Floats = NDArray[np.float64]
Function = Callable[..., Any]

# --- 1 the best margin --------------------------------------------------------------------------


def _bottom(wins: float, losses: float, *, beta: float, smoothing: float = 0.0) -> float:
    """Where the slope of the loss changes its sign; infinite if it never does."""

    def slope(h: float) -> float:
        for_it = wins * (1 - smoothing) + losses * smoothing
        against = losses * (1 - smoothing) + wins * smoothing
        return float(against * expit(beta * h) - for_it * expit(-beta * h))

    far = 30 / beta
    if slope(-far) >= 0 or slope(far) <= 0:
        return np.inf if slope(0) < 0 else -np.inf
    return float(brentq(slope, -far, far, xtol=1e-14, rtol=1e-14))


def _share(wins: float, losses: float, smoothing: float = 0.0) -> float:
    p = np.float64(wins) / (wins + losses)  # as an array's entry, p / 0 is infinite
    return (1 - smoothing) * p + smoothing * (1 - p)


def _of_share(formula: Callable[[float, float], Any]) -> Any:
    """A margin that is a function of (smoothed share of wins, beta)."""

    def margin(wins: float, losses: float, *, beta: float, smoothing: float = 0.0) -> Any:
        return formula(_share(wins, losses, smoothing), beta)

    return margin


def _clipped(epsilon: float) -> Any:
    return _of_share(lambda p, b: logit(np.clip(p, epsilon, 1 - epsilon)) / b)


def _unsmoothed(wins: float, losses: float, *, beta: float, smoothing: float = 0.0) -> Any:
    return logit(_share(wins, losses)) / beta


def _smoothed_down(wins: float, losses: float, *, beta: float, smoothing: float = 0.0) -> Any:
    return logit(_share(wins, losses) * (1 - smoothing)) / beta


def _smoothed_to_half(wins: float, losses: float, *, beta: float, smoothing: float = 0.0) -> Any:
    return logit(_share(wins, losses) * (1 - smoothing) + smoothing / 2) / beta


def _shrunk(wins: float, losses: float, *, beta: float, smoothing: float = 0.0) -> Any:
    return (1 - 2 * smoothing) * logit(_share(wins, losses)) / beta


def _mixed(wins: float, losses: float, *, beta: float, smoothing: float = 0.0) -> Any:
    h = logit(_share(wins, losses)) / beta
    return (1 - smoothing) * h + smoothing * -h


def _flipped(wins: float, losses: float, *, beta: float, smoothing: float = 0.0) -> Any:
    return -logit(_share(wins, losses, smoothing)) / beta


def _duels(rng: np.random.Generator) -> list[Case]:
    """Counts of wins and losses, some smoothed, the last two unanimous."""
    few, many = rng.integers(1, 9, size=2).tolist()
    return [
        case(3, 1, beta=0.5),
        case(many, many, beta=0.5),
        case(few, few, beta=0.3, smoothing=0.1),
        case(few, few + many, beta=2.0),
        case(few + 0.5, many, beta=0.1, smoothing=0.2),
        case(few, 0, beta=0.1, smoothing=rng.uniform(0.05, 0.2)),
        case(0, many, beta=0.7, smoothing=0.3),
        case(few, 0, beta=0.1),
        case(0, many, beta=0.1),
    ]


best_margin = function_task(
    "best_margin",
    truth=_bottom,
    cases=_duels,
    mistakes={
        "the sign: a response that wins more often must get the larger log-ratio.": _flipped,
        "this is s = beta h: the loss fixes s, and h is asked for.": (
            _of_share(lambda p, b: logit(p))
        ),
        "beta multiplies: the longer the leash (the smaller beta), the larger h.": (
            _of_share(lambda p, b: logit(p) * b)
        ),
        "this is the share of wins: which s makes sigma(s) equal to it?": _of_share(lambda p, b: p),
        "this is log of the share: the votes against it pull too; use the odds.": (
            _of_share(lambda p, b: np.log(p) / b)
        ),
        "a tie asks for h = 0: nan comes from a quotient of zeros.": (
            lambda wins, losses, *, beta, smoothing=0.0: (
                np.nan if wins == losses else logit(_share(wins, losses, smoothing)) / beta
            )
        ),
        "a pseudo-vote is added to each side: these votes ask for what they are.": OneOf(
            lambda wins, losses, *, beta, smoothing=0.0, more=more: (
                logit(_share(wins + more, losses + more, smoothing)) / beta
            )
            for more in (0.5, 1.0)
        ),
        "this is infinite whenever nobody objects: smoothing makes it finite.": (
            lambda wins, losses, *, beta, smoothing=0.0: (
                logit(_share(wins, losses, smoothing if wins and losses else 0.0)) / beta
            )
        ),
        "the logarithm has base 10 or 2: log-ratios are in nats.": OneOf(
            [
                _of_share(lambda p, b: logit(p) / b / np.log(10)),
                _of_share(lambda p, b: logit(p) / b / np.log(2)),
            ]
        ),
        "this is sigma of a share: its inverse is asked for.": OneOf(
            [
                _of_share(lambda p, b: expit(p) / b),
                _of_share(lambda p, b: expit(p / b)),
                _of_share(lambda p, b: expit(b * p)),
            ]
        ),
        "this is the difference of the votes or the shares: the margin is its log-odds.": OneOf(
            [
                lambda wins, losses, *, beta, smoothing=0.0: (wins - losses) / beta,
                lambda wins, losses, *, beta, smoothing=0.0: (
                    (wins - losses) / (wins + losses) / beta
                ),
            ]
        ),
        "infinity has the wrong sign: where the first never wins there is no end downwards.": (
            lambda wins, losses, *, beta, smoothing=0.0: (
                np.inf
                if _share(wins, losses, smoothing) in (0, 1)
                else logit(_share(wins, losses, smoothing)) / beta
            )
        ),
        "this is a ratio: a margin is a difference of logarithms.": (
            _of_share(lambda p, b: p / (1 - p) / b)
        ),
        "beta is subtracted or added: it divides the log-odds.": OneOf(
            [
                _of_share(lambda p, b: logit(p) - b),
                _of_share(lambda p, b: logit(p) + b),
            ]
        ),
        "wins/losses is no share: logit takes wins/(wins + losses).": (
            lambda wins, losses, *, beta, smoothing=0.0: (
                logit(_share(np.float64(wins) / losses, 1 - np.float64(wins) / losses, smoothing))
                / beta
            )
        ),
        "smoothing changes nothing here: each vote counts as flipped at rate e.": _unsmoothed,
        "smoothing takes votes from the winner and must give them to the other.": _smoothed_down,
        "this mixes the votes with coin flips: a flipped vote goes to the other response.": (
            _smoothed_to_half
        ),
        "the smoothing is taken off the votes: each counts as flipped, so it is put on.": (
            lambda wins, losses, *, beta, smoothing=0.0: (
                logit(np.clip((_share(wins, losses) - smoothing) / (1 - 2 * smoothing), 0, 1))
                / beta
            )
        ),
        "the rate is added to the counts as if it were votes: it is the share that flips.": OneOf(
            lambda wins, losses, *, beta, smoothing=0.0, more=more: (
                logit(_share(wins + more(smoothing), losses + more(smoothing))) / beta
            )
            for more in (lambda e: e, lambda e: 2 * e, lambda e: e / 2)
        ),
        "shrinking the margin leaves it infinite: smooth the votes, then take the margin.": _shrunk,
        "two margins are mixed here: mix the votes or the losses, then take the margin.": _mixed,
        "unanimous votes have no best margin: it is infinite, so do not clip.": OneOf(
            _clipped(10.0**-n) for n in range(2, 17)
        ),
    },
)

# --- 2 the policy of IPO ------------------------------------------------------------------------


def _ipo(wins: float, losses: float, ref: Floats, *, tau: float) -> Any:
    """The policy at the bottom of a parabola through three points of the loss."""

    def loss(h: float) -> float:
        return wins * (h - 1 / (2 * tau)) ** 2 + losses * (-h - 1 / (2 * tau)) ** 2

    step = 1 / tau
    down, here, up = loss(-step), loss(0), loss(step)
    best = step * (down - up) / (2 * (down - 2 * here + up))
    return softmax(np.log(ref) + np.array([best, 0.0]))


def _tilted(margin: Callable[[float, float], float], *, against: bool = False) -> Any:
    """The reference tilted by a margin that depends on (share of wins, tau)."""

    def policy(wins: float, losses: float, ref: Floats, *, tau: float) -> Any:
        h = margin(wins / (wins + losses), tau)
        first = expit(logit(ref[0]) + (-h if against else h))
        return np.array([first, 1 - first])

    return policy


def _at_margin(ref: Floats, h: float) -> Any:
    return softmax(np.log(ref) + np.array([h, 0.0]))


def _ipo_without_reference(wins: float, losses: float, ref: Floats, *, tau: float) -> Any:
    return _ipo(wins, losses, np.full(2, 0.5), tau=tau)


def _ipo_as_target(wins: float, losses: float, ref: Floats, *, tau: float) -> Any:
    h = (2 * wins / (wins + losses) - 1) / (2 * tau)
    return np.array([expit(h), expit(-h)]) * ref


def _ipo_margin(wins: float, losses: float, ref: Floats, *, tau: float) -> Any:
    return (2 * wins / (wins + losses) - 1) / (2 * tau)


def _duels_of_a_reference(rng: np.random.Generator) -> list[Case]:
    few, many = rng.integers(1, 9, size=2).tolist()
    share = rng.uniform(0.2, 0.4)
    return [
        case(5, 0, np.array([0.5, 0.5]), tau=0.5),
        case(few, few + many, np.array([share, 1 - share]), tau=1.0),
        case(0, many, np.array([1 - share, share]), tau=0.25),
        case(few + many, few, np.array([0.5, 0.5]), tau=0.8),
    ]


ipo_policy = function_task(
    "ipo_policy",
    truth=_ipo,
    cases=_duels_of_a_reference,
    tolerance=1e-7,
    mistakes={
        "the votes against it are forgotten: they ask for the margin with the other sign.": (
            _tilted(lambda p, t: 1 / (2 * t))
        ),
        "this weighs the votes for it only: those against it ask for -1/(2 tau), not for 0.": (
            _tilted(lambda p, t: p / (2 * t))
        ),
        "the margin is twice too large: is the 2 beside tau missing, or did one response get h "
        "and the other -h?": _tilted(lambda p, t: (2 * p - 1) / t),
        "the votes ask for their mean, not their sum: divide by wins + losses.": (
            lambda w, x, ref, *, tau: _at_margin(ref, (w - x) / (2 * tau))
        ),
        "this does not sum to 1: divide by the sum of the two.": OneOf(
            [
                lambda w, x, ref, *, tau: ref * np.exp([_ipo_margin(w, x, ref, tau=tau), 0.0]),
                lambda w, x, ref, *, tau: (
                    ref * np.exp(np.array([0.5, -0.5]) * _ipo_margin(w, x, ref, tau=tau))
                ),
            ]
        ),
        "ref[0] exp(h) is a weight, not a probability yet: divide by the sum of both weights.": (
            lambda w, x, ref, *, tau: (
                np.array([0, 1])
                + np.array([1, -1]) * ref[0] * np.exp(_ipo_margin(w, x, ref, tau=tau))
            )
        ),
        "two policies are averaged here: the mean is to be taken of the margins.": (
            lambda w, x, ref, *, tau: (
                (w * _at_margin(ref, 1 / (2 * tau)) + x * _at_margin(ref, -1 / (2 * tau))) / (w + x)
            )
        ),
        "this is the share of the votes: IPO asks for a margin.": (
            lambda w, x, ref, *, tau: np.array([w, x]) / (w + x)
        ),
        "this is DPO's policy or its chance: IPO's loss is a parabola.": (
            lambda w, x, ref, *, tau: _at_margin(ref, logit(w / (w + x)))
        ),
        "this is the reference: the votes must move it.": lambda w, x, ref, *, tau: ref,
        "the exponential is missing: h is a difference of logarithms.": (
            lambda w, x, ref, *, tau: (
                ref
                * np.array([_ipo_margin(w, x, ref, tau=tau), 1.0])
                / (ref * np.array([_ipo_margin(w, x, ref, tau=tau), 1.0])).sum()
            )
        ),
        "the reference is added: it multiplies exp(h).": (
            lambda w, x, ref, *, tau: softmax(ref + np.array([_ipo_margin(w, x, ref, tau=tau), 0]))
        ),
        "tau multiplies: a small tau is a long leash and asks for a large margin.": OneOf(
            [
                _tilted(lambda p, t: (2 * p - 1) * 2 * t),
                _tilted(lambda p, t: (2 * p - 1) * t / 2),
            ]
        ),
        "the reference is missing: the margin is one between log-ratios.": _ipo_without_reference,
        "the responses are swapped: the first is the one that wins `wins` times.": (
            _tilted(lambda p, t: (2 * p - 1) / (2 * t), against=True)
        ),
        "this is the margin: turn it into two probabilities.": _ipo_margin,
        "this does not sum to 1: normalise after multiplying by the reference.": _ipo_as_target,
        "the majority decides here: the best h is the mean of what the votes ask for.": (
            _tilted(lambda p, t: np.sign(2 * p - 1) / (2 * t))
        ),
        "the reference divides: it multiplies exp(h).": (
            lambda w, x, ref, *, tau: softmax(
                np.array([_ipo_margin(w, x, ref, tau=tau), 0.0]) - np.log(ref)
            )
        ),
        "half the margin only: h is the difference of the two log-ratios.": (
            _tilted(lambda p, t: (2 * p - 1) / (4 * t))
        ),
        "this is DPO's margin, infinite for unanimous votes: IPO's loss is a parabola.": OneOf(
            [
                _tilted(lambda p, t: logit(p) / t),
                _tilted(lambda p, t: logit(p) / (2 * t)),
                _tilted(lambda p, t: logit(p) * t),
            ]
        ),
    },
)

# --- 3 what votes can tell ----------------------------------------------------------------------


def _known(wins: Floats) -> Any:
    """Which differences the votes' information matrix can see: linear algebra, no graph."""
    met = wins + wins.T
    laplacian = np.diag(met.sum(axis=1)) - met
    seen = np.linalg.pinv(laplacian) @ laplacian
    gap = np.eye(len(wins))[:, None] - np.eye(len(wins))
    return np.abs(gap @ seen - gap).max(axis=-1) < 1e-6


def _walks(wins: Floats, *, both_ways: bool, most: int) -> Any:
    step = (wins > 0) | np.eye(len(wins), dtype=bool)
    step = step | step.T if both_ways else step
    return np.linalg.matrix_power(step.astype(float), most) > 0


def _reach(wins: Floats) -> Any:
    return _walks(wins, both_ways=False, most=len(wins))


def _ever_compared(wins: Floats) -> Any:
    seen = (wins + wins.T).sum(axis=1) > 0
    return np.logical_and.outer(seen, seen) | np.eye(len(wins), dtype=bool)


def _labels(wins: Floats) -> Any:
    groups = preferences.components(wins)
    return np.array([next(k for k, g in enumerate(groups) if y in g) for y in range(len(wins))])


def _in_part(wins: Floats, number: int) -> Any:
    part = preferences.components(wins)[number]
    inside = np.isin(np.arange(len(wins)), part)
    return np.logical_and.outer(inside, inside)


def _largest_part(wins: Floats) -> Any:
    part = max(preferences.components(wins), key=len)
    inside = np.isin(np.arange(len(wins)), part)
    return np.logical_and.outer(inside, inside)


def _exactly(wins: Floats, steps: int) -> Any:
    """Which responses so many steps lead to, no fewer."""
    return np.linalg.matrix_power((wins + wins.T > 0).astype(float), steps) > 0


def _one_pass(wins: Floats) -> Any:
    """Chains joined in three nested loops, the response between in the innermost."""
    known = _walks(wins, both_ways=True, most=1)
    for i, j, between in np.ndindex(len(wins), len(wins), len(wins)):
        known[i, j] |= known[i, between] & known[between, j]
    return known


def _counted(wins: Floats) -> Any:
    """All differences, or none, by the number of pairs that were compared."""
    enough = np.triu(wins + wins.T > 0).sum() >= len(wins) - 1
    return np.eye(len(wins), dtype=bool) | enough


def _coverage(rng: np.random.Generator) -> list[Case]:
    """A long chain of one-sided votes, islands, a response that nobody compared.

    In the bent chain 0 - 2 - 3 - 1 one response loses to both of its neighbours, and one pair has
    as many wins as losses.
    """
    bent = np.zeros((5, 5))
    bent[[0, 3, 3, 1], [2, 2, 1, 3]] = [1, 2, 1, 1]
    chain = np.diag(np.ones(6), 1)
    order = rng.permutation(7)
    islands = np.zeros((6, 6))
    islands[[0, 1, 2, 4], [1, 0, 3, 2]] = [3, 1, 0.5, 2]
    shuffled = rng.permutation(6)
    whole = rng.integers(1, 5, size=(4, 4)) * (1.0 - np.eye(4))
    hermits = np.zeros((5, 5))
    hermits[[2, 3, 4], [3, 4, 2]] = [1, 2, 1]
    return [
        case(islands),
        case(hermits),
        case(bent),
        case(chain[np.ix_(order, order)]),
        case(islands[np.ix_(shuffled, shuffled)]),
        case(whole),
        case(np.zeros((3, 3))),
    ]


identified = function_task(
    "identified",
    truth=_known,
    cases=_coverage,
    mistakes={
        "only direct comparisons count here: what do 0 > 1 and 1 > 2 say about 0 and 2?": OneOf(
            [
                lambda w: _walks(w, both_ways=True, most=1),
                lambda w: (w + w.T) > 0,
            ]
        ),
        "short chains of votes are followed, longer ones are not.": OneOf(
            [
                lambda w: _walks(w, both_ways=True, most=2),
                lambda w: _walks(w, both_ways=True, most=3),
                lambda w: _walks(w, both_ways=True, most=4),
            ]
        ),
        "wins are followed one way only: a vote compares both of its responses.": _reach,
        "wins are followed down or up only: two that beat the same one, or lost to it, are "
        "compared by it.": lambda w: _reach(w) | _reach(w).T,
        "as many wins as losses tell something too: that two rewards are equal.": (
            lambda w: _known(w * (w != w.T))
        ),
        "chains of exactly so many steps count here: shorter ones must count too.": OneOf(
            [
                lambda w: _exactly(w, len(w) - 1),
                lambda w: _exactly(w, len(w) - 1) | np.eye(len(w), dtype=bool),
                lambda w: _exactly(w, len(w)),
                lambda w: _exactly(w, len(w)) | np.eye(len(w), dtype=bool),
            ]
        ),
        "some chains are missed: of three nested loops, that over the response between is the "
        "outermost.": _one_pass,
        "the number of compared pairs does not decide: which differences do chains tell?": _counted,
        "this asks for wins in both directions, as a finite estimate does; "
        "to tell a difference one vote is enough.": lambda w: _reach(w) & _reach(w).T,
        "the diagonal: the difference of a reward to itself is known.": (
            lambda w: _known(w) & ~np.eye(len(w), dtype=bool)
        ),
        "a response that nobody compared is known beside itself: the diagonal is True.": (
            lambda w: _known(w) & ~np.diag((w + w.T).sum(axis=1) == 0)
        ),
        "only one part is marked: all of them are islands on their own.": OneOf(
            [
                lambda w: _in_part(w, 0),
                lambda w: _in_part(w, 0) | np.eye(len(w), dtype=bool),
                lambda w: _in_part(w, -1),
                lambda w: _largest_part(w),
                lambda w: _largest_part(w) | np.eye(len(w), dtype=bool),
            ]
        ),
        "this is True everywhere: what no chain of votes connects is not known.": (
            lambda w: np.ones(w.shape, dtype=bool)
        ),
        "this is False everywhere, but for the diagonal: chains of votes tell differences.": OneOf(
            [lambda w: np.eye(len(w), dtype=bool), lambda w: np.zeros(w.shape, dtype=bool)]
        ),
        "this counts votes or comparisons: only True and False are asked for.": OneOf(
            [lambda w: w, lambda w: w + w.T]
        ),
        "only pairs with votes in both directions count here: one vote is enough.": OneOf(
            [
                lambda w: (w > 0) & (w.T > 0),
                lambda w: ((w > 0) & (w.T > 0)) | np.eye(len(w), dtype=bool),
                lambda w: _walks(w * (w.T > 0), both_ways=True, most=len(w)),
            ]
        ),
        "True and False are swapped.": lambda w: ~_known(w),
        "two responses may both have been compared, and never with the same part.": _ever_compared,
        "this says which part each response is in: compare these for every two of them.": _labels,
    },
)

# --- 4 twins ------------------------------------------------------------------------------------


def _in(policy: Floats, group: Sequence[int]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.zeros(len(policy), dtype=bool)
    inside[list(group)] = True
    return inside


def _twin(policy: Floats, group: Sequence[int], mass: float) -> Any:
    """One number added to the group's logits, found by bisection."""
    inside = _in(policy, group)

    def excess(shift: float) -> float:
        return float(softmax(np.log(policy) + shift * inside)[inside].sum() - mass)

    return softmax(np.log(policy) + inside * brentq(excess, -50, 50, xtol=1e-14))


def _spread(policy: Floats, group: Sequence[int], mass: float) -> Any:
    inside = _in(policy, group)
    return np.where(inside, mass / inside.sum(), (1 - mass) / (~inside).sum())


def _spread_inside(policy: Floats, group: Sequence[int], mass: float) -> Any:
    return np.where(_in(policy, group), _spread(policy, group, mass), _twin(policy, group, mass))


def _spread_outside(policy: Floats, group: Sequence[int], mass: float) -> Any:
    return np.where(_in(policy, group), _twin(policy, group, mass), _spread(policy, group, mass))


def _group_alone(policy: Floats, group: Sequence[int], mass: float) -> Any:
    return np.where(_in(policy, group), _twin(policy, group, mass), policy)


def _renormalised(policy: Floats, group: Sequence[int], mass: float) -> Any:
    new = _group_alone(policy, group, mass)
    return new / new.sum()


def _added(policy: Floats, group: Sequence[int], mass: float) -> Any:
    inside = _in(policy, group)
    more = mass - policy[inside].sum()
    return policy + np.where(inside, more / inside.sum(), -more / (~inside).sum())


def _added_to_each(policy: Floats, group: Sequence[int], mass: float) -> Any:
    new = policy + mass * _in(policy, group)
    return new / new.sum()


def _two_factors(policy: Floats, group: Sequence[int], mass: float) -> Any:
    return np.where(_in(policy, group), mass, 1 - mass) * policy


def _two_factors_normalised(policy: Floats, group: Sequence[int], mass: float) -> Any:
    new = _two_factors(policy, group, mass)
    return new / new.sum()


def _groups(rng: np.random.Generator) -> list[Case]:
    return [
        case(np.array([0.1, 0.2, 0.3, 0.4]), [2, 3], 0.9),
        case(rng.dirichlet(np.full(5, 3.0)), [0, 3], 0.25),
        case(rng.dirichlet(np.full(4, 3.0)), [1], rng.uniform(0.5, 0.9)),
        case(rng.dirichlet(np.full(7, 3.0)), [6, 0, 3, 2], rng.uniform(0.7, 0.9)),
        case(rng.dirichlet(np.full(6, 3.0)), [4, 1, 2], rng.uniform(0.05, 0.15)),
    ]


twin = function_task(
    "twin",
    truth=_twin,
    cases=_groups,
    mistakes={
        "probability is spread evenly in a part: its votes would notice. What must stay there?": (
            OneOf([_spread, _spread_inside, _spread_outside])
        ),
        "this is the policy that came in: the group must get `mass`.": lambda p, g, m: p,
        "the group is as it was: it must get `mass`, and the rest what is left.": OneOf(
            [
                lambda p, g, m: np.where(_in(p, g), p, _twin(p, g, m)),
            ]
        ),
        "each response of the group gets all of `mass`: they share it.": OneOf(
            [
                lambda p, g, m: np.where(_in(p, g), m, _twin(p, g, m)),
                lambda p, g, m: np.where(_in(p, g), m, p),
            ]
        ),
        "the rest is zero: it keeps 1 - mass, in the old proportions.": (
            lambda p, g, m: np.where(_in(p, g), _twin(p, g, m), 0)
        ),
        "this adds `mass` to the logits of the group: which number gives it that mass?": (
            lambda p, g, m: softmax(np.log(p) + m * _in(p, g))
        ),
        "these are logarithms: the policy is asked for.": lambda p, g, m: np.log(_twin(p, g, m)),
        "the first responses are taken for the group: `group` says which ones they are.": (
            lambda p, g, m: _twin(p, range(len(g)), m)
        ),
        "logarithms are multiplied here: the factors belong to the probabilities.": (
            lambda p, g, m: softmax(np.log(p) * _twin(p, g, m) / p)
        ),
        "the rest is as before, so this does not sum to 1: it must shrink or grow (is its mass "
        "read before the group is changed?).": _group_alone,
        "normalising at the end moved the mass of the group away from `mass`.": _renormalised,
        "the group has the mass of the rest: are the two swapped?": (
            lambda p, g, m: _twin(p, g, 1 - m)
        ),
        "a number was added: votes see ratios of probabilities, and these have changed.": OneOf(
            [_added, _added_to_each]
        ),
        "the factor of a part: divide by the mass that it has now.": _two_factors,
        "the factor of a part must also divide by the mass that it has now.": (
            _two_factors_normalised
        ),
    },
)

# --- 5 features that drag the chosen response down ----------------------------------------------


def _moves(features: ArrayLike, policy: Floats, chosen: int, rejected: int) -> Any:
    """Signs of the changes of the two log-probabilities, by a derivative along a complex step."""
    f = np.asarray(features, dtype=np.float64)
    step = f[chosen] - f[rejected]
    z = np.log(policy) + 1e-30j * (f @ step) / max(step @ step, 1e-300)
    change = (z - np.log(np.exp(z).sum())).imag[[chosen, rejected]] / 1e-30
    return np.where(np.abs(change) < 1e-9, 0, np.sign(change))


def _outcome(answer: Function) -> Function:
    """What the features that an answer gives do to the two responses."""

    def outcome(policy: Floats, chosen: int, rejected: int) -> Any:
        features = answer(policy, chosen, rejected)
        if is_blank(features):
            return features
        rows = np.array(features, dtype=np.float64)
        if rows.ndim != 2 or len(rows) != len(policy) or not np.isfinite(rows).all():
            raise ValueError(f"features must be finite, of shape ({len(policy)}, K)")
        return _moves(rows, policy, chosen, rejected)

    return outcome


def _both_fall(policy: Floats, chosen: int, rejected: int) -> Any:
    return np.array([-1.0, -1.0])


def _others_at(place: Callable[[float, float], float]) -> Function:
    """One feature: 1 for the chosen response, 0 for the rejected, `place` for all others.

    The place depends on the probability of the chosen response and that of all others together.
    """

    def features(policy: Floats, chosen: int, rejected: int) -> Any:
        others = 1 - policy[chosen] - policy[rejected]
        column = np.full((len(policy), 1), place(policy[chosen], others))
        column[chosen], column[rejected] = 1, 0
        return column

    return features


def _steps(rng: np.random.Generator) -> list[Case]:
    """Policies with a chosen and a rejected response; in some of them the others are rare."""
    return [
        case(np.full(4, 0.25), 0, 1),
        case(rng.dirichlet(np.full(5, 4.0)), 3, 1),
        case(np.array([0.02, 0.9, 0.08]) + rng.uniform(0, 0.004) * np.array([1, -1, 0]), 1, 0),
        case(np.array([0.01, 0.01, 0.98]), 0, 1),
        case(np.array([0.55, 0.44, 0.004, 0.006]), 1, 0),
    ]


def _how_often(answer: Function, fault: str | None, cases: list[Case]) -> str | None:
    """Features without a known mistake are told for how many policies they do it."""
    if fault is None or not fault.startswith("for "):
        return fault
    if (said := _ignoring(answer)) is not None:
        return said
    moves = [at.of(_outcome(answer)) for at in cases]
    falls = [bool((move < 0).all()) for move in moves]
    at, move = next(
        (at, move) for at, move, fall in zip(cases, moves, falls, strict=True) if not fall
    )
    how = {1: "rises", 0: "stands still", -1: "falls"}
    rare = (
        ": where the others are rare, they must stand out more"
        if all(falls[place] for place in OFTEN)
        else ""
    )
    return (
        f"both fall for {sum(falls)} of {len(falls)} policies{rare}; "
        f"for {at.in_words(_both_fall)} the chosen response {how[int(move[0])]}, "
        f"the rejected one {how[int(move[1])]}{_why(move)}."
    )


def _why(move: Floats) -> str:
    """What the features lack if only the chosen response does not fall."""
    below = move[0] >= 0 > move[1]
    return ": the mean feature must lie beyond that of the chosen" if below else ""


OFTEN = [0, 1, 3]  # the policies of which the others are not rare


def _ignoring(answer: Function) -> str | None:
    """Whether the features depend on chance, or not on who is chosen and rejected."""
    policy = np.array([0.4, 0.3, 0.2, 0.1])
    pairs = [(0, 1), (0, 1), (1, 0), (2, 3)]
    try:
        first, again, *others = [np.array(answer(policy.copy(), *pair), float) for pair in pairs]
    except Exception:  # then there is something else to say about it
        return None
    if not np.array_equal(first, again):
        return "the same arguments give other features the next time: no random numbers."
    if all(np.array_equal(first, other) for other in others):
        return "the features are the same whoever is chosen and rejected: use these arguments."
    return None


dragging_features = function_task(
    "dragging_features",
    truth=_both_fall,
    cases=_steps,
    tolerance=0,
    through=_outcome,
    then=_how_often,
    mistakes={
        "nothing moves: chosen and rejected have the same features.": (
            lambda policy, chosen, rejected: np.ones((len(policy), 1))
        ),
        "the rejected response falls, but the chosen one still rises: is the mean feature under "
        "the policy beyond that of the chosen response?": (
            lambda policy, chosen, rejected: np.eye(len(policy))
        ),
        "both rise: the others must move with the step, not against it (are the two swapped?).": (
            _others_at(lambda p, others: -2 * p / others)
        ),
        "the chosen response stands still: a little more of the same.": (
            _others_at(lambda p, others: (1 - p) / others)
        ),
        "the rejected response stands still, and the chosen one rises.": (
            _others_at(lambda p, others: -p / others)
        ),
    },
)

# --- 6 the repair -------------------------------------------------------------------------------


def _trained(wins: Floats, ref: Floats, *, beta: float, extra: float) -> Any:
    """What DPO learns from the votes and the added ones."""
    votes = wins + extra * _pairs(wins)
    run = train_dpo(TabularPolicy(ref), ref, votes[None], beta=beta, device="cpu")
    return np.exp(run.log_probs[0])


def _pairs(wins: Floats) -> Floats:
    """1 for every two different responses."""
    return np.asarray(1 - np.eye(len(wins)))


def _fitted(more: Callable[[Floats, float], Any]) -> Function:
    """The repair with other votes added."""

    def policy(wins: Floats, ref: Floats, *, beta: float, extra: float) -> Any:
        try:
            reward = preferences.fit_bradley_terry(wins + more(wins, extra))
        except ValueError:
            return None  # no estimate: no answer is like this one
        return gibbs.optimal_policy(reward, ref, beta=beta)

    return policy


def _repaired_reward(wins: Floats, extra: float) -> Any:
    return preferences.fit_bradley_terry(wins + extra * _pairs(wins))


def _repaired_rates(wins: Floats, extra: float) -> Any:
    return (wins + extra) / (wins + wins.T + 2 * extra) * _pairs(wins)


def _shares(wins: Floats, ref: Floats, *, beta: float, extra: float) -> Any:
    votes = (wins + extra * _pairs(wins)).sum(axis=1)
    return votes / votes.sum()


def _broken(rng: np.random.Generator) -> list[Case]:
    """Votes without a finite optimum: unanimous, in two islands, with a response never compared."""
    unanimous = np.array([[0.0, 4, 1], [0, 0, 2], [0, 0, 0]])
    islands = np.zeros((5, 5))
    islands[[0, 1, 2], [1, 0, 3]] = rng.integers(1, 6, size=3)
    return [
        case(unanimous, np.full(3, 1 / 3), beta=0.5, extra=0.5),
        case(islands, rng.dirichlet(np.full(5, 3.0)), beta=2.0, extra=0.1),
        case(unanimous * rng.integers(1, 4), np.array([0.2, 0.3, 0.5]), beta=0.8, extra=2.0),
    ]


def _descended(steps: int, rate: float) -> Function:
    """The repair with a fit of so many steps down the mean loss."""

    def policy(wins: Floats, ref: Floats, *, beta: float, extra: float) -> Any:
        votes = wins + extra * _pairs(wins)
        r = np.zeros(len(wins))
        for _ in range(steps):
            pull = votes * expit(r[None, :] - r[:, None])
            r = r + rate * (pull.sum(axis=1) - pull.sum(axis=0)) / votes.sum()
        return _tilted_by(r, ref, beta)

    return policy


def _tilted_by(reward: Floats, ref: Floats, beta: float) -> Any:
    return softmax(np.log(ref) + reward / beta)


def _no_fit(answer: Function, fault: str | None, cases: list[Case]) -> str | None:
    """Votes that cannot be fitted are told what they lack."""
    for said, sentence in UNFIT.items():
        if fault and said in fault:
            return sentence
    return fault


UNFIT = {
    "connected comparison graph": "the fit raises ValueError, as some responses are not connected "
    "yet: pairs that nobody compared get `extra` wins too.",
    "no finite estimate": "the fit raises ValueError, as some responses never lost to the others: "
    "in every pair both get `extra` wins.",
}

repaired = function_task(
    "repaired",
    truth=_trained,
    cases=_broken,
    tolerance=1e-6,
    then=_no_fit,
    mistakes={
        "half of the extra votes are missing: `extra` wins are added in each direction.": (
            _fitted(lambda w, e: e / 2 * _pairs(w))
        ),
        "pairs that already have votes get extra ones too: the prior is the same for all.": (
            _fitted(lambda w, e: e * _pairs(w) * (w == 0))
        ),
        "the extra wins are divided among the pairs: each gets all of `extra`.": (
            _fitted(lambda w, e: e * _pairs(w) / _pairs(w).sum())
        ),
        "this ignores `extra`: is a whole or half a win written in?": OneOf(
            [
                _fitted(lambda w, e: _pairs(w)),
                _fitted(lambda w, e: _pairs(w) / 2),
            ]
        ),
        "winners and losers are swapped: wins[i, j] says how often i beat j.": (
            lambda w, ref, *, beta, extra: _trained(w.T, ref, beta=beta, extra=extra)
        ),
        "the reference is missing: the policy is the reference tilted by the rewards.": (
            lambda w, ref, *, beta, extra: softmax(_repaired_reward(w, extra) / beta)
        ),
        "this is a softmax of the rewards: where are the reference and beta?": (
            lambda w, ref, *, beta, extra: softmax(_repaired_reward(w, extra))
        ),
        "win rates are fitted here: a pair with more votes must weigh more.": (
            lambda w, ref, *, beta, extra: _tilted_by(
                preferences.fit_bradley_terry(_repaired_rates(w, extra)), ref, beta
            )
        ),
        "log-odds are averaged here, however many votes they are from: fit rewards.": (
            lambda w, ref, *, beta, extra: _tilted_by(
                np.log((w + extra) / (w.T + extra)).mean(axis=1), ref, beta
            )
        ),
        "the extra wins go by the reference: every response gets `extra`.": OneOf(
            lambda w, ref, *, beta, extra, size=size: _tilted_by(
                preferences.fit_bradley_terry(w + extra * size(ref) * ref[:, None] * _pairs(w)),
                ref,
                beta,
            )
            for size in (len, lambda ref: 1)
        ),
        "the fit has not arrived: so few small steps end short of the rewards that fit.": OneOf(
            _descended(steps, rate) for steps in (10, 100) for rate in (0.1, 0.5, 1.0)
        ),
        "beta multiplies the rewards: it must divide them.": (
            lambda w, ref, *, beta, extra: _trained(w, ref, beta=1 / beta, extra=extra)
        ),
        "beta is missing.": lambda w, ref, *, beta, extra: _trained(w, ref, beta=1.0, extra=extra),
        "these are the rewards: the policy is asked for.": (
            lambda w, ref, *, beta, extra: _repaired_reward(w, extra)
        ),
        "these are logarithms: the policy is asked for.": (
            lambda w, ref, *, beta, extra: np.log(_tilted_by(_repaired_reward(w, extra), ref, beta))
        ),
        "all wins against all losses mix strong opponents with weak ones: fit rewards.": (
            lambda w, ref, *, beta, extra: _tilted_by(
                np.log((w + extra * _pairs(w)).sum(axis=1) / (w + extra * _pairs(w)).sum(axis=0)),
                ref,
                beta,
            )
        ),
        "these are shares of the wins: a win over a strong response says more; fit rewards.": (
            _shares
        ),
    },
)
