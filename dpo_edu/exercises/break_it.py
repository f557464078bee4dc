"""Assignment 6: no optimum, no connection, and a chosen response that falls."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_softmax, logit, softmax

from dpo_edu import gibbs, preferences
from dpo_edu.exercises.tasks import Case, case, function_fault, is_blank, task
from dpo_edu.policies import TabularPolicy
from dpo_edu.training import train_dpo

Floats = NDArray[np.float64]


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


@task
def best_margin(answer: Any, rng: np.random.Generator) -> str | None:
    """The margin at which the mean loss of two responses' votes is least."""
    mistakes = [
        ("the sign: a response that wins more often must get the larger log-ratio.", _flipped),
        (
            "this is s = beta h: the loss fixes s, and h is asked for.",
            _of_share(lambda p, b: logit(p)),
        ),
        (
            "beta multiplies: the longer the leash (the smaller beta), the larger h.",
            _of_share(lambda p, b: logit(p) * b),
        ),
        ("this is the share of wins: which s makes sigma(s) equal to it?", _of_share(_only_share)),
        (
            "this is log of the share: the votes against it pull too; use the odds.",
            _of_share(lambda p, b: np.log(p) / b),
        ),
        (
            "this is a ratio: a margin is a difference of logarithms.",
            _of_share(lambda p, b: p / (1 - p) / b),
        ),
        ("smoothing changes nothing here: each vote counts as flipped at rate e.", _unsmoothed),
        (
            "smoothing takes votes from the winner and must give them to the other.",
            _smoothed_down,
        ),
        (
            "this mixes the votes with coin flips: a flipped vote goes to the other response.",
            _smoothed_to_half,
        ),
        (
            "shrinking the margin leaves it infinite: smooth the votes, then take the margin.",
            _shrunk,
        ),
    ]
    mistakes += [
        ("unanimous votes have no best margin: it is infinite, so do not clip.", _clipped(10.0**-n))
        for n in range(2, 17)
    ]
    few, many = rng.integers(1, 9, size=2).tolist()
    cases = [
        case(3, 1, beta=0.5),
        case(few, few + many, beta=2.0),
        case(few + 0.5, many, beta=0.1, smoothing=0.2),
        case(few, 0, beta=0.1, smoothing=rng.uniform(0.05, 0.2)),
        case(0, many, beta=0.7, smoothing=0.3),
        case(few, 0, beta=0.1),
        case(0, many, beta=0.1),
    ]
    return function_fault(answer, _bottom, cases, mistakes)


def _flipped(wins: float, losses: float, *, beta: float, smoothing: float = 0.0) -> Any:
    return -logit(_share(wins, losses, smoothing)) / beta


def _only_share(p: float, beta: float) -> float:
    return p


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


def _ipo_without_reference(wins: float, losses: float, ref: Floats, *, tau: float) -> Any:
    return _ipo(wins, losses, np.full(2, 0.5), tau=tau)


def _ipo_as_target(wins: float, losses: float, ref: Floats, *, tau: float) -> Any:
    h = (2 * wins / (wins + losses) - 1) / (2 * tau)
    return np.array([expit(h), expit(-h)]) * ref


def _ipo_margin(wins: float, losses: float, ref: Floats, *, tau: float) -> Any:
    return (2 * wins / (wins + losses) - 1) / (2 * tau)


@task
def ipo_policy(answer: Any, rng: np.random.Generator) -> str | None:
    """The policy over two responses at which the mean IPO loss is least."""
    mistakes = [
        (
            "the votes against it are forgotten: they ask for the margin with the other sign.",
            _tilted(lambda p, t: 1 / (2 * t)),
        ),
        (
            "this weighs the votes for it only: those against it ask for -1/(2 tau), not for 0.",
            _tilted(lambda p, t: p / (2 * t)),
        ),
        ("the 2 beside tau is missing.", _tilted(lambda p, t: (2 * p - 1) / t)),
        (
            "tau multiplies: a small tau is a long leash and asks for a large margin.",
            _tilted(lambda p, t: (2 * p - 1) * 2 * t),
        ),
        (
            "tau multiplies: a small tau is a long leash and asks for a large margin.",
            _tilted(lambda p, t: (2 * p - 1) * t / 2),
        ),
        (
            "the reference is missing: the margin is one between log-ratios.",
            _ipo_without_reference,
        ),
        (
            "the responses are swapped: the first is the one that wins `wins` times.",
            _tilted(lambda p, t: (2 * p - 1) / (2 * t), against=True),
        ),
        ("this is the margin: turn it into two probabilities.", _ipo_margin),
        ("this does not sum to 1: normalise after multiplying by the reference.", _ipo_as_target),
        (
            "half the margin only: h is the difference of the two log-ratios.",
            _tilted(lambda p, t: (2 * p - 1) / (4 * t)),
        ),
        (
            "this is DPO's margin, infinite for unanimous votes: IPO's loss is a parabola.",
            _tilted(lambda p, t: logit(p) / t),
        ),
    ]
    few, many = rng.integers(1, 9, size=2).tolist()
    share = rng.uniform(0.2, 0.4)
    cases = [
        case(5, 0, np.array([0.5, 0.5]), tau=0.5),
        case(few, few + many, np.array([share, 1 - share]), tau=1.0),
        case(0, many, np.array([1 - share, share]), tau=0.25),
        case(few + many, few, np.array([0.5, 0.5]), tau=0.8),
    ]
    return function_fault(answer, _ipo, cases, mistakes, tolerance=1e-7)


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


