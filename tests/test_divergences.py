"""The optimum under other divergences: against 60 digits, a convex solver, its conditions."""

import re

import cvxpy as cp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import jensenshannon

from dpo_edu import distributions, divergences, gibbs
from dpo_edu.divergences import (
    alpha_divergence,
    chi_square,
    forward_kl,
    jensen_shannon,
    mixed_chi_square,
    reverse_kl,
)

pytestmark = pytest.mark.filterwarnings("error")

FIVE = [reverse_kl, forward_kl, jensen_shannon, chi_square, alpha_divergence(0.5)]
ALL = [*FIVE, mixed_chi_square, alpha_divergence(1e-3), alpha_divergence(0.99)]
each = pytest.mark.parametrize("divergence", ALL, ids=[d.name for d in ALL])
BETAS = st.floats(-3, 3).map(lambda power: 10.0**power)
RATIOS = np.array([1e-6, 0.01, 0.3, 0.9, 1.0, 1.7, 40.0, 1e6])


def refused(message):
    """The call raises a ValueError whose message begins like this."""
    return pytest.raises(ValueError, match="^" + re.escape(message))


def exact_slope(name, alpha):
    """f' and its inverse, written down for mpmath."""
    log, exp = mpmath.log, mpmath.exp
    return {
        "reverse KL": (lambda u: 1 + log(u), lambda v: exp(v - 1)),
        "forward KL": (lambda u: -1 / u, lambda v: -1 / v),
        "Jensen-Shannon": (lambda u: log(2 * u / (1 + u)), lambda v: 1 / (2 * exp(-v) - 1)),
        "chi-square": (lambda u: 2 * u - 2, lambda v: max(mpmath.mpf(0), 1 + v / 2)),
        "chi-square + KL": (lambda u: u + log(u), mixed_inverse),
    }.get(name) or (lambda u: (1 - u**-alpha) / alpha, lambda v: (1 - alpha * v) ** (-1 / alpha))


def mixed_inverse(v):
    """u with u + log u = v, by Newton in log u."""
    s = min(v, mpmath.log(v)) if v > 1 else v
    step = mpmath.mpf(1)
    while abs(step) > mpmath.mpf("1e-40") * (1 + abs(s)):
        step = (mpmath.exp(s) + s - v) / (mpmath.exp(s) + 1)
        s -= step
    return mpmath.exp(s)


def exact_policy(reward, ref, beta, divergence):
    """pi* and lambda in 60 digits, lambda by bisection."""
    with mpmath.workdps(60):
        alpha = mpmath.mpf(divergence.name.split()[-1]) if "=" in divergence.name else None
        slope, inverse = exact_slope(divergence.name, alpha)
        r, q = ([mpmath.mpf(float(x)) for x in xs] for xs in (reward, ref))
        b = mpmath.mpf(float(beta))
        best = max(r)
        # In t, the ratio of the best: lambda = b f'(t) - best.
        low, high = mpmath.mpf(1) / sum(q), 1 / min(q)
        for _ in range(200):
            t = (low + high) / 2
            u = [inverse(slope(t) - (best - x) / b) for x in r]
            low, high = (t, high) if mpmath.fdot(q, u) < 1 else (low, t)
        return [float(x * y) for x, y in zip(q, u, strict=True)], float(b * slope(t) - best)


def agrees_with_many_digits(reward, ref, beta, divergence):
    policy, lam = exact_policy(reward, ref, beta, divergence)
    found = divergences.optimal_policy(reward, ref, beta=beta, divergence=divergence)
    np.testing.assert_allclose(found, policy, rtol=0, atol=1e-12)
    size = 1e-12 * max(1.0, np.abs(reward).max(), abs(lam))
    found_lam = divergences.multiplier(reward, ref, beta=beta, divergence=divergence)
    assert float(found_lam) == pytest.approx(lam, rel=1e-12, abs=size)


@st.composite
def problems(draw):
    """Reward to +-1000, reference to 1e-8 with zeros, beta: several scales."""
    size = draw(st.integers(1, 6))
    scale = 10.0 ** draw(st.floats(-3, 3))
    reward = scale * draw(hnp.arrays(float, size, elements=st.floats(-1, 1)))
    weights = 10.0 ** draw(hnp.arrays(float, size, elements=st.floats(-8, 0)))
    weights *= draw(hnp.arrays(bool, size))
    weights[draw(st.integers(0, size - 1))] = 1.0
    return reward, weights / weights.sum(), draw(BETAS)


# --- the curves ---------------------------------------------------------------------------------


