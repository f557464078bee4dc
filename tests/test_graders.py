"""The graders are graded.

``tests/answers/<assignment>.toml`` holds what students write: right answers that must get all
points, wrong ones that must lose them and be told why.
"""

import contextlib
import copy
import io
from typing import Any

import pytest
from course import ANSWERS, ASSIGNMENTS, STEMS, each, graded_tasks, module, read

from dpo_edu.exercises import tasks

EVERY = [
    pytest.param(stem, answer, id=f"{stem}-{answer['task']}-{place}")
    for stem, answers in ANSWERS.items()
    for place, answer in enumerate(answers)
]


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


@each
def test_an_untouched_answer_is_not_done_yet(assignment: str) -> None:
    for name in graded_tasks(read("source", assignment)):
        task, stub = answered(STEMS[assignment], {"task": name, "code": ""})
        for answer in (stub, None, ...):
            expected = f"{name}: not done yet."
            assert sentences(task, answer) == (f"{expected}\n", expected)
