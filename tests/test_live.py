"""The derivation in the page: which cells derive without NumPy, and that a browser derives them."""

import ast
import html
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import pytest
from chromium import Page
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output
from test_layering import imported
from test_playground import foreign

from dpo_edu.ledger import evidence_in
from tools import live, notebooks, npm

FILES = sorted(path for path in live.SOURCE.iterdir() if path.is_file())
STEMS = [path.stem for path in notebooks.numbered()]
LAGRANGE = "03_derive_it_again_by_lagrange"
LOSS = "05_derive_the_dpo_loss"


def in_browser(test: Any) -> Any:
    """A test that opens Chromium on a page for which npm has fetched Pyodide."""
    needs = pytest.mark.skipif(shutil.which("npm") is None, reason=npm.NO_NPM)
    return pytest.mark.browser(pytest.mark.slow(needs(test)))


def notebook(number: str) -> NotebookNode:
    (path,) = notebooks.numbered(number)
    return notebooks.read(path)


# --- which cells derive -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "needed", "bound"),
    [
        ("a = b + c", {"b", "c"}, {"a"}),
        ("a = 1\nb = a", set(), {"a", "b"}),
        ("a = a + 1", {"a"}, {"a"}),
        ("a += 1", {"a"}, {"a"}),
        ("for x in b:\n    a += x", {"a", "b"}, {"a", "x"}),
        ("def f():\n    a = 0\n    a += 1\n    return a", set(), {"f"}),
        ("a[0].b = 1", {"a"}, {"a"}),
        ("a[b] = 1", {"a", "b"}, {"a"}),
        ("def f(x, y=a):\n    z = x\n    return f(z) + b", {"a", "b"}, {"f"}),
        ("[x * a for x in b]", {"a", "b"}, set()),
        ("for x in a:\n    y = x", {"a"}, {"x", "y"}),
        ("import a.b as c, d.e\nfrom f import g", set(), {"c", "d", "g"}),
    ],
)
def test_names_that_code_needs_and_binds(code: str, needed: set[str], bound: set[str]) -> None:
    assert live.names(code) == (needed, bound)


def test_the_symbolic_part_of_the_package_needs_no_numpy() -> None:
    for module in live.LEDGER:
        assert barred(module) == set()
    assert barred("_compare") == {"numpy", "dpo_edu._checks"}  # one that does


def barred(module: str) -> set[str]:
    """What a module imports when it is imported itself, and the page's browser lacks."""
    found = set()
    for node in ast.parse((live.PACKAGE / f"{module}.py").read_text("utf-8")).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= imported(ast.unparse(node))
    return {name for name in found if not live._has(name)}


def of(*sources: str) -> NotebookNode:
    """A notebook of these cells, the first of them the imports; a last `shown` is LaTeX."""
    start = "import numpy as np, sympy as sp\nfrom dpo_edu import gibbs, symbolic\n"
    start += "from dpo_edu.ledger import Ledger\n\nledger = Ledger()\nnumbers = np.ones(3)"
    cells = [new_code_cell(source, id=f"c{k}") for k, source in enumerate([start, *sources])]
    for cell in cells:
        if cell.source.endswith("shown"):
            latex = {"text/latex": "$x$", "text/plain": "x"}
            cell.outputs = [new_output("execute_result", data=latex, execution_count=1)]
    return new_notebook(cells=cells)


