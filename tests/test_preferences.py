"""Bradley-Terry: probabilities, sampling, counting, maximum likelihood."""

import math
import re
from itertools import product

import choix
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, optimize
from scipy.stats import chi2, gumbel_r
from votes import (
    FALSE_ALARM,
    JOURNALS,
    REAL_VOTES,
    TWO_PROMPTS,
    chi_square,
    complete_votes,
    never_losing_groups,
    rewards,
)

from dpo_edu import _estimate, datasets, preferences
from dpo_edu.preferences import PreferencePairs

# The estimates that BradleyTerry2 reports for the journals, relative to the first (Turner and Firth
# 2012, JSS 48(9)).
JOURNAL_REWARDS = [0.0, -2.9491, -0.4796, 0.2690]


def policies(y: int):
    """Strategy: policies ``(Y,)`` whose probabilities differ by a factor of 100 at most."""
    return hnp.arrays(float, y, elements=st.floats(0.01, 1)).map(lambda w: w / w.sum())


def law_by_enumeration(reward, behaviour, weights):
    """The law of (prompt, winner, loser): a prompt, two draws thrown away if equal, a vote."""
    x, y = reward.shape
    law = np.zeros((x, y, y))
    for at in range(x):
        b = behaviour[at]
        kept = sum(
            b[first] * b[second] for first, second in product(range(y), repeat=2) if first != second
        )
        for first, second in product(range(y), repeat=2):
            if first == second:
                continue
            shown = weights[at] * b[first] * b[second] / kept
            ahead = reward[at, first] - reward[at, second]
            law[at, first, second] += shown / (1 + math.exp(-ahead))
            law[at, second, first] += shown / (1 + math.exp(ahead))
    return law


# --- pairs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [int, np.int32, np.uint8])
def test_pairs_hold_whole_numbers_of_any_kind_as_int64(dtype):
    pairs = PreferencePairs(*np.array([[0, 1], [2, 0], [1, 3]], dtype=dtype))
    assert len(pairs) == 2
    assert {a.dtype for a in (pairs.prompt, pairs.chosen, pairs.rejected)} == {np.dtype(np.int64)}
    assert pairs.chosen.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (([0.0], [1], [0]), "prompt: expected whole numbers >= 0, shape (N,), got array([0.])"),
        (([0], [-1], [0]), "chosen: expected whole numbers >= 0, shape (N,), got array([-1])"),
        (([0], [1], [[0]]), "rejected: expected whole numbers >= 0, shape (N,), got array([[0]])"),
        (([0], [True], [0]), "chosen: expected whole numbers >= 0, shape (N,), got array([ True])"),
        (
            ([0, 0], [1], [0]),
            "prompt, chosen, rejected: expected one common length N, got lengths (2, 1, 1)",
        ),
        (
            (np.zeros(0, int),) * 3,
            "prompt: expected at least one vote, got none",
        ),
        (
            ([0, 0], [1, 2], [0, 2]),
            "rejected: expected a response other than chosen, got both equal at 1",
        ),
    ],
)
def test_arrays_that_are_not_pairs_are_refused(arrays, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        PreferencePairs(*arrays)


# --- probabilities -------------------------------------------------------------------------------


@given(rewards())
def test_the_preference_matrix_is_one_exponential_over_two(reward):
    worth = np.exp(reward)
    expected = worth[:, None] / (worth[:, None] + worth)
    np.testing.assert_allclose(preferences.preference_matrix(reward), expected, rtol=1e-13)


@given(rewards(top=1000.0), st.floats(-1000, 1000))
def test_votes_are_fair_and_see_only_differences(reward, shift):
    p = preferences.preference_matrix(reward)
    np.testing.assert_allclose(p + p.T, 1.0, atol=1e-15)
    assert (np.diag(p) == 0.5).all()
    np.testing.assert_allclose(preferences.preference_matrix(reward + shift), p, atol=1e-12)


def test_the_preference_matrix_has_its_row_win():
    assert preferences.preference_matrix([2.0, 0.0])[0, 1] > 0.85


@pytest.mark.parametrize("gap", [-2.0, 0.0, 0.3, 4.0])
def test_a_vote_is_a_comparison_of_rewards_with_gumbel_noise(gap):
    """Random utility: P(r_w + G_w > r_l + G_l), integrated over the loser's noise."""

    def at_noise(g):
        return gumbel_r.pdf(g) * gumbel_r.sf(g - gap)

    found = integrate.quad(at_noise, -8, 60, epsabs=1e-13)[0]
    assert abs(preferences.preference_matrix([gap, 0.0])[0, 1] - found) < 1e-11


def test_rewards_of_a_thousand_neither_overflow_nor_lose_their_small_probability():
    p = preferences.preference_matrix([[1000.0, -1000.0], [0.0, -700.0]])
    assert p[0].tolist() == [[0.5, 1.0], [0.0, 0.5]]
    assert math.isclose(p[1, 1, 0], math.exp(-700.0), rel_tol=1e-12)


def test_many_prompts_are_handled_one_by_one():
    many = np.random.default_rng(0).normal(size=(2, 3, 4))
    p = preferences.preference_matrix(many)
    assert p.shape == (2, 3, 4, 4)
    for at in np.ndindex(2, 3):
        assert (p[at] == preferences.preference_matrix(many[at])).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rewards_must_be_finite(bad):
    with pytest.raises(ValueError, match=f"reward: expected finite numbers, got {bad}"):
        preferences.preference_matrix([0.0, bad])


# --- the law of a vote ---------------------------------------------------------------------------


def test_expected_wins_is_the_law_of_two_draws_thrown_away_if_equal():
    expected = law_by_enumeration(*TWO_PROMPTS.values())
    found = preferences.expected_wins(**TWO_PROMPTS)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=0)
    assert math.isclose(found.sum(), 1.0, rel_tol=1e-14)


