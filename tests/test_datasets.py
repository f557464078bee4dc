"""The real votes: counted right, true to what was published, shipped with source and licence."""

import csv
import tomllib
from collections import Counter
from dataclasses import replace
from importlib import resources
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chi2

from dpo_edu import datasets, preferences, statistics, ties
from dpo_edu.datasets import Votes

# R's BradleyTerry2 1.1-2 on the human votes, pooled, ties dropped: estimate and standard error.
R_BRADLEY_TERRY = {
    "llama-13b": (0.0, 0.0),
    "alpaca-13b": (0.953065, 0.1479),
    "vicuna-13b-v1.2": (1.849866, 0.1454),
    "gpt-3.5-turbo": (2.792847, 0.1521),
    "claude-v1": (2.817692, 0.1563),
    "gpt-4": (3.364602, 0.1614),
}
# Chatbot Arena, 2023-05-10, online Elo: other votes, models of the same names but for Vicuna.
ELO = {
    "gpt-4": 1274,
    "claude-v1": 1224,
    "gpt-3.5-turbo": 1155,
    "vicuna-13b-v1.2": 1083,
    "alpaca-13b": 904,
    "llama-13b": 826,
}
# Agresti, Categorical Data Analysis, 2nd ed., Table 10.11.
BASEBALL = {
    "Milwaukee": 1.58,
    "Detroit": 1.44,
    "Toronto": 1.29,
    "New York": 1.25,
    "Boston": 1.11,
    "Cleveland": 0.68,
    "Baltimore": 0.0,
}


def packaged(name: str) -> str:
    return resources.files("dpo_edu").joinpath("data", name).read_text(encoding="utf-8")


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(packaged(name).splitlines()))


