"""Imports run one way, and PyTorch stays where training is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "dpo_edu"
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")

NUMPY_CHAIN = ["_checks", "distributions", "gibbs", "problems", "_estimate", "preferences"]
NUMPY_CHAIN += ["statistics"]
NO_TORCH = {"_alike", "_badge", "_checks", "_compare", "_estimate", "_relations", "_slips"}
TRAINING = [name for name in MODULES if name.startswith("_") and name not in NO_TORCH]
MAY_IMPORT = {name: set(NUMPY_CHAIN[:place]) for place, name in enumerate(NUMPY_CHAIN)} | {
    "_estimate": {"_checks"},
    "rankings": {"_checks", "_estimate"},
    "ties": {"_checks", "_estimate", "preferences"},
    "datasets": {"_checks", "preferences"},
    "losses": {"_checks"},
    "sequences": {"_checks"},
    "chains": {"_checks", "distributions", "gibbs"},
    "policies": {"_checks", "distributions", "losses", "sequences"},
    "divergences": {"_checks", "distributions"},
    "training": {*NUMPY_CHAIN, *TRAINING, "losses", "sequences", "policies"},
    "language_model": {"_checks", "_run"},
    "symbolic": set(),
    "_compare": {"_checks"},
    "ledger": {"symbolic", "_compare", "_typeset"},
    "_alike": set(),
    "_badge": {"ledger", "_typeset"},
    "_relations": {"_alike"},
    "_slips": {"symbolic"},
    "grading": {"symbolic", "_alike", "_relations", "_slips"},
    "plots": {"_checks"},  # the name of an array type
    "runlogs": {"_checks"},
    "findings": {"_checks"},
    "audit_log": {"_checks", "findings", "runlogs"},
    "audit_pairs": {"_checks", "findings", "runlogs"},
    "audit": {"audit_log", "audit_pairs", "findings", "runlogs", "plots"},
    "testing": {"_checks", "findings"},
    "sweeps": {"_checks"},
    "laptop": set(),
}
MAY_IMPORT |= dict.fromkeys([*TRAINING, "rlhf"], MAY_IMPORT["training"])
MAY_IMPORT_TORCH = {
    "language_model",
    "losses",
    "policies",
    "sequences",
    "training",
    "rlhf",
    *TRAINING,
}


def imported(source: str) -> set[str]:
    """Dotted names of all modules that a source imports, wherever in the source it does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "dpo_edu":
            found |= {f"dpo_edu.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def trespasses(module: str, source: str) -> set[str]:
    """What a module imports and should not."""
    names = imported(source)
    siblings = {name.split(".")[1] for name in names if name.startswith("dpo_edu.")}
    found = siblings - MAY_IMPORT[module] | {name for name in names if name.startswith(".")}
    if module not in MAY_IMPORT_TORCH:
        found |= {name for name in names if name.partition(".")[0] == "torch"}
    return found


def test_every_module_has_its_place() -> None:
    assert set(MODULES) == set(MAY_IMPORT)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_lies_below_it(module: str) -> None:
    assert trespasses(module, (PACKAGE / f"{module}.py").read_text("utf-8")) == set()


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("gibbs", "from dpo_edu import preferences", {"preferences"}),
        ("gibbs", "from dpo_edu.preferences import fit_bradley_terry", {"preferences"}),
        ("gibbs", "def f():\n    import torch.nn as nn", {"torch.nn"}),
        ("gibbs", "from . import preferences", {"."}),
        ("plots", "from dpo_edu import gibbs, ledger", {"gibbs", "ledger"}),
        ("losses", "import torch\nfrom dpo_edu import training", {"training"}),
        ("training", "import torch\nfrom dpo_edu import gibbs, policies", set()),
    ],
)
def test_an_import_upwards_is_found(module: str, source: str, found: set[str]) -> None:
    assert trespasses(module, source) == found


GRADERS = sorted((PACKAGE.parent / "exercises" / "source").glob("*/grader.py"))


@pytest.mark.parametrize("path", GRADERS, ids=[path.parent.name for path in GRADERS])
def test_a_grader_needs_only_what_students_have_and_no_private_part(path: Path) -> None:
    names = imported(path.read_text("utf-8"))
    siblings = {name.split(".", 1)[1] for name in names if name.startswith("dpo_edu.")}
    assert "grading" in siblings <= set(MODULES)
    assert {name for name in siblings if name.startswith("_")} == set()
    assert not {name.partition(".")[0] for name in names} & {"grader", "tests", "tools", "course"}


def test_what_is_exact_can_be_used_without_pytorch() -> None:
    exact = ", ".join(f"dpo_edu.{module}" for module in set(MODULES) - MAY_IMPORT_TORCH)
    code = f"import sys, {exact}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_audit_needs_numpy_alone() -> None:
    code = "import sys; from dpo_edu import audit, testing; sys.exit(audit.main(sys.argv[1:]))"
    blocked = ("torch", "sympy", "scipy", "cvxpy", "matplotlib", "IPython", "tqdm")
    code = f"import sys; sys.modules |= dict.fromkeys({blocked}); {code}"
    subprocess.run([sys.executable, "-c", code, "audit", "--demo"], check=True, capture_output=True)
