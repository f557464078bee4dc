"""What a wrong function gives, in relation to the right numbers: what holds in every case tried."""

import copy
import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpo_edu._alike import numbers, same

Floats = NDArray[np.float64]
Function = Callable[..., Any]
Call = tuple[tuple[Any, ...], dict[str, Any]]  # arguments and keywords
NEAR = 1e-6


def relation(
    answer: Function,
    truth: Function,
    calls: Sequence[Call],
    found: Sequence[Any],
    expected: Sequence[Any],
) -> str | None:
    """A sentence that is true of a wrong function in all cases; None if none of these is.

    >>> calls = [((2.0,), {}), ((3.0,), {})]
    >>> relation(lambda x: -x, lambda x: x, calls, [-2.0, -3.0], [2.0, 3.0])
    'the numbers are right but for their sign.'
    """
    return (
        _of_numbers(found, expected)
        or _mixed(answer, truth, calls)
        or _in_size(calls, found, expected)
        or (_ignored(answer, truth, calls) if _same_shapes(found, expected) else None)
    )


def _same_shapes(found: Sequence[Any], expected: Sequence[Any]) -> bool:
    return [np.shape(f) for f in found] == [np.shape(e) for e in expected]


# --- the numbers --------------------------------------------------------------------------------


def _of_numbers(found: Sequence[Any], expected: Sequence[Any]) -> str | None:
    if any(numbers(value) is None for value in (*found, *expected)):
        return None
    if all(np.asarray(e).dtype == bool for e in expected):
        return _no_booleans(found, expected)
    pairs = _in_pairs(found, expected)
    with np.errstate(all="ignore"):
        for sentence, change in _CHANGES.items():
            if all(_equal(f, change(e)) for f, e in pairs) and _told_apart(pairs):
                return sentence
    return None


def _in_size(calls: Sequence[Call], found: Sequence[Any], expected: Sequence[Any]) -> str | None:
    """What is right but for a sum of 1 or one factor."""
    if any(numbers(value) is None for value in (*found, *expected)):
        return None
    pairs = _in_pairs(found, expected)
    with np.errstate(all="ignore"):
        booleans = all(np.asarray(e).dtype == bool for e in expected)
        return _unnormalised(pairs) or _only_there(pairs, booleans) or _one_factor(calls, pairs)


def _in_pairs(found: Sequence[Any], expected: Sequence[Any]) -> list[tuple[Floats, Floats]]:
    return [
        (np.asarray(f, dtype=np.float64), np.asarray(e, dtype=np.float64))
        for f, e in zip(found, expected, strict=True)
    ]


def _no_booleans(found: Sequence[Any], expected: Sequence[Any]) -> str | None:
    """Numbers that stand for True and False."""
    pairs = zip(found, expected, strict=True)
    if all(np.array_equal(np.asarray(f) != 0, np.asarray(e)) for f, e in pairs):
        return "these are numbers, right where they are not 0: True and False are asked for."
    return None


def _told_apart(pairs: Sequence[tuple[Floats, Floats]]) -> bool:
    """Whether there are numbers enough for a relation to be no accident."""
    return len({round(float(x), 9) for _, e in pairs for x in e.ravel()}) > 1


def _equal(found: Floats, expected: Any) -> bool:
    wanted = np.asarray(expected)
    return found.shape == wanted.shape and bool(
        np.isfinite(wanted).all() and np.allclose(found, wanted, rtol=NEAR, atol=1e-9)
    )


def _filled(middle: Callable[[Floats], Any]) -> Callable[[Floats], Any]:
    return lambda e: np.full(e.shape, middle(e))


_CHANGES: dict[str, Callable[[Floats], Any]] = {
    "the numbers are right but for their sign.": lambda e: -e,
    "this is 1 divided by what is asked for.": lambda e: 1 / e,
    "this is the logarithm of what is asked for.": np.log,
    "this is minus the logarithm of what is asked for.": lambda e: -np.log(e),
    "this is exp of what is asked for.": np.exp,
    "this is the square of what is asked for.": np.square,
    "this is the root of what is asked for.": np.sqrt,
    "this is 1 minus what is asked for.": lambda e: 1 - e,
    "one number each is asked for, not their mean.": np.mean,
    "one number each is asked for, not their mean for all.": _filled(np.mean),
    "one number each is asked for, not their sum.": np.sum,
    "the numbers are right, their order is reversed.": lambda e: e[..., ::-1] if e.ndim else e,
    "the numbers are right, rows and columns are swapped.": lambda e: (
        e.T if e.ndim > 1 else -np.inf
    ),
}


