"""Rankings: Plackett and Luce's probabilities, sampling, maximum likelihood."""

import math
import re
from itertools import combinations, permutations

import choix
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from votes import (
    REAL_VOTES,
    TWO_PROMPTS,
    chi_square,
    complete_votes,
    never_losing_groups,
    rewards,
)

from dpo_edu import preferences
from dpo_edu.rankings import fit_plackett_luce, ranking_log_probability, sample_rankings

# --- probabilities ---------------------------------------------------------------------


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
    found = ranking_log_probability(reward, ranking)
    assert math.isclose(math.exp(found), chance_by_hand(reward, ranking), rel_tol=1e-12)


@given(rewards())
def test_ranking_two_is_a_vote(reward):
    pairs = all_rankings(len(reward), 2)
    found = np.exp(ranking_log_probability(reward, pairs))
    expected = preferences.preference_matrix(reward)[tuple(pairs.T)]
    # Probabilities: the logarithm of one near 1 would have lost its digits.
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


@given(complete_votes())
def test_the_log_likelihood_of_votes_is_that_of_rankings_of_two(wins):
    reward, pairs = np.linspace(-2, 3, len(wins)), all_rankings(len(wins), 2)
    each = ranking_log_probability(reward, pairs)
    found = (wins[tuple(pairs.T)] * each).sum()
    assert math.isclose(found, preferences.log_likelihood(reward, wins), rel_tol=1e-12)


@given(rewards(top=1000.0), st.data())
def test_the_probabilities_of_all_rankings_of_any_subset_sum_to_one(reward, data):
    k = data.draw(st.integers(2, len(reward)))
    shown = np.array(data.draw(st.permutations(range(len(reward))))[:k])
    log_p = ranking_log_probability(reward, shown[all_rankings(k)])
    assert math.isclose(math.fsum(np.exp(log_p)), 1.0, rel_tol=1e-10)


@given(rewards(y=4))
def test_a_ranking_of_some_is_what_rankings_of_all_say_of_them(reward):
    """Luce's axiom: what else was ranked does not matter; pairs are Bradley-Terry."""
    everyone = all_rankings(4)
    chance = np.exp(ranking_log_probability(reward, everyone))
    place = np.argsort(everyone, axis=1)
    for some in [*permutations(range(4), 2), *permutations(range(4), 3)]:
        agree = (np.diff(place[:, some], axis=1) > 0).all(axis=1)
        expected = np.exp(ranking_log_probability(reward, some))
        assert math.isclose(chance[agree].sum(), expected, rel_tol=1e-12)
    for i, j in permutations(range(4), 2):
        above = chance[place[:, i] < place[:, j]].sum()
        assert math.isclose(above, preferences.preference_matrix(reward)[i, j], rel_tol=1e-12)


@given(rewards(y=5, top=1000.0), st.floats(-1000, 1000))
def test_rankings_see_only_differences_of_rewards(reward, shift):
    rankings = all_rankings(5)
    found = ranking_log_probability(reward + shift, rankings)
    expected = ranking_log_probability(reward, rankings)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@given(rewards(y=4, top=1000.0), st.permutations(range(4)))
def test_log_probabilities_of_rankings_are_right_at_rewards_of_a_thousand(reward, ranking):
    with mp.workdps(1000):
        worth = [mp.exp(mp.mpf(reward[y])) for y in ranking]
        expected = mp.fsum(mp.log(worth[at] / mp.fsum(worth[at:])) for at in range(4))
        expected = float(expected)
    found = ranking_log_probability(reward, ranking)
    assert math.isclose(found, expected, rel_tol=1e-11)


def test_the_surest_ranking_keeps_its_small_doubt():
    found = ranking_log_probability([700.0, 0.0, -800.0], [0, 1, 2])
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
    up, down = (ranking_log_probability(reward + side * steps, ranking) for side in (1, -1))
    np.testing.assert_allclose((up - down) / 2e-5, slope, atol=1e-8)


