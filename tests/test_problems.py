"""An alignment problem is checked when it is made and cannot be changed afterwards."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpo_edu import gibbs
from dpo_edu.problems import AlignmentProblem

REWARD, REF = [[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]], [0.5, 0.25, 0.25]


def refused(message):
    """The call raises a ValueError whose message begins like this."""
    return pytest.raises(ValueError, match="^" + re.escape(message))


def test_one_prompt_and_many_prompts():
    one = AlignmentProblem(REWARD[0], REF, beta=0.5)
    many = AlignmentProblem(REWARD, REF, beta=0.5)
    assert (one.reward.shape, one.ref.shape, one.log_partition.shape) == ((3,), (3,), ())
    assert (many.reward.shape, many.ref.shape, many.log_partition.shape) == ((2, 3), (2, 3), (2,))
    assert many.optimal_policy[0].tolist() == one.optimal_policy.tolist()


def test_one_reward_serves_many_references():
    refs = [[0.5, 0.5], [0.1, 0.9], [1.0, 0.0]]
    problem = AlignmentProblem([1.0, 2.0], refs, beta=1)
    assert problem.reward.tolist() == [[1.0, 2.0]] * 3
    assert problem.optimal_policy[2].tolist() == [1.0, 0.0]
    assert isinstance(problem.beta, float)


@given(st.integers(0, 10**6), st.floats(-3, 3).map(lambda power: 10.0**power))
def test_the_optimum_leaves_no_gap_and_attains_beta_log_z(seed, beta):
    rng = np.random.default_rng(seed)
    problem = AlignmentProblem(rng.normal(size=(2, 4)), rng.dirichlet(np.ones(4), 2), beta=beta)
    arguments = problem.optimal_policy, problem.reward, problem.ref
    gap = gibbs.optimality_gap(*arguments, beta=beta)
    assert gap == pytest.approx(0.0, abs=1e-24 * beta)
    best = gibbs.objective(*arguments, beta=beta)
    assert best == pytest.approx(beta * problem.log_partition, abs=1e-12 * (1 + beta))


def test_prompts_count_alike_unless_weighted():
    assert AlignmentProblem(REWARD, REF, beta=1.0).prompt_weights.tolist() == [0.5, 0.5]
    assert AlignmentProblem(REWARD[0], REF, beta=1.0).prompt_weights.tolist() == [1.0]
    weighted = AlignmentProblem(REWARD, REF, beta=1.0, prompt_weights=[0.25, 0.75])
    assert weighted.prompt_weights.tolist() == [0.25, 0.75]


@pytest.mark.parametrize("name", ["reward", "ref", "beta", "prompt_weights", "optimal_policy"])
def test_nothing_can_be_reassigned(name):
    problem = AlignmentProblem(REWARD, REF, beta=1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(problem, name, 1.0)


@pytest.mark.parametrize(
    "name", ["reward", "ref", "prompt_weights", "optimal_policy", "log_partition"]
)
def test_arrays_are_read_only(name):
    problem = AlignmentProblem(REWARD, REF, beta=1.0)
    with pytest.raises(ValueError, match="read-only"):
        getattr(problem, name)[...] = 0.0


def test_later_changes_of_the_arguments_do_not_reach_the_problem():
    reward, ref, weights = np.array(REWARD), np.array(REF), np.array([0.5, 0.5])
    problem = AlignmentProblem(reward, ref, beta=1.0, prompt_weights=weights)
    reward[:], ref[:], weights[:] = 7.0, [0.0, 0.0, 1.0], [1.0, 0.0]
    assert problem.reward.tolist() == REWARD
    assert problem.ref.tolist() == [REF, REF]
    assert problem.prompt_weights.tolist() == [0.5, 0.5]


def test_the_optimum_is_worked_out_once():
    problem = AlignmentProblem(REWARD, REF, beta=1.0)
    assert problem.optimal_policy is problem.optimal_policy
    assert problem.log_partition is problem.log_partition


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 0.0}, "beta: expected a finite number > 0, got 0.0"),
        ({"beta": float("nan")}, "beta: expected a finite number > 0, got nan"),
        ({"beta": "big"}, "beta: expected a finite number > 0, got 'big'"),
        ({"reward": [0.0, np.nan, 1.0]}, "reward: expected finite numbers, got nan"),
        ({"reward": 1.0}, "reward: expected an array (..., Y) with Y >= 1 responses"),
        ({"ref": [0.5, 0.5, 0.5]}, "ref: expected rows summing to 1, got a row summing to 1.5"),
        ({"ref": [1.5, -0.5, 0.0]}, "ref: expected probabilities >= 0, got -0.5"),
        ({"ref": [0.5, 0.5]}, "reward and ref: expected shapes that fit"),
        ({"ref": [1.0]}, "reward and ref: expected the same number of responses Y"),
        (
            {"reward": np.zeros((2, 2, 3))},
            "reward and ref: expected shape (Y,) or (X, Y), got shape (2, 2, 3)",
        ),
        ({"prompt_weights": [1.0]}, "prompt_weights: expected shape (2,), got shape (1,)"),
        ({"prompt_weights": [0.9, 0.2]}, "prompt_weights: expected rows summing to 1"),
        ({"prompt_weights": [1.1, -0.1]}, "prompt_weights: expected probabilities >= 0, got -0.1"),
        ({"prompt_weights": [np.nan, 1.0]}, "prompt_weights: expected finite numbers, got nan"),
    ],
)
def test_bad_input_is_refused_with_what_was_expected(arguments, message):
    given_ = {"reward": REWARD, "ref": REF, "beta": 1.0} | arguments
    with refused(message):
        AlignmentProblem(given_.pop("reward"), given_.pop("ref"), **given_)


def test_beta_and_weights_are_named():
    with pytest.raises(TypeError):
        AlignmentProblem(REWARD, REF, 1.0)
