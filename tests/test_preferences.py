"""Bradley-Terry and Plackett-Luce: probabilities, sampling, counting, maximum likelihood."""

import math
import re
from itertools import combinations, permutations, product

import choix
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, optimize
from scipy.stats import chi2, gumbel_r

from dpo_edu import datasets, preferences, statistics
from dpo_edu.preferences import PreferencePairs

# Citations among four journals of statistics, row cited by column (Stigler 1994), and the estimates
# that BradleyTerry2 reports for them, relative to the first (Turner and Firth 2012, JSS 48(9)).
JOURNALS = np.array(
    [[0, 730, 498, 221], [33, 0, 68, 17], [320, 813, 0, 142], [284, 276, 325, 0]], dtype=float
)
JOURNAL_REWARDS = [0.0, -2.9491, -0.4796, 0.2690]

FALSE_ALARM = 1e-7  # the chance that a sampling test below fails though the code is right


def rewards(y=None, top=5.0):
    """Strategy: reward arrays ``(Y,)``."""
    sizes = st.just(y) if y else st.integers(2, 6)
    return sizes.flatmap(lambda n: hnp.arrays(float, n, elements=st.floats(-top, top)))


def policies(y: int):
    """Strategy: policies ``(Y,)`` whose probabilities differ by a factor of 100 at most."""
    return hnp.arrays(float, y, elements=st.floats(0.01, 1)).map(lambda w: w / w.sum())


@st.composite
def complete_votes(draw, low: float = 0.1, high: float = 100.0):
    """Strategy: win arrays ``(Y, Y)`` in which everybody beat everybody; real-valued counts."""
    y = draw(st.integers(2, 6))
    wins = draw(hnp.arrays(float, (y, y), elements=st.floats(low, high)))
    return wins * (1 - np.eye(y))


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


TWO_PROMPTS = {
    "reward": np.array([[0.0, 0.7, -1.1, 0.4], [1.5, -0.5, 0.0, 0.2]]),
    "behaviour": np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]),
    "prompt_weights": np.array([0.3, 0.7]),
}


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
def test_pairs_that_are_none_are_refused(arrays, said):
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
def test_a_law_that_is_none_is_refused(arguments, said):
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


def chi_square(counts, law):
    """Pearson's statistic over the possible cells, and its critical value at FALSE_ALARM."""
    possible = law > 0
    assert not counts[~possible].any()
    expected = counts.sum() * law[possible]
    statistic = ((counts[possible] - expected) ** 2 / expected).sum()
    return statistic, chi2.isf(FALSE_ALARM, possible.sum() - 1)


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


MODELS = datasets.mtbench_votes().pooled()
REAL_VOTES = {
    "journals": JOURNALS,
    "baseball": datasets.baseball_votes().wins[0],
    "models": MODELS.wins[0],
    "models, half ties": MODELS.wins[0] + MODELS.ties[0] / 2,
}


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
    assert preferences.fit_plackett_luce([[0, 1, 2], [1, 2, 0], [2, 0, 1]], 3).tolist() == [0] * 3


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


# --- maximum likelihood: existence ---------------------------------------------------------------


def never_losing_groups(wins):
    """Every proper group of responses that never lost to the rest, by going through all groups."""
    everyone = range(len(wins))
    groups = (s for size in everyone[1:] for s in combinations(everyone, size))
    return [s for s in groups if not any(wins[o, g] for g in s for o in set(everyone) - set(s))]


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


# --- rankings: probabilities ---------------------------------------------------------------------


def all_rankings(responses, k=None):
    """Every ranking of k of the responses."""
    return np.array(list(permutations(range(responses), k or responses)))


def chance_by_hand(reward, ranking):
    """Choose the best by the softmax of the rewards, then the best of the rest, and so on."""
    chance, left = 1.0, list(ranking)
    for best in ranking:
        chance *= math.exp(reward[best]) / math.fsum(math.exp(reward[y]) for y in left)
        left.remove(best)
    return chance


