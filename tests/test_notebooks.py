"""Every committed notebook: made as the style asks, executed from top to bottom, and fresh."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from tools import check, notebooks, reading

PATHS = notebooks.numbered()
each = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lines(cell: NotebookNode) -> list[str]:
    return [line for line in cell.source.splitlines() if line.strip()]


def headings(notebook: NotebookNode) -> list[str]:
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#{1,6} .*", outside, flags=re.MULTILINE)


def flaws(notebook: NotebookNode) -> list[str]:
    """Where a notebook departs from the form that all of them share."""
    found = []
    top = [h for h in headings(notebook) if h.startswith("# ")]
    if len(top) != 1 or not notebook.cells[0].source.startswith("# "):
        found.append(f"one H1, in the first cell: {top}")
    if not 12 <= len(notebook.cells) <= 80:
        found.append(f"12 to 80 cells: {len(notebook.cells)}")
    kinds = [cell.cell_type for cell in notebook.cells]
    if kinds[:2] != ["markdown", "code"] or "import" not in notebook.cells[1].source:
        found.append("first the question, then the imports")
    shown = ["folded" if reading.is_folded(cell) else cell.cell_type for cell in notebook.cells]
    if "code,code,code" in ",".join(shown):
        found.append("three open code cells in a row")
    slug = re.compile(r"(?=.{3,60}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
    found += [f"ids are slugs: {c.id}" for c in notebook.cells if not slug.fullmatch(c.id)]
    for cell in code_cells(notebook):
        most = 30 if reading.is_folded(cell) else 20
        if len(lines(cell)) > most:
            found.append(f"at most {most} lines of code: {cell.id}")
        if cell.source.rstrip().endswith(";"):  # nbval does not hear it
            found.append(f"no semicolon at the end: {cell.id}")
    by_hand = re.compile(r"\bEvidence\b|\bledger\.(_|evidence)")
    found += [f"evidence by hand: {c.id}" for c in code_cells(notebook) if by_hand.search(c.source)]
    if code_cells(notebook)[-1].source.strip() != "ledger.summary()":
        found.append("the last code cell is ledger.summary()")
    return found


@each
def test_a_notebook_has_the_common_form(path: Path) -> None:
    notebook = notebooks.read(path)
    nbformat.validate(notebook)
    assert flaws(notebook) == []


@each
def test_the_file_shows_an_orderly_quiet_execution(path: Path) -> None:
    assert check.static_problems(notebooks.read(path)) == []


@each
def test_the_file_is_normalised(path: Path) -> None:
    normal = nbformat.writes(notebooks.normalised(notebooks.read(path))) + "\n"
    assert path.read_text("utf-8") == normal


@each
def test_a_notebook_has_a_figure_and_fetches_nothing(path: Path) -> None:
    notebook = notebooks.read(path)
    outputs = [o for cell in code_cells(notebook) for o in cell.outputs]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert not re.search(r"!\[[^]]*\]\(http|<img[^>]+http|pip install|urlopen|requests\.", text)


@each
def test_a_paper_that_is_named_by_its_number_is_a_link(path: Path) -> None:
    cells = [c.source for c in notebooks.read(path).cells if c.cell_type == "markdown"]
    plain = re.sub(r"\[arXiv:([\d.]+)\]\(https://arxiv\.org/abs/\1\)", "", "\n".join(cells))
    assert re.findall(r"arxiv\W*\d.*", plain, re.IGNORECASE) == []


# --- the rules themselves can fail --------------------------------------------------------------


def shaped(spoil: str) -> NotebookNode:
    """A notebook in the common form, but for one flaw."""
    md, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    steps = [c for i in range(9) for c in (md("## A", id=f"md-{i}"), code("1", id=f"py-{i}"))]
    end = [code("ledger.summary()", id="ledger")]
    end += [md("## Next", id="end")]
    cells = [md("# Ask", id="title"), code("import math", id="imports"), *steps, *end]
    if spoil == "two titles":
        cells[2].source = "# Another title"
    elif spoil == "short":
        del cells[4:16]
    elif spoil == "no imports":
        cells[1].source = "x = 1"
    elif spoil == "three in a row":
        cells[4] = code("2", id="third")
    elif spoil == "id":
        cells[3].id = "Cell_3"
    elif spoil == "long":
        cells[3].source = "x = 1\n" * 21
    elif spoil == "by hand":
        cells[3].source = "ledger.evidence.clear()"
    elif spoil == "no ledger":
        cells[-2].source = "x"
    return nbformat.v4.new_notebook(cells=cells)


def test_the_common_form_has_no_flaw() -> None:
    assert flaws(shaped("nothing")) == []


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        ("two titles", "one H1"),
        ("short", "12 to 80"),
        ("no imports", "then the imports"),
        ("three in a row", "three open code cells"),
        ("id", "slugs"),
        ("long", "at most 20 lines"),
        ("by hand", "evidence by hand"),
        ("no ledger", "ledger.summary"),
    ],
)
def test_a_departure_from_the_form_is_a_flaw(spoil: str, rule: str) -> None:
    (found,) = flaws(shaped(spoil))
    assert rule in found
