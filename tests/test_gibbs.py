"""The Gibbs policy against 50 digits, and every other formula against what it must equal."""

import re

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import rel_entr

from dpo_edu import distributions, gibbs

pytestmark = pytest.mark.filterwarnings("error")

BOUND = 1e-12  # relative, wherever the exact result is a normal float64
NORMAL = float(np.finfo(float).tiny)
BETAS = st.floats(-6, 6).map(lambda power: 10.0**power)


def refused(message):
    """The call raises a ValueError whose message begins like this."""
    return pytest.raises(ValueError, match="^" + re.escape(message))


def exact(reward, ref, beta):
    """pi*, log pi* and log Z in 50 digits, also where the logarithm of nearly 1 needs 350 more."""
    with mpmath.workdps(400):
        beta = mpmath.mpf(float(beta))
        weights = [
            mpmath.mpf(float(q)) * mpmath.exp(mpmath.mpf(float(r)) / beta)
            for r, q in zip(reward, ref, strict=True)
        ]
        total = mpmath.fsum(weights)
        policy = [w / total for w in weights]
        logs = [mpmath.log(w) if w else mpmath.mpf("-inf") for w in policy]
        return policy, logs, mpmath.log(total)


def misses(found, expected, slack=0.0):
    """The values that are off by more than BOUND, among those that a normal float64 can hold."""
    pairs = [(float(f), e) for f, e in zip(np.ravel(found), expected, strict=True)]
    representable = [(f, e) for f, e in pairs if NORMAL <= abs(e) < mpmath.mpf(10) ** 308]
    return [(f, float(e)) for f, e in representable if abs(f - e) > BOUND * abs(e) + slack]


def agrees_with_fifty_digits(reward, ref, beta):
    policy, logs, log_z = exact(reward, ref, beta)
    assert misses(gibbs.optimal_policy(reward, ref, beta=beta), policy) == []
    assert misses(gibbs.log_optimal_policy(reward, ref, beta=beta), logs) == []
    # Where gains and losses nearly cancel, the last bit of the rewards decides about log Z.
    last_bit = 2.0**-52 * sum(float(p) * abs(r) / beta for p, r in zip(policy, reward, strict=True))
    found = [gibbs.log_partition(reward, ref, beta=beta)]
    assert misses(found, [log_z], slack=last_bit + 1e-31) == []


def random_problem(seed, size=5, prompts=()):
    rng = np.random.default_rng(seed)
    shape = (*prompts, size)
    reward, ref = rng.normal(size=shape), rng.dirichlet(np.ones(size), size=prompts or None)
    return reward, ref, rng.dirichlet(np.ones(size), size=prompts or None)


@st.composite
def problems(draw, zeros=False):
    """Reward, reference, beta: scales over 12 orders of magnitude, probabilities to 1e-300."""
    size = draw(st.integers(1, 6))
    scale = 10.0 ** draw(st.floats(-6, 6))
    reward = scale * draw(hnp.arrays(float, size, elements=st.floats(-1, 1)))
    powers = draw(hnp.arrays(float, size, elements=st.floats(-300, 0)))
    weights = 10.0 ** (powers - powers.max())
    if zeros:
        weights = weights * draw(hnp.arrays(bool, size))
        weights[powers.argmax()] = 1.0
    return reward, weights / weights.sum(), draw(BETAS)


# --- exactness --------------------------------------------------------------------------------


@given(problems())
def test_twelve_orders_of_magnitude_agree_with_fifty_digits(problem):
    agrees_with_fifty_digits(*problem)


@pytest.mark.parametrize("scale", 10.0 ** np.arange(-6, 7, 2))
@pytest.mark.parametrize("beta", 10.0 ** np.arange(-6, 7, 2))
def test_every_scale_of_reward_and_beta_agrees_with_fifty_digits(scale, beta):
    rng = np.random.default_rng(11)
    for concentration in (0.3, 5.0):
        reward, ref = scale * rng.normal(size=7), rng.dirichlet(np.full(7, concentration))
        agrees_with_fifty_digits(reward, ref, beta)


