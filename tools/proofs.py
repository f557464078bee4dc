"""Compile the Coq proofs, print what they prove and on which axioms, and write the record of it.

python -m tools.proofs [--check] [--controls] [--only G7]

The record, `proofs/record.toml`, is read where there is no Coq; ``--check`` compares it with what
Coq says now. `dpo_edu/claims.toml` states by hand what is to be proved, and Coq must find that each
theorem has that statement. ``--controls`` changes one place of each main theorem, or of a
definition it speaks of, as `proofs/controls.toml` says: the changed statement must make sense to
Coq, and its proof must fail. Everything is compiled in a copy, `build/proofs`.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dpo_edu.ledger import Claim, Evidence, catalogue, counted, formal_in
from tools import notebooks

FOLDER = notebooks.ROOT / "proofs"
RECORD = FOLDER / "record.toml"
CONTROLS = FOLDER / "controls.toml"
COQC = "coqc"
MISSING = (
    "Expected Coq, but there is no coqc; `apt-get install coq` brings it on Debian and Ubuntu"
    " (8.16 and newer), coq.inria.fr has it for others. Everything else works without it."
)
#: What proofs may rest on: the axioms of the real numbers in Coq's standard library.
AXIOMS = {
    "ClassicalDedekindReals.sig_forall_dec": "a sequence of yes and no has a no, or has none",
    "ClassicalDedekindReals.sig_not_dec": "not not P, or not P",
    "FunctionalExtensionality.functional_extensionality_dep": "equal values make equal functions",
    "Classical_Prop.classic": "P, or not P",
}
#: What would let a source assert without proof; a word of a comment counts as well.
FORBIDDEN = ("Admitted", "admit", "Axiom", "Axioms", "Parameter", "Parameters", "Conjecture")
FORBIDDEN += ("Abort", "Unset", "bypass_check", "give_up", "Declare")
#: A theorem is called after its claim; what follows the first underscore tells it from others.
THEOREM = re.compile(r"^Theorem (([A-Z]+\d+)\w*)", re.MULTILINE)
PROOF = re.compile(r"^Proof\..*?Qed\.", re.MULTILINE | re.DOTALL)
HEAD = """\
# What Coq says of the proofs: written by `make proofs`, read where there is no Coq.
# A statement is what `Check` prints, axioms are what `Print Assumptions` names for all together.
"""


class BadProof(Exception):
    """Coq refuses a source; the message is what it says, with file and line."""


@dataclass(frozen=True)
class Theorem:
    """One theorem: its claim and file, and what Coq reads."""

    name: str
    claim: str
    file: str
    statement: str


# --- sources ------------------------------------------------------------------------------------


def sources(folder: Path = FOLDER) -> list[str]:
    """Names of the sources, in the order in which they are compiled."""
    return [f for f in (folder / "_CoqProject").read_text("utf-8").split() if f.endswith(".v")]


def hashes(folder: Path = FOLDER) -> dict[str, str]:
    """SHA-256 of every source, line ends as in the repository."""
    texts = {name: (folder / name).read_text("utf-8") for name in sources(folder)}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def theorems_in(folder: Path = FOLDER) -> dict[str, tuple[str, str]]:
    """Name of each theorem of the sources, with its claim and its file."""
    found = {}
    for file in sources(folder):
        for name, claim in THEOREM.findall((folder / file).read_text("utf-8")):
            found[name] = (claim, file)
    return found


def line_of(name: str, path: Path) -> int:
    """The line of a source in which a theorem begins."""
    (found,) = re.finditer(rf"^Theorem {name}\b", text := path.read_text("utf-8"), re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1


def unproved(source: str) -> list[str]:
    """What in a source could assert without proof: words, and hypotheses outside a section."""
    found, depth = sorted(set(re.findall(r"\w+", source)) & set(FORBIDDEN)), 0
    for line in source.splitlines():
        depth += bool(re.match(r"Section\b", line)) - bool(re.match(r"End\b", line))
        if re.match(r"\s*(Local |Global )?(Variable|Hypothes|Context)", line) and not depth:
            found.append(line.strip())
    return found


# --- Coq ----------------------------------------------------------------------------------------


def coqc(folder: Path, file: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """Compile one file of a folder."""
    command = [COQC, "-q", "-Q", ".", "Dpo", file]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds)


def compiled(folder: Path, source: Path = FOLDER) -> Path:
    """A fresh copy of the sources in `folder`, compiled, and the folder again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in sources(source):
        shutil.copy(source / name, folder)
    for name in sources(source):
        if (run := coqc(folder, name)).returncode:
            raise BadProof(run.stderr.strip())
    return folder