@given(st.integers(2, 5).flatmap(lambda y: st.tuples(rewards(y), policies(y))))
def test_expected_wins_of_one_prompt_is_that_law_too(given_):
    reward, behaviour = given_
    expected = law_by_enumeration(reward[None], behaviour[None], [1.0])
    found = preferences.expected_wins(reward, behaviour)
    assert found.shape == (1, len(reward), len(reward))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


def test_each_prompt_gets_its_weight_however_often_its_draws_collide():
    mu = preferences.pair_distribution(TWO_PROMPTS["behaviour"], TWO_PROMPTS["prompt_weights"])
    np.testing.assert_allclose(mu.sum(axis=(1, 2)), [0.3, 0.7], rtol=1e-14)
    np.testing.assert_allclose(mu, mu.swapaxes(1, 2), rtol=1e-14)
    assert not np.diagonal(mu, axis1=1, axis2=2).any()


def test_prompts_are_equally_frequent_unless_weighted():
    mu = preferences.pair_distribution(np.full((4, 3), 1 / 3))
    np.testing.assert_allclose(mu.sum(axis=(1, 2)), 0.25, rtol=1e-14)


def test_one_behaviour_serves_all_prompts_and_one_reward_all_behaviours():
    behaviour, reward = np.array([0.2, 0.3, 0.5]), np.array([0.0, 1.0, 2.0])
    both = preferences.expected_wins(np.tile(reward, (2, 1)), np.tile(behaviour, (2, 1)))
    assert (preferences.expected_wins(np.tile(reward, (2, 1)), behaviour) == both).all()
    assert (preferences.expected_wins(reward, np.tile(behaviour, (2, 1))) == both).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ([0.0, 1.0], [0.5, 0.4]),
            "behaviour: expected rows summing to 1, got a row summing to 0.9",
        ),
        (([0.0, 1.0], [1.5, -0.5]), "behaviour: expected probabilities >= 0, got -0.5"),
        (([0.0, 1.0], [1.0, 0.0]), "behaviour: expected mass on two responses or more, got all"),
        (([0.0, np.nan], [0.5, 0.5]), "reward: expected finite numbers, got nan"),
        (([0.0, 1.0, 2.0], [0.5, 0.5]), "reward and behaviour: expected shapes that fit, got"),
        (
            ([0.0, 1.0], [[[0.5, 0.5]]]),
            "behaviour: expected shape (Y,) or (X, Y), got shape (1, 1, 2)",
        ),
    ],
)
def test_what_is_not_a_law_is_refused(arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        preferences.expected_wins(*arguments)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([0.5, 0.5], "prompt_weights: expected shape (1,), got shape (2,)"),
        ([0.5], "prompt_weights: expected rows summing to 1, got a row summing to 0.5"),
    ],
)
def test_prompt_weights_must_fit(weights, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        preferences.expected_wins([0.0, 1.0], [0.5, 0.5], prompt_weights=weights)


# --- sampling ------------------------------------------------------------------------------------


def sampled(size, seed, **problem):
    return preferences.sample_pairs(**problem, size=size, rng=np.random.default_rng(seed))


def test_sampled_votes_follow_the_law():
    counts = preferences.count_wins(sampled(200_000, 1, **TWO_PROMPTS), (2, 4))
    statistic, critical = chi_square(counts, law_by_enumeration(*TWO_PROMPTS.values()))
    assert statistic < critical


def test_sampled_votes_agree_with_the_story_played_out():
    """Two draws from the behaviour, thrown away when equal, and a noisy comparison: no formula."""
    rng, size = np.random.default_rng(2), 200_000
    reward, behaviour, weights = TWO_PROMPTS.values()
    prompt = rng.choice(2, size=3 * size, p=weights)
    above = behaviour.cumsum(axis=1)[prompt][:, None, :] < rng.random((3 * size, 2, 1))
    first, second = np.minimum(above.sum(axis=2), 3).T
    noisy = reward[prompt[:, None], np.column_stack([first, second])] + rng.gumbel(
        size=(3 * size, 2)
    )
    won = np.where(noisy[:, 0] > noisy[:, 1], first, second)
    played = np.zeros((2, 4, 4))
    kept = first != second
    np.add.at(played, (prompt[kept], won[kept], (first + second - won)[kept]), 1)
    # Prompts collide differently often, so each prompt is compared with its own share.
    ours = preferences.count_wins(sampled(size, 3, **TWO_PROMPTS), (2, 4))
    statistic = 0.0
    for a, b in zip(ours, played, strict=True):
        a, b = a[~np.eye(4, dtype=bool)], b[~np.eye(4, dtype=bool)]
        pooled = (a + b) / (a.sum() + b.sum())
        for counts in (a, b):
            statistic += ((counts - counts.sum() * pooled) ** 2 / (counts.sum() * pooled)).sum()
    assert statistic < chi2.isf(FALSE_ALARM, 2 * 11)


def test_the_same_seed_gives_the_same_votes_and_another_seed_others():
    one, same, other = (sampled(50, seed, **TWO_PROMPTS) for seed in (4, 4, 5))
    assert (one.chosen == same.chosen).all()
    assert not (one.chosen == other.chosen).all()


def test_what_has_no_mass_is_never_shown():
    behaviour = np.array([[0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [0.4, 0.3, 0.3]])
    pairs = sampled(
        5000, 6, reward=np.zeros((3, 3)), behaviour=behaviour, prompt_weights=[0.5, 0.5, 0.0]
    )
    shown = set(zip(pairs.prompt.tolist(), pairs.chosen.tolist(), strict=True))
    assert shown == {(0, 0), (0, 2), (1, 1), (1, 2)}


@pytest.mark.parametrize("draw", [0.0, np.nextafter(1.0, 0.0)])
@pytest.mark.parametrize("responses", [2, 3, 7])
def test_the_ends_of_the_unit_interval_are_votes_too(draw, responses):
    class Constant(np.random.Generator):
        def random(self, size):
            return np.full(size, draw)

    uniform = np.full(responses, 1 / responses)
    rng = Constant(np.random.PCG64(0))
    pairs = preferences.sample_pairs(np.zeros(responses), uniform, size=1, rng=rng)
    ends = (0, 1) if draw == 0 else (responses - 1, responses - 2)
    assert (pairs.chosen[0], pairs.rejected[0]) == ends


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_sample_has_a_positive_whole_size(size):
    with pytest.raises(ValueError, match=f"size: expected a whole number >= 1, got {size}"):
        sampled(size, 0, reward=[0.0, 1.0], behaviour=[0.5, 0.5])


@pytest.mark.parametrize("rng", [None, 7, np.random.RandomState(0)])
def test_sampling_needs_a_generator(rng):
    said = f"rng: expected a numpy.random.Generator, got {type(rng).__name__}"
    with pytest.raises(ValueError, match=re.escape(said)):
        preferences.sample_pairs([0.0, 1.0], [0.5, 0.5], size=1, rng=rng)


# --- counting ------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 2), st.permutations(range(4))), min_size=1))
def test_counting_is_adding_up_one_by_one(votes):
    prompt, orders = zip(*votes, strict=True)
    pairs = PreferencePairs(prompt, [o[0] for o in orders], [o[1] for o in orders])
    expected = np.zeros((3, 4, 4))
    for x, (chosen, rejected, *_) in votes:
        expected[x, chosen, rejected] += 1
    assert (preferences.count_wins(pairs, (3, 4)) == expected).all()


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3), "pairs: expected prompts < 1 and responses < 3, got prompt 1 and response 2"),
        ((2, 2), "pairs: expected prompts < 2 and responses < 2, got prompt 1 and response 2"),
        ((2, 0), "shape: expected a whole number >= 1, got 0"),
        ((2, 3.0), "shape: expected a whole number >= 1, got 3.0"),
        ((3,), "shape: expected (X, Y), got (3,)"),
    ],
)
def test_votes_must_lie_inside_the_shape(shape, said):
    for chosen, rejected in ((2, 0), (0, 2)):
        with pytest.raises(ValueError, match=re.escape(said)):
            preferences.count_wins(PreferencePairs([1], [chosen], [rejected]), shape)


