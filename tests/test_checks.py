"""What is refused of every argument, at the boundary of what is not."""

import math
import re

import numpy as np
import pytest

from dpo_edu import _checks


def refused(message):
    """The call raises a ValueError with just this message."""
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("value", [5e-324, 1, np.float32(0.5), np.int64(3), 1.7e308])
def test_a_positive_number_of_any_kind_is_a_float(value):
    found = _checks.positive("x", value)
    assert type(found) is float and found == float(value)


@pytest.mark.parametrize("value", [0, -0.0, -1, math.inf, math.nan, True, np.True_, "1", 1j, None])
def test_what_is_not_positive_is_refused(value):
    with refused(f"x: expected a finite number > 0, got {value!r}"):
        _checks.positive("x", value)


def test_only_a_generator_is_a_source_of_randomness():
    rng = np.random.default_rng(0)
    assert _checks.generator(rng) is rng
    for value, kind in ((0, "int"), (None, "NoneType"), (np.random, "module")):
        with refused(f"rng: expected a numpy.random.Generator, got {kind}"):
            _checks.generator(value)


def test_arrays_of_several_shapes_are_refused_with_name_and_shape_of_each():
    row, column = np.zeros(3), np.zeros((3, 1))
    _checks.one_shape(a=row, b=row)
    with refused("a, b, c: expected one shape, got a (3,), b (3, 1), c (3,)"):
        _checks.one_shape(a=row, b=column, c=row)


@pytest.mark.parametrize("value", [1, 2, np.int8(7), np.uint64(2**63)])
def test_a_whole_number_of_any_kind_is_an_int(value):
    found = _checks.positive_int("x", value)
    assert type(found) is int and found == value


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None])
def test_what_is_not_a_whole_number_above_zero_is_refused(value):
    with refused(f"x: expected a whole number >= 1, got {value!r}"):
        _checks.positive_int("x", value)


@pytest.mark.parametrize(("value", "shape"), [(1.0, ()), ([], (0,)), (np.zeros((2, 0)), (2, 0))])
def test_an_array_has_a_last_axis_with_something_in_it(value, shape):
    with refused(f"x: expected an array (..., Y) with Y >= 1 responses, got shape {shape}"):
        _checks.array("x", value)


def test_an_array_may_have_no_prompts_and_may_be_infinite():
    assert _checks.array("x", np.zeros((0, 2))).shape == (0, 2)
    assert _checks.array("x", [-math.inf]).tolist() == [-math.inf]
    assert _checks.array("x", [1, 2]).dtype == np.float64


def test_the_first_number_that_is_not_finite_is_named():
    assert _checks.finite("x", [[0.0, 1.0]]).tolist() == [[0.0, 1.0]]
    with refused("x: expected finite numbers, got inf"):
        _checks.finite("x", [0.0, math.inf, math.nan])


@pytest.mark.parametrize("miss", [1e-6 * (1 - 1e-9), -1e-6 * (1 - 1e-9)])
def test_rows_may_miss_one_by_just_a_millionth(miss):
    assert _checks.policy("p", [[0.5, 0.5], [0.25, 0.75 + miss]]).shape == (2, 2)
    with refused(f"p: expected rows summing to 1, got a row summing to {1 + 2 * miss:.6g}"):
        _checks.policy("p", [[0.5, 0.5], [0.25, 0.75 + 2 * miss], [0.5, 0.5]])


def test_the_row_that_misses_most_and_the_lowest_probability_are_named():
    with refused("p: expected rows summing to 1, got a row summing to 0.7"):
        _checks.policy("p", [[0.5, 0.6], [0.5, 0.2], [0.5, 0.5]])
    with refused("p: expected probabilities >= 0, got -0.5"):
        _checks.policy("p", [[-0.25, 1.25], [1.5, -0.5]])
    assert _checks.policy("p", [1, 0]).tolist() == [1.0, 0.0]


def test_shapes_fit_if_they_broadcast_and_have_one_number_of_responses():
    two, many = np.zeros(2), np.zeros((3, 2))
    assert _checks.fits(a=two) == (2,)
    assert _checks.fits(a=two, b=many) == (3, 2)
    with refused("a and b: expected the same number of responses Y, got a (1,) and b (3, 2)"):
        _checks.fits(a=np.zeros(1), b=many)
    with refused("a and b: expected shapes that fit, got a (2, 2) and b (3, 2)"):
        _checks.fits(a=np.zeros((2, 2)), b=many)


def test_only_mass_where_the_reference_has_none_is_refused():
    _checks.supported(np.array([1.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.0]))
    with refused("policy: expected no mass where ref has none, got mass at index (1, 0)"):
        _checks.supported(np.array([[0.0, 1.0], [5e-324, 1.0]]), np.array([0.0, 1.0]))


def test_prompt_weights_are_uniform_unless_given():
    assert _checks.weights("w", None, 4).tolist() == [0.25] * 4
    assert _checks.weights("w", [0.25, 0.75], 2).tolist() == [0.25, 0.75]
    with refused("w: expected shape (3,), got shape (2,)"):
        _checks.weights("w", [0.25, 0.75], 3)


def test_wins_are_counts_with_a_zero_diagonal():
    legal = [[[0, 0.5], [2, 0]]] * 3
    assert _checks.wins(legal).shape == (3, 2, 2)
    for diagonal in ([1.0, 0.0], [0.0, 1.0]):
        with refused(
            "wins: expected a zero diagonal (nobody beats itself), got a positive diagonal entry"
        ):
            _checks.wins([[[0, 0.5], [2, 0]], np.diag(diagonal)])
    with refused("votes: expected counts >= 0, got -2.0"):
        _checks.wins([[0, -1], [-2, 0]], "votes")
    for shape in ((2,), (2, 3), (2, 2, 3)):
        with refused(f"wins: expected shape (..., Y, Y), got shape {shape}"):
            _checks.wins(np.zeros(shape))