CHECK = 'ledger.symbolic("G4", 1, 1)'


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ([CHECK], {"c0": 1, "c1": 0}),
        (["shown"], {}),  # nothing is checked
        (["shown = sp.S(1)\nshown", CHECK], {"c0": 1, "c1": 0, "c2": 0}),
        (["x = numbers.sum()\nshown = x\nshown", CHECK], {"c0": 1, "c2": 0}),
        (["x = gibbs.log_partition", f"x\n{CHECK}"], {"c0": 1, "c2": 1}),
        (["x = numbers", "x = 2", "x = np.pi", f"{CHECK}\nx"], {"c0": 1, "c4": 1}),
        (["x = numbers", "x = 2", f"y = x\n{CHECK}"], {"c0": 1, "c2": 0, "c3": 0}),
        (["x = 1", "x[0] = numbers", f"x\n{CHECK}"], {"c0": 1, "c3": 1}),
        (["def f():\n    return numbers", f"f()\n{CHECK}"], {"c0": 1, "c2": 1}),
        (
            ["x = 1", "def f():\n    return x", f"f()\n{CHECK}"],
            {"c0": 1, "c1": 0, "c2": 0, "c3": 0},
        ),
        (['ledger.numeric("G4", 1, 1)'], {}),
        (['ledger.true("G4", "N", 2, ">", 1)'], {}),
        (['ledger.true("G4", "S", 2, ">", 1)'], {"c0": 1, "c1": 0}),
        ([CHECK, "ledger.summary()"], {"c0": 1, "c1": 0}),
        (["import math", f"math.pi\n{CHECK}"], {"c0": 1, "c1": 0, "c2": 0}),
        (["y = 1", CHECK], {"c0": 1, "c2": 0}),  # nobody reads y
    ],
)
def test_statements_that_need_numpy_are_left_out(sources: list[str], found: dict[str, int]) -> None:
    cells = {cell.id: cell.left_out for cell in live.derivation(of(*sources))}
    assert cells == found


def test_of_an_import_what_the_browser_has_is_kept() -> None:
    first, _ = live.derivation(of(CHECK))
    assert first.code.splitlines()[:2] == ["import sympy as sp", "from dpo_edu import symbolic"]


def test_the_cells_that_derive_on_the_road() -> None:
    found = {number: [c.id for c in live.derivation(notebook(number))] for number in ("03", "06")}
    assert found["03"] == [
        "imports", "lagrangian", "stationarity", "solve", "stationarity-check", "factor",
        "multiplier", "policy", "multiplier-check", "hessian", "hessian-check", "border-slope",
        "border-slope-check",
    ]  # fmt: skip
    assert found["06"] == []  # it trains
    second = {cell.id: cell for cell in live.derivation(notebook("02"))}
    assert {"objective", "star", "complete-check", "kl-phi-check"} <= set(second)
    assert not {"gibbs-numbers", "solver", "price-check", "tangent-figure"} & set(second)
    assert second["complete-check"].code == second["complete-check"].source
    mixed = second["summit-value-check"]
    assert (mixed.left_out, "J(pi*) = beta log Z" in mixed.code) == (3, True)
    assert "star8" not in mixed.code and "ledger.numeric" not in mixed.code


@pytest.mark.parametrize("stem", STEMS)
def test_every_symbolic_check_of_the_suite_is_derived(stem: str) -> None:
    nb = notebook(stem[:2])
    symbolic = [e for e in evidence_in(nb) if e.means == "S"]
    ids = {cell.id for cell in live.derivation(nb)}
    inside = evidence_in({"cells": [cell for cell in nb.cells if cell.id in ids]})
    assert [e for e in inside if e.means == "S"] == symbolic


# --- running them, without a browser ------------------------------------------------------------

WITHOUT = """
import json, sys
sys.modules |= dict.fromkeys(("numpy", "scipy", "matplotlib", "torch", "cvxpy"))
sys.path.insert(0, sys.argv[1])
import session
for cells in json.load(sys.stdin):
    one = session.install()
    print(json.dumps([json.loads(one.run(place, code)) for place, code in enumerate(cells)]))
"""


