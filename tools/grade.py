"""Grade what was collected, two hand-ins at a time, write feedback, and all points into one table.

python -m tools.grade                                            the course in exercises/
python -m tools.grade --course exercises-1 --course exercises-2  variants, into one table
python -m tools.grade --again                                    also what was graded already

nbgrader keeps the gradebook and writes the feedback, `tools.judge` judges.
"""

import argparse
import csv
import io
import multiprocessing
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dpo_edu.ledger import counted
from tools import exercises, judge, notebooks

AT_ONCE = 2
COLUMNS = ("student", "assignment", "points", "possible", "handed_in", "course")


@dataclass(frozen=True)
class HandIn:
    """What a student handed in for an assignment of a course."""

    course: Path
    assignment: str
    student: str

    def at(self, stage: str) -> Path:
        """The folder of a stage: submitted, autograded or feedback."""
        return self.course / stage / self.student / self.assignment


@dataclass(frozen=True)
class Graded:
    """How many seconds a hand-in took, and why it has no points, if it has none."""

    hand_in: HandIn
    seconds: float
    failure: str = ""


def collected(course: Path) -> Iterator[HandIn]:
    """All hand-ins of a course."""
    known = exercises.assignments(course)
    for folder in sorted(course.glob("submitted/*/*")):
        if folder.name in known and any(folder.glob("*.ipynb")):
            yield HandIn(course, folder.name, folder.parent.name)


def is_new(one: HandIn) -> bool:
    """Whether a hand-in is newer than its feedback, which is what is written last."""
    written = [path.stat().st_mtime for path in one.at("feedback").glob("*.html")]
    (handed_in,) = (path.stat().st_mtime for path in one.at("submitted").glob("*.ipynb"))
    return not written or min(written) < handed_in


def register(course: Path, hand_ins: Sequence[HandIn]) -> None:
    """Tell the gradebook of the students and assignments that it does not know yet.

    Two processes that grade the same new student's hand-ins would both add the student.
    """
    api = exercises.nbgrader(course)
    with api.gradebook as book:
        for student in sorted({one.student for one in hand_ins}):
            book.update_or_create_student(student)
        known = {assignment.name for assignment in book.assignments}
    for assignment in sorted({one.assignment for one in hand_ins} - known):
        exercises.done(api.generate_assignment(assignment, force=True))


def grade(one: HandIn) -> Graded:
    """Judge a hand-in, and write its feedback."""
    begin, api, failure = time.perf_counter(), exercises.nbgrader(one.course), ""
    try:
        exercises.done(api.autograde(one.assignment, one.student, force=True))
        exercises.done(api.generate_feedback(one.assignment, one.student, force=True))
    except RuntimeError as error:
        failure = judge.one_line(str(error))
    return Graded(one, time.perf_counter() - begin, failure)


def grade_all(hand_ins: Sequence[HandIn], at_once: int = AT_ONCE) -> Iterator[Graded]:
    """Grade hand-ins side by side, each as soon as there is room."""
    for course in {one.course for one in hand_ins}:
        register(course, [one for one in hand_ins if one.course == course])
    alone = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=alone) as pool:
        waiting = [pool.submit(grade, one) for one in hand_ins]
        bar = tqdm(total=len(waiting), unit="hand-in", disable=None)
        for done in as_completed(waiting):
            bar.update()
            yield done.result()
        bar.close()


def rows(course: Path) -> Iterator[dict[str, Any]]:
    """The points of every hand-in of a course, from its gradebook."""
    if not (course / "gradebook.db").exists():
        return
    with exercises.nbgrader(course).gradebook as book:
        for assignment in book.assignments:
            for found in book.assignment_submissions(assignment.name):
                when = found.timestamp and f"{found.timestamp:%Y-%m-%d %H:%M:%S}"
                one = (found.student.id, assignment.name, found.score, found.max_score, when)
                yield dict(zip(COLUMNS, (*one, course.name), strict=True))


def table(courses: Sequence[Path]) -> list[dict[str, Any]]:
    """The points of several courses, one row for each student and assignment.

    Raises
    ------
    ValueError
        If a student handed in the same assignment in two of them.
    """
    found = [row for course in courses for row in rows(course)]
    found.sort(key=lambda row: (row["student"], row["assignment"]))
    times = Counter((row["student"], row["assignment"]) for row in found)
    twice = [f"{student} in {assignment}" for (student, assignment), n in times.items() if n > 1]
    if twice:
        raise ValueError(f"In two courses at once: {', '.join(twice)}.")
    return found


def write_table(path: Path, found: Iterable[dict[str, Any]]) -> None:
    """Write rows as a file that spreadsheets open, with the letters of every name."""
    text = io.StringIO()
    sheet = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    sheet.writeheader()
    sheet.writerows(found)
    notebooks.save(path, text.getvalue().encode("utf-8-sig"))


def main(arguments: list[str] | None = None) -> int | str:
    """Grade what is new in one or several courses."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--course", type=Path, action="append", help="a folder; may be repeated")
    parser.add_argument("--again", action="store_true", help="also what was graded already")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="how many, one a processor")
    parser.add_argument("--to", type=Path, help="the table; else grades.csv in the first course")
    chosen = parser.parse_args(arguments)
    courses = [course.resolve() for course in chosen.course or [exercises.EXERCISES]]
    strange = [str(course) for course in courses if not (course / exercises.CONFIG).exists()]
    if strange:
        return f"{', '.join(strange)} is no course."
    if not judge.is_confining():
        print(judge.UNCONFINED, file=sys.stderr)
    wanted = [one for course in courses for one in collected(course)]
    wanted = [one for one in wanted if chosen.again or is_new(one)]
    begin = time.perf_counter()
    done = list(grade_all(wanted, chosen.at_once)) if wanted else []
    seconds = time.perf_counter() - begin
    for one in done:
        if one.failure:
            print(f"{one.hand_in.student}, {one.hand_in.assignment}: not graded: {one.failure}")
    try:
        found = table(courses)
    except ValueError as error:
        return str(error)
    target = chosen.to or courses[0] / "grades.csv"
    write_table(target, found)
    print(f"{counted(len(done), 'hand-in')} graded{timing(done, seconds)}")
    print(f"{counted(len(found), 'row')} written to {os.path.relpath(target)}")
    return 0


def timing(done: Sequence[Graded], seconds: float) -> str:
    """How long they took together and each, in words."""
    if not done:
        return ""
    each = [one.seconds for one in done]
    middle, longest = statistics.median(each), max(each)
    return f" in {seconds:.0f} s; the middle one took {middle:.1f} s, the longest {longest:.1f} s"


if __name__ == "__main__":
    notebooks.ended(main)