@each
def test_f_is_zero_at_one_and_its_slope_is_its_derivative(divergence):
    assert float(divergence.f(np.array(1.0))) == pytest.approx(0.0, abs=1e-15)
    h = 1e-5 * RATIOS
    measured = (divergence.f(RATIOS + h) - divergence.f(RATIOS - h)) / (2 * h)
    np.testing.assert_allclose(divergence.slope(RATIOS), measured, rtol=2e-5, atol=1e-4)


@each
def test_the_inverse_slope_undoes_the_slope(divergence):
    back = divergence.inverse_slope(divergence.slope(RATIOS))
    np.testing.assert_allclose(back[:6], RATIOS[:6], rtol=1e-9)


@each
def test_the_slope_grows_from_its_value_at_zero_to_its_supremum(divergence):
    slope = divergence.slope(RATIOS)
    assert (np.diff(slope) > 0).all()
    assert divergence.slope(np.array(0.0)) == divergence.slope_at_zero
    far = float(divergence.slope(np.array(1e300)))
    if np.isfinite(divergence.slope_at_infinity):
        assert far <= divergence.slope_at_infinity
        with np.errstate(divide="ignore"):
            ends = divergence.inverse_slope(np.array([divergence.slope_at_infinity, 5e3]))
        assert ends.tolist() == [np.inf, np.inf]
    else:
        assert far > 600


@each
def test_a_ratio_further_down_is_the_inverse_slope_of_a_difference(divergence):
    d = np.array([0.0, 0.2, 1.0, 7.0])
    for t in (0.9, 1.5, 20.0):
        direct = divergence.inverse_slope(divergence.slope(np.array(t)) - d)
        np.testing.assert_allclose(divergence.ratio_below(t, d), direct, rtol=1e-11)


def test_only_chi_square_has_a_finite_slope_at_zero():
    assert [d.name for d in ALL if np.isfinite(d.slope_at_zero)] == ["chi-square"]


def test_the_convention_of_jensen_shannon_is_twice_the_textbook_one():
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.3, 0.1])
    found = divergences.f_divergence(p, q, divergence=jensen_shannon)
    assert float(found) == pytest.approx(2 * jensenshannon(p, q) ** 2, rel=1e-12)


def test_both_directions_of_kl_are_the_kl_divergence():
    p, q = np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 4))
    reverse = divergences.f_divergence(p, q, divergence=reverse_kl)
    forward = divergences.f_divergence(p, q, divergence=forward_kl)
    np.testing.assert_allclose(reverse, distributions.kl_divergence(p, q), rtol=1e-12)
    np.testing.assert_allclose(forward, distributions.kl_divergence(q, p), rtol=1e-12)


@each
def test_a_divergence_is_zero_between_equals_and_positive_otherwise(divergence):
    p, q = np.random.default_rng(1).dirichlet(np.ones(4), size=(2, 50))
    assert (divergences.f_divergence(p, q, divergence=divergence) > 0).all()
    same = divergences.f_divergence(q, q, divergence=divergence)
    np.testing.assert_allclose(same, 0.0, atol=1e-14)


@pytest.mark.parametrize(("alpha", "limit"), [(1e-7, reverse_kl), (1 - 1e-7, forward_kl)])
def test_the_ends_of_the_alpha_family_are_the_two_kl_divergences(alpha, limit):
    rng = np.random.default_rng(2)
    p, q = rng.dirichlet(np.ones(4), size=(2, 20))
    family = alpha_divergence(alpha)
    near = divergences.f_divergence(p, q, divergence=family)
    np.testing.assert_allclose(near, divergences.f_divergence(p, q, divergence=limit), atol=1e-4)
    reward = rng.normal(size=(20, 4))
    best = divergences.optimal_policy(reward, q, beta=0.5, divergence=family)
    expected = divergences.optimal_policy(reward, q, beta=0.5, divergence=limit)
    np.testing.assert_allclose(best, expected, atol=1e-5)


# --- the optimum --------------------------------------------------------------------------------


@given(problems())
def test_under_reverse_kl_it_is_the_gibbs_policy(problem):
    reward, ref, beta = problem
    found = divergences.optimal_policy(reward, ref, beta=beta, divergence=reverse_kl)
    expected = gibbs.optimal_policy(reward, ref, beta=beta)
    normal = expected > 1e-300
    np.testing.assert_allclose(found[normal], expected[normal], rtol=1e-12)


