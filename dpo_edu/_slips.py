"""One slip away: which single change makes a wrong expression right."""

import cmath
from collections.abc import Callable, Iterator, Mapping

import sympy as sp

from dpo_edu.symbolic import Z, j, k, lam, n, p, q, r, β

Change = tuple[str, sp.Expr]  # a sentence, and the expression with the change made
Through = Callable[[sp.Expr], sp.Expr]
Parts = tuple[sp.Expr, ...]
MOST_CHANGES = 3000
# What n, k and j are, and what every member of a family and every symbol depends on.
POINTS = ((3, 3, 1, 0.37), (4, 2, 3, 0.61))


def one_slip(given: sp.Expr, truth: sp.Expr, through: Through) -> Iterator[str]:
    """Sentences for the single changes that make `given` the truth, the plainest first.

    Changes are tried at two places in floats; `through` is a substitution, as in a task.

    >>> next(one_slip(β * r[k] + q[k], β * r[k] - q[k], lambda x: x))
    'right but for one sign: that of pi_ref[k].'
    >>> next(one_slip(sp.log(Z) / β, β * sp.log(Z), lambda x: x))
    'right but for beta at log(Z)/beta: it divides, and should multiply.'
    >>> list(one_slip(r[k], q[k] + Z, lambda x: x))
    []
    """
    places = [_numbers(point, through) for point in POINTS]
    aim = [_value(truth, place) for place in places]
    for count, (sentence, changed) in enumerate(_changes(given, truth)):
        if count > MOST_CHANGES:
            return
        pairs = zip(places, aim, strict=True)
        if all(_near(_value(changed, place), value) for place, value in pairs):
            yield sentence


def _changes(given: sp.Expr, truth: sp.Expr) -> Iterator[Change]:
    """Every change that is tried."""
    for kind in (_signs, _betas, _left_out, _left_in, _functions, _factors, _families, _in_sums):
        yield from kind(given, truth)
    yield from _sums(given)


def _parts(given: sp.Expr) -> Iterator[tuple[sp.Expr, sp.Expr | None, Through]]:
    """Every part with the part around it, from the outside in, and how to put another in place."""
    yield given, None, _itself
    if isinstance(given, sp.Indexed) or not given.args:
        return
    inner = given.args[:1] if isinstance(given, sp.Sum) else given.args
    for place, part in enumerate(inner):
        before, after = given.args[:place], given.args[place + 1 :]

        def around(new: sp.Expr, before: Parts = before, after: Parts = after) -> sp.Expr:
            return given.func(*before, new, *after)

        for deeper, outer, put in _parts(part):
            yield deeper, given if outer is None else outer, _then(put, around)


def _itself(new: sp.Expr) -> sp.Expr:
    return new


def _then(first: Through, second: Through) -> Through:
    return lambda new: second(first(new))


def _is_term(outer: sp.Expr | None) -> bool:
    """Whether a part stands alone, as a term, or as what a function is taken of."""
    return outer is None or isinstance(outer, sp.Add | sp.exp | sp.log | sp.Sum)


def _signs(given: sp.Expr, _: sp.Expr) -> Iterator[Change]:
    for part, outer, put in _parts(given):
        if _is_term(outer) and not isinstance(outer, sp.log | sp.Sum):
            which = f"one sign: that of {_shown(part)}" if outer is not None else "the sign"
            yield f"right but for {which}.", put(-part)


def _betas(given: sp.Expr, _: sp.Expr) -> Iterator[Change]:
    says = {
        β: "it is missing",
        1 / β: "it must divide",
        β**2: "it divides, and should multiply",
        1 / β**2: "it multiplies, and should divide",
    }
    for part, outer, put in _parts(given):
        if not _is_term(outer):
            continue
        for factor, said in says.items():
            power = _power_of_beta(part)
            if factor == 1 / β and power > 0:
                said = "it is one too many"
            elif factor == β and power < 0:
                said = "it must not divide"
            if abs(_power_of_beta(factor)) == 2 and power * _power_of_beta(factor) >= 0:
                continue
            yield f"right but for beta at {_shown(part)}: {said}.", put(part * factor)


