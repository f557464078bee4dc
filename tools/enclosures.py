"""Enclosures of the true values of figures that notebooks print, by interval arithmetic.

Each function below gives the true values of the numbers that one cell printed, in their order, from
the definitions and by formulas of its own: nothing of a notebook is run, and nothing is taken from
the package. Optima are zeros of slopes, which `zero` and `solved` prove to be there; `crossing` is
for what is known to be monotone. None stands for a label, and for what is not certified.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from typing import Any

import numpy as np

from tools.intervals import (
    NotProved,
    Vector,
    crossing,
    dot,
    exp,
    gibbs,
    kl,
    largest,
    log,
    log_partition,
    number,
    sigma,
    solved,
    sqrt,
    total_variation,
    zero,
)
from tools.printed import Figure, Values, given

FIGURES: list[Figure] = []
Function = Callable[[], Values]


def figure(name: str, where: str, *only: str) -> Callable[[Function], Function]:
    """Register a function that encloses what a cell printed, in lines with one of those words."""

    def register(values: Function) -> Function:
        FIGURES.append(Figure(name, where, cache(values), only or ("",)))
        return values

    return register


def objective(policy: Vector, reward: Vector, ref: Vector, beta: Any) -> Any:
    """``J(policy) = E[reward] - beta KL(policy || ref)``, reward units."""
    return dot(policy, reward) - beta * kl(policy, ref)


@figure("the best policy of the first example", "start_here#goal")
def _() -> Values:
    here = "start_here#goal"
    return gibbs(given(here, "reward"), given(here, "reference"), given(here, "beta"))


# --- 01 State the objective

PARTS = "state_the_objective#parts"
MODEL = "state_the_objective#exploit"


def flattery() -> tuple[Vector, Vector, Vector]:
    """The model's reward, people's, the reference."""
    return given(MODEL, "model"), given(PARTS, "people"), given(PARTS, "ref")


@figure("J of the reference and of flattery alone", "state_the_objective#objective")
def _() -> Values:
    model, _, ref = flattery()
    out: Values = []
    for beta in map(number, ("1.0", "0.1")):
        out += [None, dot(model, ref), model[2] + beta * log(ref[2])]
    return out


@figure("M2: odds of flattery at the optimum, and the bound exp(R/β)", "state_the_objective#leash")
def _() -> Values:
    model, _, ref = flattery()
    out: Values = []
    for m in (0, 5, 9, 12):
        beta = 5 * exp(-log(50) * m / 12)
        share = gibbs(model, ref, beta)[2]
        odds = share / (1 - share) * (1 - ref[2]) / ref[2]
        out += [beta, odds, exp((model[2] - model[1]) / beta)]
    return out


@figure("M2: the β at which people's reward is highest", "state_the_objective#peak-check", "people")
def _() -> Values:
    model, people, ref = flattery()
    return [1 / zero(lambda x: covariance(people, model, ref, x), "0.2", "20")]


def covariance(a: Vector, b: Vector, ref: Vector, x: Any) -> Any:
    """Of `a` and `b` under the policy that is best for `b` at ``beta = 1/x``; free of its Z."""
    weight = [q * exp(x * r) for q, r in zip(ref, b, strict=True)]
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    return sum((weight[i] * weight[j] * (a[i] - a[j]) * (b[i] - b[j]) for i, j in pairs), number(0))


@figure(
    "O1: J* with a policy for each prompt, and with one for both", "state_the_objective#together"
)
def _() -> Values:
    here, beta = "state_the_objective#problem", number("0.3")
    rewards, refs = given(here, "rewards"), given(here, "refs")
    weights = given(here, "weights")
    alone = [log_partition(r, q, beta) for r, q in zip(rewards, refs, strict=True)]
    both = [
        exp(
            sum(
                w * (log(q[i]) + r[i] / beta)
                for w, r, q in zip(weights, rewards, refs, strict=True)
            )
        )
        for i in range(3)
    ]
    policies = [gibbs(r, q, beta) for r, q in zip(rewards, refs, strict=True)]
    return [*policies[0], *policies[1], beta * dot(weights, alone), beta * log(sum(both))]


# --- 02 to 04, 08, 14: the optimum in closed form

THREE = "complete_the_divergence#three"


def problem(cell: str) -> tuple[Vector, Vector, Any]:
    """Reward, reference and β, as a cell gives them."""
    return given(cell, "reward"), given(cell, "ref"), given(cell, "beta")


def three(beta: Any = None) -> tuple[Vector, Vector, Any]:
    """The three responses, with their β or another."""
    reward, ref, own = problem(THREE)
    return reward, ref, own if beta is None else beta


@figure("G4, G7: π* and J* = β log Z", "complete_the_divergence#gibbs-numbers")
def _() -> Values:
    return [*gibbs(*three()), three()[2] * log_partition(*three())]


@figure("G7: J of another policy, both ways", "complete_the_divergence#both-sides")
def _() -> Values:
    policy = given("complete_the_divergence#both-sides", "policy")
    away = kl(policy, gibbs(*three()))
    summit = three()[2] * log_partition(*three())
    return [objective(policy, *three()), summit - three()[2] * away]


@figure("G11: KL as gaps to the tangent", "complete_the_divergence#kl-gaps")
def _() -> Values:
    policy, star = given("complete_the_divergence#both-sides", "policy"), gibbs(*three())
    gaps = [s - p - p * log(s / p) for p, s in zip(policy, star, strict=True)]
    return [*gaps, sum(gaps), kl(policy, star)]


@figure("G8: π* from β = 0.5 to 100", "complete_the_divergence#turn")
def _() -> Values:
    betas = given("complete_the_divergence#turn", "betas")
    without_digits = [None] * 4  # at β = 0.1 NumPy prints [0. 0. 1.]
    return [*without_digits, *(x for beta in betas[1:] for x in (None, *gibbs(*three(beta))))]


@figure("G8: how far π* is from its limits", "complete_the_divergence#limits-numbers-check", "G8")
def _() -> Values:
    here = "complete_the_divergence#limits-numbers-check"
    rewards, ref = given(here, "rewards")[:3], given(here, "reference")[:3]
    at = {beta: gibbs(rewards, ref, number(beta)) for beta in ("1/10000", "1000000000")}
    short = [abs(p - number(x)) for p, x in zip(at["1/10000"], ("1/4", "3/4", "0"), strict=True)]
    long = [abs(p - q) for p, q in zip(at["1000000000"], ref, strict=True)]
    return [largest(short), None, None, None, largest(long), None]


@figure(
    "G3: π* and the multiplier λ", "derive_it_again_by_lagrange#policy-numbers-check", "policy ["
)
def _() -> Values:
    reward, ref, beta = problem("derive_it_again_by_lagrange#three")
    return [*gibbs(reward, ref, beta), beta * (1 - log_partition(reward, ref, beta))]


VOTES = "turn_policies_into_preferences"


@figure("R1: π* and the implicit reward", f"{VOTES}#implied")
def _() -> Values:
    reward, ref, beta = problem(f"{VOTES}#problem")
    level = beta * log_partition(reward, ref, beta)
    return [*gibbs(reward, ref, beta), *(r - level for r in reward), level, level, level]


@figure("P1: the chance of each vote", f"{VOTES}#vote")
def _() -> Values:
    reward = problem(f"{VOTES}#problem")[0]
    return [sigma(a - b) for a in reward for b in reward]


@figure("R5: implicit rewards compared across prompts", f"{VOTES}#across-difference", "across")
def _() -> Values:
    (reward, ref, beta), here = problem(f"{VOTES}#problem"), f"{VOTES}#across"
    other, other_ref = given(here, "reward_2"), given(here, "ref_2")
    levels = beta * (log_partition(other, other_ref, beta) - log_partition(reward, ref, beta))
    return [reward[0] - other[0], reward[0] - other[0] + levels]


@figure(
    "W2: J of π* and of the policy with β in the wrong place",
    "check_the_optimum_by_numbers#candidates-earn",
)
def _() -> Values:
    here, beta = "check_the_optimum_by_numbers#three", number("0.25")
    reward, ref = given(here, "REWARD"), given(here, "REF")
    policies = [gibbs(reward, ref, beta), gibbs(reward, ref, 1 / beta)]
    return [x for p in policies for x in (*p, objective(p, reward, ref, beta))]


LOG = "read_the_training_log"


@figure("H3: the rewards that π* logs", f"{LOG}#optimum-logged")
def _() -> Values:
    reward, ref, beta = problem(f"{LOG}#problem")
    star, places = gibbs(reward, ref, beta), range(len(ref))
    implicit = [beta * log(p / q) for p, q in zip(star, ref, strict=True)]
    drawn = [[2 * ref[i] * ref[j] * sigma(reward[i] - reward[j]) for j in places] for i in places]
    chosen = dot([sum(row) for row in drawn], implicit)
    rejected = dot([sum(column) for column in zip(*drawn, strict=True)], implicit)
    return [chosen, rejected, -2 * beta * kl(ref, star)]


@figure("H4: the highest accuracy and the least loss", f"{LOG}#ceiling", "on paper")
def _() -> Values:
    reward, ref, _ = problem(f"{LOG}#problem")
    places = range(len(ref))
    pairs = [(i, j) for i in places for j in range(i)]
    met = [2 * ref[i] * ref[j] for i, j in pairs]
    apart = 1 - sum(q * q for q in ref)
    wins = [sigma(reward[i] - reward[j]) for i, j in pairs]
    entropy = [-p * log(p) - (1 - p) * log(1 - p) for p in wins]
    return [dot(met, wins) / apart, dot(met, entropy) / apart]


@figure("M11: the three estimates of KL, mean and spread", "estimate_the_divergence#values-star")
def _() -> Values:
    here = "estimate_the_divergence#task"
    reward, ref = given(here, "reward"), given(here, "ref")
    star = gibbs(reward, ref, number(1))
    logs = [log(q / p) for p, q in zip(star, ref, strict=True)]
    out: Values = [kl(star, ref)]
    for each in ([-x for x in logs], [x * x / 2 for x in logs], [exp(x) - 1 - x for x in logs]):
        mean = dot(star, each)
        out += [mean, sqrt(dot(star, [(x - mean) ** 2 for x in each]))]
    return out


@figure("X33: how far a halt and a prior differ", "stop_in_time#penalties-check", "at most")
def _() -> Values:
    x = zero(lambda x: exp(-x) - 1 / ((1 + x) * (1 + x)), "0.5", "50")
    return [None, 1 - exp(-x) - x / (1 + x)]


# --- 06 Train a tabular policy: Newton's steps, one after the other

TRAIN = "train_a_tabular_policy"


@figure("T1: KL(π* ‖ π) after each Newton step on unlimited votes", f"{TRAIN}#train-run")
def _() -> Values:
    return [x for far in newton_run()[:6] for x in (None, far)] + [None]


@figure("T1: KL(π* ‖ π) of the trained table, the headline", f"{TRAIN}#train-check", "tabular")
def _() -> Values:
    return [newton_run()[-1]]


@cache
def newton_run() -> list[Any]:
    """KL(pi* || pi), nats, mean of the four prompts, at the start and after each of 7 steps.

    The notebook draws its rewards and references; the drawn floats are exact binary numbers.
    """
    draws, beta = np.random.default_rng(7), given(f"{TRAIN}#problem", "beta")
    rewards, refs = draws.normal(size=(4, 5)), draws.dirichlet(np.full(5, 2.0), size=4)
    paths = [
        table_path([number(float(r)) for r in row], [number(float(q)) for q in ref], beta, 7)
        for row, ref in zip(rewards, refs, strict=True)
    ]
    return [sum(four) / 4 for four in zip(*paths, strict=True)]


def table_path(reward: Vector, ref: Vector, beta: Any, steps: int) -> list[Any]:
    """KL(pi* || pi) along damped Newton steps of a table, from the reference, on all votes.

    The gradient in h = log(pi/ref) is beta times expected less observed wins; a step goes
    log(1 + d)/d of the way, d the range of beta times the direction.
    """
    places, h = range(len(reward)), [number(0)] * len(reward)
    star, far = gibbs(reward, ref, beta), []
    for _ in range(steps + 1):
        far.append(kl(star, gibbs(h, ref, number(1))))
        slope = [number(0)] * len(h)
        hessian = [[number(0)] * len(h) for _ in places]
        for i in places:
            for j in set(places) - {i}:
                met, p = 2 * ref[i] * ref[j], sigma(beta * (h[i] - h[j]))
                slope[i] += met * beta * (p - sigma(reward[i] - reward[j]))
                stiff = met * beta * beta * p * (1 - p)
                hessian[i][i] += stiff
                hessian[i][j] -= stiff
        move = [number(0), *eliminated([row[1:] for row in hessian[1:]], [-s for s in slope[1:]])]
        reach = beta * (largest(move) + largest([-x for x in move]))
        h = [x + y * log(1 + reach) / reach for x, y in zip(h, move, strict=True)]
    return far


def eliminated(matrix: list[list[Any]], right: Vector) -> list[Any]:
    """The solution of a linear system with a positive definite matrix, by elimination."""
    if not matrix:
        return []
    (pivot, *first), *others = matrix
    factors = [row[0] / pivot for row in others]
    rest = [
        [x - f * y for x, y in zip(row[1:], first, strict=True)]
        for f, row in zip(factors, others, strict=True)
    ]
    tail = eliminated(rest, [b - f * right[0] for f, b in zip(factors, right[1:], strict=True)])
    return [(right[0] - dot(first, tail)) / pivot, *tail]


# --- 22 Draw the frontier

FRONTIER = "draw_the_frontier"


def priced() -> tuple[Vector, Vector]:
    """Reward and reference."""
    return given(f"{FRONTIER}#prompt", "reward"), given(f"{FRONTIER}#prompt", "ref")


def frontier(far: Any) -> Any:
    """The reward of the Gibbs policy at that KL from the reference, a number of nats."""
    reward, ref = priced()

    def beyond(x: Any) -> Any:
        weights = [q * exp(x * r) for q, r in zip(ref, reward, strict=True)]
        return x * dot(weights, reward) / sum(weights) - log(sum(weights)) - far

    return dot(gibbs(reward, ref, 1 / crossing(beyond, "0.001", "50")), reward)


@figure("M5: half the reference and half the best response", f"{FRONTIER}#below-line")
def _() -> Values:
    (reward, ref), beta = priced(), number("0.5")
    half = [(q + (k == 3)) / 2 for k, q in enumerate(ref)]
    star = gibbs(reward, ref, beta)
    line = dot(star, reward) + beta * (kl(half, ref) - kl(star, ref))
    got = dot(half, reward)
    return [line, got, line - got, beta * kl(half, star)]


@figure("M5: the most reward within a KL of 0.1, 0.5, 1.5", f"{FRONTIER}#solver")
def _() -> Values:
    out: Values = []
    for cap in given(f"{FRONTIER}#solver", "caps"):
        out += [None, frontier(cap), frontier(cap)]
    return out


@figure("M5: where DPO ends at four β", f"{FRONTIER}#dpo-places")
def _() -> Values:
    out: Values = []
    for beta in given(f"{FRONTIER}#law", "betas"):
        star = gibbs(*priced(), beta)
        far = kl(star, priced()[1])
        out += [far, dot(star, priced()[0]), frontier(far)]
    return out


@figure("M6: best of n, its bound, and the frontier", f"{FRONTIER}#best-of-places")
def _() -> Values:
    reward, ref = priced()
    order = sorted(range(len(ref)), key=lambda k: reward[k].ends)
    out: Values = []
    for n in (2, 4, 8, 16):
        below = [sum((ref[j] for j in order[:k]), number(0)) for k in range(len(ref) + 1)]
        best = [below[k + 1] ** n - below[k] ** n for k in range(len(ref))]
        far = kl(best, [ref[k] for k in order])
        got = dot(best, [reward[k] for k in order])
        out += [None, far, log(n) - number(Fraction(n - 1, n)), got, frontier(far)]
    return out


@figure("M7: shares of the wins, below the frontier", f"{FRONTIER}#shares")
def _() -> Values:
    reward, ref = priced()
    places = range(len(ref))
    wins = [
        sum(ref[i] * ref[j] * sigma(reward[i] - reward[j]) for j in places if j != i)
        for i in places
    ]
    share = [w / sum(wins) for w in wins]
    far = kl(share, ref)
    return [*share, far, dot(share, reward), frontier(far)]


def one_parameter(n31: Any, t: Any) -> Any:
    """The slope in t of DPO's log-likelihood for pi prop. to (exp(t), exp(-t), 1), claim M9."""
    reward, f = given(f"{FRONTIER}#small", "reward3"), (1, -1, 0)
    met = {(0, 1): number(1), (1, 2): number(1), (2, 0): n31}
    both = [(i, j, n) for (a, b), n in met.items() for i, j in ((a, b), (b, a))]
    return sum(
        n * sigma(reward[i] - reward[j]) * (f[i] - f[j]) * sigma(-t * (f[i] - f[j]))
        for i, j, n in both
    )