def _unnormalised(pairs: Sequence[tuple[Floats, Floats]]) -> str | None:
    """Probabilities but for what makes them sum to 1, at first and in most cases."""
    if any(e.ndim == 0 or not np.allclose(e.sum(axis=-1), 1) for _, e in pairs):
        return None
    wrong = [(f, e) for f, e in pairs if not _equal(f, e)]
    hits = [f.shape == e.shape and _equal(f / f.sum(axis=-1, keepdims=True), e) for f, e in wrong]
    if hits and hits[0] and sum(hits) >= 2 / 3 * len(hits):
        return "it does not sum to 1: divide by the sum over the last axis."
    return None


def _only_there(pairs: Sequence[tuple[Floats, Floats]], booleans: bool) -> str | None:
    """Right but where the truth is 0, or infinite."""
    if any(f.shape != e.shape for f, e in pairs):
        return None
    found = np.concatenate([f.ravel() for f, _ in pairs])
    wanted = np.concatenate([e.ravel() for _, e in pairs])
    wrong = ~np.isclose(found, wanted, rtol=NEAR, atol=1e-9)
    for there, said in ((wanted == 0, _WHERE_ZERO), (np.isinf(wanted), _WHERE_INFINITE)):
        if wrong.any() and not wrong[~there].any() and np.count_nonzero(~there & (wanted != 0)) > 2:
            return _WHERE_FALSE if booleans else said
    return None


_WHERE_FALSE = "every True is right, but some are True that should be False."
_WHERE_ZERO = "right wherever it should not be 0; where it should be 0, something else stands."
_WHERE_INFINITE = "right wherever it should be finite; where it should be infinite, it is not."


def _one_factor(calls: Sequence[Call], pairs: Sequence[tuple[Floats, Floats]]) -> str | None:
    """The same factor everywhere, perhaps a power of a number that goes in."""
    if any(f.shape != e.shape for f, e in pairs):
        return None
    if not all((f == e)[(e == 0) | ~np.isfinite(e)].all() for f, e in pairs):
        return None  # no factor makes those wrong
    sized = [(f / e)[(np.abs(e) > NEAR) & np.isfinite(e)] for f, e in pairs]
    ratios = [ratio for ratio in sized if ratio.size]
    if any(np.ptp(ratio) > NEAR * abs(ratio[0]) for ratio in ratios):
        return None
    factors = np.array([ratio[0] for ratio in ratios])
    if len(factors) < 2 or not np.all(factors) or sum(ratio.size for ratio in ratios) < 4:
        return None
    if np.ptp(factors) <= NEAR * abs(factors[0]):
        factor = f"{factors[0]:.4g} times what they should be"
        return f"the numbers are right but for one factor: all are {factor}."
    for name in calls[0][1]:
        given = [
            keywords.get(name)
            for (_, keywords), ratio in zip(calls, sized, strict=True)
            if ratio.size
        ]
        if not all(isinstance(x, float | int) and x > 0 for x in given):
            continue
        for power, said in _POWERS.items():
            wanted = np.array(given, dtype=np.float64) ** power
            if np.ptp(wanted) and np.allclose(factors, wanted, rtol=NEAR):
                return f"the numbers are right but for {name}: all are {said.format(name)}."
    return None


_POWERS = {
    -1.0: "divided by {} once too often",
    1.0: "multiplied by {} once too often",
    -2.0: "divided by {} where they should be multiplied",
    2.0: "multiplied by {} where they should be divided",
}

# --- several at once ----------------------------------------------------------------------------


