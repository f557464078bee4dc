"""The playground: the package's formulas in a browser, and a page that everybody can use."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
import torch
from chromium import Page

import conftest
from dpo_edu import distributions, gibbs, losses, plots, policies, preferences, statistics
from dpo_edu.training import fit_table, minibatch_dpo
from tools import notebooks

FOLDER = notebooks.ROOT / "docs" / "playground"
FILES = sorted(FOLDER.iterdir())
INDEX = (FOLDER / "index.html").read_text("utf-8")
STYLE = (FOLDER / "style.css").read_text("utf-8")
NOISE, COMMON = 0.1, np.array([-2.0, -3.0, 2.0])
KINDS = ["dpo", "ipo", "hinge", "robust", "kto"]
PAIRS = [(0, 1), (0, 2), (1, 2)]
STEPS = 5


def in_browser(test: Any) -> Any:
    """A test that opens Chromium: deselected where there is none, and no part of `make quick`."""
    return pytest.mark.browser(pytest.mark.slow(test))


# --- without a browser --------------------------------------------------------------------------


def large(texts: list[str]) -> list[str]:
    """What is too long: all texts together, and single lines."""
    lines = [line for text in texts for line in text.splitlines()]
    return [f"{len(lines)} lines"] * (len(lines) > 900) + [x for x in lines if len(x) > 100]


def test_the_playground_is_small() -> None:
    assert large([path.read_text("utf-8") for path in FILES]) == []
    assert large(["x\n" * 450, "x\n" * 451]) == ["901 lines"]
    assert large(["x" * 101]) == ["x" * 101]


def foreign(text: str) -> list[str]:
    """Addresses of other hosts."""
    return re.findall(r"(?:\w+:)?//[\w-]+\.[\w.-]+", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_other_host_is_named(path: Path) -> None:
    assert foreign(path.read_text("utf-8")) == []


def test_another_host_is_found() -> None:
    text = '<script src="//cdn.example.org/d3.js">fetch("https://example.com") // a remark'
    assert len(foreign(text)) == 2


def test_the_mathematics_knows_no_page() -> None:
    source = (FOLDER / "maths.js").read_text("utf-8")
    page = re.compile(r"\bdocument\b|\bwindow\b|^import", re.MULTILINE)
    assert page.findall(source) == []
    assert page.findall('import "./page.js";\ndocument.title = "";') == ["import", "document"]


class Controls(HTMLParser):
    """What can be reached in a page, and whether words name it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.label: list[str] = []
        self.within_label = self.live = False
        self.button: str | None = None
        self.nameless: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.live |= given.get("aria-live") == "polite"
        if tag == "label":
            self.within_label, self.label = True, []
        labelled = self.within_label and "".join(self.label).strip()
        # An <output> before the control would take the label: it belongs to the first of both.
        if tag == "output" and self.within_label:
            self.within_label = False
        later = tag == "input" and given.get("type") == "checkbox" and self.within_label
        if tag in ("input", "select") and not (labelled or later or "aria-label" in given):
            self.nameless.append(f"{tag} {given.get('name')}")
        if "tabindex" in given and not ("aria-label" in given and "role" in given):
            self.nameless.append(f"{tag} {given.get('id')}")
        if tag == "button":
            self.button = f"button {given.get('id')}"

    def handle_data(self, data: str) -> None:
        self.label.append(data)
        if data.strip():
            self.button = None

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self.within_label = False
        if tag == "button" and self.button:
            self.nameless.append(self.button)


def test_every_control_is_named_and_what_is_seen_is_said() -> None:
    page = Controls(INDEX)
    assert page.nameless == []
    assert page.live


@pytest.mark.parametrize(
    "text",
    [
        '<input name="x">',
        '<label>x <output></output><input name="x"></label>',
        '<label><select name="x"></select></label>',
        "<button id=x></button>",
        '<g id="x" tabindex="0" role="slider">',
    ],
)
def test_a_control_without_a_name_is_found(text: str) -> None:
    page = Controls(text)
    assert len(page.nameless) == 1
    assert not page.live


