"""Interval arithmetic that encloses true values: Gibbs policies, zeros of functions and systems.

An interval is a pair of binary numbers with every operation rounded outwards (mpmath), so that the
true value cannot leave it. A zero is not believed because a solver stopped near it: `zero` and
`solved` return an interval only where Newton's operator, evaluated in intervals, proves that the
zero is there and that there is no other.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from mpmath import libmp

BITS = 200
MOST_PIECES = 20_000
RADIUS = Fraction(1, 10**12)
NARROW = Fraction(1, 2**70)
Vector = Sequence[Any]  # of intervals, or of duals
ComplexResult = libmp.libmpf.ComplexResult


class NotProved(ValueError):
    """What was to be enclosed is not shown to exist, or not to be the only one."""


class Arithmetic:
    """What follows from sum, product, inverse and the change of sign."""

    def __add__(self, other: Any) -> Any:
        raise NotImplementedError

    def __mul__(self, other: Any) -> Any:
        raise NotImplementedError

    def inverse(self) -> Any:
        """One divided by it."""
        raise NotImplementedError

    def __neg__(self) -> Any:
        return self * -1

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __radd__(self, other: Any) -> Any:
        return self + other

    def __rmul__(self, other: Any) -> Any:
        return self * other

    def __truediv__(self, other: Any) -> Any:
        return self * number(other).inverse()

    def __rtruediv__(self, other: Any) -> Any:
        return self.inverse() * other


class Interval(Arithmetic):
    """All numbers between two binary ones, each operation rounded outwards."""

    def __init__(self, low: Any, high: Any) -> None:
        self._ends = (low, high)  # as mpmath writes them: sign, mantissa, exponent, bits

    @property
    def ends(self) -> tuple[Fraction, Fraction]:
        """Both ends, exactly; raises NotProved where one is infinite."""
        if not all(end[1] or end == libmp.fzero for end in self._ends):
            raise NotProved(f"expected a bounded interval, got {self}")
        low, high = (Fraction(*map(int, libmp.to_rational(end))) for end in self._ends)
        return low, high

    @property
    def middle(self) -> "Interval":
        """A number near its middle, as an interval without width."""
        point = libmp.libmpi.mpi_mid(self._ends, BITS)
        return Interval(point, point)

    @property
    def sign(self) -> int:
        """1 or -1 where all its numbers have that sign, else 0."""
        low, high = (libmp.mpf_sign(end) for end in self._ends)
        return 1 if low > 0 else -1 if high < 0 else 0

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Dual):
            return NotImplemented
        return Interval(*libmp.libmpi.mpi_add(self._ends, number(other)._ends, BITS))

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Dual):
            return NotImplemented
        return Interval(*libmp.libmpi.mpi_mul(self._ends, number(other)._ends, BITS))

    def __pow__(self, power: int) -> "Interval":
        return Interval(*libmp.libmpi.mpi_pow_int(self._ends, power, BITS))

    def __abs__(self) -> "Interval":
        return Interval(*libmp.libmpi.mpi_abs(self._ends, BITS))

    def __float__(self) -> float:
        return float(libmp.to_float(self.middle._ends[0]))

    def __str__(self) -> str:
        return str(libmp.libmpi.mpi_str(self._ends, BITS))

    def inverse(self) -> "Interval":
        """One divided by it; raises NotProved where 0 is in it."""
        if not self.sign:
            raise NotProved(f"expected a divisor without 0, got {self}")
        return Interval(*libmp.libmpi.mpi_div(number(1)._ends, self._ends, BITS))

    def mapped(self, function: Callable[[Any, int], Any]) -> "Interval":
        """A function of mpmath's of it; raises NotProved outside that one's domain."""
        try:
            return Interval(*function(self._ends, BITS))
        except ComplexResult as error:
            raise NotProved(f"expected a positive interval, got {self}") from error


def number(value: Any) -> Any:
    """An exact number as an interval, a decimal in letters and a float included."""
    if isinstance(value, Arithmetic):
        return value
    exact = Fraction(value)
    pair = (exact.numerator, exact.denominator, BITS)
    return Interval(*(libmp.from_rational(*pair, way) for way in "fc"))


def between(low: Fraction, high: Fraction) -> Interval:
    """The interval with those ends, or a little more."""
    return Interval(number(low)._ends[0], number(high)._ends[1])


class Dual(Arithmetic):
    """A number and its slopes in some variables, all of them intervals."""

    def __init__(self, value: Any, slopes: Vector) -> None:
        self.value, self.slopes = value, list(slopes)

    def chain(self, value: Any, slope: Any) -> "Dual":
        """A function's value here, given that and its slope."""
        return Dual(value, [slope * s for s in self.slopes])

    def __add__(self, other: Any) -> "Dual":
        if not isinstance(other, Dual):
            return Dual(self.value + other, self.slopes)
        slopes = [a + b for a, b in zip(self.slopes, other.slopes, strict=True)]
        return Dual(self.value + other.value, slopes)

    def __mul__(self, other: Any) -> "Dual":
        if not isinstance(other, Dual):
            return self.chain(self.value * other, other)
        pairs = zip(self.slopes, other.slopes, strict=True)
        slopes = [a * other.value + b * self.value for a, b in pairs]
        return Dual(self.value * other.value, slopes)

    def inverse(self) -> "Dual":
        """One divided by it."""
        inverse = self.value.inverse()
        return self.chain(inverse, -(inverse**2))