@given(rewards(), st.data())
def test_a_ranking_is_the_best_of_all_then_the_best_of_the_rest_and_so_on(reward, data):
    k = data.draw(st.integers(2, len(reward)))
    ranking = data.draw(st.permutations(range(len(reward))))[:k]
    found = preferences.ranking_log_probability(reward, ranking)
    assert math.isclose(math.exp(found), chance_by_hand(reward, ranking), rel_tol=1e-12)


@given(rewards())
def test_ranking_two_is_a_vote(reward):
    pairs = all_rankings(len(reward), 2)
    found = np.exp(preferences.ranking_log_probability(reward, pairs))
    expected = preferences.preference_matrix(reward)[tuple(pairs.T)]
    # Probabilities: the logarithm of one near 1 would have lost its digits.
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


@given(complete_votes())
def test_the_log_likelihood_of_votes_is_that_of_rankings_of_two(wins):
    reward, pairs = np.linspace(-2, 3, len(wins)), all_rankings(len(wins), 2)
    each = preferences.ranking_log_probability(reward, pairs)
    found = (wins[tuple(pairs.T)] * each).sum()
    assert math.isclose(found, preferences.log_likelihood(reward, wins), rel_tol=1e-12)


@given(rewards(top=1000.0), st.data())
def test_the_probabilities_of_all_rankings_of_any_subset_sum_to_one(reward, data):
    k = data.draw(st.integers(2, len(reward)))
    shown = np.array(data.draw(st.permutations(range(len(reward))))[:k])
    log_p = preferences.ranking_log_probability(reward, shown[all_rankings(k)])
    assert math.isclose(math.fsum(np.exp(log_p)), 1.0, rel_tol=1e-10)


@given(rewards(y=4))
def test_a_ranking_of_some_is_what_rankings_of_all_say_of_them(reward):
    """Luce's axiom: what else was ranked does not matter; pairs are Bradley-Terry."""
    everyone = all_rankings(4)
    chance = np.exp(preferences.ranking_log_probability(reward, everyone))
    place = np.argsort(everyone, axis=1)
    for some in [*permutations(range(4), 2), *permutations(range(4), 3)]:
        agree = (np.diff(place[:, some], axis=1) > 0).all(axis=1)
        expected = np.exp(preferences.ranking_log_probability(reward, some))
        assert math.isclose(chance[agree].sum(), expected, rel_tol=1e-12)
    for i, j in permutations(range(4), 2):
        above = chance[place[:, i] < place[:, j]].sum()
        assert math.isclose(above, preferences.preference_matrix(reward)[i, j], rel_tol=1e-12)


@given(rewards(y=5, top=1000.0), st.floats(-1000, 1000))
def test_rankings_see_only_differences_of_rewards(reward, shift):
    rankings = all_rankings(5)
    found = preferences.ranking_log_probability(reward + shift, rankings)
    expected = preferences.ranking_log_probability(reward, rankings)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@given(rewards(y=4, top=1000.0), st.permutations(range(4)))
def test_log_probabilities_of_rankings_are_right_at_rewards_of_a_thousand(reward, ranking):
    with mp.workdps(1000):
        worth = [mp.exp(mp.mpf(reward[y])) for y in ranking]
        expected = mp.fsum(mp.log(worth[at] / mp.fsum(worth[at:])) for at in range(4))
        expected = float(expected)
    found = preferences.ranking_log_probability(reward, ranking)
    assert math.isclose(found, expected, rel_tol=1e-11)


def test_the_surest_ranking_keeps_its_small_doubt():
    found = preferences.ranking_log_probability([700.0, 0.0, -800.0], [0, 1, 2])
    assert math.isclose(found, -math.exp(-700.0), rel_tol=1e-11)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_slope_of_a_ranking_is_choice_minus_chance_at_every_place(scale):
    reward = scale * np.array([0.3, -1.0, 0.8, 0.1, -0.4])
    ranking, slope = [3, 0, 4, 1], np.zeros(5)
    for at, best in enumerate(ranking):
        worth = np.exp(reward[ranking[at:]])
        slope[best] += 1
        slope[ranking[at:]] -= worth / worth.sum()
    steps = 1e-5 * np.eye(5)
    up, down = (
        preferences.ranking_log_probability(reward + side * steps, ranking) for side in (1, -1)
    )
    np.testing.assert_allclose((up - down) / 2e-5, slope, atol=1e-8)