def derived(*runs: list[str]) -> list[list[list[dict[str, str]]]]:
    """What sessions say to their cells where there is no NumPy, and IPython is the page's."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(live.SOURCE)],
        input=json.dumps(runs), capture_output=True, text=True, check=True, cwd=notebooks.ROOT,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def departures(cell: live.Cell, outputs: list[dict[str, str]]) -> list[str]:
    """What a cell says otherwise than what is committed; where it is whole, nothing may lack."""
    said = [output["text"].rstrip("\n") for output in outputs]
    if not cell.left_out:
        return [] if said == cell.committed else [*said, *cell.committed]
    rest = iter(cell.committed)
    return [text for text in said if text not in rest]


def run_without_numpy(stems: list[str]) -> list[str]:
    chosen = [cells for stem in stems if (cells := live.derivation(notebook(stem[:2])))]
    said = derived(*[[cell.code for cell in cells] for cells in chosen])
    pairs = [
        pair
        for cells, one in zip(chosen, said, strict=True)
        for pair in zip(cells, one, strict=True)
    ]
    return [f"{cell.id}: {text}" for cell, out in pairs for text in departures(cell, out)]


def test_the_derivations_say_without_numpy_what_is_committed() -> None:
    assert run_without_numpy(["02", "03", "05"]) == []


@pytest.mark.slow
def test_all_of_them_do() -> None:
    assert run_without_numpy(STEMS) == []


def test_another_result_is_noticed() -> None:
    cell = live.Cell("x", [], "", "", 0, 0, True, ["a", "b"])
    said = [{"text": "a"}, {"text": "b"}]
    assert departures(cell, said) == []
    assert departures(cell, said[:1]) and departures(cell, [*said, {"text": "c"}])
    mixed = live.Cell("x", [], "", "", 1, 0, True, ["a", "b"])
    assert departures(mixed, said[1:]) == []
    assert departures(mixed, said[::-1]) == ["a"] and departures(mixed, [{"text": "c"}]) == ["c"]


def test_an_edited_line_fails_with_the_ledgers_sentence() -> None:
    cells = [cell.code for cell in live.derivation(notebook("03"))]
    assert cells[4].count("- β) / β") == 1
    cells[4] = cells[4].replace("- β) / β", "+ β) / β")
    (outputs,) = derived(cells[:5])
    first, second = outputs[4]
    assert first["text"].startswith("G1  symbolic holds") and "<b>G1</b>" in first["html"]
    assert second["kind"] == "failed"
    assert (
        second["text"].startswith("claim G2: expected")
        and "Likely cause: a formula" in (second["text"])
    )


def test_a_session_shows_prints_and_complains_as_a_notebook_does() -> None:
    cells = ["x = 2", "print(x); print(3); x + 1", "x / 0", "def f(", "x = 5\n\ny", "None", "x"]
    (said,) = derived(cells)
    assert said == [
        [],
        [{"kind": "printed", "text": "2\n3\n"}, {"kind": "shown", "text": "3"}],
        [{"kind": "raised", "text": "ZeroDivisionError: division by zero (line 1)"}],
        [{"kind": "raised", "text": "SyntaxError: '(' was never closed (line 1)"}],
        [{"kind": "raised", "text": "NameError: name 'y' is not defined (line 3)"}],
        [],
        [{"kind": "shown", "text": "2"}],  # what failed has changed nothing
    ]


# --- what is written and fetched ----------------------------------------------------------------


def flaws(name: str, text: str) -> list[str]:
    """Addresses of other hosts, lines that are too long, and what a machine has made small."""
    return foreign(text) + [f"{name}: {x}" for x in text.splitlines() if len(x) > 100]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_modules_are_readable_and_name_no_other_host(path: Path) -> None:
    assert flaws(path.name, path.read_text("utf-8")) == []


def test_a_foreign_host_and_a_long_line_are_noticed() -> None:
    assert flaws("x", 'import("https://cdn.example.org/x.js")') != []
    assert flaws("x", "x" * 101) != []


def test_what_cannot_be_fetched_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(npm, "FOLDER", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(npm.Unavailable, match="Expected npm, which comes with Node.js"):
        npm.packed("pyodide", live.PYODIDE)
    failing = [sys.executable, "-c", "import sys; sys.exit('no route\\nto the registry')"]
    with pytest.raises(npm.Unavailable, match="Expected to fetch it, but .* says: to the registry"):
        npm.carried_out(failing, "it")
    monkeypatch.setattr(npm, "carried_out", lambda *_: pytest.fail("fetched again"))
    (tmp_path / "@a+b-1.0").mkdir()
    assert npm.packed("@a/b", "1.0") == tmp_path / "@a+b-1.0"


def test_the_wheels_are_the_pinned_ones() -> None:
    assert live.pinned() == {"mpmath": "1.3.0", "sympy": "1.14.0"}


# --- in a browser -------------------------------------------------------------------------------

CELL = """<div class="cell docutils container"><div class="cell_input docutils container">
<div class="highlight-ipython3 notranslate"><div class="highlight"><pre>{code}
</pre></div></div></div><div class="cell_output docutils container">{output}</div></div>"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{stem}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>:root {{ color-scheme: light dark; }} pre {{ overflow-x: auto; }}</style>
<link rel="stylesheet" href="live/live.css"><script type="module" src="live/live.js"></script>
<main>{cells}</main>"""


def drawn(stem: str) -> str:
    """A page with the cells of a notebook, in the markup that MyST-NB gives them."""
    cells = []
    for cell in notebook(stem[:2]).cells:
        if cell.cell_type == "code":
            said = "".join(f"<pre>{html.escape(live._plain(o))}</pre>" for o in cell.outputs)
            cells.append(CELL.format(code=html.escape(cell.source), output=said))
    return PAGE.format(stem=stem, cells="".join(cells))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small site: two notebooks that derive."""
    root = tmp_path_factory.mktemp("site")
    live.collect(root / "live")
    shutil.copy(live.WORKER, root)
    for stem in (LAGRANGE, LOSS):
        (root / f"{stem}.html").write_text(drawn(stem), "utf-8")
    return root


