"""The ledger agrees with what is so, refuses what is not, and derives verdicts from evidence."""

import numpy as np
import pytest
import sympy as sp
import torch

from dpo_edu import datasets, ledger
from dpo_edu.ledger import Claim, ClaimFailed, Evidence, Ledger
from dpo_edu.policies import TabularPolicy
from dpo_edu.symbolic import Z, i, n, p, q, r, total, β
from dpo_edu.training import train_dpo
from tools import docs

x = sp.Symbol("x", positive=True)


@pytest.fixture
def outputs(monkeypatch):
    """What a notebook would store in the cell."""
    bundles = []
    monkeypatch.setattr(ledger, "display", lambda shown: bundles.append(shown._repr_mimebundle_()))
    return bundles


@pytest.fixture
def book(outputs):
    return Ledger()


def test_an_agreement_is_recorded_printed_and_stored_for_machines(book, outputs):
    book.numeric("G4", 1.0, 1.0 + 1e-14, note="two roads")
    line = "G4  numeric  holds: |found - expected| <= 1e-12   (two roads)"
    assert outputs[0]["text/plain"] == line
    stored = {"cells": [{"outputs": [{"data": outputs[0]}]}, {}]}
    assert ledger.evidence_in(stored) == book.evidence
    assert book.evidence[0].means == "N"


@pytest.mark.parametrize(
    ("found", "expected", "limit"),
    [
        (1.0, 1.0 + 2e-12, {}),
        ([1.0, 2.0], [1.0, 2.1], {"bound": 0.05}),
        ([1.0, 2.0], 1.0, {"bound": 0.1}),
        (1e-6, 2e-6, {"relative": 0.1}),
        (1e-300, 0.0, {"relative": 0.1}),
        (1.0, -1.0, {"bound": 0}),
    ],
)
def test_numbers_that_do_not_agree_fail_and_leave_no_evidence(book, found, expected, limit):
    with pytest.raises(ClaimFailed, match="claim G4: expected .*, found a difference of") as e:
        book.numeric("G4", found, expected, **limit)
    assert e.value.claim == "G4"
    assert book.evidence == []


NOT_NUMBERS = {
    "nan": (np.nan, "nan or infinity"),
    "nan in a list": ([1.0, np.nan], "nan or infinity"),
    "infinity": (np.inf, "nan or infinity"),
    "nothing": ([], "an empty array"),
    "no column": (np.zeros((0, 1)), "an empty array"),
    "a truth value": (True, "truth values"),
    "truth values": (np.array([True, True]), "truth values"),
    "a truth value among numbers": ([1.0, [True]], "truth values"),
    "an array of them among numbers": ([np.array(True), 1.0], "truth values"),
    "a masked array": (np.ma.array([1.0, 2.0], mask=[False, True]), "a masked array"),
    "complex": (np.array([1 + 5j]), "complex128"),
    "a word": ("1.0", "<U3"),
    "an expression": (sp.Rational(1, 3), "object"),
    "a ragged list": ([[1.0], [1.0, 2.0]], "list"),
    "extended precision": (np.longdouble(1), "float128"),
    "a huge integer": (2**53 + 1, "larger ones"),
}


@pytest.mark.parametrize(("value", "got"), NOT_NUMBERS.values(), ids=NOT_NUMBERS)
def test_what_is_not_a_finite_real_number_is_refused(book, value, got):
    for compare in (
        lambda: book.numeric("G4", value, 1.0),
        lambda: book.numeric("G4", 1.0, value),
        lambda: book.true("G4", "N", value, "<", 5.0),
        lambda: book.counterexample("O1", "N", value, 5.0, by=0.1, when="always"),
        lambda: book.refuted("P3", "N", printed=value, repaired=1.0, truth=1.0, by=0.1),
        lambda: book.refuted("P3", "N", printed=3.0, repaired=value, truth=1.0, by=0.1),
    ):
        with pytest.raises(ValueError, match=f"expected .*, got .*{got}"):
            compare()
    assert book.evidence == []


