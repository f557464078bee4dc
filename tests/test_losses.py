"""DPO and its relatives against many-digit arithmetic, finite differences and one another."""

import inspect
import math

import mpmath
import pytest
import torch
from devices import DEVICES
from hypothesis import given
from hypothesis import strategies as st

from dpo_edu import losses

LOGS = st.floats(-1000.0, 0.0)
BETAS = st.floats(-3.0, 3.0).map(lambda power: 10.0**power)


def loss_at(s: float, dtype: torch.dtype = torch.float64, **keywords: float) -> torch.Tensor:
    """The loss of one pair whose margin is s at beta = 1, and its gradient in `margin.grad`."""
    margin = torch.tensor([s], dtype=dtype, requires_grad=True)
    zero = torch.zeros_like(margin)
    loss = losses.dpo_loss(margin, zero, zero, zero, beta=1.0, **keywords)
    loss.sum().backward()
    return torch.stack([loss.detach(), margin.grad])


def exact(s: float, e: float = 0.0) -> tuple[float, float]:
    """The same loss and gradient in 50 digits."""
    with mpmath.workdps(50):
        s_, e_ = mpmath.mpf(s), mpmath.mpf(e)
        loss, reverse = mpmath.log1p(mpmath.exp(-s_)), mpmath.log1p(mpmath.exp(s_))
        return float((1 - e_) * loss + e_ * reverse), float(e_ - 1 / (1 + mpmath.exp(s_)))


@pytest.mark.parametrize("s", [-1000.0, -40.0, -1.5, -1e-9, 0.0, 1e-9, 0.3, 20.5, 36.0, 700.0])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_loss_and_gradient_agree_with_fifty_digits(s, dtype, bound):
    s = float(torch.tensor(s, dtype=dtype))
    expected = torch.tensor(exact(s), dtype=torch.float64)
    found = loss_at(s, dtype)[:, 0].double()
    smallest = torch.finfo(dtype).tiny
    assert ((found - expected).abs() <= bound * expected.abs() + smallest).all()


