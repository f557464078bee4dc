"""Slides are the tagged cells of the lectures as they are: nothing lost, nothing too large."""

import copy
import re
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebooks, slides

pytestmark = pytest.mark.slow

LECTURES = pytest.mark.parametrize("path", notebooks.numbered(), ids=lambda path: path.stem)

DECKS = {path.stem for path in notebooks.numbered()}


def book(*shown: NotebookNode) -> NotebookNode:
    """A notebook whose cells are all tagged for its deck."""
    for cell in shown:
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), slides.SLIDE]
    return new_notebook(cells=list(shown))


def pages(notebook: NotebookNode) -> list[list[NotebookNode]]:
    """The pieces of a notebook, page by page."""
    found: list[list[NotebookNode]] = []
    for part in slides.paged(notebook).cells:
        if part.metadata.slideshow.slide_type != "-":
            found.append([])
        found[-1].append(part)
    return found


def shown(parts: list[NotebookNode]) -> str:
    """The paragraphs of some cells one after the other."""
    return "\n\n".join(part.source for part in parts if part.cell_type == "markdown")


def lines(text: str) -> list[str]:
    """What stands in it line by line, each line once: a table that goes on repeats its head."""
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def picture() -> NotebookNode:
    return new_output("display_data", data={"image/png": "aaaa", "text/plain": "<Figure>"})


def test_a_heading_starts_a_slide_and_a_long_cell_goes_on_below() -> None:
    long = "# Title\n\n" + "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(12))
    notebook = book(new_markdown_cell(long), new_markdown_cell("## Next\n\nText."))
    kinds = [page[0].metadata.slideshow.slide_type for page in pages(notebook)]
    assert kinds == ["slide", *["subslide"] * (len(kinds) - 2), "slide"]
    assert len(kinds) > 3
    assert [part.source for part in pages(notebook)[-1]] == ["## Next", "Text."]


def test_a_heading_inside_a_cell_starts_a_slide_too() -> None:
    notebook = book(new_markdown_cell("So far.\n\n## Give it votes\n\nMany."))
    assert [len(page) for page in pages(notebook)] == [1, 2]


def test_a_figure_is_shown_without_its_code_and_what_is_printed_with_it() -> None:
    text = new_output("stream", name="stdout", text="correlation 0.98\n")
    plot = new_code_cell("plt.plot(x)", outputs=[text, picture()])
    printed, drawn = slides.paged(book(plot)).cells
    assert (printed.outputs, drawn.outputs) == ([text], [picture()])
    both = [printed, drawn]
    assert all(part.metadata.transient.remove_source for part in both)
    page = slides.html(new_notebook(cells=[plot]))
    assert "correlation 0.98" in page and "plt.plot" not in page
    assert "transient" not in plot.metadata


def test_code_and_what_it_prints_at_length_are_two_pages() -> None:
    text = new_output("stream", name="stdout", text="line\n" * 24)
    cell = new_code_cell("x = 1\n" * 6, outputs=[text])
    (code,), (output,) = pages(book(cell))
    assert code.outputs == [] and output.outputs == [text]


def test_long_code_is_not_shown_and_short_code_fills_no_page_with_more() -> None:
    text = new_output("stream", name="stdout", text="line\n")
    ((output,),) = pages(book(new_code_cell("x = 1\n" * 7, outputs=[text])))
    assert slides.shown_lines(output) == 0 and output.outputs == [text]
    four = [new_code_cell("x = 1\n" * 4, outputs=[text]) for _ in range(2)]
    assert [len(page) for page in pages(book(*four))] == [1, 1]
    three = [new_code_cell("x = 1\n" * 3, outputs=[text]) for _ in range(2)]
    assert [len(page) for page in pages(book(*three))] == [2]


def test_a_table_taller_than_a_page_goes_on_under_its_head() -> None:
    rows = [f"| {n} | {'word ' * 30}|" for n in range(30)]
    table = "\n".join(["| a | b |", "|---|---|", *rows])
    parts = [page[0].source for page in pages(book(new_markdown_cell(table)))]
    assert len(parts) > 1
    assert [line for part in parts for line in part.splitlines()[2:]] == rows
    assert all(part.startswith("| a | b |\n|---|---|\n") for part in parts)