def test_rankings_at_many_prompts_take_the_rewards_of_their_prompts():
    reward = TWO_PROMPTS["reward"]
    rankings, prompt = all_rankings(4, 3), np.arange(24) % 2
    found = preferences.ranking_log_probability(reward[prompt], rankings)
    each = zip(prompt, rankings, strict=True)
    expected = [preferences.ranking_log_probability(reward[x], tau) for x, tau in each]
    assert found.tolist() == expected
    table = preferences.ranking_log_probability(reward[:, None], rankings)
    assert table.shape == (2, 24)
    assert table[prompt, np.arange(24)].tolist() == expected


NO_RANKINGS = [
    ([0, 2, 0], "rankings: expected different responses in a ranking, got response 0 twice"),
    ([0, 2, 2], "rankings: expected different responses in a ranking, got response 2 twice"),
    ([[0, 1], [1, 3]], "rankings: expected responses < 3, got response 3"),
    ([0, -1], "rankings: expected whole numbers >= 0, shape (..., K) with K >= 2, got array(["),
    ([0.0, 1.0], "rankings: expected whole numbers >= 0, shape (..., K) with K >= 2, got array(["),
    ([[0], [1]], "rankings: expected whole numbers >= 0, shape (..., K) with K >= 2, got array(["),
    (1, "rankings: expected whole numbers >= 0, shape (..., K) with K >= 2, got array(1)"),
    ([[0, 1], [0, 1, 2]], "with K >= 2, got rows of different lengths"),
    (np.zeros((0, 3), int), "rankings: expected at least one ranking, got none"),
]


@pytest.mark.parametrize(("rankings", "said"), NO_RANKINGS)
def test_rankings_that_are_none_are_refused(rankings, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        preferences.ranking_log_probability(np.zeros(3), rankings)
    with pytest.raises(ValueError, match=re.escape(said)):
        preferences.fit_plackett_luce(rankings, 3)


def test_rewards_and_rankings_must_fit():
    said = "reward and rankings: expected shapes that fit, got reward (2, 3) and rankings (4, 2)"
    with pytest.raises(ValueError, match=re.escape(said)):
        preferences.ranking_log_probability(np.zeros((2, 3)), np.tile([0, 1], (4, 1)))
    with pytest.raises(ValueError, match="reward: expected finite numbers, got nan"):
        preferences.ranking_log_probability([0.0, np.nan], [0, 1])


# --- rankings: sampling --------------------------------------------------------------------------

FIVE = np.array([0.5, -0.3, 1.2, 0.0, -1.0])


@pytest.mark.parametrize("among", [None, [3, 1, 4], [2, 0]])
def test_sampled_rankings_follow_the_law(among):
    """Pearson's statistic over all K! rankings; a false alarm has chance 1e-7."""
    rng = np.random.default_rng(11)
    sample = preferences.sample_rankings(FIVE, size=200_000, rng=rng, among=among)
    shown = np.arange(5) if among is None else np.array(among)
    kinds = shown[all_rankings(len(shown))]
    law = np.array([chance_by_hand(FIVE, ranking) for ranking in kinds])
    radix = 5 ** np.arange(len(shown))
    counts = (sample @ radix == (kinds @ radix)[:, None]).sum(axis=1)
    assert counts.sum() == 200_000
    statistic, critical = chi_square(counts, law)
    assert statistic < critical


def test_the_same_seed_gives_the_same_rankings_and_another_seed_others():
    one, same, other = (
        preferences.sample_rankings(FIVE, size=50, rng=np.random.default_rng(seed))
        for seed in (4, 4, 5)
    )
    assert one.dtype == np.int64
    assert one.shape == (50, 5)
    assert (one == same).all()
    assert not (one == other).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reward": [[0.0, 1.0]]}, "reward: expected shape (Y,), got shape (1, 2)"),
        ({"reward": [0.0, np.inf]}, "reward: expected finite numbers, got inf"),
        ({"size": 0}, "size: expected a whole number >= 1, got 0"),
        ({"rng": 7}, "rng: expected a numpy.random.Generator, got int"),
        ({"among": [0, 5]}, "among: expected responses < 2, got response 5"),
        ({"among": [[0, 1]]}, "among: expected shape (K,), got shape (1, 2)"),
        ({"among": [0, 0]}, "among: expected different responses in a ranking, got response 0"),
    ],
)
def test_rankings_that_cannot_be_sampled_are_refused(change, said):
    arguments = {"reward": [0.0, 1.0], "size": 1, "rng": np.random.default_rng(0)} | change
    with pytest.raises(ValueError, match=re.escape(said)):
        preferences.sample_rankings(**arguments)