@pytest.mark.parametrize(("chosen", "rejected"), [([0, 2], [1, 0]), ([0, 1], [2, 0])])
def test_the_highest_response_may_have_won_or_lost_and_once_is_enough(chosen, rejected):
    with pytest.raises(ValueError, match="responses < 2, got prompt 0 and response 2"):
        preferences.count_wins(PreferencePairs([0, 0], chosen, rejected), (1, 2))


# --- likelihood ----------------------------------------------------------------------------------


def test_the_log_likelihood_is_the_log_of_the_product_of_the_probabilities():
    reward, wins = [0.3, -1.0, 2.0], [[0, 2, 0], [1, 0, 1], [3, 0, 0]]
    product_ = 1.0
    for i, j in product(range(3), repeat=2):
        product_ *= (1 / (1 + math.exp(reward[j] - reward[i]))) ** wins[i][j]
    assert math.isclose(preferences.log_likelihood(reward, wins), math.log(product_), rel_tol=1e-13)


@given(complete_votes(), st.floats(0.01, 100))
def test_the_log_likelihood_is_linear_in_the_counts(wins, factor):
    reward = np.linspace(-1, 2, len(wins))
    one = preferences.log_likelihood(reward, wins)
    assert math.isclose(preferences.log_likelihood(reward, factor * wins), factor * one)


