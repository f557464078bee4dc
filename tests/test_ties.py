"""Votes with ties: both models' probabilities, maximum likelihood, and its solver's steps."""

import math
import re
from itertools import combinations, permutations, product

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize
from votes import TWO_PROMPTS, complete_votes, rewards

from dpo_edu import datasets, preferences, statistics
from dpo_edu.ties import (
    _davidson_likelihood,
    _newton,
    _rao_kupper_likelihood,
    davidson,
    fit_davidson,
    fit_rao_kupper,
    rao_kupper,
)

TIE_MODELS = {
    "rao_kupper": (rao_kupper, fit_rao_kupper),
    "davidson": (davidson, fit_davidson),
}
with_each_tie_model = pytest.mark.parametrize(
    ("law", "fit"), TIE_MODELS.values(), ids=list(TIE_MODELS)
)


@st.composite
def votes_with_ties(draw, low: float = 0.5, high: float = 50.0):
    """Strategy: wins and ties ``(Y, Y)``; everybody beat everybody, some tied."""
    wins = draw(complete_votes(low, high))
    half = draw(hnp.arrays(float, wins.shape, elements=st.floats(0, high)))
    ties = np.triu(half, 1) + np.triu(half, 1).T
    ties[0, 1] = ties[1, 0] = max(ties[0, 1], low)
    return wins, ties


def likelihood_with_ties(law, wins, ties, reward, tie):
    """By hand, pair by pair."""
    win_chance, tie_chance = law(reward, tie)
    total = 0.0
    for a, b in combinations(range(len(wins)), 2):
        total += wins[a, b] * math.log(win_chance[a, b]) + wins[b, a] * math.log(win_chance[b, a])
        total += ties[a, b] * math.log(tie_chance[a, b]) if ties[a, b] else 0.0
    return total


# --- probabilities --------------------------------------------------------------------------------


@given(rewards(top=300.0), st.floats(0, 300))
def test_rao_kuppers_probabilities_are_those_of_the_paper(reward, threshold):
    """With worths pi and theta: pi_i / (pi_i + theta pi_j), and the tie by its own formula."""
    win, tie = rao_kupper(reward, threshold)
    with mp.workdps(400):
        theta = mp.exp(threshold)
        for a, b in permutations(range(len(reward)), 2):
            one, other = mp.exp(reward[a]), mp.exp(reward[b])
            beats = one / (one + theta * other)
            ties = (theta**2 - 1) * one * other / ((one + theta * other) * (theta * one + other))
            assert math.isclose(win[a, b], float(beats), rel_tol=1e-11, abs_tol=1e-300)
            assert math.isclose(tie[a, b], float(ties), rel_tol=1e-11, abs_tol=1e-300)


@given(rewards(top=300.0), st.floats(0, 1e6))
def test_davidsons_probabilities_are_those_of_the_paper(reward, prevalence):
    win, tie = davidson(reward, prevalence)
    with mp.workdps(400):
        for a, b in permutations(range(len(reward)), 2):
            one, other = mp.exp(reward[a]), mp.exp(reward[b])
            between = prevalence * mp.sqrt(one * other)
            total = one + other + between
            assert math.isclose(win[a, b], float(one / total), rel_tol=1e-11, abs_tol=1e-300)
            assert math.isclose(tie[a, b], float(between / total), rel_tol=1e-11, abs_tol=1e-300)


@with_each_tie_model
@given(reward=rewards(top=1000.0), tie=st.floats(0, 1000), shift=st.floats(-1000, 1000))
def test_a_vote_is_a_win_a_loss_or_a_tie(law, fit, reward, tie, shift):
    win, tied = law(reward, tie)
    np.testing.assert_allclose(win + win.T + tied, 1.0, atol=1e-12)
    assert (win >= 0).all() and (tied >= 0).all() and (tied == tied.T).all()
    for found, moved in zip((win, tied), law(reward + shift, tie), strict=True):
        np.testing.assert_allclose(moved, found, atol=1e-12)


@with_each_tie_model
@given(reward=rewards())
def test_without_ties_the_model_is_bradley_terry(law, fit, reward):
    win, tied = law(reward, 0.0)
    np.testing.assert_allclose(win, preferences.preference_matrix(reward), rtol=1e-13)
    assert not tied.any()


