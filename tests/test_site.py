"""The site: its links lead somewhere, and in a real browser every page is whole."""

import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import chromium
import nbformat
import numpy as np
import pytest
import test_live
from chromium import Page
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image, ImageChops

from dpo_edu import ledger
from tools import apidoc, notebooks, npm, project, site

AXE = ("axe-core", "4.14.1")
SHOTS = notebooks.BUILD / "screenshots"
MEGABYTES, SECONDS = 2.0, 1.0  # of a page
AT = PurePosixPath("notebooks/05_x.ipynb")
WIDTHS = {"wide": 1280, "phone": 390}
SCHEMES = {"wide": ("light", "dark"), "phone": ("dark",)}
COLOURS = ["color-contrast", "link-in-text-block"]  # what another scheme of the same page changes
PAGES = ["index.html", "play.html", "search.html", "CONTRIBUTING.html", "CHANGELOG.html"]
PAGES += [f"notebooks/{path.stem}.html" for path in notebooks.numbered()]
PAGES += [f"docs/{path.stem}.html" for path in sorted((notebooks.ROOT / "docs").glob("*.md"))]
PAGES += [
    path.relative_to(notebooks.ROOT).with_suffix(".html").as_posix()
    for path in sorted((notebooks.ROOT / "exercises" / "student").glob("*/*.ipynb"))
]
PAGES += ["exercises/index.html", "api/index.html", "py-modindex.html", "_modules/index.html"]
PAGES += [f"api/{name}.html" for name in site.modules()]


def built(test: Any) -> Any:
    """A test of the built site: not part of `make quick`."""
    return pytest.mark.site(pytest.mark.slow(test))


def in_browser(test: Any) -> Any:
    """A test of the built site in Chromium."""
    return pytest.mark.browser(built(test))


# --- what Sphinx is given -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "there"),
    [
        ("06_train_a_tabular_policy.ipynb", "to:06_train_a_tabular_policy.html"),
        ("06_x.ipynb#cell-id=run", "at:06_x.html#cell-id=run"),
        ("../docs/claims.md", "to:../docs/claims.html"),
        ("../docs/teaching.md#playground", "../docs/teaching.md#playground"),
        ("../README.md", "to:../index.html"),
        ("../docs/playground/index.html", "to:../docs/playground/index.html"),
        ("../exercises/student", "to:../exercises/index.html"),
        ("../dpo_edu/losses.py", "to:../_modules/dpo_edu/losses.html"),
        ("../CITATION.cff", "to:../files/CITATION.cff"),
        ("https://arxiv.org/abs/2305.18290", "https://arxiv.org/abs/2305.18290"),
        ("#cell-id=here", "#cell-id=here"),
    ],
)
def test_a_link_leads_to_a_page(
    link: str, there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "EXTRA", tmp_path)
    assert site.ready(link, AT) == there


def test_a_link_to_nothing_is_refused() -> None:
    with pytest.raises(site.Unfinished, match=r"no-such-file\.py"):
        site.ready("../no-such-file.py", AT)


def test_the_first_page_has_no_link_from_the_map_to_the_site_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, text = " · [page](https://a.b/x.html)", (site.ROOT / "README.md").read_text("utf-8")
    (tmp_path / "README.md").write_text(text.replace("00_start_here.ipynb) |", f"x.ipynb){page} |"))
    assert page in (tmp_path / "README.md").read_text()
    monkeypatch.setattr(site, "ROOT", tmp_path)
    home = site.home(project.read())
    assert "notebooks/x.ipynb) |" in home and page not in home


def test_a_figure_is_lighter_and_looks_the_same() -> None:
    shades = np.linspace(0, 255, 500 * 300).reshape(300, 500, 1) * [1, 0.5, 0.25]
    shown = Image.fromarray(shades.astype(np.uint8))
    with io.BytesIO() as buffer:
        shown.save(buffer, "PNG", compress_level=0)
        lighter = site.light(buffer.getvalue())
        assert len(lighter) < len(buffer.getvalue()) / 2
    apart = ImageChops.difference(shown, Image.open(io.BytesIO(lighter)).convert("RGB"))
    assert max(np.ptp(apart, axis=(0, 1))) <= 16
    assert site.light(lighter) == lighter