@pytest.fixture(scope="module")
def home(folder: Path) -> Iterator[str]:
    with chromium.served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium.opened() as tab:
        yield tab


STATUS = "document.querySelector('.live-start [role=status]').textContent"
BUTTON = "document.querySelector('.live-start button')"
ENDED = f"{BUTTON}.textContent === 'Run it again'"


def show(page: Page, home: str, stem: str = LAGRANGE, width: int = 1280) -> None:
    page.resize(width, 844 if width < 500 else 900, phone=width < 500)
    page.open(f"{home}/{stem}.html")
    page.wait(BUTTON)


def run(page: Page, home: str, stem: str = LAGRANGE, width: int = 1280) -> str:
    """Open a page, press the button, wait for the end: what is said then."""
    show(page, home, stem, width)
    page.evaluate(f"{BUTTON}.click()")
    page.wait(ENDED, 240)
    return str(page.evaluate(STATUS))


def edit(page: Page, number: int, old: str, new: str) -> None:
    """Change the code of a cell by hand and run from there by the keyboard."""
    box = f"document.querySelector('#live-{number}')"
    page.evaluate(f"{box}.closest('details').open = true")
    code = str(page.evaluate(f"{box}.value"))
    assert code.count(old) == 1
    page.evaluate(f"{box}.focus(); {box}.select()")
    page.call("Input.insertText", text=code.replace(old, new))
    page.evaluate(
        f"void new MutationObserver(() => {{ window.over = {ENDED}; }})"
        f".observe({BUTTON}, {{ childList: true }})"
    )
    page.press("Enter", control=True)
    page.wait("window.over", 30)
    page.evaluate("window.over = false")


@in_browser
@pytest.mark.parametrize(("stem", "cells", "checks"), [(LAGRANGE, 13, 9), (LOSS, 9, 20)])
def test_the_page_derives_what_is_committed(
    page: Page, home: str, stem: str, cells: int, checks: int
) -> None:
    said = run(page, home, stem)
    assert f"All {cells} cells ran, {checks} checks came out, every result as committed" in said
    hosts = [one for one in page.requests if not one.startswith((home, "data:", "blob:"))]
    assert hosts == [] and any(one.endswith("pyodide.asm.wasm") for one in page.requests)
    assert page.errors == []
    assert page.evaluate("document.querySelectorAll('.live-cell').length") == cells
    assert page.evaluate("document.querySelectorAll('.live-other, .live-wrong').length") == 0
    assert page.evaluate("document.querySelector('progress').value") == page.evaluate(
        "document.querySelector('progress').max"
    )
    after = page.evaluate(
        "[...document.querySelectorAll('.live-cell')].every((one) => one.parentElement.matches("
        "'div.cell') && one === one.parentElement.lastElementChild)"
    )
    assert after  # each below the committed output of its own cell