def test_the_log_likelihood_survives_rewards_that_no_probability_survives():
    assert preferences.log_likelihood([1e4, -1e4], [[0, 1], [2, 0]]) == -4e4


def test_log_likelihoods_of_many_prompts_are_their_own():
    rng = np.random.default_rng(7)
    reward, wins = rng.normal(size=(3, 4)), rng.random((3, 4, 4)) * (1 - np.eye(4))
    expected = [preferences.log_likelihood(r, w) for r, w in zip(reward, wins, strict=True)]
    assert preferences.log_likelihood(reward, wins).tolist() == expected


# --- components ----------------------------------------------------------------------------------


def reachable(adjacent):
    """Which index can be reached from which, by Warshall's algorithm."""
    reach = adjacent | np.eye(len(adjacent), dtype=bool)
    for k in range(len(adjacent)):
        reach |= reach[:, [k]] & reach[[k], :]
    return reach


@given(st.integers(1, 6).flatmap(lambda y: hnp.arrays(bool, (y, y))), st.booleans())
def test_components_are_what_can_be_reached_from_each_other(won, strong):
    won = won & ~np.eye(len(won), dtype=bool)
    reach = reachable(won if strong else won | won.T)
    expected = sorted(
        {tuple(np.flatnonzero(row & col)) for row, col in zip(reach, reach.T, strict=True)}
    )
    found = preferences.components(won.astype(float), strong=strong)
    assert [tuple(group) for group in found] == expected


def test_components_are_those_of_one_prompt():
    with pytest.raises(
        ValueError, match=re.escape("wins: expected shape (Y, Y), got shape (1, 2, 2)")
    ):
        preferences.components(np.zeros((1, 2, 2)))


# --- maximum likelihood: right answers -----------------------------------------------------------


