"""Copies for JupyterLite and Colab: what they need, and that the former need no PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import hosted, notebooks

IN_BROWSER = {
    "02_complete_the_divergence",
    "03_derive_it_again_by_lagrange",
    "14_check_the_optimum_by_numbers",
    "derive_the_gibbs_policy",
    "make_it_a_language_models",
    "prove_it_is_the_best",
    "read_the_log",
    "turn_rewards_into_preferences",
}
RUN = """
import json, sys


class Barred:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in json.loads(sys.argv[2]):
            raise ModuleNotFoundError(f"No module named {name!r}")


sys.meta_path.insert(0, Barred())
import matplotlib
matplotlib.use("Agg")
names = {}
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "code" and not source.startswith("%pip"):
        exec(source, names)
import dpo_edu
print("from", dpo_edu.__file__)
"""


def test_the_lectures_and_assignments_that_a_browser_can_run() -> None:
    assert {path.stem for path in hosted.without_torch()} == IN_BROWSER


@pytest.mark.parametrize(
    ("stem", "needs"),
    [
        ("00", {"torch"}),  # in the notebook itself
        ("04", {"torch"}),  # by a module of the package
        ("12", {"torch", "choix"}),
    ],
)
def test_who_needs_torch_is_found(stem: str, needs: set[str]) -> None:
    (path,) = notebooks.numbered(stem)
    assert hosted.requirements(path) & hosted.ABSENT == needs


def test_a_grader_that_needs_torch_is_found(tmp_path: Path) -> None:
    (source,) = notebooks.numbered("03")
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    (tmp_path / "grader.py").write_text("from dpo_edu.losses import dpo_loss\n", "utf-8")
    assert "torch" in hosted.requirements(path)
    (tmp_path / "grader.py").write_text("from dpo_edu.gibbs import optimal_policy\n", "utf-8")
    assert "torch" not in hosted.requirements(path)


def run_in_place(path: Path) -> "subprocess.CompletedProcess[str]":
    """Run all cells of a copy where its folder is all there is of the package, without PyTorch."""
    barred = json.dumps(sorted(hosted.ABSENT))
    command = [sys.executable, "-c", RUN, path.name, barred]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True)


@pytest.mark.slow
def test_the_copies_run_without_torch_from_their_folder(tmp_path: Path) -> None:
    written = hosted.lite(tmp_path)
    assert {path.stem for path in written} == IN_BROWSER
    for path in written:
        first = notebooks.read(path).cells[0].source
        assert first == "%pip install -q mpmath==1.3.0 ipywidgets cvxpy-base"
    (lagrange,) = (path for path in written if path.stem == "03_derive_it_again_by_lagrange")
    done = run_in_place(lagrange)
    assert done.stdout.splitlines()[-1:] == [f"from {lagrange.parent / 'dpo_edu/__init__.py'}"]
    (lagrange.parent / "dpo_edu" / "gibbs.py").write_text("import torch\n", "utf-8")
    assert "ModuleNotFoundError" in run_in_place(lagrange).stderr


def test_the_copies_for_colab_install_the_package_and_have_a_badge(tmp_path: Path) -> None:
    written = hosted.colab(tmp_path, "https://example.org/who/what/")
    apart = [path for path in notebooks.numbered() if notebooks.is_apart(path)]
    assert len(written) == len(notebooks.numbered()) - len(apart)
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "Not yet run" in page
    for path in written:
        first = notebooks.read(path).cells[0].source
        assert first == ('%pip install -q "dpo-edu[notebooks] @ git+https://example.org/who/what/"')
        assert f"/github/who/what/blob/colab/{path.name})" in page


@pytest.mark.parametrize("name", ["lite", "colab"])
def test_the_workflows_say_that_they_have_not_been_run(name: str) -> None:
    text = (notebooks.ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8")
    assert text.startswith("# Not yet run.")
    assert f"-m tools.hosted {name}" in text