def exp(x: Any) -> Any:
    """The exponential."""
    if isinstance(x, Dual):
        value = exp(x.value)
        return x.chain(value, value)
    return number(x).mapped(libmp.libmpi.mpi_exp)


def log(x: Any) -> Any:
    """The natural logarithm."""
    if isinstance(x, Dual):
        return x.chain(log(x.value), x.value.inverse())
    if number(x).sign != 1:
        raise NotProved(f"expected a positive interval, got {x}")
    return number(x).mapped(libmp.libmpi.mpi_log)


def sqrt(x: Any) -> Any:
    """The square root of an interval."""
    return number(x).mapped(libmp.libmpi.mpi_sqrt)


def sigma(x: Any) -> Any:
    """The logistic function."""
    return 1 / (1 + exp(-x))


def largest(values: Sequence[Interval]) -> Interval:
    """The largest of some numbers."""
    pairs = [x.ends for x in values]
    return between(max(low for low, _ in pairs), max(high for _, high in pairs))


# --- policies -----------------------------------------------------------------------------------


def dot(a: Vector, b: Vector) -> Any:
    """The inner product."""
    return sum((x * y for x, y in zip(a, b, strict=True)), number(0))


def gibbs(reward: Vector, ref: Vector, beta: Any) -> list[Any]:
    """The policy ``ref exp(reward/beta) / Z``, probabilities.

    Each is one over a sum of odds, in which a wide `beta` costs little.
    """
    pairs = list(zip(reward, ref, strict=True))
    return [1 / sum(q / q_k * exp((r - r_k) / beta) for r, q in pairs) for r_k, q_k in pairs]


def log_partition(reward: Vector, ref: Vector, beta: Any) -> Any:
    """``log Z = log sum ref exp(reward/beta)``, nats."""
    return log(dot(ref, [exp(r / beta) for r in reward]))


def kl(p: Vector, q: Vector) -> Any:
    """``KL(p || q)`` of two policies without a zero, nats."""
    return dot(p, [log(a / b) for a, b in zip(p, q, strict=True)])


def total_variation(p: Vector, q: Vector) -> Any:
    """Half the sum of absolute differences."""
    return sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2


# --- zeros --------------------------------------------------------------------------------------


def zero(function: Callable[[Any], Any], low: str, high: str) -> Interval:
    """The only zero of a function of one variable between two ends.

    Pieces in which the function keeps its sign are left out; in the one that remains it is
    monotone and changes its sign, and interval Newton steps make that narrow. Raises NotProved
    where this does not single out one zero.
    """
    pieces, found = [(Fraction(low), Fraction(high))], []
    for _ in range(MOST_PIECES):
        if not pieces:
            break
        a, b = pieces.pop()
        box = between(a, b)
        value, slope = _with_slope(function, box)
        if value.sign or (function(box.middle) + slope * (box - box.middle)).sign:
            continue
        signs = function(number(a)).sign * function(number(b)).sign if slope.sign else 0
        if signs < 0:
            found.append(between(a, b))
        if not signs:
            cut = (a + b) / 2
            pieces += [(a, cut), (cut, b)]
    if pieces or len(found) != 1:
        raise NotProved(f"expected one zero between {low} and {high}, got {len(found)}")
    return _narrowed(function, found[0])


