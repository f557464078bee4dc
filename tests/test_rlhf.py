"""The sampled gradients against J by enumeration, and the runs against the closed form."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dpo_edu import preferences, rlhf
from dpo_edu.policies import LogLinearPolicy, TabularPolicy, TinyTransformer
from dpo_edu.sequences import SequenceSpace
from dpo_edu.training import train_dpo

REWARD = np.array([[0.0, 0.4, 0.8, 1.2], [1.0, -0.2, 0.5, 0.3]])
REF = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.25, 0.3, 0.35]])
BETA = 0.5


def gibbs(reward: np.ndarray, ref: np.ndarray, beta: float) -> np.ndarray:
    """pi* written out: ref exp(r/beta), normalised."""
    tilted = ref * np.exp((reward - reward.max(axis=-1, keepdims=True)) / beta)
    return tilted / tilted.sum(axis=-1, keepdims=True)


STAR = gibbs(REWARD, REF, BETA)


def kl(p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    return (p * (np.log(p) - log_q)).sum(axis=-1)


def settings_for(method: str, **changes: object) -> dict[str, object]:
    """Keywords with which `method` reaches pi* on the toy."""
    common = {"beta": BETA, "learning_rate": 5.0, "device": "cpu"}
    extra = {
        "exact_policy_gradient": {"steps": 400},
        "reinforce": {"steps": 800, "batch_size": 8, "rng": np.random.default_rng(0)},
        "ppo": {
            "steps": 400,
            "batch_size": 16,
            "epochs": 2,
            "clip": 0.2,
            "rng": np.random.default_rng(0),
        },
    }
    return common | extra[method] | changes


METHODS = ["exact_policy_gradient", "reinforce", "ppo"]


def train(method: str, **changes: object) -> rlhf.PolicyRun:
    return getattr(rlhf, method)(TabularPolicy(REF), REF, REWARD, **settings_for(method, **changes))


# --- the gradient -------------------------------------------------------------------------------


def random_logits(seed: int, responses: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Logits that want a gradient, a reference's log-probs, and rewards, one prompt each."""
    draws = np.random.default_rng(seed)
    logits = torch.tensor(draws.normal(size=(1, responses))).requires_grad_()
    log_ref = torch.tensor(np.log(draws.dirichlet(np.ones(responses), size=1)))
    return logits, log_ref, torch.tensor(draws.normal(size=(1, responses)))


def gradient_of_J(logits: Tensor, log_ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    log_pi = logits.log_softmax(dim=-1)
    J = (log_pi.exp() * reward).sum() - beta * (log_pi.exp() * (log_pi - log_ref)).sum()
    return torch.autograd.grad(J, logits)[0]


def batch_gradients(
    logits: Tensor, log_ref: Tensor, reward: Tensor, beta: float, size: int, baseline: bool
) -> tuple[Tensor, Tensor]:
    """REINFORCE's gradient for every possible batch, and the probability of that batch."""
    gradients, chances = [], []
    for batch in product(range(logits.shape[1]), repeat=size):
        log_pi = logits.log_softmax(dim=-1)
        drawn = torch.tensor([batch])
        earned = rlhf.penalised_reward(log_pi.detach(), log_ref, reward, beta=beta)
        advantage = earned.gather(1, drawn)
        advantage = rlhf.leave_one_out(advantage) if baseline else advantage
        surrogate = (advantage * log_pi.gather(1, drawn)).mean()
        gradients.append(torch.autograd.grad(surrogate, logits)[0][0])
        chances.append(log_pi.detach().gather(1, drawn).sum().exp())
    return torch.stack(gradients), torch.stack(chances)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 5.0), st.booleans())
def test_the_sampled_gradient_is_unbiased(seed: int, beta: float, baseline: bool) -> None:
    task = random_logits(seed)
    gradients, chances = batch_gradients(*task, beta, 2, baseline)
    torch.testing.assert_close(chances @ gradients, gradient_of_J(*task, beta)[0])


def total_variance(gradients: Tensor, chances: Tensor) -> float:
    mean = chances @ gradients
    return float(chances @ (gradients - mean).square().sum(dim=1))


def test_the_baseline_lowers_the_variance() -> None:
    task = (torch.zeros(1, 4).double().requires_grad_(), torch.tensor(REF[:1]).log())
    reward = torch.tensor(REWARD[:1] + 3.0)
    plain, with_baseline = (
        total_variance(*batch_gradients(*task, reward, BETA, 2, baseline))
        for baseline in (False, True)
    )
    assert with_baseline < plain / 10


