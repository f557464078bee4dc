"""The whole cycle of nbgrader: generate, collect, autograde, feedback."""

import re
import shutil

import nbformat
import pytest
from course import ASSIGNMENTS, FIRST, STEMS, cells, each, graded_tasks, read
from nbformat import NotebookNode

from tools import exercises, judge

pytestmark = pytest.mark.slow

# A grader that finds everything right.
YES = """
class Yes:
    grade = check = staticmethod(lambda answer: None)

def __getattr__(name):
    return Yes
"""


def submission(assignment: str, spoil: str) -> NotebookNode:
    """A student's notebook in the state named."""
    notebook, source = read("student", assignment), read("source", assignment)
    solved = {c.id: c.source for c in cells(source, "solution")}
    for cell in cells(notebook, "solution"):
        if spoil == "raises":
            cell.source = "raise RuntimeError('not today')"
        elif spoil not in ("blank", "overwrites", "replaces"):
            cell.source = re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", solved[cell.id])
    last = cells(notebook, "solution")[-1]
    if spoil == "endless":
        name = list(graded_tasks(source).values())[-1]
        last.source = f"def {name}(*arguments, **keywords):\n    while True:\n        pass"
    elif spoil == "exits":
        last.source += "\nimport os\nos._exit(0)"
    elif spoil == "deletes":
        test = cells(notebook, "grade")[-1]
        last.source, notebook.cells = "", [c for c in notebook.cells if c is not test]
    elif spoil == "overwrites":
        last.source = (
            "import grader\nfrom dpo_edu import grading\n"
            "grading.Task.grade = grading.Task.check = lambda self, answer: None\n"
            f"{YES}\nfor name in dir(grader):\n    setattr(grader, name, Yes)\n"
        )
    return notebook


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[float, float]]:
    """Points and possible points of every submission, after generate, collect, autograde."""
    course = tmp_path_factory.mktemp("course")
    exercises.copy_course(course)
    with (course / exercises.CONFIG).open("a") as config:
        config.write("\nc.Judged.step = 15\n")
    handed_in = [(name, spoil) for name in ASSIGNMENTS for spoil in ("solved", "blank")]
    handed_in += [
        (FIRST, s) for s in ("raises", "endless", "exits", "deletes", "overwrites", "replaces")
    ]
    for assignment, spoil in handed_in:
        name = f"{STEMS[assignment]}.ipynb"
        path = course / "submitted" / spoil / assignment / name
        if assignment == FIRST:  # the others as if collected
            path = course / "downloaded" / FIRST / "archive" / f"{spoil}_{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(submission(assignment, spoil), path)
    for assignment in ASSIGNMENTS:
        exercises.nbgrader(course, "generate_assignment", assignment)
        if assignment == FIRST:
            exercises.nbgrader(course, "zip_collect", FIRST)
            (course / "submitted" / "replaces" / FIRST / "grader.py").write_text(YES)
        exercises.nbgrader(course, "autograde", assignment)
    exercises.nbgrader(course, "generate_feedback", FIRST)
    shutil.copytree(course / "feedback", tmp_path_factory.getbasetemp() / "feedback")
    return exercises.scores(course)


@each
def test_a_solution_gets_everything_and_a_blank_notebook_nothing(assignment, scores) -> None:
    score, possible = scores[assignment, "solved"]
    by_hand = judge.points_by_hand(read("source", assignment))
    assert score == possible - by_hand > 0
    assert scores[assignment, "blank"][0] == 0


@pytest.mark.parametrize("spoil", ["raises", "overwrites", "replaces"])
def test_what_raises_or_overwrites_or_replaces_the_grader_gets_nothing(spoil: str, scores) -> None:
    assert scores[FIRST, spoil][0] == 0


@pytest.mark.parametrize("spoil", ["endless", "exits", "deletes"])
def test_what_never_ends_or_dies_or_has_no_test_loses_just_its_task(spoil: str, scores) -> None:
    score, possible = scores[FIRST, spoil]
    last = cells(read("source", FIRST), "grade")[-1].metadata.nbgrader.points
    assert score == possible - last


def test_feedback_tells_a_student_what_was_wrong(scores, tmp_path_factory) -> None:
    folder = tmp_path_factory.getbasetemp() / "feedback"
    page = (folder / "blank" / FIRST / f"{STEMS[FIRST]}.html").read_text("utf-8")
    assert "not done yet" in page
    page = (folder / "exits" / FIRST / f"{STEMS[FIRST]}.html").read_text("utf-8")
    assert "slope: right." in page and "it ended its process" in page