def test_a_word_of_the_glossary_says_what_it_means() -> None:
    text = 'the [Gradients](../docs/glossary.md) and the [word](../docs/glossary.md) "a|b"'
    found = site.explained(text, AT, {"gradient": 'a "slope" | more'})
    assert found == (
        'the <a class="term" href="../docs/glossary.html#term-gradient" '
        'data-means="a &quot;slope&quot; &#124; more">Gradients</a> '
        'and the [word](../docs/glossary.md) "a|b"'
    )
    assert set(site.meanings()) == set(site.terms.glossary())


CELL = re.compile(r"\]\((?:[\w./]*/)?(\d\d_\w+\.ipynb)#cell-id=([^)]*)\)")


def lost(text: str, ids: dict[str, set[str]]) -> list[str]:
    """Links to cells that are in no notebook of that name."""
    return [f"{name}#{cell}" for name, cell in CELL.findall(text) if cell not in ids.get(name, ())]


def test_every_cell_that_is_linked_to_exists() -> None:
    books = {path.name: notebooks.read(path) for path in notebooks.numbered()}
    ids = {name: {cell.id for cell in one.cells} for name, one in books.items()}
    texts = [cell.source for one in books.values() for cell in one.cells]
    texts += [path.read_text("utf-8") for path in (notebooks.ROOT / "docs").glob("*.md")]
    assert [link for text in texts for link in lost(text, ids)] == []
    assert lost("[a](../notebooks/00_a.ipynb#cell-id=b)", {"00_a.ipynb": {"c"}})
    assert lost("[a](../notebooks/00_a.ipynb#cell-id=b)", {"00_a.ipynb": {"b"}}) == []


def widget() -> nbformat.NotebookNode:
    """A notebook with a slider, a section of further evidence and a formula."""
    data = {notebooks.WIDGET: {"model_id": "1"}, "image/png": "AA=="}
    slider = new_code_cell("x", id="x", outputs=[new_output("display_data", data)])
    more = new_markdown_cell(f"{notebooks.MORE}\n\nIt holds.", id="more")
    end = new_markdown_cell("## Remember\n\nIt.", id="end")
    cells = [new_markdown_cell("# Title", id="title"), slider, more, end]
    return new_notebook(cells=cells, metadata={"widgets": {"state": 1}})


def test_a_notebook_is_shown_without_widgets_and_with_a_place_for_every_cell() -> None:
    shown = site.book(widget(), AT, {})
    text = nbformat.writes(shown)
    assert "widget" not in text and "image/png" in text
    sources = "\n".join(cell.source for cell in shown.cells)
    assert re.findall('id="cell-id=(.*?)"', sources) == ["x", "more", "end"]
    assert sources.index("<details>") < sources.index("It holds.") < sources.index("</details>")
    assert sources.index("</details>") < sources.index("## Remember")


def test_every_line_of_evidence_leads_to_its_cell() -> None:
    bear = {"G4": ["at:../notebooks/a.html#cell-id=b"]}
    text = "# Claims\n\n**G4** says  \nA; **holds**\n\n- N: it does\n- F: [`G4`](to:x)\n"
    found = site.claims_page(text, bear)
    assert "(claim-g4)=\n**G4** says" in found
    assert "- [N](at:../notebooks/a.html#cell-id=b){.badge} it does" in found
    with pytest.raises(site.Unfinished, match="claim G4: expected a line"):
        site.claims_page(text, {"G4": [*bear["G4"], "to:more"]})


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["``pi_ref exp(r/beta)``"], [":formula:`π<sub>ref</sub> exp(r/β)`"]),
        (["``(..., Y)`` and `x` and *so*"], ["``(..., Y)`` and `x` and *so*"]),
        (["a * b, |c|, d_"], [r"a \* b, \|c\|, d\_"]),
        ([">>> a * b"], [">>> a * b"]),
        (["a:", "", "    KL = sum pi_y"], ["a:", "", ".. raw:: html", ""]),
        (["a:", "", "    x = f(x)"], ["a:", "", "    ::", ""]),
    ],
)
def test_a_docstring_is_typeset(lines: list[str], found: list[str]) -> None:
    assert apidoc.restructured(lines)[: len(found)] == found


