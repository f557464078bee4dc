"""The formal proofs: nothing assumed, the record of this very text, changes noticed."""

import re
from pathlib import Path

import pytest

from dpo_edu import ledger
from tools import notebooks, proofs

RECORD = proofs.recorded()
THEOREMS = RECORD["theorem"]
PAGE = (notebooks.ROOT / "docs" / "proofs.md").read_text("utf-8")


def test_the_record_is_of_the_sources_as_they_are() -> None:
    assert RECORD["sources"] == proofs.hashes(), "`make proofs` renews the record"
    there = {path.name for path in proofs.FOLDER.glob("*.v")}
    assert set(proofs.sources()) == there, "every source stands in proofs/_CoqProject"


def test_the_record_has_every_theorem_of_the_sources() -> None:
    found = {name: (entry["claim"], entry["file"]) for name, entry in THEOREMS.items()}
    assert found == proofs.theorems_in()


@pytest.mark.parametrize("name", proofs.sources())
def test_nothing_is_asserted_without_proof(name: str) -> None:
    assert proofs.unproved((proofs.FOLDER / name).read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("Lemma a : True.\nProof. auto. Qed.", []),
        ("Lemma a : False.\nProof. Admitted.", ["Admitted"]),
        ("Lemma a : False.\nProof. admit. Qed.", ["admit"]),
        ("Axiom a : False.", ["Axiom"]),
        ("Parameter a : False.", ["Parameter"]),
        ("Section A.\nHypothesis h : False.\nEnd A.", []),
        ("Section A.\nEnd A.\nHypothesis h : False.", ["Hypothesis h : False."]),
        ("Variables a : False.", ["Variables a : False."]),
    ],
)
def test_what_is_asserted_without_proof_is_found(source: str, found: list[str]) -> None:
    assert proofs.unproved(source) == found


@pytest.mark.parametrize("name", THEOREMS)
def test_a_theorem_is_of_a_claim_and_rests_on_the_real_numbers_alone(name: str) -> None:
    assert THEOREMS[name]["claim"] in ledger.catalogue()
    assert re.fullmatch(rf"{THEOREMS[name]['claim']}(_\w+)?", name)
    assert set(THEOREMS[name]["assumptions"]) <= set(proofs.AXIOMS)
    assert THEOREMS[name]["statement"].strip()


def test_the_page_speaks_of_every_theorem_and_of_every_axiom() -> None:
    named = set(re.findall(r"`([A-Z]+\d+(?:_\w+)?)`", PAGE))
    assert named == set(THEOREMS)
    assert set(re.findall(r"`(\w+\.\w+)`", PAGE)) >= set(proofs.AXIOMS)


def test_every_theorem_has_a_control() -> None:
    assert {control.theorem for control in proofs.controls()} == set(THEOREMS)


@pytest.mark.parametrize("control", proofs.controls(), ids=lambda c: f"{c.theorem}-{c.why}")
def test_a_control_changes_one_place(control: proofs.Control) -> None:
    source = (proofs.FOLDER / THEOREMS[control.theorem]["file"]).read_text("utf-8")
    text, lines = proofs.broken(source, control)
    assert text.endswith("Qed.\n") and text not in source
    assert max(lines) == text.count("\n")


def test_a_control_that_changes_nothing_or_two_places_is_refused() -> None:
    source = "Theorem A1 : 1 + 1 = 2.\nProof. auto. Qed.\n"
    for old in ("3", "1"):
        with pytest.raises(ValueError, match="once in Theorem A1"):
            proofs.broken(source, proofs.Control("A1", old, "0", ""))


def test_what_coq_prints_of_a_theorem_is_read(tmp_path: Path) -> None:
    statement = "A1\n     : forall x : R,\n       x = x\n"
    axioms = "Axioms:\nA.first : forall P, P\nB.second\n  : nat ->\n    nat\n"
    (tmp_path / "A1.statement.out").write_text(statement, "utf-8")
    (tmp_path / "A1.assumptions.out").write_text(axioms, "utf-8")
    found = proofs.theorem(tmp_path, "A1", "A1", "A.v")
    assert found.statement == "forall x : R,\nx = x"
    assert found.assumptions == ("A.first", "B.second")
    (tmp_path / "A1.assumptions.out").write_text("Closed under the global context\n", "utf-8")
    assert proofs.theorem(tmp_path, "A1", "A1", "A.v").assumptions == ()


@pytest.mark.parametrize(
    ("old", "new", "outdated"),
    [
        ("A.v", "A.v", False),
        ("A.v", "B.v", True),
        ("x = x", "y = y", True),
        ('coq = "8.16.1"', 'coq = "9.0"', False),
        ('coq = "8.16.1"', 'coq = "9.0"\nfirst = 1', True),
        ("'A.first'", "'A.second'", True),
    ],
)
def test_a_record_is_outdated_if_coq_says_something_else(
    old: str, new: str, outdated: bool
) -> None:
    entry = proofs.Theorem("A1", "A1", "A.v", "x = x", ("A.first",))
    text = proofs.record([entry], "8.16.1").replace('"A.first"', "'A.first'")
    assert proofs.outdated(text.replace(old, new), text) == outdated
    if 'coq = "9.0"' in new:
        assert not proofs.outdated(text.replace(old, 'coq = "9.0"').replace("x = x", "y = y"), text)


def test_without_coq_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "COQC", "coqc-that-nobody-has")
    said = proofs.main([])
    assert "there is no coqc" in said and "apt-get install coq" in said


# --- with Coq -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, compiled."""
    return proofs.compiled(tmp_path_factory.mktemp("proofs") / "copy")


@pytest.mark.coq
@pytest.mark.slow
def test_the_record_is_what_coq_says(compiled: Path) -> None:
    text = proofs.record(proofs.said(compiled), proofs.version())
    assert not proofs.outdated(text, proofs.RECORD.read_text("utf-8")), "`make proofs` renews it"


@pytest.mark.coq
@pytest.mark.slow
@pytest.mark.parametrize("name", ["G11", "G7", "L4"])
def test_a_changed_theorem_is_not_proved(name: str, compiled: Path) -> None:
    for control in proofs.controls():
        if control.theorem == name:
            assert proofs.noticed(control, compiled) == ""


@pytest.mark.coq
@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0 <= KL n p q", "(0 <= KL n p q)", "the proof still holds"),
        ("0 <= KL n p q", "0 <= KL n p", "Coq stops elsewhere"),
        ("0 <= KL n p q", "0 <= <=", "Coq stops elsewhere"),
    ],
)
def test_a_change_that_is_none_or_makes_no_sense_is_no_control(
    old: str, new: str, said: str, compiled: Path
) -> None:
    control = proofs.Control("G11", old, new, "")
    assert proofs.noticed(control, compiled).startswith(said)


@pytest.mark.coq
@pytest.mark.slow
def test_a_proof_that_does_not_hold_is_reported(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "_CoqProject").write_text("-Q . Dpo\nA.v\n", "utf-8")
    (source / "A.v").write_text("Theorem A1 : 1 = 2.\nProof. reflexivity. Qed.\n", "utf-8")
    with pytest.raises(proofs.BadProof, match=r'File "./A.v", line 2'):
        proofs.compiled(tmp_path / "copy", source)
