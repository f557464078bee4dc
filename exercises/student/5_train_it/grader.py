"""Assignment 5: the loop that trains a table, where it ends, and how sure the votes make it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax
from scipy.stats import entropy, norm

from dpo_edu import gibbs, losses, policies, preferences, statistics
from dpo_edu.grading import (
    NOT_YET,
    Case,
    OneOf,
    Task,
    case,
    function_task,
    is_blank,
    known,
    value_fault,
)
from dpo_edu.problems import AlignmentProblem

Floats = NDArray[np.float64]
Function = Callable[..., Any]
Slope = Callable[[Any, Any, Any, float], Any]


# --- the loop -----------------------------------------------------------------------------------


def _by_autograd(
    wins: Floats, ref: Floats, *, beta: float, learning_rate: float, steps: int
) -> Floats:
    """Gradient descent on the package's table and loss, differentiated by torch."""
    policy = policies.TabularPolicy(ref)
    won, lost = np.nonzero(wins)
    weight, log_ref = torch.tensor(wins[won, lost] / wins.sum()), policy.log_ref[0]
    for _ in range(steps):
        log_pi = policy.log_probs()[0]
        pair = losses.dpo_loss(log_pi[won], log_pi[lost], log_ref[won], log_ref[lost], beta=beta)
        policy.theta.data -= learning_rate * torch.autograd.grad(weight @ pair, policy.theta)[0]
    return np.asarray(policy.log_probs()[0].detach().exp().numpy())


def _best_for_votes(
    wins: Floats, ref: Floats, *, beta: float, learning_rate: float = 0, steps: int = 0
) -> Floats:
    """Where training ends: the Gibbs policy of the maximum-likelihood rewards."""
    return gibbs.optimal_policy(preferences.fit_bradley_terry(wins), ref, beta=beta)


def _slope(z: Floats, wins: Floats, log_ref: Any, beta: float) -> Floats:
    """The gradient by hand of the mean loss with respect to the logits."""
    r = beta * (z - log_ref)
    pull = beta * wins * expit(r[None, :] - r[:, None])
    return np.asarray((pull.sum(axis=0) - pull.sum(axis=1)) / wins.sum())


def _trained(wins: Floats, ref: Floats, *, beta: float, learning_rate: float, steps: int) -> Floats:
    """What the steps lead to, and after a hundred where they end: at the best policy."""
    end = _by_autograd if steps < 100 else _best_for_votes
    return end(wins, ref, beta=beta, learning_rate=learning_rate, steps=steps)


def _of_logits(z: Floats) -> Floats:
    return np.asarray(softmax(z))


def _descent(
    slope: Slope = _slope,
    *,
    start: Callable[[Floats], Floats] = np.array,
    more: int = 0,
    result: Callable[[Floats], Floats] = _of_logits,
) -> Callable[..., Any]:
    """The loop with one thing changed: the slope, the start, its length, or what it returns."""

    def train(
        wins: Floats, ref: Floats, *, beta: float, learning_rate: float, steps: int
    ) -> Floats:
        log_ref = np.log(ref)
        z = start(log_ref)
        for _ in range(steps + more):
            z = z - learning_rate * slope(z, wins, log_ref, beta)
        return result(z)

    return train


def _weights_of_the_right(z: Floats, wins: Floats, log_ref: Floats, beta: float) -> Floats:
    r = beta * (z - log_ref)
    pull = beta * wins * expit(r[:, None] - r[None, :])
    return np.asarray((pull.sum(axis=0) - pull.sum(axis=1)) / wins.sum())


def _chosen_only(z: Floats, wins: Floats, log_ref: Floats, beta: float) -> Floats:
    r = beta * (z - log_ref)
    pull = beta * wins * expit(r[None, :] - r[:, None])
    return np.asarray(-pull.sum(axis=1) / wins.sum())


def _rates(wins: Floats) -> Floats:
    """How often i beats j, of the votes on the two."""
    return np.asarray(wins / np.maximum(wins + wins.T, 1))


def _one_sided(rng: np.random.Generator) -> Case:
    """Two pairs with a single winner, one that was never compared, and one with votes both ways."""
    wins = np.zeros((4, 4))
    wins[[0, 1, 2, 3], [1, 2, 3, 2]] = rng.integers(1, 9, size=4)
    ref = rng.dirichlet(np.full(4, 3.0))
    return case(wins, ref, beta=0.7, learning_rate=1.5, steps=6)


def _piled_up(
    wins: Floats, ref: Floats, *, beta: float, learning_rate: float, steps: int
) -> Floats:
    """The loop with gradients that are never set to zero."""
    log_ref = np.log(ref)
    z, slope = log_ref, 0 * log_ref
    for _ in range(steps):
        slope = slope + _slope(z, wins, log_ref, beta)
        z = z - learning_rate * slope
    return _of_logits(z)