@pytest.mark.parametrize("s", [-1000.0, -3.0, 0.0, 2.0, 1000.0])
@pytest.mark.parametrize("e", [0.01, 0.25, 0.4999])
def test_smoothed_loss_agrees_with_fifty_digits(s, e):
    found = loss_at(s, label_smoothing=e)[:, 0]
    assert found.tolist() == pytest.approx(exact(s, e), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("s", [-1000.0, 1000.0])
def test_loss_and_gradient_are_finite_at_a_thousand(s, dtype):
    assert loss_at(s, dtype).isfinite().all()
    assert loss_at(s, dtype, label_smoothing=0.1).isfinite().all()
    assert loss_at(s, dtype).dtype == dtype


@given(w=LOGS, v=LOGS, ref_w=LOGS, ref_v=LOGS, beta=BETAS)
def test_gradients_are_minus_and_plus_beta_sigma_of_minus_s(w, v, ref_w, ref_v, beta):
    pair = torch.tensor([w, v], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([ref_w, ref_v], dtype=torch.float64)
    loss = losses.dpo_loss(pair[0], pair[1], ref[0], ref[1], beta=beta)
    (gradient,) = torch.autograd.grad(loss, pair)
    s = beta * ((w - v) - (ref_w - ref_v))
    weight = beta / (1 + math.exp(s)) if s < 700 else 0.0
    assert gradient.tolist() == pytest.approx([-weight, weight], rel=1e-9, abs=1e-290)


@pytest.mark.parametrize("beta", [1e-3, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("e", [0.0, 0.2])
def test_first_and_second_derivatives_agree_with_finite_differences(beta, e):
    draws = torch.Generator().manual_seed(3)
    logs = tuple(
        torch.randn(5, dtype=torch.float64, generator=draws).requires_grad_() for _ in range(4)
    )

    def loss(*args: torch.Tensor) -> torch.Tensor:
        return losses.dpo_loss(*args, beta=beta, label_smoothing=e)

    assert torch.autograd.gradcheck(loss, logs, eps=1e-6, atol=1e-8)
    assert torch.autograd.gradgradcheck(loss, logs, eps=1e-6, atol=1e-7)


@given(w=LOGS, v=LOGS, beta=BETAS)
def test_loss_is_log_two_where_policy_and_reference_agree(w, v, beta):
    w_, v_ = torch.tensor([w]).double(), torch.tensor([v]).double()
    assert float(losses.dpo_loss(w_, v_, w_, v_, beta=beta)) == pytest.approx(
        math.log(2), abs=1e-15
    )


@given(s=st.floats(-50, 50), e=st.floats(0, 0.49))
def test_smoothed_loss_is_the_expected_loss_of_labels_flipped_with_that_probability(s, e):
    flipped = (1 - e) * loss_at(s)[0] + e * loss_at(-s)[0]
    assert loss_at(s, label_smoothing=e)[0].item() == pytest.approx(flipped.item(), rel=1e-12)


@given(s=st.floats(-30, 30))
def test_losses_of_a_pair_and_of_its_reverse_give_probabilities_that_sum_to_one(s):
    assert math.exp(-loss_at(s)[0]) + math.exp(-loss_at(-s)[0]) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize(("w", "v", "loss"), [(0.0, -math.inf, 0.0), (-math.inf, 0.0, math.inf)])
def test_an_impossible_response_makes_the_loss_zero_or_infinite_and_never_nan(w, v, loss):
    w_, v_, zero = (torch.tensor([x]).double() for x in (w, v, 0.0))
    assert losses.dpo_loss(w_, v_, zero, zero, beta=0.1).tolist() == [loss]


def test_one_value_for_each_pair_in_the_shape_of_the_input():
    logs = torch.zeros(2, 3)
    assert losses.dpo_loss(logs, logs, logs, logs, beta=1.0).shape == (2, 3)


def test_shapes_that_would_broadcast_are_refused():
    row, column = torch.zeros(3), torch.zeros(3, 1)
    expected = (
        r"ref_rejected_logps: expected one shape, got chosen_logps \(3,\), rejected_logps \(3"
    )
    with pytest.raises(ValueError, match=expected):
        losses.dpo_loss(row, column, row, row, beta=1.0)


@pytest.mark.parametrize("bad", [[-1.0], torch.tensor([1]), None])
def test_what_is_not_a_floating_point_tensor_is_refused_by_name(bad):
    good = torch.zeros(1)
    with pytest.raises(ValueError, match="ref_chosen_logps: expected a floating-point tensor, got"):
        losses.dpo_loss(good, good, bad, good, beta=1.0)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan, "1", True])
def test_beta_must_be_a_finite_number_above_zero(beta):
    zero = torch.zeros(1)
    with pytest.raises(ValueError, match="beta: expected a finite number > 0, got"):
        losses.dpo_loss(zero, zero, zero, zero, beta=beta)


@pytest.mark.parametrize("e", [-0.1, 0.5, 1.0, math.nan, True, "0.1", None])
def test_label_smoothing_must_lie_below_a_half(e):
    zero = torch.zeros(1)
    with pytest.raises(ValueError, match=r"label_smoothing: expected a number in \[0, 0.5\), got"):
        losses.dpo_loss(zero, zero, zero, zero, beta=1.0, label_smoothing=e)


# The relatives: each formula once more, in arithmetic of 600 digits, which resolves exp(-1000).
BETA = 0.5
FLIPS = 0.125
TAU = 0.5


def sigma(x):
    return 1 / (1 + mpmath.exp(-x))


def nll(x):
    return mpmath.log(1 + mpmath.exp(-x))


def log_odds(x):
    return x - mpmath.log(1 - mpmath.exp(x))


def kl_to_bernoulli(p, q):
    return p * mpmath.log(p / q) + (1 - p) * mpmath.log((1 - p) / (1 - q))


# Of the rewards s_w and s_l, the log-ratios times beta; SimPO and ORPO of the log-probabilities.
FORMULAS = {
    "dpo": lambda w, v: nll(w - v),
    "robust": lambda w, v: ((1 - FLIPS) * nll(w - v) - FLIPS * nll(v - w)) / (1 - 2 * FLIPS),
    "ipo": lambda w, v: ((w - v) / BETA - 1 / (2 * BETA)) ** 2,
    "hinge": lambda w, v: max(0, 1 - (w - v)),
    "exo": lambda w, v: kl_to_bernoulli(sigma(w - v), 1 - FLIPS),
    "discopop": lambda w, v: (
        sigma((v - w) / TAU) * nll(w - v) + sigma((w - v) / TAU) * mpmath.exp(v - w)
    ),
    "nca": lambda w, v: nll(w) + nll(-w) / 2 + nll(-v) / 2,
    "bco": lambda w, v: nll(w - 0.25) + nll(0.25 - v),
    "sppo": lambda w, v: (w / BETA - 1 / (2 * BETA)) ** 2 + (v / BETA + 1 / (2 * BETA)) ** 2,
    "apo_zero": lambda w, v: 1 - sigma(w) + sigma(v),
    "apo_down": lambda w, v: sigma(w) + 1 - sigma(w - v),
    "kto": lambda w, v: 3 * (1 - sigma(w - 0.75 * BETA)) + 2 * (1 - sigma(0.75 * BETA - v)),
    "simpo": lambda w, v: nll(BETA * (w - v) - 0.5),
    "orpo": lambda w, v: -w + BETA * nll(log_odds(w) - log_odds(v)),
    "sft": lambda w, v: -w,
}
KEYWORDS = {
    "robust": {"label_smoothing": FLIPS},
    "exo": {"label_smoothing": FLIPS},
    "discopop": {"tau": TAU},
    "bco": {"reward_shift": 0.25},
    "kto": {"kl": 0.75, "desirable_weight": 3.0, "undesirable_weight": 2.0},
}
OF_THE_DIFFERENCE = ("dpo", "robust", "ipo", "hinge", "exo", "discopop")
REFERENCE_FREE = ("simpo", "orpo", "sft")
WITH_REFERENCE = [name for name in FORMULAS if name not in REFERENCE_FREE]
SMOOTHED = [name for name in FORMULAS if name not in ("robust", "exo")]
ENDS = (-1000.0, -75.0, -20.5, -1.25, 0.0, 0.25, 3.0, 18.0, 75.0, 1000.0)
RATIOS = [(s, 0.0) for s in ENDS] + [(0.0, s) for s in ENDS] + [(s, -s) for s in ENDS]
NEGATIVE = (-1000.0, -75.0, -1.25, -0.75, -1e-3, -1e-7)
LOG_PROBS = [(w, v) for w in NEGATIVE for v in NEGATIVE]
POINTS = {name: LOG_PROBS if name in REFERENCE_FREE else RATIOS for name in FORMULAS}


def function(name):
    return getattr(losses, f"{name}_loss")


def evaluate(name, w, v, *, beta=BETA, **keywords):
    """The loss at log-ratios w and v (log-probabilities, if it has no reference)."""
    ref = () if name in REFERENCE_FREE else (torch.zeros_like(w), torch.zeros_like(v))
    return function(name)(w, v, *ref, beta=beta, **{**KEYWORDS.get(name, {}), **keywords})


def value_and_gradient(name, points, dtype=torch.float64, device="cpu", **keywords):
    """Rows of the loss and its two derivatives, ``(N, 3)``, in float64."""
    w, v = (
        torch.tensor(column, dtype=dtype, device=device, requires_grad=True)
        for column in zip(*points, strict=True)
    )
    loss = evaluate(name, w, v, **keywords)
    assert loss.dtype == dtype and loss.shape == w.shape
    slopes = torch.autograd.grad(loss.sum(), (w, v), materialize_grads=True)
    return torch.stack([loss, *slopes], dim=-1).detach().double().cpu()


def many_digits(name, w, v):
    """The same by the formula and by its central differences, in 600 digits."""
    scale = 1 if name in REFERENCE_FREE else mpmath.mpf(BETA)
    step = mpmath.mpf(10) ** -150

    def loss(w_, v_):
        return FORMULAS[name](scale * w_, scale * v_)

    in_w = (loss(w + step, v) - loss(w - step, v)) / (2 * step)
    in_v = (loss(w, v + step) - loss(w, v - step)) / (2 * step)
    return [float(x) for x in (loss(w, v), in_w, in_v)]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 2e-14), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("device", DEVICES)
def test_values_and_gradients_agree_with_many_digits_to_a_thousand(device, name, dtype, bound):
    points = [tuple(torch.tensor(p, dtype=dtype).tolist()) for p in POINTS[name]]
    with mpmath.workdps(600):
        exact = [many_digits(name, mpmath.mpf(w), mpmath.mpf(v)) for w, v in points]
    expected = torch.tensor(exact, dtype=torch.float64)
    found = value_and_gradient(name, points, dtype, device)
    assert found.isfinite().all()
    # A slope may be the difference of two larger ones: the bound is in units of the pair's larger.
    size = torch.cat([expected[:, :1], expected[:, 1:].abs().amax(1, True).expand(-1, 2)], 1).abs()
    assert ((found - expected).abs() <= bound * size + torch.finfo(dtype).tiny).all()


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_a_reference_counts_by_the_log_ratios_alone(name):
    w, v, ref_w, ref_v = (torch.tensor([x]).double() for x in (-1.25, -3.0, -2.5, -0.75))
    keywords = {"beta": BETA, **KEYWORDS.get(name, {})}
    found = function(name)(w, v, ref_w, ref_v, **keywords)
    assert found.item() == pytest.approx(many_digits(name, 1.25, -2.25)[0], rel=1e-14)


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives_agree_with_finite_differences(name):
    draws = torch.Generator().manual_seed(5)
    w, v = (-3 * torch.rand(6, generator=draws).double() - 0.1 for _ in range(2))
    pair = (w.requires_grad_(), v.requires_grad_())

    def loss(w_, v_):
        return evaluate(name, w_, v_, beta=0.7)

    assert torch.autograd.gradcheck(loss, pair, eps=1e-6, atol=1e-8)
    if name not in ("hinge", "sft"):  # without curvature
        assert torch.autograd.gradgradcheck(loss, pair, eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", SMOOTHED)
@given(w=st.floats(-20, -0.1), v=st.floats(-20, -0.1), e=st.floats(0.01, 0.49))
def test_label_smoothing_is_the_loss_expected_over_flips(name, w, v, e):
    as_given, flipped = value_and_gradient(name, [(w, v), (v, w)])
    expected = (1 - e) * as_given + e * flipped[[0, 2, 1]]
    found = value_and_gradient(name, [(w, v)], label_smoothing=e)[0]
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-14)


@given(s=st.floats(-50, 50), e=st.floats(0.0, 0.45))
def test_the_robust_loss_is_the_clean_one_in_expectation_over_flips(s, e):
    flipped = value_and_gradient("robust", [(s, 0.0), (0.0, s)], label_smoothing=e)
    expected = (1 - e) * flipped[0] + e * flipped[1][[0, 2, 1]]
    clean = value_and_gradient("dpo", [(s, 0.0)])[0]
    assert torch.allclose(expected, clean, rtol=1e-9, atol=1e-11)


@given(e=st.floats(1e-6, 0.49))
def test_exo_is_zero_and_flat_where_the_vote_has_the_target_probability(e):
    target = math.log((1 - e) / e) / BETA
    at, left, right = value_and_gradient(
        "exo", [(target, 0.0), (target - 0.1, 0.0), (target + 0.1, 0.0)], label_smoothing=e
    )
    assert at.tolist() == pytest.approx([0, 0, 0], abs=1e-13)
    assert min(left[0], right[0]) > 0


@given(w=st.floats(-1000, 1000), v=st.floats(-1000, 1000))
def test_kto_without_a_kl_is_apo_zero(w, v):
    plain = {"kl": 0.0, "desirable_weight": 1.0, "undesirable_weight": 1.0}
    found = value_and_gradient("kto", [(w, v)], **plain)
    assert torch.equal(found, value_and_gradient("apo_zero", [(w, v)]))


@given(w=st.floats(-20, 20), v=st.floats(-20, 20), up=st.floats(-20, 20))
def test_a_constant_added_to_both_log_ratios_changes_no_loss_of_the_difference(w, v, up):
    for name in OF_THE_DIFFERENCE:
        if name == "hinge" and abs(BETA * (w - v) - 1) < 1e-6:
            continue  # at its kink rounding decides on the slope
        here, there = value_and_gradient(name, [(w, v), (w + up, v + up)])
        assert torch.allclose(here, there, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(set(WITH_REFERENCE) - set(OF_THE_DIFFERENCE)))
def test_a_constant_added_to_both_log_ratios_changes_the_other_losses(name):
    here, there = value_and_gradient(name, [(0.5, -0.25), (1.5, 0.75)])
    assert not torch.isclose(here[0], there[0], rtol=1e-3, atol=1e-3)


def test_simpo_without_margin_is_dpo_with_a_uniform_reference():
    w, v = torch.tensor([-1.0, -4.0]), torch.tensor([-2.0, -0.5])
    flat = torch.full_like(w, -1.5)
    expected = losses.dpo_loss(w, v, flat, flat, beta=2.0)
    assert torch.equal(losses.simpo_loss(w, v, beta=2.0, gamma=0.0), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_orpo_is_infinite_only_where_the_loser_is_certain(dtype):
    points = [(0.0, -1.0), (-1.0, 0.0), (-1.0, -1.0)]
    sure, lost, tie = value_and_gradient("orpo", points, dtype)
    odds = math.exp(-1) / (1 - math.exp(-1))
    assert sure.tolist() == pytest.approx([0, -1 - BETA * odds, 0], rel=1e-6)
    assert lost[[0, 2]].tolist() == [math.inf, math.inf] and lost[1].isfinite()
    slope = BETA / 2 / (1 - math.exp(-1))
    assert tie.tolist() == pytest.approx([1 + BETA * math.log(2), -1 - slope, slope], rel=1e-6)


def test_the_kl_of_kto_may_be_a_tensor_and_passes_no_gradient():
    zero = torch.zeros(2)
    kl = torch.tensor(0.5, requires_grad=True)
    with_number = losses.kto_loss(zero, zero, zero, zero, beta=1.0, kl=0.5)
    loss = losses.kto_loss(zero, zero, zero, zero, beta=1.0, kl=kl)
    assert torch.equal(loss, with_number) and not loss.requires_grad


BAD = [
    ("exo", {"label_smoothing": 0.0}, r"label_smoothing: expected a number in \(0, 0.5\), got 0.0"),
    ("bco", {"reward_shift": math.inf}, "reward_shift: expected a finite number, got inf"),
    ("kto", {"kl": -0.1}, "kl: expected a finite number >= 0, got -0.1"),
    ("kto", {"kl": "1"}, "kl: expected a finite number >= 0, got '1'"),
    ("kto", {"desirable_weight": 0.0}, "desirable_weight: expected a finite number > 0"),
    ("kto", {"undesirable_weight": -1.0}, "undesirable_weight: expected a finite number > 0"),
    ("discopop", {"tau": 0.0}, "tau: expected a finite number > 0"),
    ("simpo", {"gamma": -1.0}, "gamma: expected a finite number >= 0, got -1.0"),
    *[(name, {"beta": 0.0}, "beta: expected a finite number > 0, got 0.0") for name in FORMULAS],
    *[
        (name, {"label_smoothing": 0.5}, "label_smoothing: expected a number in")
        for name in FORMULAS
    ],
]


@pytest.mark.parametrize(("name", "keywords", "message"), BAD)
def test_what_is_out_of_range_is_refused_by_name(name, keywords, message):
    below_zero = torch.full((2,), -1.0)
    with pytest.raises(ValueError, match=message):
        evaluate(name, below_zero, below_zero, **keywords)


@pytest.mark.parametrize("name", FORMULAS)
def test_every_loss_refuses_shapes_that_would_broadcast(name):
    row = torch.full((3,), -1.0)
    refs = [] if name in REFERENCE_FREE else [row, row]
    with pytest.raises(ValueError, match=r"_logps: expected one shape, got chosen_logps \(3,\)"):
        function(name)(row, row[:, None], *refs, beta=1.0)


def test_orpo_refuses_log_probabilities_above_zero():
    with pytest.raises(
        ValueError, match="rejected_logps: expected log-probabilities <= 0, got 0.5"
    ):
        losses.orpo_loss(torch.tensor([-1.0]), torch.tensor([0.5]), beta=1.0)


def test_every_loss_of_the_module_is_tested_here():
    public = [name for name, _ in inspect.getmembers(losses, inspect.isfunction) if name[0] != "_"]
    assert sorted(n for n in public if n.endswith("_loss")) == sorted(f"{n}_loss" for n in FORMULAS)


#: The relatives again with nothing but beta given: what their keywords are then.
UNLESS_GIVEN = {
    "robust": lambda w, v: nll(w - v),
    "exo": lambda w, v: kl_to_bernoulli(sigma(w - v), 1 - mpmath.mpf("0.001")),
    "discopop": lambda w, v: (
        sigma(20 * (v - w)) * nll(w - v) + sigma(20 * (w - v)) * mpmath.exp(v - w)
    ),
    "bco": lambda w, v: nll(w) + nll(-v),
    "kto": lambda w, v: 2 - sigma(w) - sigma(-v),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_loss_given_only_beta_is_its_plain_formula(name):
    points = [(-0.5, -1.25), (-2.0, -0.25)]
    w, v = (torch.tensor(column).double() for column in zip(*points, strict=True))
    ref = [] if name in REFERENCE_FREE else [torch.zeros_like(w)] * 2
    formula, scale = {**FORMULAS, **UNLESS_GIVEN}[name], 1 if name in REFERENCE_FREE else BETA
    expected = [float(formula(mpmath.mpf(scale * a), mpmath.mpf(scale * b))) for a, b in points]
    assert function(name)(w, v, *ref, beta=BETA).tolist() == pytest.approx(expected, rel=1e-12)


# --- where DiscoPOP turns, and what changes the arguments of a loss -------------------------------


def discopop_slope(s, tau):
    (row,) = value_and_gradient("discopop", [(s / BETA, 0.0)], tau=tau)
    return row[1].item() / BETA


@given(tau=st.floats(0.01, 10.0))
def test_discopop_rises_at_the_reference_where_tau_is_small(tau):
    expected = -0.75 + (1 - math.log(2)) / (4 * tau)
    assert discopop_slope(0.0, tau) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("P", [0.6, 0.75, 0.9, 0.99])
def test_with_a_small_tau_a_pair_rests_where_its_quadratic_has_a_root(P):
    root = (math.sqrt(1 + 4 * (1 - P) / P) - 1) / 2
    s = -math.log(root)
    slope = P * discopop_slope(s, 0.01) - (1 - P) * discopop_slope(-s, 0.01)
    assert slope == pytest.approx(0, abs=1e-12)


TOKENS = torch.tensor([[-1.0, -2.0, -4.0], [-0.5, -0.25, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("shared", "alpha", "expected"),
    [
        ([3, 2], 0.0, [-7.0, -0.75]),
        ([1, 1], 1.0, [-7.0, -0.75]),
        ([1, 1], 0.5, [-4.0, -0.625]),
        ([2, 1], 0.0, [-3.0, -0.5]),
        ([2, 1], 0.25, [-4.0, -0.5625]),
    ],
)
def test_tokens_beyond_the_shorter_response_count_alpha(shared, alpha, expected, device):
    shared = torch.tensor(shared, device=device)
    found = losses.ld_logps(TOKENS.to(device), shared, alpha=alpha)
    assert found.tolist() == expected


def test_the_gradient_of_a_token_is_what_it_counts():
    tokens = TOKENS.clone().requires_grad_()
    losses.ld_logps(tokens, torch.tensor([1, 2]), alpha=0.25).sum().backward()
    assert tokens.grad.tolist() == [[1.0, 0.25, 0.25], [1.0, 1.0, 0.25]]


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan, "1", True])
def test_alpha_lies_between_0_and_1(alpha):
    with pytest.raises(ValueError, match="alpha: expected a"):
        losses.ld_logps(TOKENS, torch.tensor([1, 1]), alpha=alpha)


@pytest.mark.parametrize("bad", [[1, 1], torch.tensor(1), torch.tensor([1]), torch.ones(2, 1)])
def test_token_counts_are_one_for_each_response(bad):
    with pytest.raises(ValueError, match=r"shared: expected a tensor \(N,\)"):
        losses.ld_logps(TOKENS, bad, alpha=0.5)
    with pytest.raises(ValueError, match=r"lengths: expected a tensor \(N,\)"):
        losses.wpo_weight(TOKENS, TOKENS[..., None], bad)


@pytest.mark.parametrize("device", DEVICES)
def test_the_weight_is_the_mean_surplus_over_the_collision_probability(device):
    probs = [[[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]]] * 2
    next_logps = torch.tensor(probs, dtype=torch.float64, device=device).log().requires_grad_()
    token_logps = next_logps[:, :, 0]
    found = losses.wpo_weight(token_logps, next_logps, torch.tensor([2, 1], device=device))
    first, second = 0.5 / 0.375, 0.8 / 0.66
    assert found.tolist() == pytest.approx([math.sqrt(first * second), first], rel=1e-12)
    assert not found.requires_grad


def test_the_weight_of_tokens_as_likely_as_they_come_is_one_at_any_size():
    flat = torch.full((1, 3, 5), 0.2).double().log()
    assert losses.wpo_weight(flat[..., 0], flat, torch.tensor([3])).item() == pytest.approx(1)
    sure = torch.tensor([[[0.0, -1000.0]]]).double()
    assert losses.wpo_weight(sure[..., 1], sure, torch.tensor([1])).item() == 0
    with pytest.raises(ValueError, match="next_logps"):
        losses.wpo_weight(flat[..., 0], flat[:, :2], torch.tensor([3]))
