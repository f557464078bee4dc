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
import numpy as np
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
FIRST = ASSIGNMENTS[0]
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


@each
def test_the_lectures_that_lead_to_an_assignment_are_practised_in_it(assignment: str) -> None:
    text = "\n".join(cell.source for cell in read("source", assignment).cells)
    here = f"](../exercises/student/{assignment}/{STEMS[assignment]}.ipynb)"
    leading = [p.name for p in notebooks.numbered() if here in notebooks.read(p).cells[-1].source]
    assert leading
    assert [name for name in leading if f"notebooks/{name}#cell-id=" not in text] == []


@pytest.mark.parametrize(("kind", "verdict"), [("student", "not done yet"), ("source", "right")])
@each
def test_a_notebook_runs_from_top_to_bottom(assignment: str, kind: str, verdict: str) -> None:
    notebook = read(kind, assignment)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    checks = [c for c in notebook.cells if ".check(" in c.source]
    assert checks
    for cell in checks:
        printed = "".join(output.text for output in cell.outputs)  # a line may come in parts
        assert re.fullmatch(rf"\w+: {verdict}\.\n", printed)


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


# --- variants -----------------------------------------------------------------------------------

WITH_NUMBERS = [
    task
    for stem in STEMS.values()
    for task in vars(module(stem)).values()
    if isinstance(task, tasks.Task) and task.draw
]


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
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in source.cells:
            if cell.cell_type == "code" and cell not in cells(source, "grade"):
                exec(cell.source, names)
    verdicts = re.findall(r"^\w+: .*$", printed.getvalue(), re.MULTILINE)
    assert verdicts == [f"{task}: right." for task in graded_tasks(read("source", assignment))]
    for cell in cells(source, "grade"):
        call = re.search(r"grader\.(\w+)\.grade\((\w+), variant=(\d+)\)", cell.source)
        assert int(call[3]) == number
        getattr(module(stem), call[1]).grade(names[call[2]], variant=number)


@pytest.mark.parametrize("task", WITH_NUMBERS, ids=lambda task: task.name)
def test_a_question_has_other_numbers_in_other_variants(task: tasks.Task) -> None:
    several = [repr(task.given(variant)) for variant in range(20)]
    assert len(set(several)) >= 5
    assert task.given() == task.published and task.given(3) == task.given(3)


@pytest.mark.parametrize("task", WITH_NUMBERS, ids=lambda task: task.name)
def test_numbers_taken_over_from_another_variant_are_wrong(task: tasks.Task) -> None:
    right = next(
        a for s in STEMS.values() for a in ANSWERS[s] if a["task"] == task.name and "says" not in a
    )
    names: dict[str, Any] = {"np": np}
    exec(right["code"], names)
    task.grade(names[task.name])
    other = next(v for v in range(1, 20) if task.given(v) != task.given())
    with pytest.raises(tasks.Incorrect):
        task.grade(names[task.name], variant=other)


def test_a_check_tries_other_numbers_in_another_variant(capsys) -> None:
    task, wrong = module(STEMS[FIRST]).optimal_policy, lambda reward, ref, *, beta: reward + ref
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
    assert exercises.assignments(course) == ASSIGNMENTS
    assert "variant=3)" in next((course / "source").rglob("*.ipynb")).read_text("utf-8")


def test_a_variant_overwrites_nothing(tmp_path: Path) -> None:
    assert "exists already" in exercises.main(["--variant", "3", "--to", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


# --- what teachers are told ---------------------------------------------------------------------

GUIDE = (notebooks.ROOT / "docs" / "teaching.md").read_text("utf-8")


@each
def test_the_guide_gives_points_and_minutes_as_the_assignment_does(assignment: str) -> None:
    first = read("source", assignment).cells[0].source
    row = next(line for line in GUIDE.splitlines() if f"student/{assignment}/" in line)
    minutes, points = re.search(r"About (\d+) minutes, (\d+) points", first).groups()
    assert row.startswith(f"| {assignment[0]} |")
    assert row.endswith(f"| {points} | {minutes} |")


def test_the_guide_adds_the_points_up() -> None:
    rows = re.findall(r"^\| (\d) \|.*\| (\d+) \| (\d+) \|$", GUIDE, re.MULTILINE)
    total = re.search(r"^\| \|.*\| (\d+) \| (\d+) \|$", GUIDE, re.MULTILINE)
    assert [row[0] for row in rows] == [name[0] for name in ASSIGNMENTS]
    assert int(total[1]) == sum(int(row[1]) for row in rows)
    assert int(total[2]) == sum(int(row[2]) for row in rows)


@pytest.mark.parametrize("path", notebooks.numbered(), ids=lambda path: path.stem)
def test_the_guide_says_what_a_notebook_presumes(path: Path) -> None:
    first = notebooks.read(path).cells[0].source.partition("**Read before.**")[2]
    before = re.findall(r"\]\((\d\d)_\w+\.ipynb\)", first)
    row = next(line for line in GUIDE.splitlines() if f"notebooks/{path.name})" in line)
    assert row.startswith(f"| {path.name[:2]} |")
    named = row.split("|")[3].strip()
    assert named == (", ".join(before) or "–")


# --- the whole cycle of nbgrader ----------------------------------------------------------------


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
        config.write("\nc.Execute.timeout = 15\n")
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
    exercises.nbgrader(course, "generate_feedback", FIRST)
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
