"""The course: student versions are fresh and give nothing away, and the graders are graded.

``tests/answers/<assignment>.toml`` holds what students write: right answers that must get all
points, wrong ones that must lose them and be told why.
"""

import contextlib
import copy
import importlib
import io
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from dpo_edu.exercises import tasks
from tools import exercises, notebooks

ASSIGNMENTS = exercises.assignments()
STEMS = {name: name.partition("_")[2] for name in ASSIGNMENTS}
ANSWERS = {
    stem: tomllib.loads((Path(__file__).parent / "answers" / f"{stem}.toml").read_text("utf-8"))[
        "answer"
    ]
    for stem in STEMS.values()
}
EVERY = [
    pytest.param(stem, answer, id=f"{stem}-{answer['task']}-{place}")
    for stem, answers in ANSWERS.items()
    for place, answer in enumerate(answers)
]
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


# --- the students' version ----------------------------------------------------------------------


def test_the_students_version_is_what_the_sources_generate(tmp_path: Path) -> None:
    exercises.generate(tmp_path / "student")
    fresh = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*.ipynb")}
    committed = exercises.EXERCISES.rglob("student/*/*.ipynb")
    assert fresh == {p.relative_to(exercises.EXERCISES): p.read_bytes() for p in committed}


@each
def test_the_students_version_gives_nothing_away(assignment: str) -> None:
    student = nbformat.writes(read("student", assignment))
    assert not re.search(r"SOLUTION|HIDDEN|as grader", student)
    for cell in cells(read("source", assignment), "solution"):
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
    checked = re.findall(r"tasks\.(\w+)\.check\(", "\n".join(c.source for c in source.cells))
    assert checked == list(graded)
    assert len(cells(source, "grade")) == len(cells(source, "solution")) == len(graded)
    folds = [c.source.count("<details>") for c in source.cells if c.cell_type == "markdown"]
    assert [n for n in folds if n] == [3] * len(graded)
    stated = re.search(r"(\d+) points", source.cells[0].source)
    points = sum(c.metadata.nbgrader.points for c in cells(source, "grade"))
    assert int(stated[1]) == points


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
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    checks = [c for c in notebook.cells if ".check(" in c.source]
    assert checks
    for cell in checks:
        assert re.fullmatch(rf"\w+: {verdict}\.\n", cell.outputs[0].text)


# --- the graders are graded ---------------------------------------------------------------------


def answered(stem: str, answer: dict[str, str]) -> tuple[tasks.Task, Any]:
    """The task, and what a student's code makes of its name after the notebook's code before."""
    assignment = next(name for name in ASSIGNMENTS if STEMS[name] == stem)
    notebook = read("student", assignment)
    source = graded_tasks(read("source", assignment))
    names: dict[str, Any] = {}
    for cell in notebook.cells:
        given = cell.cell_type == "code" and ".check(" not in cell.source
        if given and not cell.metadata.get("nbgrader", {}).get("grade"):
            exec(cell.source, names)
    exec(answer["code"], names)
    return getattr(module(stem), answer["task"]), names[source[answer["task"]]]


