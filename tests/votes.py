"""What the tests of votes on pairs, rankings and votes with ties share."""

from itertools import combinations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chi2

from dpo_edu import datasets

# Citations among four journals of statistics, row cited by column (Stigler 1994).
JOURNALS = np.array(
    [[0, 730, 498, 221], [33, 0, 68, 17], [320, 813, 0, 142], [284, 276, 325, 0]], dtype=float
)

TWO_PROMPTS = {
    "reward": np.array([[0.0, 0.7, -1.1, 0.4], [1.5, -0.5, 0.0, 0.2]]),
    "behaviour": np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]),
    "prompt_weights": np.array([0.3, 0.7]),
}

MODELS = datasets.mtbench_votes().pooled()
REAL_VOTES = {
    "journals": JOURNALS,
    "baseball": datasets.baseball_votes().wins[0],
    "models": MODELS.wins[0],
    "models, half ties": MODELS.wins[0] + MODELS.ties[0] / 2,
}

FALSE_ALARM = 1e-7  # the chance that a sampling test fails though the code is right


def rewards(y=None, top=5.0):
    """Strategy: reward arrays ``(Y,)``."""
    sizes = st.just(y) if y else st.integers(2, 6)
    return sizes.flatmap(lambda n: hnp.arrays(float, n, elements=st.floats(-top, top)))


@st.composite
def complete_votes(draw, low: float = 0.1, high: float = 100.0):
    """Strategy: win arrays ``(Y, Y)`` in which everybody beat everybody; real-valued counts."""
    y = draw(st.integers(2, 6))
    wins = draw(hnp.arrays(float, (y, y), elements=st.floats(low, high)))
    return wins * (1 - np.eye(y))


def never_losing_groups(wins):
    """Every proper group of responses that never lost to the rest, by going through all groups."""
    everyone = range(len(wins))
    groups = (s for size in everyone[1:] for s in combinations(everyone, size))
    return [s for s in groups if not any(wins[o, g] for g in s for o in set(everyone) - set(s))]


def chi_square(counts, law):
    """Pearson's statistic over the possible cells, and its critical value at FALSE_ALARM."""
    possible = law > 0
    assert not counts[~possible].any()
    expected = counts.sum() * law[possible]
    statistic = ((counts[possible] - expected) ** 2 / expected).sum()
    return statistic, chi2.isf(FALSE_ALARM, possible.sum() - 1)