@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12))
def test_two_responses_differ_by_the_log_of_their_odds(a, b):
    low, high = preferences.fit_bradley_terry([[0, a], [b, 0]])
    assert math.isclose(high - low, math.log(b) - math.log(a), rel_tol=1e-12, abs_tol=1e-12)
    assert low == -high


def test_the_published_estimates_for_the_journals_are_found():
    found = preferences.fit_bradley_terry(JOURNALS)
    np.testing.assert_allclose(found - found[0], JOURNAL_REWARDS, atol=5.1e-5)


def test_the_published_estimates_for_baseball_are_found():
    votes = datasets.baseball_votes()
    found = preferences.fit_bradley_terry(votes.wins)[0]
    named = dict(
        zip(votes.responses, found - found[votes.responses.index("Baltimore")], strict=True)
    )
    published = {"Milwaukee": 1.58, "Detroit": 1.44, "Toronto": 1.29, "New York": 1.25}
    published |= {"Boston": 1.11, "Cleveland": 0.68, "Baltimore": 0.0}
    assert {name: round(value, 2) for name, value in named.items()} == published


@pytest.mark.parametrize("wins", REAL_VOTES.values(), ids=REAL_VOTES)
def test_choix_finds_the_same(wins):
    expected = choix.ilsr_pairwise_dense(wins, tol=1e-13)
    np.testing.assert_allclose(preferences.fit_bradley_terry(wins), expected, atol=1e-10)


@pytest.mark.parametrize("wins", REAL_VOTES.values(), ids=REAL_VOTES)
def test_a_likelihood_written_by_hand_has_its_maximum_there(wins):
    """One reward fixed at 0, the others free; minimised by BFGS without derivatives' help."""

    def loss(free):
        r = np.append(free, 0.0)
        return (wins * np.log1p(np.exp(r[None, :] - r[:, None]))).sum() / wins.sum()

    best = np.append(optimize.minimize(loss, np.zeros(len(wins) - 1), tol=1e-10).x, 0.0)
    found = preferences.fit_bradley_terry(wins)
    np.testing.assert_allclose(found - found[-1], best, atol=1e-5)


@given(complete_votes())
def test_expected_wins_are_the_observed_wins(wins):
    p = preferences.preference_matrix(preferences.fit_bradley_terry(wins))
    expected = ((wins + wins.T) * p).sum(axis=1)
    np.testing.assert_allclose(expected, wins.sum(axis=1), rtol=1e-11)


@settings(max_examples=25)
@given(complete_votes(low=1.0))  # at odds of 1000 between groups its steps are too many
def test_zermelos_iteration_ends_there_too(wins):
    """1929's own algorithm: each worth is its wins over the sum of its meetings' shares."""
    worth = np.ones(len(wins))
    for _ in range(20_000):
        share = (wins + wins.T) / (worth[:, None] + worth)
        new = wins.sum(axis=1) / share.sum(axis=1)
        new /= np.exp(np.log(new).mean())
        if np.abs(np.log(new / worth)).max() < 1e-14:
            break
        worth = new
    np.testing.assert_allclose(preferences.fit_bradley_terry(wins), np.log(worth), atol=1e-9)


@given(complete_votes(), st.integers(0, 2**32 - 1))
def test_no_other_rewards_are_likelier(wins, seed):
    found = preferences.fit_bradley_terry(wins)
    others = found + np.random.default_rng(seed).normal(
        scale=[[1e-3], [0.1], [3.0]], size=(3, len(wins))
    )
    best = preferences.log_likelihood(found, wins)
    assert (preferences.log_likelihood(others, wins) <= best + 1e-12 * wins.sum()).all()


@given(st.integers(2, 6).flatmap(lambda y: st.tuples(rewards(y), policies(y))))
def test_the_population_of_votes_gives_the_rewards_back(given_):
    reward, behaviour = given_
    found = preferences.fit_bradley_terry(preferences.expected_wins(reward, behaviour))
    np.testing.assert_allclose(found[0], reward - reward.mean(), atol=1e-9)


# --- maximum likelihood: symmetries --------------------------------------------------------------


@given(complete_votes())
def test_the_rewards_sum_to_zero(wins):
    assert abs(preferences.fit_bradley_terry(wins).sum()) < 1e-13 * len(wins)