def colours() -> dict[str, tuple[str, str]]:
    """The variables of the style sheet, in the light and in the dark."""
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", STYLE)
    return {name: (light, dark) for name, light, dark in pairs}


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 defines it, 1 to 21."""

    def luminance(colour: str) -> float:
        c = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_the_colours_are_those_of_the_figures() -> None:
    found = colours()
    for role in ("truth", "model", "ref", "wrong", "other"):
        assert found[role][0] == plots.COLORS[role]
        assert found[f"{role}-ink"][0] == plots.INK[role]


def faint(found: dict[str, tuple[str, str]]) -> list[str]:
    """Words below a contrast of 4.5 to their ground, and marks below 3 (pink on white: 2.8)."""
    least = {name: 4.5 for name in found if name.endswith("ink") or name in ("words", "faint")}
    least |= dict.fromkeys(["truth", "model", "ref", "other"], 3.0) | {"wrong": 2.8}
    return [
        f"{name} {contrast(one, ground):.2f}"
        for name, bound in least.items()
        for one, ground in zip(found[name], found["page"], strict=True)
        if contrast(one, ground) < bound
    ]


def test_words_and_marks_stand_out_in_light_and_dark() -> None:
    assert faint(colours()) == []
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert len(faint(colours() | {"ref-ink": ("#cccccc", "#444444")})) == 2


def test_a_finger_on_the_reference_does_not_scroll_the_page() -> None:
    handle = re.compile(r"^#handle \{[^}]*touch-action: none", re.MULTILINE)
    assert handle.search(STYLE)
    assert not handle.search(STYLE.replace("touch-action: none;", ""))


def test_the_notebooks_that_are_named_exist() -> None:
    titles = {notebooks.slug(path).replace("_", " ").capitalize() for path in notebooks.numbered()}
    cited = [" ".join(one.split()) for one in re.findall(r"<cite>(.*?)</cite>", INDEX, re.DOTALL)]
    assert len(cited) == 5 and set(cited) <= titles
    assert "Complete the diversion" not in titles


# --- the mathematics, in a browser --------------------------------------------------------------

# A setting in, everything that the page computes from it out.
COMPUTE = """async (settings) => {
  const m = await import("/maths.js");
  return JSON.stringify(settings.map(({ r, ref, beta, policy, pairs, seed, size, q, kind }) => {
    const law = m.voteLaw(r, ref, pairs);
    const wins = m.sampleVotes(law, size, seed);
    const shared = m.features(q);
    const rate = m.learningRate(kind, wins, shared, beta);
    let theta = [0, 0, 0, 0];
    const trained = [], log = [];
    for (let step = 0; step <= STEPS; step += 1) {
      const now = m.logPolicy(theta, shared, ref);
      const seen = m.look(kind, wins, now.map(Math.exp), ref, beta);
      trained.push(now);
      log.push(seen.loss);
      theta = m.step(theta, shared, now.map(Math.exp), seen.slopes, rate);
    }
    const seen = m.LOSSES.map((name) => m.look(name, wins, policy, ref, beta));
    const met = law.map((row, i) => row.map((p, j) => size * (p + law[j][i])));
    return {
      star: m.optimalPolicy(r, ref, beta), logZ: m.logPartition(r, ref, beta),
      J: m.objective(policy, r, ref, beta), kl: m.klDivergence(policy, ref),
      implicit: m.implicitReward(policy, ref, beta), P: m.preference(r),
      never: m.preference(r, "sure"), flipped: m.preference(r, "flip"), law, wins, rate,
      losses: seen.map(({ loss }) => loss), slopes: seen.map(({ slopes }) => slopes),
      logged: [seen[0].chosen, seen[0].rejected, seen[0].margin], trained, log,
      information: m.information(r, met),
      rim: pairs.length > 1 ? m.ellipse(r, met).map((x) => x.map((v, y) => v - r[y])) : null,
      path: m.pathOverBeta(r, ref),
    };
  }));
}""".replace("STEPS", str(STEPS))

Setting = dict[str, Any]


def settings(count: int, seed: int = 0) -> list[Setting]:
    """Random settings of the page."""
    rng = np.random.default_rng(seed)

    def policy() -> list[float]:
        return list(0.02 + 0.94 * rng.dirichlet([1, 1, 1]))

    return [
        {
            "r": list(rng.uniform(-3, 3, 3)),
            "ref": policy(),
            "policy": policy(),
            "beta": float(2 ** rng.uniform(-3, 3)),
            "pairs": [PAIRS[k] for k in sorted(rng.permutation(3)[: rng.integers(1, 4)])],
            "seed": int(rng.integers(10_000)),
            "size": int(rng.integers(5, 60)),
            "q": float(rng.choice([0.0, rng.uniform(0, 1), 1.0])),
            "kind": str(rng.choice(KINDS)),
        }
        for _ in range(count)
    ]


def counted(law: np.ndarray, size: int, seed: int) -> np.ndarray:
    """The votes by mulberry32, in Python's whole numbers."""
    mask, state, counts = 2**32 - 1, seed, np.zeros(9)
    cumulative = np.cumsum(law)
    for _ in range(size):
        state = (state + 0x6D2B79F5) & mask
        x = (state ^ (state >> 15)) * (state | 1) & mask
        x = ((x + ((x ^ (x >> 7)) * (x | 61) & mask)) & mask) ^ x
        draw = (x ^ (x >> 14)) / 2**32 * cumulative[-1]
        counts[np.searchsorted(cumulative, draw, side="right")] += 1
    return counts.reshape(3, 3)


