"""The judge says of an answer what the grader says, and nobody loses more than a step."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from course import ANSWERS, FIRST, STEMS, cells, each, graded_tasks, read, tasks
from nbformat import NotebookNode
from test_graders import sentences, written

from tools import exercises, judge
from tools.judge import Asked

pytestmark = pytest.mark.slow
SOURCE = exercises.EXERCISES / "source"


@pytest.fixture(scope="module")
def at() -> Iterator[judge.Judge]:
    """A judge with little patience."""
    with judge.Judge(step=20, whole=60) as one:
        yield one


def before(assignment: str) -> list[str]:
    """The code of a blank notebook."""
    blank = read("student", assignment)
    return [c.source for c in blank.cells if c.cell_type == "code" and not judge.test_name(c)]


def judged(at: judge.Judge, assignment: str, *steps: str | Asked) -> list[judge.Ran | str | None]:
    """The results of steps after a blank notebook."""
    blank = before(assignment)
    results = at.results(SOURCE / assignment, dict(enumerate([*blank, *steps])))
    return [results[len(blank) + place] for place in range(len(steps))]


@each
def test_of_an_answer_the_judge_says_what_the_grader_says(assignment: str, at) -> None:
    names = graded_tasks(read("source", assignment))
    answers = ANSWERS[STEMS[assignment]]
    steps = [s for a in answers for s in (a["code"], Asked(a["task"], names[a["task"]]))]
    said = judged(at, assignment, *steps)[1::2]
    stem = STEMS[assignment]
    by_name = {task.name: task for task in tasks(stem)}
    expected = [
        sentences(by_name[a["task"]], written(stem, a["task"], a["code"]))[1] for a in answers
    ]
    assert [s or "" for s in said] == expected
    assert "" in expected and len(set(expected)) > 3


# --- who hangs or dies --------------------------------------------------------------------------

ENDS = {
    "never ends": "while True:\n        pass",
    "ends its process": "import os\n    os._exit(0)",
    "says too much": "return 'x' * 2**25",
}
WHY = {
    "never ends": "optimal_policy: it does not end: a step has 5 seconds.",
    "ends its process": "optimal_policy: it ended its process, or took all memory.",
}


def solved(assignment: str) -> NotebookNode:
    """The notebook with the teacher's answers."""
    notebook = read("student", assignment)
    answers = {c.id: c.source for c in cells(read("source", assignment), "solution")}
    for cell in cells(notebook, "solution"):
        cell.source = re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", answers[cell.id])
    return notebook


def handed_in(notebook: NotebookNode, folder: Path) -> Path:
    path = folder / "ada.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.mark.parametrize("how", ENDS)
def test_an_answer_that_hangs_or_dies_costs_its_task(how: str, tmp_path: Path) -> None:
    notebook = solved(FIRST)
    answer = cells(notebook, "solution")[-1]
    answer.source = f"def optimal_policy(reward, ref, *, beta):\n    {ENDS[how]}"
    first = cells(notebook, "solution")[0]
    notebook.cells.remove(answer)  # the tests after it must still be judged
    notebook.cells.insert(notebook.cells.index(first), answer)
    tests = cells(notebook, "grade")
    notebook.cells.remove(tests[-1])
    notebook.cells.insert(notebook.cells.index(first), tests[-1])
    with judge.Judge(step=5, whole=60) as one:
        found = [*judge.points(one, SOURCE / FIRST, handed_in(notebook, tmp_path))]
    assert [earned for earned, _, _ in found] == [p for _, p, _ in found[:-1]] + [0]
    assert WHY.get(how, found[-1][2]) == found[-1][2]


def test_a_cell_that_dies_costs_what_needs_it(tmp_path: Path) -> None:
    notebook = solved(FIRST)
    for cell in cells(notebook, "solution")[:2]:
        cell.source += "\nimport os\nos._exit(0)"
    with judge.Judge(step=20, whole=60) as one:
        found = [*judge.points(one, SOURCE / FIRST, handed_in(notebook, tmp_path))]
    assert [earned == possible for earned, possible, _ in found] == [False] * 2 + [True] * 4


def test_a_gradient_that_dies_costs_its_task(at) -> None:
    code = """
class Ends(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()
    @staticmethod
    def backward(context, weights):
        import os
        os._exit(0)
def dpo_loss(chosen, rejected, ref_chosen, ref_rejected, *, beta):
    return Ends.apply(chosen)
"""
    tests = Asked("dpo_loss", "dpo_loss"), Asked("margin", "margin")
    _, died, other = judged(at, "4_write_the_dpo_loss", f"import torch\n{code}", *tests)
    assert died == "dpo_loss: it ended its process, or took all memory."
    assert other == "margin: not done yet."