def _vote_by_vote(
    wins: Floats, ref: Floats, *, beta: float, learning_rate: float, steps: int
) -> Floats:
    """The loop that moves after every pair."""
    log_ref = np.log(ref)
    z = log_ref.copy()
    for _ in range(steps):
        for i, j in np.ndindex(wins.shape):
            one = np.zeros_like(wins)
            one[i, j] = wins[i, j]
            if one.any():
                z = z - learning_rate * _slope(z, one, log_ref, beta) * one.sum() / wins.sum()
    return _of_logits(z)


def _adam(wins: Floats, ref: Floats, *, beta: float, learning_rate: float, steps: int) -> Floats:
    """The loop with the optimiser Adam."""
    log_ref = np.log(ref)
    theta = torch.zeros(len(ref), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=learning_rate)
    for _ in range(steps):
        theta.grad = torch.tensor(_slope(log_ref + theta.detach().numpy(), wins, log_ref, beta))
        optimiser.step()
    return _of_logits(log_ref + theta.detach().numpy())


def _in_probabilities(
    wins: Floats, ref: Floats, *, beta: float, learning_rate: float, steps: int
) -> Floats:
    """The loop that moves the probabilities themselves."""
    policy = ref
    for _ in range(steps):
        policy = policy - learning_rate * _slope(np.log(policy), wins, np.log(ref), beta)
        policy = np.clip(policy, 1e-9, None) / np.clip(policy, 1e-9, None).sum()
    return policy


def _pair_by_pair(
    wins: Floats, ref: Floats, *, beta: float, learning_rate: float, steps: int
) -> Floats:
    """The loop over arrays of winners and losers: an index that is repeated is used once."""
    log_ref = np.log(ref)
    z, (won, lost) = log_ref.copy(), np.nonzero(wins)
    for _ in range(steps):
        r = beta * (z - log_ref)
        pull = learning_rate * beta * wins[won, lost] / wins.sum() * expit(r[lost] - r[won])
        z[won] += pull
        z[lost] -= pull
    return _of_logits(z)


def _constant_pull(wins: Floats, beta: float) -> Floats:
    pull = beta * wins
    return np.asarray((pull.sum(axis=0) - pull.sum(axis=1)) / wins.sum())


def _begun(rng: np.random.Generator) -> list[Case]:
    """Trainings of a few steps, the last one on votes with zero counts."""
    full = [
        case(
            rng.integers(1, 9, size=(n, n)).astype(np.float64) * (1 - np.eye(n)),
            rng.dirichlet(np.full(n, 3.0)),
            beta=b,
            learning_rate=rate,
            steps=steps,
        )
        for n, b, rate, steps in [(2, 0.5, 2.0, 1), (3, 0.2, 5.0, 4), (4, 2.0, 0.5, 9)]
    ]
    return [*full, _one_sided(rng)]


def _ended(rng: np.random.Generator) -> list[Case]:
    """A training that arrives.

    With counts from 5 to 14 among three responses the loss has curvatures between 0.08 and 0.5, so
    at rate 3 an error shrinks by a quarter or more in each of 200 steps.
    """
    wins = rng.integers(5, 15, size=(3, 3)) * (1.0 - np.eye(3))
    return [case(wins, np.array([0.6, 0.3, 0.1]), beta=1.0, learning_rate=3.0, steps=200)]


END = "this is where training ends: asked for is where it stands after `steps` steps."


def _no_loop(answer: Function, fault: str | None, cases: list[Case]) -> str | None:
    """A fit, which raises where a winner never lost, is told that the loop is asked for."""
    return END if fault and "no finite estimate" in fault else fault