def crossing(function: Callable[[Any], Any], low: str, high: str) -> Interval:
    """Where a function that is known to be monotone crosses 0, by bisection.

    Raises NotProved where its signs at the two ends are not proved to differ.
    """
    a, b = Fraction(low), Fraction(high)
    first = function(number(a)).sign
    if first * function(number(b)).sign != -1:
        raise NotProved(f"expected a change of sign between {low} and {high}")
    while True:
        cut = (a + b) / 2
        sign = function(number(cut)).sign
        if not sign or b - a < NARROW:
            return between(a, b)
        a, b = (cut, b) if sign == first else (a, cut)


def _narrowed(function: Callable[[Any], Any], box: Interval) -> Interval:
    for _ in range(60):
        newton = box.middle - function(box.middle) / _with_slope(function, box)[1]
        (a, b), (c, d) = newton.ends, box.ends
        if a <= c and d <= b:
            break
        box = between(max(a, c), min(b, d))
    return box


def _with_slope(function: Callable[[Any], Any], box: Interval) -> tuple[Interval, Interval]:
    dual = function(Dual(box, [number(1)]))
    return dual.value, dual.slopes[0]


System = Callable[[Vector], Vector]


def solved(system: System, guess: Sequence[float], radius: Fraction = RADIUS) -> list[Interval]:
    """The only solution of a system of equations within `radius` of where Newton's steps lead.

    The guess need not be good. What is proved is the Krawczyk test: for a box X about m, and C
    near the inverse of the Jacobian there, if ``m - C f(m) + (1 - C J(X)) (X - m)`` lies inside X,
    that holds just one solution. Raises NotProved where it does not.
    """
    point = [number(x) for x in guess]
    for _ in range(200):
        value, jacobian = _derived(system, point)
        step = np.linalg.solve(*map(_floats, (jacobian, value)))
        step /= max(1.0, np.abs(step).max())
        point = [(x - number(float(s))).middle for x, s in zip(point, step, strict=True)]
        if np.abs(step).max() < 1e-33:
            break
    box = [between(x.ends[0] - radius, x.ends[1] + radius) for x in point]
    inside = _krawczyk(system, box)
    for x, outer in zip(inside, box, strict=True):
        (a, b), (c, d) = x.ends, outer.ends
        if not c < a <= b < d:
            raise NotProved(f"expected a box inside {outer}, got {x}")
    return _krawczyk(system, inside)


def _krawczyk(system: System, box: Sequence[Interval]) -> list[Interval]:
    point = [x.middle for x in box]
    value, jacobian = _derived(system, point)
    inverse = [[number(float(x)) for x in row] for row in np.linalg.inv(_floats(jacobian))]
    columns = list(zip(*_derived(system, box)[1], strict=True))
    away = [x - m for x, m in zip(box, point, strict=True)]
    rests = [
        [number(j == k) - dot(row, column) for j, column in enumerate(columns)]
        for k, row in enumerate(inverse)
    ]
    terms = zip(point, inverse, rests, strict=True)
    return [m - dot(row, value) + dot(rest, away) for m, row, rest in terms]


def _derived(system: System, point: Vector) -> tuple[list[Any], list[list[Any]]]:
    units = [[number(j == k) for j in range(len(point))] for k in range(len(point))]
    values = system([Dual(x, unit) for x, unit in zip(point, units, strict=True)])
    return [v.value for v in values], [v.slopes for v in values]


def _floats(intervals: Sequence[Any]) -> np.ndarray:
    rows = [[float(x) for x in row] if isinstance(row, list) else float(row) for row in intervals]
    return np.array(rows)
