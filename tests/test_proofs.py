"""The formal proofs: nothing assumed, the record of this very text, changes noticed."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import conftest
from dpo_edu import ledger
from tools import exercises, notebooks, proofs

RECORD = proofs.recorded()
THEOREMS = RECORD["theorem"]
CLAIMS = ledger.catalogue()
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
def test_a_theorem_is_called_after_its_claim(name: str) -> None:
    assert THEOREMS[name]["claim"] in CLAIMS
    assert re.fullmatch(rf"{THEOREMS[name]['claim']}(_\w+)?", name)
    assert THEOREMS[name]["statement"].strip()


def test_the_theorems_rest_on_the_real_numbers_alone() -> None:
    assert set(RECORD["axioms"]) <= set(proofs.AXIOMS)


def test_the_page_speaks_of_every_theorem_and_of_every_axiom() -> None:
    named = set(re.findall(r"`([A-Z]+\d+(?:_\w+)?)`", PAGE))
    assert named == set(THEOREMS)
    assert set(re.findall(r"`(\w+\.\w+)`", PAGE)) >= set(proofs.AXIOMS)


# --- theorems as evidence for claims ------------------------------------------------------------


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_claim_has_f_just_if_a_theorem_of_it_is_recorded(claim: ledger.Claim) -> None:
    recorded = {name for name, entry in THEOREMS.items() if entry["claim"] == claim.id}
    assert ("F" in claim.means) == bool(recorded)
    assert set(claim.formal) == recorded


G7 = {"G7": replace(CLAIMS["G7"], means=("F",))}
STATED = {name: entry for name, entry in THEOREMS.items() if entry["claim"] == "G7"}


def open_points(theorems: dict[str, dict[str, str]]) -> list[str]:
    """What theorems alone leave open of claim G7."""
    return ledger.shortcomings(ledger.formal_in({"theorem": theorems}, G7), G7)


def test_recorded_theorems_leave_nothing_open() -> None:
    assert open_points(STATED) == []


def test_a_theorem_that_is_not_recorded_is_open() -> None:
    others = {name: entry for name, entry in STATED.items() if name != "G7_gap"}
    assert open_points(others) == ["G7: theorem G7_gap is stated in the catalogue, but not proved"]
    assert "G7: no evidence by means F" in open_points({})


def test_a_theorem_that_no_claim_states_is_open() -> None:
    more = STATED | {"G7_new": STATED["G7_gap"]}
    assert open_points(more) == [
        "G7: theorem G7_new is proved, but the catalogue does not state it"
    ]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [(" ", "\n  ", True), ("0 < beta", "1 < beta", False), ("within n p ref ->", "", False)],
)
def test_a_theorem_that_says_something_else_is_named(old: str, new: str, same: bool) -> None:
    statement = STATED["G7_gap"]["statement"]
    assert old in statement
    changed = STATED["G7_gap"] | {"statement": statement.replace(old, new)}
    said = "G7: theorem G7_gap is stated otherwise in the catalogue than Coq proved it"
    assert open_points(STATED | {"G7_gap": changed}) == ([] if same else [said])


def test_the_verdict_says_what_kind_of_evidence_a_theorem_is() -> None:
    kinds = {e.note: e.kind for e in proofs.evidence()}
    assert set(kinds) == set(THEOREMS)
    assert kinds["G7"] == "agrees" and kinds["L4_needs_connection"] == "counterexample"
    assert {name[:2] for name, kind in kinds.items() if kind == "refuted"} == {"P3", "L2", "L3"}


def test_a_source_that_coq_has_not_checked_is_stale(tmp_path: Path) -> None:
    assert proofs.stale() == []
    record = tmp_path / "record.toml"
    text = proofs.RECORD.read_text("utf-8")
    record.write_text(text.replace(RECORD["sources"]["Leash.v"], "0" * 64), "utf-8")
    assert proofs.stale(record) == [
        "proofs/Leash.v is not the text that Coq has checked, `make proofs` has it checked again"
    ]


def test_a_theorem_has_a_line() -> None:
    lines = (proofs.FOLDER / "Optimum.v").read_text("utf-8").splitlines()
    assert lines[proofs.line_of("G7", proofs.FOLDER / "Optimum.v") - 1].startswith("Theorem G7 ")


# --- what documents and notebooks quote ---------------------------------------------------------

SOURCES = "\n".join((proofs.FOLDER / name).read_text("utf-8") for name in proofs.sources())
DEFINITION = re.compile(r"^(?:Definition|Fixpoint|Inductive) (\w+).*?\.$", re.M | re.S)
ROOMS = ("complete_the_divergence", "derive_it_again_by_lagrange", "derive_the_dpo_loss")


def quoted(text: str) -> list[str]:
    """The paragraphs of the blocks of Coq in a text."""
    blocks = re.findall(r"^```coq\n(.*?)\n```$", text, re.M | re.S)
    return [paragraph for block in blocks for paragraph in block.split("\n\n")]


def strange(text: str) -> list[str]:
    """What a text quotes, and does not stand in the sources as it is quoted."""
    return [paragraph for paragraph in quoted(text) if f"\n{paragraph}\n" not in SOURCES]


def explained(text: str) -> list[str]:
    """The lines of Coq in the first column of a table."""
    return re.findall(r"^\| `(.*?)` \|", text, re.M)


def in_order(rows: list[str], whole: str) -> bool:
    """Whether lines follow each other in a text, whitespace aside."""
    rest = " ".join(whole.split())
    for row in rows:
        if row not in rest:
            return False
        rest = rest.partition(row)[2]
    return True


def cells_with_coq() -> dict[str, list[str]]:
    """For each room the cells that quote Coq."""
    found = {}
    for path in notebooks.numbered():
        cells = [c.source for c in notebooks.read(path).cells if "```coq" in c.source]
        found |= {notebooks.slug(path): cells} if cells else {}
    return found


def test_what_is_quoted_stands_in_the_sources() -> None:
    assert strange(PAGE) == []
    for cells in cells_with_coq().values():
        assert [strange(cell) for cell in cells] == [[]] * len(cells)


def test_three_rooms_explain_a_proof_line_by_line() -> None:
    rooms = cells_with_coq()
    assert set(rooms) == set(ROOMS)
    for (cell,) in rooms.values():
        (proof,) = quoted(cell)
        assert proof.startswith("Theorem ") and proof.endswith("Qed.")
        assert len(explained(cell)) >= 5 and in_order(explained(cell), proof)
        assert "\\|" not in cell, "a bar within a table shows its backslash on some pages"


@pytest.mark.parametrize(
    ("old", "new"), [("J p <= J star", "J p < J star"), ("lra. apply G11", "apply G11")]
)
def test_a_quotation_that_is_none_is_noticed(old: str, new: str) -> None:
    (cell,) = cells_with_coq()["complete_the_divergence"]
    assert strange(cell) == [] and cell.count(old) >= 1
    assert len(strange(cell.replace(old, new))) == 1


def test_lines_that_do_not_follow_each_other_are_noticed() -> None:
    (cell,) = cells_with_coq()["complete_the_divergence"]
    (proof,) = quoted(cell)
    rows = explained(cell)
    assert not in_order(rows[::-1], proof)
    assert not in_order([*rows, "Qed."], proof)


def used(statements: str, definitions: dict[str, str]) -> set[str]:
    """The definitions that statements use, directly or through others."""
    names = set(re.findall(r"\w+", statements)) & set(definitions)
    inner = names.union(*(set(re.findall(r"\w+", definitions[x])) for x in names))
    more = inner & set(definitions)
    return names if more == names else used(" ".join(more), definitions)


def test_the_page_has_every_definition_that_a_theorem_uses() -> None:
    definitions = {match[1]: match[0] for match in DEFINITION.finditer(SOURCES)}
    statements = " ".join(entry["statement"] for entry in THEOREMS.values())
    shown = {match[0] for match in DEFINITION.finditer("\n".join(quoted(PAGE)))}
    assert shown == {definitions[name] for name in used(statements, definitions)}
    assert used("KL n p q", definitions) == {"KL", "Sum"}


# --- controls -----------------------------------------------------------------------------------


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
    (tmp_path / "A1.out").write_text(statement, "utf-8")
    assert proofs.theorem(tmp_path, "A1", "A1", "A.v").statement == "forall x : R,\nx = x"
    assert proofs.assumed(axioms) == ["A.first", "B.second"]
    assert proofs.assumed("Closed under the global context\n") == []


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
    entry = proofs.Theorem("A1", "A1", "A.v", "x = x")
    text = proofs.record([entry], ["A.first"], "8.16.1").replace('"A.first"', "'A.first'")
    assert proofs.outdated(text.replace(old, new), text) == outdated
    if 'coq = "9.0"' in new:
        assert not proofs.outdated(text.replace(old, 'coq = "9.0"').replace("x = x", "y = y"), text)


def test_without_coq_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "COQC", "coqc-that-nobody-has")
    said = proofs.main([])
    assert "there is no coqc" in said and "apt-get install coq" in said


@pytest.mark.parametrize(
    ("source", "missing", "said"),
    [
        ("TESTPATHS", "has_coq", [conftest.WITHOUT_COQ, conftest.WITHOUT_LM]),
        ("TESTPATHS", "has_browser", [conftest.WITHOUT_SITE, conftest.WITHOUT_LM]),
        ("TESTPATHS", "has_site", [conftest.WITHOUT_SITE, conftest.WITHOUT_LM]),
        ("TESTPATHS", "is_confining", [conftest.WITHOUT_BUBBLEWRAP, conftest.WITHOUT_LM]),
        ("TESTPATHS", "", [conftest.WITHOUT_LM]),
        ("ARGS", "has_coq", []),
    ],
)
def test_a_run_of_all_tests_says_what_it_left_out(
    source: str, missing: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("has_coq", "has_browser", "has_site"):
        monkeypatch.setattr(conftest, name, lambda name=name: name != missing)
    monkeypatch.setattr(conftest.judge, "is_confining", lambda: missing != "is_confining")
    config = SimpleNamespace(args_source=getattr(pytest.Config.ArgsSource, source))
    written: list[str] = []
    conftest.pytest_terminal_summary(SimpleNamespace(config=config, write_line=written.append))
    assert written == said


# --- with Coq -----------------------------------------------------------------------------------


def project(folder: Path, text: str) -> Path:
    """A folder with one source, and the folder again."""
    folder.mkdir()
    (folder / "_CoqProject").write_text("-Q . Dpo\nA.v\n", "utf-8")
    (folder / "A.v").write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, compiled."""
    return proofs.compiled(tmp_path_factory.mktemp("proofs") / "copy")


