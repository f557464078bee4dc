"""SymPy symbols, the Lagrangian, and how a sum over a symbolic number n of responses is read.

The responses are numbered 1..n and n stays a symbol. Policies, references and rewards are indexed
families ``p[i], q[i], r[i]``. `is_zero` proves that an expression vanishes for every n; `miss`
shows that two expressions differ, at a genuine policy.

Needs SymPy and nothing else.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy as sp
from sympy.core.evalf import PrecisionExhausted


class _Reference(sp.IndexedBase):  # type: ignore[misc]
    """The reference policy, typeset as texts write it."""

    def _latex(self, _: object) -> str:
        return r"\pi_{\mathrm{ref}}"


n = sp.Symbol("n", integer=True, positive=True)
i, j, k = sp.symbols("i j k", integer=True, positive=True)
p = sp.IndexedBase("pi", positive=True)
q = _Reference("pi_ref", positive=True)
r = sp.IndexedBase("r", real=True)
β, Z = sp.symbols("beta Z", positive=True)
lam = sp.Symbol("lambda", real=True)

POLICIES = ("pi", "pi_ref")  # families that sum to 1 over the responses of a prompt
FAMILIES = (*POLICIES, "r")  # families that have one member for each response
DIGITS = 30


def total(term: sp.Expr) -> sp.Sum:
    """The sum of a term over all responses, ``sum_{i=1}^n term``.

    >>> total(p[i])
    Sum(pi[i], (i, 1, n))
    """
    return sp.Sum(term, (i, 1, n))


def objective() -> sp.Expr:
    """``J = sum_i pi_i r_i - beta sum_i pi_i log(pi_i / pi_ref_i)`` for n responses (claim O2).

    >>> objective().has(sp.Sum)
    True
    """
    return total(p[i] * r[i]) - β * total(p[i] * sp.log(p[i] / q[i]))


def lagrangian() -> sp.Expr:
    """``J + lambda (sum_i pi_i - 1)`` (source A, appendix 1).

    >>> lagrangian() - objective() == lam * (total(p[i]) - 1)
    True
    """
    return objective() + lam * (total(p[i]) - 1)


def derivative(expression: sp.Expr, variable: sp.Indexed) -> sp.Expr:
    """Partial derivative of a sum over responses with respect to one of its members.

    SymPy returns a sum of Kronecker deltas; it collapses because the index of `variable`, like j
    and k, lies in 1..n, which is the one fact supplied here.

    Raises
    ------
    ValueError
        If another member of that family has an index such as ``2 i``.

    >>> derivative(total(p[i] ** 2), p[k])
    2*pi[k]
    >>> derivative(sp.Sum(p[k], (k, 1, n)), p[k])
    1
    """
    members = {j, k, *(index for index in variable.indices if index.is_Symbol)}
    inside = {order: True for index in members for order in (sp.Le(index, n), sp.Ge(n, index))}
    for member in expression.atoms(sp.Indexed):
        plain = all(index.is_Symbol or index.is_Integer for index in member.indices)
        if member.base == variable.base and not plain:
            raise ValueError(f"{member}: expected an index that is a symbol or a number")
    bound = expression.atoms(sp.Sum, sp.Product, sp.Integral)
    summed = {index for s in bound for index in s.variables}
    clash = summed & set().union(*(index.free_symbols for index in variable.indices))
    apart = bound_apart(expression) if clash else expression
    return sp.diff(apart, variable).doit().subs(inside)


# --- a proof that an expression vanishes -------------------------------------------------------


def is_zero(expression: sp.Expr) -> bool:
    """Whether SymPy proves that an expression vanishes, whatever its symbols stand for.

    True is a proof for every n. It asks that the limits of every sum are in order whatever their
    symbols (1 to n, or empty): to SymPy a sum from 3 to 0 is not 0. False means only that no proof
    was found: `miss` establishes that two expressions are unequal.

    >>> is_zero(total(p[i] * sp.log(p[i] / q[i])) - total(p[i] * (sp.log(p[i]) - sp.log(q[i]))))
    True
    >>> is_zero(total(p[i]) - sp.Sum(p[i], (i, 2, n)))
    False
    """
    plain = bound_apart(sp.sympify(expression))
    if not is_plain(sp.sympify(expression)) or _nonzero(plain):
        return False
    apart = sp.expand(sp.expand_log(plain))
    simple = sp.simplify(apart)  # where it takes a sum out of a sum, the indices are numbered anew
    return bool(simple == 0 or sp.simplify(bound_apart(simple)) == 0)


def is_plain(expression: sp.Expr) -> bool:
    """Whether SymPy's rules for sums can be trusted with it: limits in order, indices as they run.

    Its sums from 3 to 0 are not 0, its rules for Kronecker deltas take every equation to have a
    whole solution, and what an index is declared to be it is taken to be, wherever the sum begins.

    >>> is_plain(total(p[i])), is_plain(sp.Sum(p[i], (i, 3, n))), is_plain(sp.Sum(i, (i, 0, n)))
    (True, False, False)
    """
    for delta in expression.atoms(sp.KroneckerDelta):
        if not all(side.is_Symbol or side.is_Integer for side in delta.args):
            return False
    for s in expression.atoms(sp.Sum, sp.Product):
        if isinstance(s, sp.Product) and s.has(sp.KroneckerDelta):
            return False
        if not all(_runs_as_declared(*limit) for limit in s.limits):
            return False
    return all(_in_order(s) for s in bound_apart(expression).atoms(sp.Sum, sp.Product))


def _runs_as_declared(index: sp.Symbol, low: sp.Expr, _: sp.Expr) -> bool:
    """Whether a summation index is assumed to be no more than it is."""
    signs = {"positive": low.is_positive, "nonnegative": low.is_nonnegative}
    sign = {fact: True for fact, holds in signs.items() if holds}
    runs = sp.Symbol("_", integer=True, **sign).assumptions0.items()
    return {item for item in index.assumptions0.items() if item[1]} <= set(runs)


def _in_order(s: sp.Sum) -> bool:
    """Whether a sum runs over whole numbers and ends no more than one place before it begins."""
    return all(
        low.is_integer and high.is_integer and sp.expand(high - low + 1).is_nonnegative
        for _, low, high in s.limits
    )


def _nonzero(expression: sp.Expr) -> bool:
    """Whether numbers show at once that an expression does not vanish (no proof is sought then)."""
    for size in (1, 2, 3):
        try:
            number = _number_of(at_numbers(expression, size))
        except (TypeError, ValueError):  # no number: a function without a name, a sum out of order
            continue
        if abs(number) > 1e-9:
            return True
    return False


def _number_of(value: sp.Expr) -> complex:
    """The value in digits, or 0 where its terms cancel in as many digits as were tried."""
    try:
        return complex(value.evalf(DIGITS, maxn=1000, strict=True))
    except PrecisionExhausted:
        return 0j


class _Bound(sp.Symbol):  # type: ignore[misc]
    """A summation index; equal to no symbol that anybody else makes."""

    __slots__ = ()


def bound_apart(expression: sp.Expr) -> sp.Expr:
    """The same expression with summation indices of its own, numbered from the innermost sum out.

    A renamed index is then the same index, and no factor outside a sum can be mistaken for one that
    runs with it: in ``r[v] * Sum(pi[v], (v, 1, n))`` the two v are different things.

    >>> bound_apart(sp.Sum(p[k], (k, 1, n))) == bound_apart(total(p[i]))
    True
    """
    old = {s: sp.Dummy(**s.assumptions0) for s in expression.atoms(_Bound)}
    return _numbered(expression.xreplace(old))


def _numbered(expression: sp.Expr) -> sp.Expr:
    """Every summation index by the number of sums in its sum, from the innermost out."""
    if not expression.args or isinstance(expression, sp.Indexed):
        return expression
    if not isinstance(expression, (sp.Sum, sp.Product)):
        return expression.func(*map(_numbered, expression.args))
    body = _numbered(expression.function)
    limits = [(old, *map(_numbered, ends)) for old, *ends in expression.limits]
    inner = {v for s in body.atoms(sp.Sum, sp.Product) for v in s.variables}
    depth = max((int(v.name[1:]) for v in inner), default=0)
    for place, (old, low, high) in enumerate(limits):  # the innermost comes first
        sign = "positive" if low.is_positive else "nonnegative"
        facts = {sign: True} if low.is_Integer and low >= 0 else {}
        new = _Bound(f"_{depth + place + 1}", integer=True, **facts)
        body = body.subs(old, new)
        before = [(s, low.subs(old, new), high.subs(old, new)) for s, low, high in limits[:place]]
        limits = [*before, (new, low, high), *limits[place + 1 :]]
    return expression.func(body, *limits)


# --- genuine policies, at which two expressions differ -----------------------------------------


@dataclass(frozen=True)
class Point:
    """Numbers for every symbol: policies of `size` responses that sum to 1, and what follows.

    Z is the partition function of these numbers and lambda the multiplier beta (1 - log Z). Other
    symbols get a rational number that their assumptions allow, or the one in `given`. Free indices
    stand for responses that no literal index names. Where not `genuine`, policies do not sum to 1
    and Z and lambda are numbers like others; what holds whatever the symbols are holds there too.
    """

    size: int
    seed: int = 0
    given: Mapping[sp.Expr, sp.Expr] = field(default_factory=dict)
    genuine: bool = True

    def value(self, expression: sp.Expr) -> sp.Expr:
        """The expression here, exactly: sums written out, then numbers put in.

        Raises
        ------
        ValueError
            If an index lies outside 1..size, or a sum ends before it begins.

        >>> Point(3).value(total(p[i]))
        1
        """
        return self._written_out(expression).xreplace(self._numbers(expression))

    def text(self, expression: sp.Expr) -> str:
        """The numbers that the expression uses.

        >>> Point(2).text(p[1] / β)
        'n = 2, beta = 7/3, pi = (5/6, 1/6)'
        """
        given = {s: v for s, v in self.given.items() if expression.has(s)}
        families = {str(base) for base in expression.atoms(sp.IndexedBase)} & {*FAMILIES}
        sized = families or expression.free_symbols & {n, Z, lam}
        parts = {"n": str(self.size)} if sized else {}
        parts |= {str(s): str(v) for s, v in {**self._places(expression), **given}.items()}
        numbers = self._numbers(expression)
        if self.genuine and {Z, lam} & numbers.keys():
            numbers |= {β: self._number(β), q[1]: sp.S.One, r[1]: sp.S.One}
        for symbol, number in sorted(numbers.items(), key=lambda pair: str(pair[0])):
            name = str(symbol)
            if isinstance(symbol, sp.Indexed) and str(symbol.base) in FAMILIES:
                prompt = symbol.indices[:-1]
                row = [symbol.base[(*prompt, y)] for y in range(1, self.size + 1)]
                name = str(symbol.base) + (str(list(prompt)) if prompt else "")
                number = "(" + ", ".join(str(self._number(member)) for member in row) + ")"
            if symbol not in (Z, lam) or not self.genuine:
                parts[name] = str(number)
        return ", ".join(f"{name} = {number}" for name, number in parts.items())

    def _places(self, expression: sp.Expr) -> dict[sp.Symbol, sp.Integer]:
        """Free indices on responses that no literal index names; other whole numbers in 1..size."""
        apart = bound_apart(sp.sympify(expression)).xreplace(dict(self.given))
        used = set().union(
            *(
                a.args[-1:] if isinstance(a, sp.Indexed) else a.args
                for a in apart.atoms(sp.Indexed, sp.KroneckerDelta)
            ),
            (),
        )
        free = {s for s in apart.free_symbols if s.is_integer and s != n}
        free = {s for s in free if isinstance(s, sp.Symbol) and not isinstance(s, _Bound)}
        indices = free & set().union(*(u.free_symbols for u in used), ())
        order = [k, j, *sorted(indices - {k, j}, key=str)]
        vacant = [y for y in range(self.size, 0, -1) if sp.Integer(y) not in used]
        places = {s: sp.Integer(y) for s, y in zip(order, vacant, strict=False) if s in indices}
        for s in free - indices:
            places[s] = sp.Integer(1 + _code(s, self.seed) % self.size)
            if not _can_be(s, places[s]):
                raise ValueError(f"{s}: expected a symbol that can be {places[s]}")
        return places

    def _written_out(self, expression: sp.Expr) -> sp.Expr:
        placed = {**self._places(expression), n: sp.Integer(self.size), **self.given}
        return _added_up(bound_apart(sp.sympify(expression)).xreplace(placed)).doit()

    def _numbers(self, expression: sp.Expr) -> dict[sp.Expr, sp.Expr]:
        """What every member of a family, and every other symbol, stands for."""
        written = self._written_out(expression)
        members = {m: self._number(m) for m in written.atoms(sp.Indexed)}
        symbols = written.xreplace(members).free_symbols
        return members | {s: self._number(s) for s in sorted(symbols, key=str)}

    def _number(self, symbol: sp.Expr) -> sp.Expr:
        if symbol in self.given:
            return sp.sympify(self.given[symbol])
        if isinstance(symbol, sp.Indexed) and str(symbol.base) in FAMILIES:
            return self._of_response(symbol)
        if symbol in (Z, lam) and self.genuine:
            log_Z = sp.log(self.value(total(q[i] * sp.exp(r[i] / β))))
            return sp.exp(log_Z) if symbol == Z else self._number(β) * (1 - log_Z)
        code = _code(symbol, self.seed)
        size = sp.Rational(1 + code % 29, 11) + sp.Rational(not (1 + code % 29) % 11, 3)  # never 1
        number = -size if symbol.is_negative or not (symbol.is_nonnegative or code % 2) else size
        if not _can_be(symbol, number):
            raise ValueError(
                f"{symbol}: expected a symbol that can be a fraction (or a number in at)"
            )
        return number

    def _of_response(self, member: sp.Indexed) -> sp.Expr:
        """A policy's probability, or a reward."""
        *prompt, y = member.indices
        if self.genuine and not (y.is_Integer and 1 <= y <= self.size):
            raise ValueError(f"{member}: expected an index in 1..{self.size}, got {y}")
        code = _code((str(member.base), *prompt, y), self.seed)
        if str(member.base) == "r":
            return sp.Rational(code % 31 - 15, 7)
        if not self.genuine:
            return sp.Rational(1 + code % 9, 7)
        row = [_code((str(member.base), *prompt, m), self.seed) for m in range(1, self.size + 1)]
        return sp.Rational(1 + code % 9, sum(1 + code % 9 for code in row))