def asked(folder: Path, name: str, commands: list[str], source: Path = FOLDER) -> None:
    """Have Coq obey commands about the theorems in a compiled folder."""
    modules = " ".join(file.removesuffix(".v") for file in sources(source))
    lines = ["From Coq Require Import Reals.", f"From Dpo Require Import {modules}."]
    lines += ["Open Scope R_scope.", "Set Printing Width 96.", *commands]
    (folder / name).write_text("\n".join(lines) + "\n", "utf-8")
    if (run := coqc(folder, name)).returncode:
        raise BadProof(run.stderr.strip())


def said(folder: Path, source: Path = FOLDER) -> list[Theorem]:
    """What Coq says of each theorem in a compiled folder."""
    known = theorems_in(source)
    asked(folder, "Said.v", [f'Redirect "{name}" Check {name}.' for name in known], source)
    return [theorem(folder, name, *known[name]) for name in known]


def theorem(folder: Path, name: str, claim: str, file: str) -> Theorem:
    """A theorem from what was printed of it."""
    statement = (folder / f"{name}.out").read_text("utf-8").partition(":")[2].strip()
    return Theorem(name, claim, file, re.sub(r"^ {7}", "", statement, flags=re.MULTILINE))


def axioms(folder: Path, source: Path = FOLDER) -> list[str]:
    """The axioms on which the theorems in a compiled folder rest, all together."""
    every = f"Definition every := ({', '.join(theorems_in(source))})."
    asked(folder, "Axioms.v", [every, 'Redirect "axioms" Print Assumptions every.'], source)
    return assumed((folder / "axioms.out").read_text("utf-8"))


def assumed(printed: str) -> list[str]:
    """The names in what `Print Assumptions` printed."""
    found = re.findall(r"^([\w.']+)(?= *:|$)(?!:$)", printed, re.MULTILINE)
    return sorted(set(found) - {"Axioms"})


def confirm(folder: Path, claims: Mapping[str, Claim]) -> None:
    """Have Coq find that each theorem has the statement that its claim gives, in its own words."""
    stated = {name: text for claim in claims.values() for name, text in claim.formal.items()}
    asked(folder, "Stated.v", [f"Check ({name} : {text})." for name, text in stated.items()])


# --- the record ---------------------------------------------------------------------------------


def version() -> str:
    """The version of Coq, such as 8.16.1."""
    run = subprocess.run([COQC, "--print-version"], capture_output=True, text=True)
    return run.stdout.split()[0]


def record(theorems: list[Theorem], axioms: Iterable[str], coq: str, folder: Path = FOLDER) -> str:
    """The record as it is committed."""
    names = "".join(f'\n    "{name}",' for name in axioms)
    parts = [HEAD, f'coq = "{coq}"', f"axioms = [{names}\n]\n", "[sources]"]
    parts += [f'"{name}" = "{digest}"' for name, digest in hashes(folder).items()]
    for t in theorems:
        parts += ["", f"[theorem.{t.name}]", f'claim = "{t.claim}"', f'file = "{t.file}"']
        parts += [f"statement = '''\n{t.statement}'''"]
    return "\n".join(parts) + "\n"


def recorded(path: Path = RECORD) -> dict:
    """The committed record."""
    return tomllib.loads(path.read_text("utf-8"))


def evidence(path: Path = RECORD) -> list[Evidence]:
    """The theorems of the record, as evidence for their claims."""
    return formal_in(recorded(path), catalogue())


def stale(path: Path = RECORD, folder: Path = FOLDER) -> list[str]:
    """A sentence for each source that is not the one that Coq has checked."""
    known, found = recorded(path)["sources"], hashes(folder)
    return [
        f"proofs/{name} is not the text that Coq has checked, `make proofs` has it checked again"
        for name in known | found
        if known.get(name) != found.get(name)
    ]


def outdated(new: str, old: str) -> bool:
    """Whether a record is not what Coq says; how another version prints a statement is its own."""
    found, known = tomllib.loads(new), tomllib.loads(old)
    if found["coq"] == known["coq"]:
        return new != old
    for entry in (found, known):
        del entry["coq"]
        for theorem in entry["theorem"].values():
            del theorem["statement"]
    return found != known


def report(theorems: list[Theorem]) -> None:
    """Print each theorem: claim, file and statement."""
    for t in theorems:
        print(f"\n{t.name}  (claim {t.claim}, {t.file})")
        print("  " + t.statement.replace("\n", "\n  "))


# --- negative controls --------------------------------------------------------------------------


@dataclass(frozen=True)
class Control:
    """One change, `old` to `new`, in the statement of a theorem or in a definition before it."""

    theorem: str
    old: str
    new: str
    why: str
    definition: str = ""