def sentences(task: tasks.Task, answer: Any) -> tuple[str, str]:
    """What the check prints, and what the grade raises ("" if it does not)."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        task.check(answer)
    try:
        task.grade(answer)
    except Exception as error:
        return printed.getvalue(), str(error)
    return printed.getvalue(), ""


@pytest.mark.parametrize(("stem", "answer"), EVERY)
def test_an_answer_gets_its_points_or_its_sentence(stem: str, answer: dict[str, str]) -> None:
    task, value = answered(stem, answer)
    before = copy.deepcopy(value)
    printed, raised = sentences(task, value)
    if "says" in answer:
        assert answer["says"] in printed
        assert answer["says"] in raised
    else:
        assert (printed, raised) == (f"{answer['task']}: right.\n", "")
    if not callable(value):
        assert repr(value) == repr(before)


@each
def test_every_task_is_tried_with_two_right_and_three_wrong_answers(assignment: str) -> None:
    answers = ANSWERS[STEMS[assignment]]
    for name in graded_tasks(read("source", assignment)):
        own = [a for a in answers if a["task"] == name]
        says = [a["says"] for a in own if "says" in a]
        assert len(own) - len(says) >= 2, name
        assert len(set(says)) >= 3, name
        assert len(set(says)) == len(says), "each wrong answer has its own sentence"


def test_a_check_survives_whatever_an_answer_does(capsys: pytest.CaptureFixture[str]) -> None:
    def examine(answer: Any, rng: Any) -> str | None:
        raise ZeroDivisionError("inside")

    tasks.Task("odd", examine).check(1)
    assert capsys.readouterr().out == "odd: the check stopped at ZeroDivisionError: inside.\n"


# --- the whole cycle of nbgrader ----------------------------------------------------------------

FIRST = ASSIGNMENTS[0]


def submission(assignment: str, spoil: str) -> NotebookNode:
    """A student's notebook in the state named."""
    notebook, source = read("student", assignment), read("source", assignment)
    solved = {c.id: c.source for c in cells(source, "solution")}
    for cell in cells(notebook, "solution"):
        if spoil == "raises":
            cell.source = "raise RuntimeError('not today')"
        elif spoil not in ("blank", "overwrites"):
            cell.source = re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", solved[cell.id])
    last = cells(notebook, "solution")[-1]
    if spoil == "endless":
        name = list(graded_tasks(source).values())[-1]
        last.source = f"def {name}(*arguments, **keywords):\n    while True:\n        pass"
    elif spoil == "deletes":
        test = cells(notebook, "grade")[-1]
        last.source, notebook.cells = "", [c for c in notebook.cells if c is not test]
    elif spoil == "overwrites":
        stem = STEMS[assignment]
        last.source = (
            f"from dpo_edu.exercises import {stem} as grader, tasks as framework\n"
            "framework.Task.grade = framework.Task.check = lambda self, answer: None\n"
            "class Yes:\n    grade = check = staticmethod(lambda answer: None)\n"
            "for name in dir(grader):\n    setattr(grader, name, Yes)\n"
            "tasks = grader\n"
        )
    return notebook


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[float, float]]:
    """Points and possible points of every submission, after generate, collect, autograde."""
    course = tmp_path_factory.mktemp("course")
    exercises.copy_course(course)
    with (course / exercises.CONFIG).open("a") as config:
        config.write("\nc.Execute.timeout = 5\n")
    handed_in = [(name, spoil) for name in ASSIGNMENTS for spoil in ("solved", "blank")]
    handed_in += [(FIRST, s) for s in ("raises", "endless", "deletes", "overwrites")]
    for assignment, spoil in handed_in:
        archive = course / "downloaded" / assignment / "archive"
        archive.mkdir(parents=True, exist_ok=True)
        name = f"{spoil}_{STEMS[assignment]}.ipynb"
        nbformat.write(submission(assignment, spoil), archive / name)
    for assignment in ASSIGNMENTS:
        exercises.nbgrader(course, "generate_assignment", assignment)
        exercises.nbgrader(course, "zip_collect", assignment)
        exercises.nbgrader(course, "autograde", assignment)
        exercises.nbgrader(course, "generate_feedback", assignment)
    shutil.copytree(course / "feedback", tmp_path_factory.getbasetemp() / "feedback")
    return exercises.scores(course)


@each
def test_a_solution_gets_everything_and_a_blank_notebook_nothing(assignment, scores) -> None:
    score, possible = scores[assignment, "solved"]
    assert score == possible > 0
    assert scores[assignment, "blank"][0] == 0


@pytest.mark.parametrize("spoil", ["raises", "overwrites"])
def test_a_notebook_that_raises_or_overwrites_the_grader_gets_nothing(spoil: str, scores) -> None:
    assert scores[FIRST, spoil][0] == 0


@pytest.mark.parametrize("spoil", ["endless", "deletes"])
def test_an_endless_loop_or_a_deleted_test_loses_just_its_task(spoil: str, scores) -> None:
    score, possible = scores[FIRST, spoil]
    last = cells(read("source", FIRST), "grade")[-1].metadata.nbgrader.points
    assert score == possible - last


def test_feedback_tells_a_student_what_was_wrong(scores, tmp_path_factory) -> None:
    folder = tmp_path_factory.getbasetemp() / "feedback"
    page = (folder / "blank" / FIRST / f"{STEMS[FIRST]}.html").read_text("utf-8")
    assert "not done yet" in page