train = function_task(
    "train",
    truth=_trained,
    cases=_begun,
    far=_ended,
    then=_no_loop,
    mistakes={
        "the reference is missing from the margin: at the start every s must be 0.": (
            _descent(lambda z, w, ref, b: _slope(z, w, 0, b))
        ),
        "this climbs the loss: a step goes against the gradient.": (
            _descent(lambda z, w, ref, b: -_slope(z, w, ref, b))
        ),
        "chosen and rejected are swapped: wins[i, j] says how often i beat j.": (
            _descent(lambda z, w, ref, b: _slope(z, w.T, ref, b))
        ),
        "beta is missing: it makes the margin out of log-ratios.": (
            _descent(lambda z, w, ref, b: _slope(z, w, ref, 1.0))
        ),
        "beta is in the margin but not in the gradient: what is the inner derivative of s?": (
            _descent(lambda z, w, ref, b: _slope(z, w, ref, b) / b)
        ),
        "beta is counted twice.": _descent(lambda z, w, ref, b: _slope(z, w, ref, b**2)),
        "it starts at the uniform policy: training starts at the reference.": (
            _descent(start=lambda log_ref: 0 * log_ref)
        ),
        "this is the sum of the losses: their mean per vote is asked for.": (
            _descent(lambda z, w, ref, b: _slope(z, w, ref, b) * w.sum())
        ),
        "this is the mean over the cells of the array: divide by the number of votes.": (
            _descent(lambda z, w, ref, b: _slope(z, w, ref, b) * w.sum() / w.size)
        ),
        "each pair counts once here, however many votes it has: weigh it by wins[i, j].": (
            _descent(lambda z, w, ref, b: _slope(z, (w > 0) * 1.0, ref, b))
        ),
        "each step uses the gradient at the reference: is it computed only once, or does the "
        "reference move along (one array under two names)?": (
            _descent(lambda z, w, ref, b: _slope(ref, w, ref, b))
        ),
        "these are win rates, so that each pair weighs the same: each vote must.": OneOf(
            [
                _descent(lambda z, w, ref, b: _slope(z, _rates(w), ref, b)),
                _descent(lambda z, w, ref, b: _slope(z, _rates(w), ref, b) * _rates(w).sum()),
            ]
        ),
        "only the last pair of a response pulls: `z[i] +=` takes a repeated index once.": (
            _pair_by_pair
        ),
        END: _best_for_votes,
        "the weight of a vote is sigma(-s), large where the policy contradicts it; here it is "
        "sigma(s).": _descent(_weights_of_the_right),
        "pairs with a single winner are left out: their votes count like others.": (
            _descent(
                lambda z, w, ref, b: (
                    _slope(z, w * (w.T > 0), ref, b) * (w * (w.T > 0)).sum() / w.sum()
                )
            )
        ),
        "gradients add up over the steps: set them to zero before each.": _piled_up,
        "beta is counted twice: the gradient has it once, from the margin.": OneOf(
            [_descent(lambda z, w, ref, b: _slope(z, w, ref, b) * b)]
        ),
        "this is the mean over the responses or the pairs: divide by the number of votes.": OneOf(
            [
                _descent(lambda z, w, ref, b: _slope(z, w, ref, b) * w.sum() / len(w)),
                _descent(
                    lambda z, w, ref, b: _slope(z, w, ref, b) * w.sum() / max((w > 0).sum(), 1)
                ),
                _descent(
                    lambda z, w, ref, b: (
                        _slope(z, w, ref, b) * w.sum() / max(np.triu(w + w.T > 0).sum(), 1)
                    )
                ),
                _descent(lambda z, w, ref, b: _slope(z, w, ref, b) * w.sum() / (w.size - len(w))),
            ]
        ),
        "the logits move within a step: all votes of a step see the same policy.": _vote_by_vote,
        "this is Adam: plain gradient descent is asked for.": _adam,
        "the steps move the probabilities: z, the logits, is what moves.": _in_probabilities,
        "the weight sigma(-s) is missing: a vote that is obeyed already pulls less.": (
            _descent(lambda z, w, ref, b: _constant_pull(w, b))
        ),
        "each response pulls at its own probability here: in s the normaliser cancels.": (
            _descent(lambda z, w, ref, b: softmax(z) * _slope(z, w, ref, b))
        ),
        "each pull is multiplied by 1 - pi, or pi (1 - pi): in s the normaliser cancels.": OneOf(
            [
                _descent(lambda z, w, ref, b: (1 - softmax(z)) * _slope(z, w, ref, b)),
                _descent(lambda z, w, ref, b: softmax(z) * (1 - softmax(z)) * _slope(z, w, ref, b)),
            ]
        ),
        "this is the reference: the logits do not move.": lambda w, ref, **rest: ref,
        "only the winners are pulled: a vote also pushes its loser.": _descent(_chosen_only),
        "only the losers are pushed: a vote also pulls its winner.": (
            _descent(lambda z, w, ref, b: _slope(z, w, ref, b) - _chosen_only(z, w, ref, b))
        ),
        "a step is half or double as long: each vote moves both of its responses by the full "
        "slope.": OneOf(
            [
                _descent(lambda z, w, ref, b: _slope(z, w, ref, b) / 2),
                _descent(lambda z, w, ref, b: _slope(z, w, ref, b) * 2),
            ]
        ),
        "it starts at logits pi_ref: training starts at log pi_ref.": (
            _descent(start=lambda log_ref: np.exp(log_ref))
        ),
        "one step is missing: the loop runs `steps` times.": _descent(more=-1),
        "one step too many: the loop runs `steps` times.": _descent(more=1),
        "these are logits: the policy is asked for.": _descent(result=lambda z: z),
        "these are logarithms: the policy is asked for.": (
            _descent(result=lambda z: np.asarray(np.log(softmax(z))))
        ),
        "it does not sum to 1: the logits must pass through a softmax.": (
            _descent(result=lambda z: np.asarray(np.exp(z)))
        ),
    },
)

