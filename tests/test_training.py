"""Training against closed forms, Bradley-Terry by another library, and other devices."""

import math
from collections.abc import Callable

import choix
import numpy as np
import pytest
import torch
from devices import DEVICES
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dpo_edu import _newton, _pull_back, _run, losses, preferences
from dpo_edu._fit import Fit
from dpo_edu.policies import LogLinearPolicy, TabularPolicy, TinyTransformer
from dpo_edu.preferences import PreferencePairs
from dpo_edu.sequences import SequenceSpace
from dpo_edu.training import TrainingRun, fit_table, minibatch_dpo, train_dpo

REWARD = np.array([0.0, 0.5, 1.0, 1.5])
UNIFORM = np.full(4, 0.25)


def gibbs(reward: np.ndarray, ref: np.ndarray, beta: float) -> np.ndarray:
    """pi* written out: ref exp(r/beta), normalised."""
    tilted = ref * np.exp((reward - reward.max(axis=-1, keepdims=True)) / beta)
    return tilted / tilted.sum(axis=-1, keepdims=True)


def population(reward: np.ndarray) -> np.ndarray:
    """P(row beats column) for every pair of distinct responses."""
    win = 1 / (1 + np.exp(reward[..., None, :] - reward[..., :, None]))
    return win * (1 - np.eye(reward.shape[-1]))


def centred_reward(run: TrainingRun, ref: np.ndarray, beta: float) -> np.ndarray:
    reward = beta * (run.log_probs - np.log(np.atleast_2d(ref)))
    return reward - reward.mean(axis=-1, keepdims=True)


def train_table(ref: np.ndarray, wins: object, **keywords: object) -> TrainingRun:
    return train_dpo(TabularPolicy(ref), ref, wins, **({"device": "cpu", "beta": 1.0} | keywords))


def draw_votes(size: int, seed: int = 0) -> PreferencePairs:
    return preferences.sample_pairs(REWARD, UNIFORM, size=size, rng=np.random.default_rng(seed))


class CountingLoss:
    """The DPO loss, counting its calls and the pairs it is asked about."""

    def __init__(self) -> None:
        self.calls, self.pairs = 0, 0

    def __call__(self, *log_probs: torch.Tensor, **keywords: float) -> torch.Tensor:
        if log_probs[0].numel() > 1:
            self.calls += 1
            self.pairs = max(self.pairs, log_probs[0].numel())
        return losses.dpo_loss(*log_probs, **keywords)


def ipo(
    w: torch.Tensor,
    v: torch.Tensor,
    ref_w: torch.Tensor,
    ref_v: torch.Tensor,
    *,
    beta: float,
    label_smoothing: float,
) -> torch.Tensor:
    return ((w - v) - (ref_w - ref_v) - 1 / (2 * beta)) ** 2


def hinge(
    w: torch.Tensor,
    v: torch.Tensor,
    ref_w: torch.Tensor,
    ref_v: torch.Tensor,
    *,
    beta: float,
    label_smoothing: float,
) -> torch.Tensor:
    return torch.relu(1 - beta * ((w - v) - (ref_w - ref_v)))


# --- the population loss -------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    prompts=st.integers(1, 3),
    responses=st.integers(2, 6),
    power=st.floats(-3, 3),
)
def test_table_finds_the_optimum_of_the_population_loss(seed, prompts, responses, power):
    rng, beta = np.random.default_rng(seed), 10.0**power
    reward = rng.normal(scale=2, size=(prompts, responses))
    ref = rng.dirichlet(np.ones(responses), size=prompts) * 0.9 + 0.1 / responses
    optimum = gibbs(reward, ref, beta)
    run = train_table(ref, population(reward), beta=beta, optimum=optimum)
    assert run.converged
    assert run.history.kl[-1] <= 1e-12
    centred = reward - reward.mean(axis=-1, keepdims=True)
    assert np.abs(centred_reward(run, ref, beta) - centred).max() < 1e-10


@pytest.mark.parametrize("responses", [2, 100])
def test_rewards_far_apart_and_many_responses_are_reached(responses):
    reward = np.linspace(-15, 15, responses)
    ref = np.full(responses, 1 / responses)
    run = train_table(ref, population(reward))
    assert run.converged
    assert np.abs(centred_reward(run, ref, 1.0) - reward).max() < 1e-9


@pytest.mark.parametrize("distance", [5.0, 30.0])
def test_a_table_that_starts_far_away_arrives_as_well(distance):
    policy = TabularPolicy(UNIFORM)
    with torch.no_grad():
        policy.theta += torch.tensor([distance, -distance, distance, 0.0])
    run = train_dpo(policy, UNIFORM, population(REWARD), beta=1.0, device="cpu")
    assert run.converged
    assert (np.diff(run.history.loss) <= 1e-15).all()
    assert np.abs(np.exp(run.log_probs) - gibbs(REWARD, UNIFORM, 1.0)).max() < 1e-12


def test_an_optimum_in_float32_is_as_good_as_one_in_float64():
    optimum = gibbs(REWARD, UNIFORM, 0.5)
    run = train_table(UNIFORM, population(REWARD), beta=0.5, optimum=optimum * (1 + 9e-7))
    assert run.history.kl[-1] <= 1e-20


def test_history_starts_at_log_two_never_rises_and_ends_at_the_optimum():
    optimum = gibbs(REWARD, UNIFORM, 0.5)
    run = train_table(UNIFORM, population(REWARD), beta=0.5, optimum=optimum)
    loss, kl = run.history
    assert loss[0] == pytest.approx(math.log(2), abs=1e-15)
    assert kl[0] == pytest.approx(np.sum(optimum * np.log(optimum / UNIFORM)), rel=1e-12)
    assert len(loss) == len(kl)
    assert (np.diff(loss) <= 1e-15).all()
    p = population(REWARD)[population(REWARD) > 0]
    assert loss[-1] == pytest.approx(-(p @ np.log(p)) / p.sum(), rel=1e-12)


def test_transformer_finds_the_optimum_of_the_population_loss():
    space = SequenceSpace(3, 2, end_token=True)
    rng = np.random.default_rng(0)
    reward, ref = rng.normal(size=(2, space.size)), rng.dirichlet(np.ones(space.size), size=2)
    optimum = gibbs(reward, ref, 0.5)
    policy = TinyTransformer(space, prompts=2, width=16)
    run = train_dpo(
        policy, ref, population(reward), beta=0.5, optimum=optimum, device="cpu", steps=800
    )
    assert run.converged
    assert run.history.kl[-1] <= 1e-12


