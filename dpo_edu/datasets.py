"""Real votes with published truths: MT-bench judgments (2023) and a baseball season (1987).

Counts, and one prompt with two answers that a language model wrote; each says its licence, more
stands in ``data/README.md``.
"""

import csv
import tomllib
from dataclasses import dataclass, replace
from importlib import resources

import numpy as np

from dpo_edu import _checks
from dpo_edu._checks import Floats


@dataclass(frozen=True, eq=False)
class Votes:
    """Counted votes with names for their axes.

    Parameters
    ----------
    wins : counts ``(X, Y, Y)``, row beat column.
    ties : counts ``(X, Y, Y)`` of undecided votes; symmetric, so every tie stands in it twice.
    prompts : X names.
    responses : Y names.
    source : where the votes are from.
    licence : the terms under which they are shipped.

    Raises
    ------
    ValueError
        If the arrays are not win arrays or do not match the names, `ties` is not symmetric, or
        `source` or `licence` says nothing.

    Source: ``data/README.md``.

    >>> mtbench_votes().wins.shape, mtbench_votes().licence
    ((8, 6, 6), 'CC BY 4.0')
    """

    wins: Floats
    ties: Floats
    prompts: tuple[str, ...]
    responses: tuple[str, ...]
    source: str
    licence: str

    def __post_init__(self) -> None:
        expected = (len(self.prompts), len(self.responses), len(self.responses))
        for name in ("wins", "ties"):
            value = _checks.wins(getattr(self, name), name)
            if value.shape != expected:
                raise _checks.error(name, f"shape {expected}", f"shape {value.shape}")
            object.__setattr__(self, name, value)
        if (self.ties != self.ties.swapaxes(-1, -2)).any():
            raise _checks.error("ties", "a symmetric array", "an asymmetric one")
        for name in ("source", "licence"):
            said = getattr(self, name)
            if not isinstance(said, str) or not said.strip():
                raise _checks.error(name, "a text that is not blank", repr(said))

    def pooled(self) -> "Votes":
        """All prompts added up into one, named "all".

        >>> mtbench_votes().pooled().wins.shape
        (1, 6, 6)
        """
        wins, ties = (counts.sum(axis=0, keepdims=True) for counts in (self.wins, self.ties))
        return replace(self, wins=wins, ties=ties, prompts=("all",))

    def wins_and_half_ties(self) -> Floats:
        """Counts ``(X, Y, Y)`` in which a tie is half a win for either side.

        >>> mtbench_votes().wins_and_half_ties().sum()
        np.float64(2668.0)
        """
        return np.asarray(self.wins + self.ties / 2, dtype=np.float64)

    def win_rates(self) -> Floats:
        """Mean over opponents of wins / (wins + losses + ties), array ``(X, Y)``, probabilities.

        The mean is over the opponents that were met; NaN for a response that met none.

        >>> float(baseball_votes().win_rates().mean().round(12))
        0.5
        """
        met = self.wins + self.wins.swapaxes(-1, -2) + self.ties
        rates = np.divide(self.wins, met, out=np.zeros_like(met), where=met > 0)
        total, opponents = rates.sum(axis=-1), (met > 0).sum(axis=-1)
        mean = np.divide(total, opponents, out=np.full_like(total, np.nan), where=opponents > 0)
        return np.asarray(mean, dtype=np.float64)


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("dpo_edu").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _index(names: list[str]) -> dict[str, int]:
    """Names in the order of their first appearance."""
    return {name: at for at, name in enumerate(dict.fromkeys(names))}


def mtbench_votes(judge: str = "human") -> Votes:
    """MT-bench votes by category over six language models, both turns added up.

    Ties are kept apart; GPT-4's verdicts that flipped when the answers were swapped are left out.

    Parameters
    ----------
    judge : "human" (expert annotators) or "gpt-4".

    Returns
    -------
    Votes with X = 8 categories and Y = 6 models.

    Raises
    ------
    ValueError
        If the judge is neither.

    Source: Zheng et al. 2023, arXiv:2306.05685; CC BY 4.0; claim V1.

    >>> mtbench_votes().responses
    ('alpaca-13b', 'claude-v1', 'gpt-3.5-turbo', 'gpt-4', 'llama-13b', 'vicuna-13b-v1.2')
    """
    if judge not in ("human", "gpt-4"):
        raise _checks.error("judge", "'human' or 'gpt-4'", repr(judge))
    rows = [row for row in _rows("mtbench_votes.csv") if row["judge"] == judge]
    categories = _index([row["category"] for row in rows])
    models = _index(sorted({row[side] for row in rows for side in ("item_a", "item_b")}))
    wins, ties = np.zeros((2, len(categories), len(models), len(models)))
    for row in rows:
        x, a, b = categories[row["category"]], models[row["item_a"]], models[row["item_b"]]
        wins[x, a, b], wins[x, b, a] = float(row["wins_a"]), float(row["wins_b"])
        ties[x, a, b] = ties[x, b, a] = float(row["ties"])
    source = "MT-bench judgments, Zheng et al. 2023, arXiv:2306.05685"
    return Votes(wins, ties, tuple(categories), tuple(models), source, "CC BY 4.0")


def mtbench_published_win_rates() -> dict[tuple[str, str], float]:
    """The paper's Table 7: (category, model) to average win rate, in percent with one decimal.

    Source: Zheng et al. 2023, Table 7.

    >>> len(mtbench_published_win_rates())
    32
    """
    rows = _rows("mtbench_published_win_rates.csv")
    return {(r["category"], r["item"]): float(r["published_win_rate_percent"]) for r in rows}


def baseball_votes() -> Votes:
    """The 1987 season of seven American League teams, home and away games added up.

    Returns
    -------
    Votes with X = 1 and Y = 7.

    Source: Agresti, Categorical Data Analysis, 2nd ed., p. 438.

    >>> float(baseball_votes().wins.sum())
    273.0
    """
    rows = _rows("baseball1987.csv")
    teams = _index([row["home_team"] for row in rows])
    season = np.zeros((len(teams), len(teams)))
    for row in rows:
        home, away = teams[row["home_team"]], teams[row["away_team"]]
        season[home, away] += float(row["home_wins"])
        season[away, home] += float(row["away_wins"])
    wins = season[None]
    source = "Agresti, Categorical Data Analysis, 2nd ed., p. 438"
    return Votes(wins, np.zeros_like(wins), ("1987",), tuple(teams), source, "facts of sport")


@dataclass(frozen=True)
class AnswerPair:
    """A prompt and two answers to it, one of them chosen over the other.

    Parameters
    ----------
    prompt : what was asked.
    chosen, rejected : the answers, the better one first.
    model : who wrote them.
    licence : that of the model.

    Source: ``data/README.md``.

    >>> answer_pair().model
    'SmolLM2-135M-Instruct'
    """

    prompt: str
    chosen: str
    rejected: str
    model: str
    licence: str


def answer_pair() -> AnswerPair:
    """A prompt and two of sixteen answers that a small language model drew for it.

    The pair was picked, and the vote is the authors' own.

    Source: SmolLM2-135M-Instruct, Allal et al. 2025, arXiv:2502.02737; Apache-2.0.

    >>> answer_pair().prompt
    'How do I boil an egg? Answer in two short sentences.'
    """
    text = resources.files("dpo_edu").joinpath("data", "answer_pair.toml").read_text("utf-8")
    row = tomllib.loads(text)
    return AnswerPair(**{name: value for name, value in row.items() if name != "drawn"})
