"""What is said of wrong numbers holds in every case, and is not said where it does not."""

from typing import Any

import numpy as np
import pytest

from dpo_edu._relations import relation

RNG = np.random.default_rng(0)
ROWS = [
    ((RNG.dirichlet(np.ones(4)), RNG.normal(size=4)), {"beta": 0.5}),
    ((RNG.dirichlet(np.ones(3), size=2), RNG.normal(size=(2, 3))), {"beta": 2.0}),
    ((RNG.dirichlet(np.ones(5), size=3), RNG.normal(size=(3, 5))), {"beta": 0.3}),
]


def tilted(ref: Any, reward: Any, *, beta: float) -> Any:
    weight = ref * np.exp(reward / beta)
    return weight / weight.sum(axis=-1, keepdims=True)


def said(answer: Any, truth: Any = tilted) -> str:
    found, expected = ([f(*a, **k) for a, k in ROWS] for f in (answer, truth))
    return relation(answer, truth, ROWS, found, expected) or ""


def loss(ref: Any, reward: Any, *, beta: float) -> Any:
    return beta * np.log((ref * np.exp(reward / beta)).sum(axis=-1))


@pytest.mark.parametrize(
    ("answer", "truth", "sentence"),
    [
        (lambda q, r, *, beta: -tilted(q, r, beta=beta), tilted, "but for their sign"),
        (lambda q, r, *, beta: 1 / tilted(q, r, beta=beta), tilted, "1 divided by"),
        (lambda q, r, *, beta: np.log(tilted(q, r, beta=beta)), tilted, "this is the logarithm"),
        (lambda q, r, *, beta: np.exp(loss(q, r, beta=beta)), loss, "this is exp of"),
        (lambda q, r, *, beta: 1 - tilted(q, r, beta=beta), tilted, "this is 1 minus"),
        (lambda q, r, *, beta: loss(q, r, beta=beta).mean(), loss, "not their mean"),
        (lambda q, r, *, beta: tilted(q, r, beta=beta).sum(), loss, ""),
        (lambda q, r, *, beta: tilted(q, r, beta=beta)[..., ::-1], tilted, "order is reversed"),
        (
            lambda q, r, *, beta: 3 * loss(q, r, beta=beta),
            loss,
            "all are 3 times what they should be",
        ),
        (lambda q, r, *, beta: loss(q, r, beta=beta) / beta, loss, "divided by beta once too"),
        (lambda q, r, *, beta: q * np.exp(r / beta), tilted, "it does not sum to 1"),
        (lambda q, r, *, beta: tilted(q, r, beta=1.0), tilted, "`beta` makes no difference"),
        (lambda q, r, *, beta: tilted(1 + 0 * q, r, beta=beta), tilted, "`ref` makes no diff"),
        (lambda q, r, *, beta: tilted(q, r, beta=beta) > 0.5, tilted, ""),
        (lambda q, r, *, beta: tilted(q, r, beta=beta) + 0.1 * r, tilted, ""),
        (lambda q, r, *, beta: loss(q, r, beta=beta) + beta, loss, ""),
    ],
)
def test_it_says_what_holds_in_every_case(answer: Any, truth: Any, sentence: str) -> None:
    found = said(answer, truth)
    assert sentence in found and bool(sentence) == bool(found)


def over_all(ref: Any, reward: Any, *, beta: float) -> Any:
    weight = ref * np.exp(reward / beta)
    return weight / weight.sum()


def test_rows_that_are_right_alone_only_are_told() -> None:
    assert "several at once" in said(over_all)
    assert "several at once" not in said(lambda q, r, *, beta: over_all(q, r, beta=1.0))


def test_the_first_alone_is_told() -> None:
    assert said(lambda q, r, *, beta: loss(q, r, beta=beta).ravel()[0], loss).startswith("only the")
    assert not said(lambda q, r, *, beta: loss(q, r, beta=beta).ravel()[0] + 1, loss)


def test_numbers_for_booleans_are_told() -> None:
    calls = [((np.eye(2),), {}), ((np.ones((2, 2)),), {})]
    truth, paths, votes = (lambda w: w > 0), (lambda w: 2.0 * w), (lambda w: w - 1)
    expected = [truth(*a) for a, _ in calls]
    for answer, told in [(paths, True), (votes, False)]:
        found = [answer(*a) for a, _ in calls]
        sentence = relation(answer, truth, calls, found, expected)
        assert (sentence is not None and "True and False" in sentence) == told


def cut(ref: Any, reward: Any, *, beta: float) -> Any:
    return np.where(reward > 0, tilted(ref, reward, beta=beta), 0.0)


def walled(ref: Any, reward: Any, *, beta: float) -> Any:
    return np.where(reward > 0, tilted(ref, reward, beta=beta), np.inf)


def test_what_is_wrong_only_where_the_truth_is_0_or_infinite_is_no_factor() -> None:
    assert "where it should be 0, something else stands" in said(tilted, cut)
    assert "where it should be infinite, it is not" in said(tilted, walled)
    assert "factor" not in said(lambda q, r, *, beta: 2 * tilted(q, r, beta=beta), cut)
    assert "all are 2 times" in said(lambda q, r, *, beta: 2 * cut(q, r, beta=beta), cut)
    assert "all are 2 times" in said(lambda q, r, *, beta: 2 * walled(q, r, beta=beta), walled)
    wrong = said(lambda q, r, *, beta: np.ones_like(r), lambda q, r, *, beta: r > 0)
    assert wrong == "every True is right, but some are True that should be False."


def test_a_list_has_no_rows_and_columns_to_swap() -> None:
    calls, truth = ROWS[:1], [1.0, 2.0, 3.0]
    assert "swapped" not in (relation(lambda *_, **__: 0, tilted, calls, [truth], [truth]) or "")
