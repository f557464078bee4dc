"""The ledger agrees with what is so, refuses what is not, and derives verdicts from evidence."""

from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from dpo_edu import ledger
from dpo_edu.ledger import Claim, ClaimFailed, Evidence, Ledger

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
    ("found", "expected"),
    [
        (1.0, 1.0 + 2e-12),
        ([0.0, np.nan], [0.0, np.nan]),
        (np.inf, -np.inf),
        (np.inf, 1.0),
        ([], []),
        (True, False),
    ],
)
def test_numbers_that_do_not_agree_fail_with_claim_expectation_and_finding(book, found, expected):
    with pytest.raises(ClaimFailed, match="claim G4: expected agreement within 1e-12, found") as e:
        book.numeric("G4", found, expected)
    assert e.value.claim == "G4"
    assert book.evidence == []


def test_equal_infinities_agree(book):
    book.numeric("G6", [np.inf, 1.0], [np.inf, 1.0], bound=0)
    assert "found = expected" in str(book.evidence[0])


@pytest.mark.parametrize(("method", "means"), [("trained", "T"), ("data", "D")])
def test_training_and_data_have_their_own_means(book, method, means):
    getattr(book, method)("V1", 0.0, 1e-11, bound=1e-10)
    assert book.evidence[0].means == means
    with pytest.raises(ClaimFailed):
        getattr(book, method)("V1", 0.0, 1e-9, bound=1e-10)


def test_symbolic_needs_a_proof(book):
    book.symbolic("G4", sp.log(x**2), 2 * sp.log(x))
    book.symbolic("G6", sp.oo, sp.oo)
    for wrong in (x + 1, sp.oo):
        with pytest.raises(ClaimFailed, match="not shown to be equal"):
            book.symbolic("G4", x, wrong)


def test_a_refutation_needs_a_miss_and_a_repair(book):
    book.refuted("P3", "N", printed=0.3, repaired=0.7, truth=0.7, by=0.1)
    assert book.evidence[0].held == "printed misses by 0.4 >= 0.1; |repaired - truth| <= 1e-12"
    with pytest.raises(ClaimFailed, match="a miss of 0.5 or more"):
        book.refuted("P3", "N", printed=0.3, repaired=0.7, truth=0.7, by=0.5)
    with pytest.raises(ClaimFailed, match="agreement within"):
        book.refuted("P3", "N", printed=0.3, repaired=0.6, truth=0.7, by=0.1)
    with pytest.raises(ClaimFailed, match="a miss of 0 or more"):
        book.refuted("P3", "N", printed=0.7, repaired=0.7, truth=0.7, by=0.0)


def test_a_symbolic_refutation_names_the_size_of_the_miss(book):
    book.refuted("P3", "S", printed=1 - x, repaired=x + 0, truth=x)
    assert "at sample numbers; repaired - truth = 0 identically" in book.evidence[0].held
    with pytest.raises(ClaimFailed, match="something other than"):
        book.refuted("P3", "S", printed=sp.log(x**2), repaired=x, truth=2 * sp.log(x))
    with pytest.raises(ClaimFailed, match="not shown"):
        book.refuted("P3", "S", printed=1 - x, repaired=2 * x, truth=x)


def test_a_counterexample_says_when(book):
    book.counterexample("O1", "N", 1.0, 2.0, by=0.5, when="one policy for two prompts")
    assert str(book.evidence[0]).startswith(
        "O1  numeric  fails without its hypothesis: one policy for two prompts: misses by 1 >= 0.5"
    )
    with pytest.raises(ClaimFailed):
        book.counterexample("O1", "N", 1.0, 1.1, by=0.5, when="too near")


def test_evidence_of_the_wrong_kind_is_refused(book):
    with pytest.raises(ValueError, match="P3: expected evidence that it is refuted, got 'agrees'"):
        book.numeric("P3", 1.0, 1.0)
    with pytest.raises(ValueError, match="G4: expected evidence that it is holds"):
        book.refuted("G4", "N", printed=0.0, repaired=1.0, truth=1.0, by=0.5)
    with pytest.raises(ValueError, match="expected an id in claims.toml, got 'Q9'"):
        book.numeric("Q9", 1.0, 1.0)
    with pytest.raises(ValueError, match="expected one of S, N, T, D, got 'X'"):
        book.counterexample("O1", "X", 1.0, 2.0, by=0.5, when="never")


def test_summary_lists_the_claims_touched(book, capsys):
    book.numeric("G4", 1.0, 1.0)
    book.symbolic("G4", x, x)
    book.summary()
    text = capsys.readouterr().out
    assert text.splitlines()[0].startswith("G4  holds      SN")
    assert text.splitlines()[-1] == "1 claims, 2 checks, all as claimed."


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
        ([agreeing()], claim("refuted"), [f"{DIFFERS} refuted"]),
        ([agreeing()], {}, ["A1: not in the catalogue"]),
    ],
)
def test_shortcomings_name_what_is_open(evidence, claims, found):
    assert ledger.shortcomings(evidence, claims) == found


# What the two source notes say; every other claim goes beyond them.
FAMILIES = {"O": 5, "G": 11, "R": 5, "P": 4, "L": 7, "D": 7, "T": 3, "M": 3, "W": 2, "V": 1}
OF_THE_SOURCES = {f"{letter}{n + 1}" for letter, size in FAMILIES.items() for n in range(size)}


def test_the_catalogue_is_well_formed():
    claims = ledger.catalogue()
    assert len(OF_THE_SOURCES) == 48
    assert set(claims) >= OF_THE_SOURCES
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")
    assert "48 claims, each" in readme and f"\n{len(claims) - 48} more go beyond them" in readme
    for entry in claims.values():
        assert entry.verdict in ledger.VERDICTS
        assert entry.means
        assert set(entry.means) <= set(ledger.MEANS)
        assert all((entry.statement, entry.source, entry.notebook))
    refuted = {c.id for c in claims.values() if c.verdict == "refuted"}
    assert refuted & OF_THE_SOURCES == {"O4", "O5", "R2", "P3", "L2", "L3", "D6"}