def mean_loss(kind: str, wins: np.ndarray, log_pi: torch.Tensor, one: Setting) -> torch.Tensor:
    """The mean of a loss of the package over the votes."""
    i, j = np.nonzero(wins)
    log_ref = torch.tensor(np.log(one["ref"]))
    options: dict[str, float] = {"beta": one["beta"]}
    if kind == "robust":
        options["label_smoothing"] = NOISE
    if kind == "kto":
        options["kl"] = max((log_pi.exp() * (log_pi - log_ref)).sum().item(), 0.0)
    each = getattr(losses, f"{kind}_loss")(log_pi[i], log_pi[j], log_ref[i], log_ref[j], **options)
    return torch.tensor(wins[i, j] / wins.sum()) @ each


def trained(one: Setting, wins: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Log-policies and losses of the first steps by PyTorch; for DPO also by the package's loop."""
    shared = np.hstack([one["q"] ** 0.5 * COMMON[:, None], (1 - one["q"]) ** 0.5 * np.eye(3)])
    policy = policies.LogLinearPolicy(shared, one["ref"])
    optimiser = torch.optim.SGD(policy.parameters(), lr=rate)
    seen, log = [], []
    for _ in range(STEPS + 1):
        log_pi = policy.log_probs()[0]
        loss = mean_loss(one["kind"], wins, log_pi, one)
        seen.append(log_pi.detach().numpy())
        log.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if one["kind"] == "dpo":
        i, j = np.nonzero(wins)
        many = wins[i, j].astype(int)
        votes = np.repeat([0 * i, i, j], many, axis=1)
        run = minibatch_dpo(
            policies.LogLinearPolicy(shared, one["ref"]), one["ref"],
            preferences.PreferencePairs(*votes), beta=one["beta"], learning_rate=rate,
            batch_size=len(votes[0]), epochs=STEPS, rng=np.random.default_rng(0), device="cpu",
        )  # fmt: skip
        seen[-1], log = run.log_probs[0], list(run.history.loss)
    return np.array(seen), np.array(log)


def safe_rate(one: Setting, wins: np.ndarray) -> float:
    """The rate below which every start of DPO converges: 2 / (beta^2 L)."""
    shared = np.hstack([one["q"] ** 0.5 * COMMON[:, None], (1 - one["q"]) ** 0.5 * np.eye(3)])
    met = (wins + wins.T) / wins.sum()
    even = shared.T @ statistics.fisher_information(np.zeros(3), met) @ shared
    return float(2 / (one["beta"] ** 2 * np.linalg.eigvalsh(even).max()))


def expected(one: Setting, found: dict[str, Any]) -> dict[str, Any]:
    """What the package says of a setting; the rate and the votes are the page's, checked apart."""
    r, ref, beta = np.array(one["r"]), np.array(one["ref"]), one["beta"]
    policy, p = np.array(one["policy"]), preferences.preference_matrix(r)
    asked = np.zeros((3, 3))
    for i, j in one["pairs"]:
        asked[i, j] = asked[j, i] = 1
    law = preferences.expected_wins(r, ref)[0] * asked
    law /= law.sum()
    wins = counted(law, one["size"], one["seed"])
    log_pi = [torch.tensor(np.log(policy), requires_grad=True) for _ in KINDS]
    each = [mean_loss(kind, wins, x, one) for kind, x in zip(KINDS, log_pi, strict=True)]
    s, share = gibbs.implicit_reward(policy, ref, beta=beta), wins / wins.sum()
    chosen, rejected = share.sum(1) @ s, share.sum(0) @ s
    walked, log = trained(one, wins, found["rate"])
    betas = 10 ** (2.5 - 5 * np.arange(160) / 159)
    return {
        "star": gibbs.optimal_policy(r, ref, beta=beta),
        "logZ": gibbs.log_partition(r, ref, beta=beta),
        "J": gibbs.objective(policy, r, ref, beta=beta),
        "kl": distributions.kl_divergence(policy, ref),
        "implicit": s,
        "P": p,
        "never": np.sign(r[:, None] - r) / 2 + 0.5,
        "flipped": (1 - NOISE) * p + NOISE * p.T,
        "law": law,
        "wins": wins,
        "losses": [x.item() for x in each],
        "slopes": [
            torch.autograd.grad(x, at)[0].numpy() for x, at in zip(each, log_pi, strict=True)
        ],
        "logged": [chosen, rejected, chosen - rejected],
        "trained": walked,
        "log": log,
        "information": statistics.fisher_information(r, one["size"] * (law + law.T)),
        "path": [ref, *(gibbs.optimal_policy(r, ref, beta=b) for b in betas)],
    }


def off(one: Setting, found: dict[str, Any]) -> list[str]:
    """Names of the quantities of a setting in which the page differs from the package by 1e-12."""
    wrong = []
    for name, value in expected(one, found).items():
        difference = np.abs(np.array(found[name], dtype=float) - value)
        if not (difference <= 1e-12 * np.maximum(1, np.abs(value))).all():
            wrong.append(name)
    if one["kind"] == "dpo" and not 0 < found["rate"] < safe_rate(one, np.array(found["wins"])):
        wrong.append("rate")
    if found["rim"] is not None and not on_the_rim(one, np.array(found["rim"], dtype=float)):
        wrong.append("rim")
    return wrong


def on_the_rim(one: Setting, rim: np.ndarray) -> bool:
    """Whether the points are the ellipse of the Cramer-Rao bound, 1e-12 of its size apart."""
    law = preferences.expected_wins(one["r"], one["ref"])[0]
    asked = np.isin(np.arange(9), [3 * i + j for i, j in one["pairs"]]).reshape(3, 3)
    met = (law + law.T) * (asked | asked.T)
    bound = statistics.covariance(one["r"], one["size"] * 2 * met / met.sum())
    # Two radii a quarter of a turn apart are conjugate: they give the bound and every point.
    u, v = rim[0], rim[24]
    spread = (np.outer(u, u) + np.outer(v, v)) / (-2 * np.log(0.05))
    turn = 2 * np.pi * np.arange(96)[:, None] / 96
    close = np.abs(rim - u * np.cos(turn) - v * np.sin(turn)).max() <= 1e-12 * np.abs(rim).max()
    return bool(close and np.abs(spread - bound).max() <= 1e-12 * np.abs(bound).max())


def test_without_chromium_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "NAMES", ("no-such-program",))
    assert not conftest.has_browser()
    monkeypatch.setattr(chromium, "NAMES", (sys.executable,))
    assert conftest.has_browser()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium.opened() as tab:
        yield tab