def tagged_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [c for c in notebook.cells if slides.SLIDE in c.metadata.get("tags", [])]


@LECTURES
def test_nothing_of_the_tagged_cells_is_lost(path: Path) -> None:
    notebook = notebooks.read(path)
    before = copy.deepcopy(notebook)
    tagged = tagged_cells(notebook)
    parts = slides.paged(notebook).cells
    unfolded = re.sub(r"<details>.*?</details>", "", shown(tagged), flags=re.DOTALL)
    titles = {head for cell in notebook.cells for head in slides.headings(cell)}
    assert set(lines(shown(parts))) - titles == set(lines(unfolded)) - titles
    outputs = [
        o
        for c in tagged
        for o in c.get("outputs", [])
        if notebooks.WIDGET not in o.get("data", {}) or "image/png" in o.data
    ]
    assert sum(len(part.get("outputs", [])) for part in parts) == len(outputs)
    assert notebook == before


def test_what_is_not_tagged_stays_in_the_notebook() -> None:
    plot = new_code_cell("draw()", id="a-figure", metadata={"tags": ["hide-input"]})
    plot.outputs = [picture()]
    text = new_markdown_cell("## Exercise\n\nWhy?\n\n<details>\n\nSo.\n\n</details>")
    notebook = book(plot, text)
    notebook.cells.insert(1, new_code_cell("more"))
    parts = slides.paged(notebook).cells
    assert [part.source for part in parts] == ["draw()", "## Exercise", "Why?"]
    assert parts[0].metadata.transient.remove_source


def test_the_first_slide_of_a_section_has_its_title() -> None:
    untagged = new_markdown_cell("# All\n\n## One\n\nText.")
    notebook = book(new_code_cell("x"), new_code_cell("y"), new_markdown_cell("## Two\n\nSo."))
    notebook.cells.insert(0, untagged)
    found = [part.source for part in slides.paged(notebook).cells]
    assert found == ["## One", "x", "y", "## Two", "So."]


# --- decks for a hall ---------------------------------------------------------------------------

MOST_PAGES = 20


def unfit_for_a_hall(notebook: NotebookNode) -> list[str]:
    """Why the deck of a lecture is none to be shown to a hall."""
    deck, found = pages(notebook), []
    if not 0 < len(deck) <= MOST_PAGES:
        found.append(f"{len(deck)} pages")
    for page in deck:
        if sum(map(slides.shown_lines, page)) > slides.MOST_LINES:
            found.append("too much code")
        if any(map(is_check, page)):
            found.append("a check")
        if sum(map(slides.height, page)) > (slides.HEIGHT if len(page) == 1 else slides.ROOM):
            found.append("too tall")
    after = [*notebook.cells[1:], new_markdown_cell("")]
    for cell, following in zip(notebook.cells, after, strict=True):
        announces = cell.cell_type == "markdown" and cell.source.rstrip().endswith(":")
        tags = [slides.SLIDE in c.metadata.get("tags", []) for c in (cell, following)]
        if announces and tags == [True, False]:
            found.append("announces what is not shown")
    return found


def is_check(part: NotebookNode) -> bool:
    """Whether a piece calls the ledger and shows it, or shows what the ledger printed."""
    if part.cell_type == "markdown":
        return False
    printed = "".join(out.get("text", "") for out in part.outputs)
    code = part.source if slides.shown_lines(part) else ""
    return "ledger" in code or bool(re.search(r" (holds|refuted): ", printed))


@LECTURES
def test_the_deck_of_a_lecture_is_for_a_hall(path: Path) -> None:
    assert unfit_for_a_hall(notebooks.read(path)) == []


def outputs(text: str) -> list[NotebookNode]:
    return [new_output("stream", name="stdout", text=text)]


