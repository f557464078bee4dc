"""What texts are written from: the notebooks in their order, the assignments, the claims."""

import re
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from dpo_edu import ledger
from tools import exercises, notebooks

# A link to a notebook: what it shows, the folder, the slug, the cell.
LINK = re.compile(r"\[([^\]]*)\]\(((?:[\w.-]+/)*)\d\d[a-z]?_(\w+)\.ipynb(#[^)]*)?\)")


@dataclass(frozen=True)
class Lecture:
    """A notebook and what its first cell says of it."""

    path: Path
    book: NotebookNode

    @property
    def name(self) -> str:
        """Number and title."""
        return f"{self.path.name[:2]} {self.title}"

    @property
    def title(self) -> str:
        """The heading."""
        return str(self.book.cells[0].source.splitlines()[0].lstrip("# "))

    @property
    def question(self) -> str:
        """The sentence after **Question.**, for places without typeset formulas."""
        return re.search(r"\*\*Question\.\*\* ([^?]*\?)", self.book.cells[0].source)[1].replace(
            r"$\pi^*$", "π*"
        )

    @property
    def before(self) -> list[str]:
        """The slugs of the notebooks to have read."""
        line = re.search(r"\*\*Read before\.\*\*.*", self.book.cells[0].source)[0]
        return [match[3] for match in LINK.finditer(line)]

    @property
    def ids(self) -> list[str]:
        """The ids of its cells."""
        return [cell.id for cell in self.book.cells]

    @property
    def to_know(self) -> str:
        """What else the reader should know."""
        found = re.search(r"To know: (.*)\.", self.book.cells[0].source)
        return found[1] if found else "nothing new"


@dataclass(frozen=True)
class Assignment:
    """An assignment's notebook with its solutions."""

    path: Path
    book: NotebookNode

    @property
    def name(self) -> str:
        """What it is called after its number."""
        name = self.book.cells[0].source.splitlines()[0].partition(": ")[2]
        return str(name[0].upper() + name[1:])

    @property
    def student(self) -> str:
        """Where the students' version is, from the top of the project."""
        return f"exercises/student/{self.path.parent.name}/{self.path.name}"

    @property
    def points(self) -> int:
        """All its points."""
        graded = (cell.metadata.get("nbgrader", {}) for cell in self.book.cells)
        return int(sum(grader.get("points", 0) for grader in graded))

    @property
    def minutes(self) -> int:
        """How long it takes, as its first cell says."""
        return int(re.search(r"About (\d+) minutes", self.book.cells[0].source)[1])

    @property
    def practises(self) -> list[str]:
        """The slugs of the notebooks to whose cells it links."""
        text = "\n".join(cell.source for cell in self.book.cells)
        return list(dict.fromkeys(match[3] for match in LINK.finditer(text) if match[4]))


@dataclass(frozen=True)
class Project:
    """All that the texts are written from."""

    lectures: dict[str, Lecture]
    assignments: list[Assignment]
    catalogue: dict[str, ledger.Claim]

    def number(self, slug: str) -> str:
        """The number of a notebook."""
        return self.lectures[slug].path.name[:2]

    def home(self, slug: str, cell: str) -> str:
        """The notebook that holds a cell, where it has moved from this one to one other."""
        held = [x for x, lecture in self.lectures.items() if cell in lecture.ids]
        return held[0] if cell and len(held) == 1 else slug


def read() -> Project:
    """The project as it is on disk."""
    lectures = [Lecture(path, notebooks.read(path)) for path in notebooks.numbered()]
    sources = sorted(exercises.EXERCISES.glob("source/*/*.ipynb"))
    return Project(
        {notebooks.slug(lecture.path): lecture for lecture in lectures},
        [Assignment(path, notebooks.read(path)) for path in sources],
        dict(ledger.catalogue()),
    )
