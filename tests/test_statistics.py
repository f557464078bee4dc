"""What votes can tell: information, the Cramer-Rao bound, standard errors, fit, and existence."""

import math
import re
from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dpo_edu import datasets, preferences, statistics
from dpo_edu.problems import AlignmentProblem

# Citations among four journals of statistics, row cited by column (Stigler 1994); standard errors
# relative to the first, residual and null deviance as BradleyTerry2 reports them (Turner and Firth
# 2012, JSS 48(9)).
JOURNALS = np.array(
    [[0, 730, 498, 221], [33, 0, 68, 17], [320, 813, 0, 142], [284, 276, 325, 0]], dtype=float
)
JOURNAL_ERRORS = [0.0, 0.1025, 0.0606, 0.0708]
JOURNAL_DEVIANCE, JOURNAL_NULL_DEVIANCE = 4.2934, 1925.23


@st.composite
def voted(draw, low=0.0, top=4.0):
    """Strategy: rewards ``(Y,)`` and how often each pair met, ``(Y, Y)``, symmetric."""
    y = draw(st.integers(2, 5))
    upper = np.triu(draw(hnp.arrays(float, (y, y), elements=st.floats(low, 50))), 1)
    return draw(hnp.arrays(float, y, elements=st.floats(-top, top))), upper + upper.T


def sigma(z):
    return 1 / (1 + math.exp(-z))


def score(reward, won, lost):
    """Gradient of log sigma(r_won - r_lost): how one vote pulls at the rewards."""
    pull = np.zeros(len(reward))
    pull[won], pull[lost] = 1.0, -1.0
    return sigma(reward[lost] - reward[won]) * pull


def information_by_enumeration(reward, comparisons):
    """E[score score^T], pair by pair and outcome by outcome."""
    found = np.zeros((len(reward), len(reward)))
    for i, j in combinations(range(len(reward)), 2):
        for won, lost in ((i, j), (j, i)):
            pull = score(reward, won, lost)
            chance = sigma(reward[won] - reward[lost])
            found += comparisons[i, j] * chance * np.outer(pull, pull)
    return found


# --- Fisher information --------------------------------------------------------------------------


@given(voted())
def test_information_is_the_expected_square_of_the_score(case):
    reward, comparisons = case
    expected = information_by_enumeration(reward, comparisons)
    found = statistics.fisher_information(reward, comparisons)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("scale", [0.0, 1.0, 6.0])
def test_information_is_the_curvature_of_the_log_likelihood(scale):
    """Autograd's Hessian; who won moves the slope but not the curvature."""
    rng = np.random.default_rng(0)
    reward = scale * rng.normal(size=4)
    wins = rng.integers(0, 9, size=(4, 4)) * (1.0 - np.eye(4))

    def loss(r):
        gaps = r[:, None] - r[None, :]
        return -(torch.tensor(wins) * torch.nn.functional.logsigmoid(gaps)).sum()

    hessian = torch.autograd.functional.hessian(loss, torch.tensor(reward)).numpy()
    found = statistics.fisher_information(reward, wins + wins.T)
    np.testing.assert_allclose(found, hessian, rtol=1e-10, atol=1e-12)


@given(voted())
def test_information_says_nothing_about_a_common_shift_and_is_never_negative(case):
    found = statistics.fisher_information(*case)
    np.testing.assert_allclose(found.sum(axis=-1), 0.0, atol=1e-11)
    np.testing.assert_allclose(found, found.T, rtol=1e-13, atol=1e-300)
    assert np.linalg.eigvalsh(found).min() > -1e-10


@pytest.mark.parametrize(
    ("edges", "parts"),
    [([], 5), ([(0, 1)], 4), ([(0, 1), (2, 3), (3, 4)], 2), ([(0, 1), (1, 2), (2, 3), (3, 4)], 1)],
)
def test_information_has_one_blind_direction_for_each_component(edges, parts):
    met = np.zeros((5, 5))
    for i, j in edges:
        met[i, j] = met[j, i] = 3.0
    values = np.linalg.eigvalsh(statistics.fisher_information([0.0, 1.0, 0.5, -1.0, 2.0], met))
    assert (values < 1e-12).sum() == parts == len(preferences.components(met))