def sharp(vocabulary: int, length: int, seed: int) -> tuple[SequenceSpace, np.ndarray, np.ndarray]:
    """A space, rewards of spread 3, and a reference: with beta = 0.2, no easy run for AdamW."""
    space, rng = SequenceSpace(vocabulary, length), np.random.default_rng(seed)
    return space, rng.normal(scale=3, size=space.size), rng.dirichlet(np.ones(space.size))


def test_a_network_lands_by_its_last_steps_where_adamw_stops_short():
    space, reward, ref = sharp(2, 4, seed=8)
    optimum = gibbs(reward, ref, 0.2)[None]
    kl = {}
    for steps in (None, 1000):
        run = train_dpo(
            TinyTransformer(space, layers=1, width=16), ref, population(reward),
            beta=0.2, optimum=optimum, device="cpu", steps=steps,
        )  # fmt: skip
        assert run.converged == (steps is None)
        kl[steps] = run.history.kl[-1]
    assert kl[None] <= 1e-12 < 1e-9 <= kl[1000]


def test_the_last_steps_of_token_means_end_where_newtons_end():
    space, rng = SequenceSpace(2, 3, end_token=True), np.random.default_rng(2)
    reward, ref = rng.normal(size=(2, space.size)), rng.dirichlet(np.ones(space.size), size=2)
    keywords = {"beta": 0.5, "device": "cpu", "lengths": space.lengths}
    table = train_dpo(TabularPolicy(ref), ref, population(reward), **keywords)
    neural = TinyTransformer(space, prompts=2, layers=1, width=8)
    run = train_dpo(neural, ref, population(reward), **keywords)
    assert run.converged
    np.testing.assert_allclose(run.log_probs, table.log_probs, atol=1e-9)


@pytest.mark.parametrize("lengths", [None, [1, 2, 3]])
def test_slope_and_hessian_of_the_last_steps_are_autograds(lengths):
    policy, ref = TinyTransformer(SequenceSpace(3, 1), prompts=2, layers=1, width=8), np.ones(3) / 3
    rewards = np.array([[0.0, 1.0, 3.0], [2.0, 0.5, 0.0]])
    keywords = {"beta": 0.7, "device": "cpu", "lengths": lengths}
    fit = Fit(policy, np.tile(ref, (2, 1)), population(rewards), **keywords)

    def loss(flat):
        return fit.weight @ fit.pair_loss(*fit.scores(flat.view(2, 3)))

    at = policy.log_probs().detach().flatten()
    seen = _pull_back._look(fit, _newton.NewtonSteps(fit))
    slope = torch.autograd.functional.jacobian(loss, at)
    torch.testing.assert_close(seen.slope, slope, rtol=1e-12, atol=1e-14)
    hessian = torch.autograd.functional.hessian(loss, at)
    found = _pull_back._hessian(fit, seen.curvature)
    torch.testing.assert_close(found, hessian, rtol=1e-10, atol=1e-13)


def test_a_last_step_that_does_not_go_down_is_taken_back(monkeypatch):
    space, reward, ref = sharp(2, 2, seed=0)
    policy = TinyTransformer(space, layers=1, width=8)
    fit = Fit(policy, ref, population(reward), beta=0.2, device="cpu")
    monkeypatch.setattr(_pull_back, "_lower", lambda *_: False)
    before = [weight.detach().clone() for weight in policy.parameters()]
    _pull_back.finish(fit, 0.0)
    assert all(map(torch.equal, before, policy.parameters()))


def test_a_loss_of_more_than_differences_has_no_last_steps():
    def with_likelihood(w, v, ref_w, ref_v, **keywords):
        return losses.dpo_loss(w, v, ref_w, ref_v, **keywords) - w

    policy = TinyTransformer(SequenceSpace(2, 1), layers=1, width=8)
    fit = Fit(policy, [0.5, 0.5], [[0, 3], [1, 0]], beta=1.0, device="cpu", loss=with_likelihood)
    before = [weight.detach().clone() for weight in policy.parameters()]
    _pull_back.finish(fit, 0.0)
    assert all(map(torch.equal, before, policy.parameters()))


def test_token_mean_has_the_optimum_tilted_by_length():
    space, rng = SequenceSpace(3, 4, end_token=True), np.random.default_rng(1)
    reward, beta = rng.normal(scale=3, size=space.size), 0.3
    ref = rng.dirichlet(np.ones(space.size))
    run = train_table(ref, population(reward), beta=beta, lengths=space.lengths)
    assert run.converged
    assert len(run.history.loss) < 30
    # Claim T2: log pi - log ref = length (r/beta + c), with c fixed by normalisation.
    tilt = (run.log_probs[0] - np.log(ref)) / space.lengths - reward / beta
    assert np.ptp(tilt) < 1e-10
    assert np.exp(run.log_probs).sum() == pytest.approx(1, abs=1e-12)
    assert np.abs(run.log_probs[0] - np.log(gibbs(reward, ref, beta))).max() > 1


def test_token_mean_is_the_same_optimum_for_a_table_by_newton_and_a_transformer():
    space = SequenceSpace(2, 2, end_token=True)
    reward, ref = np.array([0.0, 0.4, 1.0]), np.full(3, 1 / 3)
    keywords = {"beta": 0.5, "device": "cpu", "lengths": space.lengths}
    table = train_dpo(TabularPolicy(ref), ref, population(reward), **keywords)
    neural = TinyTransformer(space, layers=1, width=8)
    run = train_dpo(neural, ref, population(reward), steps=500, **keywords)
    assert np.abs(run.log_probs - table.log_probs).max() < 1e-6


def test_log_linear_policy_with_a_feature_for_each_response_is_complete():
    optimum = gibbs(REWARD, UNIFORM, 0.5)
    policy = LogLinearPolicy(np.eye(4), UNIFORM)
    run = train_dpo(policy, UNIFORM, population(REWARD), beta=0.5, device="cpu", optimum=optimum)
    assert run.converged
    assert run.history.kl[-1] <= 1e-12