@pytest.mark.parametrize(
    ("notebook", "flaws"),
    [
        (book(new_code_cell("x", outputs=outputs("1\n"))), []),
        (new_notebook(cells=[new_markdown_cell("# A")]), ["0 pages"]),
        (book(*[new_markdown_cell(f"## {n}") for n in range(21)]), ["21 pages"]),
        (book(new_code_cell("ledger.true()")), ["a check"]),
        (book(new_code_cell("x", outputs=outputs("G4 numeric holds: a = b\n"))), ["a check"]),
        (book(new_markdown_cell("word " * 3000)), ["too tall"]),
        (book(new_markdown_cell("It is:")), ["announces what is not shown"]),
        (book(new_markdown_cell("It is:"), new_code_cell("x", outputs=outputs("1"))), []),
    ],
)
def test_a_deck_that_is_unfit_is_found(notebook: NotebookNode, flaws: list[str]) -> None:
    assert unfit_for_a_hall(notebook) == flaws


def test_code_that_is_too_much_for_a_page_is_found(monkeypatch) -> None:
    deck = book(new_code_cell("x = 1\n" * 4), new_code_cell("y = 1\n" * 4))
    monkeypatch.setattr(slides, "shown_lines", lambda part: 3)  # so that they share a page
    together = pages(deck)
    monkeypatch.undo()
    assert [sum(map(slides.shown_lines, page)) for page in together] == [8]
    monkeypatch.setitem(globals(), "pages", lambda notebook: together)
    assert unfit_for_a_hall(deck) == ["too much code"]


def test_a_slider_is_shown_as_its_picture() -> None:
    shown = {notebooks.WIDGET: {}, "image/png": "aaaa", "text/plain": notebooks.WIDGET_TEXT}
    slider = new_code_cell("", outputs=[new_output("display_data", data=shown)])
    (part,) = slides.paged(book(slider)).cells
    assert notebooks.WIDGET not in part.outputs[0].data


@LECTURES
def test_every_link_of_a_lecture_leads_somewhere_from_build_slides(path: Path) -> None:
    page = slides.html(notebooks.read(path), decks=DECKS)
    links = re.findall(r'href="(?!https:)([^"#]+)', page)
    assert links
    for link in links:
        deck = link.removesuffix(".html") in DECKS
        assert deck or (slides.TARGET / link).resolve().exists(), link


def test_a_link_leads_to_slides_where_there_are_some_and_to_the_notebook_where_not() -> None:
    text = "[before](02_derive.ipynb#cell-id=sum), $E[f](x)$, [all](../docs/claims.md)"
    there = "$E[f](x)$, [all](../../docs/claims.md)"
    assert slides.relinked(text, {"02_derive"}) == f"[before](02_derive.html), {there}"
    notebook = "../../notebooks/02_derive.ipynb#cell-id=sum"
    assert slides.relinked(text, set()) == f"[before]({notebook}), {there}"


def test_slides_work_without_the_web_where_the_packages_are_installed(tmp_path: Path) -> None:
    notebook = book(new_markdown_cell("# Title\n\n$x$"))
    assert slides.html(notebook, tmp_path).count('src="https://cdn.jsdelivr.net/npm/') == 3
    for package in slides.PACKAGES:
        folder = tmp_path / "node_modules" / package
        folder.mkdir(parents=True)
        (folder / "package.json").write_text("{}")
    page = slides.html(notebook, tmp_path)
    assert 'src="node_modules/mathjax/es5/tex-svg.js"' in page
    assert not re.search(r'(src|href)="http', page)