@pytest.fixture(scope="module")
def home() -> Iterator[str]:
    with chromium.served(FOLDER) as address:
        yield address


def computed(page: Page, address: str, asked: list[Setting]) -> list[dict[str, Any]]:
    """What maths.js at an address makes of the settings."""
    page.open(f"{address}/maths.js")
    found: list[dict[str, Any]] = json.loads(page.evaluate(f"({COMPUTE})({json.dumps(asked)})"))
    return found


@in_browser
@pytest.mark.parametrize("seed", range(10))
def test_the_formulas_are_those_of_the_package(page: Page, home: str, seed: int) -> None:
    asked = settings(100, seed)
    found = computed(page, home, asked)
    wrong = {name for one, here in zip(asked, found, strict=True) for name in off(one, here)}
    assert wrong == set()


MUTANTS = [
    ("(reward[y] - best) / beta", "reward[y] - best", "logZ"),
    ("Math.log(ref[y]) + reward[y] / beta", "Math.log(ref[y]) - reward[y] / beta", "star"),
    ("dot(policy, reward) - beta", "dot(policy, reward) + beta", "J"),
    ("p[y] * Math.log(p[y] / q[y])", "q[y] * Math.log(q[y] / p[y])", "kl"),
    ("beta * (Math.log(policy[y]) - Math", "(Math.log(policy[y]) - Math", "implicit"),
    ("reward[i] - reward[j];\n    if", "reward[j] - reward[i];\n    if", "P"),
    ("NOISE + (1 - 2 * NOISE)", "NOISE + (1 - NOISE)", "flipped"),
    ("met[i][j] * p[i][j]) / half", "met[i][j] * p[j][i]) / half", "law"),
    ("0x6d2b79f5", "0x6d2b79f7", "wins"),
    ("-sigmoid(-s), bend]", "-sigmoid(s), bend]", "slopes"),
    ("flip * logSigmoid(-s) - keep", "keep * logSigmoid(-s) - keep", "losses"),
    ("flip * sigmoid(s), bend", "keep * sigmoid(s), bend", "slopes"),
    ("(s - 0.5) / beta", "(s - 1) / beta", "losses"),
    ("s < 1 ?", "s < 0 ?", "losses"),
    ("-bump(w), bump(l)", "bump(w), bump(l)", "slopes"),
    ("sL - beta * kl]", "sL + beta * kl]", "losses"),
    ("mean(wins, (i) => s[i])", "mean(wins, (_, i) => s[i])", "logged"),
    ("slopes[y] - policy[y] *", "slopes[y] + policy[y] *", "trained"),
    ("x - rate *", "x + rate *", "trained"),
    ("Math.sqrt(q) *", "q *", "trained"),
    (": 2) / (beta ** 2", ": 9) / (beta ** 2", "rate"),
    ("p[i][j] * p[j][i]", "p[i][j] * p[i][j]", "information"),
    ("turn) - side * second", "turn) + side * second", "rim"),
    ("-2 * Math.log(0.05)", "-Math.log(0.05)", "rim"),
    ("10 ** (2.5 -", "10 ** (2.4 -", "path"),
]