# --- the destination ----------------------------------------------------------------------------


def _log_odds(votes: Floats) -> Floats:
    """Rewards relative to response 0, one pair at a time."""
    odds = np.divide(votes[:, 0], votes[0], out=np.ones(len(votes)), where=votes[0] > 0)
    return np.asarray(np.log(odds))


def _mean_share(votes: Floats) -> Floats:
    """The share of its duels that each response wins, each opponent counted once."""
    share = votes / (votes + votes.T + np.eye(len(votes)))
    return np.asarray(share.sum(axis=1) / (len(votes) - 1))


def _win_rates(votes: Floats) -> Floats:
    """How often each response beats response 0."""
    return np.asarray(expit(_log_odds(votes)))


def _lands(exponent: Callable[[Floats, float], Any], power: int = 1) -> Callable[..., Any]:
    """A softmax of log ref (to a power) and an exponent made of the votes."""

    def destination(votes: Floats, ref: Floats, *, beta: float) -> Any:
        return softmax(power * np.log(ref) + exponent(votes, beta))

    return destination


def _gibbs_of_fit(votes: Floats, ref: Floats, *, beta: float) -> Floats:
    return _best_for_votes(votes, ref, beta=beta)


def _unnormalised(votes: Floats, ref: Floats, *, beta: float) -> Any:
    return ref * np.exp(_log_odds(votes) / beta)


def _share(votes: Floats, ref: Floats, *, beta: float) -> Any:
    return votes.sum(axis=1) / votes.sum()


def _in_logs(votes: Floats, ref: Floats, *, beta: float) -> Any:
    return np.log(_best_for_votes(votes, ref, beta=beta))


def _reference(votes: Floats, ref: Floats, *, beta: float) -> Any:
    return ref


def _populations(rng: np.random.Generator) -> list[Case]:
    return [
        case(
            preferences.expected_wins(rng.normal(size=n), rng.dirichlet(np.full(n, 3.0)))[0],
            rng.dirichlet(np.full(n, 3.0)),
            beta=b,
        )
        for n, b in [(3, 0.5), (2, 2.0), (5, 0.8)]
    ]


