"""When two answers are the same: sets, texts, numbers within a tolerance, and lists of these."""

from typing import Any

import numpy as np


def numbers(value: Any) -> list[float] | None:
    """The numbers in a value, in order; None if it holds anything else."""
    try:
        return [float(x) for x in np.asarray(value, dtype=np.float64).ravel().tolist()]
    except (TypeError, ValueError):
        return None


def same(found: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Equal sets or texts; equal shapes and numbers within `tolerance`, relative above 1."""
    if isinstance(expected, set | frozenset | str | bool):
        return type(found) is type(expected) and bool(found == expected)
    if isinstance(expected, tuple | list):
        ours = list(found) if isinstance(found, tuple | list | np.ndarray) else []
        return len(ours) == len(expected) and all(
            same(f, e, tolerance) for f, e in zip(ours, expected, strict=True)
        )
    a, b = numbers(found), numbers(expected)
    if a is None or b is None or np.shape(found) != np.shape(expected):
        return False
    return all(_near(x, y, tolerance) for x, y in zip(a, b, strict=True))


def _near(x: float, y: float, tolerance: float) -> bool:
    if x == y or (x != x and y != y):  # the same number, or both not a number
        return True
    # Nothing finite is near infinity, whose tolerance would be infinite as well.
    return abs(x - y) <= tolerance * max(1.0, abs(y)) < float("inf")


def short(value: Any) -> str:
    """A value in a few characters: arrays at four digits."""
    if numbers(value) is None or isinstance(value, int):
        return f"{value!r:.80}"
    return np.array2string(np.asarray(value, dtype=np.float64), precision=4, separator=", ")[:200]