@pytest.mark.parametrize("beta", [1e-3, 0.1, 1.0, 3.0, 30.0, 1e3])
def test_rewards_of_a_thousand_agree_with_fifty_digits(beta):
    reward = np.array([-1000.0, -999.5, 0.0, 999.0, 1000.0, 1000.0])
    agrees_with_fifty_digits(reward, np.full(6, 1 / 6), beta)
    agrees_with_fifty_digits(-reward, np.array([0.5, 0.3, 0.1, 0.05, 0.04, 0.01]), beta)


@pytest.mark.parametrize("tiny", [1e-300, 1e-200, 1e-16])
def test_tiny_reference_probabilities_agree_with_fifty_digits(tiny):
    for reward in ([0.0, 690.0], [0.0, 1400.0], [-1000.0, 1000.0], [1e-6, 0.0]):
        agrees_with_fifty_digits(reward, [1.0 - tiny, tiny], 1.0)


def test_nearly_certain_responses_keep_the_digits_of_their_logarithm():
    found = gibbs.log_optimal_policy([0.0, -50.0], [0.5, 0.5], beta=1.0)
    assert found[0] == pytest.approx(-np.exp(-50.0), rel=BOUND, abs=0)
    assert found[1] == pytest.approx(-50.0, rel=BOUND)


def test_a_partition_function_near_one_keeps_the_digits_of_its_logarithm():
    for power in range(2, 16):
        agrees_with_fifty_digits([1.0, -0.5, 0.1], [0.3, 0.3, 0.4], beta=10.0**power)


def test_the_smallest_number_of_all_may_be_a_reference_probability():
    log_tiny = -1074 * np.log(2)
    found = gibbs.log_partition([0.0, 744.0], [1.0, 2.0**-1074], beta=1.0)
    assert found == pytest.approx(np.log1p(np.exp(744.0 + log_tiny)), rel=BOUND)


@pytest.mark.parametrize("rewards", [[0.0, 2000.0], [0.0, 1000.0], [-1e5, 1e5], [1e5, -1e5]])
def test_a_best_response_of_almost_no_probability_keeps_every_digit(rewards):
    for tiny in (2.0**-1074, 1e-300, 1e-205):
        agrees_with_fifty_digits([*rewards, 3.0], [0.5 - tiny, tiny, 0.5], 1.0)


@pytest.mark.parametrize("size", [3, 4, 5, 8, 13])
@pytest.mark.parametrize("prompts", [(), (3,)])
def test_responses_are_summed_in_blocks_of_any_size(monkeypatch, size, prompts):
    reward, ref, _ = random_problem(12, size=size, prompts=prompts)
    tilt = 1e-3 * reward  # log Z near zero
    whole = [f(r, ref, beta=0.3) for f in OF_REWARD for r in (reward, tilt)]
    monkeypatch.setattr(gibbs, "BLOCK", 4)
    parts = [f(r, ref, beta=0.3) for f in OF_REWARD for r in (reward, tilt)]
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, rel=1e-14, abs=1e-17)


def test_ten_million_responses_keep_twelve_digits():
    half = 5_000_000
    reward = np.tile([-1000.0, 1000.0], half)
    ref = np.full(2 * half, 0.5 / half)
    with mpmath.workdps(50):
        good = 1 / (half * (1 + mpmath.exp(-2000 / mpmath.mpf(400))))
        bad = 1 / mpmath.mpf(half) - good
        log_z = mpmath.log(mpmath.cosh(1000 / mpmath.mpf(400)))
    found = gibbs.optimal_policy(reward, ref, beta=400.0)
    ends = [found[0::2].min(), found[0::2].max(), found[1::2].min(), found[1::2].max()]
    assert misses(ends, [bad, bad, good, good]) == []
    assert misses([gibbs.log_partition(reward, ref, beta=400.0)], [log_z]) == []


@given(problems(zeros=True))
def test_every_row_sums_to_one_and_keeps_the_support(problem):
    reward, ref, beta = problem
    policy = gibbs.optimal_policy(reward, ref, beta=beta)
    assert policy.sum() == pytest.approx(1.0, abs=1e-12)
    assert not policy[ref == 0].any()
    assert np.isfinite(gibbs.log_optimal_policy(reward, ref, beta=beta)[ref > 0]).all()


