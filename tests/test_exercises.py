"""The course: students' versions are fresh and give nothing away; variants; the guide."""

import contextlib
import io
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from course import (
    ANSWERS,
    ASSIGNMENTS,
    FIRST,
    STEMS,
    answered,
    cells,
    each,
    graded_tasks,
    grader,
    read,
    tasks,
)
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from dpo_edu.grading import Incorrect, Task
from tools import exercises, notebooks

pytestmark = pytest.mark.slow


def test_the_students_version_is_what_the_sources_generate(tmp_path: Path) -> None:
    exercises.generate(tmp_path / "student")
    fresh = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.glob("student/*/*.*")}
    committed = exercises.EXERCISES.glob("student/*/*.*")
    assert fresh == {p.relative_to(exercises.EXERCISES): p.read_bytes() for p in committed}
    assert len(fresh) == 2 * len(ASSIGNMENTS)


@each
def test_the_students_version_gives_nothing_away(assignment: str) -> None:
    student = nbformat.writes(read("student", assignment))
    assert not re.search(r"SOLUTION|HIDDEN|\.grade\(", student)
    source = read("source", assignment)
    for cell in cells(source, "solution") + cells(source, "by hand"):
        solution = re.search(r"### BEGIN SOLUTION\n(.*?)\s*### END", cell.source, re.DOTALL)[1]
        lines = [line.strip() for line in solution.splitlines() if len(line.strip()) > 12]
        assert lines
        assert not any(line in c.source for line in lines for c in cells_of_code(assignment))


def cells_of_code(assignment: str) -> list[NotebookNode]:
    return [c for c in read("student", assignment).cells if c.cell_type == "code"]


@each
def test_every_task_has_hints_an_answer_a_check_and_a_grade(assignment: str) -> None:
    source = read("source", assignment)
    graded = graded_tasks(source)
    checked = re.findall(r"grader\.(\w+)\.check\(", "\n".join(c.source for c in source.cells))
    assert checked == list(graded)
    solved = [c for c in cells(source, "solution") if not c.id.startswith("optional-")]
    assert len(cells(source, "grade")) == len(solved) == len(graded)
    folds = [c.source.count("<details>") for c in source.cells if c.cell_type == "markdown"]
    assert [n for n in folds if n] == [3] * len(graded)
    stated = re.search(r"(\d+) points", source.cells[0].source)
    worth = [c.metadata.nbgrader.points for c in cells(source, "grade") + cells(source, "by hand")]
    assert int(stated[1]) == sum(worth)


def last_hints(text: str) -> list[str]:
    return re.findall(r"<summary>Hint 3</summary>(.*?)</details>", text, re.DOTALL)


def gives_away(hint: str) -> bool:
    """Whether a last hint is code, or has no numbers to work out by hand."""
    return "<code>" in hint or len(re.findall(r"\d+(?:\.\d+)?", hint)) < 4


@each
def test_the_last_hint_is_a_smaller_case_and_not_the_code(assignment: str) -> None:
    hints = last_hints("\n".join(cell.source for cell in read("source", assignment).cells))
    assert hints and [hint for hint in hints if gives_away(hint)] == []


def test_a_hint_that_gives_away_is_found() -> None:
    fold = "<details><summary>Hint 3</summary>{}</details>"
    for hint in ("p = 1/2: 100 votes carry 25.", "<code>1 / (p * (1 - p))</code>", "Solve for n."):
        assert last_hints(fold.format(hint)) == [hint]
        assert gives_away(hint) is ("100" not in hint)


def typed_formulas(text: str) -> list[str]:
    """Folds of one line with a formula, which the site shows as it was typed: it is no Markdown."""
    return re.findall(r"<summary>[^\n]*\$[^\n]*</details>", text)


@each
def test_a_hint_needs_no_typesetting(assignment: str) -> None:
    texts = "\n".join(cell.source for cell in read("source", assignment).cells)
    assert typed_formulas(texts) == []


def test_a_hint_with_a_formula_is_found() -> None:
    assert typed_formulas("<summary>Hint 1</summary>Which $\\beta$?</details>")
    assert not typed_formulas("<summary>Hint 1</summary>Which β?</details>\nand $\\beta$")


def rubric_flaws(notebook: NotebookNode) -> list[str]:
    """Answers graded by hand whose points are not those of the table in the cell before."""
    found = []
    for before, cell in pairwise(notebook.cells):
        if cell in cells(notebook, "by hand"):
            shares = re.findall(r"(?m)^\| (\d+) \|", before.source)
            if sum(map(int, shares)) != cell.metadata.nbgrader.points:
                found.append(cell.id)
    return found


@each
def test_what_a_person_grades_has_a_rubric_that_adds_up(assignment: str) -> None:
    assert rubric_flaws(read("student", assignment)) == []


def test_a_rubric_that_does_not_add_up_is_found() -> None:
    before, answer = new_markdown_cell("| 2 | a |\n| 1 | b |"), new_markdown_cell("x")
    answer.metadata.nbgrader = {"grade": True, "solution": True, "points": 3}
    book = new_notebook(cells=[before, answer])
    assert rubric_flaws(book) == []
    answer.metadata.nbgrader["points"] = 4
    assert rubric_flaws(book) == [answer.id]