def _added_up(expression: sp.Expr) -> sp.Expr:
    """Sums with numbers for limits, written out; one that ends before it begins is refused."""
    if not expression.args or isinstance(expression, sp.Indexed):
        return expression
    if not isinstance(expression, sp.Sum):
        return expression.func(*map(_added_up, expression.args))
    *inner, (index, low, high) = expression.limits  # the outermost comes last
    low, high = _added_up(low), _added_up(high)
    if not (low.is_Integer and high.is_Integer and high - low >= -1):
        raise ValueError(f"a sum: expected limits in order, got {low} to {high}")
    body = sp.Sum(expression.function, *inner) if inner else expression.function
    terms = (_added_up(body.xreplace({index: sp.Integer(y)})) for y in range(low, high + 1))
    return sp.Add(*terms)


def _code(key: object, seed: int) -> int:
    """A whole number that depends on the name and the seed alone."""
    return zlib.crc32(f"{key}, {seed}".encode()) >> 7


def at_numbers(expression: sp.Expr, size: int = 3, seed: int = 0) -> sp.Expr:
    """The expression for `size` responses with fixed, unremarkable numbers in it.

    Policies do not sum to 1 here, on purpose: equal values speak for an identity in all symbols.

    >>> at_numbers(total(r[i]), size=2) == at_numbers(r[1] + r[2], size=2)
    True
    """
    return Point(size, seed, genuine=False).value(expression)