# --- what the optimum does --------------------------------------------------------------------


@given(problems(zeros=True))
def test_the_objective_at_the_optimum_is_beta_log_z(problem):
    reward, ref, beta = problem
    policy = gibbs.optimal_policy(reward, ref, beta=beta)
    best = beta * gibbs.log_partition(reward, ref, beta=beta)
    size = np.abs(reward).max() + 700 * beta
    found = gibbs.objective(policy, reward, ref, beta=beta)
    assert found == pytest.approx(best, abs=1e-12 * size)


@given(st.integers(0, 10**6), BETAS)
def test_no_policy_beats_the_optimum(seed, beta):
    reward, ref, policy = random_problem(seed)
    best = beta * gibbs.log_partition(reward, ref, beta=beta)
    for share in (1.0, 0.1, 1e-3):
        optimum = gibbs.optimal_policy(reward, ref, beta=beta)
        other = share * policy + (1 - share) * optimum
        slack = 1e-14 * (1 + 10 * beta)
        assert gibbs.objective(other, reward, ref, beta=beta) <= best + slack


def test_the_objective_is_expected_reward_minus_beta_kl():
    reward, ref, policy = random_problem(3, prompts=(4,))
    expected = (policy * reward).sum(axis=-1) - 0.3 * rel_entr(policy, ref).sum(axis=-1)
    assert gibbs.objective(policy, reward, ref, beta=0.3) == pytest.approx(expected, abs=1e-14)


def test_the_objective_counts_a_response_without_probability_as_nothing():
    found = gibbs.objective([1.0, 0.0, 0.0], [2.0, 9.0, 5.0], [0.25, 0.75, 0.0], beta=0.5)
    assert found == pytest.approx(2.0 - 0.5 * np.log(4.0))


@given(st.integers(0, 10**6), BETAS, st.floats(-100, 100))
def test_a_constant_added_to_the_reward_changes_no_policy(seed, beta, constant):
    reward, ref, _ = random_problem(seed)
    policy = gibbs.optimal_policy(reward, ref, beta=beta)
    moved = gibbs.optimal_policy(reward + constant, ref, beta=beta)
    log_z = gibbs.log_partition(reward, ref, beta=beta) + constant / beta
    rounding = 1e-13 / beta
    assert moved == pytest.approx(policy, abs=1e-12 + rounding)
    moved_log_z = gibbs.log_partition(reward + constant, ref, beta=beta)
    assert moved_log_z == pytest.approx(log_z, rel=1e-12, abs=1e-12 + rounding)


@given(st.integers(0, 10**6), BETAS, st.floats(0.01, 100))
def test_only_the_ratio_of_reward_and_beta_matters(seed, beta, unit):
    reward, ref, _ = random_problem(seed)
    policy = gibbs.optimal_policy(reward, ref, beta=beta)
    same = gibbs.optimal_policy(unit * reward, ref, beta=unit * beta)
    assert same == pytest.approx(policy, rel=1e-9, abs=1e-300)


def test_the_limits_of_beta_are_the_reference_and_its_best_responses():
    reward, ref = [1.0, 3.0, 3.0, 9.0], [0.5, 0.1, 0.4, 0.0]
    assert gibbs.optimal_policy(reward, ref, beta=1e12) == pytest.approx(ref, abs=1e-11)
    assert gibbs.optimal_policy(reward, ref, beta=1e-12) == pytest.approx([0, 0.2, 0.8, 0])


@pytest.mark.parametrize("beta", [1e-300, 1e-3, 1.0])
def test_a_reward_off_the_support_has_no_say(beta):
    for outside in (-1e300, 0.0, 1e300):
        found = gibbs.optimal_policy([1.0, 1.0, outside], [0.25, 0.75, 0.0], beta=beta)
        assert found == pytest.approx([0.25, 0.75, 0.0], abs=1e-15)
    log_z = gibbs.log_partition([0.0, 1e300], [1.0, 0.0], beta=beta)
    assert log_z == 0.0