@in_browser
@pytest.mark.parametrize(("old", "new", "name"), MUTANTS, ids=[old for old, *_ in MUTANTS])
def test_a_wrong_formula_is_refused(
    page: Page, tmp_path: Path, old: str, new: str, name: str
) -> None:
    source = (FOLDER / "maths.js").read_text("utf-8")
    assert source.count(old) == 1
    (tmp_path / "maths.js").write_text(source.replace(old, new), "utf-8")
    asked = settings(15, seed=99)
    with chromium.served(tmp_path) as address:
        found = computed(page, address, asked)
    wrong = {each for one, here in zip(asked, found, strict=True) for each in off(one, here)}
    assert name in wrong


def test_wins_of_random_seeds_are_no_constant() -> None:
    law = preferences.expected_wins([0.0, 0.6, 1.0], [0.5, 0.3, 0.2])[0]
    seen = sum(counted(law, 100, seed) for seed in range(200)) / 20_000
    assert np.abs(seen - law).max() < 0.01
    assert not np.array_equal(counted(law, 100, 1), counted(law, 100, 2))


# --- where losses lead --------------------------------------------------------------------------

LEADS = """async (asked) => {
  const m = await import("/maths.js");
  return asked.map(({ kind, r, ref, beta, voters, pairs }) => (
    m.optimum(kind, m.voteLaw(r, ref, pairs, voters), ref, beta)));
}"""
TOY: Setting = {"r": [1.5, 0.5, 0.0], "ref": [0.2, 0.3, 0.5], "beta": 0.5, "pairs": PAIRS}


def led(page: Page, home: str, asked: list[Setting]) -> list[dict[str, Any]]:
    page.open(f"{home}/maths.js")
    found: list[dict[str, Any]] = page.evaluate(f"({LEADS})({json.dumps(asked)})")
    return found


@in_browser
@pytest.mark.parametrize("kind", ["dpo", "ipo", "robust"])
def test_a_smooth_loss_leads_where_training_ends(page: Page, home: str, kind: str) -> None:
    voters = "flip" if kind == "robust" else "bt"  # robust's population has a minimum there
    asked = [one | {"kind": kind, "voters": voters} for one in settings(30, seed=5)]
    for one, found in zip(asked, led(page, home, asked), strict=True):
        p = preferences.preference_matrix(one["r"])
        p = (1 - NOISE) * p + NOISE * p.T if voters == "flip" else p
        law = np.zeros((3, 3))
        for i, j in [*one["pairs"], *((j, i) for i, j in one["pairs"])]:
            law[i, j] = one["ref"][i] * one["ref"][j] * p[i, j]
        run = fit_table(
            one["ref"], law, beta=one["beta"], loss=getattr(losses, f"{kind}_loss"),
            label_smoothing=NOISE if kind == "robust" else 0.0,
        )  # fmt: skip
        assert run.converged and found["ends"] == "minimum"
        np.testing.assert_allclose(found["policy"], np.exp(run.log_probs[0]), rtol=0, atol=1e-8)


def printed(slug: str, cell: str) -> dict[str, list[list[float]]]:
    """Policies that a table of a notebook prints, by the loss that begins the line."""
    (path,) = (path for path in notebooks.numbered() if notebooks.slug(path) == slug)
    (found,) = (each for each in notebooks.read(path).cells if each["id"] == cell)
    text = "".join(output.get("text", "") for output in found.outputs)
    rows = re.findall(r"^(\w+) +(\d\.\d{4}.*)$", text, re.MULTILINE)
    numbers = {name: [float(x) for x in re.findall(r"\d\.\d{4}", rest)] for name, rest in rows}
    return {name: [row[:3], row[4:7]] for name, row in numbers.items()}


@in_browser
def test_losses_lead_where_the_notebooks_say(page: Page, home: str) -> None:
    known = printed("change_the_loss", "table") | printed("reward_each_response", "table")
    names = {"DPO": "dpo", "IPO": "ipo", "hinge": "hinge", "robust": "robust", "KTO": "kto"}
    for voters, place in (("bt", 0), ("sure", 1)):
        asked = [TOY | {"kind": kind, "voters": voters} for kind in names.values()]
        for name, found in zip(names, led(page, home, asked), strict=True):
            if known[name][place]:  # a table says "no minimum" and "many minima" in words
                np.testing.assert_allclose(found["policy"], known[name][place], atol=6e-5)
    ends = {name: found["ends"] for name, found in zip(names, led(page, home, asked), strict=True)}
    assert ends == {
        "DPO": "never", "IPO": "minimum", "hinge": "many", "robust": "never", "KTO": "minimum"
    }  # fmt: skip