@with_each_tie_model
def test_every_prompt_may_have_its_own_tie_parameter(law, fit):
    reward = TWO_PROMPTS["reward"]
    together = law(reward, [0.3, 1.7])
    each = [law(one, tie) for one, tie in zip(reward, (0.3, 1.7), strict=True)]
    for found, alone in zip(together, zip(*each, strict=True), strict=True):
        assert np.array_equal(found, alone)
    assert np.array_equal(law(reward, 0.3)[0][0], each[0][0])


def test_dropping_ties_leaves_bradley_terry_under_davidson_only():
    reward = np.array([0.0, 0.8, -1.3])
    for law, same in ((davidson, True), (rao_kupper, False)):
        win, _ = law(reward, 0.7)
        given_a_winner = win / np.where(np.eye(3), 1, win + win.T)
        off = ~np.eye(3, dtype=bool)
        gap = np.abs(given_a_winner - preferences.preference_matrix(reward))[off]
        assert (gap.max() < 1e-14) if same else (gap.min() > 0.03)


@pytest.mark.parametrize(("law", "name"), [(rao_kupper, "threshold"), (davidson, "prevalence")])
def test_what_is_not_a_tie_parameter_is_refused(law, name):
    for bad in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"{name}: expected finite numbers >= 0, got"):
            law([0.0, 1.0], bad)
    said = f"{name}: expected a number or shape (), got shape (2,)"
    with pytest.raises(ValueError, match=re.escape(said)):
        law([0.0, 1.0], [0.1, 0.2])


# --- maximum likelihood ---------------------------------------------------------------------------


COUNTS = st.floats(0.1, 1000)


@given(COUNTS, COUNTS, COUNTS)
def test_two_responses_have_a_closed_form_under_davidson(won, lost, tied):
    fit = fit_davidson([[0, won], [lost, 0]], [[0, tied], [tied, 0]])
    assert math.isclose(fit.reward[0] - fit.reward[1], math.log(won / lost), abs_tol=1e-9)
    assert math.isclose(fit.tie, tied / math.sqrt(won * lost), rel_tol=1e-9)
    own, cross, other = fit.covariance[0, 0], fit.covariance[0, 1], fit.covariance[1, 1]
    assert math.isclose(own + other - 2 * cross, 1 / won + 1 / lost, rel_tol=1e-8)
    relative = 1 / tied + 1 / (4 * won) + 1 / (4 * lost)  # the variance of log nu
    assert math.isclose(fit.covariance[2, 2], fit.tie**2 * relative, rel_tol=1e-8)


@given(COUNTS, COUNTS, COUNTS)
def test_two_responses_have_a_closed_form_under_rao_kupper(won, lost, tied):
    fit = fit_rao_kupper([[0, won], [lost, 0]], [[0, tied], [tied, 0]])
    ahead, behind = math.log(won / (lost + tied)), math.log(lost / (won + tied))
    assert math.isclose(fit.reward[0] - fit.reward[1], (ahead - behind) / 2, abs_tol=1e-9)
    assert math.isclose(fit.tie, -(ahead + behind) / 2, rel_tol=1e-8, abs_tol=1e-9)


@settings(deadline=None)
@with_each_tie_model
@given(reward=rewards(), tie=st.floats(0.01, 4.0))
def test_the_population_of_votes_with_ties_gives_rewards_and_tie_parameter_back(
    law, fit, reward, tie
):
    win, tied = (chance * (1 - np.eye(len(reward))) for chance in law(reward, tie))
    found = fit(win, tied)
    np.testing.assert_allclose(found.reward, reward - reward.mean(), atol=1e-9)
    assert math.isclose(found.tie, tie, rel_tol=1e-9)