def test_gradient_steps_do_not_depend_on_the_unit_of_reward():
    runs = [
        train_dpo(
            LogLinearPolicy(np.eye(4), UNIFORM),
            UNIFORM,
            population(unit * REWARD),
            beta=unit,
            device="cpu",
            steps=1500,
        )
        for unit in (1.0, 1e-4)
    ]
    for run in runs:
        assert np.abs(np.exp(run.log_probs) - gibbs(REWARD, UNIFORM, 1.0)).max() < 1e-6


@pytest.mark.parametrize("beta", [1e-2, 0.2, 5.0])
def test_shared_features_that_can_hold_the_optimum_find_it_at_every_beta(beta):
    rng = np.random.default_rng(0)
    ref, features = np.array([0.4, 0.3, 0.2, 0.1]), rng.normal(size=(4, 4))
    policy = LogLinearPolicy(features, ref)
    run = train_dpo(policy, ref, population(REWARD), beta=beta, device="cpu")
    assert run.converged
    implicit = beta * (run.log_probs[0] - np.log(ref))
    assert np.abs(np.diff(implicit) - np.diff(REWARD)).max() < 1e-9


def test_few_shared_features_end_where_the_slope_in_each_is_zero():
    features = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.5, -1.0, 0.0]])
    policy, votes = LogLinearPolicy(features, UNIFORM), population(REWARD)
    run = train_dpo(policy, UNIFORM, votes, beta=0.5, device="cpu")
    assert run.converged
    assert policy.theta[2] == 0  # no vote says anything about an empty feature

    def mean_loss(theta):
        s = 0.5 * (features @ theta)
        return (votes * np.logaddexp(0, s[None, :] - s[:, None])).sum()

    theta = policy.theta.detach().numpy()
    moves = 1e-5 * np.eye(3)
    slopes = [(mean_loss(theta + m) - mean_loss(theta - m)) / 2e-5 for m in moves]
    assert np.abs(slopes).max() < 1e-9


def test_separable_votes_on_features_do_not_converge_and_stay_finite():
    policy = LogLinearPolicy([[0.0], [1.0], [2.0]], np.full(3, 1 / 3))
    votes = np.array([[0.0, 0, 0], [3, 0, 0], [1, 0, 0]])
    run = train_dpo(policy, np.full(3, 1 / 3), votes, beta=0.5, device="cpu")
    assert not run.converged
    assert np.isfinite(run.log_probs).all()
    assert len(run.history.loss) == 61


def test_features_under_a_hinge_are_trained_by_gradients():
    policy = LogLinearPolicy([[0.0], [1.0]], [0.5, 0.5])
    run = train_dpo(policy, [0.5, 0.5], [[0, 1], [3, 0]], beta=1.0, loss=hinge, device="cpu")
    assert len(run.history.loss) > 1000
    assert 0.9 < run.log_probs[0, 1] - run.log_probs[0, 0] < 1.1  # the hinge lets go at s = 1


# --- sampled votes -------------------------------------------------------------------------------


def test_table_agrees_with_bradley_terry_and_with_choix():
    wins = np.random.default_rng(4).integers(1, 30, size=(5, 5)) * (1.0 - np.eye(5))
    ref = np.array([0.4, 0.3, 0.1, 0.1, 0.1])
    found = centred_reward(train_table(ref, wins, beta=0.3), ref, 0.3)[0]
    peer = choix.ilsr_pairwise_dense(wins, tol=1e-13, max_iter=1000)
    assert np.abs(found - preferences.fit_bradley_terry(wins)).max() < 1e-10
    assert np.abs(found - (peer - peer.mean())).max() < 1e-10


def test_expected_wins_equal_observed_wins():
    wins = np.random.default_rng(5).integers(1, 9, size=(3, 4, 4)) * (1.0 - np.eye(4))
    reward = centred_reward(train_table(np.full((3, 4), 0.25), wins), UNIFORM, 1.0)
    expected = ((wins + wins.swapaxes(1, 2)) * population(reward)).sum(axis=2)
    assert np.abs(expected - wins.sum(axis=2)).max() < 1e-9


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
@pytest.mark.parametrize("beta", [1e-3, 1e3])
def test_scaling_all_votes_changes_nothing(scale, beta):
    wins = np.array([[0, 3.0, 1], [2, 0, 5], [4, 1, 0]])
    ref = np.array([0.2, 0.3, 0.5])
    found = centred_reward(train_table(ref, scale * wins, beta=beta), ref, beta)
    assert np.abs(found - preferences.fit_bradley_terry(wins)).max() < 1e-10


def test_counts_of_very_different_size_in_one_array_are_resolved():
    wins = 10 ** np.random.default_rng(6).uniform(-6, 9, size=(5, 5)) * (1 - np.eye(5))
    run = train_table(np.full(5, 0.2), wins)
    assert run.converged
    found = centred_reward(run, np.full(5, 0.2), 1.0)
    assert np.abs(found - preferences.fit_bradley_terry(wins)).max() < 1e-10


def test_votes_their_permutation_and_their_counts_give_the_same_policy():
    pairs = draw_votes(300)
    order = np.random.default_rng(1).permutation(300)
    shuffled = PreferencePairs(pairs.prompt[order], pairs.chosen[order], pairs.rejected[order])
    counted = preferences.count_wins(pairs, (1, 4))
    runs = [train_table(UNIFORM, votes) for votes in (pairs, shuffled, counted, counted[0])]
    for run in runs[1:]:
        assert np.array_equal(run.log_probs, runs[0].log_probs)
        assert np.array_equal(run.history.loss, runs[0].history.loss)


def test_a_step_costs_the_same_for_a_hundred_and_a_hundred_thousand_votes():
    for policy in (TabularPolicy(UNIFORM), TinyTransformer(SequenceSpace(4, 1), width=8)):
        start = {name: value.clone() for name, value in policy.state_dict().items()}
        counted = []
        for size in (100, 100_000):
            policy.load_state_dict(start)
            loss = CountingLoss()
            steps = 20 if isinstance(policy, TinyTransformer) else None
            train_dpo(
                policy, UNIFORM, draw_votes(size), beta=1.0, device="cpu", loss=loss, steps=steps
            )
            counted.append(loss)
        assert counted[0].pairs == counted[1].pairs == 12
        assert abs(counted[0].calls - counted[1].calls) <= 6


