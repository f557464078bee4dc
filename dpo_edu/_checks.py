"""What every public function asks of its arguments, and the sentence said when it is not given."""

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Float32 softmax rows miss 1 by about 1e-7; anything beyond this is a mistake, not rounding.
ROW_SUM_TOLERANCE = 1e-6


def error(name: str, expected: str, got: object) -> ValueError:
    """The error every check raises: which argument, what was expected, what came."""
    return ValueError(f"{name}: expected {expected}, got {got}")


def positive(name: str, value: float) -> float:
    """A finite number > 0, as a float."""
    try:
        number = float(operator.pos(value))
    except (TypeError, ValueError):
        raise error(name, "a finite number > 0", repr(value)) from None
    if isinstance(value, (bool, np.bool_)) or not (math.isfinite(number) and number > 0):
        raise error(name, "a finite number > 0", repr(value))
    return number


def beta(value: float) -> float:
    """The KL coefficient: a finite number > 0, in reward units per nat."""
    return positive("beta", value)


def positive_int(name: str, value: int) -> int:
    """A whole number >= 1."""
    try:
        number = operator.index(value)
    except TypeError:
        raise error(name, "a whole number >= 1", repr(value)) from None
    if isinstance(value, bool) or number < 1:
        raise error(name, "a whole number >= 1", repr(value))
    return number


def generator(value: np.random.Generator, name: str = "rng") -> np.random.Generator:
    """A source of randomness that the caller made, never a seed."""
    if not isinstance(value, np.random.Generator):
        raise error(name, "a numpy.random.Generator", type(value).__name__)
    return value


def array(name: str, value: ArrayLike) -> Floats:
    """A float64 array whose last axis holds at least one response."""
    try:
        result = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise error(name, "an array of real numbers", type(value).__name__) from None
    if result.ndim == 0 or result.shape[-1] == 0:
        raise error(name, "an array (..., Y) with Y >= 1 responses", f"shape {result.shape}")
    return result


def finite(name: str, value: ArrayLike) -> Floats:
    """An array of finite numbers."""
    result = array(name, value)
    if not np.isfinite(result).all():
        raise error(name, "finite numbers", f"{result[~np.isfinite(result)][0]}")
    return result


def reward(value: ArrayLike, name: str = "reward") -> Floats:
    """Rewards ``(..., Y)``: finite, in reward units."""
    return finite(name, value)


def policy(name: str, value: ArrayLike) -> Floats:
    """Probabilities ``(..., Y)``: none negative, each row summing to 1 within 1e-6."""
    return policy_and_lowest(name, value)[0]


def policy_and_lowest(name: str, value: ArrayLike) -> tuple[Floats, float]:
    """What `policy` asks for, and the lowest of the probabilities; two passes over the array."""
    result = array(name, value)
    lowest = result.min(initial=1.0)
    if not lowest >= 0:  # NaN is not
        finite(name, result)
        raise error(name, "probabilities >= 0", f"{lowest}")
    total = result.sum(axis=-1)
    miss = np.abs(total - 1.0)
    if (miss > ROW_SUM_TOLERANCE).any():
        finite(name, result)
        worst = total.reshape(-1)[np.argmax(miss)]
        raise error(name, "rows summing to 1", f"a row summing to {worst:.6g}")
    return result, lowest


def fits(**arrays: NDArray[Any]) -> tuple[int, ...]:
    """The common shape of arrays that agree on Y and broadcast over the prompts."""
    shapes = {a.shape for a in arrays.values()}
    if len(shapes) == 1:
        return shapes.pop()
    got = " and ".join(f"{name} {a.shape}" for name, a in arrays.items())
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise error(" and ".join(arrays), "shapes that fit", got) from None
    if len({shape[-1] for shape in shapes}) > 1:
        raise error(" and ".join(arrays), "the same number of responses Y", got)
    return shape


def one_shape(**arrays: Any) -> None:
    """Refuse arrays or tensors of several shapes, which broadcasting would stretch in silence."""
    if len({a.shape for a in arrays.values()}) > 1:
        got = ", ".join(f"{name} {tuple(a.shape)}" for name, a in arrays.items())
        raise error(", ".join(arrays), "one shape", got)


def supported(policy: Floats, ref: Floats) -> None:
    """Refuse a policy with mass where the reference has none (there J is minus infinity)."""
    astray = (policy > 0) & (ref == 0)
    if astray.any():
        where = tuple(int(i) for i in np.argwhere(astray)[0])
        raise error("policy", "no mass where ref has none", f"mass at index {where}")


def weights(name: str, value: ArrayLike | None, prompts: int) -> Floats:
    """Prompt weights ``(X,)`` summing to 1; uniform when none are given."""
    if value is None:
        return np.full(prompts, 1.0 / prompts)
    result = policy(name, value)
    if result.shape != (prompts,):
        raise error(name, f"shape ({prompts},)", f"shape {result.shape}")
    return result


def wins(value: ArrayLike, name: str = "wins") -> Floats:
    """A win array ``(..., Y, Y)``: real counts >= 0, nobody beats itself."""
    result = finite(name, value)
    if result.ndim < 2 or result.shape[-1] != result.shape[-2]:
        raise error(name, "shape (..., Y, Y)", f"shape {result.shape}")
    if (result < 0).any():
        raise error(name, "counts >= 0", f"{result.min()}")
    if np.diagonal(result, axis1=-2, axis2=-1).any():
        raise error(name, "a zero diagonal (nobody beats itself)", "a positive diagonal entry")
    return result