@given(complete_votes(), st.sampled_from([1e-300, 1e-9, 3.0, 1e9, 1e300]))
def test_only_proportions_of_counts_matter(wins, factor):
    found = preferences.fit_bradley_terry(wins * factor)
    np.testing.assert_allclose(found, preferences.fit_bradley_terry(wins), atol=1e-11)


@pytest.mark.parametrize("factor", [1e-307, 1.7e308])
def test_counts_may_be_as_large_or_as_small_as_float64_allows(factor):
    wins = np.array([[0, 0.5, 1.0], [1.0, 0, 0.5], [0.25, 1.0, 0]])
    found = preferences.fit_bradley_terry(wins * factor)
    np.testing.assert_allclose(found, preferences.fit_bradley_terry(wins), atol=1e-13)


@given(complete_votes(), st.randoms(use_true_random=False))
def test_renaming_the_responses_renames_the_rewards(wins, random):
    order = random.sample(range(len(wins)), len(wins))
    found = preferences.fit_bradley_terry(wins[np.ix_(order, order)])
    np.testing.assert_allclose(found, preferences.fit_bradley_terry(wins)[order], atol=1e-11)


@given(complete_votes())
def test_exchanging_winners_and_losers_negates_the_rewards(wins):
    found = preferences.fit_bradley_terry(wins.T)
    np.testing.assert_allclose(found, -preferences.fit_bradley_terry(wins), atol=1e-11)


def test_a_tie_may_be_half_a_win_each_way():
    ties = np.array([[0, 4, 2], [4, 0, 6], [2, 6, 0]])
    halves = preferences.fit_bradley_terry(JOURNALS[:3, :3] + ties / 2)
    doubled = preferences.fit_bradley_terry(2 * JOURNALS[:3, :3] + ties)
    np.testing.assert_allclose(halves, doubled, atol=1e-12)


def test_many_vote_counts_are_fitted_one_by_one():
    rng = np.random.default_rng(8)
    wins = rng.integers(1, 30, size=(2, 5, 4, 4)) * (1 - np.eye(4))
    wins[1, 2] = [
        [0, 5, 0, 0],
        [1, 0, 2, 0],
        [0, 1, 0, 7],
        [0, 0, 1, 0],
    ]  # a chain among the complete
    found = preferences.fit_bradley_terry(wins)
    assert found.shape == (2, 5, 4)
    for at in np.ndindex(2, 5):
        np.testing.assert_allclose(found[at], preferences.fit_bradley_terry(wins[at]), atol=1e-11)


def test_one_response_and_no_prompt_are_legal():
    assert preferences.fit_bradley_terry([[0.0]]).tolist() == [0.0]
    assert preferences.fit_bradley_terry(np.zeros((3, 1, 1))).tolist() == [[0.0]] * 3
    assert preferences.fit_bradley_terry(np.zeros((0, 4, 4))).shape == (0, 4)


# --- maximum likelihood: extremes ----------------------------------------------------------------


@pytest.mark.parametrize("odds", [1e-3, 1.0, 1e6, 1e15, 1e100, 1e300])
def test_a_chain_of_any_odds_has_a_closed_form(odds):
    """On a tree every difference is the log-odds of its own pair."""
    wins = np.zeros((4, 4))
    wins[[0, 1, 2], [1, 2, 3]], wins[[1, 2, 3], [0, 1, 2]] = odds, 1.0
    gaps = -np.diff(preferences.fit_bradley_terry(wins))
    np.testing.assert_allclose(gaps, math.log(odds), rtol=1e-10, atol=1e-10)


def test_a_thin_bridge_between_heavy_islands_keeps_its_odds():
    wins = np.zeros((4, 4))
    wins[0, 1] = wins[1, 0] = wins[2, 3] = wins[3, 2] = 1e12
    wins[1, 2], wins[2, 1] = 1.0, 2.0
    expected = math.log(2) / 2 * np.array([-1, -1, 1, 1])
    np.testing.assert_allclose(preferences.fit_bradley_terry(wins), expected, atol=1e-9)