# --- the gap ----------------------------------------------------------------------------------


@given(problems(zeros=True), st.integers(0, 10**6))
def test_the_gap_is_what_the_objective_loses_and_never_negative(problem, seed):
    reward, ref, beta = problem
    policy = np.random.default_rng(seed).dirichlet(np.ones(len(ref))) * (ref > 0)
    policy = policy / policy.sum()
    gap = gibbs.optimality_gap(policy, reward, ref, beta=beta)
    best = beta * gibbs.log_partition(reward, ref, beta=beta)
    lost = best - gibbs.objective(policy, reward, ref, beta=beta)
    assert gap >= 0
    assert gap == pytest.approx(lost, rel=1e-12, abs=1e-12 * (np.abs(reward).max() + 700 * beta))


@given(problems(zeros=True))
def test_the_gap_is_never_negative_at_the_optimum_itself(problem):
    reward, ref, beta = problem
    policy = gibbs.optimal_policy(reward, ref, beta=beta)
    gap = gibbs.optimality_gap(policy, reward, ref, beta=beta)
    assert 0 <= gap <= 1e-24 * beta * (1 + np.abs(np.log(ref[ref > 0])).max()) ** 2


@pytest.mark.parametrize("distance", [1.0, 1e-2, 1e-4])
def test_the_gap_is_beta_times_fifty_digits_of_kl(distance):
    reward, ref, tilt = random_problem(8)
    policy, _, _ = exact(reward, ref, 0.4)
    floats = np.array([float(x) for x in policy])
    near = floats * (1 + distance * (tilt - floats @ tilt))
    with mpmath.workdps(50):
        pairs = [(mpmath.mpf(a), b) for a, b in zip(near, policy, strict=True)]
        kl = mpmath.fsum(a * mpmath.log(a / b) - a + b for a, b in pairs)
    found = gibbs.optimality_gap(near, reward, ref, beta=0.4)
    assert found == pytest.approx(float(0.4 * kl), rel=1e-10, abs=0)


def test_the_gap_is_exact_where_the_optimum_has_underflowed():
    reward, ref = [0.0, -1e4], [0.5, 0.5]
    assert gibbs.optimal_policy(reward, ref, beta=1.0)[1] == 0
    found = gibbs.optimality_gap([0.0, 1.0], reward, ref, beta=1.0)
    assert found == pytest.approx(1e4, rel=BOUND)


# --- the implicit reward ----------------------------------------------------------------------


@given(st.integers(0, 10**6), st.floats(-1, 3).map(lambda power: 10.0**power))
def test_the_implicit_reward_of_the_optimum_is_the_reward_less_beta_log_z(seed, beta):
    reward, ref, _ = random_problem(seed)
    policy = gibbs.optimal_policy(reward, ref, beta=beta)
    expected = reward - beta * gibbs.log_partition(reward, ref, beta=beta)
    found = gibbs.implicit_reward(policy, ref, beta=beta)
    assert found == pytest.approx(expected, abs=1e-12 * (1 + 40 * beta))


@given(st.integers(0, 10**6), BETAS)
def test_a_policy_is_optimal_for_its_implicit_reward_and_log_z_is_zero(seed, beta):
    _, ref, policy = random_problem(seed)
    reward = gibbs.implicit_reward(policy, ref, beta=beta)
    assert gibbs.optimal_policy(reward, ref, beta=beta) == pytest.approx(policy, rel=1e-11)
    assert gibbs.log_partition(reward, ref, beta=beta) == pytest.approx(0.0, abs=1e-12)


def test_the_implicit_reward_off_the_support():
    found = gibbs.implicit_reward([1.0, 0.0, 0.0], [0.5, 0.5, 0.0], beta=2.0)
    assert found[0] == pytest.approx(2 * np.log(2))
    assert found[1] == -np.inf
    assert np.isnan(found[2])


# --- shapes -----------------------------------------------------------------------------------

