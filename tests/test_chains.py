"""Chains of tokens against plain enumeration of all their responses."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpo_edu import chains, distributions, gibbs

pytestmark = pytest.mark.filterwarnings("error")


def refused(message):
    """The call raises a ValueError whose message begins like this."""
    return pytest.raises(ValueError, match="^" + re.escape(message))


def world(seed, tokens, places, zeros=False):
    """A reference, a reward and another chain, all different at every place."""
    rng = np.random.default_rng(seed)
    shape = (places, tokens)
    ref, other = (rng.dirichlet(np.ones(tokens), size=shape) for _ in range(2))
    if zeros and tokens > 1:
        ref[..., rng.integers(tokens)] = 0
        ref /= ref.sum(axis=-1, keepdims=True)
    return ref, rng.normal(size=(places, tokens, tokens)), other


def listed(tokens, places):
    """All responses, by trying all strings."""
    return np.array(list(itertools.product(range(tokens), repeat=places)))


def along(table, response):
    """The entries that a response meets, one step at a time."""
    before, found = 0, []
    for t, token in enumerate(response):
        found.append(table[t][before][token])
        before = token
    return found


def probabilities(chain, responses):
    """The probability of each response, a product."""
    return np.array([math.prod(along(chain, y)) for y in responses])


WORLDS = st.builds(world, st.integers(0, 999), st.integers(1, 4), st.integers(1, 4), st.booleans())
BETAS = st.sampled_from([0.05, 0.5, 3.0])


@given(made=WORLDS)
def test_scores_are_sums_along_the_response(made):
    ref, reward, _ = made
    every = listed(ref.shape[-1], len(ref))
    assert chains.score(reward, every) == pytest.approx([sum(along(reward, y)) for y in every])


def test_a_response_that_cannot_be_written_scores_minus_infinity():
    table = np.where(np.eye(2) > 0, -np.inf, 0.0)[None].repeat(3, axis=0)
    assert chains.score(table, [[1, 0, 1], [1, 1, 0]]).tolist() == [0.0, -np.inf]


@given(made=WORLDS)
def test_steps_point_at_the_entries_that_a_response_meets(made):
    _, reward, _ = made
    every = listed(reward.shape[-1], len(reward))
    found = reward.reshape(-1)[chains.steps(every, tokens=reward.shape[-1])]
    assert found.tolist() == [along(reward, y) for y in every]


@given(made=WORLDS, beta=BETAS)
def test_the_optimal_chain_is_the_gibbs_policy_of_all_responses(made, beta):
    ref, reward, _ = made
    every = listed(ref.shape[-1], len(ref))
    total = np.array([sum(along(reward, y)) for y in every])
    each = probabilities(ref, every)
    found = probabilities(chains.optimal_chain(reward, ref, beta=beta), every)
    each /= each.sum()
    assert found == pytest.approx(gibbs.optimal_policy(total, each, beta=beta), abs=1e-12)
    root = chains.soft_values(reward, ref, beta=beta)[0, 0]
    assert root == pytest.approx(beta * gibbs.log_partition(total, each, beta=beta), abs=1e-12)


@given(made=WORLDS, beta=BETAS)
def test_a_soft_value_is_the_log_partition_of_what_may_follow(made, beta):
    ref, reward, _ = made
    values = chains.soft_values(reward, ref, beta=beta)
    assert values.shape == (len(ref) + 1, ref.shape[-1])
    assert not values[-1].any()
    for t, s in np.ndindex(len(ref), ref.shape[-1]):
        if t == 0 and s > 0:
            continue
        weight = 0.0
        for rest in itertools.product(range(ref.shape[-1]), repeat=len(ref) - t):
            path = [s, *rest]
            pairs = [(t + k, path[k], path[k + 1]) for k in range(len(rest))]
            r, p = sum(reward[x] for x in pairs), math.prod(ref[x] for x in pairs)
            weight += p * math.exp(r / beta)
        assert values[t, s] == pytest.approx(beta * math.log(weight), abs=1e-10)


@given(made=WORLDS)
def test_the_divergence_of_chains_is_that_of_all_their_responses(made):
    ref, _, other = made
    every = listed(ref.shape[-1], len(ref))
    p, q = probabilities(ref, every), probabilities(other, every)
    expected = distributions.kl_divergence(p / p.sum(), q / q.sum())
    assert chains.kl_divergence(ref, other) == pytest.approx(float(expected), abs=1e-12)


def test_a_divergence_is_infinite_only_where_the_first_chain_goes():
    half = np.full((2, 2, 2), 0.5)
    sure = np.array([[[1.0, 0.0], [1.0, 0.0]]] * 2)
    assert chains.kl_divergence(half, sure) == np.inf
    astray = np.array([[[1.0, 0.0], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]])
    assert chains.kl_divergence(sure, astray) == pytest.approx(math.log(2))  # row 1: never met


def test_a_tiny_divergence_keeps_its_digits():
    p, size = np.full((3, 2, 2), 0.5), 1e-9
    q = np.broadcast_to([0.5 + size, 0.5 - size], (3, 2, 2))
    assert chains.kl_divergence(p, q) == pytest.approx(3 * 2 * size**2, rel=1e-6)


@given(made=WORLDS)
def test_occupancy_counts_what_stands_before(made):
    _, _, chain = made
    every = listed(chain.shape[-1], len(chain))
    p, met = probabilities(chain, every), chains.occupancy(chain)
    assert met[0].tolist() == [1.0] + [0.0] * (chain.shape[-1] - 1)
    for t in range(1, len(chain)):
        expected = [p[every[:, t - 1] == s].sum() for s in range(chain.shape[-1])]
        assert met[t] == pytest.approx(expected)


def test_samples_occur_as_often_as_they_are_probable():
    ref, _, _ = world(3, 3, 3, zeros=True)
    every, size = listed(3, 3), 200_000
    found = chains.sample(ref, size, rng=np.random.default_rng(0))
    counts = np.bincount(found @ [9, 3, 1], minlength=27)
    p = probabilities(ref, every)
    assert not counts[p == 0].any()
    error = np.sqrt(p * (1 - p) / size)
    assert (np.abs(counts / size - p) <= 4.5 * error).all()


class Uniform:
    """Where random numbers come from, if all are the same."""

    def __init__(self, value):
        self.value = value

    def random(self, size):
        return np.full(size, self.value)


@pytest.mark.parametrize("u", [0.0, np.nextafter(1.0, 0.0)])
def test_the_extremes_of_chance_never_draw_what_has_no_probability(u, monkeypatch):
    monkeypatch.setattr(chains._checks, "generator", lambda rng: rng)
    chain = np.zeros((4, 5, 5))
    chain[:, :, 1:4] = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 5))
    drawn = chains.sample(chain, 7, rng=Uniform(u))
    assert (drawn == (1 if u == 0 else 3)).all()


def test_the_same_generator_gives_the_same_samples():
    ref, _, _ = world(0, 4, 5)
    first, second = (chains.sample(ref, 9, rng=np.random.default_rng(1)) for _ in range(2))
    assert first.dtype == np.int64
    assert first.shape == (9, 5)
    assert first.tolist() == second.tolist()


def test_a_potential_changes_no_policy():
    ref, reward, _ = world(1, 3, 4)
    potential = np.vstack([np.random.default_rng(2).normal(size=(4, 3)), np.zeros(3)])
    shaped = reward + potential[1:, None, :] - potential[:-1, :, None]
    found = chains.optimal_chain(shaped, ref, beta=0.5)
    assert found == pytest.approx(chains.optimal_chain(reward, ref, beta=0.5), abs=1e-12)


def test_spaces_that_nobody_can_list_are_no_slower():
    ref, reward, _ = world(0, 27, 32)
    star = chains.optimal_chain(reward, ref, beta=0.5)
    assert star.sum(axis=-1) == pytest.approx(np.ones((32, 27)))
    gain = chains.kl_divergence(star, ref)
    path = chains.sample(star, 20_000, rng=np.random.default_rng(0))
    drawn = chains.score(np.log(star / ref), path)
    assert abs(drawn.mean() - gain) < 4 * drawn.std() / np.sqrt(len(drawn))


HALF = [[[0.5, 0.5]] * 2] * 3
ZERO = np.zeros((3, 2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chains.optimal_chain(ZERO, HALF, beta=0), "beta: expected a finite number > 0"),
        (lambda: chains.soft_values(ZERO[0], HALF, beta=1), "reward: expected shape (T, V, V)"),
        (lambda: chains.soft_values(ZERO[:2], HALF, beta=1), "reward, ref: expected one shape"),
        (lambda: chains.soft_values(ZERO, ZERO, beta=1), "ref: expected rows summing to 1"),
        (lambda: chains.kl_divergence(HALF, HALF[:2]), "p, q: expected one shape"),
        (lambda: chains.occupancy([[0.5, 0.5]]), "chain: expected shape (T, V, V)"),
        (lambda: chains.occupancy(np.full((2, 3, 2), 0.5)), "chain: expected shape (T, V, V)"),
        (lambda: chains.score(np.zeros((0, 2, 2)), [[0]]), "table: expected shape (T, V, V)"),
        (
            lambda: chains.score(ZERO + np.nan, [[0, 1, 1]]),
            "table: expected numbers below infinity",
        ),
        (
            lambda: chains.score(ZERO + np.inf, [[0, 1, 1]]),
            "table: expected numbers below infinity",
        ),
        (lambda: chains.score(ZERO, [[0, 1]]), "responses: expected whole numbers 0 .. 1"),
        (lambda: chains.score(ZERO, [[0, 1, 2]]), "responses: expected whole numbers 0 .. 1"),
        (lambda: chains.score(ZERO, [[0, 1, -1]]), "responses: expected whole numbers 0 .. 1"),
        (lambda: chains.score(ZERO, [[0.0, 1.0, 1.0]]), "responses: expected whole numbers"),
        (lambda: chains.steps([0, 1], tokens=2), "responses: expected whole numbers"),
        (lambda: chains.steps(3, tokens=2), "responses: expected whole numbers"),
        (lambda: chains.steps([[0, 1]], tokens=0), "tokens: expected a whole number >= 1"),
        (lambda: chains.sample(HALF, 3, rng=0), "rng: expected a numpy.random.Generator"),
        (
            lambda: chains.sample(HALF, 0, rng=np.random.default_rng(0)),
            "size: expected a whole number >= 1",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with refused(message):
        call()