@settings(deadline=None, max_examples=30)
@with_each_tie_model
@given(votes=votes_with_ties())
def test_no_rewards_and_no_tie_parameter_make_votes_with_ties_likelier(law, fit, votes):
    """The slope is zero there, and the covariance inverts the curvature, both by differences."""
    wins, ties = votes
    found, size = fit(wins, ties), len(wins)
    assert abs(found.reward.sum()) < 1e-12

    def log_likelihood(move):  # the tie parameter moves by its logarithm
        move = np.asarray(move)
        tie = float(found.tie) * math.exp(move[size])
        return likelihood_with_ties(law, wins, ties, found.reward + move[:size], tie)

    best = log_likelihood(np.zeros(size + 1))
    rng = np.random.default_rng(0)
    for scale in (1e-3, 0.1, 1.0):
        assert log_likelihood(rng.normal(scale=scale, size=size + 1)) <= best + 1e-9
    h, axes = 1e-3, np.eye(size + 1)
    total = wins.sum() + ties.sum() / 2
    slope = [(log_likelihood(h * e) - log_likelihood(-h * e)) / (2 * h) for e in axes]
    np.testing.assert_allclose(slope, 0, atol=1e-5 * total)
    curvature = np.array(
        [
            [
                sum(
                    one * other * log_likelihood(h * (one * e + other * f))
                    for one, other in product((1, -1), repeat=2)
                )
                / (-4 * h * h)
                for f in axes
            ]
            for e in axes
        ]
    )
    scale = np.append(np.ones(size), 1 / float(found.tie))
    covariance = found.covariance * scale[:, None] * scale
    centring = np.eye(size + 1)
    centring[:size, :size] -= 1 / size
    np.testing.assert_allclose(curvature @ covariance, centring, atol=1e-3)
    np.testing.assert_allclose(found.covariance[:size].sum(axis=0), 0, atol=1e-9)


@with_each_tie_model
@pytest.mark.parametrize("seed", range(3))
def test_a_general_optimizer_finds_the_same_with_ties(law, fit, seed):
    rng = np.random.default_rng(seed)
    wins = rng.integers(1, 40, (5, 5)) * (1.0 - np.eye(5))
    ties = np.triu(rng.integers(0, 30, (5, 5)), 1).astype(float)
    ties += ties.T

    def loss(x):
        return -likelihood_with_ties(law, wins, ties, x[:5] - x[:5].mean(), math.exp(x[5]))

    best = optimize.minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-6})
    found = fit(wins, ties)
    np.testing.assert_allclose(found.reward, best.x[:5] - best.x[:5].mean(), atol=1e-5)
    assert math.isclose(found.tie, math.exp(best.x[5]), rel_tol=1e-5)


