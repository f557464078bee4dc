"""Policies against closed forms, and the transformer against scoring one sequence at a time."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from devices import DEVICES
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from dpo_edu.policies import LogLinearPolicy, TabularPolicy, TinyTransformer
from dpo_edu.sequences import SequenceSpace

SPACES = [SequenceSpace(3, 3), SequenceSpace(3, 3, end_token=True), SequenceSpace(2, 1)]
SPACES += [SequenceSpace(2, 4), SequenceSpace(1, 3), SequenceSpace(1, 3, end_token=True)]
REFS = st.integers(0, 10_000).map(
    lambda seed: np.random.default_rng(seed).dirichlet(np.ones(4), size=3)
)


def score_alone(policy: TinyTransformer, prompt: int, response: list[int]) -> float:
    """log pi of one response by an ordinary causal decoder that knows nothing of trees."""
    stream = torch.stack([policy.prompt_embedding[prompt]])
    for token in response[:-1]:
        stream = torch.cat([stream, policy.token_embedding[token][None]])
    stream = stream + policy.depth_embedding[: len(response)]
    for block in policy.blocks:
        q, k, v = block.query_key_value(block.attention_norm(stream)).chunk(3, dim=-1)
        heard = torch.cat(
            [
                attend(*head)
                for head in zip(*(z.chunk(block.heads, dim=-1) for z in (q, k, v)), strict=True)
            ],
            dim=-1,
        )
        stream = stream + block.attention_out(heard)
        hidden = functional.gelu(block.perceptron_in(block.perceptron_norm(stream)))
        stream = stream + block.perceptron_out(hidden)
    following = policy.next_token(policy.norm(stream)).log_softmax(dim=-1)
    return sum(following[t, token].item() for t, token in enumerate(response))


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal attention of one head, place by place."""
    rows = []
    for t in range(len(q)):
        weight = torch.softmax(k[: t + 1] @ q[t] / math.sqrt(q.shape[-1]), dim=0)
        rows.append(weight @ v[: t + 1])
    return torch.stack(rows)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (3, 4)])
def test_transformer_agrees_with_scoring_each_sequence_alone(space, layers, heads):
    policy = TinyTransformer(space, prompts=2, layers=layers, width=8, heads=heads, seed=5)
    with torch.no_grad():
        found = policy.log_probs()
        expected = [
            [
                score_alone(policy, x, row[:n].tolist())
                for row, n in zip(space.responses, space.lengths, strict=True)
            ]
            for x in range(2)
        ]
    assert np.abs(found.numpy() - np.array(expected)).max() < 1e-13


@pytest.mark.parametrize(
    "space", [*SPACES, SequenceSpace(8, 4), SequenceSpace(1, 3, end_token=True)]
)
def test_transformer_gives_distributions(space):
    log_probs = TinyTransformer(space, prompts=2).log_probs()
    assert log_probs.shape == (2, space.size)
    assert (log_probs.exp().sum(dim=-1) - 1).abs().max() < 1e-12


def test_transformer_prompts_differ_at_the_root_alone():
    policy = TinyTransformer(SequenceSpace(3, 2), prompts=2)
    with torch.no_grad():
        first, second = policy.log_probs()
        assert (first - second).abs().max() > 1e-3
        policy.prompt_embedding[1] = policy.prompt_embedding[0]
        first, second = policy.log_probs()
    assert torch.equal(first, second)


