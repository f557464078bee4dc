"""Every check can fail: one formula is broken at a time, and the committed check cell notices.

One control for each check runs here; `make controls` runs all of them, so that every line falls.
``-k change_the_loss`` runs the controls of one notebook, ``-k beta`` those with this in their name.
"""

from dataclasses import replace

import falsify
import pytest
from falsify import BadControl, Control, Fault

pytestmark = pytest.mark.slow

CONTROLS = falsify.controls()


@pytest.mark.parametrize("notebook", falsify.slugs())
def test_checks_hold_line_by_line_when_nothing_is_broken(notebook: str) -> None:
    wanted = falsify.evidence_lines(notebook)
    found = falsify.baseline(notebook, [*wanted])
    assert {
        check: [(line.claim, line.means) for line in lines] for check, lines in found.items()
    } == wanted


@pytest.mark.parametrize("control", falsify.one_each(CONTROLS), ids=str)
def test_a_broken_formula_makes_its_lines_fail(control: Control) -> None:
    falsify.violate(control, falsify.faults(control.notebook)[control.fault])


@pytest.mark.parametrize("notebook", falsify.slugs())
def test_every_evidence_line_has_a_control(notebook: str) -> None:
    assert falsify.uncovered(notebook) == {}


def test_every_check_that_commits_a_line_has_one_control_here() -> None:
    here = [(control.notebook, control.check) for control in falsify.one_each(CONTROLS)]
    assert sorted(here) == sorted(
        (slug, check) for slug in falsify.slugs() for check in falsify.evidence_lines(slug)
    )


def test_every_fault_is_used_and_no_control_stands_twice() -> None:
    used = {control.fault for control in CONTROLS}
    named = [name for slug in falsify.slugs() for name in falsify.faults(slug)]
    assert set(named) <= used
    assert len({(c.notebook, c.fault, c.check) for c in CONTROLS}) == len(CONTROLS)


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
    "ledger.numeric('G4', found, best, note='by hand')\n"
    "ledger.numeric('G4', found.sum(), 1, note='their sum')\n"
    "ledger.true('G5', 'N', gibbs.objective(found, reward, ref, beta=beta), '>', 0.74)",
    "after": "raise SystemExit('a cell after the check')",
}
FAULT = Fault("formula", "r / beta", "r * beta", "beta on the wrong side")
GOOD = Control("toy", "beta-on-the-wrong-side", "check", (1, 3))


def test_the_runner_runs_only_what_the_check_needs() -> None:
    wanted = ["imports", "problem", "formula", "rebound", "check"]
    assert falsify.needed_cells(TOY, "check") == wanted
    falsify.baseline("toy", ["check"], TOY)


def test_a_changed_object_counts_as_needed() -> None:
    cells = {"imports": "import math", "a": "x = []", "b": "x.append(1)", "c": "y = [0]"}
    cells |= {"d": "y[0] = 2", "e": "print(y)", "f": "assert x and y"}
    assert falsify.needed_cells(cells, "f") == ["imports", "a", "b", "c", "d", "f"]


def test_all_lines_of_the_cell_are_judged() -> None:
    lines = falsify.baseline("toy", ["check"], TOY)["check"]
    assert [(line.claim, line.means) for line in lines] == [("G4", "N"), ("G4", "N"), ("G5", "N")]
    assert falsify.felled("check", FAULT, TOY) == [1, 3]


def test_a_control_in_a_cell_or_in_a_module_makes_its_lines_fail() -> None:
    assert falsify.violate(GOOD, FAULT, TOY) == []
    assert falsify.violate(replace(GOOD, lines=(1,)), FAULT, TOY) == [3]
    module = replace(FAULT, where="gibbs.py", old="exponent /= beta", new="exponent /= 1")
    assert falsify.violate(replace(GOOD, lines=(1,)), module, TOY) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"new": "r / beta + 0"}, "lines .1, 3. still hold"),
        ({"new": "r / nothing"}, "NameError"),
        ({"old": "r"}, "occurs"),
        ({"where": "rebound", "old": "7", "new": "5' + '"}, "SyntaxError"),
        ({"where": "unrelated", "old": "cell", "new": ""}, "does not need"),
        ({"where": "check", "old": "found, best", "new": "found, found"}, "call of the ledger"),
        ({"where": "check", "old": "beta=beta)\n", "new": "beta=1)\n"}, "expected value"),
        ({"where": "ledger.py", "old": "gap <= bound", "new": "False"}, "not a module with form"),
        ({"where": "gibbs.py", "old": "no such text"}, "occurs 0 times"),
    ],
)
def test_what_is_not_a_fault_is_refused(change: dict[str, str], message: str) -> None:
    with pytest.raises(BadControl, match=message):
        falsify.violate(GOOD, replace(FAULT, **change), TOY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lines": (1, 2, 3)}, "lines .2. still hold; .1, 3. fail"),
        ({"lines": ()}, "no line is said to fail"),
        ({"check": "missing"}, "no cell missing"),
    ],
)
def test_what_is_not_a_control_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadControl, match=message):
        falsify.violate(replace(GOOD, **change), FAULT, TOY)


def test_a_check_that_fails_unbroken_is_found_out() -> None:
    broken = TOY | {"formula": TOY["formula"].replace("/", "*")}
    with pytest.raises(BadControl, match="without substitution"):
        falsify.baseline("toy", ["check"], broken)