# Six digits, so that a minimiser or a long training may answer too.
destination = function_task(
    "destination",
    truth=_gibbs_of_fit,
    cases=_populations,
    tolerance=1e-6,
    mistakes={
        "the ranking is upside down: votes[i, j] says how often i beat j.": (
            _lands(lambda v, b: -_log_odds(v) / b)
        ),
        "beta multiplies the reward: a large beta must keep the policy near the reference.": (
            _lands(lambda v, b: _log_odds(v) * b)
        ),
        "beta is missing: votes tell the rewards, beta how far the policy follows them.": (
            _lands(lambda v, b: _log_odds(v))
        ),
        "beta is counted twice.": _lands(lambda v, b: _log_odds(v) / b**2),
        "the reference is missing: votes that are all even must give it back.": (
            _lands(lambda v, b: _log_odds(v) / b, power=0)
        ),
        "divided by the reference instead of multiplied.": (
            _lands(lambda v, b: _log_odds(v) / b, power=-1)
        ),
        "beta and the reference are missing: this only turns rewards into probabilities.": (
            _lands(lambda v, b: _log_odds(v), power=0)
        ),
        "it does not sum to 1.": _unnormalised,
        "this is the share of all wins: it knows neither beta nor the reference.": _share,
        "all wins against all losses mix strong opponents with weak ones: compare the two "
        "cells of one pair.": _lands(lambda v, b: np.log(v.sum(axis=1) / v.sum(axis=0)) / b),
        "a probability of winning is no reward yet: which r has sigma(r) = P?": (
            _lands(lambda v, b: _win_rates(v) / b)
        ),
        "the logarithm of a probability is no reward yet: which r has sigma(r) = P?": (
            _lands(lambda v, b: np.log(_win_rates(v)) / b)
        ),
        "the odds of a pair are exp of its reward difference: a logarithm is missing.": (
            _lands(lambda v, b: np.exp(_log_odds(v)) / b)
        ),
        "these are rewards: the policy is the reference tilted by exp of reward over beta.": OneOf(
            [
                lambda votes, ref, *, beta: _log_odds(votes),
                lambda votes, ref, *, beta: _log_odds(votes) - _log_odds(votes).mean(),
                lambda votes, ref, *, beta: _log_odds(votes) / beta,
                lambda votes, ref, *, beta: preferences.fit_bradley_terry(votes),
            ]
        ),
        "0/0 on the diagonal gives nan: a response is never compared with itself.": (
            lambda votes, ref, *, beta: np.full(len(ref), np.nan)
        ),
        "this is a training that has not arrived: no training is asked for, and its end.": OneOf(
            [
                lambda votes, ref, *, beta, steps=steps, rate=rate: _descent()(
                    votes, ref, beta=beta, learning_rate=rate, steps=steps
                )
                for steps in (10, 100)
                for rate in (0.1, 0.5, 1.0)
            ]
        ),
        "sums of wins mix strong opponents with weak ones: compare the cells of one pair.": OneOf(
            [
                _lands(lambda v, b: np.log(v.sum(axis=1)) / b),
                _lands(lambda v, b: v.sum(axis=1) / b),
                _lands(lambda v, b: v.sum(axis=1) / v.sum(axis=0) / b),
            ]
        ),
        "the mean share of wins is no reward: which r has sigma(r) = P?": OneOf(
            [
                _lands(lambda v, b: _mean_share(v) / b),
                _lands(lambda v, b: np.log(_mean_share(v)) / b),
                _lands(lambda v, b: logit(_mean_share(v)) / b),
            ]
        ),
        "how often a pair is drawn must not matter: divide votes[i, 0] by votes[0, i].": OneOf(
            [
                _lands(lambda v, b: np.log(np.r_[1, v[1:, 0]]) / b),
                _lands(lambda v, b: np.r_[0, v[1:, 0]] / b),
                _lands(lambda v, b: np.r_[0, logit(v[1:, 0])] / b),
            ]
        ),
        "these are differences to the response before: they must be added up.": (
            _lands(lambda v, b: np.r_[0, np.log(np.diag(v, -1) / np.diag(v, 1))] / b)
        ),
        "1/beta belongs to the odds only: the reference enters to the first power.": (
            lambda votes, ref, *, beta: softmax((np.log(ref) + _log_odds(votes)) / beta)
        ),
        "the two cells are subtracted: their quotient is exp of the reward difference.": (
            _lands(lambda v, b: (v[:, 0] - v[0]) / b)
        ),
        "this is the best response alone: the policy stays near the reference.": (
            lambda votes, ref, *, beta: np.eye(len(ref))[_log_odds(votes).argmax()]
        ),
        "this logarithm has base 2 or 10: rewards go with the natural one.": OneOf(
            [
                _lands(lambda v, b: _log_odds(v) / b / np.log(2)),
                _lands(lambda v, b: _log_odds(v) / b / np.log(10)),
            ]
        ),
        "these are logarithms: the policy is asked for.": _in_logs,
        "this is where training starts, not where it ends.": _reference,
    },
)

# --- how many votes -----------------------------------------------------------------------------


def _by_information(p: float, standard_error: float) -> float:
    """Votes at which the Cramer-Rao bound on the reward difference is the square of the error."""
    duel = AlignmentProblem([float(np.log(p / (1 - p))), 0.0], [0.5, 0.5], beta=1.0)
    bound = statistics.cramer_rao_bound(duel, [0.5, 0.5], size=1)
    return float(statistics.standard_errors(bound, baseline=1)[0] / standard_error) ** 2


def _errors(rng: np.random.Generator) -> list[Case]:
    """Errors that no whole number of votes reaches exactly."""
    cases = []
    for low, part in [(0.5, 0.7), (0.72, 0.3), (0.9, 0.5)]:
        p = float(rng.uniform(low, low + 0.05))
        votes = _by_information(p, float(rng.uniform(0.02, 0.1))) // 1 + part
        cases.append(case(p, float(np.sqrt(_by_information(p, 1.0) / votes))))
    return cases


def _too_few(answer: Function, fault: str | None, cases: list[Case]) -> str | None:
    """Numbers inside the tolerance may be rounded up, but not down."""
    if fault is None and any(at.of(answer) < at.of(_by_information) * (1 - 1e-6) for at in cases):
        return "a little too few votes: rounded down, they leave an error above the given one."
    return fault


