"""Sort what a learning platform lets a teacher download: one hand-in for each student.

python -m tools.collect 5_train_it Moodle.zip Canvas.zip folder ada_train_it.ipynb
python -m tools.collect 5_train_it Moodle.zip --course exercises-17     into a variant of the course

Every file gets a line that says whose it is, or why it was left out. A platform's word for who
handed in counts before a student's: Moodle, Canvas and Blackboard put it before the file's name.
Without a platform a file is called student_notebook.ipynb.
"""

import argparse
import io
import re
import sys
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import nbformat

from dpo_edu.ledger import counted
from tools import exercises, judge, notebooks

MOST_BYTES, MOST_ZIPS = 50 * 2**20, 2  # of a file; zips in one another
MOODLE = re.compile(r"(?:^|/)(?P<name>[^/]+?)_(?P<number>\d+)_assignsubmission_file_?/?")
CANVAS = re.compile(r"(?:^|/)(?P<name>[^\W_]+)(?P<late>_LATE)?_(?P<number>\d+)_\d+_")
BLACKBOARD = re.compile(r"_(?P<name>[^_/]+)_attempt_(?P<when>\d{4}(?:-\d\d){5})(?:_|\.)")
TIME, KEPT = "%Y-%m-%d-%H-%M-%S", "%Y-%m-%d %H:%M:%S UTC"


class LeftOut(Exception):
    """Why a file is nobody's hand-in."""


@dataclass(frozen=True)
class File:
    """What was downloaded: its path, with slashes; what is in it; when it was written, in UTC."""

    path: str
    content: bytes
    when: datetime


@dataclass(frozen=True)
class HandIn:
    """A file that has a student, and its rank among the student's files: the last one counts.

    `person` tells apart two students whom a platform calls by the same name.
    """

    file: File
    student: str
    person: str
    when: datetime
    rank: tuple[str, int]
    remark: str = ""


def files(path: Path) -> Iterator[File]:
    """The file itself, or all that lie in a folder or a zip."""
    if path.is_dir():
        for below in sorted(p for p in path.rglob("*") if p.is_file()):
            yield from unzipped(as_file(below, below.relative_to(path).as_posix()))
    else:
        yield from unzipped(as_file(path, path.name))


def as_file(path: Path, name: str) -> File:
    """A file on the disk."""
    when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return File(unicodedata.normalize("NFC", name), path.read_bytes(), when)


def unzipped(file: File, zips: int = 0) -> Iterator[File]:
    """A file, or if it is a zip what is in that; a student may have zipped a hand-in as well."""
    inside = io.BytesIO(file.content)
    if not file.path.lower().endswith(".zip") or zips == MOST_ZIPS:
        yield file
        return
    try:
        archive = zipfile.ZipFile(inside)
    except zipfile.BadZipFile:
        yield file
        return
    with archive:
        for member in archive.infolist():
            hidden = "__MACOSX/" in member.filename
            if member.is_dir() or hidden or member.file_size > MOST_BYTES:
                continue
            name = f"{file.path[:-4]}/{member.filename}"
            when = datetime(*member.date_time).astimezone(UTC)  # as the clock of this machine
            content = archive.read(member)
            yield from unzipped(File(unicodedata.normalize("NFC", name), content, when), zips + 1)


def as_id(name: str) -> str:
    """A name as that of a folder, in every system: small letters, digits and hyphens.

    >>> as_id("Ünal Öz"), as_id("Jo_An [2]")
    ('ünal-öz', 'jo_an-2')
    """
    return re.sub(r"[^\w-]+", "-", name.lower()).strip("-")


def handed_in(file: File, stem: str) -> HandIn:
    """Whose file it is, by its path alone.

    Raises
    ------
    LeftOut
        If the path does not say.
    """
    name = PurePosixPath(file.path).name
    again = re.search(rf"{re.escape(stem)}(\W.*)?\.ipynb$", name, re.IGNORECASE)
    tries = re.findall(r"\d+", again[1] or "") if again else []
    rank = int(tries[-1]) if tries else 0
    if not name.lower().endswith(".ipynb"):
        raise LeftOut("no notebook")
    platforms = [m for p in (CANVAS, MOODLE, BLACKBOARD) if (m := p.search(file.path))]
    if platforms:
        first = min(platforms, key=lambda match: match.start())  # later words are the student's
        return told(file, first, rank)
    student = as_id(name[: again.start()].rstrip("_")) if again else ""
    if not student:
        raise LeftOut(f"nobody's name before _{stem}.ipynb")
    return HandIn(file, student, "", file.when, ("", rank))