def tilted(t: Any) -> list[Any]:
    """The policy with that one parameter."""
    return gibbs([t, -t, t * 0], [number("1/3")] * 3, number(1))


@figure("M9: DPO in a class without π*", f"{FRONTIER}#small-train", "pair")
def _() -> Values:
    reward, out = given(f"{FRONTIER}#small", "reward3"), []
    for n31 in (1, 10):
        t = zero(partial(one_parameter, number(n31)), "-5", "5.1")
        out += [None, None, None, t, dot(tilted(t), reward)]
    return out


@figure("M9: the best policy of that class", f"{FRONTIER}#small-hill")
def _() -> Values:
    reward, f = given(f"{FRONTIER}#small", "reward3"), [number(x) for x in (1, -1, 0)]

    def slope(t: Any) -> Any:
        pi, net = tilted(t), [r - t * x for r, x in zip(reward, f, strict=True)]
        return dot(pi, [x * v for x, v in zip(f, net, strict=True)]) - dot(pi, f) * dot(pi, net)

    t = zero(slope, "-5", "5.1")
    return [t, dot(tilted(t), reward)]


@figure("M9: from where on DPO turns the wrong way", f"{FRONTIER}#sign-check", "DPO turns")
def _() -> Values:
    return [2 + (sigma(number(2)) - number("1/2")) / (sigma(number(1)) - number("1/2"))]


