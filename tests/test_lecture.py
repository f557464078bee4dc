"""What lecturers are given is true: plans add up, and every number stands in the cell linked to."""

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import chromium
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from scipy.special import expit
from test_questions import CELL, Cells, Entry, cells, entries, numbers, printed, stands
from test_questions import flaws as misconceived

from tools import notebooks, project

DOCS = notebooks.ROOT / "docs"
TEACHING = (DOCS / "teaching.md").read_text("utf-8").partition("## Hand it out")[0]
PEER = (DOCS / "peer_questions.md").read_text("utf-8")
SHEET = (DOCS / "cheat_sheet.md").read_text("utf-8")
QUESTIONS, _, MISCONCEPTIONS = PEER.partition("## Ten misconceptions")
FIGURE = re.compile(r"!\[([^\]]+)\]\((figures/[\w.]+)\)\n\n(.+)")
APART = {notebooks.slug(path) for path in notebooks.numbered() if notebooks.is_apart(path)}
SMALL = "font: 10pt/1.25 sans-serif; margin: 0"  # at which the cheat sheet is printed


def seen(links: list[tuple[str, str]], known: Cells) -> str:
    """What the cells print and say."""
    return "\n".join(f"{printed(known[x])}\n{known[x].source}" for x in links if x in known)


def unborne(text: str, known: Cells) -> Iterator[str]:
    """Links that lead to no cell, and numbers with a point that stand in none of the cells."""
    links = CELL.findall(text)
    yield from (f"no cell {cell} in {name}" for name, cell in links if (name, cell) not in known)
    there = seen(links, known)
    exact = [n for n in numbers(CELL.sub("", text)) if "." in n]
    if links:
        yield from (f"{n} is not in the cell" for n in exact if not stands(n, there))


# --- the plans ----------------------------------------------------------------------------------


