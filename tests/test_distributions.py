"""KL, total variation, entropy, expectation: against 50 digits, brute force and one another."""

import re
from itertools import chain, combinations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import rel_entr

from dpo_edu import distributions

pytestmark = pytest.mark.filterwarnings("error")

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6)
LOGITS = SHAPES.flatmap(lambda shape: hnp.arrays(float, shape, elements=st.floats(-1000, 1000)))


def refused(message):
    """The call raises a ValueError whose message begins like this."""
    return pytest.raises(ValueError, match="^" + re.escape(message))


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@st.composite
def policies(draw: st.DrawFn, count: int, least: float = -1000.0) -> list[np.ndarray]:
    """`count` policies of one shape; with logits from `least` to 0, so zeros may occur."""
    shape = draw(SHAPES)
    arrays = hnp.arrays(float, shape, elements=st.floats(least, 0))
    return [softmax(draw(arrays)) for _ in range(count)]


def exact_kl(p: np.ndarray, q: np.ndarray) -> float:
    """KL in 50 digits; `- p + q` so that it is the KL of the distributions these floats round."""
    with mpmath.workdps(50):
        pairs = [(mpmath.mpf(float(a)), mpmath.mpf(float(b))) for a, b in zip(p, q, strict=True)]
        return float(mpmath.fsum(a * mpmath.log(a / b) - a + b for a, b in pairs))


# --- logarithms -------------------------------------------------------------------------------


def test_log_of_zero_is_minus_infinity_without_a_warning():
    assert distributions.log_of(np.array([0.0, 1.0, np.e])).tolist() == [-np.inf, 0.0, 1.0]


@given(LOGITS)
def test_log_softmax_is_normalised_and_keeps_differences(logits):
    found = distributions.log_softmax(logits)
    assert found.shape == logits.shape
    assert np.exp(found).sum(axis=-1) == pytest.approx(1.0, abs=1e-12)
    assert found - found[..., :1] == pytest.approx(logits - logits[..., :1], abs=1e-12 * 1000)


@given(st.lists(st.floats(-1000, 1000), min_size=2, max_size=6))
def test_log_softmax_agrees_with_fifty_digits(logits):
    with mpmath.workdps(50):
        log_sum = mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(z)) for z in logits))
        expected = [float(mpmath.mpf(z) - log_sum) for z in logits]
    assert distributions.log_softmax(logits).tolist() == pytest.approx(expected, abs=2e-12)


def test_a_logit_of_minus_infinity_has_probability_zero():
    assert np.exp(distributions.log_softmax([-np.inf, 3.0, 3.0])).tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("logits", [[0.0, np.nan], [0.0, np.inf], [-np.inf, -np.inf]])
def test_rows_that_are_not_logits_are_refused(logits):
    with refused("logits: expected finite numbers or -inf, one finite in each row"):
        distributions.log_softmax(logits)


# --- the KL divergence --------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [1.0, 1e-2, 1e-3, 1e-4, 1e-6, 1e-9, 1e-12])
def test_kl_agrees_with_fifty_digits_from_one_nat_to_1e_minus_24(distance):
    rng = np.random.default_rng(7)
    for _ in range(50):
        q = rng.dirichlet(np.full(5, 2.0))
        tilt = rng.uniform(-1, 1, size=5)
        p = q * (1 + distance * (tilt - q @ tilt) / 2)
        found = float(distributions.kl_divergence(p, q))
        assert found == pytest.approx(exact_kl(p, q), rel=1e-12, abs=0)
        assert 0 < found < distance**2


@given(policies(2))
def test_kl_agrees_with_scipy(pair):
    p, q = pair
    expected = rel_entr(p, q).sum(axis=-1)
    assert distributions.kl_divergence(p, q) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(policies(2))
def test_kl_is_never_negative_and_zero_for_equal_policies(pair):
    p, q = pair
    assert (distributions.kl_divergence(p, q) >= 0).all()
    assert (distributions.kl_divergence(p, p) == 0).all()