# --- losses of margins: 28 Find where votes fail, 34 Change the loss

LOSS = "change_the_loss"
NOISE, GAMMA = given(f"{LOSS}#family", "noise"), given(f"{LOSS}#family", "gamma")
SHARPNESS = 20  # 1/tau of DiscoPOP


def _exo(s: Any) -> Any:
    return sigma(s) * sigma(-s) * (s - log((1 - NOISE) / NOISE))


def _discopop(s: Any) -> Any:
    mix, rest = sigma(s * SHARPNESS), sigma(-s * SHARPNESS)
    gap = exp(-s) - log(1 + exp(-s))
    return -rest * sigma(-s) - mix * exp(-s) + SHARPNESS * mix * rest * gap


# The slope of each loss in the margin s = β (log-ratio of the winner less the loser's).
SLOPES: dict[str, Callable[[Any], Any]] = {
    "DPO": lambda s: -sigma(-s),
    "cDPO": lambda s: NOISE * sigma(s) - (1 - NOISE) * sigma(-s),
    "robust": lambda s: -((1 - NOISE) * sigma(-s) + NOISE * sigma(s)) / (1 - 2 * NOISE),
    "IPO": lambda s: s - number("1/2"),
    "EXO": _exo,
    "DiscoPOP": _discopop,
    "SimPO": lambda s: -sigma(GAMMA - s),
}
Weights = list[list[Any]]  # how often the row beats the column


