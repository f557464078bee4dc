"""Formulas written on one line of plain text, typeset as HTML: ``pi_ref exp(r/beta)/Z``.

The catalogue of claims and the notes of evidence are plain text, for terminals; where there is a
page, Greek letters, subscripts and exponents are made of it. Prose stays as it is.
"""

import html
import re

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ",
    "lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
    "Delta": "Δ", "Lambda": "Λ",
}  # fmt: skip
SIGNS = {
    "||": "‖", "<=": "≤", ">=": "≥", "!=": "≠", "->": "→", "+-": "±", " - ": " − ", "-": "−",
    "+infinity": "+∞", "-infinity": "−∞", "infinity": "∞", "sum": "Σ", "r^": "r̂", "1_": "𝟙_",
}  # fmt: skip
_NAME = re.compile(rf"(?<![^\W_])(d?)({'|'.join(GREEK)})(?=\b|_|\d)")
_SIGN = re.compile(
    r"\|\||<=|>=|!=|->|\+-| - |[+-]?\binfinity\b|\bsum(?=_| π| log| \()|\br\^(?![^\W_]|\()|\b1_"
    r"|(?<![\w)\]])-(?=[\w(])"
)
_BELOW = re.compile(
    r"(?<![\w.])(d?[A-Za-zα-ωΔΛΣ𝟙]\*?|r̂|KL|Var|Cov|ref)_(\w+\*?(?:,\w+)*|\{[^}]*\})"
)
_ABOVE = re.compile(r"\^(\([^()]*\)|[-−]?\w+)")


def typeset(text: str) -> str:
    """The text as HTML.

    >>> typeset("pi_ref exp(r/beta)/Z >= 0")
    'π<sub>ref</sub> exp(r/β)/Z ≥ 0'
    """
    text = _NAME.sub(lambda match: match[1] + GREEK[match[2]], text)
    text = _SIGN.sub(lambda match: SIGNS[match[0]], text)
    text = html.escape(text, quote=False)
    text = _BELOW.sub(lambda match: f"{match[1]}<sub>{match[2].strip('{}')}</sub>", text)
    return _ABOVE.sub(lambda match: f"<sup>{_bare(match[1])}</sup>", text)


def _bare(exponent: str) -> str:
    return exponent[1:-1] if exponent.startswith("(") else exponent