@given(policies(2, least=-20.0))
def test_unequal_policies_have_a_positive_kl_that_bounds_their_distance(pair):
    p, q = pair
    kl, tv = distributions.kl_divergence(p, q), distributions.total_variation(p, q)
    assert (kl[tv > 1e-14] > 0).all()
    assert (tv <= np.sqrt(kl / 2) * (1 + 1e-12) + 1e-15).all()  # Pinsker


def test_kl_is_infinite_where_q_has_no_mass_and_p_has():
    assert distributions.kl_divergence([0.5, 0.5], [1.0, 0.0]) == np.inf
    assert distributions.kl_divergence([1.0, 0.0], [0.5, 0.5]) == pytest.approx(np.log(2))
    assert distributions.kl_divergence([1.0, 0.0], [1.0, 0.0]) == 0


def test_kl_is_finite_at_the_smallest_probabilities():
    tiny = 1e-300
    p, q = np.array([tiny, 1 - tiny]), np.array([0.5, 0.5])
    assert distributions.kl_divergence(p, q) == pytest.approx(np.log(2))
    assert distributions.kl_divergence(q, p) == pytest.approx(exact_kl(q, p), rel=1e-12)


def test_rows_of_float32_keep_their_kl_positive():
    logits = np.random.default_rng(0).normal(size=(200, 50)).astype(np.float32)
    p = softmax(logits)
    assert p.dtype == np.float32
    assert np.abs(p.sum(axis=-1, dtype=np.float64) - 1).max() > 0
    assert (distributions.kl_divergence(p, softmax(logits[::-1])) > 0).all()


@pytest.mark.parametrize("p", [1.0, 0.3, 1e-300])
@pytest.mark.parametrize("d", [1e-9, 1e-5, 9.9e-4, 1.01e-3, 0.03, 0.99, 1.01, 5.0, 40.0, 600.0])
def test_each_term_agrees_with_fifty_digits_on_both_sides_of_equality(p, d):
    """Near and far formulas meet at d = 1e-3 and d = 1: a seam would show beside them."""
    for log_ratio in (d, -d) if p * np.exp(min(d, 600.0)) < 1e8 else (d,):
        with mpmath.workdps(400):
            d_ = mpmath.mpf(log_ratio)
            expected = float(mpmath.mpf(p) * (d_ + mpmath.exp(-d_) - 1))
        found = distributions._terms(np.array([p]), np.array([p * np.exp(-log_ratio)]), log_ratio)
        assert float(found[0]) == pytest.approx(expected, rel=1e-11, abs=0)