def rows(text: str, head: str) -> list[list[list[str]]]:
    """The rows of every table whose head begins with these words, cell by cell."""
    tables = re.findall(rf"(?m)^\| ?{head} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text)
    return [[line.strip("| ").split(" | ") for line in table.splitlines()] for table in tables]


def gaps(table: list[list[str]], end: int) -> list[str]:
    """Where the minutes of a plan do not follow one another from 0 to the end."""
    times = [[int(n) for n in row[0].split("–")] for row in table]
    ends = [0, *(last for _, last in times)]
    starts = [*(first for first, _ in times), end]
    return [f"{a} to {b}" for a, b in zip(ends, starts, strict=True) if a != b]


def early(weeks: list[list[str]], suite: project.Project) -> list[str]:
    """Rooms of the road that a hand-in practises before the plan has come to them."""
    road, taught, found = notebooks.rooms()[0], set[str](), []
    for row in weeks:
        taught |= set(re.findall(r"\[(\d\d)\]", " ".join(row[1:4])))
        for number in map(int, re.findall(r"\d", row[4])):
            practised = suite.assignments[number - 1].practises
            rooms = {suite.number(slug) for slug in practised if slug in road}
            found += [f"{number} needs {room}" for room in sorted(rooms - taught)]
    return found


def test_every_plan_fills_its_minutes() -> None:
    plans = rows(TEACHING, "minutes")
    assert len(plans) == 6
    assert [gaps(plan, 90) for plan in plans] == [[]] * 6


def test_a_gap_in_a_plan_is_found() -> None:
    assert gaps([["0–10"], ["10–90"]], 90) == []
    assert gaps([["0–10"], ["15–80"]], 90) == ["10 to 15", "80 to 90"]


def test_nothing_is_handed_in_before_its_room_was_taught() -> None:
    (weeks,) = rows(TEACHING, "week")
    assert early(weeks, project.read()) == []
    late = [[*row[:1], "", "", *row[3:]] for row in weeks]
    assert early(late, project.read()) != []


def test_each_assignment_is_handed_in_once() -> None:
    (weeks,) = rows(TEACHING, "week")
    given = [int(n) for row in weeks for n in re.findall(r"\d", row[4])]
    assert sorted(given) == list(range(1, len(project.read().assignments) + 1))


def test_each_week_has_its_parts() -> None:
    parts = ("**Afterwards students can**", "**Board.**", "**To discuss.**", "**Exit ticket.**")
    weeks = re.split(r"(?m)^### Week \d: ", TEACHING)[1:]
    assert [[part for part in parts if part not in week] for week in weeks] == [[]] * 4


def test_the_numbers_of_the_plans_stand_in_their_cells() -> None:
    known, lines = cells(), TEACHING.partition("## One session")[2].splitlines()
    assert [flaw for line in lines for flaw in unborne(line, known)] == []
    assert sum(bool(CELL.search(line)) for line in lines) > 30


def test_peer_questions_of_a_plan_are_those_of_its_week() -> None:
    asked = re.split(r"(?m)^## Week \d$", QUESTIONS)[1:]
    for week, part in zip(re.split(r"(?m)^### Week \d: ", TEACHING)[1:], asked, strict=True):
        first, last = map(int, re.search(r"Peer questions (\d+) to (\d+)", week).groups())
        there = {int(entry.heading.split()[0]) for entry in entries(f"# A\n{part}")}
        assert set(range(first, last + 1)) <= there


# --- the drawings -------------------------------------------------------------------------------


def drawn(picture: str) -> str:
    """The words and numbers of an SVG."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)", picture))


def test_the_numbers_of_a_drawing_stand_in_its_cells() -> None:
    figures = FIGURE.findall(TEACHING)
    assert len(figures) == 4
    known = cells()
    for alternative, path, below in figures:
        picture = (DOCS / path).read_text("utf-8")
        links = "".join(f"[0](../notebooks/{n}#cell-id={c})" for n, c in CELL.findall(below))
        assert list(unborne(f"{drawn(picture)} {links}", known)) == []
        assert alternative.endswith(".")


def test_a_drawing_is_small_and_has_its_own_paper() -> None:
    for path in DOCS.glob("figures/board_*.svg"):
        picture = path.read_text("utf-8")
        assert len(picture) < 4000
        assert re.search(r'<rect width="\d+" height="\d+" rx="8" fill="#fffdf6"/>', picture)


def test_a_number_of_a_drawing_is_read() -> None:
    assert list(numbers(drawn('<svg><text x="1">s = −0.5</text><path d="M2 3"/></svg>'))) == [
        "-0.5"
    ]


# --- the entry test -----------------------------------------------------------------------------


def expected() -> list[float]:
    """The answers of the entry test, worked out."""
    weights, step = np.array([3.0, 1.0]), 1e-6
    return [
        np.log2(8),
        np.divide(3, 2),
        np.average([0, 1, 2], weights=[0.5, 0.3, 0.2]),
        (weights / weights.sum())[0],
        expit(np.log(3)),
        ((1 + step) * np.log(1 + step) - (1 - step) * np.log(1 - step)) / (2 * step),
        np.std([0, 1]) / np.sqrt(100),
        [4, 5, 6][1],
    ]


def test_the_entry_test_has_right_answers() -> None:
    table = rows(TEACHING, "")[-1]
    answers = [float(row[-1]) for row in table]
    np.testing.assert_allclose(answers, expected(), atol=1e-9)


# --- peer questions -----------------------------------------------------------------------------


def peer(entry: Entry, known: Cells) -> list[str]:
    """What is wrong with a peer question."""
    asked, _, answer = entry.body.partition("<details><summary>Answer</summary>")
    choices = re.findall(r"(?m)^- ([A-Z]): (.+)$", asked)
    right = re.findall(r"(?m)^\*\*([A-D])\.\*\* ", answer)
    found = []
    if [letter for letter, _ in choices] != list("ABCD"):
        found.append("four choices")
    if len({text for _, text in choices}) != len(choices):
        found.append("two choices alike")
    if len(right) != 1:
        return [*found, "one right answer"]
    if re.findall(r"(?m)^- ([A-Z]): ", answer) != [x for x in "ABCD" if x != right[0]]:
        found.append("a reason for each wrong answer")
    said = answer.partition("\n- ")[0]
    bold = [n for part in re.findall(r"\*\*(.+?)\*\*", said) for n in numbers(part)]
    links = CELL.findall(said)
    if len(bold) != 1 or not links:
        return [*found, "one bold number and its cell"]
    there = "\n".join(printed(known[link]) for link in links if link in known)
    if not stands(bold[0], there):
        found.append(f"{bold[0]} is not printed")
    return [*found, *unborne(said, known)]


def test_every_peer_question_is_whole_and_its_number_is_printed() -> None:
    known = cells()
    asked = entries(QUESTIONS)
    assert [(e.heading, flaw) for e in asked for flaw in peer(e, known)] == []
    assert [int(e.heading.split()[0]) for e in asked] == list(range(1, 21))


def test_no_letter_is_the_safe_guess() -> None:
    right = re.findall(r"(?m)^\*\*([A-D])\.\*\* ", QUESTIONS)
    assert max(right.count(letter) for letter in "ABCD") <= 8
    assert min(right.count(letter) for letter in "ABCD") >= 3


def test_there_are_ten_misconceptions_each_with_its_number() -> None:
    text = f"# A\n\n## B\n{MISCONCEPTIONS}"
    assert misconceived(text, cells()) == []
    assert len(entries(text)) == 10
    assert all(re.fullmatch('".+"', entry.heading) for entry in entries(text))


KNOWN: Cells = {
    ("05_a.ipynb", "b"): new_code_cell(
        "beta = 0.25", outputs=[new_output("stream", text="loss 0.6931\n")]
    ),
    ("05_a.ipynb", "c"): new_markdown_cell("$J = 1$ and\n$$\\sigma(s) = P.$$"),
}
LINK = "[05](../notebooks/05_a.ipynb#cell-id=b)"
RIGHT = f"""
Which?

- A: one
- B: two
- C: three
- D: four

<details><summary>Answer</summary>

**B.** It is **0.6931** at 0.25. {LINK}

- A: why
- C: why
- D: why, at 9.5

</details>
"""


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        (lambda x: x, []),
        (lambda x: x.replace("- D: four\n", ""), ["four choices"]),
        (lambda x: x.replace("four", "three"), ["two choices alike"]),
        (lambda x: x.replace("**B.**", "B."), ["one right answer"]),
        (lambda x: x.replace("- A: why\n", ""), ["a reason for each wrong answer"]),
        (lambda x: x.replace("**0.6931**", "0.6931"), ["one bold number and its cell"]),
        (lambda x: x.replace(LINK, ""), ["one bold number and its cell"]),
        (lambda x: x.replace("at 0.25", "at 0.26"), ["0.26 is not in the cell"]),
        (lambda x: x.replace("0.6931", "0.25"), ["0.25 is not printed"]),
        (lambda x: x.replace(LINK, LINK + LINK.replace("=b", "=d")), ["no cell d in 05_a.ipynb"]),
    ],
)
def test_a_flaw_of_a_peer_question_is_found(change: Callable[[str], str], flaw: list[str]) -> None:
    assert peer(Entry("Q", change(RIGHT)), KNOWN) == flaw


# --- the cheat sheet ----------------------------------------------------------------------------


def bare(text: str) -> str:
    """Text without blanks, marks of formulas and ends of sentences."""
    return re.sub(r"[\s$]", "", text)


def made_up(text: str, known: Cells) -> list[str]:
    """Formulas and numbers of a line that stand in none of its cells."""
    there = bare(seen(CELL.findall(text), known))
    formulas = [x for x in re.findall(r"\$([^$]+)\$", text) if bare(x) not in there]
    return formulas + list(unborne(re.sub(r"\$[^$]+\$", "", text), known))


def test_the_formulas_and_numbers_of_the_cheat_sheet_are_those_of_the_notebooks() -> None:
    lines = [line for line in SHEET.partition("## Remember")[0].splitlines() if line[:1] == "-"]
    assert len(lines) > 12
    known = cells()
    assert all(CELL.search(line) for line in lines)
    assert [flaw for line in lines for flaw in made_up(line, known)] == []


def test_a_formula_that_stands_nowhere_is_found() -> None:
    link = LINK.replace("=b", "=c")
    assert made_up(rf"- It is $\sigma(s) = P$. {link}", KNOWN) == []
    assert made_up(rf"- It is $\sigma(s) = Q$. {link}", KNOWN) == [r"\sigma(s) = Q"]
    assert made_up(f"- It is 0.5. {link}", KNOWN) == ["0.5 is not in the cell"]


def test_the_cheat_sheet_has_every_room_of_the_road() -> None:
    slugs = [slug for slug in notebooks.rooms()[0] if slug not in APART]
    suite = project.read()
    assert re.findall(r"(?m)^\*\*\[(\d\d) ", SHEET) == [suite.number(slug) for slug in slugs]


def pages(text: str, folder: Path) -> int:
    """How many pages a document takes on A4, its formulas as typed, which are the longer."""
    from nbconvert.filters import markdown2html

    body = markdown2html(re.sub(r"\$|\]\([^)]*\)", "", text))
    (folder / "page.html").write_text(f'<meta charset="utf-8"><body style="{SMALL}">{body}</body>')
    with chromium.served(folder) as address, chromium.opened() as page:
        page.open(f"{address}/page.html")
        sheet = page.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
    return base64.b64decode(sheet["data"]).count(b"/Type /Page\n")


@pytest.mark.browser
@pytest.mark.slow
def test_the_cheat_sheet_is_two_pages(tmp_path: Path) -> None:
    assert pages(SHEET, tmp_path) == 2
    assert pages(SHEET + SHEET, tmp_path) > 2
