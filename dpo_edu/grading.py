"""Tasks that check themselves: an answer is compared with the truth and with known mistakes.

A mistake is an answer, what a student would hand in under one misconception, and has a sentence.
An answer that behaves like it is told so. A notebook shows ``task.check(answer)``, which prints
the sentence; ``task.grade(answer)`` raises it. Neither changes the answer.
The graders stand in ``exercises/source``, one beside each assignment.
"""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp

from dpo_edu import _relations, _slips, symbolic
from dpo_edu._alike import borrowed, is_stub, numbers, short
from dpo_edu._alike import same as same  # graders have it from here

NOT_YET = "not done yet."
IN_PLACE = "it changes its arguments in place: work on new arrays, not with -= or sort()."
Function = Callable[..., Any]
Mistakes = Mapping[str, Any]


class Incorrect(AssertionError):
    """An answer loses its points; the message says why."""


class OneOf(tuple[Any, ...]):
    """Several mistaken answers that one sentence fits."""


def known(mistakes: Mistakes) -> Iterator[tuple[str, Any]]:
    """Every mistaken answer with its sentence, in order.

    >>> list(known({"too small.": OneOf([1, 2]), "too large.": 4}))
    [('too small.', 1), ('too small.', 2), ('too large.', 4)]
    """
    for sentence, answer in mistakes.items():
        for one in answer if isinstance(answer, OneOf) else (answer,):
            yield sentence, one


@dataclass(frozen=True)
class Task:
    """One question of an assignment.

    Everything numeric depends on the variant, a whole number, so that a teacher can hand out
    several versions of an assignment; 0 is the published one.

    Attributes
    ----------
    name : what the task is called in the grader.
    examine : takes the answer, a random generator and, if numbers are given, those; None if the
        answer is right, else the sentence.
    mistakes : sentences, each with the wrong answer, or `OneOf` several, that it is for.
    draw : draws the numbers that the question gives, for variants other than 0.
    published : the numbers that it gives in variant 0, for which the mistakes are.
    """

    name: str
    examine: Callable[..., str | None]
    mistakes: Mistakes = field(default_factory=dict)
    draw: Callable[[np.random.Generator], Any] | None = None
    published: Any = None

    def given(self, variant: int = 0) -> Any:
        """The numbers that the question gives."""
        if variant == 0 or self.draw is None:
            return copy.deepcopy(self.published)
        return self.draw(np.random.default_rng(variant))

    def _fault(self, answer: Any, seed: int, variant: int) -> str | None:
        rng = np.random.default_rng([seed, variant])
        return self.examine(answer, rng, *([self.given(variant)] if self.draw else []))

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


def is_blank(answer: Any) -> bool:
    """Whether an answer is the stub that the student was given, or what its function returns.

    >>> is_blank(None), is_blank(0)
    (True, False)
    """
    return answer is None or answer is Ellipsis


def _as_it_is(answer: Any) -> Any:
    """The answer itself."""
    return answer


# --- answers that are functions -----------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Arguments to try a function on."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def of(self, function: Function) -> Any:
        """The function's value here, on copies of the arguments."""
        return function(*copy.deepcopy(self.arguments), **copy.deepcopy(self.keywords))

    def in_words(self, function: Function) -> str:
        """The arguments under the names that `function` gives them."""
        bound = inspect.signature(function).bind(*self.arguments, **self.keywords)
        return ", ".join(f"{name} = {short(value)}" for name, value in bound.arguments.items())


Cases = Callable[[np.random.Generator], list[Case]]


def case(*arguments: Any, **keywords: Any) -> Case:
    """A `Case` written like a call.

    >>> case(3, base=2).of(lambda x, base: base**x)
    8
    """
    return Case(arguments, keywords)


def function_task(
    name: str,
    *,
    truth: Function,
    cases: Cases,
    mistakes: Mistakes,
    far: Cases | None = None,
    tolerance: float = 1e-9,
    through: Function = _as_it_is,
    then: Callable[[Function, str | None, list[Case]], str | None] | None = None,
    alone: bool = False,
) -> Task:
    """A task whose answer is a function.

    What is right in the `cases` is tried in these and in the `far` ones: overflow comes last. The
    answer and the mistakes are looked at `through` a function, if what is compared is not their
    value but, say, its gradient. What was found, and in which cases, `then` may say better. With
    `alone` a function that calls this package is wrong.

    >>> double = function_task(
    ...     "double",
    ...     truth=lambda x: 2 * x,
    ...     cases=lambda rng: [case(1), case(3)],
    ...     mistakes={"this is the square.": lambda x: x**2},
    ... )
    >>> double.check(lambda y: y * y)
    double: this is the square.
    """

    def examine(answer: Any, rng: np.random.Generator) -> str | None:
        look = partial(function_fault, answer, truth, tolerance=tolerance, through=through)
        fault = look(tried := cases(rng), mistakes)
        if fault is None and far is not None:
            tried = tried + far(rng)
            fault = look(tried, mistakes)
        if then and callable(answer) and fault != NOT_YET:
            fault = then(answer, fault, tried)
        lent = fault is None and alone and borrowed(answer)
        return f"the values are right, but it calls {lent}: write it yourself." if lent else fault

    return Task(name, examine, mistakes)