def test_a_term_without_mass_in_p_is_q_and_one_without_mass_in_q_is_infinite():
    p = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    q = np.array([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
    with np.errstate(divide="ignore"):
        found = distributions.divergence_terms(p, np.log(p), np.log(q))
    assert found[0].tolist() == [0.25, pytest.approx(np.log(4 / 3) - 0.25), 0.0]
    assert found[1].tolist() == [np.inf, 0.75, pytest.approx(np.log(2) / 2 - 0.25)]


# --- total variation, entropy, expectation --------------------------------------------------------


@given(policies(2))
def test_total_variation_is_the_largest_difference_over_events(pair):
    p, q = (x.reshape(-1, x.shape[-1])[0] for x in pair)
    responses = range(len(p))
    events = chain.from_iterable(combinations(responses, n) for n in range(len(p) + 1))
    largest = max(abs(p[list(event)].sum() - q[list(event)].sum()) for event in events)
    assert distributions.total_variation(p, q) == pytest.approx(largest, abs=1e-14)


@given(policies(3))
def test_total_variation_is_a_distance(triple):
    p, q, third = triple
    tv = distributions.total_variation
    assert tv(p, q).tolist() == tv(q, p).tolist()
    assert (tv(p, q) <= tv(p, third) + tv(third, q) + 1e-15).all()
    assert not tv(p, p).any()
    assert (tv(p, q) <= 1 + 1e-15).all()


@given(policies(1))
def test_entropy_is_what_kl_from_the_uniform_policy_leaves_of_log_y(single):
    (p,) = single
    uniform = np.full(p.shape[-1], 1 / p.shape[-1])
    expected = np.log(p.shape[-1]) - distributions.kl_divergence(p, uniform)
    assert distributions.entropy(p) == pytest.approx(expected, abs=1e-12)


def test_a_certain_response_has_entropy_zero_without_a_sign():
    assert str(float(distributions.entropy([0.0, 1.0, 0.0]))) == "0.0"


@given(policies(1), st.floats(-5, 5), st.floats(-5, 5))
def test_expectation_is_linear_and_weighs_by_probability(single, a, b):
    (p,) = single
    values = np.arange(p.shape[-1], dtype=float)
    mean = distributions.expectation(p, values)
    by_hand = sum(y * p[..., y] for y in range(p.shape[-1]))
    assert mean == pytest.approx(by_hand, abs=1e-12)
    assert distributions.expectation(p, a * values + b) == pytest.approx(a * mean + b, abs=1e-10)


# --- shapes and bad input -------------------------------------------------------------------------

TWO = [distributions.kl_divergence, distributions.total_variation]


@pytest.mark.parametrize("function", [*TWO, distributions.expectation])
def test_prompts_are_treated_one_by_one_and_broadcast(function):
    many = softmax(np.random.default_rng(1).normal(size=(2, 3, 4)))
    one = np.array([0.1, 0.2, 0.3, 0.4])
    found = function(many, one)
    assert found.shape == (2, 3)
    assert found[1, 2] == pytest.approx(function(many[1, 2], one))
    assert function(one, one).shape == ()


def test_entropy_drops_the_response_axis():
    assert distributions.entropy(np.full((5, 2, 4), 0.25)).shape == (5, 2)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([0.5, 0.6], "rows summing to 1, got a row summing to 1.1"),
        ([[0.5, 0.5], [0.5, 0.4]], "rows summing to 1, got a row summing to 0.9"),
        ([0.5, 0.5 + 1.1e-6], "rows summing to 1"),
        ([-0.1, 1.1], "probabilities >= 0, got -0.1"),
        ([np.nan, 1.0], "finite numbers, got nan"),
        ([np.inf, 1.0], "finite numbers, got inf"),
        ([], "an array (..., Y) with Y >= 1 responses, got shape"),
        (1.0, "an array (..., Y) with Y >= 1 responses, got shape"),
        (["a", "b"], "an array of real numbers"),
        ([[0.5, 0.5], [1.0]], "an array of real numbers"),
    ],
)
def test_what_is_not_a_policy_is_refused(bad, message):
    for name, call in [
        ("p", lambda: distributions.entropy(bad)),
        ("p", lambda: distributions.kl_divergence(bad, [0.5, 0.5])),
        ("q", lambda: distributions.kl_divergence([0.5, 0.5], bad)),
        ("p", lambda: distributions.total_variation(bad, [0.5, 0.5])),
        ("q", lambda: distributions.total_variation([0.5, 0.5], bad)),
        ("p", lambda: distributions.expectation(bad, [0.0, 1.0])),
    ]:
        with refused(f"{name}: expected {message}"):
            call()


def test_a_row_may_miss_one_by_a_millionth():
    assert distributions.entropy([0.5, 0.5 + 9e-7]) == pytest.approx(np.log(2), abs=1e-6)


@pytest.mark.parametrize("function", TWO)
def test_policies_over_different_responses_do_not_fit(function):
    with refused("p and q: expected shapes that fit, got p (2,) and q (3,)"):
        function([0.5, 0.5], [0.2, 0.3, 0.5])
    with refused("p and q: expected the same number of responses Y"):
        function([0.5, 0.5], [1.0])
    with refused("p and q: expected shapes that fit"):
        function(np.full((2, 2), 0.5), np.full((3, 2), 0.5))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_must_be_finite_and_fit(bad):
    with refused("values: expected finite numbers"):
        distributions.expectation([0.5, 0.5], [0.0, bad])
    with refused("p and values: expected"):
        distributions.expectation([0.5, 0.5], [0.0, 1.0, 2.0])