def _power_of_beta(part: sp.Expr) -> int:
    power = part.as_powers_dict().get(β, 0)
    return int(power) if sp.sympify(power).is_Integer else 0


def _left_in(given: sp.Expr, _: sp.Expr) -> Iterator[Change]:
    """A term or a factor too many."""
    for part, outer, put in _parts(given):
        if isinstance(outer, sp.Add):
            yield f"right but for the term {_shown(part)}: it does not belong here.", put(sp.S.Zero)
        elif isinstance(outer, sp.Mul) and part != -1:
            where = _shown(outer)
            yield (
                f"right but for the factor {_shown(part)} in {where}: it does not belong there.",
                put(sp.S.One),
            )


def _left_out(given: sp.Expr, truth: sp.Expr) -> Iterator[Change]:
    """A term of the truth that is missing."""
    for term in sp.Add.make_args(sp.expand(truth)):
        names = sorted(str(s) for s in _names(term))
        what = f"one with {', '.join(names)}" if names else "a number"
        yield f"right but for a term that is missing, {what}.", given + term


def _names(term: sp.Expr) -> set[str]:
    families = {str(x.base.label) for x in term.atoms(sp.Indexed)}
    return families | {str(s) for s in term.free_symbols & {β, Z, lam}}


def _functions(given: sp.Expr, _: sp.Expr) -> Iterator[Change]:
    """A logarithm, an exponential or a power too many or too few, a fraction upside down."""
    for part, outer, put in _parts(given):
        shown = _shown(part)
        if isinstance(part, sp.log):
            yield f"right but for the logarithm in {shown}: none belongs there.", put(part.args[0])
        if isinstance(part, sp.exp):
            yield f"right but for the exp in {shown}: none belongs there.", put(part.args[0])
        elif isinstance(part, sp.Pow):
            base = part.base
            yield f"right but for the power in {shown}.", put(base)
            yield f"right but for the power in {shown}.", put(base**2)
        if not part.is_number:
            yield (
                f"right but for the power of {shown}: it is off by a factor beta.",
                put(part**β),
            )
            yield f"right but for a logarithm: that of {shown} is needed.", put(sp.log(part))
            yield f"right but for an exp: that of {shown} is needed.", put(sp.exp(part))
            if outer is None or not isinstance(outer, sp.Pow):
                yield f"right but for {shown}: it is upside down.", put(1 / part)


def _factors(given: sp.Expr, _: sp.Expr) -> Iterator[Change]:
    """A factor that is missing."""
    for part, outer, put in _parts(given):
        if not _is_term(outer):
            continue
        index = _index_in(part)
        for factor in (lam, Z, 1 / Z, p[index], q[index], 1 / p[index], 1 / q[index]):
            if factor == lam and not given.has(lam):
                continue
            name, how = _named(factor)
            yield f"right but for {name} at {_shown(part)}: it must {how}.", put(part * factor)


def _named(factor: sp.Expr) -> tuple[str, str]:
    base, exponent = factor.as_base_exp()
    return str(base), "multiply" if exponent == 1 else "divide"


def _index_in(part: sp.Expr) -> sp.Expr:
    return min((x.indices[0] for x in part.atoms(sp.Indexed)), key=str, default=k)


def _families(given: sp.Expr, _: sp.Expr) -> Iterator[Change]:
    """A member of the wrong family, or of the wrong response."""
    for part, _outer, put in _parts(given):
        if not isinstance(part, sp.Indexed):
            continue
        index = part.indices[0]
        others = {p[index], q[index], r[index], part.base[k], part.base[j]} - {part}
        for other in sorted(others, key=str):
            yield f"right but for {part}: another one belongs in its place.", put(other)