def _coverage(rng: np.random.Generator) -> list[Case]:
    """A long chain of one-sided votes, islands, a response that nobody compared."""
    chain = np.diag(np.ones(6), 1)
    order = rng.permutation(7)
    islands = np.zeros((6, 6))
    islands[[0, 1, 2, 4], [1, 0, 3, 2]] = [3, 1, 0.5, 2]
    shuffled = rng.permutation(6)
    whole = rng.integers(1, 5, size=(4, 4)) * (1.0 - np.eye(4))
    return [
        case(islands),
        case(chain[np.ix_(order, order)]),
        case(islands[np.ix_(shuffled, shuffled)]),
        case(whole),
        case(np.zeros((3, 3))),
    ]


@task
def identified(answer: Any, rng: np.random.Generator) -> str | None:
    """Which differences of rewards the votes can tell."""
    direct = "only direct comparisons count here: what do 0 > 1 and 1 > 2 say about 0 and 2?"
    mistakes = [
        (direct, lambda w: _walks(w, both_ways=True, most=1)),
        (direct, lambda w: (w + w.T) > 0),
        (
            "chains of two votes are followed, longer ones are not.",
            lambda w: _walks(w, both_ways=True, most=2),
        ),
        ("wins are followed one way only: a vote compares both of its responses.", _reach),
        (
            "this asks for wins in both directions, as a finite estimate does; "
            "to tell a difference one vote is enough.",
            lambda w: _reach(w) & _reach(w).T,
        ),
        ("the diagonal: the difference of a reward to itself is known.", _without_diagonal),
        ("True and False are swapped.", lambda w: ~_known(w)),
        (
            "two responses may both have been compared, and never with the same part.",
            _ever_compared,
        ),
        (
            "this says which part each response is in: compare these for every two of them.",
            _labels,
        ),
    ]
    return function_fault(answer, _known, _coverage(rng), mistakes)


def _without_diagonal(wins: Floats) -> Any:
    return _known(wins) & ~np.eye(len(wins), dtype=bool)


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


def _two_factors(policy: Floats, group: Sequence[int], mass: float) -> Any:
    return np.where(_in(policy, group), mass, 1 - mass) * policy


def _two_factors_normalised(policy: Floats, group: Sequence[int], mass: float) -> Any:
    new = _two_factors(policy, group, mass)
    return new / new.sum()


@task
def twin(answer: Any, rng: np.random.Generator) -> str | None:
    """Another policy that no vote inside the two parts can tell from the first."""
    even = "probability is spread evenly in a part: its votes would notice. What must stay there?"
    added = "a number was added: votes see ratios of probabilities, and these have changed."
    mistakes = [
        (even, _spread),
        (even, _spread_inside),
        (even, _spread_outside),
        ("the rest is as before, so this does not sum to 1: it must shrink or grow.", _group_alone),
        ("normalising at the end moved the mass of the group away from `mass`.", _renormalised),
        (
            "the group has the mass of the rest: are the two swapped?",
            lambda p, g, m: _twin(p, g, 1 - m),
        ),
        (added, _added),
        (
            "the factor of a part: divide by the mass that it has now.",
            _two_factors,
        ),
        (
            "the factor of a part must also divide by the mass that it has now.",
            _two_factors_normalised,
        ),
    ]
    cases = [
        case(np.array([0.1, 0.2, 0.3, 0.4]), [2, 3], 0.9),
        case(rng.dirichlet(np.full(5, 3.0)), [0, 3], 0.25),
        case(rng.dirichlet(np.full(6, 3.0)), [4, 1, 2], rng.uniform(0.05, 0.15)),
    ]
    return function_fault(answer, _twin, cases, mistakes)


def _moves(features: ArrayLike, policy: Floats, chosen: int, rejected: int) -> Any:
    """Signs of the changes of the two log-probabilities, by a derivative along a complex step."""
    f = np.asarray(features, dtype=np.float64)
    step = f[chosen] - f[rejected]
    z = np.log(policy) + 1e-30j * (f @ step) / max(step @ step, 1e-300)
    change = (z - np.log(np.exp(z).sum())).imag[[chosen, rejected]] / 1e-30
    return np.where(np.abs(change) < 1e-9, 0, np.sign(change))


def _outcome(chosen: int, rejected: int) -> Any:
    return lambda policy, *_: np.array([chosen, rejected])