@in_browser
def test_an_edited_line_fails_in_the_page_and_can_be_mended_without_a_network(
    page: Page, home: str
) -> None:
    run(page, home)
    page.call(
        "Network.emulateNetworkConditions",
        offline=True, latency=0, downloadThroughput=0, uploadThroughput=0,
    )  # fmt: skip
    try:
        asked = len(page.requests)
        edit(page, 5, "- β) / β", "+ β) / β")
        alert = page.evaluate("document.querySelector('[role=alert]').textContent")
        assert "The check fails: claim G2: expected" in alert
        assert "Likely cause: a formula above this cell" in alert
        assert page.evaluate(STATUS).startswith("Cell 5 of 13: The check fails: claim G2")
        assert "Not run yet." in page.evaluate("document.querySelector('#live-6-cell').textContent")
        page.evaluate("document.querySelector('#live-5-cell .live-bar button + button').click()")
        page.wait(f"{STATUS}.startsWith('All 13 cells')", 240)
        edit(page, 2, "KL = total", "L2 = 1 / 0\nKL = total")
        assert page.evaluate(STATUS).startswith("Cell 2 of 13: Python says: ZeroDivisionError")
        assert len(page.requests) == asked and page.errors == []
    finally:
        page.call(
            "Network.emulateNetworkConditions",
            offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1,
        )  # fmt: skip


@in_browser
@pytest.mark.parametrize("worker", [True, False])
def test_a_page_that_has_derived_derives_again_when_the_site_is_gone(
    page: Page, folder: Path, worker: bool
) -> None:
    with chromium.served(folder) as address:
        run(page, address)
        if not worker:  # the negative control: nothing else keeps the page
            page.evaluate(
                "navigator.serviceWorker.getRegistration().then((one) => one.unregister())"
            )
    page.call("Network.setCacheDisabled", cacheDisabled=True)
    try:
        if worker:
            said = run(page, address)
            assert "All 13 cells ran, 9 checks came out, every result as committed" in said
        else:
            with pytest.raises((TimeoutError, RuntimeError)):
                run(page, address)
    finally:
        page.call("Network.setCacheDisabled", cacheDisabled=False)


@in_browser
def test_another_result_is_said_to_be_another(page: Page, home: str) -> None:
    run(page, home)
    edit(page, 2, "- 1)\nL", "- 1)\n2 * L")
    assert "as committed" not in page.evaluate(STATUS)
    assert "Here, not as committed" in page.evaluate(
        "document.querySelector('#live-2-cell').textContent"
    )


@in_browser
def test_everything_is_reached_by_the_keyboard_and_has_a_name(page: Page, home: str) -> None:
    show(page, home)
    page.press("Tab")
    assert page.evaluate(f"document.activeElement === {BUTTON}")
    page.press("Enter")
    assert page.evaluate("document.querySelector('progress').getAttribute('aria-label')")
    page.wait(ENDED, 240)
    assert page.evaluate(f"document.activeElement === {BUTTON}")  # the focus has not been lost
    page.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.press("Enter")
    page.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    page.press("Tab")  # the editor does not keep the key
    assert page.evaluate("document.activeElement.textContent") == "Run from here"
    nameless = page.evaluate(
        "[...document.querySelectorAll('.live-cell textarea')].filter((x) => !x.labels.length)"
        ".length + [...document.querySelectorAll('.live-start button, .live-cell button, summary')]"
        ".filter((x) => !x.textContent.trim()).length"
    )
    assert nameless == 0
    assert page.evaluate(
        "new Set([...document.querySelectorAll('[id]')].map((x) => x.id)).size"
    ) == page.evaluate("document.querySelectorAll('[id]').length")