def test_a_hand_in_has_its_time(tmp_path: Path) -> None:
    nap, test = "import time\ntime.sleep(3)", Asked("slope", "slope")
    with judge.Judge(step=60, whole=5) as one:
        found = one.results(SOURCE / FIRST, {0: nap, 1: nap, 2: nap, 3: nap, 4: test})
    assert found[4] == "slope: no time was left: a hand-in has 5 seconds."


def test_a_grader_that_cannot_start_is_no_students_fault(tmp_path: Path) -> None:
    with judge.Judge() as one, pytest.raises(RuntimeError, match="does not start"):
        one.results(tmp_path, {0: Asked("slope", "slope")})


# --- the desk -----------------------------------------------------------------------------------


def test_at_the_desk_there_is_no_grader_but_its_numbers(at) -> None:
    seen = "import grader\nprint(sorted(vars(grader.readings)), grader.readings.given())"
    test = Asked("readings", "readings", 17)
    steps = seen, "readings = list(grader.readings.given(17))", "grader.train.check(1)", test
    first, second, third, said = judged(at, "5_train_it", *steps)
    assert "['_given'] {'A': (14, 7)" in first.text
    assert second.error is None and third == judge.Ran("", None)
    assert "none of the three words" in said


def test_magic_of_notebooks_does_no_harm(at) -> None:
    code = (
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nx = 1"
    )
    ran, after, _ = judged(at, FIRST, code, "display(x)", Asked("slope", "slope"))
    assert ran.error is None and after == judge.Ran("1\n", None)


def test_memory_is_bounded(at) -> None:
    (ran, _) = judged(at, FIRST, "x = bytearray(2**33)", Asked("slope", "slope"))
    assert ran.error.startswith("MemoryError")


def test_what_a_cell_prints_and_raises_is_kept(at) -> None:
    (ran, _) = judged(at, FIRST, "print(7)\n1 / 0", Asked("slope", "slope"))
    assert ran.text.startswith("7\n") and ran.error == "ZeroDivisionError: division by zero"


# --- the command --------------------------------------------------------------------------------


def test_the_command_prints_points_and_sentences(tmp_path: Path, capsys) -> None:
    path = handed_in(read("student", FIRST), tmp_path)
    broken = tmp_path / "broken.ipynb"
    broken.write_text("{}")
    assert judge.main([FIRST, str(path), str(broken)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "ada.ipynb: 0 of 12"
    assert printed[1] == "  0 of 2  lagrangian: not done yet."
    assert printed[-1].startswith("broken.ipynb: no notebook")


def test_the_command_names_the_assignments(tmp_path: Path) -> None:
    assert FIRST in judge.main(["7_unknown", "ada.ipynb"])


def test_the_guide_says_what_is_missing_without_bubblewrap(monkeypatch, capsys) -> None:
    monkeypatch.setattr(judge, "is_confining", lambda: False)
    assert judge.main([FIRST, "nothing.ipynb"]) == 0
    assert judge.UNCONFINED in capsys.readouterr().err


def test_texts_that_no_file_can_hold_are_made_readable(at) -> None:
    code = "print('\\udcff')\nraise ValueError('\\udcff')"
    (ran, _) = judged(at, FIRST, code, Asked("slope", "slope"))
    assert ran.error == "ValueError: ?" and ran.text.startswith("?\n")


def test_a_hand_in_prints_so_much_and_no_more(at) -> None:
    cells_that_print = ["print('x' * 10**6)"] * 150
    *ran, _ = judged(at, FIRST, *cells_that_print, Asked("slope", "slope"))
    assert len(ran[0].text) == 10_000 and sum(len(r.text) for r in ran) <= judge.MOST_TEXT


def test_a_line_cannot_pass_for_two() -> None:
    assert judge.one_line("a\n\x1b[2Kb\u2028c\r") == "a [2Kb c"


def test_what_a_person_grades_is_no_test() -> None:
    def marked(points: int, **marks: bool) -> NotebookNode:
        about = {"grade_id": "a", "points": points, **marks}
        return nbformat.v4.new_code_cell("1", metadata={"nbgrader": about})

    test, answer = marked(2, grade=True, solution=False), marked(3, grade=True, solution=True)
    assert judge.test_name(test) == "a" and judge.test_name(answer) is None
    book = nbformat.v4.new_notebook(cells=[test, answer, nbformat.v4.new_code_cell("1")])
    assert judge.points_by_hand(book) == 3
    assert judge.steps_of(book, {"a": Asked("t", "t")}) == {0: Asked("t", "t"), 1: "1", 2: "1"}