# --- rankings: maximum likelihood ----------------------------------------------------------------


def sampled_rankings(seed, size=60, sizes=3):
    """Rankings of three of five responses, different ones each time, with a cycle among them."""
    rng = np.random.default_rng(seed)
    shown = np.array([rng.permutation(5)[:sizes] for _ in range(size)])
    drawn = [preferences.sample_rankings(FIVE, size=1, rng=rng, among=s)[0] for s in shown]
    return np.array([*drawn, *(np.roll(np.arange(5), turn)[:sizes] for turn in range(5))])


@given(complete_votes())
def test_rewards_fitted_to_rankings_of_two_are_those_fitted_to_votes(wins):
    pairs = all_rankings(len(wins), 2)
    found = preferences.fit_plackett_luce(pairs, len(wins), counts=wins[tuple(pairs.T)])
    np.testing.assert_allclose(found, preferences.fit_bradley_terry(wins), atol=1e-12)


@pytest.mark.parametrize("wins", REAL_VOTES.values(), ids=REAL_VOTES)
def test_real_votes_are_rankings_of_two(wins):
    pairs = np.argwhere(wins)
    found = preferences.fit_plackett_luce(pairs, len(wins), counts=wins[tuple(pairs.T)])
    np.testing.assert_allclose(found, preferences.fit_bradley_terry(wins), atol=1e-12)


