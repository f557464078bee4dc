"""Slides come from the lecture notebooks as they are: nothing lost, nothing taller than a page."""

import copy
import re
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebooks, reading, slides

pytestmark = pytest.mark.slow

LECTURES = pytest.mark.parametrize("path", notebooks.numbered(), ids=lambda path: path.stem)

DECKS = {path.stem for path in notebooks.numbered()}


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
    notebook = new_notebook(cells=[new_markdown_cell(long), new_markdown_cell("## Next\n\nText.")])
    kinds = [page[0].metadata.slideshow.slide_type for page in pages(notebook)]
    assert kinds == ["slide", *["subslide"] * (len(kinds) - 2), "slide"]
    assert len(kinds) > 3
    assert [part.source for part in pages(notebook)[-1]] == ["## Next", "Text."]


def test_a_heading_inside_a_cell_starts_a_slide_too() -> None:
    notebook = new_notebook(cells=[new_markdown_cell("So far.\n\n## Give it votes\n\nMany.")])
    assert [len(page) for page in pages(notebook)] == [1, 2]


def test_a_figure_is_shown_without_its_code_and_what_is_printed_with_it() -> None:
    text = new_output("stream", name="stdout", text="correlation 0.98\n")
    plot = new_code_cell("plt.plot(x)", outputs=[text, picture()])
    printed, drawn = slides.paged(new_notebook(cells=[plot])).cells
    assert (printed.outputs, drawn.outputs) == ([text], [picture()])
    both = [printed, drawn]
    assert all(part.metadata.transient.remove_source for part in both)
    page = slides.html(new_notebook(cells=[plot]))
    assert "correlation 0.98" in page and "plt.plot" not in page
    assert "transient" not in plot.metadata


def test_long_code_and_what_it_prints_are_two_pages() -> None:
    text = new_output("stream", name="stdout", text="line\n" * 12)
    cell = new_code_cell("x = 1\n" * 22, outputs=[text])
    (code,), (output,) = pages(new_notebook(cells=[cell]))
    assert code.outputs == [] and output.outputs == [text]


def test_a_table_taller_than_a_page_goes_on_under_its_head() -> None:
    rows = [f"| {n} | {'word ' * 30}|" for n in range(30)]
    table = "\n".join(["| a | b |", "|---|---|", *rows])
    parts = [page[0].source for page in pages(new_notebook(cells=[new_markdown_cell(table)]))]
    assert len(parts) > 1
    assert [line for part in parts for line in part.splitlines()[2:]] == rows
    assert all(part.startswith("| a | b |\n|---|---|\n") for part in parts)


@LECTURES
def test_nothing_of_a_lecture_is_lost(path: Path) -> None:
    notebook = notebooks.read(path)
    before = copy.deepcopy(notebook)
    kept = slides.kept(notebook)
    parts = slides.paged(notebook).cells
    unfolded = re.sub(r"<details>.*?</details>", "", shown(kept), flags=re.DOTALL)
    assert lines(shown(parts)) == lines(unfolded)
    code = {c.source for c in kept if c.cell_type == "code" and not reading.is_folded(c)}
    assert {part.source for part in parts if part.cell_type == "code"} >= code
    outputs = [
        o
        for c in kept
        for o in c.get("outputs", [])
        if notebooks.WIDGET not in o.get("data", {}) or "image/png" in o.data
    ]
    assert sum(len(part.get("outputs", [])) for part in parts) == len(outputs)
    assert notebook == before


def test_what_is_folded_stays_in_the_notebook() -> None:
    folded = {"tags": ["hide-input"]}
    check = new_code_cell("ledger.numeric()", id="a-check", metadata=folded, outputs=[picture()])
    plot = new_code_cell("draw()", id="a-figure", metadata=folded, outputs=[picture()])
    more = [new_markdown_cell("## More evidence"), new_code_cell("more")]
    text = new_markdown_cell("## Exercise\n\nWhy?\n\n<details>\n\nSo.\n\n</details>")
    parts = slides.paged(new_notebook(cells=[check, plot, *more, text])).cells
    assert [part.source for part in parts] == ["draw()", "## Exercise", "Why?"]
    assert parts[0].metadata.transient.remove_source


def test_a_slider_is_shown_as_its_picture() -> None:
    shown = {notebooks.WIDGET: {}, "image/png": "aaaa", "text/plain": notebooks.WIDGET_TEXT}
    slider = new_code_cell("", outputs=[new_output("display_data", data=shown)])
    (part,) = slides.paged(new_notebook(cells=[slider])).cells
    assert notebooks.WIDGET not in part.outputs[0].data


@LECTURES
def test_no_page_of_a_lecture_is_overfull(path: Path) -> None:
    for page in pages(notebooks.read(path)):
        total = sum(slides.height(part) for part in page)
        assert total <= (slides.HEIGHT if len(page) == 1 else slides.ROOM), page[0].source


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
    notebook = new_notebook(cells=[new_markdown_cell("# Title\n\n$x$")])
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
MOST_SLIDES, MOST_LINES = 15, 6


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
    if sum(source.count("\n") + 1 for source in typed) > MOST_LINES:
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
        (tagged("x = 1\n" * 7)[0], ["too much code"]),
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
