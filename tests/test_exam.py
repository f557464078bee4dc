"""The exam has thirty questions, and each number of a solution is found again by another route."""

import re
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import integrate, optimize
from scipy.special import expit
from test_questions import CELL, cells, numbers
from torch.nn.functional import logsigmoid

from dpo_edu import distributions, gibbs, losses, preferences, statistics
from dpo_edu.sequences import SequenceSpace
from dpo_edu.training import fit_table
from tools import notebooks

DOCS = notebooks.ROOT / "docs"
EXAM = (DOCS / "exam.md").read_text("utf-8")
SOLUTIONS = (DOCS / "exam_solutions.md").read_text("utf-8")
HALF = np.full(2, 1 / 2)

Array = NDArray[np.float64]


def parts(text: str) -> dict[int, str]:
    """What stands under each number."""
    found = re.split(r"(?m)^### (\d+) ", text)[1:]
    return {int(n): body for n, body in zip(found[::2], found[1::2], strict=True)}


def told(solution: str) -> list[str]:
    """The numbers in bold, as they stand there."""
    return [n for bold in re.findall(r"\*\*(.+?)\*\*", solution) for n in numbers(bold)]


def borne(number: str, value: float) -> bool:
    """Whether a number is the value, rounded to the digits that are shown."""
    digits = len(number.partition(".")[2])
    return abs(float(number) - value) <= 0.5 * 10.0**-digits + 1e-9


# --- the answers, by routes of their own --------------------------------------------------------


def climbed(reward: Array, ref: Array, beta: float) -> Array:
    """The best policy, by a search that knows the objective and no formula."""

    def short(logits: Array) -> float:
        policy = np.exp(distributions.log_softmax(logits))
        return -float(gibbs.objective(policy, reward, ref, beta=beta))

    found = optimize.minimize(short, np.log(ref), method="BFGS", options={"gtol": 1e-9}).x
    return np.exp(distributions.log_softmax(found))


def best_J(reward: Array, ref: Array, beta: float) -> float:
    """What the policy found by the search earns."""
    return float(gibbs.objective(climbed(reward, ref, beta), reward, ref, beta=beta))


def trained(reward: Array, ref: Array, beta: float) -> Array:
    """The policy that DPO learns from unlimited votes."""
    votes = preferences.expected_wins(reward, np.full(len(ref), 1 / len(ref)))
    return np.exp(fit_table(ref, votes, beta=beta).log_probs[0])


def pair_loss(now: list[float], ref: list[float], beta: float) -> tuple[float, float]:
    """The loss of one vote for the first over the second, and how hard it pulls."""
    log_pi = torch.tensor(now, dtype=torch.float64).log().requires_grad_()
    log_ref = torch.tensor(ref, dtype=torch.float64).log()
    loss = losses.dpo_loss(log_pi[0], log_pi[1], log_ref[0], log_ref[1], beta=beta)
    return loss.item(), -torch.autograd.grad(loss, log_pi)[0][0].item()


def one() -> list[float]:
    reward, ref = np.array([0, 2 * np.log(4)]), np.array([0.8, 0.2])
    return [*climbed(reward, ref, 2.0), best_J(reward, ref, 2.0)]


def two() -> list[float]:
    ref, star = np.array([0.6, 0.3, 0.1]), np.array([0.375, 0.375, 0.25])
    reward = 0.5 * np.log([1.0, 2.0, 4.0])
    np.testing.assert_allclose(climbed(reward, ref, 0.5), star, atol=1e-6)
    return [*star, *reward]


def three() -> list[float]:
    policy, ref = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
    kl = distributions.kl_divergence(policy, ref)
    return [float(kl), float(gibbs.objective(policy, [1.0, 2.0, 0.0], ref, beta=0.5))]


def five() -> list[float]:
    ref, reward = np.array([0.5, 0.5]), np.array([0.0, 1.0])
    star = climbed(reward, ref, 0.5)

    def policy(p: float) -> Array:
        return np.array([p, 1 - p])

    def excess(p: float) -> float:
        return float(distributions.kl_divergence(policy(p), star)) - 0.2

    p = optimize.brentq(excess, star[0], 1 - 1e-9)
    lost = best_J(reward, ref, 0.5) - float(gibbs.objective(policy(p), reward, ref, beta=0.5))
    return [lost, 1.3 - lost]


def six() -> list[float]:
    ref, reward = np.array([0.2, 0.3, 0.5, 0.0]), np.array([1.0, 1, 0, 5])
    ends = [gibbs.optimal_policy(reward, ref, beta=beta) for beta in (1e-3, 1e6)]
    return [*ends[0], *ends[1]]