def balance(slope: Callable[[Any], Any], wins: Weights, s: Vector) -> list[Any]:
    """The slope of a mean loss in the first two of three margins, the third held at 0."""
    s = [*s, s[0] * 0]
    return [
        sum(
            wins[i][j] * slope(s[i] - s[j]) - wins[j][i] * slope(s[j] - s[i])
            for j in range(3)
            if j != i
        )
        for i in (0, 1)
    ]


def least(slope: Callable[[Any], Any], wins: Weights, guess: Vector = (0.0, 0.0)) -> list[Any]:
    """Where the mean loss has slope 0: three margins, the last of them 0."""
    return [*solved(lambda s: balance(slope, wins, s), guess), number(0)]


def centred(values: Vector) -> list[Any]:
    """Values less their mean."""
    return [x - sum(values) / len(values) for x in values]


def chances(reward: Vector, counts: Weights) -> Weights:
    """How often the row beats the column, for Bradley-Terry votes."""
    places = range(len(reward))
    return [[counts[i][j] * sigma(reward[i] - reward[j]) for j in places] for i in places]


def flipped(wins: Weights, rate: Any) -> Weights:
    """The votes, winner and loser exchanged in that share of them."""
    return [
        [(1 - rate) * a + rate * b for a, b in zip(row, column, strict=True)]
        for row, column in zip(wins, zip(*wins, strict=True), strict=True)
    ]