# At least 400 votes are needed in all cases, so rounding up is inside the tolerance.
votes_needed = function_task(
    "votes_needed",
    truth=_by_information,
    cases=_errors,
    tolerance=3e-3,
    then=_too_few,
    mistakes={
        "the error is not squared: half the error needs four times the votes.": (
            lambda p, se: 1 / (p * (1 - p) * se)
        ),
        "the root has gone astray: solve se^2 = 1/(n p (1 - p)) for n.": OneOf(
            [
                lambda p, se: 1 / np.sqrt(p * (1 - p) * se),
                lambda p, se: 1 / np.sqrt(p * (1 - p)) / se,
            ]
        ),
        "p and 1 - p both stand below: one vote carries the information p (1 - p).": (
            lambda p, se: p / ((1 - p) * se**2)
        ),
        "the log-odds of p play no part in the error: only p (1 - p) does.": OneOf(
            [
                lambda p, se: (np.log(p / (1 - p)) / se) ** 2,
                lambda p, se: np.log(p / (1 - p)) / se**2,
                lambda p, se: np.log(p / (1 - p)) ** 2 / (p * (1 - p) * se**2),
            ]
        ),
        "half or double: one vote carries p (1 - p), no factor 2.": OneOf(
            [
                lambda p, se: 2 / (p * (1 - p) * se**2),
                lambda p, se: 1 / (2 * p * (1 - p) * se**2),
            ]
        ),
        "p (1 - p) is missing: a vote that is nearly certain tells little.": (
            lambda p, se: 1 / se**2
        ),
        "this is for the error of the win rate p: the reward difference is its log-odds.": (
            lambda p, se: p * (1 - p) / se**2
        ),
        "the information in a vote is p (1 - p): where is 1 - p?": lambda p, se: 1 / (p * se**2),
        "the information in a vote is p (1 - p): where is p?": lambda p, se: 1 / ((1 - p) * se**2),
        "p is squared: the information in a vote is p (1 - p).": lambda p, se: 1 / (p * se) ** 2,
        "no logarithm: the information in a vote is p (1 - p) itself.": OneOf(
            [
                lambda p, se: -1 / (np.log(p * (1 - p)) * se**2),
                lambda p, se: 1 / (np.log(p * (1 - p)) * se**2),
            ]
        ),
        "the entropy of a vote is not what it tells of the rewards: that is p (1 - p).": OneOf(
            [
                lambda p, se: 1 / (entropy([p, 1 - p]) * se**2),
                lambda p, se: 1 / (entropy([p, 1 - p], base=2) * se**2),
            ]
        ),
        "p (1 - p) is squared: the information enters to the first power, the error squared.": (
            lambda p, se: 1 / (p * (1 - p) * se) ** 2
        ),
        "a root too many: the information p (1 - p) itself enters.": (
            lambda p, se: 1 / (np.sqrt(p * (1 - p)) * se**2)
        ),
        "upside down: a smaller error needs more votes.": lambda p, se: p * (1 - p) * se**2,
        "a standard error is asked for, not half of a 95% interval: no 1.96.": (
            lambda p, se: 1.96**2 / (p * (1 - p) * se**2)
        ),
        "this takes every duel for an even one: p is given.": lambda p, se: 4 / se**2,
        "this is the variance that one vote leaves; where is the standard error asked for?": (
            lambda p, se: 1 / (p * (1 - p))
        ),
    },
)

# --- error bars ---------------------------------------------------------------------------------


def _bar(wins: float, losses: float) -> tuple[float, float]:
    """The interval from a fitted reward and the inverse of the Fisher information."""
    counts = np.array([[0.0, wins], [losses, 0.0]])
    rewards = preferences.fit_bradley_terry(counts)
    errors = statistics.standard_errors(statistics.covariance(rewards, counts + counts.T), 1)
    reach = float(norm.ppf(0.975) * errors[0])
    return float(rewards[0] - rewards[1]) - reach, float(rewards[0] - rewards[1]) + reach


def _around(center: Callable[[Any, Any], Any], reach: Callable[[Any, Any], Any]) -> Any:
    def interval(wins: int, losses: int) -> Any:
        middle, half = center(wins, losses), reach(wins, losses)
        return middle - half, middle + half

    return interval


def _mapped(change: Callable[[Any], Any]) -> Any:
    def interval(wins: int, losses: int) -> Any:
        return tuple(change(np.array(_bar(wins, losses))))

    return interval


def _difference(w: Any, x: Any) -> Any:
    return np.log(w / x)


def _error(w: Any, x: Any) -> Any:
    return np.sqrt(1 / w + 1 / x)


def _rate(w: Any, x: Any) -> Any:
    return w / (w + x)


def _rate_error(w: Any, x: Any) -> Any:
    return np.sqrt(w * x / (w + x) ** 3)


def _counts(rng: np.random.Generator) -> list[Case]:
    few = [case(30, 30), case(1, 400)]
    few += [case(int(rng.integers(20, 60)), int(rng.integers(70, 120))) for _ in range(2)]
    return [*few, case(int(rng.integers(200, 300)), int(rng.integers(100, 150)))]


