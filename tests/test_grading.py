"""The whole cycle: collect, grade, feedback, the table of points."""

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from course import FIRST, STEMS, cells, graded_tasks, read
from nbformat import NotebookNode

from tools import collect, exercises, grade, judge

pytestmark = pytest.mark.slow

SPOILT = ("solved", "blank", "raises", "endless", "exits", "deletes", "overwrites", "replaces")
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
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course in which hand-ins of every kind were collected and graded."""
    root = tmp_path_factory.mktemp("course")
    exercises.copy_course(root)
    with (root / exercises.CONFIG).open("a") as config:
        config.write("\nc.Judged.step = 15\n")
    folder = root / "downloads"
    folder.mkdir()
    for spoil in SPOILT:
        nbformat.write(submission(FIRST, spoil), folder / f"{spoil}_{STEMS[FIRST]}.ipynb")
    assert collect.main([FIRST, str(folder), "--course", str(root)]) == 0
    (root / "submitted" / "replaces" / FIRST / "grader.py").write_text(YES)
    assert grade.main(["--course", str(root)]) == 0
    return root


def scores(course: Path) -> dict[str, tuple[float, float]]:
    """Points and possible points of every student."""
    return {row["student"]: (row["points"], row["possible"]) for row in grade.rows(course)}


def test_a_solution_gets_everything_and_a_blank_notebook_nothing(course: Path) -> None:
    score, possible = scores(course)["solved"]
    assert score == possible - judge.points_by_hand(read("source", FIRST)) > 0
    assert scores(course)["blank"] == (0, possible)


@pytest.mark.parametrize("spoil", ["raises", "overwrites", "replaces"])
def test_what_raises_or_overwrites_or_replaces_the_grader_gets_nothing(
    spoil: str, course: Path
) -> None:
    assert scores(course)[spoil][0] == 0


@pytest.mark.parametrize("spoil", ["endless", "exits", "deletes"])
def test_what_never_ends_or_dies_or_has_no_test_loses_just_its_task(
    spoil: str, course: Path
) -> None:
    score, possible = scores(course)[spoil]
    last = cells(read("source", FIRST), "grade")[-1].metadata.nbgrader.points
    assert score == possible - last


def test_feedback_tells_a_student_what_was_wrong(course: Path) -> None:
    def page(student: str) -> str:
        return (course / "feedback" / student / FIRST / f"{STEMS[FIRST]}.html").read_text("utf-8")

    assert "not done yet" in page("blank")
    assert "slope: right." in page("exits") and "it ended its process" in page("exits")


# --- the command --------------------------------------------------------------------------------


def test_what_is_graded_is_not_graded_again(course: Path, capsys) -> None:
    assert grade.main(["--course", str(course)]) == 0
    assert capsys.readouterr().out.startswith("0 hand-ins graded\n8 rows written to ")
    assert [one for one in grade.collected(course) if grade.is_new(one)] == []


def test_the_table_has_a_row_for_each_hand_in_and_opens_in_a_spreadsheet(course: Path) -> None:
    text = (course / "grades.csv").read_bytes()
    assert text.startswith(b"\xef\xbb\xbfstudent,assignment,points,possible,handed_in,course\n")
    assert text.count(b"\n") == 1 + len(SPOILT)
    when = re.compile(rb"solved,\w+,[\d.]+,[\d.]+,\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,course")
    assert when.search(text)


def row(student: str, course: str) -> dict[str, Any]:
    return dict(zip(grade.COLUMNS, (student, FIRST, 1.0, 2.0, "", course), strict=True))


def test_the_tables_of_variants_are_one_and_nobody_is_in_two(monkeypatch) -> None:
    of = {Path("a"): [row("bob", "a")], Path("b"): [row("ada", "b")], Path("c"): [row("ada", "c")]}
    monkeypatch.setattr(grade, "rows", lambda course: iter(of[course]))
    both = grade.table([Path("a"), Path("b")])
    assert [(one["student"], one["course"]) for one in both] == [("ada", "b"), ("bob", "a")]
    with pytest.raises(ValueError, match=f"In two courses at once: ada in {FIRST}"):
        grade.table(list(of))


def test_a_hand_in_that_nbgrader_refuses_is_named_and_the_others_are_graded(
    course: Path, capsys
) -> None:
    broken = course / "submitted" / "broken" / FIRST / f"{STEMS[FIRST]}.ipynb"
    broken.parent.mkdir(parents=True)
    broken.write_text("no notebook")
    try:
        assert grade.main(["--course", str(course)]) == 0
        assert f"broken, {FIRST}: not graded: " in capsys.readouterr().out
        assert scores(course)["solved"][0] > 0
    finally:
        shutil.rmtree(broken.parent.parent)


def test_students_are_in_the_gradebook_before_two_processes_want_to_add_one(tmp_path: Path) -> None:
    course = tmp_path / "course"
    exercises.copy_course(course)
    for _ in range(2):  # the second time, both are known
        grade.register(course, [grade.HandIn(course, FIRST, name) for name in ("bob", "ada")])
        with exercises.nbgrader(course).gradebook as book:
            assert {student.id for student in book.students} == {"ada", "bob"}
            assert [assignment.name for assignment in book.assignments] == [FIRST]


def test_a_folder_without_a_course_is_refused(tmp_path: Path) -> None:
    assert grade.main(["--course", str(tmp_path)]) == f"{tmp_path} is no course."


@pytest.mark.parametrize(
    ("seconds", "words"),
    [([], ""), ([2.0], " in 9 s; the middle one took 2.0 s, the longest 2.0 s")],
)
def test_the_time_is_said(seconds: list[float], words: str) -> None:
    one = grade.HandIn(Path("a"), FIRST, "ada")
    assert grade.timing([grade.Graded(one, s) for s in seconds], 9.0) == words