@in_browser
def test_the_region_holds_95_of_100_samples(page: Page, home: str) -> None:
    page.open(f"{home}/maths.js")
    share = page.evaluate("""(async () => {
      const m = await import("/maths.js");
      const [r, ref, beta, size] = [[0, 0.6, 1], [0.5, 0.3, 0.2], 0.5, 1000];
      const law = m.voteLaw(r, ref);
      const met = law.map((row, i) => row.map((p, j) => size * (p + law[j][i])));
      const seeds = Array.from({ length: 1000 }, (_, seed) => seed);
      const held = seeds.filter((seed) => m.inside(
        m.optimum("dpo", m.sampleVotes(law, size, seed), ref, beta).policy, ref, beta, r, met));
      return held.length / 1000;
    })()""")
    assert 0.93 < share < 0.97  # three standard errors


# --- the page -----------------------------------------------------------------------------------


def show(page: Page, address: str, setting: str = "", width: int = 1280) -> None:
    page.resize(width, 844 if width < 500 else 900, phone=width < 500)
    page.open(f"{address}/index.html{setting}")
    page.wait("document.querySelector('#seen').textContent.startsWith('π*')")


def state_of(page: Page) -> dict[str, str]:
    address = page.evaluate("location.hash.slice(1)")
    assert address, "the address holds no setting"
    return dict(part.split("=") for part in address.split("&"))


def seen(page: Page) -> str:
    return str(page.evaluate("document.querySelector('#seen').textContent"))


NAV = re.findall(r'<a href="(#[^"]*)"', INDEX)


