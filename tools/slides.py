"""Make slides of the cells of the lectures that are tagged for it: headings start a slide.

python -m tools.slides [--nb 07]

A deck for one session, session.html, is made of the cells tagged for it and of its plan in
docs/teaching.md.

All are written to build/slides and take reveal.js and MathJax from the web, or from
build/slides/node_modules if they are installed there (docs/teaching.md says how).
"""

import argparse
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_markdown_cell, new_notebook

from dpo_edu.ledger import counted
from tools import notebooks, reading

TARGET = notebooks.BUILD / "slides"
PACKAGES = {"reveal.js": "4.6.1", "mathjax": "3.2.2"}
WIDTH, HEIGHT = 1200, 800  # of a page in pixels, which the browser scales to its window
ROOM = 700  # of the height, for what `height` reckons only roughly
TEXT, CODE, LETTERS = 36, 24, 95  # height of a line of text and of code; letters in a line
MOST_LINES = 6  # of code on a page; longer code is not shown, what it prints and draws is
SLIDE = "slide"  # tag of the cells that the deck of a lecture shows
SESSION = "session"  # tag of the cells that the deck of a session shows, one a slide
PLAN = notebooks.ROOT / "docs" / "teaching.md"
LINK = re.compile(r"\]\((\.\./[\w./-]+|\w+\.ipynb)(#[^)\s]*)?\)")  # file and fragment

# The fonts and heights below are those that `height` reckons with. What is still too large for its
# page, a formula above all, is shrunk by `fit` when it is shown.
TEMPLATE = """
{%- extends 'reveal/index.html.j2' -%}
{% block html_head_js %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mathjax %}
<script>
MathJax = {tex: {inlineMath: [['$', '$'], ['\\\\(', '\\\\)']]}};
</script>
<script src="MATHJAX/es5/tex-svg.js"></script>
{% endblock %}
{% block html_head_css %}
<style>
:root { --jp-content-font-size1: 24px; --jp-code-font-size: 18px; --jp-cell-prompt-width: 0; }
.reveal { font-size: 24px; }
.reveal .slides, .reveal h1, .reveal h2 { text-align: left; text-transform: none !important; }
.reveal .slides section { padding: 0; }
.reveal pre { width: 100%; box-shadow: none; margin: 0; }
.jp-Notebook { padding: 0; }
.jp-Cell { padding: 6px 0; }
.jp-RenderedHTMLCommon h1 { font-size: 52px; }
.jp-RenderedHTMLCommon h2 { font-size: 38px; }
.jp-RenderedImage { justify-content: center; }
.jp-RenderedImage img { width: 1100px; max-width: none; height: 540px; object-fit: contain; }
</style>
{% endblock %}
{% block footer_js %}
<script src="{{ resources.reveal.url_prefix }}/dist/reveal.js"></script>
<script src="{{ resources.reveal.url_prefix }}/plugin/notes/notes.js"></script>
<script>
function fit(page) {
  page.style.zoom = 1;
  const right = [...page.querySelectorAll('mjx-container, pre, img')]
    .map(x => x.getBoundingClientRect().right - page.getBoundingClientRect().left);
  const width = Math.max(page.scrollWidth, ...right.map(x => x / Reveal.getScale()));
  page.style.zoom = Math.min(1, page.offsetWidth / width, SIZE / page.scrollHeight);
  Reveal.layout();
}
async function start() {
  await Reveal.initialize({width: PAGE, height: SIZE, margin: 0.03, hash: true, controls: false,
    slideNumber: 'c/t', transition: 'none',
    plugins: [RevealNotes]});
  await MathJax.startup.promise;
  fit(Reveal.getCurrentSlide());
  Reveal.on('slidechanged', event => fit(event.currentSlide));
  document.body.dataset.ready = 'yes';
}
start();
</script>
{% endblock %}
"""


def height(cell: NotebookNode) -> int:
    """About how many pixels a cell takes, at the sizes above."""
    if cell.cell_type == "markdown":
        return sum(map(_block_height, re.split(r"\n\s*\n", cell.source)))
    shown = 0 if _hidden(cell) else CODE * (cell.source.count("\n") + 1) + 20
    return shown + sum(map(_output_height, cell.outputs))


