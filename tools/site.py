"""Make the site in build/site from the notebooks, the documents, the assignments, the docstrings.

python -m tools.site [--jobs 2] [--pdf]

The committed outputs are shown as they are; nothing is executed. What Sphinx reads is laid out in
build/site-source: there links lead from page to page, every cell can be linked to, words of the
glossary say what they mean, and claims lead to the cells that bear them out. MathJax and Pyodide
come from npm's registry into build/npm, once; the site itself asks nothing of any other host.
"""

import argparse
import base64
import html
import io
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from PIL import Image
from tqdm import tqdm

from dpo_edu import ledger
from tools import apidoc, docs, live, notebooks, npm, project, terms

ROOT = notebooks.ROOT
SOURCE, TARGET = notebooks.BUILD / "site-source", notebooks.BUILD / "site"
STATIC, EXTRA = notebooks.BUILD / "site-static", notebooks.BUILD / "site-extra"
PDF = notebooks.BUILD / "pdf"
PACKAGES = {"mathjax": "4.1.3", "@mathjax/mathjax-newcm-font": "4.1.3"}
# What the pages load of them, and where it lies under _static.
MATHJAX = ("startup.js", "core.js", "input/tex.js", "input/tex", "output/chtml.js", "ui/lazy.js")
MATHJAX += ("a11y/assistive-mml.js", "LICENSE")
FONT = ("chtml", "chtml.js")
PAGE, PLACE = "to", "at"  # schemes of links that are ready, as site/conf.py tells Sphinx
ORDER = ["questions", "checklist", "glossary", "notation", "claims", "certified", "errata"]
ORDER += ["proofs", "audit", "projects", "teaching", "peer_questions", "cheat_sheet"]
ORDER += ["exam", "exam_solutions", "benchmarks", "scaling", "references"]
OTHERS = ("CONTRIBUTING.md", "CHANGELOG.md")
FOLDERS = {"exercises/student": "exercises/index", "proofs": "docs/proofs"}  # shown by a page
TARGET_OF_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
SHEET = {
    "paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True, "generateTaggedPDF": True,
    "generateDocumentOutline": True, "displayHeaderFooter": True, "headerTemplate": "<span></span>",
    "footerTemplate": '<div style="font-size: 8px; width: 100%; text-align: center">'
    '<span class="title"></span>, <span class="pageNumber"></span></div>',
}  # fmt: skip
TERM = re.compile(r"\[([^\[\]]+)\]\(([^)\s]*glossary\.md)\)")
PROOF = re.compile(r"(?m)^- ([SNTD]): ")


class Unfinished(Exception):
    """Why there is no site, in a sentence."""


# --- packages -----------------------------------------------------------------------------------


