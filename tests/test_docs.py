"""What `make docs` writes is fresh, and a notebook that moves takes every link with it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from test_documentation import broken_links

from tools import docs, notebooks, project

ROOT = notebooks.ROOT
PROJECT = project.read()
NUMBER = re.compile(r"[Nn]otebooks? \d\d")


def test_what_make_docs_writes_is_fresh() -> None:
    stale = [path for path, text in docs.fresh().items() if path.read_text("utf-8") != text]
    assert stale == [], "run `make docs`"


def prose(path: Path) -> str:
    """The text of a document or of a notebook's markdown, without links and code."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(c.source for c in notebooks.read(path).cells if c.cell_type == "markdown")
    return re.sub(r"\[[^\]]*\]\([^)]*\)|```.*?```|`[^`]*`", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("path", docs.fresh(), ids=lambda path: path.stem)
def test_a_notebook_is_named_by_a_link_so_that_its_number_follows(path: Path) -> None:
    assert path.name == "CHANGELOG.md" or NUMBER.findall(prose(path)) == []


@pytest.mark.parametrize("name", PROJECT.lectures)
def test_a_lecture_is_practised_in_an_assignment(name: str) -> None:
    assert docs.checks_line(PROJECT, name)


def test_a_number_in_prose_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("See notebook 07, [notebook 08](08_x.ipynb) and `notebook 09`.")
    assert NUMBER.findall(prose(page)) == ["notebook 07"]


# --- a course that is rearranged ----------------------------------------------------------------


def test_a_notebook_takes_the_number_of_its_place_in_the_list(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(notebooks, "rooms", lambda: (["a", "to_come", "b"], ["c"]))
    for name in ("01_a", "02_b", "99_c"):
        (tmp_path / f"{name}.ipynb").write_text(name[-1])
    docs.renumber(tmp_path)
    found = sorted(tmp_path.iterdir())
    assert [path.stem for path in found] == ["00_a", "02_b", "03_c"]
    assert [path.read_text() for path in found] == ["a", "b", "c"]


def test_a_notebook_outside_the_list_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(notebooks, "rooms", lambda: (["a"], []))
    (tmp_path / "01_b.ipynb").touch()
    with pytest.raises(SystemExit, match=r"Expected every notebook in rooms.toml, found none for"):
        docs.renumber(tmp_path)
    assert (tmp_path / "01_b.ipynb").exists()


@pytest.mark.parametrize(
    ("link", "fresh"),
    [
        ("[99](99_change_the_loss.ipynb)", "[{n}]({n}_change_the_loss.ipynb)"),
        ("[Notebook 99](99_change_the_loss.ipynb)", "[Notebook {n}]({n}_change_the_loss.ipynb)"),
        ("[99 Old](../x/99_change_the_loss.ipynb#cell-id=a)",
         "[{n} Change the loss](../x/{n}_change_the_loss.ipynb#cell-id=a)"),
        ("[here](99_change_the_loss.ipynb)", "[here]({n}_change_the_loss.ipynb)"),
        ("[99](99b_change_the_loss.ipynb)", "[{n}]({n}_change_the_loss.ipynb)"),
        ("[99](99_of_nobody.ipynb)", "[99](99_of_nobody.ipynb)"),
    ],
)  # fmt: skip
def test_a_link_shows_where_a_notebook_is(link: str, fresh: str) -> None:
    number = PROJECT.number("change_the_loss")
    assert docs.linked(PROJECT, f"see {link}.") == f"see {fresh.format(n=number)}."


def test_ids_in_a_row_are_a_range() -> None:
    assert docs.claims_in_words(["G1", "G2", "G3", "G5", "M2", "M3"]) == "G1 to G3, G5, M2 and M3"


def test_what_stands_between_markers_is_written_anew() -> None:
    text = "There are <!-- assignments -->99<!-- /assignments -->."
    written = docs.document_text(PROJECT, text)
    number = docs.in_words(len(PROJECT.assignments))
    assert written == f"There are <!-- assignments -->{number}<!-- /assignments -->."


def test_where_the_site_is_published_each_notebook_has_a_link_to_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = tmp_path / "pyproject.toml"
    suite.write_text('[project]\nurls.Documentation = "https://a.b/dpo/"\n')
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    table = docs.rooms(PROJECT, "notebooks/", docs.address())
    suite.write_text("[project]\n")
    assert docs.address() == "" and "[page]" not in docs.rooms(PROJECT, "notebooks/", "")
    pages = re.findall(r"notebooks/(\w+)\.ipynb\) · \[page\]\(https://a\.b/dpo/(\S+)\)", table)
    assert pages == [
        (x.path.stem, f"notebooks/{x.path.stem}.html") for x in PROJECT.lectures.values()
    ]


PARTS = ("notebooks", "exercises", "docs", "tools", "dpo_edu", "benchmarks", "proofs")


def copied(folder: Path) -> None:
    """The parts of the project that name notebooks, and what `make docs` reads."""
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy(path, folder)


@pytest.mark.slow
def test_moving_a_notebook_takes_one_command(tmp_path: Path) -> None:
    copied(tmp_path)
    order = tmp_path / "notebooks" / "rooms.toml"
    line = '    "change_the_leash",\n'
    others = order.read_text().replace(line, "")
    order.write_text(others.replace('    "change_the_loss"', f'{line}    "change_the_loss"'))
    path = notebooks.numbered("change_the_loss")[0].name
    for printed in (f"{path} is now {int(path[:2]) + 1}", ""):
        command = [sys.executable, "-m", "tools.docs"]
        env = {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.stdout.startswith(printed), done.stderr
    assert done.stdout == ""
    for text in (*tmp_path.rglob("*.md"), *tmp_path.glob("[ne]*/**/*.ipynb")):
        source = text.read_text("utf-8")
        if text.suffix == ".ipynb":
            cells = nbformat.reads(source, 4).cells
            source = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
            source = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", "", source, flags=re.DOTALL)
        assert [x for x in broken_links(text.parent, source, text) if ".ipynb" in x] == [], text