def function_fault(
    answer: Any,
    truth: Function,
    cases: Sequence[Case],
    mistakes: Mistakes | None = None,
    *,
    tolerance: float = 1e-9,
    through: Function = _as_it_is,
) -> str | None:
    """What is wrong with a function, tried on `cases` beside the true one; None if nothing.

    >>> function_fault(lambda x: x + 1, lambda x: 2 * x, [case(1), case(2)])
    'for x = 2 it should give 4, and gives 3.'
    """
    if is_blank(answer) or (callable(answer) and is_stub(answer)):
        return NOT_YET
    if not callable(answer):
        return f"expected a function, got {type(answer).__name__}."
    found, fault = _outputs(through(answer), cases, truth)
    if fault is not None:
        return fault
    with np.errstate(all="ignore"):
        expected = [at.of(truth) for at in cases]
        if all(map(partial(same, tolerance=tolerance), found, expected)):
            return None
        wrongs = ((sentence, through(wrong)) for sentence, wrong in known(mistakes or {}))
        sentence = _recognised(wrongs, cases, found, expected, tolerance)
    own = answer if through is _as_it_is else None
    return sentence or _plain_fault(own, truth, cases, found, expected, tolerance)


def _outputs(
    function: Function, cases: Sequence[Case], truth: Function
) -> tuple[list[Any], str | None]:
    """What an answer gives in each case, up to one where it gives nothing: then also why."""
    found: list[Any] = []
    for at in cases:
        given = copy.deepcopy(at)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                value = function(*given.arguments, **given.keywords)
        except (Exception, SystemExit) as error:
            said = " ".join(str(error).split())
            return found, f"it raises {type(error).__name__} ({said}) for {at.in_words(truth)}."
        if is_blank(value):
            where = f" for {at.in_words(truth)}" if found else ""
            return found, f"it returns {value}{where}: is `return` missing?"
        after, before = ([*c.arguments, *c.keywords.values()] for c in (given, at))
        if not same(after, before):
            return found, IN_PLACE
        found.append(value)
    return found, None


def _recognised(
    mistakes: Iterator[tuple[str, Function]],
    cases: Sequence[Case],
    found: list[Any],
    expected: list[Any],
    tolerance: float,
) -> str | None:
    """The sentence of the mistake that explains what was found; None if none does.

    It explains the first wrong case and two thirds of the others, and two thirds of the cases in
    which the mistake goes wrong; one that explains everything comes first.
    """
    alike = partial(same, tolerance=tolerance)
    is_wrong = [not alike(f, e) for f, e in zip(found, expected, strict=True)]
    first = is_wrong.index(True)
    best, most = None, 0
    for sentence, mistake in mistakes:
        if not alike(found[first], _value(mistake, cases[first])):
            continue
        values = [_value(mistake, at) for at in cases]
        hits = [alike(f, value) for f, value in zip(found, values, strict=True)]
        if all(hits):
            return sentence
        at_stake = [not alike(value, e) for value, e in zip(values, expected, strict=True)]
        least = min(_share(hits, which) for which in (is_wrong, at_stake))
        if least >= 2 / 3 and sum(hits) > most:
            best, most = sentence, sum(hits)
    return best


def _share(hits: list[bool], which: list[bool]) -> float:
    """Of the cases that count, the share that is hit."""
    return sum(hit for hit, counts in zip(hits, which, strict=True) if counts) / sum(which)


def _value(function: Function, at: Case) -> Any:
    """A mistaken answer's value; None where it has none."""
    try:
        return at.of(function)
    except Exception:
        return None


CLOSE = 6e-4  # half of the third digit, and a little more


