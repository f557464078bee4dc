"""What it takes for numbers to agree, to miss, or to keep an order: the ledger's numeric half."""

import math
from typing import Any

import numpy as np

from dpo_edu._checks import Floats, error

LOOSEST = 0.1  # no agreement is claimed within more than this, absolute or relative
SMALLEST_MISS = 1e-9  # less is rounding
SMALLEST_GAP = 1e-12  # so, for a strict inequality, is this
EXACT_INTEGERS = 2**53
RELATIONS = ("<", "<=", ">", ">=")


def agreement(
    found: Any, expected: Any, bound: float | None, relative: float | None
) -> tuple[bool, str, str]:
    """Whether two arrays agree; what then holds; and how far apart they are.

    `bound` limits the difference, `relative` the difference in units of the expected value; without
    either the bound is 1e-12.

    Raises
    ------
    ValueError
        If one is not an array of finite real numbers, if shapes differ (a scalar fits every shape),
        if the limit is not in [0, 0.1], or if an expected value other than 0 lies below the bound.
    """
    a, b = _pair("found", found, "expected", expected)
    if _one_memory(found, expected):
        raise error("expected", "other numbers than found", "the same memory")
    gap = np.abs(a - b)
    if relative is not None:
        if bound is not None:
            raise error("bound", "a bound or a relative one", "both")
        limit = _limit("relative", relative)
        worst = float(np.max(gap / np.where(b == 0, 1.0, np.abs(b))))
        held = bool((gap <= limit * np.abs(b)).all())
        return held, f"|found - expected| <= {limit:.4g} |expected|", f"{worst:.4g} relative"
    limit = _limit("bound", 1e-12 if bound is None else bound)
    blind = (b != 0) & (np.abs(b) <= limit)
    if blind.any():
        least = f"{np.abs(b[blind]).min():.4g}"
        raise error(
            "bound", f"less than every expected value other than 0 (such as {least})", limit
        )
    worst = float(gap.max())
    text = f"|found - expected| <= {limit:.4g}" if limit else "found = expected"
    return worst <= limit, text, f"{worst:.4g}"


def miss(found: Any, expected: Any, by: Any) -> tuple[bool, float]:
    """Whether some entry misses by at least `by`, and by how much the worst one does.

    Raises
    ------
    ValueError
        If the arrays are not as `agreement` wants them, or `by` is no more than rounding.
    """
    a, b = _pair("found", found, "expected", expected)
    scale = float(max(np.abs(a).max(), np.abs(b).max()))
    least = max(
        SMALLEST_MISS * max(1.0, float(np.abs(b).max())), _rounding(found, expected) * scale
    )
    if not (_is_real(by) and least <= by < math.inf):
        raise error("by", f"a finite number >= {least:.3g}", repr(by))
    size = float(np.abs(a - b).max())
    return size >= float(by), size


def reach(expected: Any, bound: float | None, relative: float | None) -> float:
    """The largest difference that `agreement` lets pass, which a miss must exceed."""
    if relative is not None:
        return float(relative * np.abs(_finite("expected", expected)).max())
    return 1e-12 if bound is None else bound


def margin(left: Any, relation: str, right: Any) -> tuple[bool, float]:
    """Whether left and right are in order, entry by entry, and by how much at the closest entry.

    Raises
    ------
    ValueError
        If the arrays are not as `agreement` wants them, or the relation is not one of four.
    """
    if relation not in RELATIONS:
        raise error("relation", f"one of {', '.join(RELATIONS)}", repr(relation))
    a, b = _pair("left", left, "right", right)
    with np.errstate(over="ignore"):  # refused below
        gap = b - a if relation[0] == "<" else a - b
    least = np.zeros(gap.shape)
    if relation in ("<", ">"):
        least = SMALLEST_GAP + _rounding(left, right) * np.maximum(np.abs(a), np.abs(b))
    if not np.isfinite(gap).all():
        raise error("left and right", "a finite difference", "one that overflows")
    held = (gap >= least) if relation[1:] else (gap > least)
    return bool(held.all()), float(gap.min())


def at_least(number: float) -> str:
    """A finite number >= 0 rounded down to one digit, in words that stay true.

    >>> at_least(0.0278)
    'by 0.02 or more'
    """
    if number < SMALLEST_MISS:
        return f"by less than {SMALLEST_MISS:.0e}" if number else "with equality"
    power = 10.0 ** math.floor(math.log10(number))
    return f"by {math.floor(number / power + 1e-9) * power:.1g} or more"


def _pair(first: str, a: Any, second: str, b: Any) -> tuple[Floats, Floats]:
    """Both as arrays of one shape; a scalar fits every shape, nothing else is stretched."""
    a, b = _finite(first, a), _finite(second, b)
    if a.ndim and b.ndim and a.shape != b.shape:
        raise error(f"{first} and {second}", "one shape, or a scalar", f"{a.shape} and {b.shape}")
    return a, b


def _one_memory(found: Any, expected: Any) -> bool:
    """Whether both are views of one array, or one list."""
    if found is expected and not _is_real(found):
        return True
    first, second = np.asarray(found), np.asarray(expected)
    return bool(first.ndim and second.ndim and np.shares_memory(first, second))


def _rounding(*values: Any) -> float:
    """What the coarsest of the floats may be off by, relative: some units in the last place."""
    kinds = [x.dtype for x in map(np.asarray, values) if x.dtype.kind == "f"]
    return 64 * max((float(np.finfo(kind).eps) for kind in kinds), default=2.3e-16)


def _finite(name: str, value: Any) -> Floats:
    """An array of finite real numbers, at least one, each exactly a float64."""
    if _truth(value):
        raise error(name, "numbers", "truth values: give ledger.true the two sides")
    if _masked(value):
        raise error(name, "numbers that all count", "a masked array")
    try:
        given = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as refusal:
        raise error(name, "an array of numbers", f"{type(value).__name__} ({refusal})") from None
    if given.dtype.kind == "b":
        raise error(name, "numbers", "truth values: give ledger.true the two sides")
    if given.dtype.kind not in "iuf" or given.dtype.itemsize > 8:
        raise error(name, "real numbers of at most 64 bits", f"entries of type {given.dtype}")
    if given.size == 0:
        raise error(name, "at least one number", f"an empty array, shape {given.shape}")
    if not np.isfinite(given).all():
        raise error(name, "finite numbers", "nan or infinity among them")
    if given.dtype.kind in "iu" and (np.abs(given.astype(float)) >= EXACT_INTEGERS).any():
        raise error(name, "whole numbers below 2^53", "larger ones")
    return np.asarray(given, dtype=np.float64)


def _truth(value: Any) -> bool:
    """A boolean, or a list with one somewhere in it (which NumPy would read as 1)."""
    if isinstance(value, (list, tuple)):
        return any(map(_truth, value))
    return isinstance(value, (bool, np.bool_)) or getattr(value, "dtype", None) == np.bool_


def _masked(value: Any) -> bool:
    """A masked array, or a list with one somewhere in it."""
    if isinstance(value, (list, tuple)):
        return any(map(_masked, value))
    return isinstance(value, np.ma.MaskedArray)


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _limit(name: str, value: Any) -> float:
    if not (_is_real(value) and 0 <= value <= LOOSEST):
        raise error(name, f"a number in [0, {LOOSEST}]", repr(value))
    return float(value)
