"""A class hands in: collected, graded two at a time, and the points are those that were known.

Three students in the gate, thirty in `make class`.
"""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from classroom import STYLES, HandIn, download, filled, hand_ins, known, points, students
from course import ASSIGNMENTS

from tools import collect, exercises, grade

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]
Points = dict[tuple[str, str], float]


class Course:
    """A course in a folder of its own, into which a class hands in."""

    def __init__(self, root: Path, size: int) -> None:
        self.root = root
        exercises.copy_course(root)
        self.hand_ins = list(hand_ins(students(size)))

    def collect(self, some: list[HandIn]) -> None:
        """Download some hand-ins and sort them into the course."""
        for assignment in sorted({one.assignment for one in some}):
            folder = self.root / "downloads" / assignment
            shutil.rmtree(folder, ignore_errors=True)
            download(folder, some, assignment)
            assert collect.main([assignment, str(folder), "--course", str(self.root)]) == 0

    def grade(self) -> None:
        """Grade what is new."""
        assert grade.main(["--course", str(self.root)]) == 0

    def pages(self, one: HandIn) -> list[Path]:
        """The feedback for a hand-in."""
        folder = self.root / "feedback" / one.student.id / one.assignment
        return list(folder.glob("*.html"))

    @property
    def known(self) -> Points:
        """The points that the hand-ins are worth."""
        return {(one.student.id, one.assignment): one.points for one in self.hand_ins}

    @property
    def graded(self) -> Points:
        """The points in the table."""
        with (self.root / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
            return {
                (r["student"], r["assignment"]): float(r["points"]) for r in csv.DictReader(file)
            }


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """Three students through all assignments."""
    course = Course(tmp_path_factory.mktemp("course"), 3)
    course.collect(course.hand_ins)
    course.grade()
    return course


def test_three_students_have_the_points_that_they_are_worth(three: Course) -> None:
    assert three.graded == three.known
    assert {one.student.style for one in three.hand_ins} == {"usual", "diligent", "hostile"}
    earned = [one.points for one in three.hand_ins]
    possible = [sum(points(one.assignment).values()) for one in three.hand_ins]
    shares = {e / p for e, p in zip(earned, possible, strict=True)}
    assert min(shares) == 0 and max(shares) == 1 and len(shares) > 3
    assert {one.assignment for one in three.hand_ins} == set(ASSIGNMENTS)


def test_a_point_too_many_would_be_noticed(three: Course) -> None:
    last = three.hand_ins[-1]
    wrong = dict(three.known)
    wrong[last.student.id, last.assignment] += 1
    assert three.graded != wrong


def test_each_hand_in_has_a_page_with_a_sentence_for_every_task(three: Course) -> None:
    for one in three.hand_ins:
        (page,) = three.pages(one)
        text, worth = page.read_text("utf-8"), points(one.assignment)
        assert [task for task in worth if f"{task}: " not in text] == []
        if one.student.style != "hostile":  # which may print what it likes
            right = [task for task in worth if f"{task}: right.\n" in text]
            assert sum(worth[task] for task in right) == one.points


def test_what_was_handed_in_again_is_graded_anew_and_nothing_else(three: Course) -> None:
    first = next(n for n, one in enumerate(three.hand_ins) if one.student.style == "usual")
    old = three.hand_ins[first]
    right = {task: codes[0] for task, (codes, _) in known(old.assignment).items()}
    worth = sum(points(old.assignment).values())
    assert old.points < worth
    three.hand_ins[first] = replace(old, notebook=filled(old.assignment, right), points=worth)
    before = {page: page.stat().st_mtime_ns for page in three.root.glob("feedback/*/*/*.html")}
    three.collect(three.hand_ins)
    three.grade()
    after = {page: page.stat().st_mtime_ns for page in three.root.glob("feedback/*/*/*.html")}
    assert three.graded == three.known
    assert {page for page in after if after[page] != before[page]} == set(three.pages(old))


@pytest.mark.classroom
def test_thirty_students_have_the_points_that_they_are_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    course = Course(tmp_path / "course", 30)
    with capsys.disabled():
        course.collect(course.hand_ins)
        course.grade()
    assert course.graded == course.known
    assert all(course.pages(one) for one in course.hand_ins)
    styles = {one.student.style for one in course.hand_ins}
    assert styles == set(STYLES) and len(course.hand_ins) > 25 * len(ASSIGNMENTS) * 0.9