@pytest.mark.parametrize("shapes", [((3, 1), (3,)), ((2, 6), (6,)), ((1,), (3,)), ((2,), (3,))])
def test_only_a_scalar_is_stretched(book, shapes):
    first, second = map(np.ones, shapes)
    with pytest.raises(ValueError, match="found and expected: expected one shape, or a scalar"):
        book.numeric("G4", first, second)
    with pytest.raises(ValueError, match="found and expected: expected one shape, or a scalar"):
        book.counterexample("O1", "N", np.arange(3.0)[:, None], np.arange(3.0), by=1, when="column")
    book.numeric("G4", first, 1.0)
    book.numeric("G4", 1.0, second)


@pytest.mark.parametrize("bound", [np.inf, np.nan, 1e9, 0.11, -1e-12, True, "1e-12", 1j])
@pytest.mark.parametrize("kind", ["bound", "relative"])
def test_an_absurd_bound_is_refused(book, bound, kind):
    with pytest.raises(ValueError, match=f"{kind}: expected a number in .0, 0.1., got"):
        book.numeric("G4", 1.0, 1.0, **{kind: bound})


def test_a_bound_that_cannot_tell_the_expected_value_from_zero_is_refused(book):
    tiny = np.array([0.0, 2e-18, 2e-12, 2e-6])
    with pytest.raises(ValueError, match="bound: expected less than .* .such as 2e-18., got 1e-11"):
        book.numeric("G11", tiny, tiny.copy(), bound=1e-11)
    with pytest.raises(ValueError, match="got both"):
        book.numeric("G11", tiny, tiny.copy(), bound=1e-11, relative=1e-3)
    book.numeric("G11", tiny * (1 + 1e-7), tiny, relative=1e-6)
    with pytest.raises(ClaimFailed, match="1 relative"):
        book.numeric("G11", np.array([0.0, 0.0, 2e-12, 2e-6]), tiny, relative=1e-3)
    assert book.evidence[0].held == "|found - expected| <= 1e-06 |expected|"


def test_an_exact_agreement_says_so(book):
    book.numeric("G4", [1, 2], [1, 2], bound=0)
    assert str(book.evidence[0]) == "G4  numeric  holds: found = expected"


@pytest.mark.parametrize(
    ("left", "relation", "right", "held"),
    [
        ([-2.0, -0.35], "<", 0, "left < right, by 0.3 or more"),
        ([1.0, 2.0], "<=", [1.0, 2.5], "left <= right, with equality"),
        ([1.0, 2.0], ">", [0.5, -9.0], "left > right, by 0.5 or more"),
        ([1.0, 1e-12], ">=", 0, "left >= right, by less than 1e-09"),
        ([12345.0], ">", [0.0], "left > right, by 1e+04 or more"),
    ],
)
def test_an_inequality_is_recorded_with_its_margin(book, left, relation, right, held):
    book.true("G5", "N", left, relation, right)
    assert book.evidence[0].held == held
    assert book.evidence[0].kind == "agrees"


@pytest.mark.parametrize(
    ("left", "relation", "right"),
    [([-1.0, 0.0], "<", 0), ([1.0], "<=", 0.5), ([0.3], "<", 0.1 + 0.2), ([1.0, -1.0], ">=", 0)],
)
def test_an_inequality_that_does_not_hold_fails(book, left, relation, right):
    with pytest.raises(ClaimFailed, match="claim G5: expected left .* right, found a margin of"):
        book.true("G5", "N", left, relation, right)


def test_an_inequality_that_overflows_or_has_many_entries_is_refused(book):
    with pytest.raises(ValueError, match="a finite difference, got one that overflows"):
        book.true("G5", "N", 1e308, ">", -1e308)
    with pytest.raises(ValueError, match="left: expected one expression, got"):
        book.true("G5", "S", sp.Matrix([x]), ">", sp.Matrix([0]))


def test_an_array_is_not_compared_with_itself(book):
    values, row = np.ones(3), [1.0, 1.0, 1.0]
    for found, expected in [(values, values), (values, values[:]), (row, row)]:
        with pytest.raises(ValueError, match="expected: expected other numbers than found"):
            book.numeric("G4", found, expected)
    book.numeric("G4", values, values.copy())
    book.numeric("G4", 1.0, 1.0)


def test_a_strict_inequality_is_not_won_by_rounding(book):
    for left, right in [(0.1 + 0.2 - 0.3, 0), (100.0, sum([0.1] * 1000)), (np.float32(0.3), 0.3)]:
        with pytest.raises(ClaimFailed, match="found a margin of"):
            book.true("G5", "N", left, ">", right)


