"""The graders are graded.

A grader lists mistakes: handed in as answers, each must get its own sentence. What else students
write is in ``tests/answers/<assignment>.toml``: right answers that must get all points, and wrong
ones that are no listed mistake.
"""

import contextlib
import copy
import io
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from course import ANSWERS, ASSIGNMENTS, STEMS, answered, each, graded_tasks, grader, read, tasks

from dpo_edu.grading import Task, known

MISTAKES = [
    pytest.param(task, sentence, wrong, id=f"{stem}-{task.name}-{place}")
    for stem in STEMS.values()
    for task in tasks(stem)
    for place, (sentence, wrong) in enumerate(known(task.mistakes))
]
WRITTEN = [
    pytest.param(stem, answer, id=f"{stem}-{answer['task']}-{place}")
    for stem, answers in ANSWERS.items()
    for place, answer in enumerate(answers)
]
BY_OTHERS = {
    name: tomllib.loads((Path(__file__).parent / "answers" / f"{name}.toml").read_text("utf-8"))
    for name in ("unforeseen", "fresh", "later")
}
UNFORESEEN = [
    pytest.param(stem, answer, id=f"{name}-{stem}-{answer['task']}-{place}")
    for name, assignments in BY_OTHERS.items()
    for stem, answers in assignments.items()
    for place, answer in enumerate(answers)
]


def written(stem: str, name: str, code: str) -> Any:
    """What a student's code makes of a task's answer after the notebook's code before."""
    assignment = next(name for name in ASSIGNMENTS if STEMS[name] == stem)
    before = [
        cell.source
        for cell in read("student", assignment).cells
        if cell.cell_type == "code" and ".check(" not in cell.source
        if not cell.metadata.get("nbgrader", {}).get("grade")
    ]
    answer = graded_tasks(read("source", assignment))[name]
    return answered(stem, *before, code)[answer]


