"""The ledger: evidence for the claims of ``claims.toml``, recorded where it is produced.

A check cell of a notebook compares two things that were found by independent routes. The ledger
decides, prints one stable line, stores the same in the cell's output for machines, and raises
`ClaimFailed` when the comparison does not come out as claimed. The verdict on a claim is not
declared but derived from its evidence:

======================================  ====================
evidence                                verdict
======================================  ====================
agreements only                         holds (or definition)
agreements and a counterexample         qualified
a printed formula refuted and repaired  refuted
======================================  ====================
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import numpy as np
import sympy as sp
from IPython.display import display

from dpo_edu import symbolic

EVIDENCE = "application/vnd.dpo-edu.evidence+json"
HEADLINE = "application/vnd.dpo-edu.headline+json"
MEANS = {"S": "symbolic", "N": "numeric", "T": "trained", "D": "data"}
VERDICTS = ("holds", "definition", "qualified", "refuted")


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

    >>> catalogue()["G4"].means
    ('S', 'N')
    """

    id: str
    statement: str
    source: str
    verdict: str
    means: tuple[str, ...]
    notebook: str
    note: str = ""


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
    note: str = ""

    def __str__(self) -> str:
        word = {"agrees": "holds", "counterexample": "fails without its hypothesis"}
        line = (
            f"{self.claim:<3} {MEANS[self.means]:<8} {word.get(self.kind, 'refuted')}: {self.held}"
        )
        return f"{line}   ({self.note})" if self.note else line

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        return {"text/plain": str(self), EVIDENCE: asdict(self)}


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


def catalogue() -> dict[str, Claim]:
    """All claims by id, in the order of ``claims.toml``.

    >>> catalogue()["P3"].verdict
    'refuted'
    """
    text = resources.files("dpo_edu").joinpath("claims.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)
    return {id: Claim(id=id, **{**row, "means": tuple(row["means"])}) for id, row in rows.items()}


def _deviation(found: Any, expected: Any) -> float:
    """Largest absolute difference; infinities must agree in place and sign, NaN never agrees."""
    a, b = np.broadcast_arrays(np.asarray(found, float), np.asarray(expected, float))
    if a.size == 0:
        return float("inf")
    with np.errstate(invalid="ignore"):
        gap = np.where(a == b, 0.0, np.abs(a - b))
    return float("inf") if np.isnan(gap).any() else float(gap.max())


def _text(number: float) -> str:
    return f"{number:.4g}"


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, (sp.Basic, sp.MatrixBase))