def relative_to(votes: Votes, baseline: str) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood rewards and standard errors relative to one response."""
    at = votes.responses.index(baseline)
    reward = preferences.fit_bradley_terry(votes.wins)[0]
    covariance = statistics.covariance(reward, votes.wins[0] + votes.wins[0].T)
    return reward - reward[at], statistics.standard_errors(covariance, at)


def separable(votes: Votes, wins: np.ndarray) -> set[str]:
    named = zip(votes.prompts, wins, strict=True)
    return {name for name, w in named if len(preferences.components(w, strong=True)) > 1}


# --- what is shipped ---


def test_the_data_files_travel_with_the_package_and_nothing_else_does():
    names = {path.name for path in resources.files("dpo_edu").joinpath("data").iterdir()}
    tables = {"mtbench_votes.csv", "mtbench_published_win_rates.csv", "baseball1987.csv"}
    assert names == tables | {"answer_pair.toml", "README.md", "audit"}
    pyproject = Path(__file__).resolve().parent.parent / "pyproject.toml"
    setuptools = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert {"data/*", "data/audit/*"} <= set(setuptools["package-data"]["dpo_edu"])


@pytest.mark.parametrize(
    "said",
    [
        "Zheng et al. 2023",
        "arXiv:2306.05685",
        "LMSYS Org",
        "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)",
        "aggregated to counts; texts and judge ids dropped",
        "Agresti",
        "SmolLM2-135M-Instruct",
        "arXiv:2502.02737",
        "[Apache-2.0](https://www.apache.org/licenses/LICENSE-2.0)",
        "the vote is the authors' own",
    ],
)
def test_source_licence_and_changes_stand_beside_the_votes(said):
    assert said in packaged("README.md")


@pytest.mark.parametrize("votes", [datasets.mtbench_votes(), datasets.baseball_votes()])
def test_votes_carry_the_source_and_the_licence_that_stand_beside_them(votes):
    beside = packaged("README.md").replace("*", "")
    for part in votes.source.removeprefix("MT-bench judgments, ").split(", arXiv:"):
        assert part in beside
    assert votes.licence in beside


def test_no_text_and_no_judge_is_shipped():
    """The one column about judges says human or GPT-4; all others hold names and counts."""
    judges = {row["judge"] for row in rows("mtbench_votes.csv")}
    assert judges == {"human", "gpt-4"}
    columns = "judge category item_a item_b wins_a wins_b ties inconsistent"
    assert set(rows("mtbench_votes.csv")[0]) == set(columns.split())


def test_the_answers_are_short_and_say_how_they_were_drawn():
    pair = datasets.answer_pair()
    assert pair.chosen != pair.rejected
    assert all(0 < len(text.split()) < 60 for text in (pair.prompt, pair.chosen, pair.rejected))
    assert (pair.model, pair.licence) == ("SmolLM2-135M-Instruct", "Apache-2.0")
    drawn = tomllib.loads(packaged("answer_pair.toml"))["drawn"]
    assert {"file", "date", "temperature", "seed", "draws", "versions"} <= set(drawn)
    assert drawn["chosen_draw"] != drawn["rejected_draw"]
    assert max(drawn["chosen_draw"], drawn["rejected_draw"]) < drawn["draws"]


# --- the counts ---


def test_the_votes_add_up_to_5068():
    table = rows("mtbench_votes.csv")
    total = Counter()
    for row in table:
        for column in ("wins_a", "wins_b", "ties", "inconsistent"):
            total[column] += int(row[column])
    assert len(table) == 240
    assert total["wins_a"] + total["wins_b"] + total["ties"] == 4688
    assert total["inconsistent"] == 380
    both = [datasets.mtbench_votes("human"), datasets.mtbench_votes("gpt-4")]
    assert sum(v.wins.sum() + v.ties.sum() / 2 for v in both) == 4688
    assert sum(v.wins.sum() for v in both) == total["wins_a"] + total["wins_b"]


def test_gpt4_judged_every_pair_and_turn_once():
    """10 questions a category, 2 turns: with the inconsistent verdicts, 20 for each pair."""
    for row in rows("mtbench_votes.csv"):
        if row["judge"] == "gpt-4":
            assert sum(int(row[c]) for c in ("wins_a", "wins_b", "ties", "inconsistent")) == 20
        else:
            assert row["inconsistent"] == "0"


@pytest.mark.parametrize("judge", ["human", "gpt-4"])
def test_every_row_of_the_file_is_found_under_its_names(judge):
    votes = datasets.mtbench_votes(judge)
    own = [row for row in rows("mtbench_votes.csv") if row["judge"] == judge]
    assert len(own) == len(votes.prompts) * len(list(combinations(votes.responses, 2))) == 120
    for row in own:
        x = votes.prompts.index(row["category"])
        a, b = votes.responses.index(row["item_a"]), votes.responses.index(row["item_b"])
        assert votes.wins[x, a, b] == int(row["wins_a"])
        assert votes.wins[x, b, a] == int(row["wins_b"])
        assert votes.ties[x, a, b] == votes.ties[x, b, a] == int(row["ties"])


def test_human_is_the_default_judge():
    assert np.array_equal(datasets.mtbench_votes().wins, datasets.mtbench_votes("human").wins)


def test_in_baseball_home_and_away_games_are_added_up():
    votes = datasets.baseball_votes()
    table = rows("baseball1987.csv")
    for a, b in combinations(votes.responses, 2):
        beaten = sum(
            int(row["home_wins"] if row["home_team"] == a else row["away_wins"])
            for row in table
            if {row["home_team"], row["away_team"]} == {a, b}
        )
        assert votes.wins[0, votes.responses.index(a), votes.responses.index(b)] == beaten
    games = votes.wins[0] + votes.wins[0].T
    assert np.array_equal(games, 13 * (1 - np.eye(7)))
    assert not votes.ties.any()


# --- published truths ---


def test_the_win_rates_are_those_of_table_7_at_the_printed_digit():
    """Zheng et al. 2023, Table 7: all 32 cells."""
    votes, table = datasets.mtbench_votes(), datasets.mtbench_published_win_rates()
    rates = votes.win_rates()
    assert len(table) == 32
    for (category, model), percent in table.items():
        rate = rates[votes.prompts.index(category), votes.responses.index(model)]
        assert abs(100 * rate - percent) <= 0.05 + 1e-9


def test_pooled_rewards_and_standard_errors_are_those_of_r():
    votes = datasets.mtbench_votes().pooled()
    reward, error = relative_to(votes, "llama-13b")
    expected = np.array([R_BRADLEY_TERRY[model] for model in votes.responses])
    assert np.abs(reward - expected[:, 0]).max() <= 0.5e-6
    assert np.abs(error - expected[:, 1]).max() <= 0.5e-4


def test_the_order_of_the_models_is_that_of_the_chatbot_arena():
    votes = datasets.mtbench_votes().pooled()
    reward, _ = relative_to(votes, "llama-13b")
    assert sorted(ELO, key=ELO.get) == [votes.responses[i] for i in np.argsort(reward)]


def test_the_teams_have_agrestis_strengths_and_standard_errors():
    votes = datasets.baseball_votes()
    reward, error = relative_to(votes, "Baltimore")
    expected = [BASEBALL[team] for team in votes.responses]
    assert np.abs(reward - expected).max() <= 0.005
    others = np.delete(error, votes.responses.index("Baltimore"))
    assert np.abs(others - 0.33).max() <= 0.015


def test_bradley_terry_fits_the_pooled_votes_and_the_category_matters():
    votes = datasets.mtbench_votes()
    pooled = votes.pooled()
    one, each = (preferences.fit_bradley_terry(v.wins) for v in (pooled, votes))
    lack_of_fit = statistics.deviance(one, pooled.wins)[0]
    assert round(lack_of_fit, 1) == 13.4
    assert round(chi2.sf(lack_of_fit, 10), 2) == 0.20
    gain = preferences.log_likelihood(each, votes.wins).sum()
    gain -= preferences.log_likelihood(one, pooled.wins).sum()
    assert round(2 * gain, 1) == 94.8
    assert 1.5e-7 < chi2.sf(2 * gain, 35) < 2.5e-7


def test_bradley_terry_does_not_fit_within_category():
    votes = datasets.mtbench_votes()
    each = preferences.fit_bradley_terry(votes.wins)
    lack_of_fit = statistics.deviance(each, votes.wins)
    assert round(lack_of_fit.sum(), 1) == 119.1
    assert round(chi2.sf(lack_of_fit.sum(), 80), 3) == 0.003
    worst = votes.prompts.index("extraction")
    assert lack_of_fit.argmax() == worst and round(lack_of_fit[worst], 1) == 24.1


def test_ties_are_rarest_in_roleplay_and_half_wins_shrink_rewards_as_claim_v3_says():
    votes = datasets.mtbench_votes()
    fit = ties.fit_davidson(votes.wins, votes.ties)
    between_equals = fit.tie / (2 + fit.tie)
    order = [votes.prompts[x] for x in between_equals.argsort()]
    assert (order[0], order[-2:]) == ("roleplay", ["math", "reasoning"])
    half_wins = preferences.fit_bradley_terry(votes.wins_and_half_ties())
    shrunk = (half_wins * fit.reward).sum(axis=1) / (fit.reward**2).sum(axis=1)
    np.testing.assert_allclose(shrunk, 1 - between_equals, rtol=0.05)


def test_gpt4s_votes_are_separable_in_four_categories_and_half_wins_repair_two():
    votes = datasets.mtbench_votes("gpt-4")
    assert separable(votes, votes.wins) == {"math", "coding", "stem", "humanities"}
    assert separable(votes, votes.wins_and_half_ties()) == {"stem", "humanities"}
    untied = [votes.ties[votes.prompts.index(name)].sum() for name in ("stem", "humanities")]
    assert untied == [0, 0]


def test_human_votes_are_separable_nowhere():
    votes = datasets.mtbench_votes()
    assert separable(votes, votes.wins) == set()


# --- what Votes does ---


def votes_of(wins, ties):
    names = tuple("abcdefgh")
    return Votes(wins, ties, names[: wins.shape[0]], names[: wins.shape[-1]], "drawn", "none")


@st.composite
def any_votes(draw):
    x, y = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    counts = hnp.arrays(float, (x, y, y), elements=st.integers(0, 50).map(float))
    off_diagonal = 1 - np.eye(y)
    half = draw(counts) * np.triu(off_diagonal)
    return votes_of(draw(counts) * off_diagonal, half + half.swapaxes(-1, -2))


@given(any_votes())
def test_pooling_loses_no_vote(votes):
    pooled = votes.pooled()
    assert pooled.prompts == ("all",)
    assert pooled.responses == votes.responses
    assert (pooled.source, pooled.licence) == (votes.source, votes.licence)
    assert np.array_equal(pooled.wins[0], sum(votes.wins))
    assert np.array_equal(pooled.ties[0], sum(votes.ties))


@given(any_votes())
def test_a_tie_is_half_a_win_each_way(votes):
    wins = votes.wins_and_half_ties()
    assert wins.sum() == votes.wins.sum() + votes.ties.sum() / 2
    assert np.array_equal(wins - wins.swapaxes(-1, -2), votes.wins - votes.wins.swapaxes(-1, -2))


@given(any_votes())
def test_a_win_rate_is_the_mean_over_the_opponents_met(votes):
    found = votes.win_rates()
    for x, i in np.ndindex(found.shape):
        rates = []
        for j in range(found.shape[1]):
            met = votes.wins[x, i, j] + votes.wins[x, j, i] + votes.ties[x, i, j]
            if met > 0:
                rates.append(votes.wins[x, i, j] / met)
        assert np.isclose(found[x, i], np.mean(rates)) if rates else np.isnan(found[x, i])


# --- bad input ---

NO_TIES = np.zeros((1, 2, 2))


@pytest.mark.parametrize(
    ("wins", "ties", "message"),
    [
        ([[0, 1], [1, 0]], NO_TIES, r"wins: expected shape \(1, 2, 2\), got shape \(2, 2\)"),
        (np.zeros((1, 3, 3)), NO_TIES, r"wins: expected shape \(1, 2, 2\), got shape \(1, 3, 3\)"),
        (NO_TIES, np.zeros((2, 2)), r"ties: expected shape \(1, 2, 2\), got shape \(2, 2\)"),
        ([[[0, -1], [1, 0]]], NO_TIES, r"wins: expected counts >= 0, got -1\.0"),
        ([[[0, np.nan], [1, 0]]], NO_TIES, "wins: expected finite numbers, got nan"),
        ([[[1, 1], [1, 0]]], NO_TIES, r"wins: expected a zero diagonal \(nobody beats itself\)"),
        (NO_TIES, [[[0, 1], [2, 0]]], "ties: expected a symmetric array, got an asymmetric one"),
    ],
)
def test_arrays_that_are_not_votes_are_refused(wins, ties, message):
    with pytest.raises(ValueError, match=message):
        Votes(wins, ties, ("all",), ("a", "b"), "drawn", "none")


@pytest.mark.parametrize("name", ["source", "licence"])
@pytest.mark.parametrize("said", ["", "  \n", None, 7])
def test_votes_without_a_source_or_a_licence_are_refused(name, said):
    with pytest.raises(ValueError, match=f"{name}: expected a text that is not blank, got "):
        replace(datasets.baseball_votes(), **{name: said})
    named = {"wins": NO_TIES, "ties": NO_TIES, "prompts": ("all",), "responses": ("a", "b")}
    terms = {"source": "drawn", "licence": "none"}
    del terms[name]
    with pytest.raises(TypeError, match=f"missing 1 required positional argument: '{name}'"):
        Votes(**named, **terms)


@pytest.mark.parametrize("judge", ["nobody", "", "GPT-4", None])
def test_an_unknown_judge_is_refused(judge):
    with pytest.raises(ValueError, match=r"judge: expected 'human' or 'gpt-4', got "):
        datasets.mtbench_votes(judge)


def test_votes_may_be_given_as_lists():
    wins, ties = [[[0, 3], [1, 0]]], [[[0, 1], [1, 0]]]
    votes = Votes(wins, ties, ("all",), ("a", "b"), "drawn", "none")
    assert votes.win_rates().tolist() == [[0.6, 0.2]]