def test_label_smoothing_pulls_in_one_sided_votes():
    run = train_table([0.5, 0.5], [[0, 1], [0, 0]], label_smoothing=0.1)
    assert run.converged
    assert np.diff(run.log_probs)[0, 0] == pytest.approx(-math.log(9), rel=1e-12)


def test_another_convex_loss_is_minimised():
    # IPO: the mean of (h - 1/(2 beta))^2 over wins and losses is least at (p - q)/(2 beta).
    run = train_table([0.5, 0.5], [[0, 3], [1, 0]], loss=ipo, beta=0.1)
    assert run.converged
    assert np.diff(run.log_probs)[0, 0] == pytest.approx(-0.5 / 0.2, rel=1e-12)


def test_a_loss_without_curvature_is_left_to_gradient_steps():
    run = train_table([0.5, 0.5], [[0, 3], [1, 0]], loss=hinge)
    assert len(run.history.loss) > 1000
    # 3 relu(1 - s) + relu(1 + s) is least at s = 1.
    assert np.diff(run.log_probs)[0, 0] == pytest.approx(-1, abs=1e-2)


def test_derivatives_are_those_of_each_pair_in_its_difference():
    chosen, rejected = (
        torch.tensor([1.0, 2.0, 0.5]).double(),
        torch.tensor([0.5, 4.0, 0.5]).double(),
    )
    slope, curvature = _newton.derivatives(lambda w, v: (w - v) ** 3, chosen, rejected)
    assert slope.tolist() == [0.75, 12.0, 0.0]
    assert curvature.tolist() == [3.0, -12.0, 0.0]


def test_a_slope_that_depends_on_something_else_has_no_curvature():
    scale, pair = torch.tensor(2.0, requires_grad=True), torch.tensor([0.5, 1.0])
    slope, curvature = _newton.derivatives(lambda w, v: scale * (v - w), pair, pair)
    assert slope.tolist() == [-2, -2] and curvature.tolist() == [0, 0]


def test_a_loss_of_the_winner_alone_is_not_a_function_of_the_difference():
    pair = torch.tensor([0.5, 1.0])
    with pytest.raises(ValueError, match="loss: expected a function of the difference"):
        _newton.derivatives(lambda w, v: w**2, pair, pair)


def test_a_step_that_changes_rewards_by_d_is_shortened_by_log_of_one_plus_d_over_d():
    direction = torch.tensor([[0.0, 0.0], [0.5, -0.5], [2.0**-10, 0.0], [-7.0, 3.0]]).double()
    found = _newton.damping(direction, beta=0.5)[:, 0].tolist()
    changes = [0.5, 2.0**-11, 5.0]
    assert found == pytest.approx([1, *(math.log1p(d) / d for d in changes)], rel=1e-14)


def test_a_newton_step_is_slope_over_curvature_and_there_is_none_if_one_prompt_has_none():
    ref, votes = np.full((2, 2), 0.5), [[[0, 1], [0, 0]], [[0, 0], [3, 0]]]
    steps = _newton.NewtonSteps(Fit(TabularPolicy(ref), ref, votes, beta=1.0, device="cpu"))
    slope = torch.tensor([1.0, -2.0]).double()
    found = steps.direction(slope, torch.tensor([2.0, 0.5]).double())
    assert found.flatten().tolist() == pytest.approx([-0.25, 0.25, -2, 2], rel=1e-14)
    for flat in ([0.0, 0.5], [2.0, 0.0], [0.0, 0.0]):
        assert steps.direction(slope, torch.tensor(flat).double()) is None


def test_a_loss_flat_at_one_prompt_only_is_left_to_gradient_steps():
    policy = TabularPolicy(np.full((2, 2), 0.5))
    with torch.no_grad():
        policy.theta += torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    wins = [[[0, 1], [3, 0]], [[0, 1], [0, 0]]]  # the second prompt's vote is content already

    def squared(*log_probs, **keywords):
        return hinge(*log_probs, **keywords) ** 2

    run = train_dpo(policy, np.full((2, 2), 0.5), wins, beta=1.0, device="cpu", loss=squared)
    assert len(run.history.loss) > 1000
    # 3 relu(1 - s)^2 + relu(1 + s)^2 is least at s = 1/2; the other policy stays where it was.
    assert np.diff(run.log_probs)[:, 0] == pytest.approx([0.5, -4.0], abs=1e-6)


def test_a_loss_of_constant_slope_has_no_minimum_and_is_not_called_converged():
    def linear(w, v, ref_w, ref_v, **keywords):
        return v - w

    run = train_table([0.5, 0.5], [[0, 3], [1, 0]], loss=linear)
    assert np.isfinite(run.log_probs).all()
    assert not run.converged


def test_a_table_asked_for_steps_or_a_rate_is_trained_by_gradients_too():
    newton = train_table(UNIFORM, population(REWARD))
    adam = train_table(UNIFORM, population(REWARD), steps=1500)
    rate = train_table(UNIFORM, population(REWARD), learning_rate=0.05)
    assert len(newton.history.loss) < 20 < len(adam.history.loss) == 1501
    assert adam.converged
    assert np.abs(adam.log_probs - newton.log_probs).max() < 1e-6
    assert np.abs(rate.log_probs - newton.log_probs).max() < 1e-6


def test_a_reference_policy_may_be_a_module_or_the_policy_itself():
    ref = np.array([0.1, 0.2, 0.3, 0.4])
    expected = train_table(ref, population(REWARD)).log_probs
    policy = TabularPolicy(ref)
    for trained, module in ((TabularPolicy(ref), TabularPolicy(ref)), (policy, policy)):
        run = train_dpo(trained, module, population(REWARD), beta=1.0, device="cpu")
        assert np.abs(run.log_probs - expected).max() < 1e-14


def annealed(start: float, rate: float, steps: int, slope: Callable[[float], float]) -> list[float]:
    """AdamW on one number by hand, under a one-cycle rate: where it was before each step."""

    def cosine(a: float, b: float, share: float) -> float:
        return b + (a - b) * (1 + math.cos(math.pi * share)) / 2

    seen, theta, mean, square, rise = [], start, 0.0, 0.0, 0.1 * steps - 1
    for k in range(steps):
        eta = cosine(rate / 25, rate, k / rise)
        if k > rise:
            eta = cosine(rate, rate / 25e6, (k - rise) / (steps - 1 - rise))
        seen.append(theta)
        g = slope(theta)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        root = math.sqrt(square / (1 - 0.999 ** (k + 1)))
        theta -= eta * mean / (1 - 0.9 ** (k + 1)) / (root + 1e-16)
    return [*seen, theta]