def triangle(ab: Any, bc: Any, ca: Any) -> Weights:
    """How often each pair of three is compared."""
    ab, bc, ca = number(ab), number(bc), number(ca)
    none = number(0)
    return [[none, ab, ca], [ab, none, bc], [ca, bc, none]]


FAIL = "find_where_votes_fail"


@figure("X9: rewards learnt where a fifth of the votes is flipped", f"{FAIL}#noise-print")
def _() -> Values:
    truth = given(f"{FAIL}#noise-counts", "truth")
    by_counts = [triangle(1, 1, 1), triangle(1, 10, 1)]
    plain = [
        centred(least(SLOPES["DPO"], flipped(chances(truth, counts), number("0.2"))))
        for counts in by_counts
    ]
    without_digits = [None] * 6  # the robust loss finds [ 2.  0. -2.]
    return [*without_digits, *(plain[0] + plain[1]) * 2]


@figure("X8: where the robust loss ends on one pair", f"{FAIL}#noise-price-ends", "π(y_w)")
def _() -> Values:
    cases = given(f"{FAIL}#noise-price-ends", "cases")[:3]
    return [*((share - rate) / (1 - 2 * rate) for share, rate in cases), None, None]


@figure(
    "L4: the shortfall after so many connecting votes, predicted",
    f"{FAIL}#coverage-count-figure",
    "predicted",
)
def _() -> Values:
    here = f"{FAIL}#coverage-truth"
    reward, ref = given(here, "reward"), given(here, "ref")
    star = gibbs(reward, ref, number("0.5"))
    doubts = [
        sigma(reward[i] - reward[j]) * sigma(reward[j] - reward[i]) for i in (0, 1) for j in (2, 3)
    ]
    return [(star[0] + star[1]) * (star[2] + star[3]) / (sum(doubts) / 4)]


