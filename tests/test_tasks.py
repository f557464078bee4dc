"""What a task says to an answer that is no known mistake, whatever the task is about."""

import contextlib
import io
from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest
import sympy as sp

from dpo_edu.grading import (
    Case,
    Incorrect,
    OneOf,
    Task,
    case,
    expression_fault,
    expression_task,
    function_fault,
    function_task,
    known,
    value_fault,
)
from dpo_edu.symbolic import Z, i, k, p, q, total, β


def cases(rng: np.random.Generator) -> list[Case]:
    return [case(rng.normal(size=3), power=power) for power in (1, 1, 2)]


def powers(x: Any, *, power: int) -> Any:
    return x**power


def in_place(x: Any, *, power: int) -> Any:
    x **= power
    return x


def leaves(x: Any, *, power: int) -> Any:
    raise SystemExit


TASK = function_task("powers", truth=powers, cases=cases, mistakes={})


def said(task: Task, answer: Any) -> str:
    """What a check prints after the name of the task."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        task.check(answer)
    return printed.getvalue().removeprefix(f"{task.name}: ").removesuffix("\n")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (powers, "right."),
        (lambda x, power: x.tolist() if power == 1 else list(x * x), "right."),
        (None, "not done yet."),
        (..., "not done yet."),
        (lambda x, *, power: None, "not done yet."),
        (3, "expected a function, got int."),
        (in_place, "it changes its arguments in place: work on new arrays, not with -= or sort()."),
        (leaves, "it raises SystemExit () for x = "),
        (lambda x, power: x[3], "it raises IndexError (index 3 is out of bounds for axis 0 with"),
        (lambda x, power: np.ones(3), "it gives the same output whatever goes in: does it use its"),
        (lambda x, power: {"x": 1}, "it should give numbers, and gives {'x': 1}."),
        (lambda x, power: [*x, 1] if power == 1 else x, "the shape should be (3,), and is (4,)."),
        (lambda x, power: x.sum() ** power, "is a sum, a mean or a maximum taken over all"),
        (lambda x, power: x * power, "power = 2 it should give "),
        (lambda x, power: np.where(x < 0, np.nan, x**power), "power = 1 it should give "),
    ],
)
def test_a_function_is_told_what_is_wrong_with_it(answer: Any, sentence: str) -> None:
    assert sentence in said(TASK, answer)


def test_a_counterexample_names_the_arguments_as_the_task_does() -> None:
    fault = function_fault(lambda a, b: a - b, lambda x, y: x + y, [case(1, 0), case(1, 2)])
    assert fault == "for x = 1, y = 2 it should give 3, and gives -1."


def test_the_same_output_is_no_reproach_where_the_truth_is_the_same_everywhere() -> None:
    fault = function_fault(lambda x: 2, lambda x: 1, [case(1), case(2)])
    assert fault == "for x = 1 it should give 1, and gives 2."


def test_the_first_mistake_that_agrees_in_all_cases_gives_the_sentence() -> None:
    mistakes = {"thrice.": lambda x: 3 * x, "two more.": OneOf([lambda x: x - 2, lambda x: x + 2])}
    assert [said for said, _ in known(mistakes)] == ["thrice.", "two more.", "two more."]
    for answer, sentence in [(lambda x: 2 + x, "two more."), (lambda x: x * 3, "thrice.")]:
        assert function_fault(answer, lambda x: 2 * x, [case(1), case(0)], mistakes) == sentence


def overflowing() -> Task:
    mistakes = {
        "a minus is missing.": lambda x: np.log1p(np.exp(x)),
        "exp overflows.": lambda x: -np.log1p(np.exp(x)),
    }
    return function_task(
        "minus",
        truth=lambda x: -np.logaddexp(0, x),
        cases=lambda rng: [case(rng.normal())],
        far=lambda rng: [case(1000.0 + rng.normal())],
        mistakes=mistakes,
    )


def test_overflow_is_spoken_of_only_where_nothing_else_is_wrong() -> None:
    task = overflowing()
    assert said(task, lambda x: np.log1p(np.exp(x))) == "a minus is missing."
    assert said(task, lambda x: np.logaddexp(0, x)) == "a minus is missing."
    assert said(task, lambda x: -np.log(1 + np.exp(x))) == "exp overflows."
    assert said(task, lambda x: -np.logaddexp(x, 0)) == "right."


def test_answers_and_mistakes_are_looked_at_through_the_same_function() -> None:
    task = function_task(
        "sums",
        truth=lambda x: x.sum(),
        cases=lambda rng: [case(rng.normal(size=3)), case(rng.normal(size=2))],
        through=lambda answer: lambda x: answer(x).sum(),
        mistakes={"twice.": lambda x: 2 * x},
    )
    assert said(task, lambda x: x[::-1]) == "right."
    assert said(task, lambda x: x + x) == "twice."


def test_what_was_found_can_be_said_better() -> None:
    task = function_task(
        "better",
        truth=powers,
        cases=cases,
        mistakes={},
        then=lambda answer, fault, tried: f"{fault} {len(tried)} {answer.__name__}",
    )
    assert said(task, powers) == "None 3 powers"
    assert said(task, None) == "not done yet."


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (q[k] / total(q[i]), None),
        (q[k] / Z, "divide by the sum."),
        (None, "not done yet."),
        ("q_k / sum q", "this is a text: without quotation marks it is an expression."),
        (
            1.5,
            "it is not the same expression: for n = 2, k = 2, pi_ref = (4/9, 5/9) it should be "
            "0.5556, and is 1.500; the difference contains pi_ref.",
        ),
        (
            sp.nan,
            "it is not the same expression: for n = 2, k = 2, pi_ref = (4/9, 5/9) it should be "
            "0.5556, and is nan.",
        ),
        (p[k] * β, "it is not the same expression; what is beta, pi[k] doing in it?"),
        (sp.Symbol("z") * q[k], "it is not the same expression; what is z doing in it?"),
    ],
)
def test_an_expression_is_told_what_is_wrong_with_it(answer: Any, sentence: str | None) -> None:
    mistakes = {"divide by the sum.": q[k] / Z}
    assert expression_fault(answer, q[k] / total(q[i]), mistakes) == sentence


def test_an_expression_is_compared_after_the_substitution() -> None:
    task = expression_task(
        "sum", truth=Z, mistakes={"twice.": 2 * Z}, through=lambda e: e.subs(Z, total(q[i]))
    )
    assert said(task, total(q[i])) == said(task, Z) == "right."
    assert said(task, total(2 * q[i])) == "twice."


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (0.25, None),
        (0.2501, None),
        (0.5, "this is the root."),
        (None, "not done yet."),
        (0.3, "0.3 is not it."),
        ("a quarter", "'a quarter' is not it."),
    ],
)
def test_a_value_is_told_what_is_wrong_with_it(answer: Any, sentence: str | None) -> None:
    assert value_fault(answer, 0.25, {"this is the root.": 0.5}, tolerance=1e-3) == sentence


def test_a_check_survives_whatever_an_answer_does() -> None:
    def examine(answer: Any, rng: Any) -> str | None:
        raise ZeroDivisionError("inside")

    assert said(Task("odd", examine), 1) == "the check stopped at ZeroDivisionError: inside."


def test_a_grade_raises_the_sentence_and_tries_other_numbers_than_the_check() -> None:
    seen: list[float] = []
    task = Task("seen", lambda answer, rng: seen.append(rng.normal()) or "no.")
    said(task, 0)
    with pytest.raises(Incorrect, match=r"seen: no\."):
        task.grade(0)
    drawn = [np.random.default_rng([seed, 0]).normal() for seed in (1, 2718)]
    assert seen == drawn, "everybody gets the same numbers, today and next year"


@pytest.mark.parametrize("made", [TASK, case(1)])
def test_what_a_grader_has_made_cannot_be_changed(made: Task | Case) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(made, fields(made)[0].name, None)


def test_numbers_that_a_question_gives_are_drawn_for_each_variant_and_examined() -> None:
    def examine(answer: Any, rng: Any, given: list[int]) -> str | None:
        return None if answer == given else f"{given}"

    task = Task("drawn", examine, draw=lambda rng: [int(rng.integers(100))], published=[7])
    task.given().append(8)
    assert task.given() == [7] and said(task, [7]) == "right."
    assert task.given(3) == task.given(3) != task.given(4)
    task.grade(task.given(3), variant=3)