def miss(
    found: sp.Expr, expected: sp.Expr, at: Mapping[sp.Expr, sp.Expr] | None = None
) -> tuple[float, str] | None:
    """By how much two expressions differ at a genuine point, and the point; None if they agree.

    Points of four sizes are tried.

    Raises
    ------
    ValueError
        If the difference is not a real number there, if its indices suit no size up to 9, or if
        `at` gives a number to what a policy determines, or one that the symbol cannot stand for.

    >>> miss(sp.exp(r[1]), sp.exp(r[1]) / β)[1]
    'n = 2, beta = 4/3, r = (13/7, -6/7)'
    >>> miss(total(p[i]), sp.Integer(1)) is None  # every policy sums to 1
    True
    """
    difference, tried = sp.sympify(found) - sp.sympify(expected), 0
    given = dict(at or {})
    _refuse_given(given, difference)
    for size in range(2, 10):
        point = Point(size, size, given)
        try:
            value = point.value(difference)
        except ValueError as error:
            refusal = error
            continue
        try:
            number = _number_of(value)
        except (TypeError, OverflowError):
            number = complex("nan")
        if not abs(number.imag) < 1e-20 or not math.isfinite(number.real):
            got = sp.N(value, 4)
            raise ValueError(f"expected a real number at {point.text(difference)}, got {got}")
        if abs(number) > 1e-9:
            return number.real, point.text(difference)
        if (tried := tried + 1) == 4:
            return None
    raise refusal