def test_gradient_steps_are_adam_under_one_cycle_without_decay_to_the_last_digit():
    class Half(TabularPolicy):
        """Only the second response's theta is free."""

        def log_probs(self) -> torch.Tensor:
            half = self.theta[:, 1:]
            return nn.functional.log_softmax(torch.cat([0 * half, half], dim=1), dim=-1)

    beta, steps, policy = 1e-5, 60, Half([0.5, 0.5])
    with torch.no_grad():
        policy.theta += 3.0
    run = train_dpo(
        *(policy, [0.5, 0.5], [[0, 1], [3, 0]]),
        beta=beta,
        device="cpu",
        steps=steps,
        learning_rate=0.2,
    )

    def slope(theta: float) -> float:
        win = 1 / (1 + math.exp(-beta * theta))
        return beta * (win - 0.75)

    theta = annealed(3.0, 0.2, steps, slope)
    losses_ = [
        0.75 * math.log1p(math.exp(-beta * t)) + 0.25 * math.log1p(math.exp(beta * t))
        for t in theta
    ]
    assert run.history.loss.tolist() == pytest.approx(losses_, rel=1e-14)
    assert np.diff(run.log_probs)[0, 0] == pytest.approx(theta[-1], rel=1e-9)


def test_the_default_schedule_is_a_thousand_steps_up_to_a_hundredth():
    seen = [
        train_table(UNIFORM, population(REWARD), **keywords).log_probs
        for keywords in (
            {"steps": 1000},
            {"learning_rate": 0.01},
            {"steps": 1000, "learning_rate": 0.01},
        )
    ]
    assert np.array_equal(seen[0], seen[2]) and np.array_equal(seen[1], seen[2])


def test_a_parameter_that_does_nothing_is_left_alone():
    policy = TabularPolicy(UNIFORM)
    policy.idle = nn.Parameter(torch.ones(2))
    run = train_dpo(policy, UNIFORM, population(REWARD), beta=1.0, device="cpu", steps=5)
    assert policy.idle.tolist() == [1, 1] and not run.converged


def test_the_reference_of_the_loss_may_differ_from_that_of_the_policy():
    ref, other = np.array([0.1, 0.2, 0.3, 0.4]), UNIFORM
    run = train_dpo(TabularPolicy(other), ref, population(REWARD), beta=1.0, device="cpu")
    assert np.abs(np.exp(run.log_probs) - gibbs(REWARD, ref, 1.0)).max() < 1e-12


def test_the_policy_is_trained_in_place():
    policy = TabularPolicy(UNIFORM)
    run = train_dpo(policy, UNIFORM, population(REWARD), beta=1.0, device="cpu")
    assert np.array_equal(policy.log_probs().detach().numpy(), run.log_probs)
    assert policy.theta.grad is None


# --- votes that do not determine the policy ------------------------------------------------------


