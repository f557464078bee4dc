"""The certified numbers are right to the last digit; changed digits and wrong formulas are not."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from tools import enclosures, intervals, notebooks
from tools.enclosures import FIGURES
from tools.intervals import Dual, Interval, NotProved, between, exp, gibbs, kl, log, number
from tools.printed import Figure, Printed, cell_of, given, printed, text_of

NAMES = [figure.where for figure in FIGURES]


@pytest.mark.parametrize("figure", FIGURES, ids=NAMES)
def test_every_digit_is_borne_out(figure: Figure) -> None:
    assert figure.flaws() == []
    assert figure.enclosed()


def changed(text: str, number: Printed, way: int) -> str:
    """The text with the last digit of a number one more or one less."""
    old = Decimal(number.text)
    new = old + way * Decimal((0, (1,), old.as_tuple().exponent))
    end = number.start + len(number.text)
    return f"{text[: number.start]}{str(new).lower()}{text[end:]}"


@pytest.mark.parametrize("figure", FIGURES, ids=NAMES)
@pytest.mark.parametrize("way", [1, -1])
def test_a_last_digit_changed_by_one_is_refused(figure: Figure, way: int) -> None:
    text = text_of(cell_of(figure.where))
    for one in [p for p, _ in figure.enclosed() if not p.is_bound]:
        assert len(figure.flaws(changed(text, one, way))) == 1, one


def test_there_are_many_figures_of_many_notebooks() -> None:
    assert len(FIGURES) >= 40
    assert len({figure.slug for figure in FIGURES}) >= 12
    assert len(set(NAMES)) == len(NAMES)
    assert {figure.slug for figure in FIGURES} <= {*map(notebooks.slug, notebooks.numbered())}


def test_a_number_more_or_less_is_noticed() -> None:
    (figure,) = (f for f in FIGURES if f.id == "gibbs-numbers")
    text = text_of(cell_of(figure.where))
    with pytest.raises(ValueError, match="expected 4 numbers, got 5"):
        figure.flaws(f"{text} 7")


# --- wrong formulas -----------------------------------------------------------------------------


def swapped(reward: list, ref: list, beta: Interval) -> list:
    """The policy with beta in the wrong place."""
    return gibbs(reward, ref, 1 / beta)


def upside_down(p: list, q: list) -> Interval:
    """The divergence the other way round."""
    return kl(q, p)


def refuses(figure_id: str) -> bool:
    """Whether a figure has a flaw or no proof, its values computed anew."""
    (figure,) = (f for f in FIGURES if f.where.endswith(figure_id))
    forget()
    fresh = Figure(figure.name, figure.where, figure.values.__wrapped__, figure.only)
    try:
        return bool(fresh.flaws())
    except NotProved:
        return True


def forget() -> None:
    """Empty what enclosures remember."""
    for memory in (enclosures.newton_run, enclosures.toy_margins, enclosures.equilibria):
        memory.cache_clear()


@pytest.fixture(autouse=True)
def _afterwards() -> Iterator[None]:
    yield
    forget()


@pytest.mark.parametrize(
    ("name", "wrong", "where"),
    [
        ("gibbs", swapped, "find_where_votes_fail#coverage-count-figure"),
        ("gibbs", swapped, "read_the_training_log#optimum-logged"),
        ("gibbs", swapped, "train_a_tabular_policy#train-run"),
        ("kl", upside_down, "complete_the_divergence#both-sides"),
        ("kl", upside_down, "estimate_the_divergence#values-star"),
        ("kl", upside_down, "draw_the_frontier#below-line"),
        ("largest", lambda values: number(1), "complete_the_divergence#limits-numbers-check"),
        ("GAMMA", number(0), "change_the_loss#table"),
        ("NOISE", number("0.101"), "change_the_loss#equal-kl"),
        ("SHARPNESS", 10, "change_the_loss#table"),
        ("DUELS", [[number("1/2")] * 3] * 3, "play_the_voters_game#equilibrium-show"),
    ],
)
def test_an_enclosure_from_a_wrong_formula_is_refused(monkeypatch, name, wrong, where) -> None:
    assert not refuses(where)
    monkeypatch.setattr(enclosures, name, wrong)
    assert refuses(where)


@pytest.mark.parametrize("name", enclosures.SLOPES)
def test_a_slope_at_twice_the_margin_is_refused(monkeypatch, name: str) -> None:
    right = enclosures.SLOPES[name]
    monkeypatch.setitem(enclosures.SLOPES, name, lambda s: right(s * 2))
    assert refuses("change_the_loss#table")


# --- reading ------------------------------------------------------------------------------------


def test_numbers_are_read_with_their_units() -> None:
    text = "beta = 0.1: [0.5  0.25], -3.105 at 2e-05, G8 holds <= 1e-12 of x1\nother 7"
    found = printed(text, ["beta"])
    assert [p.text for p in found] == ["0.1", "0.5", "0.25", "-3.105", "2e-05", "1e-12"]
    units = ["0.1", "0.01", "0.01", "0.001", "1e-5", "1e-12"]
    assert [2 * p.half for p in found] == list(map(Fraction, units))
    assert [p.is_bound for p in found] == [False] * 5 + [True]
    assert [text[p.start :].startswith(p.text) for p in found] == [True] * 6


@pytest.mark.parametrize(
    ("text", "low", "high", "holds"),
    [
        ("0.25", "0.245", "0.255", True),
        ("0.25", "0.245", "0.2551", False),
        ("0.25", "0.2449", "0.25", False),
        ("<= 0.25", "0", "0.25", True),
        ("<= 0.25", "0", "0.2501", False),
    ],
)
def test_the_whole_interval_must_lie_within(text: str, low: str, high: str, holds: bool) -> None:
    (number,) = printed(text)
    inwards = Fraction(1, 10**40) * (holds or 0)
    assert number.holds(between(Fraction(low) + inwards, Fraction(high) - inwards)) is holds


def test_decimals_are_taken_exactly() -> None:
    low, high = given("change_the_loss#family", "noise").ends
    assert low <= Fraction(1, 10) <= high
    assert not low <= Fraction(0.1) <= high
    with pytest.raises(KeyError, match="expected nothing to be assigned in"):
        given("change_the_loss#family", "nothing")
    with pytest.raises(KeyError, match="expected a cell nowhere in change_the_loss"):
        cell_of("change_the_loss#nowhere")


# --- arithmetic ---------------------------------------------------------------------------------


def holds(interval: Interval, value: Fraction) -> bool:
    low, high = interval.ends
    return low <= value <= high


def test_operations_hold_the_exact_results_and_are_narrow() -> None:
    rng = np.random.default_rng(0)
    for a, b in rng.integers(1, 10**6, size=(200, 2)):
        x, y = Fraction(int(a), 997), -Fraction(int(b), 991)
        pairs = [(x + y, "+"), (x - y, "-"), (x * y, "*"), (x / y, "/")]
        for exact, sign in pairs:
            found = eval(f"p {sign} q", {"p": number(x), "q": number(y)})
            assert holds(found, exact)
            assert found.ends[1] - found.ends[0] < Fraction(1, 2**150)


def test_exponential_and_logarithm_hold_series_with_their_remainders() -> None:
    for x in (Fraction(1, 3), Fraction(-7, 5), Fraction(2)):
        term = total = Fraction(1)
        for k in range(1, 80):
            term *= x / k
            total += term
        rest = abs(term)  # more than what is left out
        low, high = exp(number(x)).ends
        assert low <= total + rest and total - rest <= high
        assert holds(log(between(total - rest, total + rest)), x)


def test_wide_intervals_hold_all_results() -> None:
    wide = between(Fraction(-1, 2), Fraction(3))
    for x in (Fraction(-1, 2), Fraction(0), Fraction(1), Fraction(3)):
        assert holds(wide * wide - wide, x * x - x)
        assert holds(abs(wide), abs(x)) and holds(wide**2, x * x)


@pytest.mark.parametrize("wrong", [lambda x: 1 / x, log, intervals.sqrt])
def test_what_is_not_defined_is_refused(wrong) -> None:
    with pytest.raises(NotProved):
        wrong(between(Fraction(-1), Fraction(1)))


def test_a_slope_is_that_of_the_formula() -> None:
    x = Dual(number("0.7"), [number(1)])
    found = (exp(-x) / (1 + x) - 3 * log(x) * x - 2).slopes[0]
    at = number("0.7")
    by_hand = -exp(-at) / (1 + at) - exp(-at) / (1 + at) ** 2 - 3 * log(at) - 3
    assert abs(float(found - by_hand)) < 1e-50


# --- zeros --------------------------------------------------------------------------------------


def test_a_zero_is_enclosed() -> None:
    for found in (
        intervals.zero(lambda x: x * x - 2, "-1", "5"),
        intervals.crossing(lambda x: x * x - 2, "0", "5"),
        *intervals.solved(lambda v: [v[0] * v[0] - 2], [1.0]),
    ):
        low, high = found.ends
        assert low**2 <= 2 <= high**2
        assert high - low < Fraction(1, 10**15)


@pytest.mark.parametrize(
    "function",
    [lambda x: x * x + 1, lambda x: x * x - 1, lambda x: (x - 1) * (x - 1), lambda x: x * 0],
    ids=["none", "two", "touching", "everywhere"],
)
def test_not_just_one_zero_is_not_proved(monkeypatch, function) -> None:
    monkeypatch.setattr(intervals, "MOST_PIECES", 500)
    with pytest.raises(NotProved):
        intervals.zero(function, "-3", "5")


def test_no_change_of_sign_is_not_proved() -> None:
    with pytest.raises(NotProved, match="expected a change of sign"):
        intervals.crossing(lambda x: x * x + 1, "-3", "5")


def test_a_system_without_a_solution_is_not_proved() -> None:
    with pytest.raises((NotProved, np.linalg.LinAlgError)):
        intervals.solved(lambda v: [v[0] * v[0] + 1], [1.3])


def test_the_hinge_loss_is_not_least_elsewhere(monkeypatch) -> None:
    enclosures.kinks.cache_clear()
    even = [[number(i != j) for j in range(3)] for i in range(3)]
    monkeypatch.setattr(enclosures, "toy_votes", lambda: even)
    with pytest.raises(NotProved, match="expected the hinge loss to be least"):
        enclosures.kinks()
    enclosures.kinks.cache_clear()
