"""Write what can be known from elsewhere: numbers, links, tables, counts, two whole pages.

python -m tools.docs

The pages are docs/claims.md and docs/certified.md.

`notebooks/rooms.toml` is the one ordered list. A notebook gets its number here, and every link to a
notebook follows, with the number and the title that it shows, and to a cell that has moved to
another notebook. In documents, tables and counts stand between markers such as
``<!-- notebooks -->``; in notebooks the lines **Time.**, **Claims.**, **With checks.** and
**Next.** and the points of an assignment are written here, from what there is to read, the claims,
the assignments' links and the order.
"""

import re
import tomllib
from collections.abc import Iterable
from functools import partial
from itertools import groupby
from pathlib import Path

import nbformat

from dpo_edu import findings, ledger, runlogs
from tools import bench, certify, claims, notebooks, reading
from tools.project import LINK, Assignment, Lecture, Project, read

ROOT = notebooks.ROOT
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/*.md", "dpo_edu/data/*.md", "benchmarks/*.md")
GLOSSARY = ROOT / "docs" / "glossary.md"
BLOCK = re.compile(r"<!-- (\w+) -->(\n?).*?(\n?)<!-- /\1 -->", re.DOTALL)
END = "All claims and their evidence stand together in [claims](../docs/claims.md)."
WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
WORDS += ["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"]
OF_THE_SOURCES = re.compile(r"A\b|B\b|silent|used")  # how the source of such a claim begins


# --- numbers and links --------------------------------------------------------------------------


def renumber(folder: Path = notebooks.FOLDER) -> None:
    """Give every notebook its number: its place in the list of rooms."""
    road, side = notebooks.rooms()
    places = {slug: place for place, slug in enumerate([*road, *side])}
    paths = notebooks.numbered(folder=folder)
    if strange := [path.name for path in paths if notebooks.slug(path) not in places]:
        raise SystemExit(
            f"Expected every notebook in {notebooks.ROOMS.name}, found none for {strange[0]}."
        )
    aside = [path.rename(path.with_suffix(".moved")) for path in paths]
    for path, moved in zip(paths, aside, strict=True):
        number = places[notebooks.slug(path)]
        target = moved.rename(folder / f"{number:02}_{notebooks.slug(path)}.ipynb")
        if target != path:
            print(f"{path.name} is now {target.name}")


def linked(project: Project, text: str) -> str:
    """The text with every link to a notebook leading where it is, under its number and title."""

    def link(match: re.Match[str]) -> str:
        shown, folder, slug, anchor = match.groups(default="")
        slug = project.home(slug, anchor.partition("=")[2])
        if slug not in project.lectures:
            return match[0]
        lecture = project.lectures[slug]
        if with_title := re.fullmatch(r"\d\d [^a-z].*", shown):
            shown = lecture.name
        elif not with_title:
            shown = re.sub(r"^((?:[Nn]otebook )?)\d\d\b", rf"\g<1>{lecture.path.name[:2]}", shown)
        return f"[{shown}]({folder}{lecture.path.name}{anchor})"

    return LINK.sub(link, text)


# --- what notebooks say of their neighbours -----------------------------------------------------


def listed(items: Iterable[str]) -> str:
    """Items in a sentence: a, b and c."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def claims_in_words(ids: Iterable[str]) -> str:
    """Ids of claims, three or more in a row as a range: G1 to G6, M2 and M3."""
    parts = []
    for letter, family in groupby(ids, key=lambda id: id[0]):
        numbers = sorted(int(id[1:]) for id in family)
        for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
            row = [f"{letter}{number}" for _, number in run]
            parts += row if len(row) < 3 else [f"{row[0]} to {row[-1]}"]
    return listed(parts)


def claims_line(project: Project, slug: str) -> str:
    """The claims that a notebook argues, and those for which it has more evidence."""
    evidence = {e.claim for e in ledger.evidence_in(project.lectures[slug].book)}
    own = [claim.id for claim in project.catalogue.values() if claim.notebook == slug]
    others = [id for id in project.catalogue if id in evidence and id not in own]
    more = f"more evidence for {claims_in_words(others)}" if others else ""
    line = ", and ".join(filter(None, [own and claims_in_words(own), more]))
    return f"{line[:1].upper()}{line[1:]}."


def checks_line(project: Project, slug: str) -> str:
    """The assignments that practise a notebook, or the notebook nearest to it that has any."""
    slugs = list(project.lectures)
    for near in sorted(slugs, key=lambda other: abs(slugs.index(other) - slugs.index(slug))):
        if found := [a for a in project.assignments if near in a.practises]:
            break
    return ", ".join(f"[Exercise {a.path.parent.name[0]}, {a.name}](../{a.student})" for a in found)


def time_line(project: Project, slug: str) -> str:
    """How long the notebook takes to read."""
    return f"{reading.minutes(project.lectures[slug].book)} minutes."


def next_line(project: Project, slug: str) -> str:
    """The notebook after this one, and its question."""
    slugs = list(project.lectures)
    place = slugs.index(slug) + 1
    if place == len(slugs):
        return END
    lecture = project.lectures[slugs[place]]
    return f"[{lecture.name}]({lecture.path.name}): {lecture.question}"


def lecture_text(project: Project, slug: str) -> str:
    """A lecture's file as it should be."""
    lecture = project.lectures[slug]
    lines = {"Time": time_line, "Claims": claims_line}
    lines |= {"With checks": checks_line, "Next": next_line}
    book = nbformat.from_dict(lecture.book)
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = document_text(project, cell.source)
            for head, line in lines.items():
                new = f"**{head}.** {line(project, slug)}"
                cell.source = re.sub(
                    rf"(?m)^\*\*{head}\.\*\* .*$", new.replace("\\", r"\\"), cell.source
                )
    return nbformat.writes(book) + "\n"


def assignment_text(project: Project, assignment: Assignment, path: Path) -> str:
    """The file of an assignment, solved or the students', as it should be."""
    book = notebooks.read(path)
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = linked(project, cell.source)
    first = book.cells[0]
    first.source = re.sub(r"\b\d+ points", f"{assignment.points} points", first.source)
    return nbformat.writes(book) + "\n"


# --- what documents say of the project ----------------------------------------------------------


def table(heads: list[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in markdown."""
    first, *others = (f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in (heads, *rows))
    return "\n".join([first, "|" + "---|" * len(heads), *others])


def minutes(lecture: Lecture) -> str:
    """How long a notebook takes to read, for a table."""
    return str(reading.minutes(lecture.book))


def presumed(project: Project) -> str:
    """The notebooks and what each presumes, for teachers."""
    rows = [
        [
            x.path.name[:2],
            f"[{x.title}](../notebooks/{x.path.name})",
            ", ".join(project.number(slug) for slug in x.before) or "–",
            x.to_know,
        ]
        for x in project.lectures.values()
    ]
    return table(["", "notebook", "after", "and to know"], rows)


def assigned(project: Project) -> str:
    """The assignments, for teachers."""
    rows = [
        [
            a.path.parent.name[0],
            f"[{a.name}](../{a.student})",
            ", ".join(sorted(project.number(slug) for slug in a.practises)),
            str(a.points),
            str(a.minutes),
        ]
        for a in project.assignments
    ]
    sums = [str(sum(int(row[place]) for row in rows)) for place in (3, 4)]
    heads = ["", "assignment", "practises", "points", "minutes"]
    return table(heads, [*rows, ["", "together", "", *sums]])


def in_words(count: int) -> str:
    """A number, in letters where it is small."""
    return WORDS[count] if count < len(WORDS) else str(count)


def counted(project: Project, what: str) -> str:
    """How many there are of a thing."""
    every = project.catalogue.values()
    own = [claim for claim in every if OF_THE_SOURCES.match(claim.source)]
    losses = re.findall(r"(?m)^def [a-z]\w*_loss\(", (ROOT / "dpo_edu" / "losses.py").read_text())
    counts = {
        "claims": str(len(own)),
        "wrong": in_words(sum(claim.verdict == "refuted" for claim in own)),
        "beyond": str(len(every) - len(own)),
        "losses": in_words(len(losses) - 1),
        "lectures": in_words(len(project.lectures)),
        "assignments": in_words(len(project.assignments)),
    }
    return counts[what]


def address() -> str:
    """Where the site is published: `Documentation` among pyproject.toml's urls, "" if nowhere."""
    suite = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(suite.get("urls", {}).get("Documentation", "")).rstrip("/")


def rooms(project: Project, folder: str = "", site: str = "") -> str:
    """The road and the side rooms: what each notebook asks, and how long it takes.

    The side rooms are folded on the map in a notebook, which stands beside them. Where the site is
    published, each notebook has a link to its page there.
    """

    def links(x: Lecture) -> str:
        page = f" · [page]({site}/notebooks/{x.path.stem}.html)" if site else ""
        return f"[{x.title}]({folder}{x.path.name}){page}"

    parts = []
    for head, slugs in zip(("the road", "side rooms"), notebooks.rooms(), strict=True):
        here = [project.lectures[slug] for slug in slugs if slug in project.lectures]
        rows = [[x.path.name[:2], links(x), x.question, minutes(x)] for x in here]
        parts.append(table(["", head, "question", "minutes"], rows))
    if not folder:
        parts[1] = f"<details><summary>Side rooms</summary>\n\n{parts[1]}\n\n</details>"
    return "\n\n".join(parts)


def glossary(_: Project) -> str:
    """The glossary's list of terms."""
    lines = GLOSSARY.read_text("utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("- "))


def faults(project: Project) -> str:
    """What `dpo-edu audit` may find off, why, and what to do."""
    rows = []
    for name, (cause, remedy, see) in findings.ADVICE.items():
        slug, _, cell = see.partition("#")
        lecture = project.lectures[slug]
        anchor = f"#cell-id={cell}" if cell else ""
        rows.append(
            [
                f"`{name}`",
                cause,
                remedy,
                f"[{lecture.name}](../notebooks/{lecture.path.name}{anchor})",
            ]
        )
    return table(["fault", "it means", "do", "why"], rows)


def fields(_: Project) -> str:
    """What trainers call what `dpo-edu audit` reads."""
    rows = [[name, ", ".join(f"`{x}`" for x in theirs)] for name, theirs in runlogs.FIELDS.items()]
    return table(["quantity", "in a log"], rows)


def remembered(project: Project) -> str:
    """What the notebooks of the road say under *Remember*, but for those that stand apart."""
    parts = []
    for slug in notebooks.rooms()[0]:
        if slug not in project.lectures or notebooks.is_apart(project.lectures[slug].path):
            continue
        lecture = project.lectures[slug]
        text = "\n".join(cell.source for cell in lecture.book.cells if "## Remember" in cell.source)
        said = re.search(r"## Remember\n+(.*?)(?=\n+## |\Z)", text, re.DOTALL)[1]
        link = f"[{lecture.name}](../notebooks/{lecture.path.name})"
        parts.append(f"**{link}.** {' '.join(said.split())}")
    return "\n\n".join(parts)


def benched(_: Project, *, name: str) -> str:
    """What a benchmark found when it was last run in place."""
    found = bench.recorded().get(name)
    if not found:
        return "Not measured yet."
    rows = [bench.Row(**row) for row in found["rows"]]
    cells = [[r.what, bench.figure(r.value, r.unit), bench.said(r)] for r in rows]
    versions = ", ".join(f"{package} {number}" for package, number in found["versions"].items())
    when = f"Run on {found['date']} ({found['machine']}; {versions}), one thread."
    return f"{table(['', 'found', 'goal'], cells)}\n\n{when}"


README = partial(rooms, folder="notebooks/", site=address())
TABLES = {"notebooks": README, "rooms": rooms, "glossary": glossary}
TABLES |= {"presumed": presumed, "assigned": assigned, "faults": faults, "fields": fields}
TABLES["remember"] = remembered
COUNTS = ("claims", "wrong", "beyond", "losses", "lectures", "assignments")
BLOCKS = TABLES | {name: partial(counted, what=name) for name in COUNTS}
BLOCKS |= {f"bench_{name}": partial(benched, name=name) for name in bench.NAMES}


def document_text(project: Project, text: str) -> str:
    """A document as it should be: links, and what stands between markers."""

    def block(match: re.Match[str]) -> str:
        name, before, behind = match.groups()
        return f"<!-- {name} -->{before}{BLOCKS[name](project)}{behind}<!-- /{name} -->"

    return BLOCK.sub(block, linked(project, text))


# --- all together -------------------------------------------------------------------------------


def fresh() -> dict[Path, str]:
    """Every text with something in it that is written here, as it should be."""
    project = read()
    texts = {x.path: lecture_text(project, slug) for slug, x in project.lectures.items()}
    for a in project.assignments:
        for path in (a.path, ROOT / a.student):
            texts[path] = assignment_text(project, a, path)
    for path in [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]:
        texts[path] = document_text(project, path.read_text("utf-8"))
    return texts | {claims.PAGE: claims.page(), certify.PAGE: certify.page()}


def main() -> None:
    """Write them."""
    renumber()
    for _ in range(3):  # a title and a number read off a page that was just renewed
        stale = [(path, x) for path, x in fresh().items() if path.read_text("utf-8") != x]
        for path, text in stale:
            notebooks.save(path, text)
            print(f"{path.relative_to(ROOT)} is renewed.")
        if not stale:
            break


if __name__ == "__main__":
    notebooks.ended(main)
