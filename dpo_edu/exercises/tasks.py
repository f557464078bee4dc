"""A task examines an answer and says in one sentence what is wrong with it.

The sentence comes from a list of known mistakes: each is what a student would have written under
one misconception, so an answer that behaves like it is told which one it is.
"""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from dpo_edu import symbolic

NOT_YET = "not done yet."
Examine = Callable[..., str | None]
Draw = Callable[[np.random.Generator], Any]
Mistakes = Iterable[tuple[str, Any]]


class Incorrect(AssertionError):
    """An answer loses its points; the message says why."""


@dataclass(frozen=True)
class Task:
    """One question of an assignment.

    Everything numeric depends on the variant, a whole number, so that a teacher can hand out
    several versions of an assignment; 0 is the published one.

    Attributes
    ----------
    name : what the answer is called in the notebook.
    examine : takes the answer, a random generator and, if numbers are given, those; None if the
        answer is right, else the sentence.
    draw : draws the numbers that the question gives, for variants other than 0.
    published : the numbers that it gives in variant 0.
    """

    name: str
    examine: Examine
    draw: Draw | None = None
    published: Any = None

    def given(self, variant: int = 0) -> Any:
        """The numbers that the question gives."""
        if variant == 0 or self.draw is None:
            return copy.deepcopy(self.published)
        return self.draw(np.random.default_rng(variant))

    def _fault(self, answer: Any, seed: int, variant: int) -> str | None:
        rng = np.random.default_rng([seed, variant])
        if self.draw is None:
            return self.examine(answer, rng)
        return self.examine(answer, rng, self.given(variant))

    def check(self, answer: Any, variant: int = 0) -> None:
        """Print whether an answer is right, and if not, why; never raise."""
        try:
            fault = self._fault(answer, 1, variant)
        except (Exception, SystemExit) as error:  # whatever it does, the notebook goes on
            fault = f"the check stopped at {type(error).__name__}: {error}."
        print(f"{self.name}: {'right.' if fault is None else fault}")

    def grade(self, answer: Any, variant: int = 0) -> None:
        """Raise `Incorrect` unless the answer is right, tried on other numbers than in `check`."""
        fault = self._fault(answer, 2718, variant)
        if fault is not None:
            raise Incorrect(f"{self.name}: {fault}")


def task(examine: Examine) -> Task:
    """Make a function of (answer, rng) the task of the same name."""
    return Task(examine.__name__, examine)


def task_about(published: Any, draw: Draw) -> Callable[[Examine], Task]:
    """Make a function of (answer, rng, given) the task that gives these numbers."""
    return lambda examine: Task(examine.__name__, examine, draw, published)


def is_blank(answer: Any) -> bool:
    """Whether an answer is the stub that the student was given, or a function that is."""
    return answer is None or answer is Ellipsis


# --- answers that are functions -----------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Arguments to try a function on."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def of(self, function: Callable[..., Any]) -> Any:
        """The function's value here, on copies of the arguments."""
        return function(*copy.deepcopy(self.arguments), **copy.deepcopy(self.keywords))

    def in_words(self, function: Callable[..., Any]) -> str:
        """The arguments under the names that `function` gives them."""
        bound = inspect.signature(function).bind(*self.arguments, **self.keywords)
        return ", ".join(f"{name} = {short(value)}" for name, value in bound.arguments.items())


def case(*arguments: Any, **keywords: Any) -> Case:
    """A `Case` written like a call."""
    return Case(arguments, keywords)


def function_fault(
    answer: Any,
    truth: Callable[..., Any],
    cases: Sequence[Case],
    mistakes: Mistakes = (),
    *,
    tolerance: float = 1e-9,
) -> str | None:
    """What is wrong with a function, tried on `cases` beside the true one; None if nothing."""
    if is_blank(answer):
        return NOT_YET
    if not callable(answer):
        return f"expected a function, got {type(answer).__name__}."
    found = []
    for at in cases:
        given = copy.deepcopy(at)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                value = answer(*given.arguments, **given.keywords)
        except (Exception, SystemExit) as error:
            where = at.in_words(truth)
            return f"it raises {type(error).__name__} ({error}) for {where}."
        if is_blank(value):
            return NOT_YET
        found.append(value)
        if not same(given.arguments, at.arguments, 0) or not same(
            list(given.keywords.values()), list(at.keywords.values()), 0
        ):
            return "it changes its arguments in place: work on new arrays, not with -= or sort()."
    expected = [at.of(truth) for at in cases]
    if all(same(f, e, tolerance) for f, e in zip(found, expected, strict=True)):
        return None
    with np.errstate(all="ignore"):
        for sentence, mistaken in mistakes:
            if all(same(f, at.of(mistaken), tolerance) for f, at in zip(found, cases, strict=True)):
                return sentence
    return _plain_fault(truth, cases, found, expected, tolerance)