def test_information_of_many_prompts_is_their_own():
    rng = np.random.default_rng(1)
    reward, met = rng.normal(size=(3, 4)), rng.random((3, 4, 4))
    met = (met + met.swapaxes(1, 2)) * (1 - np.eye(4))
    found = statistics.fisher_information(reward, met)
    for x in range(3):
        assert (found[x] == statistics.fisher_information(reward[x], met[x])).all()


@pytest.mark.parametrize(
    ("comparisons", "said"),
    [
        (
            [[0, 1], [2, 0]],
            "comparisons: expected a symmetric array (i met j), got an asymmetric one",
        ),
        ([[0, 1], [1 + 1e-6, 0]], "comparisons: expected a symmetric array (i met j)"),
        ([[0, 1e-9], [2e-9, 0]], "comparisons: expected a symmetric array (i met j)"),
        ([[0, -1], [-1, 0]], "comparisons: expected counts >= 0, got -1.0"),
        ([[1, 1], [1, 1]], "comparisons: expected a zero diagonal (nobody beats itself)"),
        ([0, 1], "comparisons: expected shape (..., Y, Y), got shape (2,)"),
        (np.zeros((3, 3)), "reward and comparisons: expected"),
    ],
)
def test_arrays_that_are_not_comparisons_are_refused(comparisons, said):
    for function in (statistics.fisher_information, statistics.covariance):
        with pytest.raises(ValueError, match=re.escape(said)):
            function([0.0, 1.0], comparisons)


# --- covariance and standard errors --------------------------------------------------------------


@given(voted(low=0.5))
def test_covariance_is_the_pseudo_inverse_of_the_information(case):
    reward, comparisons = case
    expected = np.linalg.pinv(information_by_enumeration(reward, comparisons), rcond=1e-10)
    found = statistics.covariance(reward, comparisons)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(found.sum(axis=-1), 0.0, atol=1e-9 * np.abs(expected).max())


def test_along_a_chain_of_comparisons_the_variances_add_up():
    """Only its own pair tells a difference: 1/(n p q) for each link, and links are independent."""
    reward, met = np.array([0.0, 0.7, -1.2, 0.3]), np.zeros((4, 4))
    met[[0, 1, 2], [1, 2, 3]] = met[[1, 2, 3], [0, 1, 2]] = [10.0, 20.0, 5.0]
    chances = [sigma(gap) for gap in np.diff(reward)]
    links = [1 / (n * p * (1 - p)) for n, p in zip((10, 20, 5), chances, strict=True)]
    found = statistics.standard_errors(statistics.covariance(reward, met), 0)
    np.testing.assert_allclose(found**2, np.cumsum([0.0, *links]), rtol=1e-12)


def test_covariances_of_many_prompts_are_their_own():
    reward, met = np.array([[0.0, 1.0, 3.0], [0.5, 0.0, 0.0]]), np.ones((2, 3, 3)) - np.eye(3)
    found = statistics.covariance(reward, met)
    for x in range(2):
        np.testing.assert_allclose(found[x], statistics.covariance(reward[x], met[x]), rtol=1e-13)


def test_islands_have_no_covariance():
    said = "comparisons: expected a connected comparison graph, got components [0, 1] and [2]"
    with pytest.raises(ValueError, match=re.escape(said)):
        statistics.covariance([0.0, 0.0, 0.0], [[0, 4, 0], [4, 0, 0], [0, 0, 0]])


def test_the_published_standard_errors_for_the_journals_are_found():
    reward = preferences.fit_bradley_terry(JOURNALS)
    found = statistics.standard_errors(statistics.covariance(reward, JOURNALS + JOURNALS.T), 0)
    np.testing.assert_allclose(found, JOURNAL_ERRORS, atol=5.1e-5)


def test_the_published_standard_errors_for_the_models_are_found():
    """R's BradleyTerry2 1.1-2 on the human votes, relative to llama-13b, ties dropped."""
    votes = datasets.mtbench_votes().pooled()
    wins, at = votes.wins[0], votes.responses.index("llama-13b")
    reward = preferences.fit_bradley_terry(wins)
    found = statistics.standard_errors(statistics.covariance(reward, wins + wins.T), at)
    published = {"alpaca-13b": 0.1479, "vicuna-13b-v1.2": 0.1454, "gpt-3.5-turbo": 0.1521}
    published |= {"claude-v1": 0.1563, "gpt-4": 0.1614, "llama-13b": 0.0}
    named = dict(zip(votes.responses, found.round(4).tolist(), strict=True))
    assert named == published


