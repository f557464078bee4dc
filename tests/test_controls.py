"""Every check can fail: one formula is broken at a time, and the committed check cell notices.

``-k 07`` runs the controls of notebook 07, ``-k G4`` those of claim G4.
"""

import json
from dataclasses import replace

import controls
import pytest
from controls import BadControl, Control

from dpo_edu import ledger
from tools import notebooks

CONTROLS = controls.controls()
CHECKS = sorted({(c.notebook, c.check) for c in CONTROLS})


@pytest.mark.parametrize(("notebook", "check"), CHECKS, ids=map("-".join, CHECKS))
def test_a_check_passes_when_nothing_is_broken(notebook: str, check: str) -> None:
    controls.baseline(notebook, check)


@pytest.mark.parametrize("control", CONTROLS, ids=str)
def test_a_broken_formula_makes_its_claim_fail(control: Control) -> None:
    controls.violate(control)


def test_every_claim_has_a_control_for_each_of_its_means() -> None:
    have = {(c.claim, c.means) for c in CONTROLS}
    need = {(c.id, means) for c in ledger.catalogue().values() for means in c.means}
    assert not need - have, f"claims without a control: {sorted(need - have)}"


def test_a_control_names_a_cell_that_committed_such_evidence() -> None:
    astray = []
    for control in CONTROLS:
        (path,) = notebooks.numbered(control.notebook)
        tree = json.loads(path.read_text("utf-8"))
        cell = [c for c in tree["cells"] if c["id"] == control.check]
        evidence = ledger.evidence_in({"cells": cell})
        if (control.claim, control.means) not in {(e.claim, e.means) for e in evidence}:
            astray.append(str(control))
    assert not astray


# --- the runner itself, on a notebook made for it ---------------------------------------------

TOY = {
    "imports": "import numpy as np\nfrom dpo_edu import gibbs\nfrom dpo_edu.ledger import Ledger\n"
    "ledger = Ledger()",
    "problem": "reward, ref, beta = np.array([0.0, 1.0]), np.array([0.4, 0.6]), 0.5",
    "unrelated": "raise SystemExit('a cell that the check does not need')",
    "formula": "def weight(r):\n    return ref * np.exp(r / beta)",
    "rebound": "beta = 0.7",
    "check": "found = weight(reward) / weight(reward).sum()\n"
    "best = gibbs.optimal_policy(reward, ref, beta=beta)\n"
    "ledger.numeric('G4', found, best, note='by hand')",
    "after": "raise SystemExit('a cell after the check')",
}
GOOD = Control(
    "00", "G4", "N", "check", "formula", "r / beta", "r * beta", "beta on the wrong side"
)


def test_the_runner_runs_only_what_the_check_needs() -> None:
    wanted = ["imports", "problem", "formula", "rebound", "check"]
    assert controls.needed_cells(TOY, "check") == wanted
    controls.baseline("00", "check", TOY)


def test_a_changed_object_counts_as_needed() -> None:
    cells = {"imports": "import math", "a": "x = []", "b": "x.append(1)", "c": "y = [0]"}
    cells |= {"d": "y[0] = 2", "e": "print(y)", "f": "assert x and y"}
    assert controls.needed_cells(cells, "f") == ["imports", "a", "b", "c", "d", "f"]


def test_a_control_in_a_cell_or_in_a_module_makes_the_claim_fail() -> None:
    controls.violate(GOOD, TOY)
    module = replace(GOOD, where="gibbs.py", old="(reward - best) / beta", new="reward - best")
    controls.violate(module, TOY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"new": "r / beta + 0"}, "still passes"),
        ({"new": "r / nothing"}, "NameError"),
        ({"claim": "G7"}, "what fails first is G4 by N"),
        ({"means": "S"}, "what fails first is G4 by N"),
        ({"old": "r"}, "occurs"),
        ({"where": "rebound", "old": "7", "new": "5' + '"}, "SyntaxError"),
        ({"where": "unrelated", "old": "cell", "new": ""}, "does not need"),
        ({"where": "check", "old": "found, best", "new": "found, found"}, "call of the ledger"),
        ({"where": "check", "old": "beta=beta", "new": "beta=1"}, "expected value"),
        ({"where": "ledger.py", "old": "gap <= bound", "new": "False"}, "no module with formulas"),
        ({"where": "gibbs.py", "old": "no such text"}, "occurs 0 times"),
        ({"check": "missing"}, "no cell missing"),
    ],
)
def test_what_is_no_control_is_refused(change: dict[str, str], message: str) -> None:
    with pytest.raises(BadControl, match=message):
        controls.violate(replace(GOOD, **change), TOY)


def test_a_check_that_fails_unbroken_is_found_out() -> None:
    broken = TOY | {"formula": TOY["formula"].replace("/", "*")}
    with pytest.raises(BadControl, match="without substitution"):
        controls.baseline("00", "check", broken)