def test_transformer_weights_follow_the_seed_and_spare_the_global_generator():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    policies = [TinyTransformer(SequenceSpace(3, 2), seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    one, same, other = (policy.log_probs() for policy in policies)
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def test_transformer_branches_start_smaller_the_more_of_them_there_are():
    policy = TinyTransformer(SequenceSpace(3, 2), layers=8, width=64)
    for block in policy.blocks:
        for layer, scale in (
            *((block.query_key_value, 1), (block.attention_out, 1 / 4)),
            *((block.perceptron_in, 1), (block.perceptron_out, 1 / 4)),
        ):
            expected = scale / math.sqrt(layer.in_features)
            # 4096 weights or more: six standard deviations are under seven per cent.
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.07)
            assert not layer.bias.any()


def test_transformer_state_is_its_parameters():
    policy = TinyTransformer(SequenceSpace(3, 2))
    assert set(policy.state_dict()) == {name for name, _ in policy.named_parameters()}
    assert {name for name, _ in policy.named_buffers()} == {
        "lineages",
        "depths",
        "tokens",
        "edges",
    }


@pytest.mark.parametrize("space", SPACES[:-1])
def test_transformer_jacobian_is_that_of_its_log_probs(space):
    policy = TinyTransformer(space, prompts=2, layers=3, width=8, heads=4, seed=5)
    policy.norm.bias.requires_grad_(False)
    trained = [weight for weight in policy.parameters() if weight.requires_grad]
    found = policy.jacobian()
    for value, row in zip(policy.log_probs().flatten(), found, strict=True):
        slopes = torch.autograd.grad(value, trained, retain_graph=True)
        expected = torch.cat([slope.flatten() for slope in slopes])
        assert (row - expected).abs().max() < 1e-13


def test_transformer_starts_undecided_but_not_uniform():
    log_probs = TinyTransformer(SequenceSpace(4, 4)).next_token_log_probs()
    assert 0.05 < log_probs.std() < 3


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0"])
def test_transformer_seed_must_be_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed: expected a whole number >= 0, got"):
        TinyTransformer(SequenceSpace(2, 2), seed=seed)


@pytest.mark.parametrize("name", ["prompts", "layers", "width", "heads"])
def test_transformer_sizes_must_be_whole_numbers_above_zero(name):
    with pytest.raises(ValueError, match=f"{name}: expected a whole number >= 1, got 0"):
        TinyTransformer(SequenceSpace(2, 2), **{name: 0})


def test_transformer_width_must_be_a_multiple_of_its_heads():
    with pytest.raises(ValueError, match="width: expected a multiple of heads = 3, got 32"):
        TinyTransformer(SequenceSpace(2, 2), heads=3)


def test_transformer_needs_a_sequence_space():
    with pytest.raises(ValueError, match="space: expected a SequenceSpace, got int"):
        TinyTransformer(4)


@given(ref=REFS)
def test_tabular_and_log_linear_policies_start_at_the_reference(ref):
    for policy in (TabularPolicy(ref), LogLinearPolicy(np.eye(4), ref)):
        assert np.abs(policy.log_probs().exp().detach().numpy() - ref).max() < 1e-14


@given(ref=REFS, seed=st.integers(0, 99))
def test_tabular_policy_is_the_reference_tilted_by_theta(ref, seed):
    policy = TabularPolicy(ref)
    theta = np.random.default_rng(seed).normal(size=ref.shape)
    with torch.no_grad():
        policy.theta += torch.tensor(theta)
    tilted = ref * np.exp(theta)
    expected = tilted / tilted.sum(axis=-1, keepdims=True)
    assert np.abs(policy.log_probs().exp().detach().numpy() - expected).max() < 1e-14


@settings(max_examples=20)
@given(ref=REFS, seed=st.integers(0, 99))
def test_log_linear_policy_is_the_tabular_one_at_features_times_theta(ref, seed):
    rng = np.random.default_rng(seed)
    features, theta = rng.normal(size=(3, 4, 2)), rng.normal(size=2)
    table, linear = TabularPolicy(ref), LogLinearPolicy(features, ref)
    with torch.no_grad():
        table.theta += torch.tensor(features @ theta)
        linear.theta += torch.tensor(theta)
    assert (table.log_probs() - linear.log_probs()).abs().max() < 1e-13


def test_features_without_a_prompt_axis_serve_every_prompt():
    features, ref = np.arange(8.0).reshape(4, 2), np.full((3, 4), 0.25)
    shared, spelled_out = LogLinearPolicy(features, ref), LogLinearPolicy([features] * 3, ref)
    for policy in (shared, spelled_out):
        torch.nn.init.ones_(policy.theta)
    assert torch.equal(shared.log_probs(), spelled_out.log_probs())


@pytest.mark.parametrize("policy", [TabularPolicy, lambda ref: LogLinearPolicy(np.eye(3), ref)])
def test_zeros_of_the_reference_stay_zero_and_gradients_stay_finite(policy):
    policy = policy([0.5, 0.0, 0.5])
    log_probs = policy.log_probs()
    assert log_probs[0, 1] == -math.inf
    (log_probs[0, 0] - 2 * log_probs[0, 2]).backward()
    assert policy.theta.grad.isfinite().all()
    assert policy.theta.grad.view(-1)[1] == 0
    assert policy.theta.grad.view(-1)[0] != 0


def test_policies_hold_float64_and_one_prompt_is_a_row():
    for policy in (
        TabularPolicy([0.5, 0.5]),
        LogLinearPolicy([[1.0], [0.0]], [0.5, 0.5]),
        TinyTransformer(SequenceSpace(2, 1)),
    ):
        assert policy.log_probs().dtype == torch.float64
        assert policy.log_probs().shape == (1, 2)
        assert policy.float().log_probs().dtype == torch.float32


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ([0.5, 0.6], "ref: expected rows summing to 1, got a row summing to 1.1"),
        ([1.5, -0.5], "ref: expected probabilities >= 0, got -0.5"),
        ([math.nan, 1.0], "ref: expected finite numbers, got nan"),
        (np.full((2, 2, 2), 0.5), r"ref: expected shape \(Y,\) or \(X, Y\), got shape \(2, 2, 2\)"),
    ],
)
def test_references_must_be_policies(ref, message):
    with pytest.raises(ValueError, match=message):
        TabularPolicy(ref)
    with pytest.raises(ValueError, match=message):
        LogLinearPolicy(np.eye(2), ref)