@pytest.mark.coq
@pytest.mark.slow
def test_the_record_is_what_coq_says(compiled: Path) -> None:
    text = proofs.record(proofs.said(compiled), proofs.axioms(compiled), proofs.version())
    assert not proofs.outdated(text, proofs.RECORD.read_text("utf-8")), "`make proofs` renews it"


@pytest.mark.coq
@pytest.mark.slow
def test_coq_reads_the_statements_of_the_catalogue(compiled: Path) -> None:
    proofs.confirm(compiled, CLAIMS)
    weaker = CLAIMS["G11"].formal["G11"].replace("0 <= KL", "-1 <= KL")
    with pytest.raises(proofs.BadProof, match='The term "G11" has type'):
        proofs.confirm(compiled, {"G11": replace(CLAIMS["G11"], formal={"G11": weaker})})


@pytest.mark.coq
@pytest.mark.slow
def test_an_axiom_is_named(tmp_path: Path) -> None:
    text = "Axiom wish : 1 = 2.\nTheorem A1 : 1 = 2.\nProof. exact wish. Qed.\n"
    source = project(tmp_path / "source", text)
    folder = proofs.compiled(tmp_path / "copy", source)
    assert proofs.axioms(folder, source) == ["wish"]


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
    text = "Theorem A1 : 1 = 2.\nProof. reflexivity. Qed.\n"
    source = project(tmp_path / "source", text)
    with pytest.raises(proofs.BadProof, match=r'File "./A.v", line 2'):
        proofs.compiled(tmp_path / "copy", source)


def optional_task(kind: str, old: str, new: str) -> str:
    """The file of Coq that the last task of the second assignment prints, with a change."""
    (path,) = (exercises.EXERCISES / kind).glob("2_*/*.ipynb")
    cells = {cell.id: cell.source for cell in notebooks.read(path).cells}
    names: dict[str, str] = {}
    exec(f"{cells['optional-given']}\n{cells['optional-proof']}", names)
    text = f"{names['lemma']}{names['proof']}Qed.\n"
    assert old in text
    return text.replace(old, new)


@pytest.mark.coq
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "old", "new", "said"),
    [
        ("source", "Qed", "Qed", ""),
        ("student", "Qed", "Qed", "incomplete proof"),
        ("source", "0 < beta", "beta < 0", "Cannot find witness"),
        ("source", "J <= level", "J < level", "Cannot find witness"),
        ("source", "apply Rmult_le_pos; ", "", "Cannot find witness"),
    ],
)
def test_the_optional_task_has_a_proof(
    kind: str, old: str, new: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "best.v").write_text(optional_task(kind, old, new), "utf-8")
    run = proofs.coqc(tmp_path, "best.v")
    assert bool(run.returncode) == bool(said) and said in run.stderr
