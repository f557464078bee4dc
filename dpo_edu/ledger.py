"""The ledger: evidence for the claims of ``claims.toml``, recorded where it is produced.

A check cell of a notebook compares two things that were found by independent routes. The ledger
decides, prints one stable line, stores the same in the cell's output for machines, and raises
`ClaimFailed` when the comparison does not come out as claimed; a comparison that could not fail is
refused with a `ValueError`. The verdict on a claim is not declared but derived from its evidence,
and where it is not the catalogue's the run fails:

======================================  ====================
evidence                                verdict
======================================  ====================
agreements only                         holds (or definition)
agreements and a counterexample         qualified
a printed formula refuted and repaired  refuted
======================================  ====================

Symbolic evidence needs SymPy alone; NumPy is imported when numbers are compared.
"""

import sys
import textwrap
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import Any

import sympy as sp

from dpo_edu import symbolic
from dpo_edu._typeset import typeset

EVIDENCE = "application/vnd.dpo-edu.evidence+json"
HEADLINE = "application/vnd.dpo-edu.headline+json"
MEANS = {"S": "symbolic", "N": "numeric", "T": "trained", "D": "data", "F": "formal"}
SPEAKS_FOR = {  # the kinds of evidence that a verdict rests on
    "holds": {"agrees"},
    "definition": {"agrees"},
    "qualified": {"agrees", "counterexample"},
    "refuted": {"refuted"},
}
VERDICTS = tuple(SPEAKS_FOR)
WORDS = {"agrees": "holds", "counterexample": "counterexample", "refuted": "refuted"}
RUNS = {"dpo_edu.training": "TrainingRun", "dpo_edu.rlhf": "PolicyRun"}


class ClaimFailed(AssertionError):
    """A check did not come out as claimed: which claim, what was expected, what was found."""

    def __init__(self, claim: str, expected: str, found: str) -> None:
        self.claim = claim
        super().__init__(
            f"claim {claim}: expected {expected}, found {found}. Likely cause: a formula above "
            f"this cell, or in the dpo_edu function it calls, no longer says what the claim says."
        )


@dataclass(frozen=True)
class Claim:
    """One row of the catalogue: what is claimed, where, with which verdict, by which means.

    `formal` is what Coq must have proved: each theorem's name and statement, in Coq's words.

    >>> catalogue()["G4"].means
    ('S', 'N', 'F')
    """

    id: str
    statement: str
    source: str
    verdict: str
    means: tuple[str, ...]
    notebook: str
    note: str = ""
    formal: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """One check that came out: for which claim, by which means, of which kind, and what held.

    >>> Evidence("G4", "N", "agrees", "|found - expected| <= 1e-12").note
    ''
    """

    claim: str
    means: str
    kind: str  # agrees | counterexample | refuted
    held: str
    note: str = ""  # of a theorem: its name
    source: str = ""  # of data: where they are from, under which licence; of a theorem: its file

    def __str__(self) -> str:
        line = f"{self.claim:<3} {MEANS[self.means]:<8} {WORDS[self.kind]}: {self.held}"
        return f"{line}   ({self.note})" if self.note else line

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        note = f" <i>({typeset(self.note)})</i>" if self.note else ""
        page = (
            f'<div style="padding-left: 2em; text-indent: -2em"><b>{self.claim}</b> '
            f"{MEANS[self.means]}, {WORDS[self.kind]}: {typeset(self.held)}{note}</div>"
        )
        return {"text/plain": str(self), "text/html": page, EVIDENCE: asdict(self)}


@dataclass(frozen=True)
class Headline:
    """A figure worth reading first, such as a divergence reached by training.

    >>> str(Headline("KL(pi* || pi_theta), tabular", "<= 1e-12 nats"))
    'KL(pi* || pi_theta), tabular: <= 1e-12 nats'
    """

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        return {"text/plain": str(self), HEADLINE: asdict(self)}


@dataclass(frozen=True)
class Summary:
    """Rows of id, verdict, means and statement, and what they come to.

    >>> print(Summary([("G4", "holds", "SN", "pi* = pi_ref exp(r/beta)/Z sums to 1")], "1 claim"))
    G4  holds      SN   pi* = pi_ref exp(r/beta)/Z sums to 1
    1 claim
    """

    rows: list[tuple[str, str, str, str]]
    end: str

    def __str__(self) -> str:
        heads = (f"{id:<3} {verdict:<10} {means:<4} " for id, verdict, means, _ in self.rows)
        lines = [
            textwrap.fill(row[-1], 100, initial_indent=head, subsequent_indent=" " * len(head))
            for head, row in zip(heads, self.rows, strict=True)
        ]
        return "\n".join([*lines, self.end])

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        cell = '<td style="text-align: left; vertical-align: top">'
        rows = [
            f"<tr>{cell}<b>{id}</b></td>{cell}{verdict}</td>{cell}{means}</td>"
            f"{cell}{typeset(statement)}</td></tr>"
            for id, verdict, means, statement in self.rows
        ]
        end = "<br>".join(map(typeset, self.end.splitlines()))
        page = f"<table>{''.join(rows)}</table><p>{end}</p>"
        return {"text/plain": str(self), "text/html": page}


