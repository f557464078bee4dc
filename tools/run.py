"""Execute the notebooks two at a time and report what they prove; with ``--in-place`` renew them.

python -m tools.run [--nb 07] [--in-place]
"""

import argparse
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from nbformat import NotebookNode

from dpo_edu import ledger
from dpo_edu.ledger import counted
from tools import notebooks, proofs

BOUND = re.compile(r"\| <= ([^\s|]+)$")  # how closely two routes agreed
RELATIVE = re.compile(r"\| <= (\S+) \|")  # in units of the expected value
ORDER = re.compile(r"^left (\W+ right|- right is )")  # an inequality
AGAINST = re.compile("not in the catalogue|against it")  # what one notebook alone can show
WORDS = {"holds": "hold", "definition": "by definition"}


def execute_all(paths: list[Path], folder: Path) -> dict[Path, NotebookNode]:
    """Execute into `folder`, two at a time, reporting one by one; stop at the first failure."""
    width, done = max(len(path.stem) for path in paths), {}

    def timed(path: Path) -> tuple[NotebookNode, float]:
        start, failed = time.perf_counter(), notebooks.BUILD / "notebooks" / path.name
        result = notebooks.executed(path, lambda broken: notebooks.write(broken, failed))
        if folder != notebooks.FOLDER:  # `tools.fresh` then need not execute it again
            result.metadata["executed_as"] = notebooks.digest(result)
        notebooks.write(result, folder / path.name)
        return result, time.perf_counter() - start

    pool = ThreadPoolExecutor(max_workers=2)
    jobs = {pool.submit(timed, path): path for path in paths}
    try:
        for count, job in enumerate(as_completed(jobs), 1):
            done[jobs[job]], seconds = job.result()
            name = jobs[job].stem
            print(f"  {count}/{len(paths)}  {name:<{width}}  {seconds:4.0f} s", flush=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return {path: done[path] for path in paths}


def held(evidence: list[ledger.Evidence]) -> str:
    """What held by each means, in a few words: bounds of agreement, cases of failure."""
    parts = []
    for means in (m for m in ledger.MEANS if any(e.means == m for e in evidence)):
        own = [e for e in evidence if e.means == means]
        if means == "F":
            parts.append(f"F {counted(len(own), 'theorem')}")
            continue
        closely = agreement([e.held for e in own if e.kind != "counterexample"])
        printed = [e.held.partition(";")[0] for e in own if e.kind == "refuted"]
        fails = [e.held.partition(":")[0] for e in own if e.kind == "counterexample"]
        text = f"{printed[0]}, repaired {closely}" if printed else closely
        text += f" (fails: {' / '.join(dict.fromkeys(fails))})" if fails else ""
        parts.append(f"{means} {text}")
    return "; ".join(parts) or "no evidence"


def agreement(held: list[str]) -> str:
    """What came out, in a few words: ``exactly``, ``to 1e-12``, ``2 inequalities``."""
    bounds, shares = (
        [x for text in held for x in mark.findall(text)] for mark in (BOUND, RELATIVE)
    )
    orders = sum(bool(ORDER.match(text)) for text in held)
    exact = len(held) - len(bounds) - len(shares) - orders
    parts = [tolerance(bounds)] if bounds or exact else []
    parts += [f"{tolerance(shares)} of the value"] if shares else []
    parts += [f"{orders} inequalit{'y' if orders == 1 else 'ies'}"] if orders else []
    return ", ".join(parts)


def tolerance(bounds: list[str]) -> str:
    """``exactly``, ``to 1e-12``, or the range of bounds from the tightest to the loosest."""
    if not bounds:
        return "exactly"
    low, high = min(bounds, key=float), max(bounds, key=float)
    return f"to {low}" if float(low) == float(high) else f"to {low} ... {high}"


def report(done: dict[Path, NotebookNode], *, whole: bool) -> list[str]:
    """Print the ledger, the total and the headline figures; write them; return what is open."""
    claims = ledger.catalogue()
    checked = [e for nb in done.values() for e in ledger.evidence_in(nb)]
    proved = proofs.evidence()
    headlines = [h for nb in done.values() for h in ledger.headlines_in(nb)]
    own = {id: [e for e in [*checked, *proved] if e.claim == id] for id in claims}
    seen = {e.claim for e in checked}
    shown = [claim for claim in claims.values() if whole or claim.id in seen]
    print("\nThe ledger: claim, verdict, means, what held and how closely")
    for claim in shown:
        means = "".join(m for m in ledger.MEANS if m in {e.means for e in own[claim.id]})
        print(f"  {claim.id:<4}{claim.verdict:<12}{means:<4} {held(own[claim.id])}")
    tally = {v: sum(claim.verdict == v for claim in shown) for v in ledger.VERDICTS}
    parts = ", ".join(f"{tally[v]} {WORDS.get(v, v)}" for v in tally if tally[v])
    checks = f"{counted(len(checked), 'check')} in {counted(len(done), 'notebook')}"
    theorems = counted(sum(e.means == "F" for c in shown for e in own[c.id]), "theorem")
    print(f"\n{counted(len(shown), 'claim')} ({parts}), {checks}, {theorems}.")
    print("Theorems are read from proofs/record.toml; `make proofs` has Coq check them again.")
    if headlines:
        print("\nHeadline figures")
    for headline in headlines:
        print(f"  {headline}")
    rows = [{**asdict(c), "evidence": [asdict(e) for e in own[c.id]]} for c in shown]
    text = json.dumps({"claims": rows, "headlines": [asdict(h) for h in headlines]}, indent=1)
    notebooks.save(notebooks.BUILD / "ledger.json", text + "\n")
    judged = [*proofs.stale(), *ledger.shortcomings([*checked, *proved], claims)]
    return judged if whole else [text for text in judged if AGAINST.search(text)]


def main(arguments: list[str] | None = None) -> str | int:
    """Return 0, or the sentence on what went wrong, which `sys.exit` prints with status 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nb", metavar="NN", help="only this notebook, such as 07")
    parser.add_argument("--in-place", action="store_true", help="renew the committed outputs")
    options = parser.parse_args(arguments)
    found = notebooks.numbered(options.nb)
    apart = [path for path in found if notebooks.is_apart(path)]
    paths = [path for path in found if path not in apart]
    if not found:
        return f"There is no notebook {options.nb or ''} in notebooks/.".replace("  ", " ")
    for path in apart:
        print(f"{path.stem}: not executed, its committed outputs count; `make lm` executes it.")
    if not paths:
        return 0
    notebooks.prepare()
    folder = notebooks.FOLDER if options.in_place else notebooks.BUILD / "notebooks"
    pace = ", two at a time" if len(paths) > 1 else ""
    print(f"Executing {counted(len(paths), 'notebook')}{pace}", flush=True)
    try:
        done = execute_all(paths, folder)
    except notebooks.NotebookFailed as failure:
        return f"Stopped: {failure}"
    if options.in_place:
        return 0
    done |= {path: notebooks.read(path) for path in apart}
    open_points = report(done, whole=not options.nb)
    if open_points:
        return "The ledger is not complete: " + "; ".join(open_points) + "."
    print("\nExecuted copies and ledger.json are in build/.")
    return 0


if __name__ == "__main__":
    notebooks.ended(main)