def sentences(task: Task, answer: Any, variant: int = 0) -> tuple[str, str]:
    """What the check prints, and what the grade raises ("" if it does not)."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        task.check(answer, variant)
    try:
        task.grade(answer, variant)
    except Exception as error:
        return printed.getvalue(), str(error)
    return printed.getvalue(), ""


@pytest.mark.parametrize(("task", "sentence", "wrong"), MISTAKES)
def test_a_known_mistake_gets_its_own_sentence(task: Task, sentence: str, wrong: Any) -> None:
    said = f"{task.name}: {sentence}"
    assert sentences(task, wrong) == (f"{said}\n", said)


@pytest.mark.parametrize(("stem", "answer"), WRITTEN)
def test_an_answer_gets_its_points_or_its_sentence(stem: str, answer: dict[str, str]) -> None:
    task = getattr(grader(stem), answer["task"])
    value = written(stem, task.name, answer["code"])
    before = copy.deepcopy(value)
    printed, raised = sentences(task, value)
    if "says" in answer:
        assert answer["says"] in printed
        assert answer["says"] in raised
    else:
        assert (printed, raised) == (f"{task.name}: right.\n", "")
    if not callable(value):
        assert repr(value) == repr(before)


@pytest.mark.parametrize(("stem", "answer"), UNFORESEEN)
def test_of_unforeseen_answers_check_and_grade_say_the_same(
    stem: str, answer: dict[str, str]
) -> None:
    task = getattr(grader(stem), answer["task"])
    value = written(stem, task.name, answer["code"])
    for variant in (0, 1) if task.draw is None else (0,):
        printed, raised = sentences(task, value, variant)
        printed = printed[printed.index(f"{task.name}: ") :]  # an answer may print as well
        assert printed.count("\n") == 1
        if "cause" in answer:
            assert raised and not printed.endswith(": right.\n")
            assert answer.get("names", "") in printed
        else:
            assert (printed, raised) == (f"{task.name}: right.\n", "")


def test_of_answers_written_when_the_graders_were_done_19_in_20_are_told_their_cause() -> None:
    wrong = [a for answers in BY_OTHERS["later"].values() for a in answers if "cause" in a]
    assert len(wrong) >= 200
    assert sum("names" in answer for answer in wrong) >= 0.95 * len(wrong)


@pytest.mark.parametrize("stem", ["write_the_dpo_loss"])
def test_a_text_is_a_prompt_then_a_response_then_padding(stem: str) -> None:
    module, rng = grader(stem), np.random.default_rng(0)
    starts, whole, used = set(), [], set()
    for text in [text for _ in range(5) for text in module._a_few_texts(rng)]:
        _, tokens, mask = (tensor.numpy() for tensor in text.arguments)
        start, size, place = mask.argmax(axis=1), mask.sum(axis=1), np.arange(mask.shape[1])
        after = place >= (start + size)[:, None]
        assert (mask == ((place >= start[:, None]) & ~after)).all()
        assert size.min() >= 1 and size[-1] == 2 and (len(mask) == 1 or after[0].sum() == 1)
        assert (tokens[after] == 0).all()
        starts, used = starts | set(start.tolist()), used | set(tokens[~after].tolist())
        whole += (~after[:, -1]).tolist()
        assert len(mask) < 3 or (start[1] >= 3 and mask[1, -1])
    assert starts == {1, 2, 3, 5} and any(whole) and used >= {0, 1, 2}


def out_of_line(module: Any, given: dict[str, Any]) -> dict[str, int]:
    """For each cause, how many numbers of its log a healthy run could not show."""
    return {
        cause: sum(
            module._tells(column, int(row[0]), value, given["end"])
            for row in given["logs"][name]
            for column, value in zip(module.COLUMNS, row[1:], strict=True)
        )
        for name, cause in module._causes_of(given).items()
    }


def test_of_four_logs_three_tell_their_cause_in_every_variant() -> None:
    module = grader("read_the_log")
    for variant in range(60):
        found = out_of_line(module, module.causes.given(variant))
        assert sorted(found) == sorted(module.CAUSES)
        assert found.pop("healthy") == 0 and min(found.values()) >= 3
        given = module.trainers.given(variant)
        assert sorted(module._slips_of(given).values()) == sorted(module.SLIPS)
        won, lost = (np.subtract(given[n], given[f"ref_{n}"]) for n in ("chosen", "rejected"))
        assert (won > lost).sum() > 3  # what a sentence says


def test_of_the_healthy_and_the_displaced_run_one_ends_far_below_the_end() -> None:
    module = grader("read_the_log")
    for variant in range(60):
        given = module.causes.given(variant)
        chosen = {
            cause: given["logs"][name][-1][2] for name, cause in module._causes_of(given).items()
        }
        floor = given["end"]["chosen"] - 0.2
        assert chosen["displaced"] < floor < chosen["healthy"]


def test_a_healthy_log_that_tells_of_a_fault_is_found() -> None:
    module = grader("read_the_log")
    given = module.causes.given()
    name = next(n for n, cause in module._causes_of(given).items() if cause == "healthy")
    given["logs"][name][3][1] -= 0.4  # a loss that no healthy run shows, on the way
    assert out_of_line(module, given)["healthy"] == 1


@each
def test_every_task_is_tried_with_two_right_and_three_wrong_answers(assignment: str) -> None:
    answers = ANSWERS[STEMS[assignment]]
    for task in tasks(STEMS[assignment]):
        own = [a for a in answers if a["task"] == task.name]
        says = [a["says"] for a in own if "says" in a]
        assert len(own) - len(says) >= 2, task.name
        assert len(set(says)) + len(task.mistakes) >= 3, task.name
        assert len(set(says)) == len(says), "each wrong answer has its own sentence"


@each
def test_a_written_answer_is_no_listed_mistake(assignment: str) -> None:
    for answer in ANSWERS[STEMS[assignment]]:
        task = getattr(grader(STEMS[assignment]), answer["task"])
        listed = [s for s in task.mistakes if "says" in answer and answer["says"] in s]
        assert listed == [], task.name


@each
def test_every_graded_task_is_named_as_in_the_grader(assignment: str) -> None:
    module = grader(STEMS[assignment])
    named = {name: value.name for name, value in vars(module).items() if isinstance(value, Task)}
    graded = graded_tasks(read("source", assignment))
    assert list(named) == list(named.values()) == list(graded)


@each
def test_an_untouched_answer_is_not_done_yet(assignment: str) -> None:
    for task in tasks(STEMS[assignment]):
        for answer in (written(STEMS[assignment], task.name, ""), None, ...):
            expected = f"{task.name}: not done yet."
            assert sentences(task, answer) == (f"{expected}\n", expected)