@in_browser
def test_it_can_be_stopped_and_begun_anew(page: Page, home: str) -> None:
    show(page, home)
    for loading in ("true", "document.querySelector('progress').value > 0"):  # at once, and later
        page.evaluate(f"{BUTTON}.click()")
        page.wait(f"{BUTTON}.textContent === 'Stop' && {loading}")
        page.evaluate(f"{BUTTON}.click()")
        page.wait(ENDED, 10)
        assert page.evaluate(STATUS) == "Stopped. The next run begins anew."
    page.evaluate(f"{BUTTON}.click()")
    page.wait(f"{STATUS}.startsWith('All 13 cells')", 240)
    assert page.errors == []


CONTRAST = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((x) => x / 255)
    .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
    .reduce((sum, x, at) => sum + x * [0.2126, 0.7152, 0.0722][at], 0);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const ground = dark ? [18, 18, 18] : [255, 255, 255];
  return Math.min(...[...document.querySelectorAll(".live-start p, .live-cell label, .live-origin")]
    .map((node) => {
      const share = Number(getComputedStyle(node).opacity);
      const ink = parse(getComputedStyle(node).color).map((x, at) => (
        share * x + (1 - share) * ground[at]));
      const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    }));
})()"""


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_scrolls_sideways_and_all_is_legible(
    page: Page, home: str, scheme: str
) -> None:
    page.prefers(color_scheme=scheme)
    run(page, home, width=390)
    page.evaluate("document.querySelectorAll('.live-cell details').forEach((x) => x.open = true)")
    edit(page, 5, "- β) / β", "+ β) / β")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(CONTRAST) >= 4.5
    page.prefers(color_scheme="light")


@in_browser
def test_what_cannot_be_loaded_is_said(page: Page, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (wheel,) = (tmp_path / "live" / "wheels").glob("sympy*")
    wheel.unlink()
    with chromium.served(tmp_path) as address:
        said = run(page, address)
    assert said.startswith("Python could not go on:") and said.endswith(f"{wheel.name}: 404")


# A page with a fault, and the check that must notice it.
DERIVES, MENDED = (
    test_the_page_derives_what_is_committed,
    test_an_edited_line_fails_in_the_page_and_can_be_mended_without_a_network,
)
NAMED, PHONE = (
    test_everything_is_reached_by_the_keyboard_and_has_a_name,
    test_on_a_phone_nothing_scrolls_sideways_and_all_is_legible,
)
FAULTS = [
    ("worker.js", 'stage: "Starting SymPy" });',
     'stage: "" }); asked("https://example.invalid/x").catch(() => 0);',
     DERIVES, (LAGRANGE, 13, 9)),
    ("live.js", 'node.querySelector("pre")', "null", DERIVES, (LAGRANGE, 13, 9)),
    ("live.js", 'line.setAttribute("role", "alert")', "0", MENDED, ()),
    ("live.js", "same &&= at >= 0;", "", test_another_result_is_said_to_be_another, ()),
    ("live.js", "event.ctrlKey || event.metaKey", "event.altKey", MENDED, ()),
    ("live.js", "htmlFor: id, ", "", NAMED, ()),
    ("live.js", 'this.fail?.(new Error("stopped"));', "",
     test_it_can_be_stopped_and_begun_anew, ()),
    ("live.css", "width: 100%; padding: 0.5rem", "width: 700px; padding: 0.5rem",
     PHONE, ("light",)),
    ("live.css", "font-size: 0.8125rem; opacity: 0.85", "opacity: 0.4", PHONE, ("dark",)),
]  # fmt: skip


@in_browser
@pytest.mark.parametrize(
    ("name", "old", "new", "check", "given"),
    FAULTS,
    ids=[f"{name}: {old}" for name, old, *_ in FAULTS],
)
def test_a_page_with_a_fault_is_refused(
    page: Page,
    folder: Path,
    tmp_path: Path,
    name: str,
    old: str,
    new: str,
    check: Any,
    given: tuple[Any, ...],
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    source = (live.SOURCE / name).read_text("utf-8")
    assert source.count(old) == 1
    (tmp_path / "live" / name).write_text(source.replace(old, new), "utf-8")
    noticed = (AssertionError, TimeoutError, RuntimeError)
    with chromium.served(tmp_path) as address, pytest.raises(noticed):
        check(page, address, *given)
    page.prefers(color_scheme="light")