OF_REWARD = [gibbs.log_partition, gibbs.optimal_policy, gibbs.log_optimal_policy]
OF_POLICY = [gibbs.objective, gibbs.optimality_gap]


def call(function, policy, reward, ref, beta=0.7):
    if function in OF_REWARD:
        return function(reward, ref, beta=beta)
    if function is gibbs.implicit_reward:
        return function(policy, ref, beta=beta)
    return function(policy, reward, ref, beta=beta)


@pytest.mark.parametrize("function", [*OF_REWARD, *OF_POLICY, gibbs.implicit_reward])
@pytest.mark.parametrize("prompts", [(), (1,), (3,), (2, 3)])
def test_prompts_are_treated_one_by_one(function, prompts):
    reward, ref, policy = random_problem(5, prompts=prompts)
    keeps = function not in (gibbs.log_partition, *OF_POLICY)
    found = call(function, policy, reward, ref)
    assert found.shape == (reward.shape if keeps else prompts)
    assert found.dtype == np.float64
    for x in np.ndindex(prompts):
        assert np.allclose(found[x], call(function, policy[x], reward[x], ref[x]), rtol=1e-14)


@pytest.mark.parametrize("function", [*OF_REWARD, *OF_POLICY, gibbs.implicit_reward])
def test_one_reference_serves_many_prompts(function):
    reward, refs, policy = random_problem(6, prompts=(3,))
    one, many = refs[0], np.tile(refs[0], (3, 1))
    found = call(function, policy, reward, one)
    assert found.tolist() == call(function, policy, reward, many).tolist()
    if function in OF_POLICY:
        single = call(function, policy[0], reward, one)
        assert single.tolist() == call(function, np.tile(policy[0], (3, 1)), reward, one).tolist()


@pytest.mark.parametrize("function", OF_REWARD)
def test_one_reward_serves_many_references(function):
    reward, refs, _ = random_problem(9, prompts=(3,))
    found = function(reward[0], refs, beta=1e4)  # small rewards and large ones in one call
    assert found[2].tolist() == function(reward[0], refs[2], beta=1e4).tolist()


def test_small_and_large_rewards_may_stand_in_one_array():
    reward = np.array([[1e-9, -2e-9], [1000.0, -1000.0]])
    found = gibbs.log_partition(reward, [0.3, 0.7], beta=1.0)
    assert found == pytest.approx([0.3 * 1e-9 - 0.7 * 2e-9, 1000 + np.log(0.3)], rel=1e-8)


@pytest.mark.parametrize("others", [[1000.0, -1000.0], [0.2, -0.9], [1e6, 3.0], [-50.0, -60.0]])
def test_a_partition_function_near_one_keeps_its_digits_beside_any_other(others):
    near, ref = [3e-13, -1e-12], [0.25, 0.75]
    found = gibbs.log_partition([near, others], ref, beta=1.0)
    alone = [gibbs.log_partition(reward, ref, beta=1.0) for reward in (near, others)]
    assert found.tolist() == [float(value) for value in alone]
    assert found[0] == pytest.approx(0.25 * 3e-13 - 0.75 * 1e-12, rel=1e-11, abs=0)


def test_lists_and_integers_are_welcome():
    found = gibbs.optimal_policy([0, 1], [0.5, 0.5], beta=1)
    assert found == pytest.approx([1 / (1 + np.e), np.e / (1 + np.e)])


@pytest.mark.parametrize("function", [*OF_REWARD, *OF_POLICY, gibbs.implicit_reward])
def test_float32_softmax_rows_pass(function):
    logits = np.random.default_rng(2).normal(size=(100, 1000)).astype(np.float32) * 5
    rows = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert rows.dtype == np.float32
    found = call(function, rows, logits, rows[::-1])
    assert np.isfinite(found).all()


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [*OF_REWARD, *OF_POLICY, gibbs.implicit_reward])
@pytest.mark.parametrize(
    ("beta", "got"),
    [
        *[(0, "0"), (0.0, "0.0"), (-1.0, "-1.0"), (np.inf, "inf"), (np.nan, "nan")],
        *[(True, "True"), ("1", "'1'"), (None, "None"), ([1.0], "[1.0]")],
    ],
)
def test_beta_must_be_a_finite_number_above_zero(function, beta, got):
    with refused(f"beta: expected a finite number > 0, got {got}"):
        call(function, [0.5, 0.5], [0.0, 1.0], [0.5, 0.5], beta=beta)


