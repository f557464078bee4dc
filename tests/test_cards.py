"""The cards of the losses: all of one form, each formula the function that the card names."""

import math
import random
import re
from collections.abc import Callable

import pytest
import torch

from dpo_edu import losses
from tools import notebooks

ROOMS = ("change_the_loss", "reward_each_response")
CARDS = {
    cell.id: cell.source
    for room in ROOMS
    for cell in notebooks.read(notebooks.numbered(room)[0]).cells
    if cell.id.endswith("-card")
}
REFERENCES = (notebooks.ROOT / "docs" / "references.md").read_text("utf-8")
FORM = re.compile(
    r"### [^\n]+\n\n\*\*[^*]+\*\*: (?P<function>[^;]+); TRL: (?P<trl>[^\n]+)\n\n"
    r"\$\$\n(?P<formula>[^\n]+)\n\$\$\n\n- \*\*Optimum\.\*\* [^\n]+\n"
    r"- \*\*Votes that never err\.\*\* [^\n]+\n- \*\*log Z\*\* [^\n]+ \*\*Length\*\* [^\n]+\n"
    r"- \*\*Use when\*\* [^\n]+\n- \*\*Source\.\*\* (?P<source>[^\n]+)"
)
OF_TRL = {
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot",
    "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm", "ld_alpha",
    "use_weighting",
}  # fmt: skip


@pytest.mark.parametrize("card", CARDS)
def test_a_card_has_the_common_form_and_its_source_is_a_reference(card: str) -> None:
    match = FORM.fullmatch(CARDS[card])
    assert match
    links = re.findall(r"\((https://[^)]+)\)", match["source"])
    assert links and all(link in REFERENCES for link in links)


def test_every_loss_has_a_card_and_every_name_of_the_library() -> None:
    matches = [FORM.fullmatch(text) for text in CARDS.values()]
    named = {word for m in matches for word in re.findall(r"`(\w+)`", m["function"])}
    public = {name for name in vars(losses) if name.endswith("_loss") and name[0] != "_"}
    assert public <= named
    assert all(hasattr(losses, name) for name in named - {"label_smoothing"})
    assert {word for m in matches for word in re.findall(r"`(\w+)`", m["trl"])} >= OF_TRL


# --- formulas -----------------------------------------------------------------------------------

TOKEN = re.compile(
    r"\\log\\pi\(y_[wl]\)|\\pi\(y_[wl]\)|\|y_[wl]\||h_[wl]|s_[wl]|z_0|\\[a-z]+|[hsDU]|\d+|\S"
)
FUNCTIONS: dict[str, Callable[..., float]] = {
    r"\log": math.log,
    r"\exp": math.exp,
    r"\max": max,
    r"\sigma": lambda x: 1 / (1 + math.exp(-x)),
    r"\ell": lambda x: math.log1p(math.exp(-x)),
}


class Formula:
    r"""What a card writes, as a number: sums, products without a sign, \frac, powers, functions."""

    def __init__(self, text: str, values: dict[str, float]) -> None:
        plain = re.sub(r"\\[bB]ig(?![a-z])|\\[,;!]", "", text)
        self.tokens, self.values = TOKEN.findall(plain), values
        self.value = self.sum()
        assert not self.tokens, f"not understood: {self.tokens}"

    def eat(self, *wanted: str) -> str | None:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in wanted else None

    def sum(self) -> float:
        total = self.product()
        while sign := self.eat("+", "-"):
            total += self.product() * (1 if sign == "+" else -1)
        return total

    def product(self) -> float:
        if self.eat("-"):
            return -self.product()
        found = self.power()
        while self.tokens and self.tokens[0] not in ("+", "-", ")", "}", ","):
            found = found / self.power() if self.eat("/") else found * self.power()
        return found

    def power(self) -> float:
        base = self.atom()
        return base ** float(self.tokens.pop(0)) if self.eat("^") else base

    def atom(self) -> float:
        token = self.tokens.pop(0)
        if token in ("(", "{"):
            found = self.sum()
            assert self.eat(")", "}")
            return found
        if token == r"\frac":
            return self.atom() / self.atom()
        if token in FUNCTIONS:
            return FUNCTIONS[token](*self.arguments())
        return self.values[token] if token in self.values else float(token)

    def arguments(self) -> list[float]:
        if not self.eat("("):
            return [self.atom()]
        found = [self.sum()]
        while self.eat(","):
            found.append(self.sum())
        assert self.eat(")")
        return found