@given(hnp.arrays(float, (4, 4), elements=st.floats(-3, 3)), st.integers(0, 3))
def test_a_standard_error_is_the_root_of_the_variance_of_a_difference(root, baseline):
    matrix = root @ root.T + np.eye(4)
    found = statistics.standard_errors(matrix, baseline)
    for y in range(4):
        contrast = np.eye(4)[y] - np.eye(4)[baseline]
        assert math.isclose(found[y], math.sqrt(contrast @ matrix @ contrast), rel_tol=1e-9)
    assert found[baseline] == 0
    both = statistics.standard_errors(np.stack([matrix, 4 * matrix])[:, None], baseline)
    np.testing.assert_allclose(both, [[found], [2 * found]], rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((np.eye(2), 2), "baseline: expected an index below 2, got 2"),
        ((np.eye(2), -1), "baseline: expected an index below 2, got -1"),
        ((np.eye(2), 0.5), "baseline: expected an index below 2, got 0.5"),
        ((np.ones((2, 3)), 0), "covariance_matrix: expected shape (..., Y, Y), got shape (2, 3)"),
        (([1.0, 2.0], 0), "covariance_matrix: expected shape (..., Y, Y), got shape (2,)"),
        (([[1.0, np.nan], [0, 1]], 0), "covariance_matrix: expected finite numbers, got nan"),
    ],
)
def test_standard_errors_need_a_square_matrix_and_an_index(arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        statistics.standard_errors(*arguments)


# --- the Cramer-Rao bound ------------------------------------------------------------------------


def problem(reward, weights=None):
    reward = np.asarray(reward, dtype=float)
    uniform = np.full(reward.shape, 1 / reward.shape[-1])
    return AlignmentProblem(reward, uniform, beta=0.7, prompt_weights=weights)


@given(st.floats(-8, 8), st.floats(0.01, 0.99), st.integers(1, 10**6))
def test_two_responses_have_the_bound_of_a_coin(gap, share, size):
    """Only the difference is unknown: its variance is 1/(n p q), a centred reward's a quarter.

    Two different draws from two responses always show both, so the behaviour does not matter.
    """
    p = sigma(gap)
    expected = np.array([[1, -1], [-1, 1]]) / (4 * size * p * (1 - p))
    found = statistics.cramer_rao_bound(problem([gap, 0.0]), [share, 1 - share], size=size)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_bound_inverts_the_information_of_one_vote_of_the_sampling_law():
    """Information by enumeration: two draws thrown away if equal, a vote, its score squared."""
    reward, behaviour = np.array([0.3, -1.0, 2.0, 0.0]), np.array([0.1, 0.2, 0.3, 0.4])
    information, kept = np.zeros((4, 4)), 0.0
    for first, second in product(range(4), repeat=2):
        if first == second:
            continue
        shown = behaviour[first] * behaviour[second]
        kept += shown
        for won, lost in ((first, second), (second, first)):
            pull = score(reward, won, lost)
            information += shown * sigma(reward[won] - reward[lost]) * np.outer(pull, pull)
    expected = np.linalg.pinv(500 * information / kept, rcond=1e-10)
    found = statistics.cramer_rao_bound(problem(reward), behaviour, size=500)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_size_counts_the_votes_of_all_prompts_together():
    reward = np.array([[0.0, 1.0, -1.0], [2.0, 0.0, 0.5]])
    behaviour = np.array([[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]])
    found = statistics.cramer_rao_bound(problem(reward, [0.25, 0.75]), behaviour, size=400)
    assert found.shape == (2, 3, 3)
    for x, own in enumerate((100, 300)):
        alone = statistics.cramer_rao_bound(problem(reward[x]), behaviour[x], size=own)
        np.testing.assert_allclose(found[x], alone, rtol=1e-10)


def test_the_bound_has_the_shape_of_the_rewards():
    one, row = [0.0, 1.0, 2.0], [0.2, 0.3, 0.5]
    flat = statistics.cramer_rao_bound(problem(one), row, size=10)
    assert flat.shape == (3, 3)
    assert (statistics.cramer_rao_bound(problem([one]), row, size=10)[0] == flat).all()
    assert (statistics.cramer_rao_bound(problem(one), [row], size=10) == flat).all()
    shared = statistics.cramer_rao_bound(problem([one, one]), row, size=20)
    np.testing.assert_allclose(shared, [flat, flat], rtol=1e-12)


@pytest.mark.parametrize(
    ("reward", "weights"),
    [
        ([0.0, 1.0, -1.0], None),
        ([[0.0, 1.0, -1.0], [2.0, 0.0, 0.5]], None),
        ([[0.0, 1.0, -1.0], [2.0, 0.0, 0.5]], [0.25, 0.75]),
    ],
)
def test_the_bound_needs_only_rewards_and_how_often_each_prompt_comes(reward, weights):
    behaviour = [0.2, 0.3, 0.5]
    expected = statistics.cramer_rao_bound(problem(reward, weights), behaviour, size=400)
    found = statistics.cramer_rao_bound(reward, behaviour, size=400, prompt_weights=weights)
    assert np.array_equal(found, expected)


def test_maximum_likelihood_attains_the_bound_as_votes_grow():
    """The mean of (r^ - r)^T C^+ (r^ - r) over replications is the rank of C, here 2.

    Each term is nearly chi-square with 2 degrees of freedom, so the mean of 4,000 has the standard
    error 0.032; beyond 0.2 it lies by chance with probability under 1e-8. The bias is of order 1/N.
    """
    reward, behaviour = np.array([0.0, 0.5, 1.0]), np.array([0.2, 0.3, 0.5])
    size, replications = 3000, 4000
    law = preferences.expected_wins(reward, behaviour)[0]
    counts = np.random.default_rng(2).multinomial(size, law.ravel(), size=replications)
    found = preferences.fit_bradley_terry(counts.reshape(-1, 3, 3)) - (reward - reward.mean())
    bound = statistics.cramer_rao_bound(problem(reward), behaviour, size=size)
    statistic = np.einsum("ni,ij,nj->n", found, np.linalg.pinv(bound, rcond=1e-8), found)
    assert abs(statistic.mean() - 2) < 0.2


@pytest.mark.parametrize(
    ("behaviour", "size", "said"),
    [
        (
            [0.5, 0.5, 0.0],
            9,
            "behaviour: expected a connected comparison graph, got components "
            "[0, 1] and [2] at prompt 0",
        ),
        (
            [1.0, 0.0, 0.0],
            9,
            "behaviour: expected mass on two responses or more, got all mass on one",
        ),
        ([0.5, 0.5], 9, "behaviour and reward: expected shapes that fit, got"),
        (np.full((2, 3), 1 / 3), 9, "behaviour: expected shape (3,), got shape (2, 3)"),
        ([0.5, 0.4, 0.0], 9, "behaviour: expected rows summing to 1, got a row summing to 0.9"),
        ([0.3, 0.3, 0.4], 0, "size: expected a whole number >= 1, got 0"),
        ([0.3, 0.3, 0.4], 2.5, "size: expected a whole number >= 1, got 2.5"),
    ],
)
def test_where_there_is_no_bound_the_reason_is_given(behaviour, size, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        statistics.cramer_rao_bound(problem([0.0, 1.0, 2.0]), behaviour, size=size)


@pytest.mark.parametrize(
    ("asked", "weights", "said"),
    [
        (problem([0.0, 1.0]), [1.0], "prompt_weights: expected none beside a problem, which has"),
        ([0.0, 1.0], [0.5, 0.5], "prompt_weights: expected shape (1,), got shape (2,)"),
        ([0.0, np.nan], None, "problem: expected finite numbers, got nan"),
        (np.zeros((1, 1, 2)), None, "problem: expected rewards (Y,) or (X, Y), got shape (1, 1,"),
    ],
)
def test_what_a_bound_cannot_be_of_is_refused(asked, weights, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        statistics.cramer_rao_bound(asked, [0.5, 0.5], size=10, prompt_weights=weights)


def test_a_prompt_that_never_comes_has_no_bound():
    said = "expected a connected comparison graph, got components [0] and [1] at prompt 1"
    two = problem([[0.0, 1.0], [1.0, 0.0]], weights=[1.0, 0.0])
    with pytest.raises(ValueError, match=re.escape(said)):
        statistics.cramer_rao_bound(two, [0.5, 0.5], size=10)


# --- to order 1/n --------------------------------------------------------------------------------


@given(st.floats(-5, 5), st.floats(0.1, 50))
def test_two_responses_have_the_second_order_of_a_logit(gap, met):
    """Taylor's theorem for the logit of a binomial share, by hand: 7/(4pq) - 5 and (p-q)/(2pq)."""
    p = sigma(gap)
    bias, excess = statistics.second_order([gap, 0.0], [[0, met], [met, 0]])
    assert math.isclose(excess, 7 / (4 * p * (1 - p)) - 5, rel_tol=1e-9)
    np.testing.assert_allclose(
        bias[0] - bias[1], (2 * p - 1) / (2 * p * (1 - p)), rtol=1e-9, atol=1e-12
    )


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(1, 9)), min_size=1, max_size=4),
    st.floats(0.1, 9),
)
def test_along_a_chain_of_comparisons_the_links_add_up(links, scale):
    """Each link is a logit of its own, on a binomial number of votes whose inverse has the mean
    (1 + (1 - share)/(n share)) / (n share)."""
    gaps, met = np.array(links).T
    share = met / met.sum()
    reward = np.concatenate([[0.0], np.cumsum(gaps)])
    comparisons = np.diag(scale * met, 1) + np.diag(scale * met, -1)
    bias, excess = statistics.second_order(reward, comparisons)
    p = 1 / (1 + np.exp(-gaps))
    own = 7 / (4 * p * (1 - p)) - 5
    np.testing.assert_allclose(excess, np.mean((1 - share + own) / share), rtol=1e-8)
    expected = (2 * p - 1) / (2 * p * (1 - p)) / share
    np.testing.assert_allclose(np.diff(bias), expected, rtol=1e-8, atol=1e-8)