@task
def dragging_features(answer: Any, rng: np.random.Generator) -> str | None:
    """Features under which a DPO step lowers the chosen and the rejected log-probability."""
    tried: list[Any] = []

    def outcome(policy: Floats, chosen: int, rejected: int) -> Any:
        features = answer(policy, chosen, rejected)
        if is_blank(features):
            return features
        rows = np.array(features, dtype=np.float64)
        if rows.ndim != 2 or len(rows) != len(policy) or not np.isfinite(rows).all():
            raise ValueError(f"features must be finite, of shape ({len(policy)}, K)")
        tried.append(rows)
        return _moves(rows, policy, chosen, rejected)

    chosen_rises = "the rejected response falls, but the chosen one still rises"
    hint = "is the mean feature under the policy beyond that of the chosen response?"
    mistakes = [
        ("nothing moves: chosen and rejected have the same features.", _outcome(0, 0)),
        (f"{chosen_rises}: {hint}", _outcome(1, -1)),
        ("both rise: the others must move with the step, not against it.", _outcome(1, 1)),
        ("the chosen response stands still: a little more of the same.", _outcome(0, -1)),
        ("the rejected response stands still, and the chosen one rises.", _outcome(1, 0)),
    ]
    cases = [
        case(np.full(4, 0.25), 0, 1),
        case(rng.dirichlet(np.full(5, 4.0)), 3, 1),
        case(np.array([0.02, 0.9, 0.08]) + rng.uniform(0, 0.004) * np.array([1, -1, 0]), 1, 0),
        case(np.array([0.01, 0.01, 0.98]), 0, 1),
        case(np.array([0.55, 0.44, 0.004, 0.006]), 1, 0),
    ]
    fault = function_fault(
        outcome if callable(answer) else answer, _both_fall, cases, mistakes, tolerance=0
    )
    if fault is not None and fault.startswith("for ") and len(tried) == len(cases):
        falls = [_both(f, at) for f, at in zip(tried, cases, strict=True)]
        return (
            f"both fall for {sum(falls)} of {len(falls)} policies: where the others are rare, "
            "they must stand out more."
        )
    return fault


def _both(features: Floats, at: Case) -> bool:
    return bool((_moves(features, *at.arguments) < 0).all())


def _both_fall(policy: Floats, chosen: int, rejected: int) -> Any:
    return np.array([-1.0, -1.0])


def _trained(wins: Floats, ref: Floats, *, beta: float, extra: float) -> Any:
    """What DPO learns from the votes and the added ones."""
    votes = wins + extra * _pairs(wins)
    run = train_dpo(TabularPolicy(ref), ref, votes[None], beta=beta, device="cpu")
    return np.exp(run.log_probs[0])


def _pairs(wins: Floats) -> Floats:
    """1 for every two different responses."""
    return np.asarray(1 - np.eye(len(wins)))


def _fitted(more: Callable[[Floats, float], Any]) -> Any:
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


@task
def repaired(answer: Any, rng: np.random.Generator) -> str | None:
    """The policy that DPO learns once every pair has some extra votes both ways."""
    mistakes = [
        (
            "half of the extra votes are missing: `extra` wins are added in each direction.",
            _fitted(lambda w, e: e / 2 * _pairs(w)),
        ),
        (
            "pairs that already have votes get extra ones too: the prior is the same for all.",
            _fitted(lambda w, e: e * _pairs(w) * (w == 0)),
        ),
        (
            "the extra wins are divided among the pairs: each gets all of `extra`.",
            _fitted(lambda w, e: e * _pairs(w) / _pairs(w).sum()),
        ),
        (
            "this ignores `extra`: is a whole or half a win written in?",
            _fitted(lambda w, e: _pairs(w)),
        ),
        (
            "this ignores `extra`: is a whole or half a win written in?",
            _fitted(lambda w, e: _pairs(w) / 2),
        ),
        (
            "winners and losers are swapped: wins[i, j] says how often i beat j.",
            lambda w, ref, *, beta, extra: _trained(w.T, ref, beta=beta, extra=extra),
        ),
        (
            "the reference is missing: the policy is the reference tilted by the rewards.",
            lambda w, ref, *, beta, extra: softmax(_repaired_reward(w, extra) / beta),
        ),
        (
            "beta multiplies the rewards: it must divide them.",
            lambda w, ref, *, beta, extra: _trained(w, ref, beta=1 / beta, extra=extra),
        ),
        (
            "beta is missing.",
            lambda w, ref, *, beta, extra: _trained(w, ref, beta=1.0, extra=extra),
        ),
        (
            "these are the rewards: the policy is asked for.",
            lambda w, ref, *, beta, extra: _repaired_reward(w, extra),
        ),
        (
            "these are logarithms: the policy is asked for.",
            lambda w, ref, *, beta, extra: log_softmax(
                np.log(ref) + _repaired_reward(w, extra) / beta
            ),
        ),
        (
            "these are shares of the wins: a win over a strong response says more; fit rewards.",
            _shares,
        ),
    ]
    return function_fault(answer, _trained, _broken(rng), mistakes, tolerance=1e-6)


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