def seven() -> list[float]:
    ref = np.array([0.7, 0.2, 0.1])
    level, step = best_J(np.full(3, 3.0), ref, 2.0), 1e-4

    def best(total: float) -> float:  # of J, where this much probability is handed out
        policy = total * ref
        return float(policy @ np.full(3, 3.0) - 2 * policy @ np.log(policy / ref))

    return [level, -(best(1 + step) - best(1 - step)) / (2 * step)]


def eight() -> list[float]:
    ref, model, people = np.array([[0.9, 0.09, 0.01], [0, 1, 4], [0, 1, -4]])
    return [float(ref @ people), *(float(climbed(model, ref, b) @ people) for b in (2.0, 0.5))]


def nine() -> list[float]:
    star, ref = np.array([0.5, 0.3, 0.2]), np.array([0.25, 0.25, 0.5])
    reward = gibbs.implicit_reward(star, ref, beta=2.0)
    np.testing.assert_allclose(trained(reward, ref, 2.0), star, atol=1e-9)
    return [reward[0] - reward[2], preferences.preference_matrix(reward)[0, 2]]


def ten() -> list[float]:
    """Two prompts with these constants: a second response takes up what is left."""
    true = []
    for implicit, constant in ((0.5, 0.1), (0.2, 0.9)):
        policy = HALF[0] * np.exp(implicit)
        ratio = np.array([policy, 1 - policy]) / HALF
        reward = np.log(ratio) + constant
        assert abs(float(gibbs.log_partition(reward, HALF, beta=1.0)) - constant) < 1e-12
        true.append(reward[0])
    return [true[1] - true[0]]


def eleven() -> list[float]:
    reward = preferences.fit_bradley_terry(np.array([[0, 10.0, 0], [5, 0, 9], [0, 3, 0]]))
    return [preferences.preference_matrix(reward)[0, 2]]


def twelve() -> list[float]:
    return [float(np.exp(fit_table(HALF, [[0, 8.0], [2, 0]], beta=0.5).log_probs[0, 0]))]


def thirteen() -> list[float]:
    loss, pull = pair_loss([0.3, 0.1], [0.1, 0.3], 0.5)
    return [np.log(9), loss, pull]


def fourteen() -> list[float]:
    return [pair_loss([1 / (1 + np.exp(20)), 1 / (1 + np.exp(-20))], [0.5, 0.5], 0.1)[1]]


def fifteen() -> list[float]:
    def mean(s: float) -> float:
        zero = torch.zeros(1, dtype=torch.float64)
        for_it, against = (
            losses.dpo_loss(zero + x, zero, zero, zero, beta=1.0).item() for x in (s, -s)
        )
        return 0.9 * for_it + 0.1 * against

    found = optimize.minimize_scalar(
        mean, bounds=(-9, 9), method="bounded", options={"xatol": 1e-9}
    )
    return [found.x, found.fun]


def sixteen() -> list[float]:
    def twice(w, l, ref_w, ref_l, *, beta, label_smoothing):  # type: ignore[no-untyped-def] # noqa: E741
        return -logsigmoid(beta * (beta * (w - ref_w) - beta * (l - ref_l)))

    votes = preferences.expected_wins(np.array([1.0, 0.0]), HALF)
    ends = [fit_table(HALF, votes, beta=0.5, loss=x) for x in (losses.dpo_loss, twice)]
    h = [float(-np.diff(run.log_probs[0])[0]) for run in ends]
    like = climbed(np.array([1.0, 0.0]), HALF, 0.25)
    np.testing.assert_allclose(np.exp(ends[1].log_probs[0]), like, atol=1e-6)
    return [*h, 0.25]


WINS = np.array([[0.0, 7, 5], [3, 0, 6], [5, 4, 0]])


def mean_loss(logits: torch.Tensor, beta: float) -> torch.Tensor:
    """Of the thirty votes, where the reference is uniform."""
    log_pi = logits.log_softmax(dim=0)
    s = beta * (log_pi[:, None] - log_pi)
    return -(torch.tensor(WINS) * logsigmoid(s)).sum() / WINS.sum()


def seventeen() -> list[float]:
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(mean_loss(logits, 0.1), logits)[0].tolist()