def test_at_the_optimum_the_baseline_leaves_no_noise_at_all() -> None:
    star, log_ref = torch.tensor(STAR[:1]).log().requires_grad_(), torch.tensor(REF[:1]).log()
    reward, log_z = torch.tensor(REWARD[:1]), math.log((REF[0] * np.exp(REWARD[0] / BETA)).sum())
    earned = rlhf.penalised_reward(star.detach(), log_ref, reward, beta=BETA)
    torch.testing.assert_close(earned, torch.full_like(earned, BETA * log_z))
    assert total_variance(*batch_gradients(star, log_ref, reward, BETA, 2, True)) < 1e-28
    plain = total_variance(*batch_gradients(star, log_ref, reward, BETA, 2, False))
    # Two draws: half of (beta log Z)^2 times the variance of one score, 1 - sum pi^2.
    assert plain == pytest.approx((BETA * log_z) ** 2 * (1 - (STAR[0] ** 2).sum()) / 2)


# --- PPO's surrogate ----------------------------------------------------------------------------


def test_the_first_epoch_of_ppo_has_the_gradient_of_reinforce() -> None:
    log_pi = torch.tensor([[-0.3, -1.2, -2.0]], dtype=torch.float64).requires_grad_()
    advantage = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    clipped = rlhf.clipped_surrogate(log_pi, log_pi.detach(), advantage, clip=0.2).mean()
    plain = (advantage * log_pi).mean()
    (a,), (b,) = (torch.autograd.grad(value, log_pi) for value in (clipped, plain))
    torch.testing.assert_close(a, b)


def test_ppo_with_one_epoch_walks_as_reinforce_does() -> None:
    one = train("ppo", epochs=1, steps=30, rng=np.random.default_rng(5))
    other = train("reinforce", batch_size=16, steps=30, rng=np.random.default_rng(5))
    np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-12)


@pytest.mark.parametrize(
    ("ratio", "advantage", "slope"),
    [
        (1.1, 2.0, 2.2),
        (1.3, 2.0, 0.0),
        (0.7, 2.0, 1.4),
        (1.3, -2.0, -2.6),
        (0.7, -2.0, 0.0),
        (0.9, -2.0, -1.8),
    ],
)
def test_clipping_stops_the_gradient_beyond_the_range(
    ratio: float, advantage: float, slope: float
) -> None:
    log_pi = torch.tensor([math.log(ratio)], dtype=torch.float64).requires_grad_()
    zero, a = torch.zeros(1).double(), torch.tensor([advantage]).double()
    value = rlhf.clipped_surrogate(log_pi, zero, a, clip=0.2).sum()
    assert torch.autograd.grad(value, log_pi)[0].item() == pytest.approx(slope)


def test_leaving_one_out_subtracts_the_mean_of_the_others() -> None:
    values = torch.tensor(np.random.default_rng(0).normal(size=(3, 5)))
    found = rlhf.leave_one_out(values)
    for x, b in product(range(3), range(5)):
        others = [values[x, c] for c in range(5) if c != b]
        torch.testing.assert_close(found[x, b], values[x, b] - sum(others) / 4)


# --- the runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_route_arrives_at_the_optimum(method: str) -> None:
    run = train(method, optimum=STAR)
    assert kl(STAR, run.log_probs).max() < 1e-12
    assert run.history.kl is not None and run.history.kl[-1] < 1e-12
    J = (STAR * REWARD).sum(axis=-1) - BETA * kl(STAR, np.log(REF))
    assert run.history.objective[-1] == pytest.approx(J.mean())


@pytest.mark.parametrize("seed", range(3))
def test_the_history_starts_at_the_reference(seed: int) -> None:
    run = train("reinforce", steps=3, rng=np.random.default_rng(seed))
    assert run.history.objective[0] == pytest.approx((REF * REWARD).sum(axis=-1).mean())
    assert len(run.history.objective) == 4 and run.history.kl is None


def test_without_a_baseline_the_run_hovers() -> None:
    run = train("reinforce", baseline=False, optimum=STAR)
    assert run.history.kl is not None and run.history.kl[-100:].min() > 1e-6