def _plain_fault(
    answer: Function | None,
    truth: Function,
    cases: Sequence[Case],
    found: list[Any],
    expected: list[Any],
    tolerance: float,
) -> str:
    """What is true of a function without a known mistake, else the first place where it is wrong.

    What relates what it gives to the truth is looked for if the `answer` itself is there.
    """
    varies = not all(same(*neighbours, tolerance) for neighbours in pairwise(expected))
    if varies and all(same(*neighbours) for neighbours in pairwise(found)):
        return "it gives the same output whatever goes in: does it use its arguments?"
    rows = zip(cases, found, expected, strict=True)
    at, f, e = next(row for row in rows if not same(row[1], row[2], tolerance))
    where = at.in_words(truth)
    if numbers(f) is None:
        return f"for {where} it should give numbers, and gives {short(f)}."
    if all(same(f, e, CLOSE) for f, e in zip(found, expected, strict=True)) or same(f, e, 1e-6):
        return f"close, off by {_most(f, e)} for {where}: rounding, float32 or an epsilon?"
    calls = [(c.arguments, c.keywords) for c in cases]
    if answer and (said := _relations.relation(answer, truth, calls, found, expected)):
        return said
    if np.shape(f) != np.shape(e):
        return f"for {where} the shape should be {np.shape(e)}, and is {np.shape(f)}."
    heard = _heard(answer, at) if answer and not np.isfinite(np.asarray(f, float)).all() else ""
    return f"for {where} it should give {first_wrong(f, e, tolerance)}{heard}."


def _heard(answer: Function, at: Case) -> str:
    """What NumPy says on the way to a number that is not finite."""
    loud: Any = {"over": "warn", "divide": "warn", "invalid": "warn", "under": "ignore"}
    with np.errstate(**loud), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        at.of(answer)
    return f" (NumPy: {heard[0].message})" if heard else ""


def _most(found: Any, expected: Any) -> str:
    """By how much numbers are off at most."""
    gap = np.abs(np.asarray(found, dtype=np.float64) - np.asarray(expected, dtype=np.float64))
    return f"{np.nanmax(gap):.1g}"


def first_wrong(found: Any, expected: Any, tolerance: float) -> str:
    """What should stand in the first wrong place, and what stands there.

    >>> first_wrong([1, 2, 3], [1, 2, 4], 0)
    '4 at [2], and gives 3'
    """
    f, e = np.asarray(found), np.asarray(expected)
    wrong = [at for at in np.ndindex(e.shape) if not same(f[at].item(), e[at].item(), tolerance)]
    place = wrong[0] if wrong else ()
    where = f" at {list(place)}" if place else ""
    ours, theirs = e[place].item(), f[place].item()
    if isinstance(ours, bool):
        return f"{ours}{where}, and gives {bool(theirs)}"
    digits = next((n for n in (4, 8, 17) if f"{ours:.{n}g}" != f"{float(theirs):.{n}g}"), 17)
    return f"{ours:.{digits}g}{where}, and gives {float(theirs):.{digits}g}"


# --- answers that are expressions or values -----------------------------------------------------


def expression_task(
    name: str, *, truth: sp.Expr, mistakes: Mistakes, through: Function = _as_it_is
) -> Task:
    """A task whose answer is a SymPy expression, looked at `through`, say, a substitution.

    >>> expression_task("half", truth=symbolic.β / 2, mistakes={}).check(symbolic.β * 0.5)
    half: right.
    """

    def examine(answer: Any, _: np.random.Generator) -> str | None:
        return expression_fault(answer, truth, mistakes, through)

    return Task(name, examine, mistakes)


def expression_fault(
    answer: Any, truth: sp.Expr, mistakes: Mistakes, through: Function = _as_it_is
) -> str | None:
    """What is wrong with a SymPy expression; forms that are equal for every n are all right.

    >>> expression_fault(sp.Symbol("x"), symbolic.β, {})
    'it is not the same expression; what is x doing in it?'
    """
    if is_blank(answer):
        return NOT_YET
    if not isinstance(answer, sp.Expr | int | float):
        return _no_expression(answer)
    given = _our_symbols(sp.sympify(answer))
    seen, true = through(given), through(truth)
    if _agree(seen, true):
        return None
    for sentence, mistaken in known(mistakes):
        if _agree(seen, through(sp.sympify(mistaken))):
            return sentence
    if slip := next(_slips.one_slip(given, truth, through), None):
        return slip
    if names := _strangers(
        seen.free_symbols - true.free_symbols - _our_symbols(truth).free_symbols
    ):
        return f"it is not the same expression; what is {names} doing in it?"
    return (
        f"it is not the same expression{_values_of_two(seen, true)}{_in_difference(given, truth)}."
    )


def _no_expression(answer: Any) -> str:
    """What stands where an expression should."""
    if isinstance(answer, sp.Equality):
        return "this is an equation: write only its right-hand side."
    if isinstance(answer, list | tuple) and len(answer) == 1:
        return "this is a list with one expression in it: take its element [0]."
    if isinstance(answer, str):
        return "this is a text: without quotation marks it is an expression."
    return f"expected a SymPy expression, got {type(answer).__name__}."