@pytest.mark.parametrize("sizes", [3, 5])
def test_choix_finds_the_same_for_rankings(sizes):
    rankings = sampled_rankings(12, sizes=sizes)
    found = preferences.fit_plackett_luce(rankings, 5)
    data = [tuple(ranking) for ranking in rankings.tolist()]
    np.testing.assert_allclose(found, choix.ilsr_rankings(5, data, tol=1e-13), atol=1e-10)
    other = choix.opt_rankings(5, data, alpha=0.0, tol=1e-12)
    np.testing.assert_allclose(found, other - other.mean(), atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_hunters_iteration_ends_there_too(seed):
    """2004's own algorithm: worth = places won / sum of 1 / (worth left) wherever it was left."""
    rankings = sampled_rankings(seed)
    worth = np.ones(5)
    for _ in range(20_000):
        left = worth[rankings][:, ::-1].cumsum(axis=1)[:, ::-1][:, :-1]
        share = (1 / left).cumsum(axis=1)
        chances = np.zeros(5)
        np.add.at(chances, rankings, np.column_stack([share, share[:, -1]]))
        new = np.bincount(rankings[:, :-1].ravel(), minlength=5) / chances
        new /= np.exp(np.log(new).mean())
        if np.abs(np.log(new / worth)).max() < 1e-14:
            break
        worth = new
    np.testing.assert_allclose(preferences.fit_plackett_luce(rankings, 5), np.log(worth), atol=1e-9)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_rewards_rank_likelier_and_at_the_estimate_the_slope_is_zero(seed):
    rankings = sampled_rankings(seed)
    found = preferences.fit_plackett_luce(rankings, 5)
    assert abs(found.sum()) < 1e-13

    def log_likelihood(reward):
        return preferences.ranking_log_probability(reward[:, None], rankings).sum(axis=-1)

    rng = np.random.default_rng(seed)
    others = found + rng.normal(scale=[[1e-3], [0.1], [3.0]], size=(3, 5))
    assert (log_likelihood(others) <= log_likelihood(found[None]) + 1e-10).all()
    steps = 1e-4 * np.eye(5)
    slope = (log_likelihood(found + steps) - log_likelihood(found - steps)) / 2e-4
    np.testing.assert_allclose(slope, 0, atol=1e-6)


@given(rewards())
def test_the_population_of_rankings_gives_the_rewards_back(reward):
    rankings = all_rankings(len(reward))
    law = [chance_by_hand(reward, ranking) for ranking in rankings]
    found = preferences.fit_plackett_luce(rankings, len(reward), counts=law)
    np.testing.assert_allclose(found, reward - reward.mean(), atol=1e-9)


def test_a_counted_ranking_is_a_repeated_one_and_one_counted_zero_is_none():
    rankings = sampled_rankings(13)
    times = np.random.default_rng(13).integers(0, 4, len(rankings))
    times[-5:] = 1
    repeated = preferences.fit_plackett_luce(np.repeat(rankings, times, axis=0), 5)
    for factor in (1.0, 1e-300, 1e300):
        counted = preferences.fit_plackett_luce(rankings, 5, counts=factor * times)
        np.testing.assert_allclose(counted, repeated, atol=1e-12)
    unseen = np.vstack([rankings, [[5, 0, 1]]])
    with pytest.raises(ValueError, match=re.escape("got components [0, 1, 2, 3, 4] and [5]")):
        preferences.fit_plackett_luce(unseen, 6, counts=np.append(times, 0))


def test_renaming_the_ranked_responses_renames_the_rewards():
    rankings, names = sampled_rankings(14), np.array([3, 0, 4, 1, 2])
    found = preferences.fit_plackett_luce(names[rankings], 5)
    expected = preferences.fit_plackett_luce(rankings, 5)
    np.testing.assert_allclose(found[names], expected, atol=1e-12)


@settings(max_examples=300)
@given(st.lists(st.permutations(range(4)).map(lambda order: order[:3]), min_size=1, max_size=6))
def test_rankings_have_an_estimate_if_and_only_if_every_group_was_once_below_the_rest(rankings):
    """Hunter 2004, Assumption 1, by going through all groups."""
    wins = np.zeros((4, 4))
    for ranking in rankings:
        for better, worse in combinations(ranking, 2):
            wins[better, worse] += 1
    groups = never_losing_groups(wins)
    if not groups:
        assert np.isfinite(preferences.fit_plackett_luce(rankings, 4)).all()
        return
    with pytest.raises(ValueError, match="rankings: expected") as refusal:
        preferences.fit_plackett_luce(rankings, 4)
    if "never lost" in str(refusal.value):
        named = re.search(r"responses \[([\d, ]+)\] that never lost", str(refusal.value))[1]
        assert tuple(int(y) for y in named.split(", ")) in groups


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"rankings": [[0, 1], [1, 0], [2, 3], [3, 2]], "responses": 4},
            "rankings: expected a connected comparison graph, got components [0, 1] and [2, 3]",
        ),
        (
            {"rankings": [[2, 0, 1], [2, 1, 0]], "responses": 3},
            "rankings: expected votes in which every group of responses loses at least once to the "
            "rest, got responses [2] that never lost to the others: no finite estimate exists",
        ),
        ({"rankings": [0, 1], "responses": 2}, "rankings: expected shape (N, K), got shape (2,)"),
        ({"responses": 2.0}, "responses: expected a whole number >= 1, got 2.0"),
        ({"counts": [1.0]}, "counts: expected shape (2,), none < 0, one > 0, got shape (1,)"),
        ({"counts": [1.0, -1.0]}, "one > 0, got shape (2,), smallest -1.0, largest 1.0"),
        ({"counts": [0.0, 0.0]}, "one > 0, got shape (2,), smallest 0.0, largest 0.0"),
        ({"counts": [np.nan, 1.0]}, "counts: expected finite numbers, got nan"),
    ],
)
def test_rankings_without_an_estimate_are_refused_with_the_reason(arguments, said):
    legal = {"rankings": [[0, 1], [1, 0]], "responses": 2}
    assert preferences.fit_plackett_luce(**legal).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match=re.escape(said)):
        preferences.fit_plackett_luce(**(legal | arguments))