class Ledger:
    """Records evidence for claims; the verdict must match the catalogue when the ledger is closed.

    Every method takes the claim's id and an optional `note` saying what was compared with what.

    Raises
    ------
    ClaimFailed
        When a comparison does not come out as claimed.
    ValueError
        When the id is unknown, or the kind of evidence does not fit the claim's verdict.

    Source: the claims in ``claims.toml``.

    >>> ledger = Ledger()
    >>> ledger.numeric("G4", 0.1 + 0.2, 0.3, bound=1e-12)
    G4  numeric  holds: |found - expected| <= 1e-12
    """

    def __init__(self) -> None:
        self.evidence: list[Evidence] = []
        self._claims = catalogue()

    def symbolic(self, claim: str, found: sp.Expr, expected: sp.Expr, *, note: str = "") -> None:
        """Two SymPy expressions are equal; general-n sums are compared term by term."""
        self._equal(claim, found, expected)
        self._record(claim, "S", "agrees", "found - expected = 0 identically", note)

    def numeric(
        self, claim: str, found: Any, expected: Any, *, bound: float = 1e-12, note: str = ""
    ) -> None:
        """Two arrays found by independent routes agree within `bound`."""
        self._within(claim, "N", found, expected, bound, note)

    def trained(
        self, claim: str, found: Any, expected: Any, *, bound: float, note: str = ""
    ) -> None:
        """What training reached agrees with what theory says, within `bound`."""
        self._within(claim, "T", found, expected, bound, note)

    def data(self, claim: str, found: Any, expected: Any, *, bound: float, note: str = "") -> None:
        """What real votes give agrees with the expected value, within `bound`."""
        self._within(claim, "D", found, expected, bound, note)

    def counterexample(
        self,
        claim: str,
        means: str,
        found: Any,
        expected: Any,
        *,
        when: str,
        by: float | None = None,
        note: str = "",
    ) -> None:
        """Without its hypothesis (`when` says which) the statement misses, by at least `by`."""
        miss = self._misses(claim, found, expected, by)
        self._record(claim, means, "counterexample", f"{when}: {miss}", note)

    def refuted(
        self,
        claim: str,
        means: str,
        *,
        printed: Any,
        repaired: Any,
        truth: Any,
        by: float | None = None,
        bound: float = 1e-12,
        note: str = "",
    ) -> None:
        """The printed formula misses the truth by at least `by`; the repaired one hits it."""
        miss = self._misses(claim, printed, truth, by)
        if _is_symbolic(repaired):
            self._equal(claim, repaired, truth)
            hit = "repaired - truth = 0 identically"
        else:
            self._agree(claim, repaired, truth, bound)
            hit = f"|repaired - truth| <= {_text(bound)}"
        self._record(claim, means, "refuted", f"printed {miss}; {hit}", note)

    def headline(self, name: str, value: str) -> None:
        """Put a figure at the head of the report that a full run prints."""
        display(Headline(name, value))

    def summary(self) -> None:
        """List the claims this notebook has evidence for, with the means by which it was found.

        A verdict is judged over all notebooks together: see `shortcomings`.
        """
        touched = [c for c in self._claims.values() if any(e.claim == c.id for e in self.evidence)]
        for claim in touched:
            own = [e for e in self.evidence if e.claim == claim.id]
            means = "".join(m for m in MEANS if any(e.means == m for e in own))
            print(f"{claim.id:<3} {claim.verdict:<10} {means:<4} {claim.statement}")
        print(f"{len(touched)} claims, {len(self.evidence)} checks, all as claimed.")

    def _claim(self, claim: str, kind: str) -> Claim:
        if claim not in self._claims:
            raise ValueError(f"claim: expected an id in claims.toml, got {claim!r}")
        allowed = {
            "holds": {"agrees"},
            "definition": {"agrees"},
            "qualified": {"agrees", "counterexample"},
            "refuted": {"refuted"},
        }
        verdict = self._claims[claim].verdict
        if kind not in allowed[verdict]:
            raise ValueError(f"{claim}: expected evidence that it is {verdict}, got {kind!r}")
        return self._claims[claim]

    def _record(self, claim: str, means: str, kind: str, held: str, note: str) -> None:
        self._claim(claim, kind)
        if means not in MEANS:
            raise ValueError(f"means: expected one of S, N, T, D, got {means!r}")
        entry = Evidence(claim, means, kind, held, note)
        self.evidence.append(entry)
        display(entry)

    def _within(
        self, claim: str, means: str, found: Any, expected: Any, bound: float, note: str
    ) -> None:
        self._agree(claim, found, expected, bound)
        held = f"|found - expected| <= {_text(bound)}" if bound else "found = expected"
        self._record(claim, means, "agrees", held, note)

    def _agree(self, claim: str, found: Any, expected: Any, bound: float) -> None:
        gap = _deviation(found, expected)
        if not gap <= bound:
            raise ClaimFailed(
                claim, f"agreement within {_text(bound)}", f"a difference of {_text(gap)}"
            )

    def _equal(self, claim: str, found: sp.Expr, expected: sp.Expr) -> None:
        # Equal first: the difference of two infinities is no number.
        if found != expected and not symbolic.is_zero(sp.sympify(found) - sp.sympify(expected)):
            raise ClaimFailed(claim, str(expected), f"{found}, not shown to be equal")

    def _misses(self, claim: str, found: Any, expected: Any, by: float | None) -> str:
        """How far the formula misses, in words; raises if it does not."""
        if by is None:
            if not symbolic.differs(found, expected):
                raise ClaimFailed(claim, f"something other than {expected}", str(found))
            gap = symbolic.at_numbers(found - expected)
            return f"misses by {sp.N(gap, 4)} at sample numbers"
        size = _deviation(found, expected)
        if not size >= by > 0:
            raise ClaimFailed(claim, f"a miss of {_text(by)} or more", f"a miss of {_text(size)}")
        return f"misses by {size:.3g} >= {_text(by)}"


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


def shortcomings(evidence: Iterable[Evidence], claims: Mapping[str, Claim]) -> list[str]:
    """What the evidence leaves open: unknown ids, missing means, verdicts that differ.

    >>> shortcomings([], {})
    []
    """
    entries = list(evidence)
    found = [f"{e.claim}: not in the catalogue" for e in entries if e.claim not in claims]
    for claim in claims.values():
        own = [e for e in entries if e.claim == claim.id]
        missing = [m for m in claim.means if m not in {e.means for e in own}]
        if missing:
            found.append(f"{claim.id}: no evidence by means {', '.join(missing)}")
        verdict, expected = verdict_of(own), claim.verdict
        if own and verdict != ("holds" if expected == "definition" else expected):
            found.append(
                f"{claim.id}: evidence amounts to {verdict}, the catalogue says {expected}"
            )
    return list(dict.fromkeys(found))