def test_separable_votes_stop_far_out_and_are_not_called_converged():
    run = train_table(np.full(3, 1 / 3), [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert not run.converged
    assert np.isfinite(run.log_probs).all()
    assert (np.diff(run.log_probs) < -10).all()
    assert run.history.loss[-1] < 1e-6


def test_separable_votes_that_a_loss_is_content_with_converge():
    run = train_table([0.5, 0.5], [[0, 1], [0, 0]], loss=hinge)
    assert run.history.loss[-1] == 0
    assert run.converged


def test_a_loss_that_looks_at_winners_alone_is_trained_to_their_frequencies():
    def winners(*log_probs, **keywords):
        return losses.sft_loss(*log_probs[:2], **keywords)

    votes = [[0, 3, 1], [1, 0, 2], [3, 2, 0]]
    run = fit_table([0.2, 0.3, 0.5], votes, beta=0.5, loss=winners, learning_rate=0.1)
    assert np.exp(run.log_probs[0]).tolist() == pytest.approx([4 / 12, 3 / 12, 5 / 12], abs=1e-9)


@pytest.mark.parametrize("beta", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("loss", "away"), [(losses.dpo_loss, True), (hinge, False)])
def test_separable_votes_run_away_at_every_beta_unless_the_loss_lets_go(beta, loss, away):
    half, vote = [0.5, 0.5], [[0, 1], [0, 0]]
    fit = Fit(TabularPolicy(half), half, vote, beta=beta, device="cpu", loss=loss)
    assert fit.runs_away().tolist() == [away]


def test_only_the_separable_prompt_runs_away():
    wins = [[[0, 1.0], [0, 0]], [[0, 1.0], [3, 0]]]
    run = train_table(np.full((2, 2), 0.5), wins)
    assert not run.converged
    assert run.log_probs[0, 1] < -10
    assert np.exp(run.log_probs[1]).tolist() == pytest.approx([0.25, 0.75], abs=1e-12)


def test_separable_votes_are_not_called_converged_even_where_the_gradient_has_vanished():
    run = minibatch_dpo(
        TabularPolicy([0.5, 0.5]),
        [0.5, 0.5],
        PreferencePairs([0], [1], [0]),
        beta=1.0,
        learning_rate=1e6,
        batch_size=1,
        epochs=1,
        rng=np.random.default_rng(0),
        device="cpu",
    )
    assert run.history.loss[-1] == 0
    assert not run.converged


def test_gradient_steps_that_stop_early_are_not_called_converged():
    assert not train_table(UNIFORM, population(REWARD), steps=5).converged


def test_disconnected_comparisons_leave_the_rest_at_the_reference():
    wins = np.zeros((6, 6))
    wins[0, 1], wins[1, 0], wins[3, 4], wins[4, 3] = 1, 3, 1, 2
    policy = TabularPolicy(np.full(6, 1 / 6))
    run = train_dpo(policy, np.full(6, 1 / 6), wins, beta=1.0, device="cpu")
    assert run.converged
    half = np.log([3, 2]) / 2
    expected = [-half[0], half[0], 0, -half[1], half[1], 0]
    assert np.abs(policy.theta.detach().numpy()[0] - expected).max() < 1e-14


def test_votes_in_a_circle_leave_the_policy_at_the_reference():
    run = train_table(np.full(3, 1 / 3), [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert run.converged
    assert np.exp(run.log_probs[0]).tolist() == pytest.approx([1 / 3] * 3, abs=1e-15)


def test_responses_outside_the_support_of_the_reference_stay_there():
    ref = np.array([0.5, 0.0, 0.5])
    run = train_table(ref, [[0, 0, 1], [0, 0, 0], [3, 0, 0]])
    assert run.converged
    assert np.exp(run.log_probs[0]).tolist() == pytest.approx([0.25, 0, 0.75], abs=1e-12)


def test_newton_goes_on_until_a_step_is_smaller_than_the_smallest(monkeypatch):
    sizes, direction = [], _newton.NewtonSteps.direction

    def watched(self, *arguments):
        found = direction(self, *arguments)
        sizes.append(found.abs().max().item())
        return found

    monkeypatch.setattr(_newton.NewtonSteps, "direction", watched)
    train_table(UNIFORM, population(REWARD))
    for smallest, steps in ((sizes[2], 4), (np.nextafter(sizes[2], 1), 3)):
        monkeypatch.setattr(_newton, "_smallest_step", lambda *_, s=smallest: s)
        assert len(train_table(UNIFORM, population(REWARD)).history.loss) == steps + 1


@pytest.mark.parametrize(("dtype", "eps"), [(torch.float64, 2.0**-52), (torch.float32, 2.0**-23)])
def test_the_smallest_step_is_eight_roundings_of_the_largest_score(dtype, eps):
    score, zero = torch.tensor([-1e9, -1.0, -3.0], dtype=dtype), torch.zeros(3, dtype=dtype)
    for scores in ((score, -score / 2), (-score / 2, score)):
        assert _newton._smallest_step(0.5, scores) == pytest.approx(8 * eps * 0.5 * 1e9)
    assert _newton._smallest_step(0.5, (zero, zero)) == 1e-10


def test_a_table_that_cannot_settle_says_so(monkeypatch):
    monkeypatch.setattr(_newton, "MOST_STEPS", 2)
    run = train_table(UNIFORM, population(REWARD))
    assert not run.converged
    assert len(run.history.loss) == 3


# --- a table in one call -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"beta": 0.1},
        {"loss": ipo},
        {"label_smoothing": 0.2},
        {"lengths": [1, 2, 3, 4]},
        {"optimum": gibbs(REWARD, UNIFORM, 1.0)},
        {"steps": 5},
        {"learning_rate": 0.1},
    ],
    ids=" ".join,
)
def test_a_fitted_table_takes_the_steps_of_a_table_trained_from_its_reference(how):
    ref, how = np.array([0.1, 0.2, 0.3, 0.4]), {"beta": 1.0} | how
    run, by_hand = fit_table(ref, draw_votes(50), **how), train_table(ref, draw_votes(50), **how)
    assert np.array_equal(run.log_probs, by_hand.log_probs)
    for found, expected in zip(run.history, by_hand.history, strict=True):
        assert np.array_equal(found, expected)
    assert run.converged == by_hand.converged


def test_a_fitted_table_holds_the_rewards_of_bradley_terry_at_every_prompt():
    wins = np.random.default_rng(8).integers(1, 30, size=(3, 5, 5)) * (1.0 - np.eye(5))
    ref = np.random.default_rng(9).dirichlet(np.ones(5), size=3)
    found = centred_reward(fit_table(ref, wins, beta=0.3), ref, 0.3)
    assert np.abs(found - preferences.fit_bradley_terry(wins)).max() < 1e-10


def test_a_table_is_fitted_on_the_cpu_unless_another_device_is_named(monkeypatch):
    monkeypatch.setenv("DPO_EDU_DEVICE", "nonsense")
    assert fit_table(UNIFORM, WINS, beta=1.0).device == "cpu"
    with pytest.raises(ValueError, match="DPO_EDU_DEVICE: expected 'auto' or a device"):
        fit_table(UNIFORM, WINS, beta=1.0, device="auto")


def test_a_reference_without_rows_of_probabilities_fits_no_table():
    with pytest.raises(ValueError, match="ref: expected rows summing to 1"):
        fit_table([0.5, 0.6], [[0, 1], [3, 0]], beta=1.0)


# --- the pseudocode of source A ------------------------------------------------------------------


def test_pseudocode_hovers_about_the_sampled_optimum_nearer_at_smaller_rates():
    pairs = draw_votes(1000)
    optimum = np.exp(train_table(UNIFORM, pairs).log_probs)
    distance = []
    for rate in (5.0, 1.0, 0.2):
        run = minibatch_dpo(
            TabularPolicy(UNIFORM),
            UNIFORM,
            pairs,
            beta=1.0,
            learning_rate=rate,
            batch_size=50,
            epochs=30,
            rng=np.random.default_rng(0),
            optimum=optimum,
            device="cpu",
        )
        distance.append(run.history.kl[300:].mean())
        assert len(run.history.kl) == 601
        assert not run.converged
    assert distance[0] > 3 * distance[1] > 9 * distance[2] > 0


def test_pseudocode_with_the_full_batch_is_gradient_descent_and_converges():
    pairs, policy, by_hand = draw_votes(400), TabularPolicy(UNIFORM), np.zeros(4)
    keywords = {"beta": 1.0, "batch_size": 1000, "rng": np.random.default_rng(0), "device": "cpu"}
    minibatch_dpo(policy, UNIFORM, pairs, learning_rate=2.0, epochs=3, **keywords)
    wins = preferences.count_wins(pairs, (1, 4))[0] / 400
    for _ in range(3):
        lose = 1 / (1 + np.exp(by_hand[:, None] - by_hand))
        by_hand = by_hand + 2.0 * ((wins * lose).sum(axis=1) - (wins * lose).sum(axis=0))
    assert np.abs(policy.theta.detach().numpy()[0] - by_hand).max() < 1e-14
    run = minibatch_dpo(policy, UNIFORM, pairs, learning_rate=5.0, epochs=500, **keywords)
    assert run.converged
    assert np.abs(run.log_probs - train_table(UNIFORM, pairs).log_probs).max() < 1e-5


def test_pseudocode_visits_every_vote_once_in_an_epoch():
    run = minibatch_dpo(
        TabularPolicy(UNIFORM),
        UNIFORM,
        draw_votes(10),
        beta=1.0,
        learning_rate=0.1,
        batch_size=4,
        epochs=2,
        rng=np.random.default_rng(0),
        device="cpu",
    )
    assert len(run.history.loss) == 2 * 3 + 1
    assert run.history.kl is None


def test_pseudocode_follows_its_generator():
    def once(seed: int) -> np.ndarray:
        return minibatch_dpo(
            TabularPolicy(UNIFORM),
            UNIFORM,
            draw_votes(50),
            beta=1.0,
            learning_rate=1.0,
            batch_size=5,
            epochs=1,
            rng=np.random.default_rng(seed),
            device="cpu",
        ).log_probs

    assert np.array_equal(once(0), once(0))
    assert not np.array_equal(once(0), once(1))


# --- devices and global state --------------------------------------------------------------------


def test_training_leaves_torch_alone():
    torch.manual_seed(3)
    before = (torch.get_rng_state().clone(), torch.get_default_dtype(), torch.get_num_threads())
    np.random.seed(3)  # noqa: NPY002
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    train_table(UNIFORM, population(REWARD))
    train_dpo(
        TinyTransformer(SequenceSpace(4, 1), width=8),
        UNIFORM,
        population(REWARD),
        beta=1.0,
        device="cpu",
        steps=5,
    )
    after = (torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_nothing_is_written_on_stderr_unless_asked_for(capfd):
    train_table(UNIFORM, population(REWARD))
    train_table(UNIFORM, population(REWARD), steps=20)
    train_table(UNIFORM, population(REWARD), steps=20, progress=True)
    assert capfd.readouterr() == ("", "")


def test_progress_is_shown_from_two_seconds_on(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert _run.bar(3, progress=True).disable
    monkeypatch.delenv("TQDM_DISABLE")
    bar = _run.bar(3, progress=True)
    assert (bar.delay, len(bar), _run.bar(3, progress=False).disable) == (2, 3, True)


def test_progress_of_long_runs_is_shown_when_asked_for(capfd, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr("dpo_edu._run.PROGRESS_DELAY", 0.0)
    train_table(UNIFORM, population(REWARD), steps=20, progress=True)
    assert "20/20" in capfd.readouterr().err


def test_run_says_where_and_how_long(monkeypatch):
    monkeypatch.delenv("DPO_EDU_DEVICE", raising=False)
    run = train_table(UNIFORM, population(REWARD))
    assert run.device == "cpu"
    assert 0 < run.seconds < 60
    assert run.log_probs.dtype == np.float64
    assert run.log_probs.shape == (1, 4)
    auto = train_table(UNIFORM, population(REWARD), device="auto").device
    assert auto == ("cuda:0" if torch.cuda.is_available() else "cpu")


def test_environment_replaces_auto_and_never_an_explicit_device(monkeypatch):
    monkeypatch.setenv("DPO_EDU_DEVICE", "cpu")
    assert train_table(UNIFORM, population(REWARD), device="auto").device == "cpu"
    monkeypatch.setenv("DPO_EDU_DEVICE", "nonsense")
    with pytest.raises(
        ValueError, match="DPO_EDU_DEVICE: expected 'auto' or a device of this machine"
    ):
        train_table(UNIFORM, population(REWARD), device="auto")
    assert train_table(UNIFORM, population(REWARD), device="cpu").device == "cpu"
    assert train_table(UNIFORM, population(REWARD), device=torch.device("cpu")).device == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:1", "meta", "", 3.5, None])
def test_devices_that_do_not_exist_are_refused(device):
    with pytest.raises(
        ValueError, match=r"device: expected 'auto' or a device of this machine \('cpu'"
    ):
        train_table(UNIFORM, population(REWARD), device=device)


@pytest.mark.parametrize("steps", [None, 1500])
@pytest.mark.parametrize("device", DEVICES)
def test_float32_policies_are_trained_as_far_as_float32_goes(device, steps):
    policy = TabularPolicy(UNIFORM).float()
    run = train_dpo(policy, UNIFORM, population(REWARD), beta=1.0, device=device, steps=steps)
    assert policy.theta.dtype == torch.float32
    assert run.log_probs.dtype == np.float64
    assert np.abs(np.exp(run.log_probs) - gibbs(REWARD, UNIFORM, 1.0)).max() < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize(
    "make",
    [
        lambda: TabularPolicy(UNIFORM),
        lambda: LogLinearPolicy(np.eye(4), UNIFORM),
        lambda: TinyTransformer(SequenceSpace(4, 1), width=8),
    ],
)
def test_cpu_and_gpu_train_the_same_policy(make: Callable[[], nn.Module]):
    runs = [
        train_dpo(make(), UNIFORM, population(REWARD), beta=0.5, device=device)
        for device in ("cpu", "cuda")
    ]
    assert runs[1].device == "cuda:0"
    assert runs[0].converged
    assert runs[1].converged
    assert np.abs(runs[0].log_probs - runs[1].log_probs).max() < 1e-6


@pytest.mark.gpu
def test_pseudocode_runs_the_same_on_cpu_and_gpu():
    runs = [
        minibatch_dpo(
            TabularPolicy(UNIFORM),
            UNIFORM,
            draw_votes(200),
            beta=1.0,
            learning_rate=1.0,
            batch_size=20,
            epochs=3,
            rng=np.random.default_rng(0),
            device=device,
        )
        for device in ("cpu", "cuda")
    ]
    assert np.abs(runs[0].log_probs - runs[1].log_probs).max() < 1e-10


@pytest.mark.gpu
def test_auto_is_cuda_where_there_is_one_and_the_policy_stays_there(monkeypatch):
    monkeypatch.delenv("DPO_EDU_DEVICE", raising=False)
    policy = TabularPolicy(UNIFORM)
    run = train_dpo(policy, UNIFORM, population(REWARD), beta=0.5)
    assert run.device == "cuda:0"
    assert policy.theta.device.type == "cuda"


# --- bad input -----------------------------------------------------------------------------------

WINS = population(REWARD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": 0.0}, "beta: expected a finite number > 0, got 0.0"),
        ({"beta": math.inf}, "beta: expected a finite number > 0, got inf"),
        ({"ref": [0.5, 0.6]}, "ref: expected rows summing to 1"),
        ({"ref": [0.5, 0.5]}, r"ref: expected shape \(1, 4\) to fit policy, got shape \(1, 2\)"),
        ({"ref": TabularPolicy([0.5, 0.5])}, r"ref: expected shape \(1, 4\) to fit policy"),
        ({"ref": nn.Linear(1, 1)}, r"ref: expected a module with log_probs\(\), got Linear"),
        ({"policy": nn.Linear(1, 1)}, r"policy: expected a module with log_probs\(\), got Linear"),
        ({"policy": UNIFORM}, r"policy: expected a module with log_probs\(\), got ndarray"),
        ({"votes": np.zeros((4, 4))}, "preferences: expected at least one vote, got none"),
        ({"votes": -WINS}, "preferences: expected counts >= 0"),
        ({"votes": WINS * math.nan}, "preferences: expected finite numbers, got nan"),
        ({"votes": np.eye(4)}, "preferences: expected a zero diagonal"),
        ({"votes": WINS[:2]}, r"preferences: expected shape \(..., Y, Y\), got shape \(2, 4\)"),
        ({"votes": WINS[:3, :3]}, r"preferences: expected shape \(1, 4, 4\) to fit policy"),
        (
            {"votes": [WINS, WINS]},
            r"expected shape \(1, 4, 4\) to fit policy, got shape \(2, 4, 4\)",
        ),
        (
            {"votes": PreferencePairs([0], [4], [1])},
            "preferences: expected prompts < 1 and responses < 4, got prompt 0 and response 4",
        ),
        ({"votes": PreferencePairs([1], [0], [1])}, "got prompt 1 and response 1"),
        ({"optimum": [0.5, 0.6]}, "optimum: expected rows summing to 1"),
        ({"optimum": [0.5, 0.5]}, r"optimum: expected shape \(1, 4\) to fit policy"),
        ({"lengths": [1, 2]}, "lengths: expected 4 token counts > 0, one for each response, got"),
        ({"lengths": [0, 1, 1, 1]}, "lengths: expected 4 token counts > 0"),
        ({"steps": 0}, "steps: expected a whole number >= 1, got 0"),
        ({"learning_rate": -1.0}, "learning_rate: expected a finite number > 0, got -1.0"),
        ({"label_smoothing": 0.5}, r"label_smoothing: expected a number in \[0, 0.5\), got 0.5"),
    ],
)
def test_bad_input_is_refused_with_the_reason(change, message):
    call = {"policy": TabularPolicy(UNIFORM), "ref": UNIFORM, "votes": WINS, "beta": 1.0} | change
    policy, ref, votes = (call.pop(name) for name in ("policy", "ref", "votes"))
    with pytest.raises(ValueError, match=message):
        train_dpo(policy, ref, votes, device="cpu", **call)


@pytest.mark.parametrize(("name", "order"), [("ref", 1), ("policy", -1)])
def test_votes_on_responses_without_mass_are_refused(name, order):
    ref, policy = [[0.5, 0.0, 0.5], np.full(3, 1 / 3)][::order]
    message = f"preferences: expected votes on responses to which {name} gives mass, got a vote"
    with pytest.raises(ValueError, match=f"{message} on response 1 of prompt 0, which has none"):
        train_dpo(
            TabularPolicy(policy), ref, PreferencePairs([0], [1], [0]), beta=1.0, device="cpu"
        )


def test_of_several_votes_without_mass_the_first_is_named():
    ref = [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    votes = PreferencePairs([0, 0, 1], [0, 0, 1], [1, 2, 0])
    with pytest.raises(ValueError, match="got a vote on response 2 of prompt 0, which has none"):
        train_dpo(TabularPolicy(np.full((2, 3), 1 / 3)), ref, votes, beta=1.0, device="cpu")


def test_policies_that_give_nan_or_the_wrong_number_of_axes_are_refused():
    policy = TabularPolicy(UNIFORM)
    nn.init.constant_(policy.theta, math.nan)
    message = r"policy: expected log_probs\(\) of shape \(X, Y\) without nan, got "
    with pytest.raises(ValueError, match=message + "nan"):
        train_dpo(policy, UNIFORM, WINS, beta=1.0, device="cpu")
    policy.log_probs = lambda: torch.zeros(4)
    with pytest.raises(ValueError, match=message + r"shape \(4,\)"):
        train_dpo(policy, UNIFORM, WINS, beta=1.0, device="cpu")


@pytest.mark.parametrize("steps", [None, 5])
def test_losses_that_are_nan_or_no_list_of_pairs_are_refused(steps):
    def nan(*log_probs, **keywords):
        return losses.dpo_loss(*log_probs, **keywords) * math.nan

    def mean(*log_probs, **keywords):
        return losses.dpo_loss(*log_probs, **keywords).mean()

    with pytest.raises(ValueError, match="loss: expected finite values, got nan"):
        train_table(UNIFORM, WINS, loss=nan, steps=steps)
    message = r"loss: expected one value for each pair, shape \(12,\), got shape \(\)"
    with pytest.raises(ValueError, match=message):
        train_table(UNIFORM, WINS, loss=mean, steps=steps)


def test_newton_refuses_a_loss_of_more_than_the_difference():
    def with_likelihood(w, v, ref_w, ref_v, **keywords):
        return losses.dpo_loss(w, v, ref_w, ref_v, **keywords) - w

    with pytest.raises(ValueError, match="loss: expected a function of the difference of log-prob"):
        train_table(UNIFORM, WINS, loss=with_likelihood)
    assert np.isfinite(train_table(UNIFORM, WINS, loss=with_likelihood, steps=5).log_probs).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": WINS}, "pairs: expected PreferencePairs, got ndarray"),
        ({"rng": 0}, "rng: expected a numpy.random.Generator, got int"),
        ({"learning_rate": 0.0}, "learning_rate: expected a finite number > 0, got 0.0"),
        ({"batch_size": 0}, "batch_size: expected a whole number >= 1, got 0"),
        ({"epochs": 1.5}, "epochs: expected a whole number >= 1, got 1.5"),
        ({"beta": -1.0}, "beta: expected a finite number > 0, got -1.0"),
    ],
)
def test_bad_input_to_the_pseudocode_is_refused(change, message):
    good = {"pairs": draw_votes(5), "rng": np.random.default_rng(0), "learning_rate": 1.0}
    call = good | {"beta": 1.0, "batch_size": 2, "epochs": 1, "device": "cpu"} | change
    with pytest.raises(ValueError, match=message):
        minibatch_dpo(TabularPolicy(UNIFORM), UNIFORM, **call)