def test_rankings_at_many_prompts_take_the_rewards_of_their_prompts():
    reward = TWO_PROMPTS["reward"]
    rankings, prompt = all_rankings(4, 3), np.arange(24) % 2
    found = ranking_log_probability(reward[prompt], rankings)
    each = zip(prompt, rankings, strict=True)
    expected = [ranking_log_probability(reward[x], tau) for x, tau in each]
    assert found.tolist() == expected
    table = ranking_log_probability(reward[:, None], rankings)
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
def test_what_is_not_a_ranking_is_refused(rankings, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        ranking_log_probability(np.zeros(3), rankings)
    with pytest.raises(ValueError, match=re.escape(said)):
        fit_plackett_luce(rankings, 3)


def test_rewards_and_rankings_must_fit():
    said = "reward and rankings: expected shapes that fit, got reward (2, 3) and rankings (4, 2)"
    with pytest.raises(ValueError, match=re.escape(said)):
        ranking_log_probability(np.zeros((2, 3)), np.tile([0, 1], (4, 1)))
    with pytest.raises(ValueError, match="reward: expected finite numbers, got nan"):
        ranking_log_probability([0.0, np.nan], [0, 1])


# --- sampling --------------------------------------------------------------------------

FIVE = np.array([0.5, -0.3, 1.2, 0.0, -1.0])


@pytest.mark.parametrize("among", [None, [3, 1, 4], [2, 0]])
def test_sampled_rankings_follow_the_law(among):
    """Pearson's statistic over all K! rankings; a false alarm has chance 1e-7."""
    rng = np.random.default_rng(11)
    sample = sample_rankings(FIVE, size=200_000, rng=rng, among=among)
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
        sample_rankings(FIVE, size=50, rng=np.random.default_rng(seed)) for seed in (4, 4, 5)
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
        sample_rankings(**arguments)


# --- maximum likelihood ----------------------------------------------------------------


def sampled_rankings(seed, size=60, sizes=3):
    """Rankings of three of five responses, different ones each time, with a cycle among them."""
    rng = np.random.default_rng(seed)
    shown = np.array([rng.permutation(5)[:sizes] for _ in range(size)])
    drawn = [sample_rankings(FIVE, size=1, rng=rng, among=s)[0] for s in shown]
    return np.array([*drawn, *(np.roll(np.arange(5), turn)[:sizes] for turn in range(5))])


@given(complete_votes())
def test_rewards_fitted_to_rankings_of_two_are_those_fitted_to_votes(wins):
    pairs = all_rankings(len(wins), 2)
    found = fit_plackett_luce(pairs, len(wins), counts=wins[tuple(pairs.T)])
    np.testing.assert_allclose(found, preferences.fit_bradley_terry(wins), atol=1e-12)


@pytest.mark.parametrize("wins", REAL_VOTES.values(), ids=REAL_VOTES)
def test_real_votes_are_rankings_of_two(wins):
    pairs = np.argwhere(wins)
    found = fit_plackett_luce(pairs, len(wins), counts=wins[tuple(pairs.T)])
    np.testing.assert_allclose(found, preferences.fit_bradley_terry(wins), atol=1e-12)


@pytest.mark.parametrize("sizes", [3, 5])
def test_choix_finds_the_same_for_rankings(sizes):
    rankings = sampled_rankings(12, sizes=sizes)
    found = fit_plackett_luce(rankings, 5)
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
    np.testing.assert_allclose(fit_plackett_luce(rankings, 5), np.log(worth), atol=1e-9)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_rewards_rank_likelier_and_at_the_estimate_the_slope_is_zero(seed):
    rankings = sampled_rankings(seed)
    found = fit_plackett_luce(rankings, 5)
    assert abs(found.sum()) < 1e-13

    def log_likelihood(reward):
        return ranking_log_probability(reward[:, None], rankings).sum(axis=-1)

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
    found = fit_plackett_luce(rankings, len(reward), counts=law)
    np.testing.assert_allclose(found, reward - reward.mean(), atol=1e-9)


def test_a_counted_ranking_is_a_repeated_one_and_one_counted_zero_does_not_count():
    rankings = sampled_rankings(13)
    times = np.random.default_rng(13).integers(0, 4, len(rankings))
    times[-5:] = 1
    repeated = fit_plackett_luce(np.repeat(rankings, times, axis=0), 5)
    for factor in (1.0, 1e-300, 1e300):
        counted = fit_plackett_luce(rankings, 5, counts=factor * times)
        np.testing.assert_allclose(counted, repeated, atol=1e-12)
    unseen = np.vstack([rankings, [[5, 0, 1]]])
    with pytest.raises(ValueError, match=re.escape("got components [0, 1, 2, 3, 4] and [5]")):
        fit_plackett_luce(unseen, 6, counts=np.append(times, 0))


def test_renaming_the_ranked_responses_renames_the_rewards():
    rankings, names = sampled_rankings(14), np.array([3, 0, 4, 1, 2])
    found = fit_plackett_luce(names[rankings], 5)
    expected = fit_plackett_luce(rankings, 5)
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
        assert np.isfinite(fit_plackett_luce(rankings, 4)).all()
        return
    with pytest.raises(ValueError, match="rankings: expected") as refusal:
        fit_plackett_luce(rankings, 4)
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
    assert fit_plackett_luce(**legal).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match=re.escape(said)):
        fit_plackett_luce(**(legal | arguments))


def test_rankings_that_are_fair_already_need_no_step():
    assert fit_plackett_luce([[0, 1, 2], [1, 2, 0], [2, 0, 1]], 3).tolist() == [0] * 3


def test_rankings_too_different_in_number_for_float64_are_refused_not_guessed():
    said = "fit_plackett_luce: the counts differ too much for float64 to resolve"
    with pytest.raises(ArithmeticError, match=said):
        fit_plackett_luce([[0, 1], [1, 0]], 2, counts=[5e-324, 1e5])