@given(votes_with_ties())
def test_under_davidson_wins_and_half_ties_are_as_many_as_expected(votes):
    wins, ties = votes
    fit = fit_davidson(wins, ties)
    win, tied = davidson(fit.reward, fit.tie)
    met = wins + wins.T + ties
    points = (met * (win + tied / 2)).sum(axis=1)
    np.testing.assert_allclose(points, (wins + ties / 2).sum(axis=1), rtol=1e-9)
    assert math.isclose((met * tied).sum(), ties.sum(), rel_tol=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_where_all_met_equally_often_davidson_ranks_by_wins_and_half_ties(seed):
    rng = np.random.default_rng(seed)
    wins, ties = np.zeros((2, 5, 5))
    for a, b in combinations(range(5), 2):
        wins[a, b], wins[b, a], ties[a, b] = rng.multinomial(17, [1 / 3] * 3) + 1
        ties[b, a] = ties[a, b]
    points = (wins + ties / 2).sum(axis=1)
    fit = fit_davidson(wins, ties)
    for a, b in permutations(range(5), 2):
        if points[a] > points[b]:
            assert fit.reward[a] > fit.reward[b]


@with_each_tie_model
@given(wins=complete_votes())
def test_votes_without_a_tie_have_the_rewards_of_bradley_terry(law, fit, wins):
    found = fit(wins, np.zeros_like(wins))
    assert np.array_equal(found.reward, preferences.fit_bradley_terry(wins))
    assert found.tie == 0
    expected = statistics.covariance(found.reward, wins + wins.T)
    np.testing.assert_allclose(found.covariance[:-1, :-1], expected, rtol=1e-9, atol=1e-15)
    assert np.isnan(found.covariance[-1]).all() and np.isnan(found.covariance[:, -1]).all()


@with_each_tie_model
@given(votes=votes_with_ties(), factor=st.sampled_from([1e-200, 1e-3, 10.0, 1e200]))
def test_more_votes_of_the_same_kind_change_only_the_errors(law, fit, votes, factor):
    one, more = fit(*votes), fit(*(factor * a for a in votes))
    np.testing.assert_allclose(more.reward, one.reward, atol=1e-9)
    assert math.isclose(more.tie, one.tie, rel_tol=1e-9)
    np.testing.assert_allclose(factor * more.covariance, one.covariance, rtol=1e-7, atol=1e-12)


@with_each_tie_model
@given(votes=votes_with_ties(), data=st.data())
def test_renaming_and_turning_round_votes_with_ties_does_the_same_to_rewards(law, fit, votes, data):
    wins, ties = votes
    names = np.array(data.draw(st.permutations(range(len(wins)))))
    one = fit(wins, ties)
    renamed = fit(wins[np.ix_(names, names)], ties[np.ix_(names, names)])
    turned = fit(wins.T, ties)
    np.testing.assert_allclose(renamed.reward, one.reward[names], atol=1e-9)
    np.testing.assert_allclose(turned.reward, -one.reward, atol=1e-9)
    for found in (renamed, turned):
        assert math.isclose(found.tie, one.tie, rel_tol=1e-9)


@with_each_tie_model
def test_votes_with_ties_at_many_prompts_are_fitted_one_by_one(law, fit):
    votes = datasets.mtbench_votes()
    together = fit(votes.wins, votes.ties)
    each = [fit(*one) for one in zip(votes.wins, votes.ties, strict=True)]
    for name in ("reward", "tie", "covariance"):
        expected = np.array([getattr(one, name) for one in each])
        assert np.array_equal(getattr(together, name), expected)
    folded = fit(votes.wins.reshape(4, 2, 6, 6), votes.ties.reshape(4, 2, 6, 6))
    assert np.array_equal(folded.reward.reshape(8, 6), together.reward)
    shapes = [fit(np.zeros((0, 3, 3)), np.zeros((0, 3, 3)))[at].shape for at in range(3)]
    assert shapes == [(0, 3), (0,), (0, 4, 4)]
    alone = fit([[0]], [[0]])
    assert alone.reward.tolist() == [0.0] and alone.tie == 0


def grows_for_ever(wins, ties):
    """Whether rewards a and a tie parameter c can move so that no vote gets less probable.

    A win asks a_i - a_j >= c, a tie |a_i - a_j| <= c; by linear programming, for c = 0 (with some
    a_i not the same) and for c = 1.
    """
    size, rows, bounds = len(wins), [], []
    for a, b in permutations(range(size), 2):
        row = np.zeros(size)
        row[[a, b]] = -1, 1
        if wins[a, b]:
            rows, bounds = [*rows, row], [*bounds, -1]
        if ties[a, b]:
            rows, bounds = [*rows, row], [*bounds, 1]
    rows, bounds, free = np.array(rows), np.array(bounds), [(None, None)] * size
    if optimize.linprog(np.zeros(size), rows, bounds, bounds=free).success:
        return True
    return any(
        optimize.linprog(
            np.zeros(size), rows, 0 * bounds, A_eq=np.eye(size)[[a, b]], b_eq=[1, 0], bounds=free
        ).success
        for a, b in permutations(range(size), 2)
    )


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_votes_with_ties_have_an_estimate_if_and_only_if_the_likelihood_has_a_top(data):
    few = st.integers(0, 9).map(lambda count: float(max(0, count - 6)))
    wins = data.draw(hnp.arrays(float, (4, 4), elements=few)) * (1 - np.eye(4))
    half = np.triu(data.draw(hnp.arrays(float, (4, 4), elements=few)), 1)
    ties = half + half.T
    ties[2, 3] = ties[3, 2] = 1.0
    for law, fit in TIE_MODELS.values():
        if grows_for_ever(wins, ties):
            with pytest.raises(ValueError, match="wins and ties: expected"):
                fit(wins, ties)
        else:
            found = fit(wins, ties)
            best = likelihood_with_ties(law, wins, ties, found.reward, found.tie)
            for tie in (0.9 * found.tie, 1.1 * found.tie):
                assert likelihood_with_ties(law, wins, ties, found.reward, tie) < best


@with_each_tie_model
@pytest.mark.parametrize(
    ("wins", "ties", "said"),
    [
        (np.zeros((2, 2)), np.zeros((3, 3)), "ties: expected shape (2, 2), got shape (3, 3)"),
        (np.ones((2, 2)) - np.eye(2), [[0, 1], [2, 0]], "ties: expected a symmetric array"),
        (np.ones((2, 2)) - np.eye(2), [[1, 1], [1, 0]], "ties: expected a zero diagonal"),
        ([[0, -1], [1, 0]], np.zeros((2, 2)), "wins: expected counts >= 0, got -1.0"),
        (
            np.zeros((3, 3)),
            [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
            "wins and ties: expected a connected comparison graph, got components [0, 1] and [2]",
        ),
        (
            [[0, 1, 1], [0, 0, 1], [0, 1, 0]],
            np.zeros((3, 3)),
            "got responses [0] that never lost to the others: no finite estimate exists",
        ),
        (
            [[0, 3], [0, 0]],
            [[0, 1], [1, 0]],
            "wins and ties: expected a round trip, to a response beaten or tied at each step, with "
            "more wins than ties, got none: no finite estimate exists",
        ),
    ],
)
def test_votes_without_an_estimate_with_ties_are_refused_with_the_reason(
    law, fit, wins, ties, said
):
    with pytest.raises(ValueError, match=re.escape(said)):
        fit(wins, ties)


def test_the_refusal_names_the_prompt():
    wins, ties = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    wins[0] = 1 - np.eye(2)
    ties[1] = 1 - np.eye(2)
    with pytest.raises(ValueError, match="wins and ties at index 1: expected a round trip"):
        fit_davidson(wins, ties)


@with_each_tie_model
@pytest.mark.parametrize("small", [1e-5, 1e-9])
def test_a_rare_upset_among_votes_with_ties_is_resolved(law, fit, small):
    found = fit([[0, 1], [small, 0]], [[0, 0.5], [0.5, 0]])
    win, tied = law(found.reward, found.tie)
    expected = np.array([1, small, 0.5]) / (1.5 + small)
    np.testing.assert_allclose([win[0, 1], win[1, 0], tied[0, 1]], expected, rtol=1e-5)


@with_each_tie_model
@pytest.mark.parametrize("small", [1e-100, 5e-324])
def test_counts_with_ties_too_different_for_float64_are_refused_not_guessed(law, fit, small):
    said = f"{fit.__name__}: the counts differ too much for float64 to resolve"
    with pytest.raises(ArithmeticError, match=said):
        fit([[0, 1], [small, 0]], [[0, 0.5], [0.5, 0]])


# --- the solver -----------------------------------------------------------------------------------


REWARD = np.array([0.3, -0.7, 1.1])
WINS = np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 0.5], [4.0, 1.5, 0.0]])
TIES = np.array([[0.0, 2.0, 0.0], [2.0, 0.0, 1.25], [0.0, 1.25, 0.0]])


