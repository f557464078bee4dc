"""What is public is documented, and the documents tell the truth about the project."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from tools import notebooks

ROOT = notebooks.ROOT
MODULES = sorted((ROOT / "dpo_edu").glob("[!_]*.py"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
Definition = ast.FunctionDef | ast.ClassDef


def public(tree: ast.Module) -> list[tuple[str, Definition]]:
    """Public functions, classes and methods, by dotted name."""
    found = []
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            found.append((node.name, node))
            inner = node.body if isinstance(node, ast.ClassDef) else []
            methods = [m for m in inner if isinstance(m, ast.FunctionDef)]
            found += [(f"{node.name}.{m.name}", m) for m in methods if not m.name.startswith("_")]
    return found


def raises(node: ast.AST, ruled: bool) -> bool:
    """Whether a function raises what it should tell; under the rule a bad argument goes unsaid."""
    raised = [ast.unparse(n) for n in ast.walk(node) if isinstance(n, ast.Raise)]
    return any(not ruled or "_checks.error" not in text for text in raised)


def omissions(name: str, node: Definition, ruled: bool = False) -> list[str]:
    """What the docstring of one public name leaves out.

    Where the module's docstring rules that a bad argument "is a ValueError", each need not repeat
    it.
    """
    text = ast.get_docstring(node) or ""
    if not text:
        return [f"{name}: a docstring"]
    found = []
    if not re.match(r"[^\n]+(\n[^\n]+)?[.:](\n\n|$)", text):
        found.append(f"{name}: a first sentence on its own")
    if isinstance(node, ast.ClassDef) or "." in name:
        return found
    if ">>>" not in text:
        found.append(f"{name}: a doctest")
    if raises(node, ruled) and "raise" not in text.lower():
        found.append(f"{name}: Raises")
    arrays = re.search(r"ArrayLike|Floats|Tensor|NDArray", ast.unparse(node.args))
    if arrays and not re.search(r"\(.*[XYN.].*\)|shape|element", text):
        found.append(f"{name}: shapes")
    return found


@pytest.mark.parametrize("path", MODULES, ids=[path.stem for path in MODULES])
def test_public_names_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    said = ast.get_docstring(tree)
    assert said
    ruled = "is a ValueError" in said
    assert [text for name, node in public(tree) for text in omissions(name, node, ruled)] == []


def test_what_is_missing_from_a_docstring_is_found() -> None:
    source = "def f(x: ArrayLike):\n    '''One line.'''\n    raise ValueError\ndef g(): pass"
    found = [text for name, node in public(ast.parse(source)) for text in omissions(name, node)]
    assert found == ["f: a doctest", "f: Raises", "f: shapes", "g: a docstring"]


@pytest.mark.parametrize(
    ("raised", "ruled", "missing"),
    [
        ("_checks.error('x', 'a number', 'none')", False, ["f: Raises"]),
        ("_checks.error('x', 'a number', 'none')", True, []),
        ("ArithmeticError", True, ["f: Raises"]),
    ],
)
def test_the_rule_of_a_module_speaks_of_bad_arguments_only(
    raised: str, ruled: bool, missing: list[str]
) -> None:
    f = ast.parse(f"def f():\n    '''One line.\n\n    >>> f()\n    '''\n    raise {raised}").body[0]
    assert isinstance(f, ast.FunctionDef)
    assert omissions("f", f, ruled) == missing


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_commands_in_a_document_are_make_targets(path: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE))
    assert named <= targets()


def test_the_readme_gives_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert re.search(r"^make run\b", readme, re.MULTILINE)
    assert re.search(r"^make test\b", readme, re.MULTILINE)


def test_help_says_of_every_target_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert set(re.findall(r"^([a-z-]+):.*  ## \w", makefile, re.MULTILINE)) == targets()


def test_the_container_is_set_up_by_a_target_of_make() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    assert container["postCreateCommand"].split()[:2] == ["make", "setup"]
    assert "setup" in targets()


def test_who_has_no_make_is_given_the_same_commands() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    for target in ("run", "test"):
        command = re.search(rf"^{target}: .*\n\t@\$\(VENV\) (-m [^$\n]+)", makefile, re.MULTILINE)
        for document in (readme, workflow):
            assert f"python {command[1].strip()}" in document


def links(text: str) -> list[str]:
    """Targets of the relative links in markdown, code left out."""
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    return [t for t in re.findall(r"\]\(([^)\s]+)", text) if not re.match(r"[a-z]+:", t)]


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {word.replace(" ", "-") for word in words}


def broken_links(folder: Path, text: str, own: Path | None = None) -> list[str]:
    """Relative links that lead to no file, or to no heading of a markdown file."""
    found = []
    for link in links(text):
        name, _, anchor = link.partition("#")
        target = (folder / name) if name else own
        there = target is not None and target.exists()
        if not there or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_links_in_a_document_lead_somewhere(path: Path) -> None:
    assert broken_links(path.parent, path.read_text("utf-8"), path) == []


@pytest.mark.parametrize("path", notebooks.numbered(), ids=lambda path: path.stem)
def test_links_in_a_notebook_lead_somewhere(path: Path) -> None:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", "", text, flags=re.DOTALL)
    assert broken_links(path.parent, text) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One heading\n")
    text = "[a](page.md) [b](page.md#one-heading) [c](page.md#two) [d](gone.md) [e](https://x.org)"
    assert broken_links(tmp_path, text) == ["page.md#two", "gone.md"]


def test_every_document_states_the_same_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1].strip('"') == VERSION
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == VERSION