@in_browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("setting", [link.replace("&amp;", "&") for link in NAV])
def test_a_setting_opens_without_error_or_sideways_scroll(
    page: Page, home: str, setting: str, width: int
) -> None:
    show(page, home, setting, width)
    assert page.errors == []
    assert [one for one in page.requests if not one.startswith((home, "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('#wrong').hidden")
    for part in filter(None, setting[1:].split("&")):
        key, value = part.split("=")
        assert state_of(page)[key] == value
    drawn = page.evaluate("document.querySelector('main').innerHTML")
    assert not re.search(r"NaN|Infinity|undefined", drawn)


def extreme(rng: np.random.Generator) -> str:
    """An address at the limits of what may be set."""
    pairs = sorted(rng.permutation(["ab", "ac", "bc"])[: rng.integers(1, 4)])
    chosen = {
        "r": ",".join(map(str, rng.choice([-3, 0, 3], 3))),
        "ref": rng.choice(["0.02,0.02,0.96", "0.96,0.02,0.02", "0.5,0.3,0.2"]),
        "beta": rng.choice(["0.125", "1", "8"]),
        "loss": rng.choice(KINDS),
        "q": rng.choice(["0", "0.5", "1"]),
        "voters": rng.choice(["bt", "sure", "flip"]),
        "pairs": ",".join(pairs),
        "votes": rng.choice(["10", "100000", "inf"]),
        "seed": str(rng.integers(10_000)),
        "step": rng.choice(["0", "1", "2000"]),
        "theme": "auto",
    }
    return "#" + "&".join(f"{key}={value}" for key, value in chosen.items())


@in_browser
def test_the_extremes_draw_numbers(page: Page, home: str) -> None:
    show(page, home)
    endless = "#r=-3,0,3&beta=0.125&loss=robust&voters=sure&votes=inf&step=2000"
    for setting in [endless, *map(extreme, [np.random.default_rng(3)] * 60)]:
        page.evaluate(
            "new Promise((done) => { addEventListener('hashchange', done, { once: true });"
            f" location.hash = {json.dumps(setting)}; }})"
        )
        assert setting == endless or sorted(page.evaluate("location.hash.slice(1)").split("&")) == (
            sorted(setting[1:].split("&"))
        )
        drawn = page.evaluate("document.querySelector('main').innerHTML")
        assert not re.search(r"NaN|Infinity|undefined", drawn), setting
    assert page.errors == []


@in_browser
def test_what_is_wrong_with_a_page_is_noticed(page: Page, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    wide = '<img src="https://example.invalid/x.png" alt=""><p style="width: 500px">wide</p>'
    (tmp_path / "index.html").write_text(INDEX.replace("<main>", f"<main>{wide}"), "utf-8")
    source = (FOLDER / "page.js").read_text("utf-8")
    (tmp_path / "page.js").write_text(source + 'throw new Error("planted");\n', "utf-8")
    with chromium.served(tmp_path) as address:
        show(page, address, width=390)
        page.wait("true")
        assert any("planted" in error for error in page.errors)
        assert [one for one in page.requests if "example.invalid" in one]
        assert page.evaluate("document.documentElement.scrollWidth") > 390


@in_browser
def test_arrow_keys_move_the_reference_and_the_address_follows(page: Page, home: str) -> None:
    show(page, home)
    before = state_of(page)["ref"]
    page.evaluate("document.querySelector('#handle').focus()")
    page.press("ArrowRight")
    right = state_of(page)["ref"]
    page.press("ArrowUp", shift=True)
    up = state_of(page)["ref"]
    b, moved = (float(ref.split(",")[1]) for ref in (before, right))
    assert moved - b == pytest.approx(0.02, abs=0.002)
    assert float(up.split(",")[2]) > float(right.split(",")[2]) + 0.08
    words = page.evaluate("document.querySelector('#handle').getAttribute('aria-valuetext')")
    assert words == "a {:.2f}, b {:.2f}, c {:.2f}".format(*map(float, up.split(",")))
    page.press("a")  # no arrow: nothing moves
    assert state_of(page)["ref"] == up
    for _ in range(40):
        page.press("ArrowDown", shift=True)
    assert min(map(float, state_of(page)["ref"].split(","))) >= 0.02  # never off the triangle


@in_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_reference_is_dragged(page: Page, home: str, width: int) -> None:
    show(page, home, width=width)
    x, y, scale = page.evaluate("""(() => {
      const box = document.querySelector("#handle rect").getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2, box.width / 16];
    })()""")
    page.drag((x, y), (x + 72 * scale, y), touch=width == 390)  # a fifth of a side, towards b
    a, b, c = map(float, state_of(page)["ref"].split(","))
    assert (a, b, c) == pytest.approx((0.3, 0.5, 0.2), abs=0.01)


@in_browser
def test_every_control_is_reached_by_the_keyboard(page: Page, home: str) -> None:
    show(page, home)
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(40):
        page.press("Tab")
        reached.add(page.evaluate("(({ id, name, hash }) => name || id || hash)"
                                  "(document.activeElement)"))  # fmt: skip
    controls = {"handle", "play", "once", "back", "again", "r0", "r1", "r2", "beta", "voters"}
    controls |= {"votes", "seed", "ab", "ac", "bc", "loss", "q", "theme"}
    assert controls <= reached
    page.evaluate("document.querySelector('[name=beta]').focus()")
    page.press("ArrowRight")
    assert state_of(page)["beta"] == "0.5946"


@in_browser
def test_play_walks_and_says_where_it_is(page: Page, home: str) -> None:
    page.prefers(reduced_motion="no-preference")
    show(page, home, "#votes=inf")
    assert "first loss is 0.693 nats, log 2" in seen(page)
    page.evaluate("document.querySelector('#play').focus()")
    page.press("Enter")
    page.wait("document.querySelector('#play').textContent === 'Play'")
    assert int(state_of(page)["step"]) > 20
    assert re.search(
        r"the policy gives a 0\.17, b 0\.33, c 0\.50: \de−\d+ nats from π\*", seen(page)
    )
    drawn = page.evaluate("document.querySelector('#triangle').innerHTML")
    show(page, home, page.evaluate("location.hash"))
    assert page.evaluate("document.querySelector('#triangle').innerHTML") == drawn


@in_browser
def test_who_wants_less_motion_sees_the_end_at_once(page: Page, home: str) -> None:
    page.prefers(reduced_motion="reduce")
    show(page, home)
    page.evaluate("document.querySelector('#play').click()")
    assert state_of(page)["step"] == "2000"
    page.prefers(reduced_motion="no-preference")
    page.evaluate("document.querySelector('#back').click()")
    page.evaluate("document.querySelector('#play').click()")
    assert page.evaluate("document.querySelector('#play').textContent") == "Pause"
    page.wait("document.querySelector('#play').textContent === 'Play'")


@in_browser
def test_the_whole_setting_is_restored_from_the_address(page: Page, home: str) -> None:
    setting = (
        "#r=-1.5,0.2,2&ref=0.25,0.35,0.4&beta=1.5&loss=kto&q=0.35&voters=flip&pairs=ab,bc"
        "&votes=1000&seed=42&step=17&theme=dark"
    )
    show(page, home, setting)
    assert page.evaluate("location.hash") == setting
    controls = page.evaluate("""(() => {
      const { elements: e } = document.querySelector("#setting");
      return [e.r0.value, e.q.value, e.voters.value, e.ac.checked, e.votes.value, e.seed.value,
        e.loss.value, e.theme.value, document.documentElement.dataset.theme];
    })()""")
    assert controls == ["-1.5", "0.35", "flip", False, "1000", "42", "kto", "dark", "dark"]
    assert "After 17 steps of KTO on 1000 votes" in seen(page)


@in_browser
@pytest.mark.parametrize(
    "wrong",
    [
        "beta=99", "beta=", "ref=0.5,0.5,0.5", "ref=0.99,0.01,0", "r=1,2", "r=1,2,x", "loss=ppo",
        "votes=7", "seed=1.5", "step=-1", "pairs=", "pairs=ab,ab", "toString=1", "<b>=1", "q",
    ],
)  # fmt: skip
def test_a_bad_address_gives_the_start_and_says_so(page: Page, home: str, wrong: str) -> None:
    show(page, home)
    start = page.evaluate("location.hash")
    show(page, home, f"#seed=9&{wrong}")
    assert page.evaluate("location.hash") == start
    assert page.evaluate("document.querySelector('#wrong').textContent").endswith(
        "in the address is no setting; this is the start."
    )
    assert not page.evaluate("document.querySelector('#wrong').hidden")
    assert page.errors == []


@in_browser
@pytest.mark.parametrize(("scheme", "theme", "dark"), [
    ("light", "auto", False), ("dark", "auto", True), ("dark", "light", False),
    ("light", "dark", True),
])  # fmt: skip
def test_light_and_dark_follow_the_system_or_the_switch(
    page: Page, home: str, scheme: str, theme: str, dark: bool
) -> None:
    page.prefers(color_scheme=scheme)
    show(page, home, f"#theme={theme}")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
    page.prefers(color_scheme="light")


@in_browser
@pytest.mark.parametrize(("setting", "words"), [
    ("#voters=sure&step=300", "Nothing contradicts some of these votes"),
    ("#pairs=ab&step=50", "c was never compared: all policies on the dashed line"),
    ("#r=0.5,0,0&ref=0.4,0.4,0.2&pairs=ab&q=0.9&votes=inf&step=60",
     "Chosen and rejected responses both fall while the margin grows; c gains most"),
    ("#loss=ipo", "With unlimited votes IPO leads to"),
    ("#voters=sure&loss=hinge", "Many policies have no loss at all"),
])  # fmt: skip
def test_a_failure_is_said_in_words(page: Page, home: str, setting: str, words: str) -> None:
    show(page, home)
    assert words not in seen(page)
    show(page, home, setting)
    assert words in seen(page)


# A page with a fault, and the check that must notice it.
FAULTS = [
    ("page.js", '"handle", "keydown"', '"handle", "keypress"',
     test_arrow_keys_move_the_reference_and_the_address_follows, ()),
    ("page.js", 'history.replaceState(null, "", format(state));', "",
     test_arrow_keys_move_the_reference_and_the_address_follows, ()),
    ("page.js", '"handle", "pointermove"', '"handle", "pointerout"',
     test_the_reference_is_dragged, (1280,)),
    ("index.html", 'id="handle" tabindex="0"', 'id="handle" tabindex="-1"',
     test_every_control_is_reached_by_the_keyboard, ()),
    ("page.js", ", log 2", "", test_play_walks_and_says_where_it_is, ()),
    ("page.js", "still.matches ? MOST", "still.matches ? 1",
     test_who_wants_less_motion_sees_the_end_at_once, ()),
    ("state.js", "    state[key] = value;", '    if (key !== "q") state[key] = value;',
     test_the_whole_setting_is_restored_from_the_address, ()),
    ("state.js", "return [START, part];", "continue;",
     test_a_bad_address_gives_the_start_and_says_so, ("beta=99",)),
    ("page.js", 'find("wrong").hidden = !wrong', 'find("wrong").hidden = true',
     test_a_bad_address_gives_the_start_and_says_so, ("beta=99",)),
    ("style.css", ':root[data-theme="light"] { color-scheme: light; }', "",
     test_light_and_dark_follow_the_system_or_the_switch, ("dark", "light", False)),
    ("page.js", "[model.endless,", "[false,", test_a_failure_is_said_in_words,
     ("#voters=sure&step=300", "Nothing contradicts some of these votes")),
    ("draw.js", "346 - HIGH * p[2]]", "346 - HIGH / 0]",
     test_a_setting_opens_without_error_or_sideways_scroll, ("#", 390)),
    ("page.js", "Math.exp(Math.max(x, -700))", "Math.exp(x)", test_the_extremes_draw_numbers, ()),
    ("maths.js", "(s - 0.5) / beta", "(s - 1) / beta",
     test_a_smooth_loss_leads_where_training_ends, ("ipo",)),
    ("maths.js", "[kl, klDivergence(policy, ref)]", "[kl, 0]",
     test_losses_lead_where_the_notebooks_say, ()),
    ("maths.js", "-2 * Math.log(0.05)", "-2 * Math.log(0.2)",
     test_the_region_holds_95_of_100_samples, ()),
]  # fmt: skip


@in_browser
@pytest.mark.parametrize(
    ("name", "old", "new", "check", "given"),
    FAULTS,
    ids=[f"{name}: {old}" for name, old, *_ in FAULTS],
)
def test_a_page_with_a_fault_is_refused(
    page: Page, tmp_path: Path, name: str, old: str, new: str, check: Any, given: tuple[Any, ...]
) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    source = (FOLDER / name).read_text("utf-8")
    assert source.count(old) == 1
    (tmp_path / name).write_text(source.replace(old, new), "utf-8")
    with chromium.served(tmp_path) as address, pytest.raises((AssertionError, TimeoutError)):
        check(page, address, *given)
    page.prefers(color_scheme="light", reduced_motion="no-preference")
