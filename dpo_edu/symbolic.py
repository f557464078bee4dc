"""SymPy symbols, the Lagrangian, and how a sum over a symbolic number n of responses is read.

The responses are numbered 1..n and n stays a symbol: nothing here is proved for n = 3 only.
Policies, references and rewards are indexed families ``p[i], q[i], r[i]``.
"""

import sympy as sp

n = sp.Symbol("n", integer=True, positive=True)
i, j, k = sp.symbols("i j k", integer=True, positive=True)
p = sp.IndexedBase("pi", positive=True)
q = sp.IndexedBase("pi^ref", positive=True)
r = sp.IndexedBase("r", real=True)
beta, Z = sp.symbols("beta Z", positive=True)
lam = sp.Symbol("lambda", real=True)


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
    return total(p[i] * r[i]) - beta * total(p[i] * sp.log(p[i] / q[i]))


def lagrangian() -> sp.Expr:
    """``J + lambda (sum_i pi_i - 1)`` (source A, appendix 1).

    >>> lagrangian() - objective() == lam * (total(p[i]) - 1)
    True
    """
    return objective() + lam * (total(p[i]) - 1)


def derivative(expression: sp.Expr, variable: sp.Indexed) -> sp.Expr:
    """Partial derivative of a sum over responses with respect to one of its members.

    SymPy returns a sum of Kronecker deltas; it collapses because the index of `variable` lies in
    1..n, which is the one fact supplied here. The index must differ from the summation index i.

    Raises
    ------
    ValueError
        If `variable` carries the summation index.

    >>> derivative(total(p[i] ** 2), p[k])
    2*pi[k]
    """
    if i in variable.indices:
        raise ValueError(f"variable: expected an index other than the summed {i}, got {variable}")
    inside = {sp.Le(index, n): True for index in (j, k)}
    return sp.diff(expression, variable).doit().subs(inside)


def merged(expression: sp.Expr) -> sp.Expr:
    """One summand for the whole expression: ``c1 sum f + c2 sum g`` becomes ``c1 f + c2 g``.

    Terms without a sum stay outside and are returned as they are, so an expression is a sum of
    `merged` only if all its terms are sums.

    >>> merged(total(p[i]) - 2 * total(q[i])) == p[i] - 2 * q[i]
    True
    """
    summands = []
    for term in sp.Add.make_args(sp.expand(expression)):
        coefficient, factor = term.as_independent(sp.Sum, as_Add=False)
        summands.append(coefficient * factor.function if isinstance(factor, sp.Sum) else term)
    return sp.Add(*summands)


def is_zero(expression: sp.Expr) -> bool:
    """Whether an expression vanishes identically, general-n sums being compared term by term.

    Equal summands imply equal sums, so True is a proof. False means only that no proof was found:
    use `differs` to establish that two expressions are unequal.

    >>> is_zero(total(p[i] * sp.log(p[i] / q[i])) - total(p[i] * (sp.log(p[i]) - sp.log(q[i]))))
    True
    """
    expression = sp.sympify(expression)
    if _simplest(expression) == 0:
        return True
    return expression.has(sp.Sum) and _only_sums(expression) and _simplest(merged(expression)) == 0


def _only_sums(expression: sp.Expr) -> bool:
    """Every term is one sum times a coefficient that does not depend on the summed index."""
    terms = sp.Add.make_args(sp.expand(expression))
    factors = [term.as_independent(sp.Sum, as_Add=False)[1] for term in terms]
    return i not in expression.free_symbols and all(isinstance(f, sp.Sum) for f in factors)


def _simplest(expression: sp.Expr) -> sp.Expr:
    return sp.simplify(sp.expand(sp.expand_log(expression)))


def at_numbers(expression: sp.Expr, size: int = 3) -> sp.Expr:
    """The expression for `size` responses with fixed, unremarkable numbers in it.

    A second reading of a general-n identity, by arithmetic instead of algebra, and the means to
    show that two expressions differ. Policies are unnormalised on purpose.

    >>> at_numbers(total(r[i]), size=2) == at_numbers(r[1] + r[2], size=2)
    True
    """
    concrete = sp.sympify(expression).subs({k: 1, j: 2}).subs(n, size).doit()
    for base in (p, q, r):
        numbers = {base[m]: _number(str(base), m) for m in range(1, size + 1)}
        concrete = concrete.subs(numbers)
    free = sorted(concrete.free_symbols, key=str)
    return concrete.subs({s: _number(str(s), 0) for s in free})


def _number(name: str, index: int) -> sp.Rational:
    """A rational in (0, 3) that depends on the name and the index alone."""
    code = sum(ord(letter) * (place + 1) for place, letter in enumerate(name)) + 37 * index
    return sp.Rational(101 + code * 7919 % 797, 331)


def differs(found: sp.Expr, expected: sp.Expr) -> bool:
    """Whether two expressions are certainly unequal: they take different values at `at_numbers`.

    >>> differs(sp.exp(r[k] / beta), sp.exp(r[k] * beta))
    True
    """
    gap = sp.N(at_numbers(found) - at_numbers(expected), 30)
    return bool(gap.is_number and abs(gap) > sp.Float("1e-9"))