def catalogue() -> dict[str, Claim]:
    """All claims by id, in the order of ``claims.toml``.

    >>> catalogue()["P3"].verdict
    'refuted'
    """
    text = resources.files("dpo_edu").joinpath("claims.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)
    return {id: Claim(id=id, **{**row, "means": tuple(row["means"])}) for id, row in rows.items()}


def display(shown: Evidence | Headline | Summary) -> None:
    """Show it in the notebook; print it where there is none.

    >>> display(Headline("KL", "0 nats"))
    KL: 0 nats
    """
    try:
        from IPython.display import display as show
    except ImportError:
        print(shown)
    else:
        show(shown)


class Ledger:
    """Records evidence for claims; the verdict must match the catalogue when the ledger is closed.

    Every method takes the claim's id and an optional `note` saying what was compared with what.
    Numbers are arrays of finite real numbers of one shape, or a scalar against an array; symbolic
    expressions are exact (SymPy, no decimals). `of` says where trained numbers or data are from: a
    `TrainingRun`, `PolicyRun` or watched policy, or several; a `datasets.Votes`.

    Raises
    ------
    ClaimFailed
        When a comparison does not come out as claimed.
    ValueError
        When the id is unknown, or the comparison is not one: it could not fail, or what is compared
        is not of the kind that the means demand.

    Source: the claims in ``claims.toml``.

    >>> ledger = Ledger()
    >>> ledger.numeric("G4", 0.1 + 0.2, 0.3, bound=1e-12)
    G4  numeric  holds: |found - expected| <= 1e-12
    """

    def __init__(self) -> None:
        self.evidence: list[Evidence] = []
        self._claims = catalogue()
        self._watched: list[tuple[Any, Any]] = []

    def symbolic(self, claim: str, found: sp.Expr, expected: sp.Expr, *, note: str = "") -> None:
        """Two SymPy expressions (or matrices) are equal, whatever their symbols stand for."""
        self._known(claim)
        self._equal(claim, found, expected)
        self._record(claim, "S", "agrees", "found - expected = 0 identically", note)

    def numeric(
        self,
        claim: str,
        found: Any,
        expected: Any,
        *,
        bound: float | None = None,
        relative: float | None = None,
        note: str = "",
    ) -> None:
        """Two arrays found by independent routes agree within `bound` (1e-12 if nothing is said),
        or within the `relative` share of every expected value.
        """
        self._within(claim, "N", found, expected, bound, relative, note, None)

    def trained(
        self,
        claim: str,
        found: Any,
        expected: Any,
        *,
        of: Any,
        bound: float | None = None,
        relative: float | None = None,
        note: str = "",
    ) -> None:
        """What the training `of` a run reached agrees with what theory says."""
        self._within(claim, "T", found, expected, bound, relative, note, of)

    def data(
        self,
        claim: str,
        found: Any,
        expected: Any,
        *,
        of: Any,
        bound: float | None = None,
        relative: float | None = None,
        note: str = "",
    ) -> None:
        """What the real votes `of` a data set give agrees with the expected value."""
        self._within(claim, "D", found, expected, bound, relative, note, of)

    def true(
        self,
        claim: str,
        means: str,
        left: Any,
        relation: str,
        right: Any,
        *,
        of: Any = None,
        note: str = "",
    ) -> None:
        """An inequality holds at every entry: `relation` is one of ``< <= > >=``.

        >>> Ledger().true("G5", "N", [-2.0, -0.3], "<", 0, note="eigenvalues")
        G5  numeric  holds: left < right, by 0.3 or more   (eigenvalues)
        """
        self._known(claim)
        source = self._source(claim, means, of)
        if means == "S":
            held = self._ordered(claim, left, relation, right)
        else:
            from dpo_edu import _compare

            holds, gap = _compare.margin(left, relation, right)
            if not holds:
                raise ClaimFailed(claim, f"left {relation} right", f"a margin of {gap:.4g}")
            held = f"left {relation} right, {_compare.at_least(gap)}"
        self._record(claim, means, "agrees", held, note, source)

    def counterexample(
        self,
        claim: str,
        means: str,
        found: Any,
        expected: Any,
        *,
        when: str,
        by: float | None = None,
        of: Any = None,
        at: Mapping[sp.Expr, sp.Expr] | None = None,
        note: str = "",
    ) -> None:
        """Without its hypothesis (`when` says which) the statement misses, by at least `by`.

        Symbolic expressions miss at a genuine policy; `at` fixes symbols that only the caller knows
        how to choose, such as probabilities.
        """
        self._known(claim)
        if not when.strip():
            raise ValueError("when: expected what is given up, got nothing")
        source = self._source(claim, means, of)
        missed = self._misses(claim, means, found, expected, by, at)
        self._record(claim, means, "counterexample", f"{when}: {missed}", note, source)

    def refuted(
        self,
        claim: str,
        means: str,
        *,
        printed: Any,
        repaired: Any,
        truth: Any,
        by: float | None = None,
        bound: float | None = None,
        relative: float | None = None,
        of: Any = None,
        at: Mapping[sp.Expr, sp.Expr] | None = None,
        note: str = "",
    ) -> None:
        """The printed formula misses the truth by at least `by`; the repaired one hits it."""
        self._known(claim)
        source = self._source(claim, means, of)
        missed = self._misses(claim, means, printed, truth, by, at)
        if means == "S":
            self._equal(claim, repaired, truth)
            hit = "repaired - truth = 0 identically"
        else:
            from dpo_edu import _compare

            hit = self._agree(claim, repaired, truth, bound, relative)
            if by is None or not by > (allowed := _compare.reach(truth, bound, relative)):
                raise ValueError(f"by: expected more than the repair may miss by, {allowed:.4g}")
            hit = hit.replace("found", "repaired").replace("expected", "truth")
        self._record(claim, means, "refuted", f"printed {missed}; {hit}", note, source)

    def watch(self, policy: Any) -> None:
        """Remember a policy, before a training loop that leaves no run behind."""
        if not (hasattr(policy, "log_probs") and hasattr(policy, "parameters")):
            raise ValueError(
                f"policy: expected a module with log_probs(), got {type(policy).__name__}"
            )
        self._watched.append((policy, policy.log_probs().detach().clone()))

    def headline(self, name: str, value: str) -> None:
        """Put a figure at the head of the report that a full run prints."""
        display(Headline(name, value))

    def summary(self) -> None:
        """List the claims this notebook has evidence for, with the means by which it was found.

        F is not among them, since no notebook runs Coq. A verdict is judged over all notebooks
        and theorems together: see `shortcomings`.
        """
        rows = []
        for claim in self._claims.values():
            own = {e.means for e in self.evidence if e.claim == claim.id}
            means = "".join(m for m in MEANS if m in own)
            if own:
                rows.append((claim.id, claim.verdict, means, claim.statement))
        against = contradictions(self.evidence, self._claims)
        counts = f"{counted(len(rows), 'claim')}, {counted(len(self.evidence), 'check')}"
        end = f"{counts}, {'not ' if against else ''}all as claimed."
        display(Summary(rows, "\n".join([end, *against])))

    def _known(self, claim: str) -> None:
        if claim not in self._claims:
            raise ValueError(f"claim: expected an id in claims.toml, got {claim!r}")

    def _record(
        self, claim: str, means: str, kind: str, held: str, note: str, source: str = ""
    ) -> None:
        entry = Evidence(claim, means, kind, held, note, source)
        self.evidence.append(entry)
        display(entry)

    def _within(
        self,
        claim: str,
        means: str,
        found: Any,
        expected: Any,
        bound: float | None,
        relative: float | None,
        note: str,
        of: Any,
    ) -> None:
        self._known(claim)
        source = self._source(claim, means, of)
        held = self._agree(claim, found, expected, bound, relative)
        self._record(claim, means, "agrees", held, note, source)

    def _agree(
        self, claim: str, found: Any, expected: Any, bound: float | None, relative: float | None
    ) -> str:
        from dpo_edu import _compare

        holds, text, gap = _compare.agreement(found, expected, bound, relative)
        if not holds:
            raise ClaimFailed(claim, text, f"a difference of {gap}")
        return text

    def _equal(self, claim: str, found: sp.Expr, expected: sp.Expr) -> None:
        left, right = _exact("found", found), _exact("expected", expected)
        if isinstance(left, sp.MatrixBase) != isinstance(right, sp.MatrixBase) or (
            isinstance(left, sp.MatrixBase) and left.shape != right.shape
        ):
            raise ValueError(f"expected: expected the shape of found, got {right}")
        gaps = left - right
        if not all(map(symbolic.is_zero, gaps if isinstance(gaps, sp.MatrixBase) else [gaps])):
            raise ClaimFailed(claim, str(expected), f"{found}, not shown to be equal")

    def _ordered(self, claim: str, left: Any, relation: str, right: Any) -> str:
        gap = _exact("left", left) - _exact("right", right)
        if not isinstance(gap, sp.Expr):
            raise ValueError(f"left: expected one expression, got {type(gap).__name__}")
        if not symbolic.is_plain(gap):
            raise ValueError(f"left: expected sums with limits in order, got {gap}")
        gap = sp.simplify(sp.expand_log(symbolic.bound_apart(gap)))
        signs = {"<": "negative", "<=": "nonpositive", ">": "positive", ">=": "nonnegative"}
        if relation not in signs:
            raise ValueError(f"relation: expected one of {', '.join(signs)}, got {relation!r}")
        if not getattr(gap, f"is_{signs[relation]}"):
            raise ClaimFailed(claim, f"left {relation} right", f"left - right = {gap}, sign open")
        return f"left - right is {signs[relation]} whatever its symbols"

    def _misses(
        self,
        claim: str,
        means: str,
        found: Any,
        expected: Any,
        by: float | None,
        at: Mapping[sp.Expr, sp.Expr] | None,
    ) -> str:
        """How far the formula misses, in words; raises if it does not."""
        if means == "S":
            if by is not None:
                raise ValueError(f"by: expected None for symbolic evidence, got {by!r}")
            missed = symbolic.miss(_exact("found", found), _exact("expected", expected), at)
            if missed is None:
                raise ClaimFailed(claim, f"something other than {expected}", str(found))
            return f"misses by {missed[0]:.4g} at {missed[1]}"
        if at is not None:
            raise ValueError("at: expected None for evidence in numbers")
        from dpo_edu import _compare

        misses, size = _compare.miss(found, expected, by)
        if not misses:
            raise ClaimFailed(claim, f"a miss of {by:.4g} or more", f"a miss of {size:.4g}")
        return f"misses by {size:.3g} >= {by:.4g}"

    def _source(self, claim: str, means: str, of: Any) -> str:
        """Refuse trained numbers without training and data without a source; say the source."""
        if means not in MEANS or means == "F":
            raise ValueError(
                f"means: expected one of S, N, T, D, got {means!r} (F is Coq's to say)"
            )
        if means in ("S", "N"):
            if of is not None:
                raise ValueError(f"of: expected None for means {means}, got {type(of).__name__}")
            return ""
        for item in of if isinstance(of, (list, tuple)) and of else [of]:
            if means == "D" and not _is(item, "dpo_edu.datasets", "Votes"):
                raise ValueError(f"of: expected datasets.Votes, got {type(item).__name__}")
            if means == "T" and not self._is_trained(item):
                raise ValueError(
                    "of: expected a TrainingRun, a PolicyRun, or a policy that was watched and has "
                    f"changed since, got {type(item).__name__}"
                )
        votes = (of if isinstance(of, (list, tuple)) else [of]) if means == "D" else []
        return "; ".join(dict.fromkeys(f"{v.source} ({v.licence})" for v in votes))

    def _is_trained(self, item: Any) -> bool:
        """A run that the package returned, or a policy with other numbers than when watched."""
        starts = [start for policy, start in self._watched if policy is item]
        if not starts:
            return any(_is(item, module, name) for module, name in RUNS.items())
        before, now = starts[-1].cpu(), item.log_probs().detach().cpu()
        return bool((now != before).any()) and not bool((now != now).any())


def _exact(name: str, value: Any) -> Any:
    """A SymPy expression, or a matrix that is not empty, without decimals or infinities."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = sp.Integer(value)
    if not isinstance(value, (sp.Expr, sp.MatrixBase)):
        raise ValueError(f"{name}: expected a SymPy expression, got {type(value).__name__}")
    if isinstance(value, sp.MatrixBase) and not value:
        raise ValueError(f"{name}: expected at least one entry, got an empty matrix")
    if value.has(sp.Float, sp.nan, sp.zoo, sp.oo, -sp.oo, sp.I):
        raise ValueError(f"{name}: expected exact, finite, real terms, got {value}")
    return value


def _is(item: Any, module: str, name: str) -> bool:
    """Whether it is of that class, which need not be imported to find that it is not."""
    return module in sys.modules and isinstance(item, getattr(sys.modules[module], name))


def counted(number: int, noun: str) -> str:
    """A number of things in words.

    >>> counted(1, "claim"), counted(2, "claim")
    ('1 claim', '2 claims')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def evidence_in(notebook: Mapping[str, Any]) -> list[Evidence]:
    """The evidence stored in the outputs of an executed notebook (its JSON as a dictionary).

    >>> evidence_in({"cells": []})
    []
    """
    return [Evidence(**data) for data in _stored(notebook, EVIDENCE)]


def headlines_in(notebook: Mapping[str, Any]) -> list[Headline]:
    """The headline figures stored in the outputs of an executed notebook.

    >>> headlines_in({"cells": []})
    []
    """
    return [Headline(**data) for data in _stored(notebook, HEADLINE)]


def formal_in(record: Mapping[str, Any], claims: Mapping[str, Claim]) -> list[Evidence]:
    """The theorems in the record of what Coq proved (its TOML as a dictionary).

    A theorem of a refuted claim refutes it; one called `..._needs_...` shows that a hypothesis
    cannot be dropped.

    >>> formal_in({"theorem": {}}, {})
    []
    """
    found = []
    for name, entry in record["theorem"].items():
        known = claims.get(entry["claim"])
        kind = "counterexample" if "_needs_" in name else "agrees"
        kind = "refuted" if known and known.verdict == "refuted" else kind
        source = f"proofs/{entry['file']}"
        found.append(Evidence(entry["claim"], "F", kind, entry["statement"], name, source))
    return found


def _stored(notebook: Mapping[str, Any], mime: str) -> list[dict[str, str]]:
    outputs = (o for cell in notebook["cells"] for o in cell.get("outputs", ()))
    return [o["data"][mime] for o in outputs if mime in o.get("data", {})]


def verdict_of(evidence: Sequence[Evidence]) -> str | None:
    """The verdict that evidence for one claim amounts to; None where there is none or it clashes.

    >>> verdict_of([Evidence("G4", "N", "agrees", "")])
    'holds'
    """
    kinds = {e.kind for e in evidence}
    found = {
        frozenset({"agrees"}): "holds",
        frozenset({"agrees", "counterexample"}): "qualified",
        frozenset({"refuted"}): "refuted",
    }
    return found.get(frozenset(kinds))


def contradictions(evidence: Iterable[Evidence], claims: Mapping[str, Claim]) -> list[str]:
    """Evidence of a kind that the catalogue's verdict does not rest on, with the evidence.

    >>> contradictions([Evidence("P3", "N", "agrees", "found = expected")], catalogue())
    ['P3: the catalogue says refuted, against it: P3  numeric  holds: found = expected']
    """
    return [
        f"{e.claim}: the catalogue says {claims[e.claim].verdict}, against it: {e}"
        for e in evidence
        if e.claim in claims and e.kind not in SPEAKS_FOR[claims[e.claim].verdict]
    ]


def shortcomings(evidence: Iterable[Evidence], claims: Mapping[str, Claim]) -> list[str]:
    """What the evidence leaves open: unknown ids, missing means, verdicts or theorems that differ.

    >>> shortcomings([], {})
    []
    """
    entries = list(evidence)
    found = [f"{e.claim}: not in the catalogue" for e in entries if e.claim not in claims]
    found += contradictions(entries, claims)
    for claim in claims.values():
        own = [e for e in entries if e.claim == claim.id]
        shown = {e.means for e in own if e.kind != "counterexample"}
        missing = [m for m in claim.means if m not in shown]
        if missing:
            found.append(f"{claim.id}: no evidence by means {', '.join(missing)}")
        found += _misstated(claim, own)
        verdict, expected = verdict_of(own), claim.verdict
        agreed = verdict == ("holds" if expected == "definition" else expected)
        if own and not agreed and not contradictions(own, claims):
            found.append(
                f"{claim.id}: evidence amounts to {verdict}, the catalogue says {expected}"
            )
    return list(dict.fromkeys(found))


def _misstated(claim: Claim, evidence: Iterable[Evidence]) -> list[str]:
    """Theorems that the catalogue and the record do not state alike, whitespace aside."""
    proved = {e.note: e.held.split() for e in evidence if e.means == "F"}
    stated = {name: text.split() for name, text in claim.formal.items()}
    found = []
    for name in stated | proved:
        if name not in stated:
            found.append(f"theorem {name} is proved, but the catalogue does not state it")
        elif name not in proved:
            found.append(f"theorem {name} is stated in the catalogue, but not proved")
        elif stated[name] != proved[name]:
            found.append(f"theorem {name} is stated otherwise in the catalogue than Coq proved it")
    return [f"{claim.id}: {text}" for text in found]
