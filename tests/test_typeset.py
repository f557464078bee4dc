"""Plain text of formulas becomes a page's, and prose stays as it is."""

import html
import re

import pytest

from dpo_edu import ledger
from dpo_edu._typeset import typeset


@pytest.mark.parametrize(
    ("plain", "page"),
    [
        ("pi_ref exp(r/beta)/Z", "π<sub>ref</sub> exp(r/β)/Z"),
        ("E_pi*[r] >= 0", "E<sub>π*</sub>[r] ≥ 0"),
        ("-beta KL(pi || pi*)", "−β KL(π ‖ π*)"),
        ("pi_ref,k -> 0 < pi_k", "π<sub>ref,k</sub> → 0 &lt; π<sub>k</sub>"),
        ("exp(r)^(1/beta), beta^2", "exp(r)<sup>1/β</sup>, β<sup>2</sup>"),
        ("r^_w - r^", "r̂<sub>w</sub> − r̂"),
        ("dJ*/dbeta", "dJ*/dβ"),
        ("one-to-one, Bradley-Terry, to sum to 1", "one-to-one, Bradley-Terry, to sum to 1"),
        ("losses.dpo_loss, a pin, alphabet", "losses.dpo_loss, a pin, alphabet"),
    ],
)
def test_a_formula_is_typeset_and_a_word_is_not(plain: str, page: str) -> None:
    assert typeset(plain) == page


@pytest.mark.parametrize("claim", ledger.catalogue().values(), ids=lambda claim: claim.id)
def test_no_mark_of_plain_text_is_left_in_a_claim(claim: ledger.Claim) -> None:
    page = typeset(f"{claim.statement} {claim.note}")
    text = html.unescape(re.sub(r"</?su[bp]>", "", page))
    assert re.findall(r"\w_\w|\^|<=|>=|->|\|\||\b(?:pi|beta|sigma|lambda|infinity)\b", text) == []
    assert page.count("<su") == page.count("</su")