def controls(path: Path = CONTROLS) -> list[Control]:
    """The controls as they are committed."""
    return [Control(**row) for row in tomllib.loads(path.read_text("utf-8"))["control"]]


def broken(source: str, control: Control) -> tuple[str, set[int]]:
    """The source with the change, up to the end of the proof, and the lines where it may fail.

    These are the lines of the theorem's own proof, or of any proof if a definition is changed.
    """
    kind, name = ("Definition", control.definition) if control.definition else ("Theorem", "")
    found = re.search(rf"^{kind} {name or control.theorem}\b.*?\.\n", source, re.M | re.S)
    if not found or found[0].count(control.old) != 1:
        raise ValueError(f"expected {control.old!r} once in {kind} {name or control.theorem}")
    changed = found[0].replace(control.old, control.new)
    source = source[: found.start()] + changed + source[found.end() :]
    start = re.search(rf"^Theorem {control.theorem}\b", source, re.M).start()
    whole = source[: source.index("Qed.", start) + len("Qed.")] + "\n"
    proofs = [m for m in PROOF.finditer(whole) if control.definition or m.start() > start]
    first = [whole.count("\n", 0, m.start()) + 1 for m in proofs]
    return whole, {
        line for at, m in zip(first, proofs, strict=True) for line in range(at, at + lines_of(m[0]))
    }


def lines_of(text: str) -> int:
    """How many lines a text touches."""
    return text.count("\n") + 1


def noticed(control: Control, folder: Path, source: Path = FOLDER) -> str:
    """An empty string if the proof fails with the change; else what happened instead."""
    _, file = theorems_in(source)[control.theorem]
    text, allowed = broken((source / file).read_text("utf-8"), control)
    with tempfile.TemporaryDirectory() as copy:
        for path in folder.glob("*.vo"):
            shutil.copy(path, copy)
        Path(copy, file).write_text(text, "utf-8")
        run = coqc(Path(copy), file)
    place = re.search(r'^File "[^"]*", line (\d+)', run.stderr, re.MULTILINE)
    if place and int(place[1]) in allowed and "Syntax error" not in run.stderr:
        return ""
    after = run.stderr.strip().splitlines()
    return f"Coq stops elsewhere: {' '.join(after)}" if place and after else "the proof still holds"


def unnoticed(every: list[Control], folder: Path) -> list[str]:
    """A line for each control whose change no proof minds."""
    found = []
    for control in every:
        where = f"{control.theorem}: {control.why}"
        problem = noticed(control, folder)
        print(f"  {where}: {problem or 'fails, as it must'}", flush=True)
        found += [f"{where}: {problem}"] * bool(problem)
    return found


# --- the tool -----------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> str | int:
    """Return 0, or the sentence on what went wrong, which `sys.exit` prints with status 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare the record, do not write it")
    parser.add_argument("--controls", action="store_true", help="also break each main theorem")
    parser.add_argument("--only", metavar="ID", help="show and break only what this claim is about")
    options = parser.parse_args(arguments)
    if not shutil.which(COQC):
        return MISSING
    try:
        folder = compiled(notebooks.BUILD / "proofs")
        theorems, rest = said(folder), axioms(folder)
    except BadProof as error:
        return f"A proof does not hold: {error}"
    try:
        confirm(folder, catalogue())
    except BadProof as error:
        return f"A theorem is not what dpo_edu/claims.toml states: {error}"
    chosen = [t for t in theorems if options.only in (None, t.claim)]
    if not options.check:
        report(chosen)
        print(f"\nThey rest on: {', '.join(rest) or 'no axiom'}\n")
    if strange := sorted(set(rest) - set(AXIOMS)):
        return f"Expected the axioms of the real numbers only, but also: {', '.join(strange)}."
    text = record(theorems, rest, version())
    if options.check and outdated(text, RECORD.read_text("utf-8")):
        return "proofs/record.toml is not what Coq says; `make proofs` renews it."
    if not options.check:
        notebooks.save(RECORD, text)
    lines = sum((FOLDER / name).read_text("utf-8").count("\n") for name in sources())
    claims = counted(len({t.claim for t in theorems}), "claim")
    print(f"{counted(len(theorems), 'theorem')} of {claims} in {lines} lines hold.")
    if options.controls:
        names = {t.name for t in chosen}
        own = [control for control in controls() if control.theorem in names]
        print(f"\n{counted(len(own), 'change')}, each of which must make a proof fail", flush=True)
        if problems := unnoticed(own, folder):
            return "Not noticed: " + "; ".join(problems) + "."
    return 0


if __name__ == "__main__":
    notebooks.ended(main)