def test_a_miss_of_short_floats_is_more_than_their_rounding(book):
    for short, by in [(np.float16(0.1), 1e-5), (np.float32(0.1), 1e-9)]:
        with pytest.raises(ValueError, match="by: expected a finite number >="):
            book.counterexample("O1", "N", short, 0.1, by=by, when="short floats")


def test_a_symbolic_inequality_over_sums_asks_for_indices_as_they_run(book):
    for sum_ in (sp.Sum(i, (i, -5, n)), sp.Sum(i * p[i + 1], (i, 0, n - 1))):
        with pytest.raises(ValueError, match="left: expected sums with limits in order"):
            book.true("G5", "S", sum_, ">", 0)
    book.true("G5", "S", total(p[i]), ">", 0)


def test_means_are_shown_by_agreement_not_by_a_counterexample_alone():
    claims = claim("qualified", ("S", "N"))
    evidence = [agreeing(), Evidence("A1", "S", "counterexample", "")]
    assert ledger.shortcomings(evidence, claims) == ["A1: no evidence by means S"]


def test_an_inequality_needs_a_relation(book):
    for means in ("N", "S"):
        with pytest.raises(ValueError, match="relation: expected one of <, <=, >, >=, got '=='"):
            book.true("G5", means, sp.Integer(1) if means == "S" else 1.0, "==", 1)


def test_a_symbolic_inequality_needs_a_sign_that_the_symbols_have(book):
    y = sp.Symbol("y", real=True)
    book.true("G5", "S", -x, "<", 0)
    book.true("G5", "S", y**2, ">=", 0)
    for left, relation in [(y, "<"), (-x, ">="), (y**2, ">")]:
        with pytest.raises(ClaimFailed, match="sign open"):
            book.true("G5", "S", left, relation, 0)


@pytest.fixture(scope="module")
def run():
    ref = [0.25, 0.75]
    wins = np.array([[[0.0, 3.0], [1.0, 0.0]]])
    return train_dpo(TabularPolicy(ref), np.array(ref), wins, beta=1.0)


def test_trained_numbers_come_from_a_run_or_a_watched_policy(book, run):
    book.trained("V1", 1e-11, 0.0, of=run, bound=1e-10)
    book.trained("V1", 0.0, 0.0, of=[run, run], bound=1e-10)
    assert book.evidence[0].means == "T"
    with pytest.raises(ClaimFailed):
        book.trained("V1", 0.0, 1e-9, of=run, relative=1e-10)
    policy = TabularPolicy([0.5, 0.5])
    for item in (policy, None, [], [run, None], 1.0, object()):
        with pytest.raises(ValueError, match="of: expected a TrainingRun, a PolicyRun, or a pol"):
            book.trained("L4", 1.0, 1.0, of=item, bound=0)
    book.watch(policy)
    with pytest.raises(ValueError, match="watched and has changed since, got TabularPolicy"):
        book.trained("L4", 1.0, 1.0, of=policy, bound=0)
    with torch.no_grad():
        policy.theta += 1.0  # other logits, the same policy
    with pytest.raises(ValueError, match="watched and has changed since"):
        book.trained("L4", 1.0, 1.0, of=policy, bound=0)
    train_dpo(policy, np.array([0.5, 0.5]), np.array([[[0, 3.0], [1.0, 0]]]), beta=1.0)
    book.trained("L4", 1.0, 1.0, of=policy, bound=0)
    with torch.no_grad():
        policy.theta *= torch.nan
    with pytest.raises(ValueError, match="watched and has changed since"):
        book.trained("L4", 1.0, 1.0, of=policy, bound=0)
    with pytest.raises(ValueError, match="policy: expected a module with log_probs"):
        book.watch(np.zeros(3))


def test_data_come_from_a_data_set_whose_source_is_stored(book, run):
    votes = datasets.baseball_votes()
    book.data("V1", 1.0, 1.0, of=votes, bound=1e-10)
    assert book.evidence[0].source == f"{votes.source} ({votes.licence})"
    for item in (votes.wins, run, None, [], [votes, None]):
        with pytest.raises(ValueError, match="of: expected datasets.Votes, got"):
            book.data("V1", 1.0, 1.0, of=item, bound=0)