# Three digits: 1.96 or 1.959964 makes no difference, 2 does.
interval = function_task(
    "interval",
    truth=_bar,
    cases=_counts,
    tolerance=1e-3,
    mistakes={
        "one standard error is a 68% interval: how many make 95%?": _around(_difference, _error),
        "1.645 standard errors make 90%: how many make 95%?": (
            _around(_difference, lambda w, x: 1.645 * _error(w, x))
        ),
        "2 is a rule of thumb: 95% are 1.96 standard errors.": (
            _around(_difference, lambda w, x: 2 * _error(w, x))
        ),
        "2.576 standard errors make 99%: how many make 95%?": (
            _around(_difference, lambda w, x: 2.576 * _error(w, x))
        ),
        "1/wins + 1/losses is the variance: the counts stand below.": OneOf(
            [
                _around(_difference, lambda w, x: 1.96 * np.sqrt(w + x)),
            ]
        ),
        "n p (1 - p) is the information: the variance is one over it.": OneOf(
            [
                _around(_difference, lambda w, x: 1.96 * np.sqrt(w * x / (w + x))),
                _around(_difference, lambda w, x: 1.96 * w * x / (w + x)),
            ]
        ),
        "half a vote or a whole one is added to the counts: it is log(wins/losses).": OneOf(
            [
                lambda w, x: _bar(w + 0.5, x + 0.5),
                lambda w, x: _bar(w + 1, x + 1),
            ]
        ),
        "roots are taken one by one: the standard error is the root of the sum of variances.": (
            _around(_difference, lambda w, x: 1.96 * (np.sqrt(1 / w) + np.sqrt(1 / x)))
        ),
        "the estimate is log(wins/losses), not wins - losses or a share.": OneOf(
            [
                _around(lambda w, x: w - x, lambda w, x: 1.96 * _error(w, x)),
                _around(_rate, lambda w, x: 1.96 * _error(w, x)),
            ]
        ),
        "wins are uncertain too: the variance has a term for wins and one for losses.": (
            _around(_difference, lambda w, x: 1.96 * np.sqrt(1 / x))
        ),
        "1.96 standard errors on each side, not on both together.": (
            _around(_difference, lambda w, x: 0.98 * _error(w, x))
        ),
        "1/wins + 1/losses is a variance: a standard error is its root.": (
            _around(_difference, lambda w, x: 1.96 * _error(w, x) ** 2)
        ),
        "this is the standard error of the win rate: that of the log-odds is larger.": (
            _around(_difference, lambda w, x: 1.96 * _rate_error(w, x))
        ),
        "this is the error that a single vote leaves: how does n enter (task 3)?": (
            _around(_difference, lambda w, x: 1.96 * _error(w, x) * np.sqrt(w + x))
        ),
        "the ends of a bar of the win rate are turned into rewards: the error of the log-odds is "
        "asked for.": lambda w, x: (
            logit(_rate(w, x) - 1.96 * _rate_error(w, x)),
            logit(_rate(w, x) + 1.96 * _rate_error(w, x)),
        ),
        "losses are uncertain too: the variance has a term for wins and one for losses.": (
            _around(_difference, lambda w, x: 1.96 * np.sqrt(1 / w))
        ),
        "1/n is not the variance of log-odds: how do p and 1 - p enter (task 3)?": (
            _around(_difference, lambda w, x: 1.96 * np.sqrt(1 / (w + x)))
        ),
        "this variance is 0 if wins equal losses: its two terms must not cancel.": (
            _around(_difference, lambda w, x: 1.96 * np.sqrt(np.abs(1 / w - 1 / x)))
        ),
        "this is an interval for the win rate: the reward difference is its log-odds.": (
            _around(_rate, lambda w, x: 1.96 * _rate_error(w, x))
        ),
        "these are win rates: a reward difference is their log-odds.": _mapped(expit),
        "these are odds: the reward difference is their logarithm.": _mapped(np.exp),
        "upside down: a response that wins more often than it loses has the larger reward.": (
            _around(lambda w, x: -_difference(w, x), lambda w, x: 1.96 * _error(w, x))
        ),
        "the centre is the logarithm of the win rate: it should be that of the odds.": (
            _around(lambda w, x: np.log(_rate(w, x)), lambda w, x: 1.96 * _error(w, x))
        ),
        "the centre is the odds: the reward difference is their logarithm.": (
            _around(lambda w, x: w / x, lambda w, x: 1.96 * _error(w, x))
        ),
        "the centre has a logarithm to base 10: rewards go with the natural one.": (
            _around(lambda w, x: np.log10(w / x), lambda w, x: 1.96 * _error(w, x))
        ),
        "the lower end comes first.": _mapped(np.flip),
        "this is the estimate without its error bar: two ends are asked for.": _difference,
        "divided by the root of n as well: 1/wins + 1/losses knows how many votes there are.": (
            _around(_difference, lambda w, x: 1.96 * _error(w, x) / np.sqrt(w + x))
        ),
        "the root covers the 1.96 as well: it is taken of the variance only.": (
            _around(_difference, lambda w, x: np.sqrt(1.96) * _error(w, x))
        ),
        "one end is the estimate: the interval reaches to both sides.": OneOf(
            [
                lambda w, x: (_difference(w, x), _difference(w, x) + 1.96 * _error(w, x)),
                lambda w, x: (_difference(w, x) - 1.96 * _error(w, x), _difference(w, x)),
            ]
        ),
        "the estimate is missing: the interval lies around log(wins/losses), not around 0.": (
            _around(lambda w, x: 0 * w, lambda w, x: 1.96 * _error(w, x))
        ),
        "this is centre and half width: the two ends are asked for.": (
            lambda w, x: (_difference(w, x), 1.96 * _error(w, x))
        ),
    },
)

