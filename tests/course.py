"""The course as its tests see it: assignments, their notebooks, their tasks."""

import importlib.util
import os
import re
import sys
import tomllib
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from nbformat import NotebookNode

from dpo_edu.grading import Task
from tools import exercises, notebooks

# Where the graders are; elsewhere while one of them is broken on purpose.
GRADERS = Path(os.environ.get("GRADERS", exercises.EXERCISES / "source"))
ASSIGNMENTS = exercises.assignments()
STEMS = {name: name.partition("_")[2] for name in ASSIGNMENTS}
FIRST = ASSIGNMENTS[0]
# What students write.
ANSWERS = {
    stem: tomllib.loads((Path(__file__).parent / "answers" / f"{stem}.toml").read_text("utf-8"))[
        "answer"
    ]
    for stem in STEMS.values()
}
each = pytest.mark.parametrize("assignment", ASSIGNMENTS)


def read(kind: str, assignment: str) -> NotebookNode:
    path = exercises.EXERCISES / kind / assignment / f"{STEMS[assignment]}.ipynb"
    return notebooks.read(path)


def cells(notebook: NotebookNode, kind: str) -> list[NotebookNode]:
    """Of a kind: "solution", an answer; "grade", its test; "by hand", what a person grades."""
    return [c for c in notebook.cells if _kind(c.metadata.get("nbgrader", {})) == kind]


def _kind(marks: dict[str, Any]) -> str:
    kinds = {(True, False): "solution", (False, True): "grade", (True, True): "by hand"}
    return kinds.get((bool(marks.get("solution")), bool(marks.get("grade"))), "")


@lru_cache
def grader(stem: str) -> ModuleType:
    """The grader of an assignment, under a name of its own: all of them are grader.py."""
    (path,) = GRADERS.glob(f"?_{stem}/grader.py")
    spec = importlib.util.spec_from_file_location(f"grader_{stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tasks(stem: str) -> list[Task]:
    """All tasks of an assignment."""
    return [value for value in vars(grader(stem)).values() if isinstance(value, Task)]


def answered(stem: str, *sources: str) -> dict[str, Any]:
    """The names that code makes in a notebook of an assignment, beside its grader."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "grader", grader(stem))
        for source in sources:
            exec(source, names)
    return names


def graded_tasks(notebook: NotebookNode) -> dict[str, str]:
    """Every graded task with the name of its answer."""
    found = [
        re.search(r"grader\.(\w+)\.grade\((\w+)\)", c.source) for c in cells(notebook, "grade")
    ]
    return {match[1]: match[2] for match in found}