def eighteen() -> list[float]:
    logits, seen = torch.zeros(3, dtype=torch.float64, requires_grad=True), []
    for _ in range(10):
        loss = mean_loss(logits, 0.1)
        seen.append(loss.item())
        logits.data -= torch.autograd.grad(loss, logits)[0]
    return [float(np.log(2) - np.mean(seen))]


def nineteen() -> list[float]:
    reward, ref = np.array([0.0, 1, 2]), np.full(3, 1 / 3)
    star = climbed(reward, ref, 0.5)
    spread = np.diag(star) - np.outer(star, star)
    kl = [np.trace(spread @ statistics.cramer_rao_bound(reward, ref, size=n)) for n in (500, 1)]
    return [500 * 0.02 / 0.001 * kl[0] * 500 / kl[1]]


def twenty() -> list[float]:
    def speed(_: float, s: Array) -> Array:
        return 2 * 0.5**2 * expit(-s)

    def reached(goal: float) -> float:
        def event(_: float, s: Array) -> float:
            return float(s[0]) - goal

        event.terminal = True  # type: ignore[attr-defined]
        run = integrate.solve_ivp(speed, (0, 1e4), [0.0], events=event, rtol=1e-9, atol=1e-9)
        return float(run.t[-1])

    return [reached(3.0), reached(6.0)]


def twenty_one() -> list[float]:
    found = []
    for wins in ([[0, 10.0], [0, 0]], [[0, 9.0], [1, 0]]):
        log_pi = fit_table(HALF, wins, beta=0.5, label_smoothing=0.05).log_probs[0]
        found.append(float(expit(0.5 * (log_pi[0] - log_pi[1]))))
    return found


def twenty_two() -> list[float]:
    ref, reward = np.array([0.4, 0.1, 0.4, 0.1]), np.log([1.0, 4, 3, 12])
    group = np.kron(np.eye(2), np.ones((2, 2)))
    votes = preferences.expected_wins(reward, np.full(4, 0.25))[0] * group
    end = np.exp(fit_table(ref, votes, beta=1.0).log_probs[0])
    lost = best_J(reward, ref, 1.0) - float(gibbs.objective(end, reward, ref, beta=1.0))
    return [*climbed(reward, ref, 1.0), end[0], lost]


def twenty_three() -> list[float]:
    reward, ref = np.array([2.0, 1, 0]), np.full(3, 1 / 3)
    share = preferences.preference_matrix(reward)[1, 2]
    return [share, trained(reward, ref, 0.5)[1], best_J(reward, ref, 0.5)]


def twenty_four() -> list[float]:
    def apart(p: float) -> float:
        return float(distributions.kl_divergence(HALF, np.array([p, 1 - p])))

    def logged(p: float) -> float:  # chosen and rejected, on pairs drawn twice from the reference
        r_hat = gibbs.implicit_reward(np.array([p, 1 - p]), HALF, beta=0.1)
        votes = 2 * np.outer(HALF, HALF) * preferences.preference_matrix(np.array([0.0, 1.0]))
        return float((votes.sum(1) + votes.sum(0)) @ r_hat)

    return [apart(optimize.brentq(lambda p: logged(p) + 1.4, 1e-9, 0.5))]


def twenty_five() -> list[float]:
    reward, ref = np.array([0.0, 1, 2]), np.full(3, 1 / 3)
    votes = preferences.expected_wins(reward, ref)[0]
    run = fit_table(ref, votes, beta=0.3)
    ahead = run.log_probs[0][:, None] > run.log_probs[0]
    return [float((votes * ahead).sum()), float(run.history.loss[-1])]


def twenty_six() -> list[float]:
    return [pair_loss([0.5, 0.5], q, 1.0)[0] for q in ([0.8, 0.2], [0.2, 0.8])]


def twenty_seven() -> list[float]:
    ref, reward = np.array([0.8, 0.2]), np.log([1.0, 4])
    kept, anew = trained(reward, ref, 1.0), trained(reward, ref, 0.5)
    np.testing.assert_allclose(kept, [0.5, 0.5], atol=1e-9)
    J = [float(gibbs.objective(x, reward, ref, beta=0.5)) for x in (anew, kept)]
    return [*anew, J[0] - J[1]]


def twenty_eight() -> list[float]:
    """Rows of tokens: two of the prompt, then the response, then padding."""
    pi = torch.tensor([[-1, -1, -1, -1, -0.5, -0.5], [-1, -1, -1, -2, 0, 0]])
    ref = torch.tensor([[-1.5, -1, -1.5, -1, -1, -0.5], [-1.5, -1, -2, -2, 0, 0]])
    place, sizes = torch.arange(6), torch.tensor([[6], [4]])
    response, whole = (place >= 2) & (place < sizes), place < sizes
    gains = [((pi - ref) * mask).sum(1) for mask in (response, whole)]
    means = [gain / mask.sum(1) for gain, mask in zip(gains, (response, whole), strict=True)]
    return [(x[0] - x[1]).item() for x in (gains[0], means[0], means[1])]