@given(problems())
def test_under_reverse_kl_the_multiplier_is_beta_times_one_minus_log_z(problem):
    reward, ref, beta = problem
    lam = divergences.multiplier(reward, ref, beta=beta, divergence=reverse_kl)
    log_z = gibbs.log_partition(reward, ref, beta=beta)
    assert lam == pytest.approx(beta * (1 - log_z), rel=1e-12, abs=1e-12 * max(1, beta))


@pytest.mark.parametrize("beta", [1e-3, 0.05, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@each
def test_it_agrees_with_many_digits(divergence, scale, beta):
    rng = np.random.default_rng(3)
    reward, ref = scale * rng.uniform(-1, 1, size=4), rng.dirichlet(np.full(4, 0.5))
    agrees_with_many_digits(reward, ref, beta, divergence)


@each
def test_a_best_response_that_the_reference_hardly_gives_keeps_its_digits(divergence):
    for gap in (0.1, 3.0, 40.0):
        agrees_with_many_digits([gap, 0.0, -gap], [1e-12, 0.5, 0.5], 1.0, divergence)


def solved_by_cvxpy(reward, ref, beta, name, alpha=0.5):
    """The maximiser and the multiplier of the total, by cvxpy."""
    p = cp.Variable(len(ref))
    middle = (p + ref) / 2
    half_chi = cp.sum(cp.multiply(0.5 / ref, cp.square(p - ref)))
    power = cp.sum(cp.multiply(ref**alpha, cp.power(p, 1 - alpha)))
    penalty = {
        "reverse KL": cp.sum(cp.rel_entr(p, ref)),
        "forward KL": cp.sum(cp.rel_entr(ref, p)),
        "Jensen-Shannon": cp.sum(cp.rel_entr(p, middle) + cp.rel_entr(ref, middle)),
        "chi-square": 2 * half_chi,
        "chi-square + KL": half_chi + cp.sum(cp.rel_entr(p, ref)),
        "alpha = 0.5": (alpha + (1 - alpha) * cp.sum(p) - power) / (alpha * (1 - alpha)),
    }[name]
    whole = cp.sum(p) == 1
    program = cp.Problem(cp.Maximize(reward @ p - beta * penalty), [whole, p >= 0])
    program.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return p.value, -whole.dual_value  # cvxpy subtracts dual times (sum - 1)


@pytest.mark.parametrize("divergence", [*FIVE, mixed_chi_square], ids=lambda d: d.name)
def test_a_convex_solver_finds_the_same_policy_and_multiplier(divergence):
    rng = np.random.default_rng(4)
    for beta in (0.2, 1.0, 5.0):
        reward, ref = rng.normal(size=5), rng.dirichlet(np.full(5, 3.0))
        found = divergences.optimal_policy(reward, ref, beta=beta, divergence=divergence)
        lam = divergences.multiplier(reward, ref, beta=beta, divergence=divergence)
        policy, by_solver = solved_by_cvxpy(reward, ref, beta, divergence.name)
        np.testing.assert_allclose(found, policy, atol=1e-5)
        assert float(lam) == pytest.approx(by_solver, abs=1e-4)


@each
@given(problem=problems())
def test_it_is_a_policy_and_meets_its_conditions(divergence, problem):
    reward, ref, beta = problem
    policy = divergences.optimal_policy(reward, ref, beta=beta, divergence=divergence)
    lam = divergences.multiplier(reward, ref, beta=beta, divergence=divergence)
    on = ref > 0
    assert policy.sum() == pytest.approx(1.0, abs=1e-12)
    assert (policy >= 0).all() and not policy[~on].any()
    if np.isfinite(divergence.slope_at_infinity):
        top = reward[on].max()
        slack = beta * divergence.slope_at_infinity - top - lam
        assert slack > -1e-12 * max(abs(top), beta, abs(lam))
    # Judged as a policy: what the conditions say about pi, given lambda.
    with np.errstate(over="ignore"):
        u = divergence.inverse_slope((reward[on] + lam) / beta)
    # Where f' is steep or flat lambda carries fewer digits than pi; leave those ratios out.
    ratio = policy[on] / ref[on]
    scale = np.abs(np.append(reward[on], lam)).max() / beta + np.abs(
        divergence.slope(ratio + 1e-300)
    )
    clear = (ratio > 1e-6) & (ratio < 50) & (scale < 1e3)
    assert u[clear] == pytest.approx(ratio[clear], rel=1e-6)


@each
@given(problem=problems(), shift=st.floats(-1000, 1000))
def test_a_constant_added_to_the_reward_moves_only_the_multiplier(divergence, problem, shift):
    reward, ref, beta = problem
    reward, shift = np.round(reward * 2**20) / 2**20, np.round(shift)  # so that sums are exact
    before = divergences.optimal_policy(reward, ref, beta=beta, divergence=divergence)
    after = divergences.optimal_policy(reward + shift, ref, beta=beta, divergence=divergence)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-12)
    lams = [
        divergences.multiplier(r, ref, beta=beta, divergence=divergence)
        for r in (reward, reward + shift)
    ]
    assert lams[0] - lams[1] == pytest.approx(shift, abs=1e-12 * (np.abs(lams).max() + 1000))


@each
def test_no_other_policy_does_better(divergence):
    rng = np.random.default_rng(5)
    reward, ref = rng.normal(size=4), rng.dirichlet(np.ones(4))
    best = divergences.optimal_policy(reward, ref, beta=0.3, divergence=divergence)
    others = np.vstack(
        [rng.dirichlet(np.ones(4), size=2000), rng.dirichlet(200 * best + 1e-3, 2000)]
    )
    arguments = {"beta": 0.3, "divergence": divergence}
    top = divergences.objective(best, reward, ref, **arguments)
    assert (divergences.objective(others, reward, ref, **arguments) < top).all()


@each
def test_a_tight_leash_gives_the_reference_and_a_loose_one_the_best(divergence):
    reward, ref = np.array([0.0, 2.0, 1.0]), np.array([0.5, 0.2, 0.3])
    tight = divergences.optimal_policy(reward, ref, beta=1e9, divergence=divergence)
    loose = divergences.optimal_policy(reward, ref, beta=1e-9, divergence=divergence)
    np.testing.assert_allclose(tight, ref, atol=1e-8)
    np.testing.assert_allclose(loose, [0, 1, 0], atol=1e-8)


@each
def test_equal_rewards_give_the_reference_and_a_multiplier_of_slope_one(divergence):
    ref = np.array([0.5, 0.2, 0.3])
    found = divergences.optimal_policy(np.full(3, 7.0), ref, beta=2.0, divergence=divergence)
    np.testing.assert_allclose(found, ref, atol=1e-14)
    lam = divergences.multiplier(np.full(3, 7.0), ref, beta=2.0, divergence=divergence)
    assert float(lam) == pytest.approx(2 * float(divergence.slope(np.array(1.0))) - 7, abs=1e-12)


def test_chi_square_drops_responses_to_exactly_zero():
    uniform = np.full(3, 1 / 3)
    found = divergences.optimal_policy([3, 0, -3], uniform, beta=0.5, divergence=chi_square)
    assert found.tolist() == [1.0, 0.0, 0.0]
    softer = divergences.optimal_policy([3, 0, -3], uniform, beta=1.0, divergence=chi_square)
    np.testing.assert_allclose(softer, [0.75, 0.25, 0.0], atol=1e-15)


def test_a_best_response_may_have_all_but_no_reference_mass():
    """Its ratio is 1e200, and of reverse KL lambda = beta (1 + log 1e200) - max r."""
    ref = np.array([1e-200, 1.0])
    arguments = {"beta": 1.0, "divergence": reverse_kl}
    found = divergences.optimal_policy([1000.0, 0.0], ref, **arguments)
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-12)
    lam = divergences.multiplier([1000.0, 0.0], ref, **arguments)
    assert float(lam) == pytest.approx(200 * np.log(10) - 999, rel=1e-13)


