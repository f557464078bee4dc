"""Random expressions over sums: does `symbolic.is_zero` ever prove what is false?

``python tests/random_sums.py 10000 --seed 0`` draws so many pairs of expressions, asks for a proof
that they are equal, and evaluates both to 60 digits by an evaluator of its own.
"""

import argparse
import random
import signal
import sys
from collections import Counter

import sympy as sp
from mpmath import exp, log, mpf, workdps
from tqdm import tqdm

from dpo_edu.symbolic import i, is_zero, j, k, lam, n, p, q, r, β

m = sp.Symbol("m", integer=True, positive=True)
v, u = sp.symbols("v u", integer=True, positive=True)
NAMES = (i, j, k, v, u)  # each may be bound here and free there


def draw_index(rng, scope):
    """An index: a bound one, mostly, or a free one, or a literal."""
    return rng.choice([*scope, *scope, *scope, rng.choice(NAMES), sp.Integer(1), sp.Integer(2)])


def draw_factor(rng, scope):
    """One factor of a summand."""
    a, b = draw_index(rng, scope), draw_index(rng, scope)
    kinds = [
        p[a], q[a], r[a], p[a] * q[b], sp.log(p[a] / q[a]), sp.log(p[a] * q[b]),
        sp.exp(r[a] / β), a, a**2, β, lam, 1 / β, sp.Integer(2), sp.Rational(-1, 3),
        sp.Integer(1), sp.KroneckerDelta(a, b), p[a] + q[b], r[a] - lam,
        sp.log(p[a]) - sp.log(q[b]),
    ]  # fmt: skip
    return rng.choice(kinds)


def draw_sum(rng, scope=(), depth=0):
    """A sum over one index or two, perhaps nested, with random limits."""
    index = rng.choice(NAMES)
    low = rng.choice([1, 1, 1, 1, 2, 0, 3])
    high = rng.choice([n, n, n, n, n, m, n + 1, 2 * n, sp.Integer(3), *scope])
    body = draw_product(rng, (*scope, index))
    if rng.random() < 0.3:
        body += draw_product(rng, (*scope, index))
    if depth < 1 and rng.random() < 0.25:
        body *= draw_sum(rng, (*scope, index), depth + 1)
    return sp.Sum(body, (index, low, high))


def draw_product(rng, scope):
    """One to three factors."""
    return sp.Mul(*(draw_factor(rng, scope) for _ in range(rng.choice([1, 1, 2, 2, 3]))))


def draw_expression(rng):
    """A linear combination of sums, products of sums and terms without a sum."""
    parts = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        part = draw_sum(rng)
        if rng.random() < 0.1:
            part *= draw_sum(rng)
        if rng.random() < 0.5:
            part *= draw_factor(rng, ())
        parts.append(part)
    if rng.random() < 0.2:
        parts.append(draw_product(rng, ()))
    return sp.Add(*parts)


def rewritten(rng, expression):
    """The expression in other words, or nearly: some of these rewritings are wrong on purpose."""

    def somewhere(change):
        sums = sorted(expression.atoms(sp.Sum), key=str)
        chosen = rng.choice(sums) if sums else None
        return expression.xreplace({chosen: change(chosen)}) if sums else expression

    def renamed(s):  # wrong where the new name is free in the sum
        (old, low, high), *outer = s.limits
        new = rng.choice(NAMES)
        return sp.Sum(s.function.xreplace({old: new}), (new, low, high), *outer)

    def split(s):
        terms = sp.Add.make_args(sp.expand(s.function))
        return sp.Add(*(sp.Sum(term, *s.limits) for term in terms))

    def drawn_out(s):  # wrong where a factor runs with the index
        parts = sp.Mul.make_args(s.function)
        chosen = rng.choice(parts)
        return chosen * sp.Sum(s.function / chosen, *s.limits)

    def first_apart(s):  # right for sums that are not empty
        (index, low, high), *outer = s.limits
        if outer:
            return s
        return s.function.subs(index, low) + sp.Sum(s.function, (index, low + 1, high))

    def other_limits(s):  # wrong
        (index, low, high), *outer = s.limits
        low, high = rng.choice([(low + 1, high), (low, high + 1), (low, m), (low, 2 * n)])
        return sp.Sum(s.function, (index, low, high), *outer)

    def swapped(s):
        return sp.Sum(s.function, *reversed(s.limits))

    def squared(s):  # wrong
        return s.func(s.function**2, *s.limits)

    changes = [renamed, renamed, split, split, drawn_out, drawn_out, first_apart, other_limits,
               swapped, squared]  # fmt: skip
    whole = [sp.expand, sp.expand_log, sp.factor_terms, lambda e: sp.expand(sp.expand_log(e))]
    for _ in range(rng.choice([1, 1, 2, 3])):
        change = rng.choice([*changes, *whole])
        other = change(expression) if change in whole else somewhere(change)
        expression = expression if other.has(sp.nan, sp.zoo) else other  # a factor 0 drawn out
    return expression