def _mixed(answer: Function, truth: Function, calls: Sequence[Call]) -> str | None:
    """Whether each entry or row alone is right, and several at once are not."""
    for arguments, keywords in calls:
        for cut in (_entry, _slice):
            try:
                wrong = _alone_is_right(answer, truth, arguments, keywords, cut)
            except Exception:  # it takes no entries or rows: nothing to say
                continue
            if wrong and _first_only(answer, truth, arguments, keywords):
                return "only the first one comes out, and several go in."
            if wrong:
                return (
                    "each one alone comes out right, several at once do not: is a sum, a mean or "
                    "a maximum taken over all of them, or along the wrong axis?"
                )
    return None


def _first_only(
    answer: Function, truth: Function, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> bool:
    """Whether the answer is the first entry or row of the truth."""
    first = np.ravel(_quiet(truth, arguments, keywords)[0])
    given = np.ravel(_quiet(answer, arguments, keywords))
    return given.shape == first.shape and bool(np.allclose(given, first, rtol=NEAR))


def _entry(x: Any, at: int) -> Any:
    return x[at]


def _slice(x: Any, at: int) -> Any:
    return x[at : at + 1]


def _alone_is_right(
    answer: Function,
    truth: Function,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    cut: Callable[[Any, int], Any],
) -> bool:
    """Whether the truth goes entry by entry, and so does the answer, but not all at once."""
    arrays = [x for x in arguments if isinstance(x, np.ndarray)]
    if not arrays or len({x.shape for x in arrays}) != 1 or arrays[0].ndim == 0:
        return False
    length = len(arrays[0])
    if length < 2:
        return False
    at_once = np.asarray(_quiet(truth, arguments, keywords), dtype=np.float64)
    if at_once.ndim == 0 or len(at_once) != length:
        return False
    near = partial(np.allclose, rtol=NEAR, atol=1e-9)
    for at in range(length):
        alone = tuple(cut(x, at) if isinstance(x, np.ndarray) else x for x in arguments)
        theirs = np.ravel(_quiet(answer, alone, keywords))
        if theirs.size != at_once[at].size or not near(theirs, at_once[at].ravel()):
            return False
    whole = np.asarray(_quiet(answer, arguments, keywords), dtype=np.float64)
    return whole.shape != at_once.shape or not near(whole, at_once)


# --- arguments that make no difference ----------------------------------------------------------


def _ignored(answer: Function, truth: Function, calls: Sequence[Call]) -> str | None:
    """Which argument makes no difference to what the answer gives, though it should."""
    signature = inspect.signature(truth)
    bound = [signature.bind(*arguments, **keywords) for arguments, keywords in calls[:4]]
    names = [name for name in bound[0].arguments if all(name in b.arguments for b in bound)]
    unused = [name for name in names if _no_difference(answer, truth, bound, name)]
    if len(unused) != 1 or len(names) == 1:
        return None
    return f"`{unused[0]}` makes no difference here, and should."


def _no_difference(
    answer: Function, truth: Function, bound: Sequence[inspect.BoundArguments], name: str
) -> bool:
    """Whether another value never changes what the answer gives, where it changes the truth."""
    tried = 0
    for old in bound:
        new = copy.deepcopy(old)
        if (other := _another(old.arguments[name])) is None:
            return False
        new.arguments[name] = other
        try:
            if same(_of(truth, new), _of(truth, old), 1e-3):
                continue
            if not same(_of(answer, new), _of(answer, old), 1e-12):
                return False
        except Exception:  # then nothing can be said
            return False
        tried += 1
    return tried > 0


def _another(value: Any) -> Any:
    """Another value of the same kind; None if there is no simple one."""
    if isinstance(value, float):
        return value * 0.8
    if isinstance(value, int):
        return value + 2
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim == 0:
        return None
    if value.ndim == 2 and len(value) == value.shape[1]:
        return np.roll(value, 1, axis=(0, 1))
    return np.roll(value, 1, axis=-1)


def _of(function: Function, bound: inspect.BoundArguments) -> Any:
    return _quiet(function, bound.args, bound.kwargs)


def _quiet(function: Function, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        return function(*copy.deepcopy(arguments), **copy.deepcopy(keywords))