@each
def test_rewards_that_differ_by_less_than_rounding_are_equal_rewards(divergence):
    ref, arguments = np.array([0.5, 0.5]), {"beta": 1.0, "divergence": divergence}
    for reward in ([0.0, 1e-20], [0.0, 0.0]):
        found = divergences.optimal_policy(reward, ref, **arguments)
        np.testing.assert_allclose(found, ref, atol=1e-15)
        lam = divergences.multiplier(reward, ref, **arguments)
        assert float(lam) == pytest.approx(float(divergence.slope(np.array(1.0))), abs=1e-12)


@each
def test_responses_outside_the_reference_are_left_out(divergence):
    reward, ref = np.array([1.0, 1e3, 0.0, -1.0]), np.array([0.5, 0.0, 0.3, 0.2])
    found = divergences.optimal_policy(reward, ref, beta=0.7, divergence=divergence)
    expected = divergences.optimal_policy(
        reward[ref > 0], ref[ref > 0], beta=0.7, divergence=divergence
    )
    assert found[1] == 0.0
    np.testing.assert_array_equal(found[ref > 0], expected)
    r_hat = divergences.implicit_reward(found, ref, beta=0.7, divergence=divergence)
    assert np.isnan(r_hat).tolist() == [False, True, False, False]
    assert np.isfinite(divergences.f_divergence(found, ref, divergence=divergence))


