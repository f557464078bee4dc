"""A notebook keeps what its reader is promised: minutes, short cells, folded checks, an end."""

import nbformat
import pytest
from nbformat import NotebookNode

from dpo_edu import ledger
from tools import notebooks, reading

PATHS = {notebooks.slug(path): path for path in notebooks.numbered()}
# Names that open cells use though a folded cell, neither data, figure nor check, defines them.
HIDDEN: dict[str, set[str]] = {}


@pytest.mark.parametrize("slug", PATHS)
def test_a_notebook_keeps_what_is_promised(slug: str) -> None:
    found = reading.flaws(notebooks.read(PATHS[slug]), reading.ceilings(slug))
    if HIDDEN.get(slug):
        found.remove(f"an open cell needs what a folded one defines: {sorted(HIDDEN[slug])}")
    assert found == []


# --- the measure itself -------------------------------------------------------------------------


def markdown(text: str, id: str | None = None) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(text, **({"id": id} if id else {}))


def code(text: str, id: str = "code", tags: tuple[str, ...] = (), **data: object) -> NotebookNode:
    outputs = [nbformat.v4.new_output("display_data", data=data)] if data else []
    cell = nbformat.v4.new_code_cell(text, id=id, outputs=outputs, metadata={"tags": list(tags)})
    notebooks.fold(cell)
    notebooks.describe(cell)
    return cell


END = "## Remember\nOne. $a.$ is two. Three!\n## Not shown\nx\n## Exercise\n<details>y</details>\n"
ALT = "# It shows that the curve falls and rises again.\nplt.show()"


def book(*cells: NotebookNode, end: str = END) -> NotebookNode:
    first = [markdown("# Ask"), code("import math", "imports")]
    last = [code("ledger.summary()", "ledger"), markdown(f"{end}## Next\nz", "end")]
    return nbformat.v4.new_notebook(cells=[*first, *cells, *last])


def test_minutes_count_words_lines_figures_and_formulas() -> None:
    empty = reading.seconds(book())
    for cell, more in [
        (markdown("four [words](of/which/not) are here $$x^2$$"), 4 * 0.3 + 20),
        (markdown("<details>\nnot read\n</details>"), 0),
        (code("x = 1\n\ny = 2"), 10),
        (code("x = 1", "some-check"), 0),
        (code("x = 1", "x", ("hide-input",)), 0),
        (code("x", **{"text/latex": "$x$"}), 25),
        (code(ALT, "a-figure", **{"image/png": "AAAA"}), 30),
        (markdown(f"{notebooks.MORE}\n\nnot read"), 0),
    ]:
        assert reading.seconds(book(cell)) - empty == pytest.approx(more), cell.source


def test_what_follows_more_evidence_is_folded_up_to_the_next_section() -> None:
    more, again = markdown(notebooks.MORE), markdown("## The ledger")
    evidence = code("x = 1", **{"text/latex": "$x$", ledger.EVIDENCE: {}})
    assert reading.seconds(book(more, evidence)) == reading.seconds(book())
    assert reading.seconds(book(more, again, evidence)) > reading.seconds(book()) + 20


ROOM = reading.ROAD
EVIDENCE = {ledger.EVIDENCE: {}}


@pytest.mark.parametrize(
    ("cells", "rule"),
    [
        ([markdown("word " * 1501)], "at most 1500 words"),
        ([markdown("$$x$$ " * 60)], "at most 20 minutes"),
        ([code("x\n" * 5, f"c{i}") for i in range(25)], "at most 120 open lines of code"),
        ([code("x", f"c{i}", **EVIDENCE) for i in range(13)], "at most 12 open lines of evidence"),
        ([code("x\n" * 6)], "5 lines in the median"),
        ([code("x\n" * 9, "c"), code("x", "d"), code("x", "e")], "at most 8 lines"),
        ([code("a = b = c = d = 1")], "at most 3 new names"),
        ([code("a, b = 1, 2\nfor c in x:\n    d = 1")], "at most 3 new names"),
        ([code("ledger.numeric(*x)")], "no starred arguments"),
        ([code("losses.dpo_loss(a, **x)")], "no starred arguments"),
        ([code("a = 1", "c", ("hide-input",)), code("a + 1")], "needs what a folded one defines"),
        ([code("1", "a-check"), code("1", "b-check")], "one folded check cell a section"),
        ([code("x", "c", ("in-full",)), code("x", "d", ("in-full",)), code("x", "e", ("in-full",))],
         "cells in full"),
        ([code("plt.show()", "a-figure", **{"image/png": "AAAA"})], "alternative text"),
    ],
)  # fmt: skip
def test_a_promise_that_is_broken_is_found(cells: list[NotebookNode], rule: str) -> None:
    assert any(rule in flaw for flaw in reading.flaws(book(*cells), ROOM)), rule


@pytest.mark.parametrize(
    ("end", "rule"),
    [
        (END.replace("Remember", "Recall"), "ends with Remember"),
        (END.replace("Three!", ""), "three sentences"),
        (END.replace("<details>", ""), "folded solution"),
    ],
)
def test_an_end_that_lacks_something_is_found(end: str, rule: str) -> None:
    assert any(rule in flaw for flaw in reading.flaws(book(end=end), ROOM))


def test_a_notebook_that_keeps_its_promises_has_no_flaw() -> None:
    cells = [
        code("votes = 1", "votes-data"),
        code("a = votes\nb = [c for c in a]\ndef f(x): return x"),
        code("found = f(a)\nledger.numeric('G4', found, b)", "f-check", **EVIDENCE),
        markdown("## Another section"),
        code("x\n" * 30, "loss", ("in-full",)),
        code(ALT, "a-figure", **{"image/png": "AAAA"}),
    ]
    assert reading.flaws(book(*cells), ROOM) == []


def test_an_open_check_is_not_folded() -> None:
    assert reading.is_folded(code("1", "a-check"))
    assert not reading.is_folded(code("1", "a-check", ("open",)))


def test_the_first_room_may_show_longer_cells_and_side_rooms_more() -> None:
    road, side = notebooks.rooms()
    assert reading.ceilings(road[0]).in_full > reading.ceilings(road[1]).in_full
    assert reading.ceilings(side[0]).minutes > reading.ceilings(road[1]).minutes


def test_the_list_of_rooms_has_every_notebook_once() -> None:
    road, side = notebooks.rooms()
    every = [*road, *side]
    assert len(set(every)) == len(every)
    assert [path.name for path in notebooks.numbered()] == [
        f"{place:02}_{slug}.ipynb" for place, slug in enumerate(every) if slug in PATHS
    ]


def test_what_is_told_apart_from_names_in_a_cell() -> None:
    source = "import a\nx, y = 1, [z for z in q]\ndef f(u):\n    v = u\n    return v\n_ = 3"
    assert reading.defined(source) == {"x", "y", "f"}
    assert reading.used("print(x + y)") == {"x", "y"}