@each
def test_each_task_links_to_the_cell_it_practises(assignment: str) -> None:
    source = read("source", assignment)
    text = "\n".join(cell.source for cell in source.cells)
    links = re.findall(r"\.\./\.\./\.\./notebooks/(\w+\.ipynb)#cell-id=([a-z0-9-]+)", text)
    assert len(links) >= len(graded_tasks(source))
    for name, id in links:
        assert id in {c.id for c in notebooks.read(notebooks.FOLDER / name).cells}


@pytest.mark.parametrize(("kind", "verdict"), [("student", "not done yet"), ("source", "right")])
@each
def test_a_notebook_runs_from_top_to_bottom(assignment: str, kind: str, verdict: str) -> None:
    notebook = read(kind, assignment)
    folder = {"metadata": {"path": exercises.EXERCISES / kind / assignment}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=folder).execute()
    checks = [c for c in notebook.cells if ".check(" in c.source]
    assert checks
    for cell in checks:
        printed = "".join(output.text for output in cell.outputs)  # a line may come in parts
        assert re.fullmatch(rf"\w+: {verdict}\.\n", printed)


# --- variants -----------------------------------------------------------------------------------

WITH_NUMBERS = [task for stem in STEMS.values() for task in tasks(stem) if task.draw]


@pytest.fixture(scope="module", params=[1, 17])
def variant(request, tmp_path_factory) -> tuple[int, Path]:
    """The sources of a course with other numbers."""
    course = tmp_path_factory.mktemp("variant")
    exercises.copy_course(course)
    exercises.vary(course, request.param)
    return request.param, course


@each
def test_a_variants_own_solution_is_right(assignment: str, variant: tuple[int, Path]) -> None:
    number, course = variant
    stem = STEMS[assignment]
    source = notebooks.read(course / "source" / assignment / f"{stem}.ipynb")
    graded = cells(source, "grade")
    code = [c.source for c in source.cells if c.cell_type == "code" and c not in graded]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = answered(stem, *code)
    verdicts = re.findall(r"^\w+: .*$", printed.getvalue(), re.MULTILINE)
    assert verdicts == [f"{task}: right." for task in graded_tasks(read("source", assignment))]
    for cell in graded:
        call = re.search(r"grader\.(\w+)\.grade\((\w+), variant=(\d+)\)", cell.source)
        assert int(call[3]) == number
        getattr(grader(stem), call[1]).grade(names[call[2]], variant=number)


@pytest.mark.parametrize("task", WITH_NUMBERS, ids=lambda task: task.name)
def test_a_question_has_other_numbers_in_other_variants(task: Task) -> None:
    several = [repr(task.given(variant)) for variant in range(20)]
    assert len(set(several)) >= 5
    assert task.given() == task.published and task.given(3) == task.given(3)


@pytest.mark.parametrize("task", WITH_NUMBERS, ids=lambda task: task.name)
def test_numbers_taken_over_from_another_variant_are_wrong(task: Task) -> None:
    right = next(
        a for s in STEMS.values() for a in ANSWERS[s] if a["task"] == task.name and "says" not in a
    )
    names: dict[str, Any] = {"np": np}
    exec(right["code"], names)
    task.grade(names[task.name])
    other = next(v for v in range(1, 20) if task.given(v) != task.given())
    with pytest.raises(Incorrect):
        task.grade(names[task.name], variant=other)


def test_a_check_tries_other_numbers_in_another_variant(capsys) -> None:
    task, wrong = (
        grader(STEMS[FIRST]).optimal_policy,
        lambda reward, ref, *, beta: reward + beta * ref,
    )
    task.check(wrong)
    task.check(wrong, variant=1)
    first, second = capsys.readouterr().out.splitlines()
    assert first.partition("for reward")[0] == second.partition("for reward")[0] != first
    assert first != second


@pytest.mark.parametrize(
    "words", [["--variant", "3"], ["--to", "x"], ["--variant", "0", "--to", "x"]]
)
def test_a_variant_needs_a_number_and_a_folder(words: list[str]) -> None:
    assert "needs a folder" in exercises.main(words)


def test_a_variant_is_a_course_of_its_own(tmp_path: Path, monkeypatch) -> None:
    made: list[tuple[Path, Path]] = []
    monkeypatch.setattr(exercises, "generate", lambda *folders: made.append(folders))
    course = tmp_path / "exercises-3"
    assert exercises.main(["--variant", "3", "--to", str(course)]) == 0
    assert made == [(course / "student", course)]
    assert (course / exercises.CONFIG).exists()
    assert len(list(course.glob("source/*/grader.py"))) == len(ASSIGNMENTS)
    assert exercises.assignments(course) == ASSIGNMENTS
    assert "variant=3)" in next((course / "source").rglob("*.ipynb")).read_text("utf-8")


def test_a_variant_overwrites_nothing(tmp_path: Path) -> None:
    assert "exists already" in exercises.main(["--variant", "3", "--to", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