def _sums(given: sp.Expr) -> Iterator[Change]:
    """All sums written as their k-th term."""
    sums = given.atoms(sp.Sum)
    if sums:
        terms = {s: s.function.subs(s.variables[0], k) for s in sums}
        yield (
            "right but for the sums: of each, only the term with k belongs here.",
            given.xreplace(terms),
        )


def _in_sums(given: sp.Expr, _: sp.Expr) -> Iterator[Change]:
    """What stands inside a sum or a logarithm and should not, or the wrong weight in a sum."""
    for part, _outer, put in _parts(given):
        if isinstance(part, sp.log) and isinstance(part.args[0], sp.Add):
            first, *rest = sorted(
                part.args[0].args, key=lambda term: bool(term.could_extract_minus_sign())
            )
            ratio = sp.log(-first / sp.Add(*rest))
            yield (
                f"right but for {_shown(part)}: the logarithm of a ratio is asked for.",
                put(ratio),
            )
        if not isinstance(part, sp.Sum):
            continue
        index, body = part.variables[0], part.function
        for term in sp.Add.make_args(sp.expand(body)):
            if not term.has(index):
                outside = term + part.func(sp.expand(body) - term, *part.limits)
                said = f"{_shown(term)} stands inside a sum: it is counted n times"
                yield f"right but for one term: {said}.", put(outside)
        logs = [factor for factor in sp.Mul.make_args(body) if isinstance(factor, sp.log)]
        if len(logs) == 1:
            new = part.func(p[index] * logs[0], *part.limits)
            yield f"right but for the weight of {_shown(logs[0])}: it is pi[{index}].", put(new)


def _shown(part: sp.Expr) -> str:
    """A part as it is written."""
    return " ".join(str(part).split())


# --- values -------------------------------------------------------------------------------------

Numbers = Mapping[object, complex]


def _numbers(point: tuple[int, int, int, float], through: Through) -> dict[object, complex]:
    """A number for all that an expression may hold, none of them 1."""
    size, at_k, at_j, start = point
    numbers: dict[object, complex] = {n: size, k: at_k, j: at_j, β: start + 0.41, lam: start + 1.7}
    for place, family in enumerate((p, q, r)):
        for member in range(1, size + 1):
            number = (start * (7 * place + 3 * member + 1)) % 0.83 + 0.11
            numbers[str(family.label), member] = number
    numbers[Z] = start + 2.3
    written = _value(through(Z), numbers)
    return numbers | {Z: written}


def _value(expression: sp.Expr, numbers: Numbers) -> complex:
    """The expression's value; nan where it has none."""
    try:
        return _computed(sp.sympify(expression), numbers)
    except (KeyError, ValueError, TypeError, ZeroDivisionError, OverflowError):
        return complex("nan")


def _computed(e: sp.Expr, numbers: Numbers) -> complex:
    if e in numbers:
        return numbers[e]
    if e.is_number and not e.args:
        return complex(e)
    if isinstance(e, sp.Indexed):
        (index,) = e.indices
        return numbers[str(e.base.label), int(_computed(index, numbers).real)]
    if isinstance(e, sp.Sum):
        ((index, low, high),) = e.limits
        ends = (int(_computed(x, numbers).real) for x in (low, high))
        first, last = ends
        body = (_computed(e.function, {**numbers, index: y}) for y in range(first, last + 1))
        return sum(body)
    values = [_computed(x, numbers) for x in e.args]
    if isinstance(e, sp.Add):
        return sum(values)
    if isinstance(e, sp.Mul):
        product: complex = 1
        for value in values:
            product *= value
        return product
    if isinstance(e, sp.Pow):
        return complex(values[0]) ** values[1]
    if isinstance(e, sp.exp | sp.log):
        return (cmath.exp if isinstance(e, sp.exp) else cmath.log)(values[0])
    return complex(e.func(*values))


def _near(first: complex, second: complex) -> bool:
    return abs(first - second) <= 1e-9 * max(1.0, abs(second))