def rings() -> list[tuple[Weights, list[Any]]]:
    """Votes that go in a circle, for three sets of counts, and the rewards fitted to them."""
    shares, found = given(f"{FAIL}#cycle-ring", "ring"), []
    for counts in given(f"{FAIL}#cycle-ring", "sets"):
        met = triangle(*counts)
        wins = [
            [m * p for m, p in zip(*rows, strict=True)] for rows in zip(met, shares, strict=True)
        ]
        found.append((wins, least(SLOPES["DPO"], wins)))
    return found


@figure("X10: DPO's policies on votes in a circle", f"{FAIL}#cycle-train")
def _() -> Values:
    third = [number("1/3")] * 3
    return [x for _, reward in rings() for x in gibbs(reward, third, number("0.5"))]


@figure("X10: how ill Bradley and Terry fit the circle", f"{FAIL}#cycle-reports", "circle")
def _() -> Values:
    out = []
    for wins, reward in rings():
        count = sum(x for row in wins for x in row)
        terms = [
            wins[i][j]
            * log(wins[i][j] / ((wins[i][j] + wins[j][i]) * sigma(reward[i] - reward[j])))
            for i in range(3)
            for j in range(3)
            if j != i
        ]
        out.append(2000 * sum(terms) / count)
    return out


def toy() -> tuple[Vector, Vector, Any]:
    """The toy of the losses."""
    return problem(f"{LOSS}#toy")