def test_votes_on_which_plain_newton_steps_run_away_are_fitted_to_fifty_digits_truth():
    """Undamped, the steps from 0 overshoot here until the system is singular."""
    wins = np.array([[0, 1, 1e12, 1e12], [1e6, 0, 1e6, 0], [1, 0, 0, 0], [0, 1e12, 0, 0]])

    def surplus(*free):
        r = [*free, mp.mpf(0)]
        met = [[mp.mpf(wins[i, j] + wins[j, i]) for j in range(4)] for i in range(4)]
        expected = [
            mp.fsum(met[i][j] / (1 + mp.exp(r[j] - r[i])) for j in range(4)) for i in range(3)
        ]
        return [mp.fsum(wins[i]) - expected[i] for i in range(3)]

    found = preferences.fit_bradley_terry(wins)
    with mp.workdps(50):
        root = mp.findroot(surplus, tuple(found[:3] - found[3] + 0.1), tol=1e-40, maxsteps=50)
    expected = np.append([float(x) for x in root], 0.0)
    np.testing.assert_allclose(found - found[3], expected, rtol=1e-9)


@pytest.mark.parametrize("rare", [1e-310, 5e-324])
def test_counts_too_different_for_float64_are_refused_not_guessed(rare):
    with pytest.raises(ArithmeticError, match="the counts differ too much for float64 to resolve"):
        preferences.fit_bradley_terry([[0, rare], [1e5, 0]])


def test_steps_that_never_settle_are_refused_not_returned(monkeypatch):
    """A solver whose steps are noise: the estimate is not resolved, and says so."""
    noise = np.random.default_rng(9)
    monkeypatch.setattr(np.linalg, "solve", lambda a, b: noise.normal(size=b.shape))
    with pytest.raises(ArithmeticError, match="the counts differ too much for float64 to resolve"):
        preferences.fit_bradley_terry(JOURNALS)


@pytest.mark.filterwarnings("error")
def test_votes_that_are_fair_already_need_no_step():
    fair = np.ones((3, 4, 4)) * (1 - np.eye(4))
    fair[1] = [[0, 9, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]
    found = preferences.fit_bradley_terry(fair)
    assert not found[[0, 2]].any() and found[1].all()


def newton_steps_taken(monkeypatch, *sizes, prompts=1):
    """How many steps the solver takes when it is handed steps of these sizes, one after another."""
    handed = []

    def solve(curvature, slope):
        handed.append(sizes[len(handed)])
        return np.multiply.outer(np.resize(handed[-1], prompts), [[0.5], [-0.5]])

    monkeypatch.setattr(np.linalg, "solve", solve)
    preferences.fit_bradley_terry(np.tile([[0, 1], [2, 0]], (prompts, 1, 1)))
    return len(handed)


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ((0.0, 1.0), 1),
        ((1e-12, 1.0), 1),
        ((1.1e-12, 1e-13, 1.0), 2),
        ((1.0, 1e-2, 1e-13, 1.0), 3),
        ((1.0, 1e-7, 1e-8, 1e-8, 1.0), 4),
        ((1.0, 1e-8, 1e-7, 1.0), 3),
        ((1e-3, 1e-3, 2e-3, 1e-6, 1e-6, 1e-7, 1e-13, 1.0), 7),
        ((1.0, [1e-13, 1e-3], [1e-13, 1e-13], 1.0), 3),
    ],
)
def test_newton_stops_when_steps_vanish_or_stop_shrinking_below_a_millionth(
    monkeypatch, sizes, taken
):
    assert newton_steps_taken(monkeypatch, *sizes, prompts=np.size(sizes[1])) == taken


def test_newton_gives_up_after_two_thousand_steps(monkeypatch):
    with pytest.raises(IndexError):  # one more is asked for
        newton_steps_taken(monkeypatch, *[1.0] * 1999)
    with pytest.raises(ArithmeticError):
        newton_steps_taken(monkeypatch, *[1.0] * 2000)


def test_a_last_step_of_a_millionth_is_not_resolved_and_one_just_below_is(monkeypatch):
    assert newton_steps_taken(monkeypatch, *[1.0] * 1999, 0.99e-6) == 2000
    with pytest.raises(ArithmeticError):
        newton_steps_taken(monkeypatch, *[1.0] * 1999, 1e-6)


def test_steps_begin_at_the_estimate_of_two_responses_and_never_far_out():
    np.testing.assert_allclose(
        preferences._guess(np.array([[0, 1], [3, 0.0]])), np.log(3) / 2 * np.array([-1, 1])
    )
    lopsided = np.array([[0, 1e9, 1], [1, 0, 1], [1, 1e-300, 0]])
    np.testing.assert_array_equal(np.abs(preferences._guess(lopsided)) <= 3, True)
    assert preferences._guess(np.array([[0, 1e9], [1, 0.0]])).tolist() == [3, -3]