@pytest.mark.parametrize("means", ["T", "D"])
def test_counterexamples_refutations_and_inequalities_need_a_source_too(book, means):
    with pytest.raises(ValueError, match="of: expected"):
        book.counterexample("O1", means, 1.0, 2.0, by=0.5, when="never trained")
    with pytest.raises(ValueError, match="of: expected"):
        book.refuted("P3", means, printed=0.3, repaired=0.7, truth=0.7, by=0.1)
    with pytest.raises(ValueError, match="of: expected"):
        book.true("G5", means, 1.0, "<", 2.0)


def test_numbers_are_not_a_proof_and_expressions_are_not_numbers(book, run):
    for found, expected in [(1.0, 1.0), (np.ones(2), np.ones(2)), (True, True), (sp.true, sp.true)]:
        with pytest.raises(ValueError, match="found: expected a SymPy expression, got"):
            book.symbolic("G4", found, expected)
    for value in (sp.Float(0.5), sp.nan, sp.zoo, sp.oo, -sp.oo, x + sp.I):
        with pytest.raises(ValueError, match="found: expected exact, finite, real terms, got"):
            book.symbolic("G4", value, value)
    with pytest.raises(ValueError, match="of: expected None for means S, got TrainingRun"):
        book.true("G5", "S", -x, "<", 0, of=run)
    with pytest.raises(ValueError, match="by: expected None for symbolic evidence, got 0.1"):
        book.counterexample("O1", "S", x, 2 * x, by=0.1, when="doubled")
    with pytest.raises(ValueError, match="at: expected None for evidence in numbers"):
        book.counterexample("O1", "N", 1.0, 2.0, by=0.1, at={x: 1}, when="doubled")


@pytest.mark.parametrize("means", ["F", "X", "", "s"])
def test_formal_proofs_are_not_recorded_by_hand(book, means):
    with pytest.raises(ValueError, match="means: expected one of S, N, T, D, got"):
        book.counterexample("O1", means, 1.0, 2.0, by=0.5, when="never")
    with pytest.raises(ValueError, match="means: expected one of S, N, T, D, got"):
        book.true("O1", means, 1.0, "<", 2.0)


def test_symbolic_needs_a_proof(book):
    book.symbolic("G4", sp.log(x**2), 2 * sp.log(x))
    book.symbolic("G4", x - x, 0)
    with pytest.raises(ClaimFailed, match="not shown to be equal"):
        book.symbolic("G4", x, x + 1)


def test_matrices_are_proved_entry_by_entry(book):
    pair = sp.Matrix([sp.log(x**2), x])
    book.symbolic("G4", pair, sp.Matrix([2 * sp.log(x), x]))
    with pytest.raises(ClaimFailed, match="not shown to be equal"):
        book.symbolic("G4", pair, sp.Matrix([2 * sp.log(x), 2 * x]))
    for other in (pair.T, sp.Matrix([x]), x):
        with pytest.raises(ValueError, match="expected the shape of found"):
            book.symbolic("G4", pair, other)
    with pytest.raises(ValueError, match="got an empty matrix"):
        book.symbolic("G4", sp.Matrix([]), sp.Matrix([]))


def test_a_refutation_needs_a_miss_and_a_repair(book):
    book.refuted("P3", "N", printed=0.3, repaired=0.7, truth=0.7, by=0.1)
    assert book.evidence[0].held == "printed misses by 0.4 >= 0.1; |repaired - truth| <= 1e-12"
    with pytest.raises(ClaimFailed, match="a miss of 0.5 or more"):
        book.refuted("P3", "N", printed=0.3, repaired=0.7, truth=0.7, by=0.5)
    with pytest.raises(ClaimFailed, match="found a difference of 0.1"):
        book.refuted("P3", "N", printed=0.3, repaired=0.6, truth=0.7, by=0.1)


@pytest.mark.parametrize("limit", [{"bound": 0.1}, {"relative": 0.05}])
def test_a_repair_may_not_miss_by_as_much_as_the_printed_formula(book, limit):
    with pytest.raises(ValueError, match="by: expected more than the repair may miss by, 0.1"):
        book.refuted("P3", "N", printed=2.06, repaired=2.05, truth=2.0, by=0.05, **limit)


@pytest.mark.parametrize("by", [None, 0.0, -1.0, 1e-12, np.inf, np.nan, True, "1"])
def test_a_miss_within_rounding_does_not_count(book, by):
    with pytest.raises(ValueError, match="by: expected a finite number >= 1e-09, got"):
        book.counterexample("O1", "N", 0.1 + 0.2, 0.3, by=by, when="rounding")