def _plain_fault(
    truth: Callable[..., Any],
    cases: Sequence[Case],
    found: list[Any],
    expected: list[Any],
    tolerance: float,
) -> str:
    """The first place where a function without a known mistake goes wrong."""
    varies = any(not same(e, expected[0], tolerance) for e in expected)
    if varies and all(same(f, found[0], 0) for f in found):
        return "it gives the same output whatever goes in: does it use its arguments?"
    pairs = zip(cases, found, expected, strict=True)
    at, f, e = next((c, f, e) for c, f, e in pairs if not same(f, e, tolerance))
    where = at.in_words(truth)
    if numbers(f) is None:
        return f"for {where} it should give numbers, and gives {short(f)}."
    if np.shape(f) != np.shape(e):
        return f"for {where} the shape should be {np.shape(e)}, and is {np.shape(f)}."
    return f"for {where} it should give {short(e)}, and gives {short(f)}."


# --- answers that are expressions, numbers or choices -------------------------------------------


def expression_fault(answer: Any, truth: sp.Expr, mistakes: Mistakes = ()) -> str | None:
    """What is wrong with a SymPy expression; forms that are equal for every n are all right."""
    if is_blank(answer):
        return NOT_YET
    if not isinstance(answer, sp.Expr | int | float):
        return f"expected a SymPy expression, got {type(answer).__name__}."
    if _agree(answer, truth):
        return None
    for sentence, mistaken in mistakes:
        if _agree(answer, mistaken):
            return sentence
    strange = sp.sympify(answer).free_symbols - truth.free_symbols
    families = [x for x in strange if isinstance(x, sp.Indexed)]
    strange -= {part for x in families for part in (x.base.label, *x.indices)}
    strange -= {part for x in strange.copy() if isinstance(x, sp.Indexed) for part in x.args}
    strange -= {x.base.label for x in strange.copy() if isinstance(x, sp.Indexed)}
    if strange:
        names = ", ".join(sorted(map(str, strange)))
        return f"it is not the same expression; what is {names} doing in it?"
    return "it is not the same expression: try it with n = 2 on paper."


def _agree(first: Any, second: Any) -> bool:
    """Whether two expressions take the same values at two unremarkable places, n = 3 and n = 4."""
    pairs = zip(_values(sp.sympify(first)), _values(sp.sympify(second)), strict=True)
    gaps = [one - other for one, other in pairs]
    return all(gap.is_finite is True and abs(gap) < sp.Float("1e-15") for gap in gaps)


@lru_cache(maxsize=1000)  # every known mistake is looked at again for every answer
def _values(expression: sp.Expr) -> list[sp.Expr]:
    return [sp.N(symbolic.at_numbers(expression, size), 30) for size in (3, 4)]


def value_fault(
    answer: Any, truth: Any, mistakes: Mistakes = (), *, tolerance: float = 1e-9
) -> str | None:
    """What is wrong with a number, an array or a set of choices; None if nothing."""
    if is_blank(answer):
        return NOT_YET
    if same(answer, truth, tolerance):
        return None
    for sentence, mistaken in mistakes:
        if same(answer, mistaken, tolerance):
            return sentence
    return f"{short(answer)} is not it."


# --- comparing ----------------------------------------------------------------------------------


def numbers(value: Any) -> list[float] | None:
    """The numbers in a value, in order; None if it holds anything else."""
    try:
        return [float(x) for x in np.asarray(value, dtype=np.float64).ravel().tolist()]
    except (TypeError, ValueError):
        return None


def same(found: Any, expected: Any, tolerance: float) -> bool:
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
    if x != x or y != y:
        return x != x and y != y
    # Nothing finite is near infinity, whose tolerance would be infinite as well.
    return x == y or abs(x - y) <= tolerance * max(1.0, abs(y)) < float("inf")


def short(value: Any) -> str:
    """A value in a few characters: arrays at four digits."""
    if numbers(value) is None or isinstance(value, int):
        return f"{value!r:.80}"
    return np.array2string(np.asarray(value, dtype=np.float64), precision=4, separator=", ")[:200]