@each
def test_prompts_are_solved_one_by_one_and_broadcast(divergence):
    rng = np.random.default_rng(6)
    reward, ref = rng.normal(size=(2, 3, 4)), rng.dirichlet(np.ones(4), size=3)
    arguments = {"beta": 0.8, "divergence": divergence}
    together = divergences.optimal_policy(reward, ref, **arguments)
    assert together.shape == (2, 3, 4)
    alone = divergences.optimal_policy(reward[1, 2], ref[2], **arguments)
    np.testing.assert_array_equal(together[1, 2], alone)
    assert divergences.multiplier(reward, ref, **arguments).shape == (2, 3)
    assert divergences.objective(together, reward, ref, **arguments).shape == (2, 3)
    assert divergences.implicit_reward(together, ref, **arguments).shape == (2, 3, 4)


def test_a_reference_in_float32_is_good_enough():
    ref = np.array([0.1, 0.2, 0.7], dtype=np.float32) * np.float32(1 + 5e-7)
    for divergence in ALL:
        found = divergences.optimal_policy([0.0, 0.0, 0.0], ref, beta=1.0, divergence=divergence)
        assert found.sum() == pytest.approx(1.0, abs=1e-12)


# --- back to rewards ----------------------------------------------------------------------------


@each
def test_the_implicit_reward_differs_from_the_reward_by_the_multiplier(divergence):
    rng = np.random.default_rng(7)
    reward, ref = 0.1 * rng.normal(size=(10, 5)), rng.dirichlet(np.full(5, 5.0), size=10)
    arguments = {"beta": 0.6, "divergence": divergence}
    policy = divergences.optimal_policy(reward, ref, **arguments)
    assert (policy > 0).all()
    r_hat = divergences.implicit_reward(policy, ref, **arguments)
    lam = divergences.multiplier(reward, ref, **arguments)
    np.testing.assert_allclose(r_hat, reward + lam[:, None], atol=1e-10)


def test_under_reverse_kl_the_implicit_reward_is_that_of_dpo_plus_beta():
    p, q = np.random.default_rng(8).dirichlet(np.ones(4), size=2)
    found = divergences.implicit_reward(p, q, beta=0.6, divergence=reverse_kl)
    np.testing.assert_allclose(found, gibbs.implicit_reward(p, q, beta=0.6) + 0.6, atol=1e-12)


def test_a_zero_of_the_policy_has_the_lowest_reward_there_is():
    for divergence in ALL:
        found = divergences.implicit_reward([1.0, 0.0], [0.5, 0.5], beta=2.0, divergence=divergence)
        assert found[1] == 2.0 * divergence.slope_at_zero


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.5, 2.0, np.nan, "half"])
def test_alpha_lies_between_zero_and_one(alpha):
    with refused("alpha: expected "):
        alpha_divergence(alpha)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": 0.0}, "beta: expected a finite number > 0"),
        ({"reward": [np.nan, 0.0]}, "reward: expected finite numbers"),
        ({"ref": [0.5, 0.6]}, "ref: expected rows summing to 1"),
        ({"ref": [0.5, 0.3, 0.2]}, "reward and ref: expected"),
        ({"divergence": "chi-square"}, "divergence: expected a Divergence, got str"),
    ],
)
def test_bad_input_is_named(change, message):
    good = {"reward": [0.0, 1.0], "ref": [0.5, 0.5], "beta": 1.0, "divergence": reverse_kl}
    with refused(message):
        divergences.optimal_policy(**{**good, **change})
    with refused(message):
        divergences.multiplier(**{**good, **change})


def test_a_policy_beyond_the_reference_is_refused():
    for call in (divergences.f_divergence, divergences.implicit_reward):
        extra = {} if call is divergences.f_divergence else {"beta": 1.0}
        with refused("policy: expected no mass where ref has none"):
            call([0.5, 0.5], [1.0, 0.0], divergence=forward_kl, **extra)
    with refused("divergence: expected a Divergence"):
        divergences.f_divergence([0.5, 0.5], [0.5, 0.5], divergence=None)
    with refused("policy and reward: expected"):
        divergences.objective([1.0], [0.0, 1.0], [1.0], beta=1.0, divergence=reverse_kl)
