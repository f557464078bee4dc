"""The extra `student` is enough for most assignments, and the check of a laptop says so."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata

import pytest
from course import ASSIGNMENTS, read
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_environment import EXTRAS, PROJECT, closure

from dpo_edu import laptop
from tools import exercises, notebooks

STUDENT = [Requirement(text).name for text in PROJECT["dependencies"] + EXTRAS["student"]]
WITH_TORCH = [ASSIGNMENTS[number - 1] for number in laptop.WITH_TORCH]
WITHOUT_TORCH = [name for name in ASSIGNMENTS if name not in WITH_TORCH]
# Lets only some modules be imported, runs code, and prints the last line of what it raises.
ONLY = """
import importlib.abc, json, sys
blocked, cells = json.load(sys.stdin)
class Blocks(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Blocks())
names = {}
for cell in cells:
    exec(cell, names)
"""


def others() -> list[str]:
    """What is installed here, and would not be with the extra alone, as it is imported."""
    brought = {name for start in STUDENT for name in closure(start)} | {"dpo-edu"}
    tops = metadata.packages_distributions()
    return [
        top
        for top, owners in tops.items()
        if not {canonicalize_name(owner) for owner in owners} & brought
    ]


def run(cells: list[str], folder: str = ".") -> subprocess.CompletedProcess[str]:
    """Code where only the extra is installed."""
    return subprocess.run(
        [sys.executable, "-c", ONLY],
        input=json.dumps([others(), cells]),
        cwd=exercises.EXERCISES / "source" / folder,
        capture_output=True,
        text=True,
    )


def code(assignment: str) -> list[str]:
    return [c.source for c in read("source", assignment).cells if c.cell_type == "code"]


@pytest.mark.slow
@pytest.mark.parametrize("assignment", WITHOUT_TORCH)
def test_the_extra_is_enough_for_most_assignments(assignment: str) -> None:
    done = run(code(assignment), assignment)
    assert done.returncode == 0, done.stderr
    verdicts = re.findall(r"(?m)^\w+: (.*)$", done.stdout)
    assert len(verdicts) > 3 and set(verdicts) == {"right."}


@pytest.mark.slow
@pytest.mark.parametrize("assignment", WITH_TORCH)
def test_the_others_need_torch(assignment: str) -> None:
    assert "torch" in others()
    assert "No module named 'torch'" in run(code(assignment), assignment).stderr


def test_the_extra_is_what_the_check_looks_for() -> None:
    names = [Requirement(text).name for text in EXTRAS["student"]]
    assert sorted(names) == sorted(set(laptop.NEEDED.values()) - {"numpy"})
    assert "numpy" in laptop.NEEDED and "nbgrader" not in closure("jupyterlab")
    python = f">={laptop.OLDEST[0]}.{laptop.OLDEST[1]}"
    assert python == PROJECT["requires-python"]


@pytest.mark.slow
def test_the_check_takes_less_than_ten_seconds_and_writes_nothing(tmp_path) -> None:
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "dpo_edu.laptop"], cwd=tmp_path, capture_output=True, text=True
    )
    after = os.times()
    used = after.children_user + after.children_system
    assert used - before.children_user - before.children_system < 10  # of a processor
    assert done.returncode == 0 and done.stdout.endswith("Ready for all assignments.\n")
    assert len(done.stdout.splitlines()) == len(laptop.NEEDED) + 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_check_needs_no_more_than_the_extra() -> None:
    done = run(["from dpo_edu import laptop\nraise SystemExit(laptop.main())"])
    assert done.returncode == 0, done.stderr
    assert "torch       missing; for assignments 4 to 6: " in done.stdout
    assert done.stdout.endswith("Ready for all assignments but 4 to 6.\n")


def here(monkeypatch: pytest.MonkeyPatch, *absent: str) -> None:
    monkeypatch.setattr(laptop, "version", lambda name: None if name in absent else "1.0")


def test_what_is_missing_is_named_with_its_remedy(monkeypatch, capsys) -> None:
    here(monkeypatch, "sympy", "torch")
    assert laptop.main() == 1
    printed = capsys.readouterr().out.splitlines()
    assert "sympy       missing" in printed and "numpy       1.0" in printed
    assert printed[-1] == f"Not ready. In the folder dpo-edu: {laptop.INSTALL}"


def test_an_old_python_is_said(monkeypatch, capsys) -> None:
    here(monkeypatch)
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert laptop.main() == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Python      3.9.1  too old"
    assert printed[-1].startswith("Not ready: install Python 3.11 or newer")


def test_a_torn_library_counts_as_missing(tmp_path, monkeypatch) -> None:
    (tmp_path / "torn_library.py").write_text("raise OSError('a DLL is missing')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert laptop.version("torn_library") is None
    assert laptop.version("numpy") == metadata.version("numpy")


def test_the_commands_of_the_check_can_be_said_in_the_project() -> None:
    assert (notebooks.ROOT / "constraints.txt").exists()
    assert '".[student]"' in laptop.INSTALL and "student" in EXTRAS
