"""The catalogue is complete, and notebooks and theorems hold evidence for every claim in it."""

import json
from dataclasses import replace

import pytest

from dpo_edu import ledger
from dpo_edu.ledger import Evidence
from tools import notebooks, proofs

CLAIMS = ledger.catalogue()
COMMITTED = {
    notebooks.slug(path): ledger.evidence_in(json.loads(path.read_text("utf-8")))
    for path in notebooks.numbered()
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_claim_is_written_in_the_fixed_vocabulary(claim: ledger.Claim) -> None:
    assert claim.verdict in ledger.VERDICTS
    assert claim.means
    assert set(claim.means) <= set(ledger.MEANS)
    assert claim.statement
    assert claim.source
    assert claim.notebook in COMMITTED
    if claim.verdict in ("qualified", "refuted"):
        assert claim.note, "the note says which hypothesis, or how it is repaired"


@pytest.mark.parametrize("id", CLAIMS)
def test_a_claim_has_all_its_evidence_in_notebooks_and_theorems(id: str) -> None:
    evidence = [e for entries in COMMITTED.values() for e in entries if e.claim == id]
    evidence += [e for e in proofs.evidence() if e.claim == id]
    assert ledger.shortcomings(evidence, {id: CLAIMS[id]}) == []
    assert id in {e.claim for e in COMMITTED[CLAIMS[id].notebook]}


@pytest.mark.parametrize("stem", COMMITTED)
def test_a_notebook_speaks_of_known_claims_only_and_of_some(stem: str) -> None:
    assert {e.claim for e in COMMITTED[stem]} <= set(CLAIMS)
    assert COMMITTED[stem]


def test_the_headline_figures_are_there() -> None:
    trees = [json.loads(path.read_text("utf-8")) for path in notebooks.numbered()]
    names = " ".join(h.name.lower() for tree in trees for h in ledger.headlines_in(tree))
    for word in ("tabular", "transformer", "bradley-terry"):
        assert word in names


# --- evidence that is broken on purpose ---------------------------------------------------------

G4 = {"G4": replace(CLAIMS["G4"], means=("S", "N"), formal={})}
WHOLE = [Evidence("G4", "S", "agrees", ""), Evidence("G4", "N", "agrees", "")]
AGAINST = "G4: the catalogue says holds, against it:"


def test_whole_evidence_has_no_shortcoming() -> None:
    assert ledger.shortcomings(WHOLE, G4) == []


@pytest.mark.parametrize(
    ("evidence", "complaint"),
    [
        ([], "G4: no evidence by means S, N"),
        (WHOLE[:1], "G4: no evidence by means N"),
        ([*WHOLE, Evidence("G44", "N", "agrees", "")], "G44: not in the catalogue"),
        ([*WHOLE, Evidence("G4", "N", "refuted", "x")], f"{AGAINST} G4  numeric  refuted: x"),
        (
            [*WHOLE, Evidence("G4", "N", "counterexample", "x")],
            f"{AGAINST} G4  numeric  counterexample",
        ),
    ],
)
def test_broken_evidence_is_a_shortcoming(evidence: list[Evidence], complaint: str) -> None:
    (found,) = ledger.shortcomings(evidence, G4)
    assert found.startswith(complaint)


def test_a_verdict_without_its_evidence_is_a_shortcoming() -> None:
    (found,) = ledger.shortcomings(WHOLE, {"G4": replace(G4["G4"], verdict="qualified")})
    assert found == "G4: evidence amounts to holds, the catalogue says qualified"


def test_a_verdict_that_the_evidence_contradicts_is_a_shortcoming_line_by_line() -> None:
    found = ledger.shortcomings(WHOLE, {"G4": replace(G4["G4"], verdict="refuted")})
    assert [
        text.startswith("G4: the catalogue says refuted, against it: G4") for text in found
    ] == [
        True,
        True,
    ]


def test_data_evidence_names_its_source() -> None:
    evidence = [e for entries in COMMITTED.values() for e in entries]
    assert all(bool(e.source) == (e.means == "D") for e in evidence)