def test_the_logit_of_n_votes_enumerated_leaves_only_the_next_order():
    """All outcomes of n votes but the unanimous ones; what is left over falls as 1/n^2."""
    gap = 0.8
    p, (bias, excess) = sigma(gap), statistics.second_order([gap, 0.0], [[0, 1], [1, 0]])
    left = []
    for n in (400, 800):
        k = np.arange(1, n)
        binomial = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k]
        chance = np.exp(binomial + k * math.log(p) + (n - k) * math.log(1 - p))
        miss = np.log(k / (n - k)) - gap
        squared = n * p * (1 - p) * (chance @ miss**2)
        left.append([squared - 1 - excess / n, chance @ miss - (bias[0] - bias[1]) / n])
    np.testing.assert_allclose(np.divide(*left), [4.0, 4.0], rtol=0.1)


def test_the_second_order_follows_from_the_fit_alone():
    """No derivatives: the fit of departed frequencies, and polynomials through nine departures."""
    reward, behaviour = np.array([0.2, -0.1, 0.6]), np.array([0.4, 0.35, 0.25])
    law = preferences.expected_wins(reward, behaviour)[0]
    information = statistics.fisher_information(reward, law + law.T)
    cells = np.flatnonzero(law)
    p = law.flat[cells]
    u, steps = np.eye(len(p)) - p, 0.004 * np.arange(-4, 5)

    def coefficients(directions):
        """Of the miss and of its square, in the size of a departure along each direction."""
        wins = np.zeros((9, len(directions), 9))
        wins[..., cells] = p + steps[:, None, None] * directions
        fit = preferences.fit_bradley_terry(wins.reshape(-1, 3, 3)).reshape(9, -1, 3)
        miss = fit - (reward - reward.mean())
        square = np.einsum("...i,ij,...j->...", miss, information, miss)
        powers = np.linalg.inv(np.vander(steps, increasing=True))
        return np.einsum("kt,tdi->kdi", powers, miss), powers @ square

    miss, square = coefficients(u)
    both = np.concatenate([u[:, None] + u, u[:, None] - u]).reshape(-1, len(p))
    pairs = coefficients(both)[1][4].reshape(2, len(p), len(p)).sum(axis=0)
    pairs -= 2 * (square[4][:, None] + square[4])
    bias, excess = statistics.second_order(reward, law + law.T)
    np.testing.assert_allclose(bias, p @ miss[2], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(excess, (p @ square[3] + p @ pairs @ p / 4) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("reward", "comparisons", "said"),
    [
        ([0.0], [[0.0]], "reward and comparisons: expected shapes (Y,) and (Y, Y), Y >= 2"),
        (np.zeros((1, 2)), 1 - np.eye(2), "expected shapes (Y,) and (Y, Y), Y >= 2"),
        (np.zeros(3), 1 - np.eye(2), "expected shapes (Y,) and (Y, Y), Y >= 2"),
        ([0.0, 0.0], [[0, 1], [2, 0]], "comparisons: expected a symmetric array"),
        ([0.0, 0.0], np.zeros((2, 2)), "comparisons: expected a connected comparison graph"),
    ],
)
def test_the_second_order_needs_one_connected_prompt(reward, comparisons, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        statistics.second_order(reward, comparisons)


# --- goodness of fit -----------------------------------------------------------------------------


def deviance_by_hand(reward, wins):
    """2 sum observed log(observed/expected), zero counts adding nothing."""
    total = 0.0
    for i, j in product(range(len(wins)), repeat=2):
        if wins[i, j] > 0:
            expected = (wins[i, j] + wins[j, i]) * sigma(reward[i] - reward[j])
            total += 2 * wins[i, j] * math.log(wins[i, j] / expected)
    return total


@given(st.integers(2, 5).flatmap(lambda y: hnp.arrays(float, (y, y), elements=st.floats(0, 40))))
def test_the_deviance_compares_observed_with_expected_counts(wins):
    wins = np.where(wins < 1e-3, 0.0, wins) * (1 - np.eye(len(wins)))
    reward = np.linspace(-1.5, 2.0, len(wins))
    found = statistics.deviance(reward, wins)
    assert math.isclose(found, deviance_by_hand(reward, wins), rel_tol=1e-9, abs_tol=1e-9)


def test_the_published_deviances_for_the_journals_are_found():
    fitted = statistics.deviance(preferences.fit_bradley_terry(JOURNALS), JOURNALS)
    assert abs(fitted - JOURNAL_DEVIANCE) < 5.1e-5
    assert abs(statistics.deviance(np.zeros(4), JOURNALS) - JOURNAL_NULL_DEVIANCE) < 5.1e-3


def test_votes_as_the_model_expects_them_have_no_deviance():
    reward = np.array([[0.0, 1.0, -2.0], [3.0, 0.0, 0.0]])
    wins = 100 * preferences.preference_matrix(reward) * (1 - np.eye(3))
    np.testing.assert_allclose(statistics.deviance(reward, wins), [0.0, 0.0], atol=1e-10)
    assert statistics.deviance(reward[::-1], wins).min() > 1


def test_the_fitted_deviance_of_model_votes_is_a_chi_square_in_the_mean():
    """Mean (Y-1)(Y-2)/2 = 3 over 4,000 elections; the limit is six standard errors, chance 2e-9."""
    reward = np.array([0.0, 0.4, -0.3, 0.8])
    law = preferences.expected_wins(reward, np.full(4, 0.25))[0]
    counts = np.random.default_rng(3).multinomial(3000, law.ravel(), size=4000)
    counts = counts.reshape(-1, 4, 4).astype(float)
    found = statistics.deviance(preferences.fit_bradley_terry(counts), counts)
    assert abs(found.mean() - 3) < 6 * math.sqrt(6 / 4000)


@pytest.mark.parametrize(
    ("reward", "wins", "said"),
    [
        ([0.0, 0.0, 0.0], [[0, 1], [1, 0]], "reward and wins: expected"),
        ([0.0, 0.0], [[0, -1], [1, 0]], "wins: expected counts >= 0, got -1.0"),
        ([0.0, np.inf], [[0, 1], [1, 0]], "reward: expected finite numbers, got inf"),
    ],
)
def test_a_deviance_needs_rewards_and_votes(reward, wins, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        statistics.deviance(reward, wins)


# --- the chance that no estimate exists ----------------------------------------------------------


def elections(law, size):
    """Every sequence of `size` votes: its win counts and its probability."""
    cells = [cell for cell in np.ndindex(law.shape) if law[cell] > 0]
    for votes in product(cells, repeat=size):
        wins = np.zeros(law.shape)
        for cell in votes:
            wins[cell] += 1
        yield wins, math.prod(law[cell] for cell in votes)


def groups_that_never_lost(wins):
    everyone = range(len(wins))
    groups = [s for size in everyone[1:] for s in combinations(everyone, size)]
    return [s for s in groups if not any(wins[o, g] for g in s for o in set(everyone) - set(s))]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_bound_adds_the_chances_that_a_group_never_lost(size):
    reward, behaviour = np.array([0.0, 0.8, -0.5]), np.array([0.2, 0.5, 0.3])
    law = preferences.expected_wins(reward, behaviour)[0]
    sum_over_groups, no_estimate = 0.0, 0.0
    for wins, chance in elections(law, size):
        groups = groups_that_never_lost(wins)
        sum_over_groups += chance * len(groups)
        no_estimate += chance * bool(groups)
    found = statistics.chance_of_no_estimate(reward, behaviour, size=size)
    assert math.isclose(found, sum_over_groups, rel_tol=1e-12)
    assert found >= no_estimate


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_for_two_responses_the_bound_is_the_chance_of_a_unanimous_vote(size):
    p = sigma(0.7)
    found = statistics.chance_of_no_estimate([0.7, 0.0], [0.9, 0.1], size=size)
    assert math.isclose(found, p**size + (1 - p) ** size, rel_tol=1e-12)


def test_the_bound_covers_how_often_fits_fail_and_is_close_when_that_is_rare():
    """20,000 elections; six standard errors of the count, chance of a false alarm 2e-9."""
    reward, behaviour, size = np.array([0.0, 1.0, 2.0, 0.5]), np.full(4, 0.25), 40
    law = preferences.expected_wins(reward, behaviour)[0]
    counts = np.random.default_rng(4).multinomial(size, law.ravel(), size=20_000)
    failed = [len(preferences.components(w, strong=True)) > 1 for w in counts.reshape(-1, 4, 4)]
    bound = statistics.chance_of_no_estimate(reward, behaviour, size=size)
    error = math.sqrt(bound * (1 - bound) / 20_000)
    assert 0.01 < bound < 0.1
    assert 0.8 * bound - 6 * error < np.mean(failed) < bound + 6 * error


@pytest.mark.parametrize(
    ("reward", "behaviour", "size", "said"),
    [
        (
            np.zeros(21),
            np.full(21, 1 / 21),
            5,
            "reward: expected shape (Y,) with Y <= 20, got (1, 21)",
        ),
        (np.zeros((2, 2)), [0.5, 0.5], 5, "reward: expected shape (Y,) with Y <= 20, got (2, 2)"),
        ([0.0, 0.0], [0.5, 0.5], 0, "size: expected a whole number >= 1, got 0"),
        ([0.0, 0.0], [0.5, 0.6], 5, "behaviour: expected rows summing to 1"),
    ],
)
def test_the_bound_is_for_one_prompt_and_few_responses(reward, behaviour, size, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        statistics.chance_of_no_estimate(reward, behaviour, size=size)


def test_counts_that_are_symmetric_but_for_rounding_will_do():
    found = statistics.fisher_information([0.0, 0.0], [[0, 4], [4 * (1 + 1e-12), 0]])
    np.testing.assert_allclose(found, [[1, -1], [-1, 1]], rtol=1e-11)


def test_one_response_has_no_reward_to_err_about():
    assert statistics.covariance([[3.0], [1.0]], np.zeros((2, 1, 1))).tolist() == [[[0.0]]] * 2


def test_twenty_responses_are_few(monkeypatch):
    asked = []
    monkeypatch.setattr(statistics, "combinations", lambda who, k: asked.append(k) or [])
    uniform = np.full(20, 1 / 20)
    assert statistics.chance_of_no_estimate(np.zeros(20), uniform, size=5) == 0
    assert asked == list(range(1, 20))
