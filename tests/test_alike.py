"""When values are the same, within a tolerance or exactly, and how a sentence shows them."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from dpo_edu import gibbs
from dpo_edu._alike import borrowed, numbers, same, short

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("found", "expected", "tolerance", "alike"),
    [
        (1.5, 1.0, 0.5, True),
        (1.6, 1.0, 0.5, False),
        (0.5, 0.0, 0.5, True),
        (3.0, 2.0, 0.5, True),
        (3.0, -2.0, 0.5, False),
        (INF, INF, 0.0, True),
        (-INF, INF, 1.0, False),
        (1e308, INF, 1.0, False),
        (INF, 1e308, 1.0, False),
        (NAN, NAN, 0.0, True),
        (NAN, 1.0, 1.0, False),
        (1.0, NAN, 1.0, False),
        ([1, 2], np.array([1.0, 2.0]), 0.0, True),
        (np.array([1, 2]), (1.0, 2.0), 0.0, True),
        (torch.tensor([1.0, 2.5]), np.array([1.0, 2.0]), 0.5, True),
        ([1, 2], [1, 2, 3], 0.0, False),
        ([1, [2, 3]], [1, [2, 4]], 0.0, False),
        ([[1.0]], np.array([1.0]), 0.0, False),
        ("one", 1.0, 0.0, False),
        ({1, 2}, {2, 1}, 0.0, True),
        ([1, 2], {1, 2}, 0.0, False),
        ("open", "open", 0.0, True),
        (1, True, 0.0, False),
        (True, True, 0.0, True),
    ],
)
def test_same(found: Any, expected: Any, tolerance: float, alike: bool) -> None:
    assert same(found, expected, tolerance) is alike


def test_without_a_tolerance_the_last_digit_counts() -> None:
    assert same(0.1 + 0.2, 0.30000000000000004) and not same(0.1 + 0.2, 0.3)


def test_what_holds_anything_else_has_no_numbers() -> None:
    assert numbers([[1, 2], [3, 4]]) == [1.0, 2.0, 3.0, 4.0]
    assert numbers({"a": 1}) is numbers(["a"]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (True, "True"),
        (1 / 3, "0.3333"),
        ([0.5, 2], "[0.5, 2. ]"),
        ({"a": "b" * 100}, "{'a': '" + "b" * 73),
    ],
)
def test_a_value_is_short_in_a_sentence(value: Any, text: str) -> None:
    assert short(value) == text


def test_an_array_takes_200_characters_at_most() -> None:
    assert len(short(np.linspace(0.1, 1, 200))) == 200


def own(reward: float) -> str:
    """No more than a word about dpo_edu.gibbs."""
    return f"{reward} without dpo_edu"


def by_text(reward: Any) -> Any:
    return import_module("dpo_edu.gibbs").log_partition(reward, 1.0, beta=1.0)


def by_default(reward: Any, log_z: Any = gibbs.log_partition) -> Any:
    return log_z(reward, 1.0, beta=1.0)


def by_keyword(reward: Any, *, log_z: Any = gibbs.log_partition) -> Any:
    return log_z(reward, 1.0, beta=1.0)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (own, ""),
        (partial(own, 1.0), ""),
        (lambda reward: gibbs.log_partition(reward, 1.0, beta=1.0), "dpo_edu.gibbs"),
        (lambda reward: by_text(reward), "dpo_edu.gibbs"),
        (by_text, "dpo_edu.gibbs"),
        (by_default, "dpo_edu.gibbs"),
        (by_keyword, "dpo_edu.gibbs"),
        (partial(by_keyword), "dpo_edu.gibbs"),
    ],
)
def test_what_a_function_borrows_is_found(function: Callable[..., Any], found: str) -> None:
    assert borrowed(function) == found