def value(node, env):
    """The number an expression stands for: indices bound in `env`, members by their own table."""
    if isinstance(node, sp.Indexed):
        return env["family"](str(node.base), *(value(a, env) for a in node.indices))
    if isinstance(node, sp.Sum):
        return value_of_sum(node.function, list(node.limits), env)
    if node.is_Symbol:
        return env[node]
    if node.is_Rational:
        return mpf(int(node.p)) / int(node.q)
    parts = [value(a, env) for a in node.args]
    if node.is_Add:
        return sum(parts)
    if node.is_Mul:
        product = mpf(1)
        for part in parts:
            product = product * part
        return product
    if node.is_Pow:
        return parts[0] ** (int(parts[1]) if parts[1] == int(parts[1]) else parts[1])
    if isinstance(node, sp.KroneckerDelta):
        return mpf(parts[0] == parts[1])
    if isinstance(node, (sp.log, sp.exp)):
        return (log if isinstance(node, sp.log) else exp)(parts[0])
    if isinstance(node, sp.Piecewise):
        return next(value(e, env) for e, condition in node.args if truth(condition, env))
    raise TypeError(f"no value for {type(node).__name__}")


def truth(condition, env):
    """A condition of a Piecewise."""
    if condition in (sp.true, sp.false):
        return bool(condition)
    if isinstance(condition, (sp.And, sp.Or)):
        parts = [truth(part, env) for part in condition.args]
        return all(parts) if isinstance(condition, sp.And) else any(parts)
    left, right = (value(a, env) for a in condition.args)
    return {sp.Le: left <= right, sp.Lt: left < right, sp.Ge: left >= right, sp.Gt: left > right,
            sp.Eq: left == right, sp.Ne: left != right}[type(condition)]  # fmt: skip


def value_of_sum(body, limits, env):
    """Add the values of the body, index by index, the last limit being the outermost."""
    if not limits:
        return value(body, env)
    *inner, (index, low, high) = limits
    first, last = (int(value(end, env)) for end in (low, high))
    return sum(
        (value_of_sum(body, inner, env | {index: mpf(y)}) for y in range(first, last + 1)),
        mpf(0),
    )


def points(sizes=(1, 2, 3, 4), each=2):
    """Numbers for every symbol, at several sizes n; members of families are looked up by a hash."""
    for size in sizes:
        for seed in range(each):
            rng = random.Random(f"{size}, {seed}")
            table = {}

            def family(name, y, rng=rng, table=table):
                sign = rng.choice([1, -1]) if name == "r" else 1
                return table.setdefault((name, y), sign * mpf(rng.randint(1, 40)) / 13)

            free = {s: mpf(rng.randint(1, size + 1)) for s in (*NAMES, m)}
            yield free | {
                n: mpf(size),
                β: mpf(rng.randint(2, 30)) / 7,
                lam: mpf(rng.randint(-30, 30)) / 11,
                "family": family,
            }


def judged(first, second):
    """Whether two expressions are equal at every point; an empty sum is 0."""
    with workdps(60):
        for env in points():
            a, b = value(first, env), value(second, env)
            if abs(a - b) > mpf("1e-35") * (1 + abs(a)):
                return False
    return True


def draw(seed):
    """A pair of expressions: unrelated, in other words, or nearly."""
    rng = random.Random(seed)
    first = draw_expression(rng)
    return first, draw_expression(rng) if rng.random() < 0.1 else rewritten(rng, first)


def proved(expression, seconds=3):
    """Whether `is_zero` proves it in time: SymPy can think for hours."""

    def stop(*_):
        raise TimeoutError

    if not hasattr(signal, "alarm"):  # Windows
        return is_zero(expression)
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        return is_zero(expression)
    except TimeoutError:
        return False
    finally:
        signal.alarm(0)


def outcome(seed):
    """Whether the pair was proved equal, and whether it is."""
    first, second = draw(seed)
    return proved(first - second), judged(first, second)


def tally(seeds):
    """How often each (proved, equal) came out, and the draws whose proof is false."""
    counts, false = Counter(), []
    for seed in seeds:
        found, equal = outcome(seed)
        counts[found, equal] += 1
        false += [seed] if found and not equal else []
    return counts, false


def main():
    """Count the outcomes and name the draws whose proof is false."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("draws", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts, false = tally(tqdm(range(options.seed, options.seed + options.draws)))
    print(f"{options.draws} draws from seed {options.seed}: {len(false)} false proofs {false[:20]}")
    print(
        f"{counts[True, True]} of {counts[True, True] + counts[False, True]} true ones proved, "
        f"{counts[False, False]} false ones refused"
    )
    return bool(false)


if __name__ == "__main__":
    sys.exit(main())