def toy_votes() -> Weights:
    """The toy's votes, pairs from the reference."""
    reward, ref, _ = toy()
    return chances(
        reward, [[a * b * (i != j) for j, b in enumerate(ref)] for i, a in enumerate(ref)]
    )


def never_err() -> Weights:
    """Votes in which a always beats b and c, and b beats c."""
    ref = toy()[1]
    return [[a * b * (i < j) for j, b in enumerate(ref)] for i, a in enumerate(ref)]


def ended(name: str, margins: Vector, beta: Any) -> list[Any]:
    """The policy with those margins; SimPO has no reference."""
    ref = [number("1/3")] * 3 if name == "SimPO" else toy()[1]
    return gibbs(margins, ref, beta)


@cache
def kinks() -> tuple[Any, ...]:
    """The margins 2, 1, 0 of the hinge loss, after a proof that it is least there.

    The mean loss is convex and made of planes that meet where a neighbour's margin is 1; it rises
    along each of the four edges from there.
    """
    w = toy_votes()

    def rise(x: int, y: int) -> Any:
        moves = {(0, 1): (1, x), (1, 2): (1, y), (0, 2): (2, x + y)}
        total = number(0)
        for (i, j), (margin, move) in moves.items():
            active = max(-move, 0) if margin == 1 else 0  # the winner's part, max(0, 1 - s)
            total += w[i][j] * active + w[j][i] * move
        return total

    if not all(rise(*edge).sign == 1 for edge in ((1, 0), (-1, 0), (0, 1), (0, -1))):
        raise NotProved("expected the hinge loss to be least at the margins 2, 1, 0")
    return number(2), number(1), number(0)


@cache
def toy_margins(name: str) -> tuple[Any, ...]:
    """Where a loss ends on the toy: margins of a, b and c."""
    return kinks() if name == "hinge" else tuple(least(SLOPES[name], toy_votes(), (1.5, 0.5)))


ALL = ("DPO", "cDPO", "robust", "IPO", "hinge", "EXO", "DiscoPOP", "SimPO")
ROWS = tuple(f"{name}  " for name in ALL)


@figure("K2: where eight losses end", f"{LOSS}#table", *ROWS)
def _() -> Values:
    star, beta, out = gibbs(*toy()), toy()[2], []
    for name in ALL:
        policy = ended(name, toy_margins(name), beta)
        out += [*policy, total_variation(policy, star)]
        if name in ("cDPO", "IPO", "EXO"):
            out += ended(name, least(SLOPES[name], never_err(), (1.5, 0.5)), beta)
        elif name not in ("robust", "hinge"):
            out += [None] * 3
    return out


@figure("K2: the same with β chosen for the KL of π*", f"{LOSS}#equal-kl", *ROWS, "at KL")
def _() -> Values:
    reward, ref, _ = toy()
    star = gibbs(*toy())
    out: Values = [kl(star, ref)]
    for name in ALL:
        beta, policy = at_equal_kl(name, kl(star, ref))
        out += [beta, *policy, total_variation(policy, star), dot(policy, reward)]
    return out