def test_where_the_steps_begin_does_not_matter(monkeypatch):
    near = preferences.fit_bradley_terry(JOURNALS)
    monkeypatch.setattr(preferences, "_guess", lambda w: np.tile([9.0, 0, -9, 2], (len(w), 1)))
    np.testing.assert_allclose(preferences.fit_bradley_terry(JOURNALS), near, rtol=0, atol=1e-12)


# --- maximum likelihood: existence ---------------------------------------------------------------


@settings(max_examples=300)
@given(st.integers(2, 5).flatmap(lambda y: hnp.arrays(int, (y, y), elements=st.integers(0, 2))))
def test_a_finite_estimate_exists_if_and_only_if_every_group_lost_to_the_rest(wins):
    wins = wins * (1 - np.eye(len(wins), dtype=int))
    groups = never_losing_groups(wins)
    if not groups:
        assert np.isfinite(preferences.fit_bradley_terry(wins)).all()
        return
    with pytest.raises(ValueError, match="wins: expected") as refusal:
        preferences.fit_bradley_terry(wins)
    if "never lost" in str(refusal.value):
        named = re.search(r"responses \[([\d, ]+)\] that never lost", str(refusal.value))[1]
        assert tuple(int(y) for y in named.split(", ")) in groups


ISLANDS = np.array([[0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
UNBEATEN = np.array([[0, 1, 0], [1, 0, 0], [1, 3, 0]])


@pytest.mark.parametrize(
    ("wins", "said"),
    [
        (ISLANDS, "wins: expected a connected comparison graph, got components [0, 1] and [2, 3]"),
        (np.zeros((3, 3)), "connected comparison graph, got components [0] and [1] and [2]"),
        (np.zeros((9, 9)), "components [0] and [1] and [2] and [3] and [4] and [5] ..."),
        (
            UNBEATEN,
            "wins: expected votes in which every group of responses loses at least once to the "
            "rest, got responses [2] that never lost to the others: no finite estimate exists",
        ),
        ([[0, 1, 1], [0, 0, 1], [0, 0, 0]], "got responses [0] that never lost to the others"),
        ([JOURNALS[:3, :3], UNBEATEN], "wins at index 1: expected votes in which"),
        ([JOURNALS, ISLANDS, JOURNALS], "wins at index 1: expected a connected comparison graph"),
        ([[0, -1], [1, 0]], "wins: expected counts >= 0, got -1.0"),
        ([[0, np.nan], [1, 0]], "wins: expected finite numbers, got nan"),
        ([[1, 1], [1, 0]], "wins: expected a zero diagonal (nobody beats itself), got a positive"),
        ([[0, 1, 2], [1, 0, 2]], "wins: expected shape (..., Y, Y), got shape (2, 3)"),
        ([0, 1], "wins: expected shape (..., Y, Y), got shape (2,)"),
        ("votes", "wins: expected an array of real numbers, got str"),
    ],
)
def test_votes_without_an_estimate_are_refused_with_the_reason(wins, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        preferences.fit_bradley_terry(wins)


def test_adding_one_comparison_joins_two_components_and_its_answer_makes_them_comparable():
    joined = ISLANDS.copy()
    joined[2, 0] = 1
    assert preferences.components(ISLANDS) == [[0, 1], [2, 3]]
    assert preferences.components(joined) == [[0, 1, 2, 3]]
    assert preferences.components(joined, strong=True) == [[0, 1], [2, 3]]
    joined[0, 2] = 1
    found = preferences.fit_bradley_terry(joined)
    assert abs(found[0] - found[2]) < 1e-12


def test_one_large_system_is_solved_as_several_are_and_an_indefinite_one_too() -> None:
    draws = np.random.default_rng(0).normal(size=(_estimate.LARGE, _estimate.LARGE))
    right = draws[:1]
    for matrix in (
        draws @ draws.T + np.eye(len(draws)),
        draws + draws.T,
    ):  # no factors of the other
        both = _estimate._solved(np.stack([matrix, matrix]), np.vstack([right, right]))
        np.testing.assert_allclose(_estimate._solved(matrix[None], right), both[:1], rtol=1e-9)
        np.testing.assert_allclose(matrix @ both[0], right[0], rtol=0, atol=1e-9)