@pytest.mark.site
def test_evidence_is_drawn_with_a_link_to_its_claim() -> None:
    from types import SimpleNamespace
    from xml.etree import ElementTree

    from dpo_edu._badge import Badge

    def drawn(mime: str, content: dict[str, str]) -> Any:
        env = SimpleNamespace(sphinx_env=SimpleNamespace(docname="notebooks/a"))
        data = SimpleNamespace(mime_type=mime, content=content)
        return Badge.handle_mime(SimpleNamespace(renderer=env), data, inline=False)

    (line,) = drawn(ledger.EVIDENCE, vars(ledger.Evidence("G4", "N", "refuted", "a <= b", "c")))
    tree = ElementTree.fromstring(str(line))
    assert tree.attrib["classes"].split() == ["evidence", "refuted"]
    (link,) = tree.iter("pending_xref")
    assert link.attrib["reftarget"] == "claim-g4" and "".join(link.itertext()) == "G4"
    assert line.astext() == "G4 numeric, refuted: a ≤ b <i>(c)</i>"
    (line,) = drawn(ledger.HEADLINE, {"name": "KL", "value": "< 1"})
    assert line.astext() == "KL: &lt; 1"
    assert drawn("text/plain", {}) is None


@pytest.mark.site
def test_myst_nb_finds_the_renderer() -> None:
    from importlib.metadata import entry_points

    found = entry_points(group="myst_nb.mime_renderers", name="dpo-edu")
    assert {one.load().__name__ for one in found} == {"Badge"}


# --- the built pages ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def folder() -> Path:
    """The built site."""
    assert site.main([]) == 0
    return site.TARGET