def twenty_nine() -> list[float]:
    space = SequenceSpace(2, 2, end_token=True)  # the letter 0, and 1 for the end
    masses = {"with": 0.0, "without": 0.0}
    for response, size in zip(space.responses, space.lengths, strict=True):
        own = response[:size]
        masses["with"] += 0.5**size
        masses["without"] += 0.5 ** int((own != 1).sum())
    return list(masses.values())


def thirty() -> list[float]:
    wins = np.array([[0, 30.0, 27], [10, 0, 30], [3, 10, 0]])
    reward = preferences.fit_bradley_terry(wins)
    third = np.full(3, 1 / 3)
    policy = np.exp(fit_table(third, wins, beta=1.0).log_probs[0])
    assert abs(float(statistics.deviance(reward, wins))) < 1e-9
    return [reward[0] - reward[2], *policy]


ANSWERS: dict[int, Callable[[], list[float]]] = {
    1: one, 2: two, 3: three, 5: five, 6: six, 7: seven, 8: eight, 9: nine, 10: ten, 11: eleven,
    12: twelve, 13: thirteen, 14: fourteen, 15: fifteen, 16: sixteen, 17: seventeen, 18: eighteen,
    19: nineteen, 20: twenty, 21: twenty_one, 22: twenty_two, 23: twenty_three, 24: twenty_four,
    25: twenty_five, 26: twenty_six, 27: twenty_seven, 28: twenty_eight, 29: twenty_nine,
    30: thirty,
}  # fmt: skip


# --- the tests ----------------------------------------------------------------------------------


def test_there_are_thirty_questions_and_a_solution_to_each() -> None:
    assert list(parts(EXAM)) == list(parts(SOLUTIONS)) == list(range(1, 31))
    assert set(ANSWERS) == {n for n, text in parts(SOLUTIONS).items() if told(text)}


@pytest.mark.parametrize("number", ANSWERS)
def test_the_numbers_of_a_solution_are_found_again(number: int) -> None:
    stated, found = told(parts(SOLUTIONS)[number]), ANSWERS[number]()
    assert len(stated) == len(found)
    wrong = [(x, y) for x, y in zip(stated, found, strict=True) if not borne(x, y)]
    assert wrong == []


@pytest.mark.parametrize("number", ANSWERS)
def test_a_last_digit_that_is_off_by_one_is_noticed(number: int) -> None:
    for stated, found in zip(told(parts(SOLUTIONS)[number]), ANSWERS[number](), strict=True):
        step = 10.0 ** -len(stated.partition(".")[2])
        digits = len(stated.partition(".")[2])
        for off in (float(stated) + step, float(stated) - step):
            assert not borne(f"{off:.{digits}f}", found)


def test_every_solution_leads_to_its_room() -> None:
    known = cells()
    for solution in parts(SOLUTIONS).values():
        links = CELL.findall(solution)
        assert links and all(link in known for link in links)


def test_questions_and_solutions_have_the_same_titles() -> None:
    asked = re.findall(r"(?m)^### (\d+ .*) \(\d points\)$", EXAM)
    assert asked == re.findall(r"(?m)^### (\d+ .*)$", SOLUTIONS)


def test_no_question_gives_its_solution_away() -> None:
    for number, question in parts(EXAM).items():
        asked = set(numbers(question))
        given = [n for n in told(parts(SOLUTIONS)[number]) if "." in n and len(n) > 4]
        assert not asked & set(given)


def test_every_question_has_its_points() -> None:
    assert len(re.findall(r"(?m)^### \d+ .*\(\d points\)$", EXAM)) == 30


def test_a_proposed_paper_has_thirty_points() -> None:
    points = {int(n): int(p) for n, p in re.findall(r"(?m)^### (\d+) .*\((\d) points\)$", EXAM)}
    papers = re.findall(r"(?m)^- Paper [A-Z]: ([\d, ]+)\.$", EXAM)
    chosen = [[int(n) for n in paper.split(", ")] for paper in papers]
    assert [sum(points[n] for n in paper) for paper in chosen] == [30, 30, 30]
    assert not any(set(a) & set(b) for a, b in combinations(chosen, 2))