# --- reading a figure ---------------------------------------------------------------------------

Duels = dict[str, tuple[int, int]]
# A and C lie between 1 and 1.96 standard errors, so that a bar at half its length misreads both.
DUELS: Duels = {"A": (14, 7), "B": (120, 80), "C": (42, 58), "D": (400, 500), "E": (9, 1)}
WORDS = ("first", "second", "open")


def _word(wins: int, losses: int, *, equal: float = 0) -> str:
    low, high = _bar(wins, losses)
    return "first" if low > equal else "second" if high < equal else "open"


def _shuffled(rng: np.random.Generator) -> Duels:
    """The same five duels under other letters, some with winner and loser swapped.

    Of B and D one is won and one is lost, so that not all clear bars lie on one side.
    """
    swaps = rng.integers(2, size=len(DUELS))
    swaps[3] = swaps[1]
    votes = [(x, w) if swap else (w, x) for (w, x), swap in zip(DUELS.values(), swaps, strict=True)]
    return {name: votes[k] for name, k in zip(DUELS, rng.permutation(len(DUELS)), strict=True)}


def _truth(duels: Duels) -> list[str]:
    return [_word(*votes) for votes in duels.values()]


def _misread(duels: Duels) -> dict[str, Any]:
    """What each misconception reads."""
    truth = _truth(duels)
    by_dots = ["first" if w > x else "second" for w, x in duels.values()]
    counted = [*zip(by_dots, map(sum, duels.values()), strict=True)]
    by_number = [[d if n > few else "open" for d, n in counted] for few in (10, 21, 100, 200)]
    other = {"first": "second", "second": "first", "open": "open"}
    return {
        "you read the dots, or bars of one standard error: a 95% bar says whether a lead could be "
        "chance.": by_dots,
        "not all is open: some bars do not touch zero.": ["open"] * len(duels),
        "right of zero the reward of the first response is the larger one.": [
            other[word] for word in truth
        ],
        "ten votes are few, but nine to one is far from even: only the bar counts.": OneOf(
            by_number
        ),
        "the bars are compared with 1, the odds of equals: their rewards differ by 0.": (
            [_word(*votes, equal=1) for votes in duels.values()]
        ),
        "an interval that touches zero leaves it open; here it is the other way round.": (
            ["open" if t != "open" else d for t, d in zip(truth, by_dots, strict=True)]
        ),
    }


def _readings_fault(answer: Any, _: np.random.Generator, duels: Duels) -> str | None:
    """What is wrong with the words for the duels."""
    if is_blank(answer):
        return NOT_YET
    if isinstance(answer, np.ndarray):
        answer = answer.tolist()
    if not isinstance(answer, tuple | list) or len(answer) != len(duels):
        return f"expected a list of {len(duels)} words, for the duels {', '.join(duels)}."
    given, truth = [str(word) if isinstance(word, str) else word for word in answer], _truth(duels)
    if any(is_blank(word) for word in given):
        return NOT_YET
    strange = [word for word in given if word not in WORDS]
    if strange:
        return f'{strange[0]!r} is none of the three words "first", "second", "open".'
    if value_fault(given, truth, {}) is None:
        return None
    for sentence, mistaken in known(_misread(duels)):
        if given == mistaken:
            return sentence
    wrong = next(name for name, mine, true in zip(duels, given, truth, strict=True) if mine != true)
    return f"look at duel {wrong} again: on which side of zero does its bar lie, if on one?"


readings = Task("readings", _readings_fault, _misread(DUELS), _shuffled, DUELS)