def _refuse_given(given: Mapping[sp.Expr, sp.Expr], expression: sp.Expr) -> None:
    """Refuse numbers for policies, rewards, n, Z, lambda and what only looks like these."""
    scalars = {s for s in expression.free_symbols if isinstance(s, sp.Symbol)}
    scalars -= {base.label for base in expression.atoms(sp.IndexedBase)}
    known = {str(s): s for s in scalars} | {str(s): s for s in (n, Z, lam, β)}
    for symbol in scalars:
        if symbol != known[str(symbol)]:
            raise ValueError(f"{symbol}: expected dpo_edu.symbolic's, got another of that name")
    families = [m for m in expression.atoms(sp.Indexed) if str(m.base) in FAMILIES]
    if {Z, lam} & scalars and any(len(member.indices) > 1 for member in families):
        raise ValueError("Z and lambda: expected one prompt, got families indexed by prompts")
    for symbol, number in given.items():
        if not expression.has(symbol):
            raise ValueError(f"at: expected symbols of the expressions, got {symbol!r}")
        family = str(symbol.base) if isinstance(symbol, sp.Indexed) else ""
        if family in FAMILIES or symbol in (n, Z, lam):
            raise ValueError(f"at: expected no number for {symbol}, which a policy determines")
        number = sp.sympify(number)
        if not number.is_Rational or not _can_be(symbol, number):
            raise ValueError(f"at: expected a rational number that {symbol} can be, got {number}")


def _can_be(symbol: sp.Expr, number: sp.Expr) -> bool:
    """Whether the number is all that the symbol is assumed to be."""
    facts = {fact: value for fact, value in symbol.assumptions0.items() if value is not None}
    return all(
        getattr(number, f"is_{fact}", value) in (value, None) for fact, value in facts.items()
    )


def differs(found: sp.Expr, expected: sp.Expr) -> bool:
    """Whether two expressions certainly differ: `miss` finds a genuine point.

    >>> differs(sp.exp(r[k] / β), sp.exp(r[k] * β))
    True
    """
    return miss(found, expected) is not None