class Anchors(HTMLParser):
    """The ids of a page and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        places = ("href", "src") if tag != "link" or given.get("rel") == "stylesheet" else ()
        self.links += [given[name] or "" for name in places if name in given]


def astray(folder: Path) -> list[str]:
    """Links between the pages of a folder that lead to no file or to no place in it."""
    pages = {path: Anchors(path.read_text("utf-8")) for path in folder.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in page.links:
            name, _, fragment = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            there = (path.parent / unquote(name.partition("?")[0])).resolve() if name else path
            ids = pages[there].ids if there in pages else {unquote(fragment)}
            if not there.is_file() or (fragment and unquote(fragment) not in ids):
                found.append(f"{path.relative_to(folder)}: {link}")
    return found


@built
def test_every_link_leads_somewhere(folder: Path) -> None:
    site_pages = folder.resolve()
    played = "docs/playground/"  # its fragments are settings
    assert [link for link in astray(site_pages) if not link.startswith(played)] == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    text = '<p id="a"><a href="#a">1</a><a href="#b">2</a><a href="c.html">3</a>'
    (tmp_path / "page.html").write_text(text + '<img src="no.png"><a href="page.html#a">4</a>')
    found = astray(tmp_path.resolve())
    assert found == ["page.html: #b", "page.html: c.html", "page.html: no.png"]


@built
def test_a_claim_leads_to_its_cells_and_they_lead_back(folder: Path) -> None:
    claims = (folder / "docs" / "claims.html").read_text("utf-8")
    for path in notebooks.numbered():
        page = (folder / "notebooks" / f"{path.stem}.html").read_text("utf-8")
        for cell in notebooks.read(path).cells:
            for one in ledger.evidence_in({"cells": [cell]}):
                assert f'href="../notebooks/{path.stem}.html#cell-id={cell.id}"' in claims
                assert f'href="../docs/claims.html#claim-{one.claim.lower()}"' in page


@built
def test_every_page_is_tested(folder: Path) -> None:
    every = {path.relative_to(folder).as_posix() for path in folder.rglob("*.html")}
    sources = {name for name in every if name.startswith("_modules/dpo_edu/")}
    assert every - sources - {"docs/playground/index.html"} == set(PAGES)


def named_hosts(folder: Path) -> list[str]:
    """Scripts, styles and pictures that the pages of a folder take from another host."""
    loaded = re.compile(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="((?:\w+:)?//[^"]+)"')
    texts = (path.read_text("utf-8") for path in folder.rglob("*.html"))
    return [host for text in texts for host in loaded.findall(text)]


@built
def test_no_page_names_another_host(folder: Path) -> None:
    assert named_hosts(folder) == []


def test_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<script src="//a.b/x.js"></script><a href="http://c.d">')
    assert named_hosts(tmp_path) == ["//a.b/x.js"]


# --- in a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def page() -> Iterator[Page]:
    with chromium.opened() as tab:
        tab.call("Network.setCacheDisabled", cacheDisabled=True)
        yield tab


@pytest.fixture(scope="session")
def home(folder: Path) -> Iterator[str]:
    with chromium.served(folder) as address:
        yield address


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return (npm.packed(*AXE) / "axe.min.js").read_text("utf-8")


# What is wrong with a page that is open and complete, in a list of sentences.
LOOK = r"""(() => {
  const found = [];
  const say = (what, where) => found.push(`${what}: ${String(where).trim().slice(0, 80)}`);
  for (const x of document.querySelectorAll("mjx-merror, [data-mjx-error]"))
    say("a formula with an error", x.closest("mjx-container")?.textContent ?? x.textContent);
  for (const x of document.querySelectorAll(".math"))
    if (!x.querySelector("mjx-container mjx-math")) say("a formula not typeset", x.textContent);
  const walk = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const at = walk.currentNode;
    if (at.parentElement.closest("pre, code, script, style, mjx-container")) continue;
    if (/\$[^$\d\s][^$]*\$|\$\$|\\\(|\\\[/.test(at.data)) say("a raw formula", at.data);
  }
  for (const x of document.querySelectorAll("img")) {
    if (!x.alt || /[0-9a-f]{16}|\.png|^_images/.test(x.alt)) say("no alternative text", x.src);
    if (!x.complete || !x.naturalWidth) say("a picture that is not there", x.src);
  }
  if (document.documentElement.scrollWidth > screen.width)  // innerWidth grows with the page
    say("wider than the window", document.documentElement.scrollWidth);
  return found;
})()"""


def show(page: Page, address: str, width: int) -> None:
    """Open a page at a width, with everything that is folded or lazy shown."""
    page.resize(width, 900, phone=width < 500)
    page.open(address)
    page.evaluate("window.complete ? complete().then(() => true) : true")


def flaws(page: Page, address: str) -> list[str]:
    """What is wrong with the page that is open, which came from an address."""
    host = re.match(r"\w+://[^/]+/", address)[0]
    found: list[str] = page.evaluate(LOOK)
    found += [f"an error: {text[:200]}" for text in page.errors]
    own = (host, "data:", f"blob:{host}")
    return found + [f"a request: {one}" for one in page.requests if not one.startswith(own)]


def violations(page: Page, axe: str, rules: list[str] | None = None) -> list[str]:
    """What axe-core finds serious or critical in the page that is open, by some rules or by all."""
    page.evaluate(f"window.axe ? true : (() => {{ {axe}; return true; }})()")
    options = json.dumps({"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {}))
    found = page.evaluate(
        f"axe.run(document, {options})"
        """.then((all) =>
      all.violations.filter((x) => ["serious", "critical"].includes(x.impact)).map((x) =>
        `${x.id}: ${x.nodes.slice(0, 3).map((y) => y.html.slice(0, 160)).join(" | ")}`))"""
    )
    return [str(text) for text in found]


def weight(page: Page) -> float:
    """The megabytes that the page that is open has loaded, its formulas included."""
    sizes = page.evaluate(
        "performance.getEntries().reduce((sum, x) => sum + (x.transferSize ?? 0), 0)"
    )
    return float(sizes) / 1e6


def pictured(page: Page, name: str) -> None:
    """Keep a picture of the page that is open."""
    notebooks.save(SHOTS / f"{name}.png", page.picture())


@in_browser
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole(page: Page, home: str, axe: str, name: str) -> None:
    address, wrong = f"{home}/{name}", []
    for kind, width in WIDTHS.items():
        page.prefers(color_scheme="light")
        show(page, address, width)
        wrong += [f"{kind}: {text}" for text in flaws(page, address)]
        if (size := weight(page)) >= MEGABYTES:
            wrong.append(f"{kind}: {size:.1f} megabytes")
        pictured(page, f"{name.removesuffix('.html').replace('/', '-')}-{kind}")
        for scheme, rules in zip(SCHEMES[kind], (None, COLOURS), strict=False):
            page.prefers(color_scheme=scheme)
            wrong += [f"{kind}, {scheme}: {text}" for text in violations(page, axe, rules)]
    assert wrong == []


PLANTED: list[tuple[str, str]] = [
    ('<img src="picture.svg">', "no alternative text"),
    ('<img src="picture.svg" alt="_images/0123456789abcdef01.png">', "no alternative text"),
    ('<img src="no.svg" alt="a">', "a picture that is not there"),
    ("<p>Here $x^2$ is meant.</p>", "a raw formula"),
    (r"<p>Here \(x\) is meant.</p>", "a raw formula"),
    ('<span class="math">x</span>', "a formula not typeset"),
    ("<mjx-merror>x</mjx-merror>", "a formula with an error"),
    ('<p style="width: 500px">x</p>', "wider than the window"),
    ('<script>console.error("x")</script>', "an error"),
    ("<script>undefined.x</script>", "an error"),
    ('<script src="no.js"></script>', "an error"),
    ('<script src="http://localhost:9/x.js"></script>', "a request"),
]


def planted(folder: Path, body: str) -> None:
    """A small page with something in it."""
    picture = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
    (folder / "picture.svg").write_text(picture)
    (folder / "favicon.ico").write_text("")
    head = '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">'
    (folder / "page.html").write_text(f"{head}<title>x</title><article><h1>x</h1>{body}</article>")


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize(("body", "flaw"), [("<p>It costs 5 $.</p>", ""), *PLANTED])
def test_a_flaw_of_a_page_is_found(page: Page, tmp_path: Path, body: str, flaw: str) -> None:
    planted(tmp_path, body)
    with chromium.served(tmp_path) as address:
        show(page, f"{address}/page.html", 390)
        found = flaws(page, f"{address}/page.html")
    assert {text.partition(":")[0] for text in found} >= ({flaw} if flaw else set())
    assert bool(found) == bool(flaw)


@in_browser
@pytest.mark.parametrize(
    ("body", "flaw"),
    [
        ('<p style="color: #bbb; background: #fff">faint</p>', "color-contrast"),
        ('<input name="x">', "label"),
        ('<div style="height: 9px; overflow: auto"><p>a</p><p>b</p></div>', "scrollable"),
    ],
)
def test_a_barrier_is_found(page: Page, axe: str, tmp_path: Path, body: str, flaw: str) -> None:
    planted(tmp_path, body)
    with chromium.served(tmp_path) as address:
        show(page, f"{address}/page.html", 390)
        found, of_colours = violations(page, axe), violations(page, axe, COLOURS)
    assert any(text.startswith(flaw) for text in found)
    assert bool(of_colours) == (flaw == "color-contrast")


def sought(page: Page, address: str, words: str) -> list[str]:
    """The titles of the pages that the search finds."""
    page.open(f"{address}/search.html?q={words.replace(' ', '+')}")
    said = "document.querySelector('#search-results .search-summary')?.textContent ?? ''"
    page.wait(f"/finished|did not match/i.test({said})")
    found = page.evaluate(
        "[...document.querySelectorAll('#search-results li a')].map((x) => x.textContent)"
    )
    return [str(title) for title in found]


@in_browser
def test_search_finds_what_is_there(page: Page, home: str) -> None:
    assert "Complete the divergence" in sought(page, home, "partition function")
    assert sought(page, home, "zxqwv") == []


@pytest.mark.browser
@pytest.mark.slow
def test_a_heavy_page_is_weighed(page: Page, tmp_path: Path) -> None:
    planted(tmp_path, '<script src="big.js"></script>')
    (tmp_path / "big.js").write_text("//" + " " * 2_100_000)
    with chromium.served(tmp_path) as address:
        show(page, f"{address}/page.html", 1280)
        assert 2.1 < weight(page) < 2.2


def first_text(page: Page, address: str) -> float:
    """Seconds until a page shows its first text, the best of three visits."""
    times = []
    for _ in range(3):
        page.open(address)
        page.wait("performance.getEntriesByName('first-contentful-paint').length")
        times.append(
            page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        )
    return min(times) / 1000


@in_browser
def test_the_largest_page_can_be_read_soon(page: Page, folder: Path, home: str) -> None:
    largest = max(PAGES, key=lambda name: (folder / name).stat().st_size)
    page.resize(1280, 900)
    assert first_text(page, f"{home}/{largest}") < SECONDS


@pytest.mark.browser
@pytest.mark.slow
def test_a_slow_page_is_timed(page: Page, tmp_path: Path) -> None:
    wait = "const end = performance.now() + 1100; while (performance.now() < end);"
    planted(tmp_path, "")
    text = (tmp_path / "page.html").read_text()
    (tmp_path / "page.html").write_text(text.replace("<title>", f"<script>{wait}</script><title>"))
    with chromium.served(tmp_path) as address:
        assert first_text(page, f"{address}/page.html") > SECONDS


@in_browser
def test_a_word_says_what_it_means_when_pointed_at(page: Page, home: str) -> None:
    name = "notebooks/05_derive_the_dpo_loss.html"
    for width in WIDTHS.values():
        show(page, f"{home}/{name}", width)
        page.evaluate("document.querySelector('a.term').focus()")
        page.press("Tab")
        page.press("Tab", shift=True)
        shown = page.evaluate("getComputedStyle(document.activeElement, '::after').content")
        assert shown.strip('"') == page.evaluate("document.activeElement.dataset.means")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@in_browser
def test_a_page_derives_without_barriers_and_again_when_the_site_is_gone(
    page: Page, folder: Path, axe: str
) -> None:
    with chromium.served(folder) as address:
        first = test_live.run(page, f"{address}/notebooks", test_live.LAGRANGE)
        page.evaluate("document.querySelectorAll('.live-cell details').forEach(x => x.open = true)")
        for scheme in ("light", "dark"):
            page.prefers(color_scheme=scheme)
            assert violations(page, axe) == []
            pictured(page, f"derived-{scheme}")
        page.prefers(color_scheme="light")
    again = test_live.run(page, f"{address}/notebooks", test_live.LAGRANGE)
    assert first == again and "every result as committed" in again


@in_browser
def test_a_link_into_a_fold_opens_it(page: Page, home: str) -> None:
    page.resize(1280, 900)
    page.open(f"{home}/notebooks/02_complete_the_divergence.html")
    spot = page.evaluate("document.querySelector('details:not(.hide) .spot').id")
    page.open(f"{home}/notebooks/02_complete_the_divergence.html#{spot}")
    page.wait(f"document.getElementById('{spot}').closest('details').open")


@in_browser
def test_the_playground_is_there(page: Page, home: str) -> None:
    page.resize(1280, 900)
    page.open(f"{home}/docs/playground/index.html")
    page.wait("document.querySelector('#seen').textContent.startsWith('π*')")
    assert page.errors == []


@in_browser
def test_a_notebook_is_printed_with_its_formulas(
    page: Page, home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pypdf import PdfReader

    (path,) = notebooks.numbered("02")
    monkeypatch.setattr(site, "PDF", tmp_path)
    monkeypatch.setattr(notebooks, "numbered", lambda: [path])
    site.printed()
    for name in (path.stem, "dpo-edu"):
        text = "\n".join(x.extract_text() for x in PdfReader(tmp_path / f"{name}.pdf").pages)
        assert "Complete the divergence" in text and "Show solution" not in text
        assert "\\(" not in text and "𝜋" in text
