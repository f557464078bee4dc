"""The course as its tests see it: assignments, their notebooks, their tasks."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode

from tools import exercises, notebooks

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


def cells(notebook: NotebookNode, flag: str) -> list[NotebookNode]:
    return [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get(flag)]


def module(stem: str) -> Any:
    return importlib.import_module(f"dpo_edu.exercises.{stem}")


def graded_tasks(notebook: NotebookNode) -> dict[str, str]:
    """Every graded task with the name of its answer."""
    found = [
        re.search(r"grader\.(\w+)\.grade\((\w+)\)", c.source) for c in cells(notebook, "grade")
    ]
    return {match[1]: match[2] for match in found}