def copied(source: Path, target: Path) -> None:
    """Copy a file or a folder, if it is not there yet."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def collect() -> None:
    """Put what the pages load beside them."""
    mathjax, font = (npm.packed(name, version) for name, version in PACKAGES.items())
    there = STATIC / "mathjax"
    for name in MATHJAX:
        copied(mathjax / name, there / name)
    for name in FONT:
        copied(font / name, there / "fonts" / "mathjax-newcm-font" / name)
    live.collect(STATIC / "live")


# --- links --------------------------------------------------------------------------------------


def page_of(path: PurePosixPath) -> str | None:
    """The page that shows a file or folder of the project, without its ending, or None."""
    name = str(path)
    if name in FOLDERS:
        return FOLDERS[name]
    if name == "README.md":
        return "index"
    if name.startswith("dpo_edu/") and path.suffix == ".py" and path.stem in modules():
        return f"_modules/dpo_edu/{path.stem}"
    shown = (path.suffix == ".ipynb" and "source" not in path.parts) or path.parts[0] == "docs"
    return str(path.with_suffix("")) if shown and path.suffix in (".ipynb", ".md") else (
        path.stem if name in OTHERS else None
    )  # fmt: skip


def relative(target: str, at: PurePosixPath) -> str:
    """A place of the site as it is linked to from a page."""
    return posixpath.relpath(target, str(at.parent))


def ready(link: str, at: PurePosixPath) -> str:
    """The target of a link in a file of the project, as it is on the site."""
    name, _, fragment = link.partition("#")
    if re.match(r"[a-z]+:", link) or not name:
        return link
    path = PurePosixPath(posixpath.normpath(str(at.parent / name)))
    page = page_of(path)
    if page and fragment and path.suffix == ".md":
        return f"{relative(page, at)}.md#{fragment}"  # Sphinx knows the headings
    if page or str(path).startswith("docs/playground/"):
        there = relative(f"{page}.html" if page else str(path), at)
        return f"{PLACE}:{there}#{fragment}" if fragment else f"{PAGE}:{there}"
    if path.suffix in (".gif", ".png", ".svg"):
        return link
    if not (ROOT / path).is_file():
        raise Unfinished(f"{at}: expected a page or a file, found none for {link}")
    copied(ROOT / path, EXTRA / "files" / path)
    return f"{PAGE}:{relative(f'files/{path}', at)}"


def anchor(term: str) -> str:
    """The anchor of a term in the glossary."""
    return "term-" + re.sub(r"\W+", "-", term.casefold()).strip("-")


def meanings() -> dict[str, str]:
    """What each term of the glossary means, as plain text."""
    text = terms.GLOSSARY.read_text("utf-8")
    return {
        match["term"]: re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", match["text"])
        for match in terms.ENTRY.finditer(text)
    }


def explained(text: str, at: PurePosixPath, means: Mapping[str, str]) -> str:
    """Text whose links to the glossary lead to the term and say on the spot what it means."""
    owners = terms.owners(terms.glossary())

    def link(match: re.Match[str]) -> str:
        term = owners.get(terms.key(match[1]))
        if term is None:
            return match[0]
        page = f"{relative('docs/glossary', at)}.html#{anchor(term)}"
        said = html.escape(means[term]).replace("|", "&#124;")
        return f'<a class="term" href="{page}" data-means="{said}">{match[1]}</a>'

    return TERM.sub(link, text)


def prose(text: str, at: PurePosixPath, means: Mapping[str, str]) -> str:
    """Markdown of a file of the project, for the site."""
    text = explained(text, at, means)
    return TARGET_OF_LINK.sub(lambda match: ready(match[1], at), text)


# --- pages --------------------------------------------------------------------------------------


def spot(cell: str) -> str:
    """The place to which a link with this cell's id leads."""
    return f'<div class="spot" id="cell-id={cell}"></div>'


