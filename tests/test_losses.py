"""The DPO loss against 50-digit arithmetic, finite differences and what the claims say of it."""

import math

import mpmath
import pytest
import torch
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


def test_one_value_for_each_pair_in_the_shape_of_the_input():
    logs = torch.zeros(2, 3)
    assert losses.dpo_loss(logs, logs, logs, logs, beta=1.0).shape == (2, 3)


def test_shapes_that_would_broadcast_are_refused():
    row, column = torch.zeros(3), torch.zeros(3, 1)
    expected = r"log-probabilities: expected one shape \(N,\) for all four, got chosen_logps \(3,\)"
    with pytest.raises(ValueError, match=expected):
        losses.dpo_loss(row, column, row, row, beta=1.0)


@pytest.mark.parametrize("bad", [[-1.0], torch.tensor([1]), None])
def test_what_is_no_floating_point_tensor_is_refused_by_name(bad):
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