def test_a_symbolic_refutation_names_the_size_of_the_miss_and_the_point(book):
    book.refuted("P3", "S", printed=1 - x, repaired=x + 0, truth=x, at={x: sp.Rational(1, 5)})
    assert book.evidence[0].held == (
        "printed misses by 0.6 at x = 1/5; repaired - truth = 0 identically"
    )
    with pytest.raises(ClaimFailed, match="something other than"):
        book.refuted("P3", "S", printed=sp.log(x**2), repaired=x, truth=2 * sp.log(x))
    with pytest.raises(ClaimFailed, match="not shown"):
        book.refuted("P3", "S", printed=1 - x, repaired=2 * x, truth=x)


def test_what_holds_for_every_policy_has_no_counterexample(book):
    with pytest.raises(ClaimFailed, match="something other than 1"):
        book.counterexample("O1", "S", total(p[i]), sp.Integer(1), when="policies sum to 1")
    everywhere = total(q[i] * sp.exp(r[i] / β))
    with pytest.raises(ClaimFailed, match="something other than"):
        book.counterexample("O1", "S", Z, everywhere, when="Z is the partition function")


def test_a_counterexample_says_when(book):
    book.counterexample("O1", "N", 1.0, 2.0, by=0.5, when="one policy for two prompts")
    assert str(book.evidence[0]).startswith(
        "O1  numeric  counterexample: one policy for two prompts: misses by 1 >= 0.5"
    )
    with pytest.raises(ClaimFailed):
        book.counterexample("O1", "N", 1.0, 1.1, by=0.5, when="too near")
    with pytest.raises(ValueError, match="when: expected what is given up, got nothing"):
        book.counterexample("O1", "N", 1.0, 2.0, by=0.5, when=" ")


def test_evidence_against_the_catalogue_is_recorded_and_shown(book, outputs):
    book.counterexample("G4", "N", 1.0, 2.0, by=0.5, when="a real counterexample")
    book.refuted("G7", "N", printed=0.0, repaired=1.0, truth=1.0, by=0.5)
    book.numeric("P3", 1.0, 1.0)
    against = ledger.contradictions(book.evidence, ledger.catalogue())
    assert [line.split(",")[0] for line in against] == [
        "G4: the catalogue says holds",
        "G7: the catalogue says holds",
        "P3: the catalogue says refuted",
    ]
    assert "against it: G4  numeric  counterexample: a real counter" in against[0]
    book.summary()
    assert "3 claims, 3 checks, not all as claimed.\nG4: the cat" in outputs[-1]["text/plain"]


def test_an_unknown_claim_is_refused(book):
    for judge in (
        lambda: book.numeric("Q9", 1.0, 1.0),
        lambda: book.symbolic("Q9", x, x),
        lambda: book.true("Q9", "N", 1.0, "<", 2.0),
        lambda: book.counterexample("Q9", "N", 1.0, 2.0, by=0.5, when="never"),
        lambda: book.refuted("Q9", "N", printed=0.3, repaired=0.7, truth=0.7, by=0.1),
    ):
        with pytest.raises(ValueError, match="expected an id in claims.toml, got 'Q9'"):
            judge()


def test_summary_lists_the_claims_touched(book, outputs):
    book.numeric("G4", 1.0, 1.0)
    book.symbolic("G4", x, x)
    book.summary()
    text = outputs[-1]["text/plain"]
    assert text.splitlines()[0].startswith("G4  holds      SN")
    assert text.splitlines()[-1] == "1 claim, 2 checks, all as claimed."


def test_an_order_by_signs_is_of_left_less_right(book):
    for left, relation, right in ((x, "<", x + 1), (x + 2, ">", x), (x, "<=", x), (-x, "<", x)):
        book.true("G4", "S", left, relation, right)
    for left, relation, right in ((x + 1, "<", x), (x, ">", x), (x, ">=", -1 + 2 * x)):
        with pytest.raises(ClaimFailed, match="left - right ="):
            book.true("G4", "S", left, relation, right)


def test_summary_gives_each_claim_its_own_means(book, outputs):
    book.numeric("G4", 1.0, 1.0)
    book.symbolic("G7", x, x)
    book.summary()
    first, second = outputs[-1]["text/plain"].splitlines()[:2]
    assert first.startswith("G4  holds      N    ") and second.startswith("G7  holds      S    ")