def at_equal_kl(name: str, far: Any) -> tuple[Any, list[Any]]:
    """β for which a loss ends at that KL from the reference, and the policy there."""
    ref, start = toy()[1], [float(x) for x in toy_margins(name)[:2]]
    if name == "hinge":
        inverse = zero(lambda x: kl(gibbs([x * m for m in kinks()], ref, 1), ref) - far, "0.1", "9")
        return 1 / inverse, gibbs(kinks(), ref, 1 / inverse)

    def system(v: Vector) -> Vector:
        *s, inverse = v
        policy = ended(name, [s[0] * inverse, s[1] * inverse, inverse * 0], number(1))
        return [*balance(SLOPES[name], toy_votes(), s), kl(policy, ref) - far]

    *s, inverse = solved(system, [*start, 2.0])
    return 1 / inverse, ended(name, [*s, number(0)], 1 / inverse)


@figure("K14: losses of token means", f"{LOSS}#modified-data", "length-normalised", "token means")
def _() -> Values:
    reward, ref, beta = toy()
    wins = [sum(sigma(r - x) * q for x, q in zip(reward, ref, strict=True)) for r in reward]
    tokens, star, out = given(f"{LOSS}#modifiers-data", "tokens"), gibbs(*toy()), []
    for score in (reward, wins):

        def excess(c: Any, score: Vector = score) -> Any:
            terms = zip(ref, tokens, score, strict=True)
            return sum(q * exp(t * (s / beta + c)) for q, t, s in terms) - 1

        c = zero(excess, "-9", "9.1")
        policy = [q * exp(t * (s / beta + c)) for q, t, s in zip(ref, tokens, score, strict=True)]
        out += [*policy, total_variation(policy, star)]
    return out


# --- 30 Play the voters' game

GAME = "play_the_voters_game"
DUELS = [
    [number(x) for x in row]
    for row in (("1/2", "2/3", "1/3"), ("1/3", "1/2", "2/3"), ("2/3", "1/3", "1/2"))
]


def rest(beta: Any, logits: Vector) -> list[Any]:
    """How far three logits are from the best answer to their own policy."""
    ref, policy = given(f"{GAME}#reply", "ref"), gibbs(logits, [number(1)] * 3, number(1))
    return [
        x - log(q) - dot(row, policy) * (1 / beta)
        for x, q, row in zip(logits, ref, DUELS, strict=True)
    ]


@cache
def equilibria() -> dict[str, tuple[Any, ...]]:
    """The logits of the equilibrium at each β, each sought from the one before."""
    found, guess = {}, [0.0, 0.0, 0.0]
    for beta in ("1.0", "0.2", "0.1", "0.05", "0.02", "0.01"):
        found[beta] = tuple(solved(partial(rest, number(beta)), guess))
        guess = [float(x) for x in found[beta]]
    return found


def settled(beta: str) -> list[Any]:
    """The equilibrium."""
    return gibbs(equilibria()[beta], [number(1)] * 3, number(1))


def squared(beta: Any, policy: Vector) -> Any:
    """The square of the factor by which a round with the step 3 nears the equilibrium."""
    lead = DUELS[0][1] + DUELS[1][2] + DUELS[2][0] - number("3/2")
    stay = 1 - 3 * beta
    return stay * stay + 9 * lead * lead * policy[0] * policy[1] * policy[2]


@figure("U7: the equilibrium at three β", f"{GAME}#equilibrium-show")
def _() -> Values:
    return [x for beta in ("1.0", "0.1", "0.02") for x in (None, *settled(beta))]


@figure("U8: the factor of a round of self-play, predicted", f"{GAME}#measured-print")
def _() -> Values:
    out: Values = [None, sqrt(squared(number(0), [number("1/3")] * 3)), None]
    for beta in ("0.01", "0.02", "0.05", "0.1", "0.2"):
        out += [None, sqrt(squared(number(beta), settled(beta))), None]
    return out


@figure("U8: from which β on the step 3 turns inwards", f"{GAME}#border")
def _() -> Values:
    def system(v: Vector) -> Vector:
        *logits, beta = v
        policy = gibbs(logits, [number(1)] * 3, number(1))
        return [*rest(beta, logits), squared(beta, policy) - 1]

    start = [float(x) for x in equilibria()["0.01"]]
    return [None, solved(system, [*start, 0.014])[3]]