def test_rankings_too_different_in_number_for_float64_are_refused_not_guessed():
    said = "fit_plackett_luce: the counts differ too much for float64 to resolve"
    with pytest.raises(ArithmeticError, match=said):
        preferences.fit_plackett_luce([[0, 1], [1, 0]], 2, counts=[5e-324, 1e5])


# --- ties ----------------------------------------------------------------------------------------

TIE_MODELS = {
    "rao_kupper": (preferences.rao_kupper, preferences.fit_rao_kupper),
    "davidson": (preferences.davidson, preferences.fit_davidson),
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


@given(rewards(top=300.0), st.floats(0, 300))
def test_rao_kuppers_probabilities_are_those_of_the_paper(reward, threshold):
    """With worths pi and theta: pi_i / (pi_i + theta pi_j), and the tie by its own formula."""
    win, tie = preferences.rao_kupper(reward, threshold)
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
    win, tie = preferences.davidson(reward, prevalence)
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
    for law, same in ((preferences.davidson, True), (preferences.rao_kupper, False)):
        win, _ = law(reward, 0.7)
        given_a_winner = win / np.where(np.eye(3), 1, win + win.T)
        off = ~np.eye(3, dtype=bool)
        gap = np.abs(given_a_winner - preferences.preference_matrix(reward))[off]
        assert (gap.max() < 1e-14) if same else (gap.min() > 0.03)


COUNTS = st.floats(0.1, 1000)


@given(COUNTS, COUNTS, COUNTS)
def test_two_responses_have_a_closed_form_under_davidson(won, lost, tied):
    fit = preferences.fit_davidson([[0, won], [lost, 0]], [[0, tied], [tied, 0]])
    assert math.isclose(fit.reward[0] - fit.reward[1], math.log(won / lost), abs_tol=1e-9)
    assert math.isclose(fit.tie, tied / math.sqrt(won * lost), rel_tol=1e-9)
    own, cross, other = fit.covariance[0, 0], fit.covariance[0, 1], fit.covariance[1, 1]
    assert math.isclose(own + other - 2 * cross, 1 / won + 1 / lost, rel_tol=1e-8)
    relative = 1 / tied + 1 / (4 * won) + 1 / (4 * lost)  # the variance of log nu
    assert math.isclose(fit.covariance[2, 2], fit.tie**2 * relative, rel_tol=1e-8)


@given(COUNTS, COUNTS, COUNTS)
def test_two_responses_have_a_closed_form_under_rao_kupper(won, lost, tied):
    fit = preferences.fit_rao_kupper([[0, won], [lost, 0]], [[0, tied], [tied, 0]])
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
    fit = preferences.fit_davidson(wins, ties)
    win, tied = preferences.davidson(fit.reward, fit.tie)
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
    fit = preferences.fit_davidson(wins, ties)
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
        preferences.fit_davidson(wins, ties)


@pytest.mark.parametrize(
    ("law", "name"), [(preferences.rao_kupper, "threshold"), (preferences.davidson, "prevalence")]
)
def test_tie_parameters_that_are_none_are_refused(law, name):
    for bad in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"{name}: expected finite numbers >= 0, got"):
            law([0.0, 1.0], bad)
    said = f"{name}: expected a number or shape (), got shape (2,)"
    with pytest.raises(ValueError, match=re.escape(said)):
        law([0.0, 1.0], [0.1, 0.2])


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