@pytest.mark.parametrize("function", [*OF_REWARD, *OF_POLICY, gibbs.implicit_reward])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([0.5, 0.6], "rows summing to 1, got a row summing to 1.1"),
        ([[0.5, 0.5], [0.5, 0.3]], "rows summing to 1, got a row summing to 0.8"),
        ([-0.1, 1.1], "probabilities >= 0, got -0.1"),
        ([np.nan, 1.0], "finite numbers, got nan"),
        ([], "an array (..., Y) with Y >= 1 responses, got shape (0,)"),
        (0.5, "an array (..., Y) with Y >= 1 responses, got shape ()"),
        ("no", "an array of real numbers, got str"),
    ],
)
def test_references_and_policies_must_be_distributions(function, bad, message):
    with refused(f"ref: expected {message}"):
        call(function, [0.5, 0.5], [0.0, 1.0], bad)
    if function not in OF_REWARD:
        with refused(f"policy: expected {message}"):
            call(function, bad, [0.0, 1.0], [0.5, 0.5])


@pytest.mark.parametrize("function", [*OF_REWARD, *OF_POLICY])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([0.0, np.nan], "finite numbers, got nan"),
        ([0.0, np.inf], "finite numbers, got inf"),
        ([-np.inf, 0.0], "finite numbers, got -inf"),
        ([], "an array (..., Y) with Y >= 1 responses, got shape (0,)"),
        ([1j, 0.0], "an array of real numbers, got list"),
    ],
)
def test_rewards_must_be_finite(function, bad, message):
    with refused(f"reward: expected {message}"):
        call(function, [0.5, 0.5], bad, [0.5, 0.5])


@pytest.mark.parametrize("function", [*OF_REWARD, *OF_POLICY, gibbs.implicit_reward])
def test_shapes_must_fit(function):
    pair, triple = [0.5, 0.5], [0.2, 0.3, 0.5]
    names = "policy and ref" if function is gibbs.implicit_reward else "reward and ref"
    with refused(f"{names}: expected shapes that fit, got {names.split()[0]} (2,) and ref (3,)"):
        call(function, pair, pair, triple)
    with refused(f"{names}: expected the same number of responses Y"):
        call(function, [1.0], [1.0], pair)
    with refused(f"{names}: expected shapes that fit"):
        call(function, np.full((2, 2), 0.5), np.full((2, 2), 0.5), np.full((3, 2), 0.5))
    if function in OF_POLICY:
        with refused("policy and reward and ref: expected shapes that fit"):
            call(function, triple, pair, pair)


@pytest.mark.parametrize("function", [*OF_POLICY, gibbs.implicit_reward])
def test_a_policy_needs_mass_in_the_reference_wherever_it_has_some(function):
    with refused("policy: expected no mass where ref has none, got mass at index (1,)"):
        call(function, [0.5, 0.5], [0.0, 1.0], [1.0, 0.0])
    with refused("policy: expected no mass where ref has none, got mass at index (1, 0)"):
        call(function, [[0.0, 1.0], [0.5, 0.5]], [0.0, 1.0], [0.0, 1.0])


@pytest.mark.parametrize("function", [*OF_REWARD, *OF_POLICY, gibbs.implicit_reward])
def test_beta_is_named(function):
    with pytest.raises(TypeError):
        function(*[[0.5, 0.5]] * 3, 1.0)


def test_the_gap_and_the_divergence_agree():
    reward, ref, policy = random_problem(10, prompts=(4,))
    optimum = gibbs.optimal_policy(reward, ref, beta=0.2)
    expected = 0.2 * distributions.kl_divergence(policy, optimum)
    found = gibbs.optimality_gap(policy, reward, ref, beta=0.2)
    assert found == pytest.approx(expected, rel=1e-12)