def _our_symbols(expression: sp.Expr) -> sp.Expr:
    """The expression with our symbols in place of a student's own ones of the same names."""
    ours = {str(s): s for s in (symbolic.β, symbolic.Z, symbolic.lam, symbolic.n)}
    ours |= {str(s): s for s in (symbolic.i, symbolic.j, symbolic.k)}
    own = {s for s in expression.atoms(sp.Symbol) if type(s) is sp.Symbol and str(s) in ours}
    return expression.xreplace({s: ours[str(s)] for s in own})


def _strangers(symbols: set[sp.Basic]) -> str:
    """Symbols by name; a member of a family stands for its parts."""
    families = [x for x in symbols if isinstance(x, sp.Indexed)]
    parts = {part for x in families for part in (x.base.label, *x.indices)}
    return ", ".join(sorted(str(x) for x in symbols - parts))


# k and j stand for any response: once they are the last ones, once two others. At these seeds all
# members of a family are different, so that no index can be mistaken for another.
PLACES: tuple[tuple[int, int, dict[sp.Expr, sp.Expr]], ...] = (
    (3, 48, {}),
    (4, 68, {symbolic.k: sp.Integer(2), symbolic.j: sp.Integer(1)}),
)


def _agree(first: sp.Expr, second: sp.Expr) -> bool:
    """Whether two expressions take the same values at two unremarkable places, n = 3 and n = 4."""
    pairs = zip(_values(first), _values(second), strict=True)
    gaps = [one - other for one, other in pairs]
    return all(gap.is_finite is True and abs(gap) < sp.Float("1e-15") for gap in gaps)


@cache  # every known mistake is looked at again for every answer
def _values(expression: sp.Expr) -> list[sp.Expr]:
    points = (symbolic.Point(*place, genuine=False) for place in PLACES)
    return [_number(point, expression) for point in points]


def _number(point: symbolic.Point, expression: sp.Expr) -> sp.Expr:
    try:
        return sp.N(point.value(expression), 30)
    except (TypeError, ValueError):  # an index out of place, a symbol that can be no number
        return sp.nan


def _values_of_two(seen: sp.Expr, true: sp.Expr) -> str:
    """What it is for two responses and what it should be, at a place where these differ."""
    at = {symbolic.k: sp.Integer(2), symbolic.j: sp.Integer(1)}
    for genuine, seed in [(True, 0), (True, 1), (False, 0)]:
        point = symbolic.Point(2, seed, at, genuine=genuine)
        found, expected = _number(point, seen), _number(point, true)
        gap = found - expected
        if not (gap.is_finite and abs(gap) < sp.Float("1e-9")):
            break
    else:
        return ""
    try:
        place = point.text(seen - true if gap.is_finite else true)
    except ValueError:
        return ""
    return f": for {place} it should be {sp.N(expected, 4)}, and is {sp.N(found, 4)}"


def _in_difference(given: sp.Expr, truth: sp.Expr) -> str:
    """Which symbols the difference contains, if not all."""
    gap = sp.expand(sp.expand_log(sp.expand(given - truth), force=True))
    if gap.is_number:
        return f"; the difference is {gap}" if gap.is_finite else ""
    parts = {part for x in gap.atoms(sp.Indexed) for part in (x.base.label, *x.indices)}
    sums = {index for s in gap.atoms(sp.Sum) for index in s.variables} | {symbolic.n}
    names = {str(x.base.label) for x in gap.atoms(sp.Indexed)}
    names |= {str(x) for x in gap.free_symbols - parts - sums if isinstance(x, sp.Symbol)}
    return f"; the difference contains {', '.join(sorted(names))}"


def value_fault(
    answer: Any, truth: Any, mistakes: Mistakes, *, tolerance: float = 1e-9
) -> str | None:
    """What is wrong with a number, an array or a set of choices; None if nothing.

    >>> value_fault(0.5, 0.25, {"this is the root.": 0.5})
    'this is the root.'
    """
    if is_blank(answer):
        return NOT_YET
    if same(answer, truth, tolerance):
        return None
    said = (sentence for sentence, wrong in known(mistakes) if same(answer, wrong, tolerance))
    if (sentence := next(said, None)) is not None:
        return sentence
    if numbers(truth) is not None and same(answer, truth, CLOSE):
        return f"close, off by {_most(answer, truth)}: rounding or float32?"
    return f"{short(answer)} is not it."