def folded(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells with the section of further evidence in a fold."""
    shown: list[NotebookNode] = []
    within = False
    for cell in cells:
        heading = cell.cell_type == "markdown" and "\n## " in f"\n{cell.source}"
        if heading and within:
            shown.append(new_markdown_cell("</details>", id="more-end"))
            within = False
        shown.append(cell)
        if heading and notebooks.MORE in cell.source:
            title = f"{notebooks.MORE}\n\n<details>\n<summary>Show more evidence</summary>\n\n"
            cell.source = re.sub(rf"{notebooks.MORE}\n*", title, cell.source)
            within = True
    return shown


def book(notebook: NotebookNode, at: PurePosixPath, means: Mapping[str, str]) -> NotebookNode:
    """A notebook for the site: every cell can be linked to, and nothing in it needs a kernel."""
    shown = nbformat.from_dict(notebook)
    shown.metadata.pop("widgets", None)
    cells = []
    for place, cell in enumerate(shown.cells):
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(notebooks.WIDGET, None)
        if cell.cell_type == "markdown":
            cell.source = prose(cell.source, at, means)
            if place:  # the first begins with the title
                cell.source = f"{spot(cell.id)}\n\n{cell.source}"
        else:
            cells.append(new_markdown_cell(spot(cell.id), id=f"spot-{place}"))
        cells.append(cell)
    shown.cells = folded(cells)
    return shown


def bearers(paths: Mapping[str, NotebookNode]) -> dict[str, list[str]]:
    """For each claim the cells that bear it out, as links from docs/, in the page's order."""
    found: dict[str, list[str]] = {}
    for path, notebook in paths.items():
        for cell in notebook.cells:
            for one in ledger.evidence_in({"cells": [cell]}):
                place = f"{PLACE}:../{path.removesuffix('.ipynb')}.html#cell-id={cell.id}"
                found.setdefault(one.claim, []).append(place)
    return found


def claims_page(text: str, bear: Mapping[str, list[str]]) -> str:
    """The page of claims with a label at each claim and a badge at each line of evidence."""
    head, *parts = re.split(r"(?m)^(?=\*\*[A-Z]+\d+\*\* )", text)
    for place, part in enumerate(parts):
        claim = re.match(r"\*\*(\w+)\*\*", part)[1]
        cells = bear.get(claim, [])
        if len(PROOF.findall(part)) != len(cells):
            raise Unfinished(f"claim {claim}: expected a line for each of {len(cells)} checks")
        for cell in cells:
            part = PROOF.sub(rf"- [\1]({cell}){{.badge}} ", part, count=1)
        part = re.sub(r"(?m)^- F: ", "- [F]{.badge} ", part)
        parts[place] = f"(claim-{claim.lower()})=\n{part}"
    return "".join([head, *parts])


def glossary_page(text: str) -> str:
    """The glossary with an anchor at each term."""
    return terms.ENTRY.sub(
        lambda match: f'- <span id="{anchor(match["term"])}"></span>{match[0][2:]}', text
    )


def toctree(caption: str, entries: Mapping[str, str]) -> str:
    """A part of the contents: pages by title, or under their own where it is empty."""
    rows = [f"{title} <{page}>" if title else page for page, title in entries.items()]
    options = [f":caption: {caption}"] if caption else []
    return "\n".join(["```{toctree}", *options, ":hidden:", ":maxdepth: 1", "", *rows, "```", ""])


def home(suite: project.Project) -> str:
    """The first page: the README's beginning, its two commands, its map, and the contents."""
    text = (ROOT / "README.md").read_text("utf-8")
    found = re.fullmatch(
        r"(.*?)\*\*What is downloaded\.\*\*.*?(## What to read\n.*?)(?=^## ).*",
        text, re.DOTALL | re.MULTILINE,
    )  # fmt: skip
    if found is None:
        raise Unfinished("README.md: expected 'What is downloaded' and 'What to read'")
    road, side = notebooks.rooms()
    lectures = suite.lectures
    rooms = [
        {f"notebooks/{lectures[slug].path.stem}": lectures[slug].name for slug in part}
        for part in ([s for s in slugs if s in lectures] for slugs in (road, side))
    ]
    practice = {"exercises/index": "Assignments"}
    practice |= {"docs/projects": "", "docs/teaching": "", "play": "Playground"}
    documents = {f"docs/{name}": "" for name in ORDER if f"docs/{name}" not in practice}
    making = {"api/index": "Reference of the package"}
    making |= {path.removesuffix(".md"): "" for path in OTHERS}
    contents = [toctree("The road", rooms[0]), toctree("Side rooms", rooms[1])]
    contents += [toctree("Practise", practice), toctree("Look up", documents)]
    contents += [toctree("Behind it", making)]
    text = re.sub(r" · \[page\]\([^)]*\)", "", found[1] + found[2])  # it would lead back here
    return "\n".join([text, *contents])


def assignments(suite: project.Project) -> str:
    """The page of the assignments."""
    rows = docs.assigned(suite).replace("../exercises/", "")
    rows = re.sub(r"\((student/[^)]*)\)", lambda match: f"({match[1]})", rows)
    pages = {f"/{a.student.removesuffix('.ipynb')}": "" for a in suite.assignments}
    text = "Each task has a check that says in a sentence what is wrong, and three hints.\n"
    text += "To solve them, open them in JupyterLab: `make lab`.\n"
    return f"# Assignments\n\n{text}\n{rows}\n\n{toctree('', pages)}"


def play() -> str:
    """The page that leads to the playground."""
    return (
        "# Playground\n\nTurn β, change the loss, drag the reference, break the votes, and see "
        "where DPO goes: [open the playground](to:docs/playground/index.html).\n"
    )


def modules() -> list[str]:
    """The public modules of the package."""
    return sorted(path.stem for path in (ROOT / "dpo_edu").glob("[!_]*.py"))


def reference() -> dict[str, str]:
    """The pages of the package's reference."""
    pages = {f"api/{name}.rst": apidoc.page(name) for name in modules()}
    text = "# Reference of the package\n\nRewards, policies and references are arrays `(..., Y)`; "
    text += "see [notation](../docs/notation.md).\n\n"
    rows = []
    for name in modules():
        source = (ROOT / "dpo_edu" / f"{name}.py").read_text("utf-8")
        said = re.search(r'"""(.+?)(?:\n\n|""")', source, re.DOTALL)[1]
        rows.append([f"[`{name}`]({name}.rst)", docs_line(said)])
    tree = toctree("", {f"/api/{name}": name for name in modules()})
    return pages | {
        "api/index.md": f"{text}{docs.table(['module', 'what it holds'], rows)}\n\n{tree}"
    }


def docs_line(text: str) -> str:
    """A sentence of a docstring as one line of markdown."""
    text = " ".join(text.split())
    parts = re.split(r"(``[^`]+``)", text)
    typeset = [
        (apidoc.formula(p.strip("`")) or p.replace("``", "`")) if p.startswith("``") else p
        for p in parts
    ]
    return "".join(typeset).replace("|", "\\|")


def laid_out() -> dict[str, str]:
    """Every file that Sphinx reads, by its path."""
    suite, means = project.read(), meanings()
    books = {f"notebooks/{x.path.name}": x.book for x in suite.lectures.values()}
    done = {a.student: notebooks.read(ROOT / a.student) for a in suite.assignments}
    pages = {"index.md": home(suite), "exercises/index.md": assignments(suite), "play.md": play()}
    texts = {name: (ROOT / name).read_text("utf-8") for name in OTHERS}
    texts |= {f"docs/{p.name}": p.read_text("utf-8") for p in (ROOT / "docs").glob("*.md")}
    texts["docs/claims.md"] = claims_page(texts["docs/claims.md"], bearers(books))
    texts["docs/glossary.md"] = glossary_page(texts["docs/glossary.md"])
    for name, text in (pages | texts).items():
        pages[name] = prose(text, PurePosixPath(name), means)
    for name, one in (books | done).items():
        pages[name] = nbformat.writes(book(one, PurePosixPath(name), means)) + "\n"
    return pages | reference()


def lay_out() -> None:
    """Write those that have changed, and remove those that are no more."""
    for folder in (SOURCE / "docs" / "figures", EXTRA):
        shutil.rmtree(folder, ignore_errors=True)
    pages = laid_out()
    copied(ROOT / "docs" / "figures", SOURCE / "docs" / "figures")
    copied(ROOT / "docs" / "playground", EXTRA / "docs" / "playground")
    copied(live.WORKER, EXTRA / live.WORKER.name)
    for path in list(SOURCE.rglob("*.*")):
        read = path.suffix in (".md", ".rst", ".ipynb")
        if read and path.relative_to(SOURCE).as_posix() not in pages:
            path.unlink()
    for name, text in pages.items():
        path = SOURCE / name
        if not path.exists() or path.read_text("utf-8") != text:
            notebooks.save(path, text)


def build(jobs: int) -> None:
    """Have Sphinx make all pages afresh; a warning is an error."""
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-q",
        "-E",
        "-a",
        "-W",
        "-j",
        str(jobs),
    ]
    command += ["-c", str(ROOT / "site"), "-d", str(notebooks.BUILD / "site-doctrees")]
    shutil.rmtree(TARGET, ignore_errors=True)
    if subprocess.run([*command, str(SOURCE), str(TARGET)], cwd=ROOT).returncode:
        raise Unfinished("Sphinx warned or failed (above).")
    for path in (TARGET / "_images").glob("*.png"):
        notebooks.save(path, light(path.read_bytes()))