def test_a_long_statement_breaks_between_words_under_its_beginning(book, outputs):
    book.numeric("G10", 1.0, 1.0)
    book.summary()
    lines = outputs[-1]["text/plain"].splitlines()
    assert len(lines) > 2 and max(map(len, lines)) <= 100
    statement = ledger.catalogue()["G10"].statement
    assert " ".join(line[20:] for line in lines[:-1]) == statement


def test_a_page_shows_formulas(book, outputs):
    book.numeric("G4", 1.0, 1.0, note="at pi_ref <= 1")
    book.summary()
    line, table = (shown["text/html"] for shown in outputs)
    assert (
        "π<sub>ref</sub> ≤ 1" in line and "<td" in table and "π<sub>ref</sub> exp(r/β)/Z" in table
    )


def test_headline_is_stored(book, outputs):
    book.headline("KL", "<= 1e-12 nats")
    stored = {"cells": [{"outputs": [{"data": outputs[0]}]}]}
    assert [str(h) for h in ledger.headlines_in(stored)] == ["KL: <= 1e-12 nats"]


def agreeing(means="N"):
    return Evidence("A1", means, "agrees", "")


COUNTER = Evidence("A1", "N", "counterexample", "")
REFUTED = Evidence("A1", "N", "refuted", "")


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ([agreeing()], "holds"),
        ([agreeing(), COUNTER], "qualified"),
        ([REFUTED], "refuted"),
        ([COUNTER], None),
        ([agreeing(), REFUTED], None),
        ([], None),
    ],
)
def test_the_verdict_follows_from_the_evidence(evidence, verdict):
    assert ledger.verdict_of(evidence) == verdict


def claim(verdict, means=("N",)):
    return {"A1": Claim("A1", "a statement", "A", verdict, means, "01")}


DIFFERS = "A1: evidence amounts to holds, the catalogue says"


@pytest.mark.parametrize(
    ("evidence", "claims", "found"),
    [
        ([agreeing()], claim("holds"), []),
        ([agreeing()], claim("definition"), []),
        ([agreeing(), COUNTER], claim("qualified"), []),
        ([], claim("holds"), ["A1: no evidence by means N"]),
        ([agreeing("S")], claim("holds", ("S", "N")), ["A1: no evidence by means N"]),
        ([agreeing()], claim("qualified"), [f"{DIFFERS} qualified"]),
        (
            [agreeing()],
            claim("refuted"),
            ["A1: the catalogue says refuted, against it: A1  numeric  holds: "],
        ),
        (
            [agreeing(), COUNTER],
            claim("holds"),
            ["A1: the catalogue says holds, against it: A1  numeric  counterexample: "],
        ),
        ([agreeing()], {}, ["A1: not in the catalogue"]),
    ],
)
def test_shortcomings_name_what_is_open(evidence, claims, found):
    assert ledger.shortcomings(evidence, claims) == found


# What the two source notes say, or pass over in silence; every other claim goes beyond them.
FAMILIES = {"O": 5, "G": 14, "R": 5, "P": 4, "L": 7, "D": 7, "T": 3, "M": 3, "W": 2}
OF_THE_SOURCES = {f"{letter}{n + 1}" for letter, size in FAMILIES.items() for n in range(size)}
OF_THE_SOURCES |= {"X13", "X14"}


def test_the_catalogue_is_well_formed():
    for entry in ledger.catalogue().values():
        assert entry.verdict in ledger.VERDICTS
        assert entry.means
        assert set(entry.means) <= set(ledger.MEANS)
        assert all((entry.statement, entry.source, entry.notebook))
        assert entry.note or entry.verdict in ("holds", "definition")


def test_a_claims_source_says_whether_it_is_one_of_the_two_notes():
    of_the_sources = {
        c.id for c in ledger.catalogue().values() if docs.OF_THE_SOURCES.match(c.source)
    }
    assert of_the_sources == OF_THE_SOURCES


def test_four_formulas_of_the_sources_and_two_beyond_are_refuted():
    refuted = {c.id for c in ledger.catalogue().values() if c.verdict == "refuted"}
    assert refuted == {"O5", "P3", "L2", "L3", "X12", "X17"}