def log_rao_kupper(lead, eta):
    """log P(win), log P(loss), log P(tie) of one pair, written out."""
    win, loss = 1 / (1 + mp.exp(eta - lead)), 1 / (1 + mp.exp(eta + lead))
    return mp.log(win), mp.log(loss), mp.log(1 - win - loss)


def log_davidson(lead, log_nu):
    worth = mp.exp(lead / 2), mp.exp(-lead / 2), mp.exp(log_nu)
    return [mp.log(x / mp.fsum(worth)) for x in worth]


def by_hand(model, *parameters):
    """The log-likelihood of the votes above at rewards and a tie parameter."""
    *reward, tie = parameters
    total = mp.mpf(0)
    for a, b in combinations(range(3), 2):
        chances = model(reward[a] - reward[b], tie)
        counts = (WINS[a, b], WINS[b, a], TIES[a, b])
        total += mp.fsum(n * log_p for n, log_p in zip(counts, chances, strict=True))
    return total


@pytest.mark.parametrize(
    ("likelihood", "model", "tie"),
    [
        (_rao_kupper_likelihood, log_rao_kupper, 0.4),
        (_rao_kupper_likelihood, log_rao_kupper, 3.0),
        (_davidson_likelihood, log_davidson, -0.5),
        (_davidson_likelihood, log_davidson, 2.0),
    ],
)
def test_value_slope_and_information_are_those_of_the_likelihood_by_hand(likelihood, model, tie):
    value, slope, information = likelihood(WINS, TIES)(REWARD, tie)
    with mp.workdps(60):
        at, h = [mp.mpf(x) for x in (*REWARD, tie)], mp.mpf(10) ** -12

        def moved(*axes):
            return [x + h * sum(s for k, s in axes if k == place) for place, x in enumerate(at)]

        def second(i, j):
            corners = [(a * b, moved((i, a), (j, b))) for a in (1, -1) for b in (1, -1)]
            return mp.fsum(sign * by_hand(model, *x) for sign, x in corners) / (4 * h * h)

        first = [
            (by_hand(model, *moved((k, 1))) - by_hand(model, *moved((k, -1)))) / (2 * h)
            for k in range(4)
        ]
        curvature = [[float(-second(i, j)) for j in range(4)] for i in range(4)]
        assert value == pytest.approx(float(by_hand(model, *at)), rel=1e-13)
    np.testing.assert_allclose(slope, [float(x) for x in first], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(information, curvature, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("fit", [fit_rao_kupper, fit_davidson])
def test_counts_without_ties_may_be_as_large_as_float64_allows(fit):
    wins = np.array([[0, 0.5, 1.0], [1.0, 0, 0.5], [0.25, 1.0, 0]])
    one, most = fit(wins, np.zeros((3, 3))), fit(1e308 * wins, np.zeros((3, 3)))
    np.testing.assert_allclose(most.reward, one.reward, atol=1e-12)
    np.testing.assert_allclose(1e308 * most.covariance[:3, :3], one.covariance[:3, :3], rtol=1e-6)


def climbed(*steps, values=None):
    """Where a solver ends, and after how many looks, whose likelihood asks for just these steps.

    The likelihood looks at its k-th visit like ``values[k]`` and asks for a step in the tie
    parameter of ``steps[k]``.
    """
    seen = []

    def likelihood(reward, tie):
        seen.append(tie)
        value = values[len(seen) - 1] if values else -1.0
        return value, np.array([0.0, steps[len(seen) - 1]]), np.diag([0.0, 1.0])

    _, tie, _ = _newton(likelihood, 1, 0.0, -math.inf, "fit")
    return tie, len(seen)


@pytest.mark.parametrize(
    ("steps", "looks"),
    [
        ((0.0,), 2),
        ((1e-12,), 2),
        ((1.1e-12, 1e-13), 3),
        ((1.0, 1e-2, -1e-13), 4),
        ((1.0, 1e-7, 1e-8, 1e-8), 5),
        ((1.0, 1e-8, 1e-7), 4),
        ((1e-3, 1e-3, 2e-3, 1e-6, 1e-6, 1e-7, 1e-13), 8),
    ],
)
def test_steps_end_when_they_vanish_or_stop_shrinking_below_a_millionth(steps, looks):
    assert climbed(*steps, 1.0, 1.0) == (pytest.approx(math.fsum(steps), abs=1e-15), looks)


def test_after_five_hundred_steps_the_last_must_be_under_a_millionth():
    assert climbed(*[1.0] * 499, 0.99e-6, 1.0)[1] == 501
    for last in (1e-6, 1e-4, 1.0):
        with pytest.raises(ArithmeticError, match="fit: the counts differ too much"):
            climbed(*[1.0] * 499, last, 1.0)


def test_a_step_that_goes_down_is_halved_until_it_does_not():
    tie, looks = climbed(1.0, 9.0, 9.0, 0.0, 0.0, values=[-1.0, -1.0 - 1e-9, -1.5, -0.5, -0.5])
    assert (tie, looks) == (0.25, 5)
    tie, looks = climbed(1.0, 0.0, 0.0, values=[-1.0, -1.0 - 1e-13, -1.0])  # rounding is no descent
    assert (tie, looks) == (1.0, 3)


def test_a_step_out_of_the_domain_is_halved_before_it_is_tried():
    seen = []

    def likelihood(reward, tie):
        seen.append(tie)
        return 1.0, np.array([0.0, [-4.0, 0.0, 0.0][len(seen) - 1]]), np.diag([0.0, 1.0])

    _, tie, _ = _newton(likelihood, 1, 1.0, 0.0, "fit")
    assert seen == [1.0, 0.5, 0.5] and tie == 0.5


def test_rewards_that_curvature_does_not_resolve_are_refused():
    def likelihood(reward, tie):
        laplacian = np.array([[1, -1, 0], [-1, 1 + 1e-14, -1e-14], [0, -1e-14, 1e-14]])
        return 0.0, np.zeros(4), np.block([[laplacian, np.zeros((3, 1))], [np.zeros((1, 3)), 1.0]])

    with pytest.raises(ArithmeticError, match="fit: the counts differ too much"):
        _newton(likelihood, 3, 0.0, -math.inf, "fit")