def test_the_slides_of_one_notebook_are_written(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(slides, "TARGET", tmp_path / "slides")
    assert slides.main(["--nb", "03"]) == 0
    (page,) = (tmp_path / "slides").iterdir()
    assert page.name == "03_derive_it_again_by_lagrange.html"
    assert "<section" in page.read_text("utf-8")
    assert capsys.readouterr().out == "slides of 1 notebook written to build/slides\n"
    assert slides.main(["--nb", "99"]) == "There is no notebook 99 in notebooks/."


# --- the deck of the session --------------------------------------------------------------------

BOOKS = {path.stem: notebooks.read(path) for path in notebooks.numbered()}
PLAN = slides.PLAN.read_text("utf-8")
MOST_SLIDES = 15


def deck() -> list[list[NotebookNode]]:
    """The slides of the session, each with its notes at the end."""
    found: list[list[NotebookNode]] = []
    for part in slides.session(BOOKS, PLAN).cells:
        if part.metadata.slideshow.slide_type == "slide":
            found.append([])
        found[-1].append(part)
    return found


def unfit(slide: list[NotebookNode]) -> list[str]:
    """Why a slide is none to be shown to a hall."""
    *shown, notes = slide
    code = [part for part in shown if part.cell_type == "code"]
    typed = [part.source for part in code if not slides._hidden(part)]
    printed = "".join(out.get("text", "") for part in code for out in part.outputs)
    found = []
    if sum(map(slides.shown_lines, code)) > slides.MOST_LINES:
        found.append("too much code")
    if any("ledger" in source for source in typed) or re.search(r" (holds|refuted): ", printed):
        found.append("a check")
    if sum(map(slides.height, shown)) > slides.HEIGHT:
        found.append("too tall")
    if not shown[0].source.startswith("#"):
        found.append("no title")
    if notes.metadata.slideshow.slide_type != "notes" or not notes.source:
        found.append("no notes")
    return found


def test_the_deck_of_the_session_is_for_a_hall() -> None:
    assert 0 < len(deck()) <= MOST_SLIDES
    assert {slide[0].source: unfit(slide) for slide in deck() if unfit(slide)} == {}


def test_the_deck_follows_the_plan() -> None:
    minutes = [int(re.match(r"\*\*Minutes (\d+)", slide[-1].source)[1]) for slide in deck()]
    assert minutes == sorted(minutes)
    rows = {int(start) for start in re.findall(r"(?m)^\| (\d+)–\d+ \|", PLAN.split("## Entry")[0])}
    assert rows - set(minutes) == {88}  # the exit ticket has none


def tagged(source: str, kind: str = "code", text: str = "1\n") -> list[list[NotebookNode]]:
    """The deck of one cell, to which a plan links."""
    make = new_markdown_cell if kind == "markdown" else new_code_cell
    outputs = {} if kind == "markdown" else {"outputs": [new_output("stream", text=text)]}
    cell = make(source, id="a", metadata={"tags": ["session"]}, **outputs)
    book = new_notebook(cells=[new_markdown_cell("## Head"), cell])
    plan = "## One session\n\n| 0–8 | Show. | Ask. | [00](x/00_b.ipynb#cell-id=a) |\n"
    return [slides.session({"00_b": book}, plan).cells]


@pytest.mark.parametrize(
    ("slide", "flaws"),
    [
        (tagged("x = 1")[0], []),
        (tagged("## Own\n\nText.", "markdown")[0], []),
        ([*tagged("x = 1\n" * 4)[0][:-1], *tagged("y = 1\n" * 4)[0][1:]], ["too much code"]),
        (tagged("ledger.true()")[0], ["a check"]),
        (tagged("x", text="G4 numeric holds: a = b\n")[0], ["a check"]),
        (tagged("word " * 3000, "markdown")[0], ["too tall"]),
        (tagged("x = 1")[0][1:], ["no title"]),
        (tagged("x = 1")[0][:-1], ["no notes"]),
    ],
)
def test_a_slide_that_is_unfit_is_found(slide: list[NotebookNode], flaws: list[str]) -> None:
    assert unfit(slide) == flaws


def test_notes_are_for_the_speaker() -> None:
    (slide,) = tagged("x = 1")
    assert slide[-1].source == "**Minutes 0–8.** Show.\n\n*Students:* Ask."
    page = slides.written(slides.session(BOOKS, PLAN), slides.TARGET)
    assert page.count('<aside class="notes">') == len(deck())
    assert "plugin/notes/notes.js" in page