def light(png: bytes) -> bytes:
    """A figure in at most 256 colours: what nobody sees, and a third of the bytes."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
    with io.BytesIO() as buffer:
        picture.save(buffer, "PNG")
        return min(png, buffer.getvalue(), key=len)


# --- on paper -----------------------------------------------------------------------------------


def printed() -> None:
    """Print every notebook's page, its formulas typeset, and bind them into one file."""
    from pypdf import PdfWriter

    from tests import chromium

    if chromium.program() is None:
        raise Unfinished("Expected Chromium, which prints the pages: install it and run it again.")
    whole = PdfWriter()
    with chromium.served(TARGET) as address, chromium.opened() as page:
        page.prefers(color_scheme="light")
        for path in tqdm(notebooks.numbered(), desc="printing"):
            page.open(f"{address}/notebooks/{path.stem}.html")
            page.evaluate("complete().then(() => document.fonts.ready).then(() => true)")
            sheet = page.call("Page.printToPDF", **SHEET)
            target = PDF / f"{path.stem}.pdf"
            notebooks.save(target, base64.b64decode(sheet["data"]))
            whole.append(target)
    whole.compress_identical_objects()
    with (PDF / "dpo-edu.pdf").open("wb") as file:
        whole.write(file)


def main(arguments: list[str] | None = None) -> int | str:
    """Make the site."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes that read and write pages")
    parser.add_argument("--pdf", action="store_true", help="print the notebooks into build/pdf too")
    wished = parser.parse_args(arguments)
    if find_spec("myst_nb") is None:
        return "Expected the extra site: say `make site`, which installs it."
    try:
        collect()
        lay_out()
        build(wished.jobs)
        if wished.pdf:
            printed()
    except (Unfinished, npm.Unavailable) as reason:
        return str(reason)
    print(f"The site is in {TARGET.relative_to(ROOT).as_posix()}: open index.html there.")
    return 0


if __name__ == "__main__":
    notebooks.ended(main)