def _block_height(block: str) -> int:
    if block.startswith("#"):
        return 80
    if "$$" in block:
        return 100 + 45 * block.count("\\\\")
    rows = re.split(r"\n(?=[-*|]|\d+\. )", block)  # items and rows of a table begin a new line
    letters = [len(re.sub(r"\]\([^)]*\)|[\\{}^_]|mathcal|mathrm", "", row)) for row in rows]
    return TEXT * sum(-(-n // LETTERS) for n in letters) + 18


def _output_height(output: NotebookNode) -> int:
    data = output.get("data", {})
    if "image/png" in data:
        return 560
    if "text/latex" in data:
        return 60 + 45 * (1 + data["text/latex"].count("\\\\"))
    text = output.get("text", data.get("text/plain", ""))
    return CODE * (text.count("\n") + 1) + 4


def _hidden(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("transient", {}).get("remove_source"))


def tables(block: str) -> Iterator[str]:
    """A paragraph as it is; a table that is taller than a page in parts, each under its head."""
    head, rows = block.splitlines()[:2], block.splitlines()[2:]
    if not block.startswith("|") or _block_height(block) <= ROOM:
        yield block
        return
    part: list[str] = []
    for row in rows:
        if part and _block_height("\n".join([*head, *part, row])) > ROOM:
            yield "\n".join([*head, *part])
            part = []
        part.append(row)
    yield "\n".join([*head, *part])


def pieces(cell: NotebookNode) -> Iterator[NotebookNode]:
    """The parts into which a cell may fall: paragraphs; or code, and what it prints and draws."""
    if cell.cell_type == "markdown":
        text = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL).strip()
        blocks = [part for block in re.split(r"\n\s*\n", text) for part in tables(block)]
        for number, block in enumerate(blocks):
            yield new_markdown_cell(block, id=f"{cell.id}-{number}")
        return
    still = [from_dict(o) for o in cell.outputs]
    for output in still:
        output.get("data", {}).pop(notebooks.WIDGET, None)
    drawn = [o for o in still if "image/png" in o.get("data", {})]
    widgets = [o for o in still if o.get("data", {}).get("text/plain") == notebooks.WIDGET_TEXT]
    printed = [o for o in still if o not in drawn + widgets]
    hide = {"metadata": cell.metadata | {"transient": {"remove_source": True}}}
    # A picture is for the audience, its code for the reader of the notebook.
    if not drawn and not reading.is_folded(cell) and reading.lines(cell) <= MOST_LINES:
        whole = from_dict(cell | {"outputs": printed})
        if height(whole) <= ROOM:
            yield whole
            return
        yield from_dict(cell | {"outputs": []})
    for outputs in (printed, drawn):
        if outputs:
            yield from_dict(cell | {"outputs": outputs} | hide)


def headings(cell: NotebookNode) -> list[str]:
    """The titles in a cell, of the notebook and of its sections."""
    return re.findall(r"(?m)^##? .*$", cell.source) if cell.cell_type == "markdown" else []


def kept(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """The tagged cells, the first of a section after the section's title if it does not open it."""
    title = shown = ""
    for cell in notebook.cells:
        heads = headings(cell)
        if SLIDE in cell.metadata.get("tags", []):
            opens = bool(heads) and cell.source.startswith(heads[0])
            if title != shown and not opens:
                yield new_markdown_cell(title, id=f"title-of-{cell.id}")
            yield cell
            shown = heads[-1] if heads else title
        title = heads[-1] if heads else title


def paged(notebook: NotebookNode) -> NotebookNode:
    """The tagged cells in pieces, each told whether it starts a slide, a page below, or none."""
    parts = [p for c in kept(notebook) for p in pieces(c)]
    used, typed = ROOM, 0
    for number, part in enumerate(parts):
        heading = part.cell_type == "markdown" and re.match("##? ", part.source)
        used, typed = used + height(part), typed + shown_lines(part)
        stays = used <= ROOM and typed <= MOST_LINES and not heading
        if not stays:
            used, typed = height(part), shown_lines(part)
        kind = "-" if stays else "slide" if heading else "subslide"
        part.metadata.slideshow = NotebookNode(slide_type=kind)
        part.id = f"part-{number}"
    return NotebookNode(notebook | {"cells": parts})


def shown_lines(part: NotebookNode) -> int:
    """Lines of code that a piece shows."""
    return 0 if part.cell_type == "markdown" or _hidden(part) else reading.lines(part)


def spoken(plan: str) -> dict[tuple[str, str], str]:
    """What the speaker of a session has to say and ask, for each cell that its table links to."""
    table = plan.partition("## One session")[2].partition("\n## ")[0]
    rows = [
        line.strip("| ").split(" | ") for line in table.splitlines() if re.match(r"\| \d", line)
    ]
    return {
        (stem, cell): f"**Minutes {minutes}.** {said}\n\n*Students:* {asked}"
        for minutes, said, asked, links in rows
        for stem, cell in re.findall(r"(\w+)\.ipynb#cell-id=([\w-]+)", links)
    }


def marked(
    stem: str, notebook: NotebookNode
) -> Iterator[tuple[tuple[str, str], list[NotebookNode]]]:
    """For each cell of a session, what its slide shows: its section's title, and its pieces."""
    title = ""
    for cell in notebook.cells:
        heads = headings(cell)
        if SESSION in cell.metadata.get("tags", []):
            opened = heads and cell.source.startswith(heads[0])
            yield (stem, cell.id), [new_markdown_cell(title)] * (not opened) + list(pieces(cell))
        title = heads[-1] if heads else title


def session(books: Mapping[str, NotebookNode], plan: str) -> NotebookNode:
    """The deck of a session: a slide for each tagged cell, in the order of the plan, with notes."""
    notes, parts = spoken(plan), []
    order = {cell: place for place, cell in enumerate(notes)}
    slides = [slide for stem, book in books.items() for slide in marked(stem, book)]
    for cell, shown in sorted(slides, key=lambda slide: order.get(slide[0], len(order))):
        said = new_markdown_cell(notes.get(cell, ""))
        kinds = ["slide", *["-"] * (len(shown) - 1), "notes"]
        for part, kind in zip([*shown, said], kinds, strict=True):
            part.metadata.slideshow = NotebookNode(slide_type=kind)
            part.id = f"part-{len(parts)}"
            parts.append(part)
    return new_notebook(cells=parts)


def relinked(text: str, decks: Collection[str]) -> str:
    """Text of a lecture whose links lead from build/slides to other slides, or else to the file."""

    def there(found: re.Match[str]) -> str:
        stem = found[1].removesuffix(".ipynb")
        if stem in decks:
            return f"]({stem}.html)"
        return f"](../../{posixpath.normpath(f'notebooks/{found[1]}')}{found[2] or ''})"

    return LINK.sub(there, text)


def link(package: str, target: Path) -> str:
    """Where a page finds a JavaScript package: beside it, if installed, or on the web."""
    if (target / "node_modules" / package / "package.json").exists():
        return f"node_modules/{package}"
    return f"https://cdn.jsdelivr.net/npm/{package}@{PACKAGES[package]}"


def html(notebook: NotebookNode, target: Path | None = None, decks: Collection[str] = ()) -> str:
    """The slides of a notebook as a web page for a folder, where those of `decks` are too."""
    return written(paged(notebook), target or TARGET, decks)


def written(slides: NotebookNode, target: Path, decks: Collection[str] = ()) -> str:
    """Cells that say of themselves whether they start a slide, as a web page."""
    from jinja2 import DictLoader
    from nbconvert import SlidesExporter  # slow to import

    template = TEMPLATE.replace("MATHJAX", link("mathjax", target))
    template = template.replace("SIZE", str(HEIGHT)).replace("PAGE", str(WIDTH))
    for part in slides.cells:
        if part.cell_type == "markdown":
            part.source = relinked(part.source, decks)
    exporter = SlidesExporter(
        extra_loaders=[DictLoader({"slides.html.j2": template})],
        template_file="slides.html.j2",
        reveal_url_prefix=link("reveal.js", target),
        reveal_theme="white",  # the only one with its fonts beside it
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    return str(exporter.from_notebook_node(slides)[0])


def main(arguments: list[str] | None = None) -> int | str:
    """Write the slides of every notebook, or of one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nb", help="the number of one notebook")
    number = parser.parse_args(arguments).nb
    chosen = notebooks.numbered(number)
    if not chosen:
        return f"There is no notebook {number} in notebooks/."
    decks = {path.stem for path in [*chosen, *TARGET.glob("*.html")]}
    for path in chosen:
        notebooks.save(TARGET / f"{path.stem}.html", html(notebooks.read(path), decks=decks))
    if not number:
        books = {path.stem: notebooks.read(path) for path in chosen}
        deck = written(session(books, PLAN.read_text("utf-8")), TARGET, decks)
        notebooks.save(TARGET / f"{SESSION}.html", deck)
    print(f"slides of {counted(len(chosen), 'notebook')} written to build/slides")
    return 0


if __name__ == "__main__":
    notebooks.ended(main)