@pytest.mark.parametrize("shape", [(3, 1), (2,), (3, 2, 1), (1, 2, 2, 1)])
def test_features_must_fit_the_reference(shape):
    with pytest.raises(
        ValueError, match=r"features: expected shape \(2, K\) or \(1, 2, K\) to fit"
    ):
        LogLinearPolicy(np.zeros(shape), [0.5, 0.5])


def test_features_must_be_finite():
    with pytest.raises(ValueError, match="features: expected finite numbers, got inf"):
        LogLinearPolicy([[0.0], [math.inf]], [0.5, 0.5])


# Of a policy in float64 on the CPU: two prompts, and a zero in the reference where it has one.
MAKERS = [
    lambda: TabularPolicy([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]),
    lambda: LogLinearPolicy([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], [[0.2, 0.3, 0.5]] * 2),
    *(partial(TinyTransformer, space, prompts=2, seed=3) for space in SPACES),
]


def mean_and_slopes(policy: nn.Module) -> list[torch.Tensor]:
    """A reward's mean under the policy and its slope in every weight, in float64 on the CPU."""
    probs = policy.log_probs().exp()
    reward = torch.linspace(-1, 1, probs.shape[1]).to(probs)
    mean = (probs @ reward).sum()
    slopes = torch.autograd.grad(mean, list(policy.parameters()))
    return [value.detach().double().cpu() for value in (probs, mean, *slopes)]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_a_policy_and_its_slopes_are_the_same_on_every_device(make, device, dtype, bound):
    expected, found = mean_and_slopes(make()), mean_and_slopes(make().to(device, dtype))
    wrong = torch.cat([(a - b).abs().flatten() for a, b in zip(expected, found, strict=True)])
    assert wrong.max() < bound


def test_a_slope_off_by_rounding_to_float32_is_found_by_the_bound_of_float64():
    exact, rounded = mean_and_slopes(MAKERS[0]()), mean_and_slopes(MAKERS[0]().float())
    assert (exact[2] - rounded[2]).abs().max() > 1e-9
