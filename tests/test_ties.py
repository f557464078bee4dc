"""The solver for votes with ties: its likelihoods by hand, and when its steps end."""

import math
from itertools import combinations

import mpmath as mp
import numpy as np
import pytest

from dpo_edu import preferences

REWARD = np.array([0.3, -0.7, 1.1])
WINS = np.array([[0.0, 3.0, 1.0], [2.0, 0.0, 0.5], [4.0, 1.5, 0.0]])
TIES = np.array([[0.0, 2.0, 0.0], [2.0, 0.0, 1.25], [0.0, 1.25, 0.0]])


def rao_kupper(lead, eta):
    """log P(win), log P(loss), log P(tie) of one pair, written out."""
    win, loss = 1 / (1 + mp.exp(eta - lead)), 1 / (1 + mp.exp(eta + lead))
    return mp.log(win), mp.log(loss), mp.log(1 - win - loss)


def davidson(lead, log_nu):
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
        (preferences._rao_kupper_likelihood, rao_kupper, 0.4),
        (preferences._rao_kupper_likelihood, rao_kupper, 3.0),
        (preferences._davidson_likelihood, davidson, -0.5),
        (preferences._davidson_likelihood, davidson, 2.0),
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


@pytest.mark.parametrize("fit", [preferences.fit_rao_kupper, preferences.fit_davidson])
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

    _, tie, _ = preferences._newton_with_ties(likelihood, 1, 0.0, -math.inf, "fit")
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

    _, tie, _ = preferences._newton_with_ties(likelihood, 1, 1.0, 0.0, "fit")
    assert seen == [1.0, 0.5, 0.5] and tie == 0.5


def test_rewards_that_curvature_does_not_resolve_are_refused():
    def likelihood(reward, tie):
        laplacian = np.array([[1, -1, 0], [-1, 1 + 1e-14, -1e-14], [0, -1e-14, 1e-14]])
        return 0.0, np.zeros(4), np.block([[laplacian, np.zeros((3, 1))], [np.zeros((1, 3)), 1.0]])

    with pytest.raises(ArithmeticError, match="fit: the counts differ too much"):
        preferences._newton_with_ties(likelihood, 3, 0.0, -math.inf, "fit")
