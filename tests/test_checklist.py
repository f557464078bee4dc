"""Every line of docs/checklist.md links to the cell that shows why, and has its numbers from it."""

import re
from collections.abc import Iterator

import pytest
from nbformat.v4 import new_code_cell, new_output
from test_questions import CELL, Cells, cells, numbers, printed, stands

from tools import notebooks

TEXT = (notebooks.ROOT / "docs" / "checklist.md").read_text("utf-8")
AUDIT = (notebooks.ROOT / "docs" / "audit.md").read_text("utf-8")
PINS = (notebooks.ROOT / "constraints.txt").read_text("utf-8")
PARTS = ("Set", "Watch", "Avoid", "What TRL does unless told otherwise")
WORDS = 50


def parts(text: str) -> dict[str, str]:
    """The parts of the page by their headings."""
    _, *headed = re.split(r"^## ", text, flags=re.MULTILINE)
    return {head: body for head, _, body in (part.partition("\n") for part in headed)}


def lines(text: str) -> Iterator[str]:
    """The lines of the lists, whatever else stands in one, and the last cells of the table."""
    for head, body in parts(text).items():
        written = [line for line in body.splitlines() if line]
        if head == PARTS[-1]:
            rows = [line for line in written if line.startswith("|")]
            yield from (row.strip("| ").split(" | ")[-1] for row in rows[2:])
        else:
            yield from written


def checks() -> set[str]:
    """The names of the audit's checks."""
    before, _, _ = AUDIT.partition("## What may be off")
    return set(re.findall(r"(?m)^\| ([a-zA-Z -]+) \|", before)) - {"check"}


def flaws(text: str, known: Cells) -> list[str]:
    """What is wrong with the lines of the page."""
    found = []
    for line in lines(text):
        links, words = CELL.findall(line), CELL.sub("", line)
        if not links:
            found.append(f"no cell: {line}")
        if len(words.split()) > WORDS:
            found.append(f"more than {WORDS} words: {line}")
        found += [f"no cell {cell} in {name}" for name, cell in links if (name, cell) not in known]
        there = [known[link] for link in links if link in known]
        seen = "\n".join(f"{printed(cell)}\n{cell.source}" for cell in there)
        exact = [n for n in numbers(words) if "." in n]
        found += [f"{n} is not in the cell: {line}" for n in exact if there and not stands(n, seen)]
        named = set(re.findall(r"\(audit: ([^)]+)\)", words))
        found += [f"no check of the audit: {name}" for name in named - checks()]
    return found


def unpinned(text: str, pins: str) -> list[str]:
    """Versions of libraries that the page names and the project does not pin."""
    stated = re.findall(r"(TRL|transformers) (\d+\.\d+\.\d+)", text)
    return [f"{n}=={v}" for n, v in stated if f"\n{n.lower()}=={v}\n" not in pins]


def test_every_line_has_its_cell_and_its_numbers_from_there() -> None:
    assert flaws(TEXT, cells()) == []


def test_the_page_has_its_parts_and_each_has_lines() -> None:
    assert tuple(parts(TEXT)) == PARTS
    assert len(list(lines(TEXT))) > 30
    lists = [body for head, body in parts(TEXT).items() if head != PARTS[-1]]
    assert all(re.fullmatch(r"\n(- \[ \] \*\*[A-Z].+\n)+\n", body) for body in lists)


def test_the_defaults_are_those_of_the_pinned_version() -> None:
    assert len(re.findall(r"(?:TRL|transformers) \d+\.\d+\.\d+", TEXT)) == 2
    assert unpinned(TEXT, PINS) == []
    assert unpinned(TEXT, PINS.replace("trl==", "trl==9.")) != []


KNOWN = {
    ("05_a.ipynb", "b"): new_code_cell(
        "beta = 0.25", outputs=[new_output("stream", text="loss 0.6931\n")]
    )
}
LINK = "[05](../notebooks/05_a.ipynb#cell-id=b)"
ROWS = f"| setting | optimum |\n|---|---|\n| `x` = 7.5 | π* at 0.25 {LINK} |\n"


def page(line: str, row: str = "") -> str:
    """A page with one line in each list, and a table."""
    right = f"- [ ] **Expect** 0.6931 (audit: first loss). {LINK}"
    table = f"## {PARTS[-1]}\n\n{ROWS}{row}"
    return f"# A\n\nNo link.\n\n## Set\n\n{right}\n\n## Watch\n\n{line}\n\n{table}"


def test_right_lines_have_no_flaw() -> None:
    assert flaws(page(f"- [ ] **Count** 7 of 1,500, {LINK}"), KNOWN) == []


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        ("- [ ] **Expect** 0.6931.", "no cell: "),
        ("Expect something.", "no cell: "),
        ("- [ ] **See** the [page](audit.md).", "no cell: "),
        (f"- [ ] **See** this. {LINK.replace('=b', '=gone')}", "no cell gone in 05_a.ipynb"),
        (f"- [ ] **See** this. {LINK.replace('05_', '06_')}", "no cell b in 06_a.ipynb"),
        (f"- [ ] **Expect** 0.6932. {LINK}", "0.6932 is not in the cell: "),
        (f"- [ ] **Expect** it (audit: nothing). {LINK}", "no check of the audit: nothing"),
        (f"- [ ] **Read** {'word ' * 50}. {LINK}", "more than 50 words: "),
    ],
)
def test_a_flaw_of_a_line_is_found(line: str, flaw: str) -> None:
    (found,) = flaws(page(line), KNOWN)
    assert found.startswith(flaw)


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        ("| `y` | none |\n", "no cell: none"),
        (f"| `y` | at 0.26 {LINK} |\n", "0.26 is not in the cell: "),
    ],
)
def test_a_flaw_of_a_row_is_found(row: str, flaw: str) -> None:
    (found,) = flaws(page(f"- [ ] **See** this. {LINK}", row), KNOWN)
    assert found.startswith(flaw)