def draw(seed: int) -> dict[str, float]:
    """Numbers for all symbols of the cards."""
    rng = random.Random(seed)
    names = (r"\beta", r"\gamma", r"\delta", r"\tau", "z_0", "D", "U")
    values = {name: rng.uniform(0.2, 1.5) for name in names} | {r"\varepsilon": 0.15}
    for y in "wl":
        log_pi, log_ref = rng.uniform(-3, -0.1), rng.uniform(-3, -0.1)
        values |= {rf"\log\pi(y_{y})": log_pi, rf"\pi(y_{y})": math.exp(log_pi)}
        values |= {f"|y_{y}|": rng.randint(1, 5), f"h_{y}": log_pi - log_ref}
        values[f"s_{y}"] = values[r"\beta"] * values[f"h_{y}"]
    return values | {"h": values["h_w"] - values["h_l"], "s": values["s_w"] - values["s_l"]}


SYMBOLS = {  # which keyword of the function a symbol of the card is
    "cdpo": {"label_smoothing": r"\varepsilon"},
    "robust": {"label_smoothing": r"\varepsilon"},
    "exo": {"label_smoothing": r"\varepsilon"},
    "discopop": {"tau": r"\tau"},
    "simpo": {"gamma": r"\gamma"},
    "bco": {"reward_shift": r"\delta"},
    "kto": {"kl": "z_0", "desirable_weight": "D", "undesirable_weight": "U"},
}
OF_MEANS, NO_REFERENCE = ("norm", "ipo-means", "simpo"), ("simpo", "orpo", "sft")
OTHERWISE = ("ld", "wpo", "aot")  # of tokens or of a batch: tests/test_losses.py, claims K15 to K17


def by_function(card: str, values: dict[str, float]) -> float:
    """The value of the function that the card names."""
    name = re.search(r"`(\w+_loss)`", FORM.fullmatch(CARDS[f"{card}-card"])["function"])[1]
    arguments = [values[rf"\log\pi(y_{y})"] for y in "wl"]
    if card not in NO_REFERENCE:
        arguments += [arguments[i] - values[f"h_{y}"] for i, y in enumerate("wl")]
    if card in OF_MEANS:
        arguments = [x / values[f"|y_{y}|"] for x, y in zip(arguments, "wlwl", strict=False)]
    given = {word: values[symbol] for word, symbol in SYMBOLS.get(card, {}).items()}
    tensors = [torch.tensor([x], dtype=torch.float64) for x in arguments]
    return getattr(losses, name)(*tensors, beta=values[r"\beta"], **given).item()


@pytest.mark.parametrize("card", [c[:-5] for c in CARDS if c[:-5] not in OTHERWISE])
def test_the_formula_of_a_card_is_its_function(card: str) -> None:
    formula = FORM.fullmatch(CARDS[f"{card}-card"])["formula"]
    for seed in range(20):
        values = draw(seed)
        assert Formula(formula, values).value == pytest.approx(by_function(card, values), rel=1e-9)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"2\,h_w - \frac{1}{2\beta}", 5.0),
        (r"\Big(h_w - 1\Big)^2", 4.0),
        (r"-h_w/\beta + \max(0, 1 - h_w)", -6.0),
        (r"\log\frac{h_w}{3}\exp(h_w)", 0.0),
    ],
)
def test_a_formula_is_read_as_it_is_meant(text: str, value: float) -> None:
    assert Formula(text, {"h_w": 3.0, r"\beta": 0.5}).value == pytest.approx(value)


def test_what_is_not_understood_is_refused() -> None:
    for text in ("h_w)", r"h_w + \zeta", "2 h_q"):
        with pytest.raises((AssertionError, ValueError)):
            Formula(text, {"h_w": 3.0})