@pytest.mark.parametrize("method", ["reinforce", "ppo"])
def test_the_same_seed_gives_the_same_run(method: str) -> None:
    before = torch.get_rng_state()
    runs = [train(method, steps=20, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(runs[0].log_probs, runs[1].log_probs)
    assert not np.array_equal(runs[0].log_probs, runs[2].log_probs)
    assert torch.equal(before, torch.get_rng_state())


def test_costs_are_counted() -> None:
    assert train("exact_policy_gradient", steps=7).cost == rlhf.Cost(7, 0, 8, 7)
    assert train("reinforce", steps=7, batch_size=5).cost == rlhf.Cost(7, 70, 70, 7)
    assert train("ppo", steps=7, batch_size=5, epochs=3).cost == rlhf.Cost(7, 70, 70, 21)


class CountingTable(TabularPolicy):
    """A table that counts its forward passes with a gradient."""

    passes = 0

    def log_probs(self) -> Tensor:
        self.passes += 1
        return super().log_probs()


@pytest.mark.parametrize(("epochs", "passes"), [(1, 20), (3, 40)])
def test_each_gradient_costs_one_forward_pass_beside_the_looks(epochs: int, passes: int) -> None:
    policy = CountingTable(REF)
    rlhf.ppo(policy, REF, REWARD, **settings_for("ppo", steps=10, epochs=epochs))
    assert policy.passes == 10 + epochs * 10 + 3  # a look each step; two at the start, one to end


def test_draws_follow_the_policy() -> None:
    run = rlhf.Ascent(TabularPolicy(REF), REF, REWARD, BETA, 1.0, "cpu", None, False)
    drawn = run.draw(run.log_probs(), 40_000, np.random.default_rng(0)).numpy()
    share = np.stack([np.bincount(row, minlength=4) for row in drawn]) / 40_000
    # Six standard deviations of each of eight shares: a false alarm in under 2e-8 of seeds.
    assert (np.abs(share - REF) < 6 * np.sqrt(REF * (1 - REF) / 40_000)).all()


def test_a_response_without_mass_stays_without() -> None:
    ref, reward = np.array([0.5, 0.0, 0.5, 0.0]), np.array([0.0, 9.0, 1.0, 9.0])
    for method in METHODS:
        policy = TabularPolicy(ref)
        run = getattr(rlhf, method)(policy, ref, reward, **settings_for(method))
        found = np.exp(run.log_probs[0])
        assert found[[1, 3]].tolist() == [0.0, 0.0]
        assert np.isfinite(run.history.objective).all()
        np.testing.assert_allclose(found, gibbs(reward, ref, BETA), atol=1e-9)


def test_the_divergence_from_an_optimum_counts_nothing_off_the_support() -> None:
    ref, star = np.array([0.5, 0.0, 0.5]), np.array([0.25, 0.0, 0.75])
    run = rlhf.exact_policy_gradient(
        *(TabularPolicy(ref), ref, [0.0, 9.0, math.log(3)]),
        **settings_for("exact_policy_gradient", beta=1.0, steps=1, optimum=star * (1 + 9e-7)),
    )
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert run.history.kl is not None and run.history.kl[0] == pytest.approx(expected, rel=1e-12)
    assert np.isneginf(run.log_probs[0, 1])


@pytest.mark.parametrize(("draw", "drawn"), [(0.0, 1), (np.nextafter(1.0, 0.0), 3)])
def test_the_ends_of_the_unit_interval_draw_responses_with_mass(draw: float, drawn: int) -> None:
    class Constant(np.random.Generator):
        def random(self, size: tuple[int, ...]) -> np.ndarray:
            return np.full(size, draw)

    ref = np.array([0.0, 0.1, 0.2, 0.7, 0.0])
    run = rlhf.Ascent(TabularPolicy(ref), ref, np.zeros(5), BETA, 1.0, "cpu", None, False)
    found = run.draw(run.log_probs(), 3, Constant(np.random.PCG64(0)))
    assert found.tolist() == [[drawn] * 3]


def test_any_policy_can_climb() -> None:
    space = SequenceSpace(2, 2)
    policy, start = TinyTransformer(space, seed=1), TinyTransformer(space, seed=1)
    run = rlhf.exact_policy_gradient(
        policy, start, REWARD[0], beta=BETA, steps=40, learning_rate=0.05, device="cpu"
    )
    assert run.history.objective[-1] > run.history.objective[0] + 0.05
    assert run.seconds > 0 and run.device == "cpu"


# --- the reward model ---------------------------------------------------------------------------


def votes(size: int = 500) -> np.ndarray:
    pairs = preferences.sample_pairs(REWARD, REF, size=size, rng=np.random.default_rng(2))
    return preferences.count_wins(pairs, REWARD.shape)


def test_a_feature_for_each_response_is_bradley_terry() -> None:
    wins = votes()
    features = np.eye(8).reshape(2, 4, 8)
    found = rlhf.fit_linear_reward(features, wins).reshape(2, 4)
    np.testing.assert_allclose(found, preferences.fit_bradley_terry(wins), atol=1e-9)


def test_the_fitted_weights_beat_every_neighbour() -> None:
    wins, features = votes(), np.random.default_rng(3).normal(size=(4, 2))
    found = rlhf.fit_linear_reward(features, wins)
    best = preferences.log_likelihood((features @ found)[None], wins).sum()
    for step in np.random.default_rng(4).normal(size=(50, 2)) * 1e-3:
        reward = (features @ (found + step))[None]
        assert preferences.log_likelihood(reward, wins).sum() < best


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_only_proportions_of_counts_matter_to_the_weights(factor: float) -> None:
    wins, features = votes() / 500, np.random.default_rng(3).normal(size=(4, 2))
    found = rlhf.fit_linear_reward(features, wins * factor)
    np.testing.assert_allclose(found, rlhf.fit_linear_reward(features, wins), rtol=1e-9)


def test_a_feature_that_no_vote_sees_gets_no_weight() -> None:
    features = np.column_stack([np.arange(4.0), np.ones(4)])
    assert rlhf.fit_linear_reward(features, votes())[1] == pytest.approx(0, abs=1e-12)


def test_shared_features_agree_with_the_log_linear_policy_of_dpo() -> None:
    wins, features = votes(), np.random.default_rng(3).normal(size=(4, 2))
    policy = LogLinearPolicy(features, REF)
    train_dpo(policy, REF, wins, beta=BETA, device="cpu")
    found = BETA * policy.theta.detach().numpy()
    np.testing.assert_allclose(rlhf.fit_linear_reward(features, wins), found, atol=1e-9)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta", 0.0),
        ("steps", 0),
        ("learning_rate", -1.0),
        ("device", "abacus"),
        ("optimum", [[0.5, 0.5]]),
        ("optimum", [[0.5, 0.6, 0.0, 0.0]] * 2),
    ],
)
def test_bad_settings_are_named(method: str, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        train(method, **{name: value})


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("reinforce", "batch_size", 0),
        ("reinforce", "batch_size", 1),
        ("reinforce", "rng", 7),
        ("ppo", "epochs", 0),
        ("ppo", "clip", 0.0),
        ("ppo", "clip", 1.0),
        ("ppo", "rng", None),
    ],
)
def test_bad_sampling_is_named(method: str, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        train(method, **{name: value})


@pytest.mark.parametrize(
    ("name", "policy", "ref", "reward"),
    [
        ("policy", "table", REF, REWARD),
        ("policy", torch.nn.Linear(1, 1), REF, REWARD),
        ("policy", TabularPolicy(REF), [[1.0, 0.0, 0.0, 0.0]] * 2, REWARD),
        ("ref", TabularPolicy(REF), REF[:, :3] / REF[:, :3].sum(axis=1, keepdims=True), REWARD),
        ("ref", TabularPolicy(REF), REF * 2, REWARD),
        ("reward", TabularPolicy(REF), REF, REWARD[:1]),
        ("reward", TabularPolicy(REF), REF, REWARD * np.nan),
    ],
)
def test_bad_tasks_are_named(name: str, policy: object, ref: object, reward: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        rlhf.exact_policy_gradient(policy, ref, reward, **settings_for("exact_policy_gradient"))


def test_one_draw_is_enough_without_a_baseline() -> None:
    assert train("reinforce", batch_size=1, baseline=False, steps=2).cost.samples == 4


@pytest.mark.parametrize(
    ("features", "wins", "name"),
    [
        (np.ones((3, 1)), votes(), "features"),
        (np.ones(4), votes(), "features"),
        (np.ones((3, 4, 1)), votes(), "features"),
        (np.ones((4, 1)) * np.inf, votes(), "features"),
        (np.ones((4, 1)), -votes(), "wins"),
        (np.ones((4, 1)), 0 * votes(), "wins"),
        (np.arange(2.0)[:, None], [[0, 0], [3, 0]], "wins"),
    ],
)
def test_bad_reward_models_are_named(features: object, wins: object, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        rlhf.fit_linear_reward(features, wins)


def test_tensors_must_have_one_shape() -> None:
    one, two = torch.zeros(1, 2), torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"^log_probs, .*: expected one shape, got "):
        rlhf.penalised_reward(one, two, two, beta=1.0)
    with pytest.raises(ValueError, match=r"^log_probs, .*: expected one shape, got "):
        rlhf.clipped_surrogate(one, one, two, clip=0.2)
    with pytest.raises(ValueError, match=r"^values: expected "):
        rlhf.leave_one_out(one[:, :1])
