"""The notebooks and the assignments keep to the conventions of docs/notation.md."""

import ast
import re

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import exercises, notebooks

EVERY = [*notebooks.numbered(), *sorted(exercises.EXERCISES.glob("source/*/*.ipynb"))]
NOT_IN_FORMULAS = {
    r"pi^{ref} or pi_{ref}": r"\\pi(\^|_)\{(\\text\{)?ref|\\pi\^\{\\mathrm\{ref",
    "e to a power": r"(?<![A-Za-z\\])e\^",
    "a Lagrangian with a minus": r"-\s*\\lambda(\\[a-zA-Z]+|\\[,;!]|[\s(\[{])*\\sum",
}
COLOURS = re.compile(r"\b(vermilion|vermillion|violet|purple|magenta|yellow|cyan|black line)\b")


def departures(notebook: NotebookNode) -> list[str]:
    """Where a notebook names things otherwise."""
    prose = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    code = [c.source for c in notebook.cells if c.cell_type == "code"]
    formulas = re.findall(r"\$\$.*?\$\$|\$[^$]*\$", "\n".join(prose), flags=re.DOTALL)
    rules = NOT_IN_FORMULAS.items()
    found = [f"{rule}: {f}" for f in formulas for rule, bad in rules if re.search(bad, f)]
    found += [f"not a colour of the palette: {c}" for t in prose for c in COLOURS.findall(t)]
    return found + [text for source in code for text in in_code(source)]


def in_code(source: str) -> list[str]:
    """KL coefficients that are called otherwise than `beta`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "beta":
            value = ast.unparse(node.value)
            if not isinstance(node.value, ast.Constant) and not re.search("beta|β|slider", value):
                found.append(f"beta={value}")
    return found


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_a_notebook_keeps_to_the_conventions(path) -> None:
    assert departures(notebooks.read(path)) == []


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (r"$\pi^{ref}_k$", "", "pi^{ref} or"),
        (r"$\pi_{ref}(y)$", "", "pi^{ref} or"),
        (r"$$e^{r/\beta}$$", "", "e to a power"),
        (r"$J - \lambda\,(\sum_i \pi_i - 1)$", "", "a Lagrangian"),
        ("The vermilion dots", "", "vermilion"),
        ("", "f(beta=leash)", "beta=leash"),
    ],
)
def test_a_departure_is_found(text: str, code: str, said: str) -> None:
    bad = new_notebook(cells=[new_markdown_cell(text), new_code_cell(code)])
    assert said in departures(bad)[0]


def test_what_keeps_to_them_passes() -> None:
    text = r"$\pi_{\mathrm{ref},k}\exp(r/\beta)$, $J + \lambda(\sum_i \pi_i - 1)$, blue"
    code = "f(beta=beta); f(beta=0.5); f(beta=betas[0]); f(beta=β)"
    good = new_notebook(cells=[new_markdown_cell(text), new_code_cell(code)])
    assert departures(good) == []