def told(file: File, found: re.Match[str], rank: int) -> HandIn:
    """Whose file it is, by what a platform put before its name."""
    student = as_id(found["name"])
    if found.re is MOODLE:  # whose number is another in each assignment
        return HandIn(file, student, found["number"], file.when, ("", rank))
    if found.re is BLACKBOARD:
        when = datetime.strptime(found["when"], TIME).astimezone(UTC)
        return HandIn(file, student, "", when, (found["when"], rank))
    late = ", late, as Canvas says" if found["late"] else ""
    return HandIn(file, f"{student}-{found['number']}", "", file.when, ("", rank), late)


def check_notebook(file: File, tests: Iterable[str]) -> None:
    """Refuse what is not this assignment.

    Raises
    ------
    LeftOut
        If the file is no notebook, or has none of the assignment's tests.
    """
    try:
        notebook = nbformat.reads(file.content.decode("utf-8"), as_version=4)
        found = {judge.test_name(cell) for cell in notebook.cells}
    except Exception:  # whatever a student may have uploaded
        raise LeftOut("no notebook that can be read") from None
    if not found & set(tests):
        raise LeftOut("a notebook, but not of this assignment")


def variant(content: bytes) -> int:
    """The variant whose numbers a notebook has; 0 where it says none."""
    found = re.search(rb"variant=(\d+)", content)
    return int(found[1]) if found else 0


def sort(given: Iterable[File], stem: str, source: nbformat.NotebookNode) -> "Sorted":
    """The hand-in that counts of each student, and why the other files do not."""
    tests = judge.tests_of(source)
    of: dict[str, list[HandIn]] = defaultdict(list)
    result = Sorted({}, [])
    for file in given:
        try:
            one = handed_in(file, stem)
            check_notebook(file, tests)
            of[one.student].append(one)
        except LeftOut as why:
            result.left_out.append((file.path, str(why)))
    for student, some in of.items():
        last = max(one.rank for one in some)
        best = [one for one in some if one.rank == last]
        why = f"an earlier one of {student}"
        if len({one.person for one in some}) > 1:
            best, why = [], f"there are two whom the platform calls {student}: rename their files"
        elif len({one.file.content for one in best}) > 1:
            best, why = [], f"one of two of {student}: which one counts?"
        if best:
            result.counts[student] = best[0]
        result.left_out += [(o.file.path, why) for o in some if o not in best[:1]]
    return result


@dataclass
class Sorted:
    """The hand-in that counts, by students; the paths of other files, and why they do not."""

    counts: dict[str, HandIn]
    left_out: list[tuple[str, str]]


def put(one: HandIn, folder: Path, stem: str) -> str:
    """Write a hand-in where it is graded; whether that is new, another than before, or the same."""
    path = folder / f"{stem}.ipynb"
    before = path.read_bytes() if path.exists() else None
    if before == one.file.content:
        return "as before"
    notebooks.save(path, one.file.content)
    notebooks.save(folder / "timestamp.txt", one.when.strftime(KEPT))
    return "new" if before is None else "in place of an earlier one"


def main(arguments: list[str] | None = None) -> int | str:
    """Sort downloaded files into a course."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("assignment", help="such as 5_train_it")
    parser.add_argument("download", nargs="+", type=Path, help="zips, folders and notebooks")
    parser.add_argument("--course", type=Path, default=exercises.EXERCISES, help="its folder")
    chosen = parser.parse_args(arguments)
    sources = sorted((chosen.course / "source" / chosen.assignment).glob("*.ipynb"))
    if not sources:
        known = ", ".join(exercises.assignments(chosen.course))
        return f"{chosen.assignment} is no assignment of {chosen.course}: {known}."
    absent = [str(path) for path in chosen.download if not path.exists()]
    if absent:
        return f"There is no {', '.join(absent)}."
    stem, own = sources[0].stem, variant(sources[0].read_bytes())
    found = sort(
        (file for path in chosen.download for file in files(path)),
        stem,
        notebooks.read(sources[0]),
    )
    for student, one in sorted(found.counts.items()):
        said = put(one, chosen.course / "submitted" / student / chosen.assignment, stem)
        theirs = variant(one.file.content)
        other = f", written for variant {theirs} and not {own}" if theirs != own else ""
        print(f"{student}: {judge.one_line(one.file.path)}, {said}{one.remark}{other}")
    for path, why in found.left_out:
        print(f"left out: {judge.one_line(path)}: {why}")
    print(
        f"{counted(len(found.counts), 'hand-in')}, {counted(len(found.left_out), 'file')} left out"
    )
    return 0


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a Windows console may lack a name's letters
    notebooks.ended(main)
